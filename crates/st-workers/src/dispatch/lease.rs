//! The leases of one holder: renewed while anything is in flight.

use std::time::Duration;

use st_log::Chain;
use tokio::time::{Instant, sleep};

use super::{Dispatcher, LOG, lock};
use crate::reminder::Reminder;

/// How long a claim lasts unless it is renewed: longer than any call to a provider.
pub(super) const LEASE: Duration = Duration::from_secs(90);
/// Between two renewals a claim always outlasts the longest call.
const RENEW_EVERY: Duration = Duration::from_secs(20);
/// The wait after a renewal that failed.
const RENEW_AGAIN: Duration = Duration::from_secs(5);

/// Until when the claims of a holder may be relied on. One renewal extends them all, but not those
/// that had run out before it: another holder may have reclaimed them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tenure {
    /// Claims made since then were renewed without a gap.
    since: Instant,
    until: Instant,
}

impl Tenure {
    /// The tenure of a holder without claims.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { since: now, until: now }
    }

    /// A claim was made; `before` is an instant before the call.
    pub(super) fn claimed(&mut self, before: Instant, usable_for: Duration) {
        if before >= self.until {
            *self = Self { since: before, until: before + usable_for };
        }
    }

    /// All leases were renewed; `before` is an instant before the call.
    pub(super) fn renewed(&mut self, before: Instant) {
        if before > self.until {
            self.since = before;
        }
        self.until = before + LEASE;
    }

    /// Until when a claim may be relied on that was made after `claimed`, and lasts until `until`
    /// by itself.
    pub(super) fn usable_until(&self, claimed: Instant, until: Instant) -> Instant {
        if claimed >= self.since { until.max(self.until) } else { until }
    }
}

impl Dispatcher {
    /// Renews the leases of this holder until nothing is in flight.
    pub(super) async fn renew_leases(&self) {
        let mut failing = Reminder::default();
        let mut wait = RENEW_EVERY;
        loop {
            sleep(wait).await;
            let Some(jobs) = lock(&self.in_flight).next_renewal() else { return };
            let before = Instant::now();
            wait = match self.store.renew(self.holder, LEASE, &jobs).await {
                Ok(_renewed) => {
                    failing = Reminder::default();
                    lock(&self.in_flight).tenure.renewed(before);
                    RENEW_EVERY
                }
                Err(error) => {
                    if failing.is_due() {
                        st_log::warning!(
                            logger: LOG, reason = Chain(&error).to_string(),
                            "Leases could not be renewed, trying again"
                        );
                    }
                    RENEW_AGAIN
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_renewal_extends_only_claims_that_had_not_run_out() {
        let second = Duration::from_secs(1);
        let mut tenure = Tenure::new();
        let claimed = Instant::now() + second;
        let until = claimed + LEASE;
        tenure.claimed(claimed, LEASE);
        tenure.renewed(claimed + 30 * second);
        assert_eq!(tenure.usable_until(claimed, until), claimed + 120 * second);
        // The next renewal comes too late for that claim, and counts for one made after it.
        tenure.renewed(claimed + 121 * second);
        assert_eq!(tenure.usable_until(claimed, until), until);
        let later = claimed + 130 * second;
        tenure.claimed(later, LEASE);
        assert_eq!(tenure.usable_until(later, later + LEASE), later + LEASE);
        tenure.renewed(later + 21 * second);
        assert_eq!(tenure.usable_until(later, later + LEASE), later + LEASE + 21 * second);
    }
}
