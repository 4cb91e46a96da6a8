//! The running server, asked over HTTP as any client asks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http::HeaderMap;
use serde::de::DeserializeOwned;
use serde_json::Value;
use st_http::{Client, ConnectFault, Response};
use st_log::Chain;

use crate::config::Config;

/// How long an answer may take that the server gives by itself.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same for one that it asks a provider for.
pub(super) const PROVIDER_PATIENCE: Duration = Duration::from_secs(65);

/// A key of the interface. Nothing prints it.
#[derive(Clone)]
pub(crate) struct Key(String);

impl Key {
    /// White space around it is left out: files end with a line break.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let key = text.trim();
        (!key.is_empty()).then(|| Self(key.to_owned()))
    }

    /// To keep it out of what is printed.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Why there is no answer that can be used.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The connection was refused, with the reason.
    NoServer(String),
    /// There was no answer in time, or none that is HTTP.
    NoAnswer(String),
    /// The server refused.
    Status { status: u16, detail: String },
    /// The answer is not what this version of the program expects.
    Unexpected(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoServer(why) | Self::NoAnswer(why) => f.write_str(why),
            Self::Status { status, detail } => write!(f, "{status}: {detail}"),
            Self::Unexpected(why) => write!(f, "the answer cannot be read: {why}"),
        }
    }
}

/// Where the server is and how it is asked.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    client: Client,
    pub(crate) url: String,
    key: Option<Key>,
}

impl Server {
    /// At this URL, on the way on which this configuration calls others.
    pub(crate) fn at(
        url: &str,
        key: Option<Key>,
        http: &st_http::Config,
    ) -> Result<Self, st_http::Error> {
        let (proxies, ca_bundle) = (http.proxies.clone(), http.ca_bundle.clone());
        Self::with(url, key, st_http::Config { proxies, ca_bundle, ..st_http::Config::default() })
    }

    /// Where the configuration has it listen, seen from this machine.
    pub(crate) fn of(config: &Config, key: Option<Key>) -> Result<Self, st_http::Error> {
        let host = match config.host {
            IpAddr::V4(it) if it.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(it) if it.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            listening @ (IpAddr::V4(_) | IpAddr::V6(_)) => listening,
        };
        let scheme = if config.access.tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", SocketAddr::new(host, config.port));
        // Its certificate is for its name, which this machine need not resolve; what is asked here does
        // not leave the machine.
        Self::with(&url, key, st_http::Config { tls_verify: false, ..st_http::Config::default() })
    }

    fn with(url: &str, key: Option<Key>, http: st_http::Config) -> Result<Self, st_http::Error> {
        let http = st_http::Config {
            attempt_timeout: PROVIDER_PATIENCE,
            overall_timeout: PROVIDER_PATIENCE,
            ..http
        };
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { client: Client::new(http)?, url, key })
    }

    pub(super) const fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// The answer to a GET, whatever its status.
    pub(super) async fn response(&self, path: &str) -> Result<Response, Refusal> {
        self.send("GET", path, PATIENCE).await
    }

    /// The answer to a POST without a body, whatever its status.
    pub(super) async fn post(&self, path: &str) -> Result<Response, Refusal> {
        self.send("POST", path, PATIENCE).await
    }

    /// Asks, and wants no more than that the answer is a success.
    pub(crate) async fn ask(&self, path: &str) -> Result<(), Refusal> {
        let response = self.response(path).await?;
        if response.status().is_success() { Ok(()) } else { Err(refused(&response)) }
    }

    async fn send(&self, method: &str, path: &str, wait: Duration) -> Result<Response, Refusal> {
        let url = format!("{}{path}", self.url);
        let request = if method == "POST" { self.client.post(&url) } else { self.client.get(&url) };
        let request = request.timeout(wait);
        let request = match &self.key {
            Some(Key(key)) => request.bearer(key),
            None => request,
        };
        request.send().await.map_err(|error| {
            let why = Chain(&error).to_string();
            // A server that hangs, or whose TLS fails, is there.
            if error.connect_fault() == Some(ConnectFault::Refused) {
                Refusal::NoServer(why)
            } else {
                Refusal::NoAnswer(why)
            }
        })
    }

    /// What the server answers to a GET.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Refusal> {
        self.get_within(path, PATIENCE).await
    }

    /// The same with another patience.
    pub(super) async fn get_within<T: DeserializeOwned>(
        &self,
        path: &str,
        wait: Duration,
    ) -> Result<T, Refusal> {
        let response = self.send("GET", path, wait).await?;
        if !response.status().is_success() {
            return Err(refused(&response));
        }
        response.json().map_err(|error| Refusal::Unexpected(Chain(&error).to_string()))
    }
}

/// What a refusal says, which is a problem document where the server is ours.
pub(super) fn refused(response: &Response) -> Refusal {
    let status = response.status();
    let problem: Option<Value> = response.json().ok();
    let detail = problem.as_ref().and_then(|it| it.get("detail")).and_then(Value::as_str);
    let reason = || status.canonical_reason().unwrap_or("no reason is given");
    let detail = detail.unwrap_or_else(reason).to_owned();
    Refusal::Status { status: status.as_u16(), detail }
}

/// The correlation ID that an answer has.
pub(super) fn correlation_id(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-correlation-id").and_then(|value| value.to_str().ok())
}
