//! What came back: the head and the body, whole or as it arrives, under a size limit and deadlines.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use crate::error::Failure;
use crate::gunzip::{Gunzip, is_gzip};
use crate::metrics::Meter;
use crate::{Error, Phase};

/// A whole response.
#[derive(Debug, Clone)]
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    url: String,
}

impl Response {
    /// The status, of whatever class.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The whole body, as it was sent.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Reads the body as JSON, whatever the status and `Content-Type` are.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let why = Malformed::from(&error);
            Error::answered_because(&self.url, Failure::Decode("json"), why)
        })
    }

    /// The body as text, which must be UTF-8 whatever the `Content-Type` says.
    pub fn text(&self) -> Result<&str, Error> {
        std::str::from_utf8(&self.body).map_err(|error| {
            Error::answered_because(&self.url, Failure::Decode("UTF-8 text"), error)
        })
    }

    /// Makes a status of 400 and above an error with [`Kind::Status`](crate::Kind::Status). The body
    /// is then lost.
    pub fn error_for_status(self) -> Result<Self, Error> {
        if self.status.is_client_error() || self.status.is_server_error() {
            return Err(Error::answered(&self.url, Failure::Status(self.status)));
        }
        Ok(self)
    }
}

/// What `serde_json` says, cut: it quotes the value that it did not expect, however long that is.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Malformed(String);

impl From<&serde_json::Error> for Malformed {
    fn from(error: &serde_json::Error) -> Self {
        const SHOWN: usize = 200;
        let text = error.to_string();
        match text.char_indices().nth(SHOWN) {
            Some((end, _)) => Self(format!(
                "{}... at line {} column {}",
                text.get(..end).unwrap_or_default(),
                error.line(),
                error.column()
            )),
            None => Self(text),
        }
    }
}

/// A response whose body is read while it arrives, so that a large one need not be kept. Dropping
/// it before the end closes the connection.
#[derive(Debug)]
pub struct StreamingResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
    url: String,
    limits: BodyLimits,
    /// Bytes of the body so far, as they were received.
    received: usize,
    gunzip: Option<Gunzip>,
    meter: Meter,
}

/// What gzip makes of data that it cannot compress, at most.
fn with_overhead(size: usize) -> usize {
    size.saturating_add(size / 8).saturating_add(1024)
}

/// What the body of a response may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    /// In bytes.
    pub(crate) size: usize,
    pub(crate) deadline: Instant,
    /// The whole request's timeout, which ends at the deadline.
    pub(crate) timeout: Duration,
    /// Between two pieces.
    pub(crate) idle: Duration,
}

impl StreamingResponse {
    pub(crate) fn new(
        response: http::Response<Incoming>,
        url: String,
        limits: BodyLimits,
        meter: Meter,
    ) -> Self {
        let (head, body) = response.into_parts();
        let (status, headers) = (head.status, head.headers);
        Self { status, headers, body, url, limits, received: 0, gunzip: None, meter }
    }

    /// The same, its body decompressed where it is gzip and that was `asked` for. The headers that
    /// describe the compressed body are removed.
    pub(crate) fn decoded(mut self, asked: bool) -> Self {
        if asked && is_gzip(&self.headers) {
            self.headers.remove(CONTENT_ENCODING);
            self.headers.remove(CONTENT_LENGTH);
            self.gunzip = Some(Gunzip::new(self.limits.size));
        }
        self
    }

    /// The status, of whatever class.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    #[cfg(feature = "tower")]
    pub(crate) fn take_headers(&mut self) -> HeaderMap {
        std::mem::take(&mut self.headers)
    }

    /// The next piece of the body, never empty; `None` after the last. Fails when the body is larger
    /// than the limit, when it is not complete by the request's deadline, when nothing of it comes for
    /// as long as [`body_idle_timeout`](crate::Config::body_idle_timeout), and when the connection
    /// breaks before its end. Cancel safe: a piece that was not returned comes with the next call.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let outcome = self.next().await;
        if outcome.is_err() {
            self.meter.failed(Some(Phase::Body));
        }
        outcome
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(gunzip) = &mut self.gunzip
                && let Some(data) = gunzip.next().map_err(|fault| fault.at(&self.url))?
            {
                return Ok(Some(data));
            }
            match (self.received().await?, &mut self.gunzip) {
                (Some(data), Some(gunzip)) => gunzip.push(data),
                (Some(data), None) => return Ok(Some(data)),
                (None, Some(gunzip)) => {
                    return gunzip.finish().map_err(|fault| fault.at(&self.url));
                }
                (None, None) => return Ok(None),
            }
        }
    }

    /// The next piece as it was sent.
    async fn received(&mut self) -> Result<Option<Bytes>, Error> {
        let BodyLimits { size: limit, deadline, timeout, idle } = self.limits;
        // Compressed data is hardly ever longer, and then a little.
        let size = if self.gunzip.is_some() { with_overhead(limit) } else { limit };
        // Of a body with a known length nothing is read that would be thrown away.
        let rest = usize::try_from(self.body.size_hint().lower()).unwrap_or(usize::MAX);
        if rest > size.saturating_sub(self.received) {
            return Err(Error::answered(&self.url, Failure::BodyTooLarge(limit)));
        }
        loop {
            let now = Instant::now();
            let quiet = now.checked_add(idle).filter(|quiet| *quiet < deadline);
            let late = || {
                let failure = match quiet {
                    Some(_) => Failure::BodyIdle(idle),
                    None => Failure::BodyDeadline(timeout),
                };
                Error::answered(&self.url, failure)
            };
            // A body that is always there before it is waited for would never be late.
            if now >= deadline {
                return Err(late());
            }
            let frame = timeout_at(quiet.unwrap_or(deadline), self.body.frame()).await;
            let Some(frame) = frame.map_err(|_elapsed| late())? else { return Ok(None) };
            let frame = frame
                .map_err(|error| Error::answered_because(&self.url, Failure::BodyBroken, error))?;
            // Trailers are the other kind of frame; nobody asked for them.
            let Ok(data) = frame.into_data() else { continue };
            self.meter.received(data.len());
            self.received = self.received.saturating_add(data.len());
            if self.received > size {
                return Err(Error::answered(&self.url, Failure::BodyTooLarge(limit)));
            }
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }

    /// Reads what is left of the body.
    pub(crate) async fn collect(mut self) -> Result<Response, Error> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            body.extend_from_slice(&chunk);
        }
        let Self { status, headers, url, .. } = self;
        Ok(Response { status, headers, body: body.freeze(), url })
    }
}
