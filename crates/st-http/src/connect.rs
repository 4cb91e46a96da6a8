//! How a connection is made and kept: the way to the host, TCP options, TLS, the pool.
//!
//! A server chooses the version of HTTP during the TLS handshake, so HTTP/2 is never spoken in plain
//! text. A proxy is asked for its tunnel in HTTP/1.1; inside of the tunnel the host chooses.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use http::uri::Scheme;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tower_service::Service;

use crate::body::Body;
use crate::phase;
use crate::proxy::Routes;
use crate::{AddressPolicy, Config, Error, HttpVersions, tls};

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
    let to_proxy = tls::client_config(config)?;
    let mut to_host = to_proxy.clone();
    to_host.alpn_protocols = match config.http_versions {
        HttpVersions::Http1 => Vec::new(),
        HttpVersions::Http1And2 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    };
    let (tls, to_proxy) = (Arc::new(to_host), Arc::new(to_proxy));
    let policy = Arc::new(config.addresses.clone());
    let direct = HttpsConnector::from((Tcp::new(config, Arc::clone(&policy)), Arc::clone(&tls)));
    // Where the proxies are is for the operator to say, not for the user who gives a URL.
    let to_proxy = (Tcp::new(config, Arc::new(AddressPolicy::any())), to_proxy);
    let to_proxy = HttpsConnector::from(to_proxy);
    let connector = Connector { direct, to_proxy, tls, routes, policy };

    // `retry_canceled_requests` stays on: it sends again only what a reused connection gave back
    // unwritten, so it is safe for POST and hides that the server closed an idle connection.
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        // Without it idle connections are never closed.
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(config.pool_idle_timeout)
        .pool_max_idle_per_host(config.pool_max_idle_per_host);
    http2(&mut builder, config);
    Ok(builder.build(connector))
}

/// What one HTTP/2 connection may take of memory and time, whatever the other side does. The limits
/// that are not here are those of h2: the table of headers that were sent, the frames of one header, the
/// settings and pings to be acknowledged.
fn http2(builder: &mut Builder, config: &Config) {
    builder
        // For the pings, without which a dead peer would hold all requests of its connection. An idle one is
        // asked as well: the next request goes out on it.
        .timer(TokioTimer::new())
        .http2_keep_alive_interval(config.http2_ping_interval)
        .http2_keep_alive_timeout(config.http2_ping_timeout)
        .http2_keep_alive_while_idle(true)
        // What the other side may send before it is read. The connection has room for sixteen streams
        // whose bodies nobody reads; more of them hold up the others until their deadlines.
        .http2_adaptive_window(false)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_frame_size(FRAME)
        .http2_max_send_buf_size(SEND_BUFFER)
        .http2_max_header_list_size(HEADERS)
        .http2_header_table_size(HEADER_TABLE)
        // Until the other side has said how many requests it wants at once, so that few are refused.
        .http2_initial_max_send_streams(FIRST_STREAMS)
        // Streams that were reset here, about which frames may still arrive.
        .http2_max_concurrent_reset_streams(RESET_STREAMS)
        // Resets that the other side brings about by errors, after which the connection is given up.
        .http2_max_local_error_reset_streams(ERROR_RESETS);
}

/// In bytes.
const STREAM_WINDOW: u32 = 512 * 1024;
/// In bytes.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
/// In bytes.
const FRAME: u32 = 16 * 1024;
/// For each stream, in bytes.
const SEND_BUFFER: usize = 512 * 1024;
/// Of one response, in bytes.
const HEADERS: u32 = 64 * 1024;
/// Of the headers that are referred to, in bytes.
const HEADER_TABLE: u32 = 4096;
const FIRST_STREAMS: usize = 16;
const RESET_STREAMS: usize = 1024;
const ERROR_RESETS: usize = 1024;

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
