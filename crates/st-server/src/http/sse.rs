//! Answers that go on: Server-Sent Events.

use std::convert::Infallible;

use axum::Extension;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::HeaderName;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use super::listen::Endless;

/// An answer of these frames, each a whole event, for as long as there are any and the client reads them.
pub(crate) fn event_stream(
    frames: impl Stream<Item = impl Into<Bytes>> + Send + 'static,
) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let body = Body::from_stream(frames.map(|frame| Ok::<Bytes, Infallible>(frame.into())));
    (headers, Extension(Endless), body).into_response()
}
