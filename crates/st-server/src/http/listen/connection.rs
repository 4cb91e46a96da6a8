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

#[cfg(test)]
mod tests {
    use axum::routing::{get, post};
    use hyper_util::server::graceful::GracefulShutdown;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::{Instant, advance};

    use super::*;
    use crate::http::extract;
    use crate::http::front::Live;
    use crate::http::listen::Capacity;
    use crate::http::listen::places::Places;
    use crate::http::middleware;
    use crate::http::paths::router;

    /// The client's end of a connection that is served.
    async fn connected() -> DuplexStream {
        let routes = router([
            ("/health", get(async || "healthy")),
            ("/body", post(extract::tests::read_it)),
        ]);
        let remote = "127.0.0.1:1".parse().unwrap();
        let capacity = Capacity { connections: 9, streams: 1 };
        let connection = Connection {
            router: middleware::around(routes, (), false),
            front: Front::new(Live::default(), capacity),
            remote,
            reached: remote,
            is_secure: false,
        };
        let (client, server) = duplex(64 * 1024);
        let conduct = Conduct::new(Places::new(9).take(None).await.unwrap());
        let graceful = GracefulShutdown::new();
        let watcher = graceful.watcher();
        drop(st_log::spawn(async move {
            connection.requests(server, conduct, watcher).await;
            drop(graceful);
        }));
        client
    }

    async fn asked(client: &mut DuplexStream) {
        let get = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
        client.write_all(get).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"healthy") {
            answer.push(client.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
    }

    /// What comes until the server closes the connection, and after how many seconds.
    async fn rest(client: &mut DuplexStream) -> (String, u64) {
        let (began, mut rest) = (Instant::now(), String::new());
        client.read_to_string(&mut rest).await.unwrap();
        (rest, began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_kept_longer_than_a_head_may_take() {
        let mut client = connected().await;
        for _ in 0..3 {
            asked(&mut client).await;
            advance(Duration::from_mins(1)).await;
        }
        asked(&mut client).await;
        assert_eq!(rest(&mut client).await, (String::new(), 75));
    }

    #[tokio::test(start_paused = true)]
    async fn the_head_of_a_request_must_end_also_on_a_connection_that_was_good_before() {
        let mut client = connected().await;
        asked(&mut client).await;
        advance(Duration::from_mins(1)).await;
        client.write_all(b"GET /health HTTP/1.1\r\nHo").await.unwrap();
        assert_eq!(rest(&mut client).await, (String::new(), 10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_refused_and_the_connection_closed() {
        let mut client = connected().await;
        let head = b"POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{";
        client.write_all(head).await.unwrap();
        let (said, seconds) = rest(&mut client).await;
        assert!(said.starts_with("HTTP/1.1 408 ") && said.contains("body_too_slow"), "{said}");
        assert_eq!(seconds, 5);
    }
}
