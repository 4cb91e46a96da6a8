//! Notifications to the service manager that started this process, systemd or one that speaks its protocol.
//! Where there is none, nothing happens.
//!
//! Promises: the watchdog is notified only when a task of the runtime has run, the store has answered a
//! read, and no write of it has hung for minutes. A store that answers with an error is no reason: restarting the server
//! mends no full disk.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use st_log::{Logger, get_logger};
use st_store::{Error, Store};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

const LOG: Logger = get_logger("simpletuner.cloud.server");

/// A write that takes no longer is slow, as the copy of a large write-ahead log on a slow disk is, and does not
/// hang: ending the server in the middle of it would have the next one begin it again.
const SLOW: Duration = Duration::from_mins(5);
/// So often within the time that the service manager allows.
const TIMES: u32 = 3;

/// Notifies that the server is ready; then the watchdog, where the service manager has one for this process;
/// and of the stop, once it is asked for. The watchdog is notified until what this returns is dropped.
pub(crate) fn announce(
    store: Arc<impl Store + 'static>,
    soft: CancellationToken,
) -> AbortOnDropHandle<Infallible> {
    ready();
    // On a thread of the runtime, which has to be free for it.
    AbortOnDropHandle::new(st_log::spawn(async move {
        tokio::select! {
            never = keep_alive(&*store) => never,
            never = notify_at(soft) => never,
        }
    }))
}

/// The server answers requests, with the configuration as it is now.
pub(crate) fn ready() {
    notify(&[NotifyState::Ready]);
}

/// The same, with what was wrong with a configuration that was read again, for `systemctl status`; `None` removes
/// what was said before.
pub(crate) fn reloaded(fault: Option<&str>) {
    // A line break would end the message's field.
    let status = fault.map(|fault| fault.split('\n').map(str::trim).collect::<Vec<_>>().join(" "));
    notify(&[NotifyState::Status(status.as_deref().unwrap_or_default()), NotifyState::Ready]);
}

/// The configuration is being read again; [`reloaded`] follows.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => warn(&error),
    }
}

async fn notify_at(soft: CancellationToken) -> Infallible {
    soft.cancelled().await;
    notify(&[NotifyState::Stopping]);
    pending().await
}

async fn keep_alive(store: &dyn Store) -> Infallible {
    match sd_notify::watchdog_enabled().filter(|allowed| !allowed.is_zero()) {
        Some(allowed) => watch(store, allowed / TIMES, || notify(&[NotifyState::Watchdog])).await,
        None => pending().await,
    }
}

async fn watch(store: &dyn Store, period: Duration, mut notify: impl FnMut()) -> Infallible {
    let mut ticks = interval(period);
    // After a pause of the whole process one notification is enough.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_answered = true;
    let mut stuck_since = None;
    loop {
        ticks.tick().await;
        let silence = silence(store, period, &mut stuck_since).await;
        if let Some(reason) = &silence
            && was_answered
        {
            st_log::warning!(logger: LOG, reason = *reason, "Watchdog is not notified");
        }
        was_answered = silence.is_none();
        if was_answered {
            notify();
        }
    }
}

/// Why the store counts as one that does not answer; `None` where it does.
async fn silence(
    store: &dyn Store,
    patience: Duration,
    stuck_since: &mut Option<Instant>,
) -> Option<&'static str> {
    if !store.health().is_stuck {
        *stuck_since = None;
    } else if stuck_since.get_or_insert_with(Instant::now).elapsed() >= SLOW {
        return Some("a write of the store does not end");
    }
    match timeout(patience, store.has_keys()).await {
        Ok(Err(Error::Timeout { .. })) | Err(_) => Some("a read of the store does not end"),
        Ok(Ok(_) | Err(_)) => None,
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn(&error);
    }
}

fn warn(error: &std::io::Error) {
    st_log::warning!(logger: LOG, error = *error, "Service manager could not be notified");
}

#[cfg(test)]
mod tests {
    use st_store::{Integrity, MemoryStore, StoreHealth};
    use st_testkit::flaky_store::FlakyStore;
    use tokio::sync::Semaphore;

    use super::*;

    const PERIOD: Duration = Duration::from_secs(20);

    /// How often the watchdog is notified in so many periods.
    async fn notified(store: &dyn Store, periods: u32) -> u32 {
        let mut count = 0;
        // The first is notified immediately; the time ends between two.
        let time = PERIOD * (periods - 1) + PERIOD / 2;
        let watched = timeout(time, watch(store, PERIOD, || count += 1)).await;
        watched.unwrap_err();
        count
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_answers_keeps_the_server_alive_also_when_it_cannot_write() {
        let store = FlakyStore::new(Arc::new(MemoryStore::default()));
        assert_eq!(notified(&store, 3).await, 3);
        let full = StoreHealth {
            writable: Err("disk full".to_owned()),
            ..StoreHealth::new(Integrity::Sound)
        };
        store.faults().health = Some(full);
        assert_eq!(notified(&store, 3).await, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_hangs_silences_it() {
        let store = FlakyStore::new(Arc::new(MemoryStore::default()));
        let stuck = StoreHealth { is_stuck: true, ..StoreHealth::new(Integrity::Sound) };
        store.faults().health = Some(stuck);
        // For as long as it may be slow, and not any longer.
        let slow = u32::try_from(SLOW.as_secs() / PERIOD.as_secs()).unwrap();
        assert_eq!(notified(&store, slow + 9).await, slow);
        store.faults().health = None;
        assert_eq!(notified(&store, 3).await, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_hangs_silences_it_until_it_is_answered() {
        let store = FlakyStore::new(Arc::new(MemoryStore::default()));
        let permits = Arc::new(Semaphore::new(0));
        store.faults().keys_wait = Some(Arc::clone(&permits));
        assert_eq!(notified(&store, 4).await, 0);
        permits.add_permits(9);
        assert_eq!(notified(&store, 3).await, 3);
    }
}
