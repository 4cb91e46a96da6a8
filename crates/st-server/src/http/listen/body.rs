//! Bodies that tell their connection how far they are.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::conduct::Conduct;

/// The body of a request.
#[derive(Debug)]
pub(super) struct Arriving<B> {
    body: B,
    conduct: Arc<Conduct>,
}

impl<B> Arriving<B> {
    pub(super) fn new(body: B, conduct: Arc<Conduct>) -> Self {
        Self { body, conduct }
    }
}

impl<B> Drop for Arriving<B> {
    fn drop(&mut self) {
        self.conduct.received();
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Arriving<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.conduct.received();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Answering<B> {
    body: B,
    conduct: Arc<Conduct>,
}

impl<B> Answering<B> {
    pub(super) fn new(body: B, conduct: Arc<Conduct>) -> Self {
        Self { body, conduct }
    }
}

impl<B> Drop for Answering<B> {
    fn drop(&mut self) {
        self.conduct.answered();
    }
}

impl<B: Body + Unpin> Body for Answering<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
