//! What came back: the head and the body, whole or as it arrives, under a size limit and a deadline.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use crate::Error;
use crate::error::Failure;

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
            Error::answered_because(&self.url, Failure::Decode, Malformed::from(&error))
        })
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
    /// Bytes of the body so far.
    received: usize,
}

/// What the body of a response may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    /// In bytes.
    pub(crate) size: usize,
    pub(crate) deadline: Instant,
    /// The whole request's timeout, which ends at the deadline.
    pub(crate) timeout: Duration,
}

impl StreamingResponse {
    pub(crate) fn new(response: http::Response<Incoming>, url: String, limits: BodyLimits) -> Self {
        let (head, body) = response.into_parts();
        Self { status: head.status, headers: head.headers, body, url, limits, received: 0 }
    }

    /// The status, of whatever class.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The next piece of the body, never empty; `None` after the last. Fails when the body is larger
    /// than the limit, when it is not complete by the request's deadline, and when the connection
    /// breaks before its end. Cancel safe: a piece that was not returned comes with the next call.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let BodyLimits { size, deadline, timeout } = self.limits;
        // Of a body with a known length nothing is read that would be thrown away.
        let rest = usize::try_from(self.body.size_hint().lower()).unwrap_or(usize::MAX);
        if rest > size.saturating_sub(self.received) {
            return Err(Error::answered(&self.url, Failure::BodyTooLarge(size)));
        }
        let late = || Error::answered(&self.url, Failure::BodyDeadline(timeout));
        loop {
            // A body that is always there before it is waited for would never be late.
            if Instant::now() >= deadline {
                return Err(late());
            }
            let frame = timeout_at(deadline, self.body.frame()).await.map_err(|_elapsed| late())?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame
                .map_err(|error| Error::answered_because(&self.url, Failure::BodyBroken, error))?;
            // Trailers are the other kind of frame; nobody asked for them.
            let Ok(data) = frame.into_data() else { continue };
            self.received = self.received.saturating_add(data.len());
            if self.received > size {
                return Err(Error::answered(&self.url, Failure::BodyTooLarge(size)));
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
