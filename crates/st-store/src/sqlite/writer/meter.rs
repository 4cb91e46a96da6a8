//! How long writes wait, and how long it takes to commit them.

use std::time::Duration;

use super::Lane;
use crate::figures::WriteTimings;
use crate::timings::{Scale, Timings};

/// How long writes wait and commit. The writing thread counts, the metrics read.
#[derive(Debug)]
pub(super) struct Meter {
    worker: Timings,
    interactive: Timings,
    bulk: Timings,
    commits: Timings,
}

impl Default for Meter {
    fn default() -> Self {
        let calls = || Timings::new(Scale::Calls);
        Self { worker: calls(), interactive: calls(), bulk: calls(), commits: calls() }
    }
}

impl Meter {
    /// An operation begins after it waited so long.
    pub(super) fn waited(&self, lane: Lane, waited: Duration) {
        let timings = match lane {
            Lane::Worker => &self.worker,
            Lane::Interactive => &self.interactive,
            Lane::Bulk => &self.bulk,
        };
        timings.observe(waited);
    }

    /// A transaction was committed, which took so long.
    pub(super) fn committed(&self, took: Duration) {
        self.commits.observe(took);
    }

    pub(super) fn read(&self) -> WriteTimings {
        WriteTimings {
            worker_waits: self.worker.read(),
            interactive_waits: self.interactive.read(),
            bulk_waits: self.bulk.read(),
            commits: self.commits.read(),
        }
    }
}
