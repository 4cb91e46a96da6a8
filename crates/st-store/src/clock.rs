//! Where time comes from.
//!
//! A [`Clock`] has two readings: the time of day, which an administrator or NTP may set, and a
//! monotonic time, which nobody can. The store makes one time of both, see [`StoreClock`].

mod store;

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use store::ClockEvidence;
#[cfg(feature = "sqlite")]
pub(crate) use store::LastConfirmed;
pub(crate) use store::{Step, StoreClock};

/// The time of day and the time that has passed.
pub trait Clock: Debug + Send + Sync {
    /// The time of day, to the millisecond. It can be set, forwards and backwards.
    fn wall(&self) -> Timestamp;

    /// The time since some fixed moment. It never goes back, and counts the time for which the
    /// machine was suspended where the system can tell.
    fn monotonic(&self) -> Duration;

    /// The time of day.
    fn now(&self) -> Timestamp {
        self.wall()
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the time is read")]
    fn wall(&self) -> Timestamp {
        crate::model::to_millis(Timestamp::now())
    }

    fn monotonic(&self) -> Duration {
        // Only this one goes on while the machine is suspended.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let clock = rustix::time::ClockId::Boottime;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let clock = rustix::time::ClockId::Monotonic;
        let time = rustix::time::clock_gettime(clock);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
    }
}

/// A clock for tests: it moves only when it is moved.
#[derive(Debug)]
pub struct ManualClock {
    wall: AtomicI64,
    monotonic: AtomicU64,
}

impl ManualClock {
    /// A clock whose time of day is `start`.
    pub fn new(start: Timestamp) -> Self {
        Self { wall: AtomicI64::new(start.as_millisecond()), monotonic: AtomicU64::new(0) }
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.monotonic.fetch_add(millis, Ordering::SeqCst);
        self.wall.fetch_add(i64::try_from(millis).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Sets the time of day, as an administrator does: no time passes.
    pub fn step(&self, by: SignedDuration) {
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.wall.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millisecond(self.wall.load(Ordering::SeqCst)).unwrap_or(Timestamp::MAX)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic.load(Ordering::SeqCst))
    }
}
