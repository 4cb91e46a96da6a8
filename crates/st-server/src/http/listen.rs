//! Accepts connections, within limits, until the server stops.
//!
//! A client that is slow to send its request or does not take its answer is cut off, the number of
//! connections is bounded, and stopping waits for the requests that are being answered, up to a deadline.

mod capacity;
mod deadline;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt::{set_socket_send_buffer_size, set_tcp_user_timeout};
use st_log::{Logger, Scope, get_logger};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::http::peer::Peer;
use deadline::WriteDeadline;

pub(crate) use capacity::Capacity;

const LOG: Logger = get_logger("simpletuner.cloud.server");

const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// How long a client may take nothing of its answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How much the kernel keeps of what a client has not taken yet, in bytes.
const SEND_BUFFER: usize = 256 * 1024;
/// How long a client's machine may leave what was sent without a sign.
const ACK_TIMEOUT: Duration = Duration::from_mins(1);
/// After an error of `accept`, such as too many open files, before the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often it is a warning while it lasts.
const WARN_AGAIN: Duration = Duration::from_mins(1);

/// Serves that many connections at a time until `stopping`, then lets what is under way finish within `drain`. `false` when
/// something had to be cut off.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    stopping: CancellationToken,
    drain: Duration,
    connections: usize,
) -> bool {
    let graceful = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(connections));
    let mut refusals = Refusals::default();
    loop {
        let permit = tokio::select! {
            () = stopping.cancelled() => break,
            permit = Arc::clone(&connections).acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            () = stopping.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok((stream, address)) => {
                refusals.since_warning = 0;
                let address = address.ip().to_canonical();
                (stream, Peer { address, secure: false })
            }
            Err(error) => {
                refusals.log(&error);
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Err(error) = prepare(&stream) {
            st_log::debug!(
                logger: LOG, error,
                "Connection was gone before it was served"
            );
        }
        let stream = WriteDeadline::new(stream, WRITE_TIMEOUT);
        let router = TowerToHyperService::new(router.clone());
        let serve = move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            router.call(request)
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service_fn(serve));
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

/// Who has vanished takes nothing either, but does not make a write wait until the kernel's buffer is
/// full, which heartbeats fill in hours. So the kernel has a deadline too.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // A socket can be written again when a third of its buffer is free: of a large one, a client that is
    // slow and alive frees that too late. It also bounds what thousands of streams keep in the kernel.
    set_socket_send_buffer_size(stream, SEND_BUFFER)?;
    set_tcp_user_timeout(stream, u32::try_from(ACK_TIMEOUT.as_millis()).unwrap_or(u32::MAX))?;
    Ok(())
}

/// Connections that could not be accepted, of which there may be ten each second for hours.
#[derive(Debug, Default)]
struct Refusals {
    since_warning: u64,
    warned_at: Option<Instant>,
}

impl Refusals {
    fn log(&mut self, error: &io::Error) {
        self.since_warning += 1;
        if self.warned_at.is_some_and(|at| at.elapsed() < WARN_AGAIN) {
            return;
        }
        st_log::warning!(
            logger: LOG, error = *error, refused = self.since_warning,
            "Connections could not be accepted"
        );
        *self = Self { since_warning: 0, warned_at: Some(Instant::now()) };
    }
}
