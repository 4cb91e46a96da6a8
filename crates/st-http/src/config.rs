//! What a client can be told. Plain data: it reads no environment and no file; `Client::new` checks
//! it. Leaves out the proxy, retries and the address policy.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;

/// The settings of one [`Client`](crate::Client).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How long looking up the name, connecting and the TLS handshake may take together. 5 s.
    pub connect_timeout: Duration,
    /// How long one attempt may take, from its start until the response head is there. 30 s.
    pub attempt_timeout: Duration,
    /// How long everything may take, until the last byte of the response body is there. 60 s.
    pub overall_timeout: Duration,
    /// The largest response body that is accepted, in bytes. 16 MiB.
    pub body_limit: usize,
    /// How many idle connections are kept to one host. 8; with 0 none is used twice.
    pub pool_max_idle_per_host: usize,
    /// How long an idle connection is kept. 30 s.
    pub pool_idle_timeout: Duration,
    /// The `User-Agent` of requests that do not set their own. `st-http/<version>`.
    pub user_agent: String,
    /// A PEM file with root certificates that are trusted beside those of the system.
    pub ca_bundle: Option<PathBuf>,
    /// Whether the certificates of servers are checked. `false` accepts anybody who answers and logs
    /// a warning; a `ca_bundle` is then not read.
    pub tls_verify: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(30),
            overall_timeout: Duration::from_mins(1),
            body_limit: 16 * 1024 * 1024,
            pool_max_idle_per_host: 8,
            pool_idle_timeout: Duration::from_secs(30),
            user_agent: concat!("st-http/", env!("CARGO_PKG_VERSION")).to_owned(),
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
        let mut faults: Vec<String> = [
            zero(self.connect_timeout, "connect_timeout"),
            zero(self.attempt_timeout, "attempt_timeout"),
            zero(self.overall_timeout, "overall_timeout"),
            zero(self.pool_idle_timeout, "pool_idle_timeout"),
            (self.body_limit == 0).then(|| "body_limit must be more than 0".to_owned()),
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
