//! gzip, piece by piece: a small answer that unpacks to a huge one is cut off at the limit, and never is
//! more of it in memory than one piece.

use std::fmt;
use std::io::{self, Write};

use bytes::{Buf, Bytes};
use flate2::write::MultiGzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use crate::Error;
use crate::error::Failure;
use crate::target::Shown;

/// How much is decompressed at once. It unpacks to a thousand times as much at most.
const PIECE: usize = 512;

/// Whether a body is compressed with gzip and nothing else.
pub(crate) fn is_gzip(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    let gzip = codings.next().and_then(|value| value.to_str().ok()).is_some_and(|coding| {
        let coding = coding.trim();
        coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip")
    });
    gzip && codings.next().is_none()
}

/// Why a body cannot be decompressed.
#[derive(Debug)]
pub(crate) enum Fault {
    TooLarge(usize),
    Damaged(io::Error),
}

impl Fault {
    pub(crate) fn at(self, url: &Shown) -> Error {
        match self {
            Self::TooLarge(limit) => Error::answered(url, Failure::BodyTooLarge(limit)),
            Self::Damaged(error) => Error::answered_because(url, Failure::BodyCoding, error),
        }
    }
}

/// A body that is being decompressed.
pub(crate) struct Gunzip {
    decoder: MultiGzDecoder<Vec<u8>>,
    /// Received and not decompressed.
    rest: Bytes,
    limit: usize,
    /// Decompressed bytes so far.
    produced: usize,
    /// Whether anything was received: the answer to a HEAD has a coding and no body.
    begun: bool,
}

impl Gunzip {
    pub(crate) fn new(limit: usize) -> Self {
        let decoder = MultiGzDecoder::new(Vec::new());
        Self { decoder, rest: Bytes::new(), limit, produced: 0, begun: false }
    }

    /// Adds what was received, once [`next`](Self::next) has nothing more.
    pub(crate) fn push(&mut self, data: Bytes) {
        self.begun |= !data.is_empty();
        self.rest = data;
    }

    /// What can be decompressed of that which was received, a piece at a time and never empty.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        while !self.rest.is_empty() {
            let piece = self.rest.get(..PIECE).unwrap_or(&self.rest);
            let length = piece.len();
            self.decoder.write_all(piece).map_err(Fault::Damaged)?;
            self.rest.advance(length);
            if let Some(data) = self.produced()? {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// What comes out at the end, and whether it was the end.
    pub(crate) fn finish(&mut self) -> Result<Option<Bytes>, Fault> {
        if self.begun {
            self.decoder.try_finish().map_err(Fault::Damaged)?;
        }
        self.produced()
    }

    fn produced(&mut self) -> Result<Option<Bytes>, Fault> {
        let data = std::mem::take(self.decoder.get_mut());
        self.produced = self.produced.saturating_add(data.len());
        if self.produced > self.limit {
            return Err(Fault::TooLarge(self.limit));
        }
        Ok((!data.is_empty()).then(|| data.into()))
    }
}

impl fmt::Debug for Gunzip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gunzip").field("produced", &self.produced).finish_non_exhaustive()
    }
}
