//! How fast a file must arrive: a sender that only drips would hold its place for days.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// How long a sender may take for [`LEAST`].
const WINDOW: Duration = Duration::from_mins(5);
/// Bytes within a window. That is the speed of a modem, which no storage of outputs has; at it, the few
/// places for downloads would be taken until nothing can be fetched any more.
const LEAST: u64 = 1024 * 1024;

/// Less arrived than must.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooSlow;

/// The bytes of the window that runs.
#[derive(Debug)]
pub(super) struct Pace {
    ends: Instant,
    received: u64,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { ends: Instant::now() + WINDOW, received: 0 }
    }

    pub(super) fn note(&mut self, bytes: u64) {
        self.received = self.received.saturating_add(bytes);
    }

    /// Waits for what brings the next bytes, which must be safe to be given up.
    pub(super) async fn keep<T>(&mut self, next: impl Future<Output = T>) -> Result<T, TooSlow> {
        let mut next = std::pin::pin!(next);
        loop {
            if Instant::now() < self.ends
                && let Ok(next) = timeout_at(self.ends, &mut next).await
            {
                return Ok(next);
            }
            if self.received < LEAST {
                return Err(TooSlow);
            }
            *self = Self::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    /// How long a sender of so many bytes per second is waited for.
    async fn endured(bytes: u64) -> Duration {
        let (mut pace, start) = (Pace::new(), Instant::now());
        while pace.keep(sleep(Duration::from_secs(1))).await.is_ok() {
            pace.note(bytes);
            if start.elapsed() > 10 * WINDOW {
                break;
            }
        }
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_that_drips_is_left_after_one_window() {
        let within = |time: Duration| time.abs_diff(WINDOW) <= Duration::from_secs(1);
        assert!(within(endured(0).await));
        assert!(within(endured(3000).await));
        assert!(endured(4000).await > 10 * WINDOW);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_after_a_good_window_is_found_in_the_next() {
        let (mut pace, start) = (Pace::new(), Instant::now());
        pace.note(LEAST);
        let never = pace.keep(std::future::pending::<()>()).await;
        assert_eq!((never, start.elapsed().as_secs()), (Err(TooSlow), 2 * WINDOW.as_secs()));
    }
}
