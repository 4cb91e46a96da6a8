//! The settings of a client. Plain data: it reads no environment and no file; `Client::new` checks
//! it. Leaves out retries and the breaker, which are not the client's but the request's.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use crate::{AddressPolicy, Proxies};

/// The versions of HTTP that a server with TLS is offered; without TLS it is HTTP/1.1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HttpVersions {
    /// HTTP/1.1 alone: one request at a time on each connection.
    Http1,
    /// HTTP/2, and HTTP/1.1 for servers that do not choose it. All requests of a host share one
    /// connection, so one that is given up while it waits for its turn there may still be sent later,
    /// whole: over HTTP/1.1 its connection is closed and nothing of it is sent any more. Where a request
    /// must not arrive long after its call ended, offer HTTP/1.1 alone.
    #[default]
    Http1And2,
}

/// The settings of one [`Client`](crate::Client).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How long looking up the name, connecting and the TLS handshake may take together. 5 s.
    pub connect_timeout: Duration,
    /// How long one attempt may take, from its start until the response head is there. 30 s.
    pub attempt_timeout: Duration,
    /// How long everything may take, until the last byte of the response body is there. 60 s.
    pub overall_timeout: Duration,
    /// How long nothing may arrive of a response body that is waited for. 30 s.
    pub body_idle_timeout: Duration,
    /// The largest response body that is accepted, in bytes. 16 MiB.
    pub body_limit: usize,
    /// How many idle connections are kept to one host. 8; with 0 none is used twice. One HTTP/2
    /// connection serves all requests to its host, whatever this is otherwise.
    pub pool_max_idle_per_host: usize,
    /// How long an idle connection is kept. 30 s.
    pub pool_idle_timeout: Duration,
    /// The versions of HTTP that are offered. 1.1 and 2.
    pub http_versions: HttpVersions,
    /// How long nothing may arrive on an HTTP/2 connection before the other side is sent a ping. 10 s.
    pub http2_ping_interval: Duration,
    /// How long the answer to a ping may take. Then the connection is given up, and it is not known
    /// what became of the requests on it. 5 s.
    pub http2_ping_timeout: Duration,
    /// The `User-Agent` of requests that do not set their own. `st-http/<version>`.
    pub user_agent: String,
    /// Headers of all requests that do not set them themselves. They go to every host.
    pub headers: DefaultHeaders,
    /// The proxies that requests go through. None.
    pub proxies: Proxies,
    /// The addresses that may be connected to. Any.
    pub addresses: AddressPolicy,
    /// Addresses of names that are not looked up. None.
    pub names: BTreeMap<String, Vec<IpAddr>>,
    /// A PEM file with root certificates that are trusted beside those of the system.
    pub ca_bundle: Option<PathBuf>,
    /// Whether the certificates of servers are checked. `false` accepts anybody who answers and logs
    /// a warning; a `ca_bundle` is then not read.
    pub tls_verify: bool,
}

/// The headers that a client gives to requests which do not set them. `Debug` shows the names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct DefaultHeaders(pub HeaderMap);

impl fmt::Debug for DefaultHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(30),
            overall_timeout: Duration::from_mins(1),
            body_idle_timeout: Duration::from_secs(30),
            body_limit: 16 * 1024 * 1024,
            pool_max_idle_per_host: 8,
            pool_idle_timeout: Duration::from_secs(30),
            http_versions: HttpVersions::default(),
            http2_ping_interval: Duration::from_secs(10),
            http2_ping_timeout: Duration::from_secs(5),
            user_agent: concat!("st-http/", env!("CARGO_PKG_VERSION")).to_owned(),
            headers: DefaultHeaders::default(),
            proxies: Proxies::default(),
            addresses: AddressPolicy::default(),
            names: BTreeMap::new(),
            ca_bundle: None,
            tls_verify: true,
        }
    }
}

impl Config {
    /// The `User-Agent` as a header, or every fault of the settings in one text.
    pub(crate) fn validate(&self) -> Result<HeaderValue, String> {
        let zero = |duration: Duration, name: &str| {
            duration.is_zero().then(|| format!("{name} must be more than 0"))
        };
        let reserved = self.headers.0.keys().find(|name| crate::request::is_reserved(name));
        let reserved = reserved.map(|name| format!("the header {name} is set by the client alone"));
        let mut faults: Vec<String> = [
            zero(self.connect_timeout, "connect_timeout"),
            zero(self.attempt_timeout, "attempt_timeout"),
            zero(self.overall_timeout, "overall_timeout"),
            zero(self.body_idle_timeout, "body_idle_timeout"),
            zero(self.pool_idle_timeout, "pool_idle_timeout"),
            zero(self.http2_ping_interval, "http2_ping_interval"),
            zero(self.http2_ping_timeout, "http2_ping_timeout"),
            (self.body_limit == 0).then(|| "body_limit must be more than 0".to_owned()),
            reserved,
        ]
        .into_iter()
        .flatten()
        .collect();
        match HeaderValue::from_str(&self.user_agent) {
            Ok(user_agent) if faults.is_empty() => return Ok(user_agent),
            Ok(_) => {}
            Err(_) => faults.push("user_agent must be printable ASCII".to_owned()),
        }
        Err(faults.join("; "))
    }
}
