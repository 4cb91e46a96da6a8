//! Accepts connections, within limits, until the server stops.
//!
//! A client that is slow to send its request or does not read its answer is cut off, the number of
//! connections is bounded, and stopping waits for the requests that are being answered, up to a deadline.

mod body;
mod capacity;
mod conduct;
mod connection;
mod places;
#[cfg(test)]
mod tests;
pub(crate) mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use hyper_util::server::graceful::GracefulShutdown;
use rustix::net::sockopt::{set_socket_send_buffer_size, set_tcp_user_timeout};
use st_log::{Logger, Scope, get_logger};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use connection::Connection;
use places::{Client, Place};

use super::front::Front;

pub(crate) use capacity::Capacity;
pub(crate) use connection::Endless;
pub(crate) use places::Places;

const LOG: Logger = get_logger("simpletuner.cloud.server");

/// How much the kernel keeps of what a client has not read yet, in bytes.
const SEND_BUFFER: usize = 256 * 1024;
/// How long a client's machine may leave what was sent without a sign.
const ACK_TIMEOUT: Duration = Duration::from_mins(1);
/// After an error of `accept`, such as too many open files, before the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often it is a warning while it lasts.
const WARN_AGAIN: Duration = Duration::from_mins(1);

/// Serves until `stopping`, then lets what is under way finish within `drain`. `false` when something
/// had to be cut off.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    front: Arc<Front>,
    stopping: CancellationToken,
    drain: Duration,
) -> bool {
    let graceful = GracefulShutdown::new();
    let mut door = Door::new(Arc::clone(&front));
    loop {
        let entered = tokio::select! {
            () = stopping.cancelled() => break,
            entered = door.next(&listener) => entered,
        };
        let Some((stream, remote, place)) = entered else { continue };
        let connection = Connection::new(router.clone(), Arc::clone(&front), &stream, remote);
        let serve = connection.serve(stream, place, graceful.watcher(), stopping.clone());
        // Each request makes its own scope; the connection belongs to none.
        drop(Scope::root().in_scope(|| st_log::spawn(serve)));
    }
    drop(listener);
    timeout(drain, graceful.shutdown()).await.is_ok()
}

/// Where connections come in, and who is let in.
#[derive(Debug)]
struct Door {
    front: Arc<Front>,
    failures: Warnings,
    refusals: Warnings,
}

impl Door {
    fn new(front: Arc<Front>) -> Self {
        Self { front, failures: Warnings::default(), refusals: Warnings::default() }
    }

    /// The next connection, with its place; `None` when it was refused or could not be accepted.
    async fn next(&mut self, listener: &TcpListener) -> Option<(TcpStream, SocketAddr, Place)> {
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(refused) = self.failures.next() {
                    st_log::warning!(
                        logger: LOG, error, refused, "Connections could not be accepted"
                    );
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                return None;
            }
        };
        let Ok(place) = self.front.places.take(self.share(remote)).await else {
            self.front.refused.fetch_add(1, Ordering::Relaxed);
            if let Some(refused) = self.refusals.next() {
                st_log::warning!(
                    logger: LOG, refused, address = remote.ip().to_string(),
                    setting = "server.connections_per_address",
                    "Connections are refused: their address has as many as one may have"
                );
            }
            return None;
        };
        if let Err(error) = prepare(&stream) {
            st_log::debug!(
                logger: LOG, error, "Connection was gone before it was served"
            );
        }
        Some((stream, remote, place))
    }

    /// How many connections this client may have. Programs of this machine are not strangers, and behind
    /// a proxy are many clients.
    fn share(&self, remote: SocketAddr) -> Option<(Client, usize)> {
        let (live, address) = (self.front.live(), remote.ip().to_canonical());
        let is_free = address.is_loopback() || live.proxies.contain(address);
        (!is_free).then(|| (Client::of(address), live.connections_per_address))
    }
}

/// Who has vanished reads nothing either, but does not make a write wait until the kernel's buffer is
/// full, which heartbeats fill in hours. So the kernel has a deadline too.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // A socket can be written again when a third of its buffer is free: of a large one, a client that is
    // slow and alive frees that too late. It also bounds what thousands of streams keep in the kernel.
    set_socket_send_buffer_size(stream, SEND_BUFFER)?;
    set_tcp_user_timeout(stream, u32::try_from(ACK_TIMEOUT.as_millis()).unwrap_or(u32::MAX))?;
    Ok(())
}

/// What may happen ten times each second for hours, and is a warning once a minute.
#[derive(Debug, Default)]
struct Warnings {
    since_warning: u64,
    warned_at: Option<Instant>,
}

impl Warnings {
    /// How often it happened since the last warning, when it is time for the next one.
    fn next(&mut self) -> Option<u64> {
        self.since_warning += 1;
        if self.warned_at.is_some_and(|at| at.elapsed() < WARN_AGAIN) {
            return None;
        }
        self.warned_at = Some(Instant::now());
        Some(std::mem::take(&mut self.since_warning))
    }
}
