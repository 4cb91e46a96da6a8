//! How far a call came. The connector and the body report it while they work; a call that fails or is
//! late reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// The step of a call in which it ended, in the order in which a call goes through them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Phase {
    /// Looking up the name of the host and checking its addresses.
    Resolve,
    /// Connecting to one of the addresses.
    Connect,
    /// Reaching the proxy, and asking it for a tunnel.
    Proxy,
    /// The TLS handshake with the host.
    Tls,
    /// Handing the request to the connection: its body was not taken whole.
    Write,
    /// The request was handed over; the response head was not received.
    Head,
    /// The response head was received; the body was not complete.
    Body,
}

impl Phase {
    /// The name for logs and metrics, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
            Self::Write => "write",
            Self::Head => "head",
            Self::Body => "body",
        }
    }
}

tokio::task_local! {
    /// The call in which a connection is being made. A connection that outlives its call, because
    /// another became idle first, has no call to report to.
    static CALL: Arc<Progress>;
}

/// How far one call has come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// 0: resolving, 1: connecting, 2: in the TLS handshake.
    connecting: AtomicU8,
    /// Whether what is being reached is the proxy.
    proxy: AtomicBool,
    /// Whether the connection asked the body for something.
    body_asked_for: AtomicBool,
    /// Whether the whole body was handed to the connection.
    body_taken: AtomicBool,
}

const CONNECT: u8 = 1;
const TLS: u8 = 2;

impl Progress {
    /// Runs a call that reports to `self`.
    pub(crate) async fn of<F: Future>(self: Arc<Self>, call: F) -> F::Output {
        CALL.scope(self, call).await
    }

    /// Where a call is that no connection was given to.
    pub(crate) fn before_connection(&self) -> Phase {
        match (self.proxy.load(Ordering::Relaxed), self.connecting.load(Ordering::Relaxed)) {
            (true, _) => Phase::Proxy,
            (false, TLS) => Phase::Tls,
            (false, CONNECT) => Phase::Connect,
            (false, _) => Phase::Resolve,
        }
    }

    /// Where a call is that has a connection and no response head.
    pub(crate) fn on_connection(&self) -> Phase {
        if self.body_taken.load(Ordering::Relaxed) { Phase::Head } else { Phase::Write }
    }

    /// The connection asks the body for a piece.
    pub(crate) fn asking_for_body(&self) {
        self.body_asked_for.store(true, Ordering::Relaxed);
    }

    pub(crate) fn body_asked_for(&self) -> bool {
        self.body_asked_for.load(Ordering::Relaxed)
    }

    pub(crate) fn body_taken(&self) {
        self.body_taken.store(true, Ordering::Relaxed);
    }
}

fn report(report: impl FnOnce(&Progress)) {
    // Outside of a call there is nothing to report to.
    if let Ok(progress) = CALL.try_with(Arc::clone) {
        report(&progress);
    }
}

/// The connector goes to a proxy first.
pub(crate) fn entering_proxy() {
    report(|progress| progress.proxy.store(true, Ordering::Relaxed));
}

/// The proxy made a tunnel.
pub(crate) fn left_proxy() {
    report(|progress| progress.proxy.store(false, Ordering::Relaxed));
}

/// The addresses are known.
pub(crate) fn resolved() {
    report(|progress| progress.connecting.store(CONNECT, Ordering::Relaxed));
}

/// There is a TCP connection.
pub(crate) fn connected() {
    report(|progress| progress.connecting.store(TLS, Ordering::Relaxed));
}
