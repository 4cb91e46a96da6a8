//! Accepts connections, within limits, until the server stops.
//!
//! A client that is slow to send its request is cut off, the number of connections is bounded, and
//! stopping waits for the requests under way, but not for ever.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use st_log::{Logger, Scope, get_logger};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

const LOG: Logger = get_logger("simpletuner.cloud.server");

const CONNECTIONS: usize = 6_000;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// After an error of `accept`, such as too many open files, before the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stopping`, then lets what is under way finish within `drain`. `false` when
/// something had to be cut off.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    stopping: CancellationToken,
    drain: Duration,
) -> bool {
    let graceful = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = tokio::select! {
            () = stopping.cancelled() => break,
            permit = Arc::clone(&connections).acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            () = stopping.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _peer)) => stream,
            Err(error) => {
                st_log::warning!(
                    logger: LOG, error,
                    "Connection could not be accepted"
                );
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            st_log::debug!(
                logger: LOG, error,
                "Connection was gone before it was served"
            );
        }
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        let serve = async move {
            if let Err(error) = connection.await {
                st_log::debug!(
                    logger: LOG, error,
                    "Connection ended early"
                );
            }
            drop(permit);
        };
        // Each request makes its own scope; the connection belongs to none.
        drop(Scope::root().in_scope(|| st_log::spawn(serve)));
    }
    drop(listener);
    tokio::time::timeout(drain, graceful.shutdown()).await.is_ok()
}
