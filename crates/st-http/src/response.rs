//! What came back: the head and the whole body, read under a size limit.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use serde::de::DeserializeOwned;

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
    pub(crate) fn new(head: http::response::Parts, body: Bytes, url: &str) -> Self {
        Self { status: head.status, headers: head.headers, body, url: url.to_owned() }
    }

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

/// Reads `body` to its end, at most `limit` bytes. Giving up closes the connection.
pub(crate) async fn read(mut body: Incoming, limit: usize, url: &str) -> Result<Bytes, Error> {
    let too_large = || Error::answered(url, Failure::BodyTooLarge(limit));
    // Of a body with a known length nothing is read that would be thrown away.
    if usize::try_from(body.size_hint().lower()).map_or(true, |known| known > limit) {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Error::answered_because(url, Failure::BodyBroken, error))?;
        // Trailers are the other kind of frame; nobody asked for them.
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit.saturating_sub(bytes.len()) {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}
