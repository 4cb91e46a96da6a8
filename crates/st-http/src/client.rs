//! The client and the one way in which a request is sent: its IDs, connection, head, body.
//! Leaves out retries, the breaker, the proxy and the address policy.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::capture_connection;
use st_log::{TRACEPARENT_HEADER, TRACESTATE_HEADER};
use tokio::time::{Instant, timeout_at};

use crate::connect::{self, Pool};
use crate::response::BodyLimits;
use crate::{Config, Error, LOG, Request, Response, StreamingResponse};

pub(crate) type Outgoing = http::Request<Full<Bytes>>;

/// A pooled HTTP/1.1 client. Cloning is cheap and shares the pool.
///
/// The connections live in the runtime that made them; a client that outlives its runtime makes
/// others.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    config: Config,
    user_agent: HeaderValue,
    pool: Pool,
}

/// The limits that one request has of its own; for the others the client's count.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    /// Until the end of the body.
    pub(crate) overall: Option<Duration>,
    /// In bytes.
    pub(crate) body: Option<usize>,
}

impl Client {
    /// Makes a client. Reads the system's root certificates and the `ca_bundle`, so it blocks
    /// shortly; fails on settings that cannot work, naming all of them.
    pub fn new(config: Config) -> Result<Self, Error> {
        let user_agent = config.validate().map_err(Error::config)?;
        let pool = connect::pool(&config)?;
        if !config.tls_verify {
            st_log::warning!(
                logger: LOG,
                "TLS certificates are not checked: anybody on the way can read and change requests"
            );
        }
        Ok(Self(Arc::new(Inner { config, user_agent, pool })))
    }

    /// A GET request.
    pub fn get(&self, url: &str) -> Request {
        self.request(Method::GET, url)
    }

    /// A POST request.
    pub fn post(&self, url: &str) -> Request {
        self.request(Method::POST, url)
    }

    /// A request of any method but CONNECT. A bad `url` is reported when it is sent.
    pub fn request(&self, method: Method, url: &str) -> Request {
        Request::new(self.clone(), method, url)
    }

    pub(crate) fn user_agent(&self) -> HeaderValue {
        self.0.user_agent.clone()
    }

    /// Sends `request`, reads the whole response and leaves one line about it. `url` is the target as
    /// it may be shown.
    pub(crate) async fn send(
        &self,
        request: Outgoing,
        url: &str,
        limits: Limits,
    ) -> Result<Response, Error> {
        let start = Instant::now();
        let method = request.method().clone();
        let outcome = match self.exchange(request, url, start, limits).await {
            Ok(response) => response.collect().await,
            Err(error) => Err(error),
        };
        log(&method, url, outcome.as_ref().map(Response::status), start);
        outcome
    }

    /// Sends `request`, waits for the response head and leaves one line about it.
    pub(crate) async fn open(
        &self,
        request: Outgoing,
        url: &str,
        limits: Limits,
    ) -> Result<StreamingResponse, Error> {
        let start = Instant::now();
        let method = request.method().clone();
        let outcome = self.exchange(request, url, start, limits).await;
        log(&method, url, outcome.as_ref().map(StreamingResponse::status), start);
        outcome
    }

    async fn exchange(
        &self,
        mut request: Outgoing,
        url: &str,
        start: Instant,
        limits: Limits,
    ) -> Result<StreamingResponse, Error> {
        set_correlation_id(&mut request);
        set_trace_context(&mut request);
        let timeout = limits.overall.unwrap_or(self.0.config.overall_timeout);
        let response = self.head(request, url, start, timeout).await?;
        let size = limits.body.unwrap_or(self.0.config.body_limit);
        let limits = BodyLimits { size, deadline: after(start, timeout), timeout };
        Ok(StreamingResponse::new(response, url.to_owned(), limits))
    }

    /// Sends `request` and waits for the response head.
    async fn head(
        &self,
        mut request: Outgoing,
        url: &str,
        start: Instant,
        overall: Duration,
    ) -> Result<http::Response<Incoming>, Error> {
        // Filled in by the pool just before it gives the request to a connection, from inside the
        // future below and nowhere else. While it is empty nothing was written; drop the future then
        // and nothing ever will be.
        let connection = capture_connection(&mut request);
        let handed_over = || connection.connection_metadata().is_some();

        let attempt = overall.min(self.0.config.attempt_timeout);
        let connect = attempt.min(self.0.config.connect_timeout);
        let mut answer = pin!(self.0.pool.request(request));
        let outcome = match timeout_at(after(start, connect), &mut answer).await {
            Ok(outcome) => outcome,
            Err(_) if !handed_over() => return Err(Error::late(url, connect, false)),
            Err(_) => timeout_at(after(start, attempt), answer)
                .await
                .map_err(|_elapsed| Error::late(url, attempt, true))?,
        };
        outcome.map_err(|error| Error::exchange(url, error, handed_over()))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("config", &self.0.config).finish_non_exhaustive()
    }
}

/// Per request and never a default of the client: one pooled connection serves many callers, and a
/// header fixed when the client is made would tell all of them the first one's ID.
fn set_correlation_id(request: &mut Outgoing) {
    let id = st_log::get_correlation_id();
    // What a CorrelationId may consist of is a subset of what a header may.
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        request.headers_mut().insert(st_log::CORRELATION_ID_HEADER, value);
    }
}

/// As the caller of this program sent it, so that the other side belongs to the same trace. A header
/// that the request has already is meant to be another.
fn set_trace_context(request: &mut Outgoing) {
    let headers = request.headers_mut();
    let Some(trace) = st_log::current_trace_context() else { return };
    if headers.contains_key(TRACEPARENT_HEADER) {
        return;
    }
    // What either may consist of is a subset of what a header may.
    if let Ok(value) = HeaderValue::from_str(trace.traceparent()) {
        headers.insert(TRACEPARENT_HEADER, value);
    }
    if let Some(Ok(value)) = trace.tracestate().map(HeaderValue::from_str) {
        headers.entry(TRACESTATE_HEADER).or_insert(value);
    }
}

/// `timeout` after `start`, or so far away that it makes no difference.
fn after(start: Instant, timeout: Duration) -> Instant {
    const FAR: Duration = Duration::from_hours(24 * 365);
    start.checked_add(timeout).unwrap_or_else(|| start + FAR)
}

fn log(method: &Method, url: &str, outcome: Result<StatusCode, &Error>, start: Instant) {
    let elapsed_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let method = method.as_str();
    match outcome {
        Ok(status) => {
            let status = status.as_u16();
            st_log::debug!(logger: LOG, method, url, status, elapsed_ms, "HTTP request answered");
        }
        Err(error) => {
            st_log::debug!(
                logger: LOG, method, url, error = *error, elapsed_ms, "HTTP request failed"
            );
        }
    }
}
