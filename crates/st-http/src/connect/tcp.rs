//! TCP connections to the addresses that the policy permits, and the names they are looked up by.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::{AddressPolicy, Config, phase, spelling};

type BoxError = Box<dyn StdError + Send + Sync>;

const KEEPALIVE: Duration = Duration::from_secs(30);

/// A name that has no address.
#[derive(Debug, thiserror::Error)]
#[error("the name of the host is not known")]
pub(super) struct NotResolved(#[source] pub(super) Option<BoxError>);

/// Where a connection must not go.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotPermitted {
    /// The policy does not permit the address.
    #[error("the address {0} is not permitted")]
    Address(IpAddr),
    /// A proxy may read the host as an address that the policy has not checked.
    #[error("the address {0} is not in its usual form, as in 192.0.2.1 or [2001:db8::1]")]
    Spelling(String),
}

/// The connection to an address failed.
#[derive(Debug, thiserror::Error)]
#[error("there is no TCP connection")]
pub(super) struct NotConnected(#[source] BoxError);

/// Connects to the host of a URL.
#[derive(Clone)]
pub(super) struct Tcp {
    connector: HttpConnector<Resolver>,
    policy: Arc<AddressPolicy>,
}

impl Tcp {
    pub(super) fn new(config: &Config, policy: Arc<AddressPolicy>) -> Self {
        let names = config.names.iter();
        let names = names.map(|(name, known)| (name.to_ascii_lowercase(), known.clone()));
        let resolver = Resolver {
            names: Arc::new(names.collect()),
            policy: Arc::clone(&policy),
            system: GaiResolver::new(),
        };
        let mut connector = HttpConnector::new_with_resolver(resolver);
        // The TLS layer above decides by the scheme; left on, https:// would be refused here.
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_keepalive(Some(KEEPALIVE));
        // Shared out over the addresses of the host, so that a dead first one leaves time for the rest.
        connector.set_connect_timeout(Some(config.connect_timeout));
        Self { connector, policy }
    }
}

/// Checks what goes to a proxy, which sees the host as it is written and reads it by its own rules.
pub(super) fn check_for_proxy(policy: &AddressPolicy, target: &Uri) -> Result<(), BoxError> {
    let host = target.host().unwrap_or_default();
    if spelling::is_odd(host) {
        return Err(Box::new(NotPermitted::Spelling(host.to_owned())));
    }
    check_literal(policy, target)
}

/// Checks an address in the URL itself: it is not looked up, so the resolver does not see it.
fn check_literal(policy: &AddressPolicy, target: &Uri) -> Result<(), BoxError> {
    let host = target.host().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match host.parse::<IpAddr>() {
        Ok(address) if !policy.permits(address) => Err(Box::new(NotPermitted::Address(address))),
        Ok(_) | Err(_) => Ok(()),
    }
}

impl Service<Uri> for Tcp {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        if let Err(refused) = check_literal(&self.policy, &target) {
            return Box::pin(async { Err(refused) });
        }
        let literal = target
            .host()
            .is_some_and(|host| host.starts_with('[') || host.parse::<IpAddr>().is_ok());
        let tls = target.scheme() == Some(&Scheme::HTTPS);
        let connecting = self.connector.call(target);
        Box::pin(async move {
            if literal {
                phase::resolved();
            }
            let stream = connecting.await.map_err(NotConnected::from_connector)?;
            if tls {
                phase::connected();
            }
            Ok(stream)
        })
    }
}

impl NotConnected {
    fn from_connector(error: impl Into<BoxError>) -> BoxError {
        Box::new(Self(error.into()))
    }
}

/// Looks names up and drops the addresses that are not permitted.
#[derive(Clone)]
pub(super) struct Resolver {
    /// Addresses that are known without asking the system, by names in lower case.
    names: Arc<BTreeMap<String, Vec<IpAddr>>>,
    policy: Arc<AddressPolicy>,
    system: GaiResolver,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Self { names, policy, mut system } = self.clone();
        Box::pin(async move {
            let known = names.get(&name.as_str().to_ascii_lowercase());
            let found: Vec<SocketAddr> = if let Some(known) = known {
                // The port is that of the URL.
                known.iter().map(|address| (*address, 0).into()).collect()
            } else {
                let unknown = |error: io::Error| NotResolved(Some(error.into()));
                poll_fn(|context| system.poll_ready(context)).await.map_err(unknown)?;
                system.call(name).await.map_err(unknown)?.collect()
            };
            let permitted = found.iter().copied().filter(|found| policy.permits(found.ip()));
            let permitted: Vec<_> = permitted.collect();
            match (permitted.is_empty(), found.first()) {
                (false, _) => {
                    phase::resolved();
                    Ok(permitted.into_iter())
                }
                (true, Some(refused)) => Err(NotPermitted::Address(refused.ip()).into()),
                (true, None) => Err(NotResolved(None).into()),
            }
        })
    }
}
