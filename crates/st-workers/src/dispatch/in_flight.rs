//! The jobs that a dispatcher works on.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use st_store::{AttemptToken, JobId};
use tokio::time::Instant;

use super::lease::Tenure;
use super::{Assignment, Dispatcher, LOG, lock};
use crate::driver::panic_message;
use crate::served::LONGEST_CALL;

/// The jobs in flight and the state of their leases.
#[derive(Debug)]
pub(super) struct InFlight {
    /// With the token of the latest claim: a job may be claimed anew before the dispatch of its
    /// attempt before has ended.
    jobs: BTreeMap<JobId, AttemptToken>,
    pub(super) tenure: Tenure,
    /// Whether a task renews the leases.
    renewing: bool,
}

impl InFlight {
    pub(super) fn new() -> Self {
        Self { jobs: BTreeMap::new(), tenure: Tenure::new(), renewing: false }
    }

    pub(super) fn jobs(&self) -> BTreeSet<JobId> {
        self.jobs.keys().copied().collect()
    }

    /// The jobs whose leases are to be renewed; with `None` the task that does so must end.
    pub(super) fn next_renewal(&mut self) -> Option<BTreeSet<JobId>> {
        self.renewing = !self.jobs.is_empty();
        self.renewing.then(|| self.jobs())
    }
}

/// Keeps a job in flight until it is dropped.
#[derive(Debug)]
pub(super) struct FlightGuard {
    dispatcher: Arc<Dispatcher>,
    job: JobId,
    token: AttemptToken,
}

impl Drop for FlightGuard {
    fn drop(&mut self) {
        let mut in_flight = lock(&self.dispatcher.in_flight);
        if in_flight.jobs.get(&self.job) == Some(&self.token) {
            in_flight.jobs.remove(&self.job);
        }
    }
}

impl Dispatcher {
    /// Puts a job in flight and makes sure that its lease is renewed.
    pub(super) fn enter_flight(
        self: &Arc<Self>,
        job: &Assignment,
        usable_for: Duration,
    ) -> FlightGuard {
        let (id, token) = (job.record.id(), job.attempt.token);
        let renewing = {
            let mut in_flight = lock(&self.in_flight);
            in_flight.jobs.insert(id, token);
            in_flight.tenure.claimed(job.claimed, usable_for);
            std::mem::replace(&mut in_flight.renewing, true)
        };
        if !renewing {
            let this = Arc::clone(self);
            let renewals = async move {
                while let Err(panic) = AssertUnwindSafe(this.renew_leases()).catch_unwind().await {
                    let panic = panic_message(panic.as_ref());
                    st_log::error!(logger: LOG, panic, "Renewal of leases panicked, going on");
                }
            };
            // It serves all jobs, so it starts outside of every scope.
            st_log::Scope::root().in_scope(|| self.spawn_helper(renewals));
        }
        FlightGuard { dispatcher: Arc::clone(self), job: id, token }
    }

    /// Whether the claim outlasts the longest call. After that, the outcome of a call could be
    /// reconciled by another holder before the call has ended.
    pub(super) fn outlasts_a_call(&self, job: &Assignment) -> bool {
        let tenure = lock(&self.in_flight).tenure;
        let until = tenure.usable_until(job.claimed, job.usable_until);
        Instant::now() + LONGEST_CALL <= until
    }
}
