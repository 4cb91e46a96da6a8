//! A tower layer that gives each request of an HTTP server a correlation ID.
//!
//! It takes the ID from the header `X-Correlation-ID`, or generates one if the header is missing or
//! invalid, runs the handler and the response body in a scope with that ID, and returns the ID in
//! the same header of every response. It works with axum, tonic and hyper.
//!
//! ```
//! use axum::{Router, routing::get};
//! use st_log::tower::CorrelationLayer;
//!
//! async fn hello() -> &'static str {
//!     st_log::info!("Said hello"); // carries the request's ID
//!     "hello"
//! }
//!
//! let app: Router = Router::new().route("/", get(hello)).layer(CorrelationLayer::new());
//! ```
//!
//! Make it the outermost layer, so that the lines and responses of other layers carry the ID as
//! well. Without a layer that catches panics inside this one, a handler that panics sends no
//! response. Browsers show the header to scripts only if CORS exposes it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::correlation::{CORRELATION_ID_HEADER, CorrelationId};
use crate::future::{InScope as _, Scoped};
use crate::internal;
use crate::scope::Scope;
use crate::scope::local::Active;
use crate::trace_context::{TRACEPARENT_HEADER, TRACESTATE_HEADER, TraceContext};

/// Gives every request a correlation ID; see the [module](self).
#[derive(Debug, Clone, Copy, Default)]
pub struct CorrelationLayer {
    trace_context: bool,
}

impl CorrelationLayer {
    /// Creates a layer that handles `X-Correlation-ID` only.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether the caller's `traceparent` and `tracestate` are kept in the scope too; off by
    /// default. Records show them with [`Settings::trace_context`](crate::Settings).
    #[must_use]
    pub fn trace_context(mut self, kept: bool) -> Self {
        self.trace_context = kept;
        self
    }

    fn scope_of(self, headers: &HeaderMap) -> Scope {
        let given = given_id(headers);
        let replaced = given.is_none() && headers.contains_key(CORRELATION_ID_HEADER);
        let id = given.unwrap_or_else(CorrelationId::generate);
        let mut scope = Scope::root().with_correlation_id(id);
        if let Some(trace) = self.trace_context.then(|| given_trace(headers)).flatten() {
            scope = scope.with_trace_context(trace);
        }
        if replaced {
            // The value is not logged, because it may be hostile.
            let values = headers.get_all(CORRELATION_ID_HEADER).iter();
            let (values, longest) =
                values.fold((0, 0), |(count, longest), it| (count + 1, it.len().max(longest)));
            scope.in_scope(|| {
                crate::debug!(
                    logger: internal::LOG, values, longest, "Caller's correlation ID replaced"
                );
            });
        }
        scope
    }
}

/// The caller's ID, if it is valid and there are no two different ones.
fn given_id(headers: &HeaderMap) -> Option<CorrelationId> {
    let mut values = headers.get_all(CORRELATION_ID_HEADER).iter();
    let first = values.next()?;
    if values.any(|it| it != first) {
        return None;
    }
    CorrelationId::parse(first.to_str().ok()?).ok()
}

fn given_trace(headers: &HeaderMap) -> Option<TraceContext> {
    let mut parents = headers.get_all(TRACEPARENT_HEADER).iter();
    let only = parents.next().filter(|_| parents.next().is_none())?;
    let trace = TraceContext::parse(only.to_str().ok()?).ok()?;
    // Several headers form one list.
    let states: Option<Vec<&str>> =
        headers.get_all(TRACESTATE_HEADER).iter().map(|it| it.to_str().ok()).collect();
    let states = states.unwrap_or_default();
    Some(if states.is_empty() { trace } else { trace.with_state(&states.join(",")) })
}

impl<S> Layer<S> for CorrelationLayer {
    type Service = Correlated<S>;

    fn layer(&self, inner: S) -> Correlated<S> {
        Correlated { inner, layer: *self }
    }
}

/// A service whose requests have a correlation ID. Created by [`CorrelationLayer`].
#[derive(Debug, Clone)]
pub struct Correlated<S> {
    inner: S,
    layer: CorrelationLayer,
}

impl<S, Q, A> Service<Request<Q>> for Correlated<S>
where
    S: Service<Request<Q>, Response = Response<A>>,
{
    type Response = Response<ScopedBody<A>>;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Q>) -> Self::Future {
        let scope = self.layer.scope_of(request.headers());
        if let Some(id) = scope.correlation_id() {
            request.extensions_mut().insert(id.clone());
        }
        let future = scope.in_scope(|| self.inner.call(request));
        Answering { future: future.in_scope(scope.clone()), scope }
    }
}

pin_project! {
    /// The future of a response.
    #[derive(Debug)]
    pub struct Answering<F> {
        #[pin]
        future: Scoped<F>,
        scope: Scope,
    }
}

impl<F, A, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<A>, E>>,
{
    type Output = Result<Response<ScopedBody<A>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.future.poll(cx))?;
        // The ID of the request, even if the handler set another one in its scope.
        let id = this.scope.correlation_id().map(|id| HeaderValue::from_str(id.as_str()));
        if let Some(Ok(value)) = id {
            response.headers_mut().insert(CORRELATION_ID_HEADER, value);
        }
        let scope = this.scope.clone();
        Poll::Ready(Ok(response.map(|body| ScopedBody::new(body, scope))))
    }
}

pin_project! {
    /// A response body that is polled in the scope of its request, for responses that are generated
    /// while they are sent.
    #[derive(Debug)]
    pub struct ScopedBody<B> {
        // None only during the drop, so that the body's values are dropped within its scope.
        #[pin]
        body: Option<B>,
        active: Active,
    }

    impl<B> PinnedDrop for ScopedBody<B> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _running = this.active.run();
            this.body.set(None);
        }
    }
}

impl<B> ScopedBody<B> {
    fn new(body: B, scope: Scope) -> Self {
        Self { body: Some(body), active: scope.into_active() }
    }
}

impl<B: Body> Body for ScopedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let Some(body) = this.body.as_pin_mut() else { return Poll::Ready(None) };
        let _running = this.active.run();
        body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B: Default> Default for ScopedBody<B> {
    fn default() -> Self {
        Self::new(B::default(), Scope::root())
    }
}
