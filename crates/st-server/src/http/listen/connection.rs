//! One connection: TLS where it is served, then one request after the other.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::Request;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::Watcher;
use st_log::{Logger, get_logger};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::body::{Answering, Arriving};
use super::conduct::{Conduct, Watched};
use super::places::Place;
use crate::http::front::{Arrival, Front};

const LOG: Logger = get_logger("simpletuner.cloud.server");

const MAX_HEADER_BYTES: usize = 64 * 1024;
/// How long a client may take to agree on the keys of TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Marks an answer that goes on as long as its client likes, such as an event stream: only that nothing
/// of it is read ends it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Endless;

/// A connection that was accepted.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    router: Router,
    front: Arc<Front>,
    remote: SocketAddr,
    /// The address of this machine that the client reached.
    reached: SocketAddr,
    is_secure: bool,
}

impl Connection {
    pub(super) fn new(
        router: Router,
        front: Arc<Front>,
        stream: &TcpStream,
        remote: SocketAddr,
    ) -> Self {
        // A connection that is gone already has no address; it has no request either.
        let reached = stream.local_addr().unwrap_or(remote);
        Self { router, front, remote, reached, is_secure: false }
    }

    pub(super) async fn serve(
        mut self,
        stream: TcpStream,
        place: Place,
        watcher: Watcher,
        stopping: CancellationToken,
    ) {
        let close = place.close().clone();
        let conduct = Conduct::new(place);
        let tls = self.front.live().tls.clone();
        let served = async {
            let Some(tls) = tls else { return self.requests(stream, conduct, watcher).await };
            self.is_secure = true;
            let handshake = timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(stream));
            let shaken = tokio::select! {
                () = stopping.cancelled() => return,
                shaken = handshake => shaken,
            };
            match shaken {
                Ok(Ok(stream)) => self.requests(stream, conduct, watcher).await,
                Ok(Err(error)) => st_log::debug!(
                    logger: LOG, error, "Connection ended early"
                ),
                Err(_elapsed) => st_log::debug!(
                    logger: LOG, reason = "the client did not agree on keys in time",
                    "Connection ended early"
                ),
            }
        };
        tokio::select! {
            () = served => {}
            () = close.cancelled() => st_log::debug!(
                logger: LOG, "Connection made room for another one"
            ),
        }
    }

    async fn requests<S>(self, stream: S, conduct: Arc<Conduct>, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = Watched::new(stream, Arc::clone(&conduct));
        let answer = |request| self.clone().answer(request, Arc::clone(&conduct));
        let connection = http1::Builder::new()
            // The head has a deadline of ours, which an idle connection does not have.
            .header_read_timeout(None)
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service_fn(answer));
        if let Err(error) = watcher.watch(connection).await {
            st_log::debug!(
                logger: LOG, error, "Connection ended early"
            );
        }
    }

    async fn answer(
        mut self,
        request: Request<Incoming>,
        conduct: Arc<Conduct>,
    ) -> Result<Response<Answering<Body>>, Infallible> {
        conduct.begun(!request.body().is_end_stream());
        let (mut parts, body) = request.into_parts();
        let (live, reached) = (self.front.live(), self.reached.ip());
        let peer = live.proxies.client(self.remote.ip(), self.is_secure, &parts.headers);
        parts.extensions.insert(peer);
        parts.extensions.insert(Arrival { front: self.front, live, reached });
        let body = Arriving::new(body, Arc::clone(&conduct));
        let response = self.router.call(Request::from_parts(parts, body)).await?;
        if response.extensions().get::<Endless>().is_some() {
            conduct.streams();
        }
        Ok(response.map(|body| Answering::new(body, conduct)))
    }
}
