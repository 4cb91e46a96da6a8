//! Signals: the first SIGTERM or SIGINT asks to stop, the second one insists; SIGHUP reopens the
//! log file and asks for the configuration to be read again. SIGXFSZ, which comes with a write beyond the limit of a file's size, must not end the
//! server: the write fails like one on a full disk.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use st_log::{LogHandle, Logger, get_logger};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const LOG: Logger = get_logger("simpletuner.cloud.server");
/// How often it is a warning that a file may not grow.
const WARN_AGAIN: Duration = Duration::from_mins(1);

/// What the signals ask for.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Finish what is under way and stop.
    pub soft: CancellationToken,
    /// Stop at once.
    pub hard: CancellationToken,
    /// Read the configuration again.
    pub reload: Arc<Notify>,
}

impl Shutdown {
    /// Listens for the signals from now on.
    pub fn on_signals(log: LogHandle) -> io::Result<Self> {
        let shutdown = Self::default();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut file_size = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?;
        let Self { soft, hard, reload } = shutdown.clone();
        let mut warned_at = None;
        drop(st_log::spawn(async move {
            loop {
                let name = tokio::select! {
                    Some(()) = terminate.recv() => "SIGTERM",
                    Some(()) = interrupt.recv() => "SIGINT",
                    Some(()) = hangup.recv() => {
                        if log.reopen() {
                            st_log::info!(logger: LOG, "Log file reopened");
                        }
                        reload.notify_one();
                        continue;
                    }
                    Some(()) = file_size.recv() => {
                        // The write of this line may be the next one that is refused.
                        if warned_at.is_none_or(|at: Instant| at.elapsed() >= WARN_AGAIN) {
                            warned_at = Some(Instant::now());
                            st_log::warning!(
                                logger: LOG,
                                "Write failed: file size limit reached (ulimit -f)"
                            );
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
