//! What came back, reduced to what is needed of it while it arrived.

use http::{HeaderMap, StatusCode};
use st_http::StreamingResponse;

use super::classify::REFUSAL;
use crate::provider::excerpt::{Excerpt, Shape, TooLarge};

/// The largest body that is read, in bytes: a page holds the data of a hundred jobs.
pub(super) const LARGEST_BODY: usize = 1024 * 1024 * 1024;
/// Bytes of what is kept. Several answers are read at a time.
const LARGEST_EXCERPT: usize = 8 * 1024 * 1024;

/// A whole answer, of whatever status.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    #[error(transparent)]
    Http(#[from] st_http::Error),
    /// Its head arrived.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

impl Answer {
    /// Reads the body. Of a success what `shape` says, of anything else what explains it.
    pub(super) async fn read(
        mut response: StreamingResponse,
        shape: &'static Shape,
    ) -> Result<Self, Unanswered> {
        let status = response.status();
        let shape = if status.is_success() { shape } else { &REFUSAL };
        let mut excerpt = Excerpt::new(shape, LARGEST_EXCERPT);
        while let Some(chunk) = response.chunk().await? {
            excerpt.feed(&chunk)?;
        }
        Ok(Self { status, headers: response.headers().clone(), text: excerpt.finish() })
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// JSON, where the body was a JSON object.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}
