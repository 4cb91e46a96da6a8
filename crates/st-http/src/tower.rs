//! The client as a tower service, and its policies as layers, to be composed with other layers.
//!
//! ```
//! use std::time::Duration;
//! use st_http::tower::{BreakerLayer, DeadlineLayer, HeaderLayer, RetryLayer};
//! use st_http::{Breakers, Client, Config, Retries};
//! use tower::{ServiceBuilder, ServiceExt as _};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let service = ServiceBuilder::new()
//!     .layer(DeadlineLayer::new(Duration::from_secs(20)))
//!     .layer(RetryLayer::new(Retries::default()))
//!     .layer(BreakerLayer::new(Breakers::default()))
//!     .layer(HeaderLayer::secret("x-api-key", "secret").unwrap())
//!     .service(Client::new(Config::default())?);
//! // Nothing listens on port 9 here.
//! let request = http::Request::get("http://127.0.0.1:9/").body(String::new()).unwrap();
//! let error = service.oneshot(request).await.unwrap_err();
//! assert_eq!(error.was_sent(), st_http::Sent::No);
//! # Ok::<(), st_http::Error>(()) }).unwrap();
//! ```
//!
//! The order is the order in which a request meets them: in this one the deadline counts for all attempts,
//! and each attempt is one for the breaker. Every service here fails with [`Error`].

use std::error::Error as StdError;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use hyper::body::{Body, Frame};
use tower_layer::Layer;
use tower_service::Service;

use crate::body::Content;
use crate::breaker::CallEnd;
use crate::client::Limits;
use crate::request::Prepared;
use crate::target::Shown;
use crate::{Breakers, Client, Error, Retries, StreamingResponse};

type BoxError = Box<dyn StdError + Send + Sync>;
/// A response, and the next piece of its body.
type Read = (Box<StreamingResponse>, Result<Option<Bytes>, Error>);
type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How long a request may take in all, in its extensions; [`DeadlineLayer`] puts it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(pub Duration);

/// In the extensions of a request: sending it twice does no more than sending it once, whatever its method
/// is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idempotent;

/// In the extensions of a request: the path of its URL is a secret, as
/// [`Request::secret_path`](crate::Request::secret_path) says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretPath;

/// In the extensions of a request that is repeated: the time that all its attempts have together.
#[derive(Debug, Clone, Copy)]
struct OfAll(Duration);

impl<B> Service<Request<B>> for Client
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody>;
    type Error = Error;
    type Future = BoxFuture<Result<Self::Response, Error>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let client = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let overall = head.extensions.get().map(|Deadline(overall)| *overall);
            let of_all = head.extensions.get().map(|OfAll(of_all)| *of_all);
            let limits = Limits { overall, of_all, ..Limits::default() };
            let secret_path = head.extensions.get::<SecretPath>().is_some();
            let prepared = Prepared::checked(head, Content::streamed(body), limits, secret_path)?;
            let mut answer = client.open(Box::new(prepared)).await?;
            let mut response = Response::new(());
            *response.status_mut() = answer.status();
            *response.headers_mut() = answer.take_headers();
            Ok(response.map(|()| ResponseBody(State::Idle(Box::new(answer)))))
        })
    }
}

/// The body of a response, under the limits of [`StreamingResponse::chunk`].
pub struct ResponseBody(State);

enum State {
    Idle(Box<StreamingResponse>),
    Reading(BoxFuture<Read>),
    Ended,
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut reading = match std::mem::replace(&mut self.0, State::Ended) {
            State::Idle(response) => read(response),
            State::Reading(reading) => reading,
            State::Ended => return Poll::Ready(None),
        };
        let Poll::Ready((response, chunk)) = reading.as_mut().poll(context) else {
            self.0 = State::Reading(reading);
            return Poll::Pending;
        };
        if let Ok(Some(_)) = chunk {
            self.0 = State::Idle(response);
        }
        Poll::Ready(chunk.transpose().map(|chunk| chunk.map(Frame::data)))
    }
}

fn read(mut response: Box<StreamingResponse>) -> BoxFuture<Read> {
    Box::pin(async move {
        let chunk = response.chunk().await;
        (response, chunk)
    })
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").finish_non_exhaustive()
    }
}

/// Gives every request a deadline for all of it, unless it has one.
#[derive(Debug, Clone, Copy)]
pub struct DeadlineLayer(Duration);

impl DeadlineLayer {
    /// The time from the first attempt to the end of the body.
    pub fn new(overall: Duration) -> Self {
        Self(overall)
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = DeadlineService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DeadlineService { inner, overall: self.0 }
    }
}

