//! The body of a request: whole, or as it is produced.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body as _, Frame, SizeHint};

use crate::phase::Progress;

type BoxError = Box<dyn StdError + Send + Sync>;

/// What produces a body failed, not the connection.
#[derive(Debug, thiserror::Error)]
#[error("the body of the request could not be produced")]
pub(crate) struct NotProduced(#[source] BoxError);

/// What a request has as its body.
pub(crate) enum Content {
    Whole(Bytes),
    /// The mutex makes it `Sync`, as a request is. It has one owner at a time, so locking never waits.
    Streamed(Box<Mutex<UnsyncBoxBody<Bytes, NotProduced>>>),
}

impl Content {
    pub(crate) fn streamed<B>(body: B) -> Self
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let body = body.map_err(|error| NotProduced(error.into())).boxed_unsync();
        Self::Streamed(Box::new(Mutex::new(body)))
    }

    /// A second one, of what can be sent twice.
    pub(crate) fn again(&self) -> Option<Self> {
        match self {
            Self::Whole(bytes) => Some(Self::Whole(bytes.clone())),
            Self::Streamed(_) => None,
        }
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::Whole(Bytes::new())
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Streamed(_) => f.write_str("a stream"),
        }
    }
}

/// A body on its way, which says when the connection has taken all of it.
#[derive(Debug)]
pub(crate) struct Body {
    content: Content,
    progress: Arc<Progress>,
}

impl Body {
    pub(crate) fn new(content: Content, progress: Arc<Progress>) -> Self {
        let body = Self { content, progress };
        if body.is_end_stream() {
            body.progress.body_taken();
        }
        body
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = NotProduced;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, NotProduced>>> {
        let this = self.get_mut();
        this.progress.asking_for_body();
        let frame = match &mut this.content {
            Content::Whole(bytes) if bytes.is_empty() => None,
            Content::Whole(bytes) => Some(Ok(Frame::data(std::mem::take(bytes)))),
            Content::Streamed(body) => {
                let body = body.get_mut().unwrap_or_else(PoisonError::into_inner);
                ready!(Pin::new(body).poll_frame(context))
            }
        };
        if frame.is_none() || this.is_end_stream() {
            this.progress.body_taken();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_empty(),
            Content::Streamed(body) => {
                body.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => {
                SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            }
            Content::Streamed(body) => {
                body.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
            }
        }
    }
}
