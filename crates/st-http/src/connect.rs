//! How a connection is made and kept: TCP options, TLS, the pool.
//!
//! HTTP/1.1 only: a dead peer holds an HTTP/2 connection and every request on it until a ping times
//! out, and the traffic here gains nothing from multiplexing.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::{Config, Error, tls};

/// A pool of connections that sends requests with whole bodies.
pub(crate) type Pool = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

const KEEPALIVE: Duration = Duration::from_secs(30);

pub(crate) fn pool(config: &Config) -> Result<Pool, Error> {
    let mut tcp = HttpConnector::new();
    // The TLS layer above decides by the scheme; left on, https:// would be refused here.
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE));
    // Shared out over the addresses of the host, so that a dead first one leaves time for the rest.
    tcp.set_connect_timeout(Some(config.connect_timeout));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls::client_config(config)?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);

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
