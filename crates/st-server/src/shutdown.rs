//! Signals: the first SIGTERM or SIGINT asks to stop, the second one insists; SIGHUP reopens the
//! log file.

use std::io;

use st_log::{LogHandle, Logger, get_logger};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

const LOG: Logger = get_logger("simpletuner.cloud.server");

/// What the signals ask for.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Finish what is under way and stop.
    pub soft: CancellationToken,
    /// Stop at once.
    pub hard: CancellationToken,
}

impl Shutdown {
    /// Listens for the signals from now on.
    pub fn on_signals(log: LogHandle) -> io::Result<Self> {
        let shutdown = Self::default();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let (soft, hard) = (shutdown.soft.clone(), shutdown.hard.clone());
        drop(st_log::spawn(async move {
            loop {
                let name = tokio::select! {
                    Some(()) = terminate.recv() => "SIGTERM",
                    Some(()) = interrupt.recv() => "SIGINT",
                    Some(()) = hangup.recv() => {
                        if log.reopen() {
                            st_log::info!(logger: LOG, "Log file reopened");
                        }
                        continue;
                    }
                    else => return,
                };
                if soft.is_cancelled() {
                    st_log::warning!(logger: LOG, signal = name, "Stopping at once");
                    hard.cancel();
                    return;
                }
                st_log::info!(logger: LOG, signal = name, "Stopping");
                soft.cancel();
            }
        }));
        Ok(shutdown)
    }
}
