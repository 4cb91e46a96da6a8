//! How a connection is made and kept: the way to the host, TCP options, TLS, the pool.
//!
//! HTTP/1.1 only: a dead peer holds an HTTP/2 connection and every request on it until a ping times
//! out, and the traffic here gains nothing from multiplexing.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use http::uri::Scheme;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tower_service::Service;

use crate::body::Body;
use crate::phase;
use crate::proxy::Routes;
use crate::{AddressPolicy, Config, Error, tls};

mod fault;
mod stream;
mod tcp;

pub use fault::ConnectFault;
pub(crate) use fault::{NoConnection, causes};
use stream::Stream;
use tcp::Tcp;

/// A pool of connections.
pub(crate) type Pool = Client<Connector, Body>;

pub(crate) fn pool(config: &Config, routes: Arc<Routes>) -> Result<Pool, Error> {
    let tls = Arc::new(tls::client_config(config)?);
    let policy = Arc::new(config.addresses.clone());
    let direct = HttpsConnector::from((Tcp::new(config, Arc::clone(&policy)), Arc::clone(&tls)));
    // Where the proxies are is for the operator to say, not for the user who gives a URL.
    let to_proxy = Tcp::new(config, Arc::new(AddressPolicy::any()));
    let to_proxy = HttpsConnector::from((to_proxy, Arc::clone(&tls)));
    let connector = Connector { direct, to_proxy, tls, routes, policy };

    // `retry_canceled_requests` stays on: it sends again only what a reused connection gave back
    // unwritten, so it is safe for POST and hides that the server closed an idle connection.
    Ok(Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        // Without it idle connections are never closed.
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(config.pool_idle_timeout)
        .pool_max_idle_per_host(config.pool_max_idle_per_host)
        .build(connector))
}

/// TCP, and TLS where the URL has it, to a host or to a proxy.
type Direct = HttpsConnector<Tcp>;

/// Makes connections, directly or by way of a proxy.
#[derive(Clone)]
pub(crate) struct Connector {
    direct: Direct,
    to_proxy: Direct,
    tls: Arc<ClientConfig>,
    routes: Arc<Routes>,
    policy: Arc<AddressPolicy>,
}

type Connecting = Pin<Box<dyn Future<Output = Result<Stream, NoConnection>> + Send>>;

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = NoConnection;
    type Future = Connecting;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // Each call has services of its own, and waits for those.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        match self.routes.proxy(&target) {
            None => Box::pin(connect(self.direct.clone(), target)),
            Some(_) if !self.policy.allows_proxies() => {
                Box::pin(async { Err(NoConnection::proxy_refused()) })
            }
            Some(proxy) => Box::pin(self.clone().connect_by_proxy(proxy, target)),
        }
    }
}

async fn connect(mut direct: Direct, target: Uri) -> Result<Stream, NoConnection> {
    let connected = async {
        poll_fn(|context| direct.poll_ready(context)).await?;
        direct.call(target).await
    };
    connected.await.map(Stream::Direct).map_err(NoConnection::direct)
}

impl Connector {
    async fn connect_by_proxy(self, proxy: Intercept, target: Uri) -> Result<Stream, NoConnection> {
        tcp::check_for_proxy(&self.policy, &target).map_err(NoConnection::direct)?;
        phase::entering_proxy();
        let Self { mut to_proxy, tls, .. } = self;
        if target.scheme() == Some(&Scheme::HTTPS) {
            let tunnel = Tunnel::new(proxy.uri().clone(), to_proxy);
            let tunnel = match proxy.basic_auth() {
                Some(credentials) => tunnel.with_auth(credentials.clone()),
                None => tunnel,
            };
            let mut through = HttpsConnector::from((Tunnelled(tunnel), tls));
            let connected = async {
                poll_fn(|context| through.poll_ready(context)).await?;
                through.call(target).await
            };
            return connected.await.map(Stream::tunnelled).map_err(NoConnection::tunnelled);
        }
        let connected = async {
            poll_fn(|context| to_proxy.poll_ready(context)).await?;
            to_proxy.call(proxy.uri().clone()).await
        };
        connected.await.map(Stream::Forwarded).map_err(NoConnection::proxy)
    }
}

/// The tunnel of a proxy, which says when it is there.
#[derive(Clone)]
struct Tunnelled(Tunnel<Direct>);

impl Service<Uri> for Tunnelled {
    type Response = stream::Near;
    type Error = <Tunnel<Direct> as Service<Uri>>::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let tunnelling = self.0.call(target);
        Box::pin(async {
            let stream = tunnelling.await?;
            phase::left_proxy();
            phase::connected();
            Ok(stream)
        })
    }
}