/// What [`DeadlineLayer`] makes.
#[derive(Debug, Clone)]
pub struct DeadlineService<S> {
    inner: S,
    overall: Duration,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for DeadlineService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        request.extensions_mut().get_or_insert(Deadline(self.overall));
        self.inner.call(request)
    }
}

/// Sets a header on every request that does not have it. `Debug` shows its name only.
#[derive(Clone)]
pub struct HeaderLayer {
    name: HeaderName,
    value: HeaderValue,
}

impl HeaderLayer {
    /// A header with this value.
    pub fn new(name: HeaderName, value: HeaderValue) -> Self {
        Self { name, value }
    }

    /// A header whose value is shown nowhere. `None` where one of them is not allowed in a header.
    pub fn secret(name: &str, value: &str) -> Option<Self> {
        let (name, mut value) = (name.parse().ok()?, HeaderValue::from_str(value).ok()?);
        value.set_sensitive(true);
        Some(Self { name, value })
    }
}

impl fmt::Debug for HeaderLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderLayer").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for HeaderLayer {
    type Service = HeaderService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        HeaderService { inner, header: self.clone() }
    }
}

/// What [`HeaderLayer`] makes.
#[derive(Debug, Clone)]
pub struct HeaderService<S> {
    inner: S,
    header: HeaderLayer,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for HeaderService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let HeaderLayer { name, value } = &self.header;
        request.headers_mut().entry(name).or_insert_with(|| value.clone());
        self.inner.call(request)
    }
}

/// Lets requests through as the breaker of their host says.
#[derive(Debug, Clone)]
pub struct BreakerLayer(Breakers);

impl BreakerLayer {
    /// With these breakers.
    pub fn new(breakers: Breakers) -> Self {
        Self(breakers)
    }
}

impl<S> Layer<S> for BreakerLayer {
    type Service = BreakerService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        BreakerService { inner, breakers: self.0.clone() }
    }
}

/// What [`BreakerLayer`] makes.
#[derive(Debug, Clone)]
pub struct BreakerService<S> {
    inner: S,
    breakers: Breakers,
}

impl<S, B, R> Service<Request<B>> for BreakerService<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Error>,
    S::Future: Send + 'static,
    R: Send + 'static,
{
    type Response = Response<R>;
    type Error = Error;
    type Future = BoxFuture<Result<Response<R>, Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut url = Shown::of(request.uri());
        url.iter_mut().for_each(Shown::hide_path);
        match self.breakers.admit(url.as_ref().map_or("", Shown::origin)) {
            Err(wait) => Box::pin(async move { Err(Error::breaker_open(url.as_ref(), wait)) }),
            Ok(permit) => {
                let answering = self.inner.call(request);
                Box::pin(async move {
                    let outcome = answering.await;
                    permit.end(CallEnd::of(outcome.as_ref().map(Response::status)));
                    outcome
                })
            }
        }
    }
}

/// Repeats requests as the policy says. Their bodies are cloned for each attempt. Where there is
/// a [`Deadline`], no attempt begins when too little of it is left.
#[derive(Debug, Clone)]
pub struct RetryLayer(Retries);

impl RetryLayer {
    /// With this policy.
    pub fn new(retries: Retries) -> Self {
        Self(retries)
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = RetryService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RetryService { inner, retries: self.0.clone() }
    }
}

/// What [`RetryLayer`] makes.
#[derive(Debug, Clone)]
pub struct RetryService<S> {
    inner: S,
    retries: Retries,
}

impl<S, B, R> Service<Request<B>> for RetryService<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Error> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Clone + Send + 'static,
    R: Send + 'static,
{
    type Response = Response<R>;
    type Error = Error;
    type Future = BoxFuture<Result<Response<R>, Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The service that is ready is the one to call; its clone need not be.
        let inner = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, inner);
        let idempotent = request.extensions().get::<Idempotent>().is_some();
        let overall = request.extensions().get().map(|Deadline(overall)| *overall);
        let mut attempts = self.retries.begin(request.method(), idempotent, overall);
        Box::pin(async move {
            loop {
                let outcome = inner.call(request.clone()).await;
                let head = outcome.as_ref().map(|answer| (answer.status(), answer.headers()));
                let Some(again) = attempts.after(head, true) else {
                    return attempts.result(outcome);
                };
                if let (Some(overall), Some(left)) = (overall, again.left) {
                    request.extensions_mut().insert(Deadline(left));
                    request.extensions_mut().insert(OfAll(overall));
                }
                drop(outcome);
                tokio::time::sleep(again.pause).await;
                if let Err(error) = poll_fn(|context| inner.poll_ready(context)).await {
                    return attempts.result(Err(error));
                }
            }
        })
    }
}
