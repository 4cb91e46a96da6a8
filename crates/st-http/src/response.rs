//! What came back: the head and the body, whole or as it arrives, under a size limit and deadlines.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tokio::time::{Instant, timeout_at};

use crate::error::Failure;
use crate::gunzip::{Gunzip, is_gzip};
use crate::metrics::Meter;
use crate::target::Shown;
use crate::{Error, Phase};

/// A whole response. `Debug` shows the status, the names of the headers and the length of the body.
#[derive(Clone)]
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    url: Shown,
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

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            // Names only: cookies are secrets, and so may be what a body says.
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Where the JSON is not what was expected. What `serde_json` says itself quotes the value, which may be a
/// secret and of any length.
#[derive(Debug, thiserror::Error)]
#[error("{what} at line {line} column {column}")]
struct Malformed {
    what: &'static str,
    line: usize,
    column: usize,
}

impl From<&serde_json::Error> for Malformed {
    fn from(error: &serde_json::Error) -> Self {
        let what = match error.classify() {
            Category::Io => "it cannot be read",
            Category::Syntax => "it is no JSON",
            Category::Data => "a value has another type or name than expected",
            Category::Eof => "it ends too early",
        };
        Self { what, line: error.line(), column: error.column() }
    }
}

/// A response whose body is read while it arrives, so that a large one need not be kept. Dropping
/// it before the end closes the connection, or of HTTP/2 the stream. `Debug` shows the status and the names of the headers.
pub struct StreamingResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
    /// Whether the body says only at its end that it is whole: one of HTTP/2, which hyper also takes for
    /// ended where the other side gives the stream up without an error.
    ends_by_flag: bool,
    url: Shown,
    limits: BodyLimits,
    /// Bytes of the body so far, as they were received.
    received: usize,
    gunzip: Option<Gunzip>,
    meter: Meter,
    /// When something must have arrived of what is being waited for, across calls that were given up.
    quiet_until: Option<Instant>,
    /// Why the body cannot be read to its end.
    failed: Option<Failure>,
}

impl fmt::Debug for StreamingResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamingResponse")
            .field("status", &self.status)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("received_bytes", &self.received)
            .finish_non_exhaustive()
    }
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
    /// With `gzip`, a body that is compressed is decompressed, and the headers that describe the compressed
    /// one are removed.
    pub(crate) fn new(
        response: http::Response<Incoming>,
        url: Shown,
        limits: BodyLimits,
        meter: Meter,
        gzip: bool,
    ) -> Self {
        let (head, body) = response.into_parts();
        let (status, mut headers) = (head.status, head.headers);
        let ends_by_flag = head.version == Version::HTTP_2;
        let gunzip = (gzip && is_gzip(&headers)).then(|| {
            headers.remove(CONTENT_ENCODING);
            headers.remove(CONTENT_LENGTH);
            Gunzip::new(limits.size)
        });
        Self {
            status,
            headers,
            body,
            ends_by_flag,
            url,
            limits,
            received: 0,
            gunzip,
            meter,
            quiet_until: None,
            failed: None,
        }
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
    /// breaks before its end; and again with the same failure after it failed once. Cancel safe: a piece
    /// that was not returned comes with the next call, and the time that was waited counts.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        if let Some(failure) = &self.failed {
            return Err(Error::answered(&self.url, failure.clone()));
        }
        let outcome = self.next().await;
        if let Err(error) = &outcome {
            self.failed = Some(error.failure().clone());
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
        if self.body.is_end_stream() {
            return Ok(None);
        }
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
            let quiet = self.quiet_until.or_else(|| now.checked_add(idle));
            self.quiet_until = quiet;
            let quiet = quiet.filter(|quiet| *quiet < deadline);
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
            let Some(frame) = frame.map_err(|_elapsed| late())? else {
                if self.ends_by_flag && !self.body.is_end_stream() {
                    return Err(Error::answered(&self.url, Failure::BodyBroken));
                }
                return Ok(None);
            };
            let frame = frame
                .map_err(|error| Error::answered_because(&self.url, Failure::BodyBroken, error))?;
            // Trailers are the other kind of frame; they are left out.
            let Ok(data) = frame.into_data() else { continue };
            self.meter.received(data.len());
            self.received = self.received.saturating_add(data.len());
            self.quiet_until = None;
            if self.received > size {
                return Err(Error::answered(&self.url, Failure::BodyTooLarge(limit)));
            }
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }

    /// Makes a status of 400 and above an error with [`Kind::Status`](crate::Kind::Status). The body
    /// is then lost.
    pub fn error_for_status(self) -> Result<Self, Error> {
        if self.status.is_client_error() || self.status.is_server_error() {
            return Err(Error::answered(&self.url, Failure::Status(self.status)));
        }
        Ok(self)
    }

    /// Reads what is left of the body. Fails as [`chunk`](Self::chunk) does.
    pub async fn collect(mut self) -> Result<Response, Error> {
        let body = self.rest().await?;
        Ok(self.with_body(body))
    }

    /// Copied, so that a short body does not keep the whole buffer of its connection.
    pub(crate) async fn rest(&mut self) -> Result<Bytes, Error> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }

    pub(crate) fn with_body(self, body: Bytes) -> Response {
        let Self { status, headers, url, .. } = self;
        Response { status, headers, body, url }
    }
}
