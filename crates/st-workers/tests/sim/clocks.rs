//! The two clocks that may be wrong: the machine's and a provider's. Both run on simulated time.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use st_store::Clock;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// When every simulated world begins, by a clock that is right: 2026-01-01T00:00:00Z.
const BEGINNING: i64 = 1_767_225_600;

/// The true time, `since` after the beginning.
pub(crate) fn true_time(since: Duration) -> Timestamp {
    Timestamp::from_second(BEGINNING).unwrap().saturating_add(since).unwrap()
}

/// Lets this much simulated time go by.
pub(crate) async fn elapse(time: Duration) {
    tokio::time::sleep_until(Instant::now() + time).await;
}

/// The machine's clock, which can be set.
#[derive(Debug)]
pub(crate) struct MachineClock {
    began: Instant,
    /// Whose time it is. The store's own threads read it as well.
    runtime: Handle,
    wrong_by_ms: AtomicI64,
    /// When it was set, and to what. Locked for one read or change.
    history: Mutex<Vec<(Duration, SignedDuration)>>,
}

impl MachineClock {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            runtime: Handle::current(),
            wrong_by_ms: AtomicI64::new(0),
            history: Mutex::default(),
        }
    }

    /// Sets it so far off the true time.
    pub(crate) fn set(&self, wrong_by: SignedDuration) {
        let millis = i64::try_from(wrong_by.as_millis()).unwrap();
        self.wrong_by_ms.store(millis, Ordering::SeqCst);
        self.history().push((self.elapsed(), wrong_by));
    }

    fn history(&self) -> MutexGuard<'_, Vec<(Duration, SignedDuration)>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was ever set.
    pub(crate) fn was_set(&self) -> bool {
        !self.history().is_empty()
    }

    /// How long ago it was set.
    pub(crate) fn steady_for(&self) -> Duration {
        let set_at = self.history().last().map(|(at, _)| *at).unwrap_or_default();
        self.elapsed().saturating_sub(set_at)
    }

    /// How far what it shows may be off from what it showed when it was wrong by `then`, some time
    /// ago.
    pub(crate) fn spread_since(&self, at: Duration, then: SignedDuration) -> Duration {
        let errors = self.errors_since(at);
        let furthest = errors.into_iter().map(|by| (by - then).unsigned_abs()).max();
        furthest.unwrap_or_default()
    }

    /// How wrong it has been since then.
    pub(crate) fn errors_since(&self, since: Duration) -> Vec<SignedDuration> {
        let history = self.history();
        let since = history.iter().filter(|(at, _)| *at >= since);
        since.map(|(_, wrong_by)| *wrong_by).collect()
    }

    fn elapsed(&self) -> Duration {
        let _context = self.runtime.enter();
        self.began.elapsed()
    }

    pub(crate) fn wrong_by(&self) -> SignedDuration {
        SignedDuration::from_millis(self.wrong_by_ms.load(Ordering::SeqCst))
    }
}

impl Clock for MachineClock {
    fn wall(&self) -> Timestamp {
        let elapsed = Duration::from_millis(self.elapsed().as_millis() as u64);
        true_time(elapsed).saturating_add(self.wrong_by()).unwrap()
    }

    fn monotonic(&self) -> Duration {
        self.elapsed()
    }
}

/// A provider's clock: wrong from the beginning, and set now and then.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProviderClock {
    /// How wrong it is from each moment on, in order.
    pub(crate) wrong_by: Vec<(Duration, SignedDuration)>,
}

impl ProviderClock {
    /// What it shows `since` after the beginning.
    pub(crate) fn at(&self, since: Duration) -> Timestamp {
        let latest = self.wrong_by.iter().rev().find(|(from, _)| *from <= since);
        let wrong_by = latest.map_or(SignedDuration::ZERO, |(_, by)| *by);
        true_time(since).saturating_add(wrong_by).unwrap()
    }

    /// How far what it shows may be off from what it showed at another time.
    pub(crate) fn spread(&self) -> Duration {
        let errors = || self.wrong_by.iter().map(|(_, by)| *by);
        let (low, high) = (errors().min().unwrap_or_default(), errors().max().unwrap_or_default());
        (high - low).unsigned_abs()
    }

    /// Whether it is set while the world lasts.
    pub(crate) fn is_steady(&self) -> bool {
        self.wrong_by.len() <= 1
    }
}
