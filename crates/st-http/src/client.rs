//! The client and the one way in which a request is sent: its IDs, connection, head, body.
//! Leaves out what repeats or holds back requests: `retry` and `breaker`.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{PROXY_AUTHORIZATION, USER_AGENT};
use http::{HeaderValue, Method, StatusCode};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::capture_connection;
use st_log::{TRACEPARENT_HEADER, TRACESTATE_HEADER};
use tokio::time::{Instant, timeout_at};

use crate::body::Body;
use crate::connect::{self, Pool};
use crate::metrics::Metrics;
use crate::phase::Progress;
use crate::proxy::Routes;
use crate::request::Prepared;
use crate::response::BodyLimits;
use crate::target::Shown;
use crate::{Builder, Config, Error, HostMetrics, LOG, Request, Response, StreamingResponse};

type Outgoing = http::Request<Body>;

/// A pooled client for HTTP/1.1 and HTTP/2. Cloning is cheap and shares the pool.
///
/// The connections live in the runtime that made them; a client that outlives its runtime makes
/// others.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    config: Config,
    user_agent: HeaderValue,
    routes: Arc<Routes>,
    pool: Pool,
    metrics: Metrics,
}

/// The limits that one request has of its own; for the others the client's count.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    /// Until the end of the body.
    pub(crate) overall: Option<Duration>,
    /// For one attempt of several, the time that they have together: the one that the caller knows.
    pub(crate) of_all: Option<Duration>,
    /// In bytes.
    pub(crate) body: Option<usize>,
}

/// The time that one attempt has.
#[derive(Debug, Clone, Copy)]
struct Time {
    start: Instant,
    /// Until the end of the body.
    overall: Duration,
    /// What errors call that time: with earlier attempts it was longer.
    of_all: Duration,
}

impl Time {
    /// The time that a step with this limit has, and what errors call it.
    fn within(self, limit: Duration) -> (Duration, Duration) {
        if limit <= self.overall { (limit, limit) } else { (self.overall, self.of_all) }
    }
}

impl Client {
    /// Makes a client. Reads the system's root certificates and the `ca_bundle`, so it blocks
    /// shortly; fails on settings that cannot work, naming all of them.
    pub fn new(config: Config) -> Result<Self, Error> {
        let user_agent = config.validate().map_err(Error::config)?;
        let routes = Arc::new(config.proxies.routes());
        let pool = connect::pool(&config, Arc::clone(&routes))?;
        if !config.tls_verify {
            st_log::warning!(
                logger: LOG,
                "TLS certificates are not checked: anybody on the way can read and change requests"
            );
        }
        let metrics = Metrics::default();
        Ok(Self(Arc::new(Inner { config, user_agent, routes, pool, metrics })))
    }

    /// The settings of a client, one by one.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A GET request.
    pub fn get(&self, url: &str) -> Request {
        self.request(Method::GET, url)
    }

    /// A HEAD request.
    pub fn head(&self, url: &str) -> Request {
        self.request(Method::HEAD, url)
    }

    /// A POST request.
    pub fn post(&self, url: &str) -> Request {
        self.request(Method::POST, url)
    }

    /// A PUT request.
    pub fn put(&self, url: &str) -> Request {
        self.request(Method::PUT, url)
    }

    /// A PATCH request.
    pub fn patch(&self, url: &str) -> Request {
        self.request(Method::PATCH, url)
    }

    /// A DELETE request.
    pub fn delete(&self, url: &str) -> Request {
        self.request(Method::DELETE, url)
    }

    /// A request of any method but CONNECT. A bad `url` is reported when it is sent.
    pub fn request(&self, method: Method, url: &str) -> Request {
        Request::new(self.clone(), method, url)
    }

    /// What this client did, by host: the first 256 hosts have numbers of their own.
    pub fn metrics(&self) -> Vec<HostMetrics> {
        self.0.metrics.read()
    }

    /// How long a call may take in all, where it does not say itself.
    pub(crate) fn overall_timeout(&self) -> Duration {
        self.0.config.overall_timeout
    }

    /// Sends `request`, reads the whole response and leaves one line about it.
    pub(crate) async fn send(&self, request: Box<Prepared>) -> Result<Response, Error> {
        let start = Instant::now();
        let (method, url) = (request.method.clone(), request.target.shown.clone());
        let outcome = match self.exchange(request, start).await {
            Ok(mut response) => response.rest().await.map(|body| response.with_body(body)),
            Err(error) => Err(error),
        };
        log(&method, &url, outcome.as_ref().map(Response::status), start);
        outcome
    }

