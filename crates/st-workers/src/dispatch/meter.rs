//! How long jobs wait for their turn, and how long it takes to hand them over.

use std::time::Duration;

use st_store::{ClaimOrigin, JobRecord, Scale, TimingCounts, Timings};

/// How long jobs wait in the queue and until the provider has them. The dispatcher counts, the metrics
/// read.
#[derive(Debug)]
pub(super) struct DispatchMeter {
    queue_waits: Timings,
    handovers: Timings,
}

/// How long jobs waited and how long it took to hand them over, since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DispatchTimings {
    /// From when a job could run, by its date and its approval, until it was claimed for the first time.
    pub queue_waits: TimingCounts,
    /// From the claim until the provider accepted the job.
    pub handovers: TimingCounts,
}

impl Default for DispatchMeter {
    fn default() -> Self {
        Self { queue_waits: Timings::new(Scale::Waits), handovers: Timings::new(Scale::Calls) }
    }
}

impl DispatchMeter {
    /// A job was claimed. Only its first claim ends a wait in the queue.
    pub(super) fn claimed(&self, record: &JobRecord) {
        let entry = record.entry();
        let is_new = record.stage().claimed().is_some_and(|it| it.origin == ClaimOrigin::New);
        if let Some(started_at) = entry.started_at.filter(|_| is_new && entry.attempt == 1) {
            let waited = started_at.duration_since(entry.waits_since);
            // The clock may have been set back in between.
            self.queue_waits.observe(waited.try_into().unwrap_or_default());
        }
    }

    /// The provider accepted a job that was claimed so long ago.
    pub(super) fn accepted(&self, claimed_ago: Duration) {
        self.handovers.observe(claimed_ago);
    }

    pub(super) fn read(&self) -> DispatchTimings {
        DispatchTimings { queue_waits: self.queue_waits.read(), handovers: self.handovers.read() }
    }
}
