//! A client, set up one setting after the other.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::{AddressPolicy, Client, Config, Error, HttpVersions, Proxies};

/// The settings of a client that is being made; see [`Config`] for what each means. Faults are kept
/// until [`build`](Self::build).
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until the client is built"]
pub struct Builder {
    config: Config,
    fault: Option<String>,
}

impl Builder {
    /// Begins with other settings than the default ones.
    pub fn config(self, config: Config) -> Self {
        Self { config, ..self }
    }

    /// How long looking up the name, connecting and the TLS handshake may take together.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.connect_timeout = timeout;
        self
    }

    /// How long one attempt may take until the response head is there.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.config.attempt_timeout = timeout;
        self
    }

    /// How long everything may take.
    pub fn overall_timeout(mut self, timeout: Duration) -> Self {
        self.config.overall_timeout = timeout;
        self
    }

    /// How long nothing may arrive of a response body.
    pub fn body_idle_timeout(mut self, timeout: Duration) -> Self {
        self.config.body_idle_timeout = timeout;
        self
    }

    /// The largest response body that is accepted, in bytes.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.config.body_limit = bytes;
        self
    }

    /// How many idle connections are kept to one host, and how long.
    pub fn pool(mut self, max_idle_per_host: usize, idle_timeout: Duration) -> Self {
        self.config.pool_max_idle_per_host = max_idle_per_host;
        self.config.pool_idle_timeout = idle_timeout;
        self
    }

    /// The versions of HTTP that are offered to servers with TLS.
    pub fn http_versions(mut self, versions: HttpVersions) -> Self {
        self.config.http_versions = versions;
        self
    }

    /// How long nothing may arrive on an HTTP/2 connection before it is sent a ping, and how long the
    /// answer may take.
    pub fn http2_ping(mut self, interval: Duration, timeout: Duration) -> Self {
        self.config.http2_ping_interval = interval;
        self.config.http2_ping_timeout = timeout;
        self
    }

    /// The `User-Agent` of requests that do not set their own.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.config.user_agent = user_agent.into();
        self
    }

    /// A header of all requests that do not set it themselves. It goes to every host, so a secret
    /// belongs here only in a client that talks to one; its value is shown nowhere.
    pub fn default_header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        let Ok(name) = name.try_into() else {
            return self.refuse("a default header has a name that is not allowed".to_owned());
        };
        let Ok(mut value) = value.try_into() else {
            return self.refuse(format!("the value of the default header {name} is not allowed"));
        };
        value.set_sensitive(true);
        self.config.headers.0.insert(name, value);
        self
    }

    /// The proxies that requests go through.
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.config.proxies = proxies;
        self
    }

    /// The addresses that may be connected to.
    pub fn addresses(mut self, policy: AddressPolicy) -> Self {
        self.config.addresses = policy;
        self
    }

    /// The addresses of a name, which is then not looked up. They are subject to the address policy.
    pub fn name(mut self, name: impl Into<String>, addresses: Vec<IpAddr>) -> Self {
        self.config.names.insert(name.into(), addresses);
        self
    }

    /// A PEM file with root certificates that are trusted beside those of the system.
    pub fn ca_bundle(mut self, path: impl Into<PathBuf>) -> Self {
        self.config.ca_bundle = Some(path.into());
        self
    }

    /// Accepts any certificate, and logs a warning.
    pub fn without_tls_verification(mut self) -> Self {
        self.config.tls_verify = false;
        self
    }

    /// Makes the client; as [`Client::new`].
    pub fn build(self) -> Result<Client, Error> {
        match self.fault {
            Some(fault) => Err(Error::config(fault)),
            None => Client::new(self.config),
        }
    }

    fn refuse(mut self, fault: String) -> Self {
        self.fault.get_or_insert(fault);
        self
    }
}