    /// Sends `request`, waits for the response head and leaves one line about it.
    pub(crate) async fn open(&self, request: Box<Prepared>) -> Result<StreamingResponse, Error> {
        let start = Instant::now();
        let (method, url) = (request.method.clone(), request.target.shown.clone());
        let outcome = self.exchange(request, start).await;
        log(&method, &url, outcome.as_ref().map(StreamingResponse::status), start);
        outcome
    }

    /// Sends `request` and waits for the response head.
    async fn exchange(
        &self,
        request: Box<Prepared>,
        start: Instant,
    ) -> Result<StreamingResponse, Error> {
        let config = &self.0.config;
        let (url, gzip) = (request.target.shown.clone(), request.gzip);
        let mut meter = self.0.metrics.begin(url.origin(), start);
        let timeout = request.limits.overall.unwrap_or(config.overall_timeout);
        let limits = BodyLimits {
            size: request.limits.body.unwrap_or(config.body_limit),
            deadline: after(start, timeout),
            timeout: request.limits.of_all.unwrap_or(timeout),
            idle: config.body_idle_timeout,
        };
        let time = Time { start, overall: timeout, of_all: limits.timeout };
        let progress = Arc::new(Progress::default());
        let answer = self.answer(request, &url, time, &progress);
        match Arc::clone(&progress).of(answer).await {
            Ok(response) => {
                meter.answered(response.status());
                Ok(StreamingResponse::new(response, url, limits, meter, gzip))
            }
            Err(error) => {
                meter.failed(error.phase());
                Err(error)
            }
        }
    }

    /// The request with all that the client adds to it.
    fn outgoing(&self, request: Prepared, progress: &Arc<Progress>) -> Outgoing {
        let Prepared { method, target, headers, content, .. } = request;
        let mut outgoing = http::Request::new(Body::new(content, Arc::clone(progress)));
        *outgoing.method_mut() = method;
        *outgoing.uri_mut() = target.uri;
        *outgoing.headers_mut() = headers;
        self.add_headers(&mut outgoing);
        outgoing
    }

    fn add_headers(&self, request: &mut Outgoing) {
        set_correlation_id(request);
        set_trace_context(request);
        let credentials = self.0.routes.authorization(request.uri());
        let headers = request.headers_mut();
        let defaults = &self.0.config.headers.0;
        for name in defaults.keys() {
            if !headers.contains_key(name) {
                for value in defaults.get_all(name) {
                    headers.append(name, value.clone());
                }
            }
        }
        headers.entry(USER_AGENT).or_insert_with(|| self.0.user_agent.clone());
        if let Some(credentials) = credentials {
            headers.insert(PROXY_AUTHORIZATION, credentials);
        }
    }

    async fn answer(
        &self,
        request: Box<Prepared>,
        url: &Shown,
        time: Time,
        progress: &Arc<Progress>,
    ) -> Result<http::Response<Incoming>, Error> {
        let mut request = self.outgoing(*request, progress);
        // Filled in by the pool just before it gives the request to a connection, from inside the
        // future below and nowhere else. While it is empty nothing was written; drop the future then
        // and nothing ever will be.
        let connection = capture_connection(&mut request);
        let handed_over = || connection.connection_metadata().is_some();

        let config = &self.0.config;
        let (attempt, whole_attempt) = time.within(config.attempt_timeout);
        let (connect, whole_connect) =
            time.within(config.connect_timeout.min(config.attempt_timeout));
        let start = time.start;
        let mut answer = pin!(self.0.pool.request(request));
        let outcome = match timeout_at(after(start, connect), &mut answer).await {
            Ok(outcome) => outcome,
            Err(_) if !handed_over() => {
                return Err(Error::no_connection_in_time(url, whole_connect, progress));
            }
            Err(_) => timeout_at(after(start, attempt), answer)
                .await
                .map_err(|_elapsed| Error::no_head_in_time(url, whole_attempt, progress))?,
        };
        outcome.map_err(|error| Error::exchange(url, error, handed_over(), progress))
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

fn log(method: &Method, url: &Shown, outcome: Result<StatusCode, &Error>, start: Instant) {
    let elapsed_ms = || u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (method, url) = (method.as_str(), url.as_str());
    match outcome {
        Ok(status) => {
            let status = status.as_u16();
            st_log::debug!(
                logger: LOG, method, url, status, elapsed_ms = elapsed_ms(), "HTTP request answered"
            );
        }
        Err(error) => {
            st_log::debug!(
                logger: LOG, method, url, error = *error, elapsed_ms = elapsed_ms(),
                "HTTP request failed"
            );
        }
    }
}
