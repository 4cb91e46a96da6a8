//! What must hold at every moment of every world, whatever goes wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use st_store::{Claims, Expiry, JobId, JobRecord, Limits, Marker, ProviderJobId, Settled, Store};

use crate::jobs::Grant;
use crate::ledger::{Accepted, Kind};
use crate::world::{State, Violation, World};

/// A clock that is wrong by less than this, or was not set for so long, is believed.
const BELIEVED: SignedDuration = SignedDuration::from_hours(24);
/// How much a deadline may be off because times are stored in whole milliseconds and steps of less
/// than a minute are none.
const SLACK: Duration = Duration::from_secs(70);

impl World {
    fn found(&self, state: &mut State, job: Option<JobId>, what: String) {
        self.journal.note(format!("VIOLATION: {what}"));
        state.violations.push(Violation { what, job });
        self.alarm();
    }

    /// A provider accepted a job: only one submission of a job may ever be accepted, and no more
    /// jobs may run than the limits allowed when the last of them was claimed.
    pub(crate) fn judge_acceptance(&self, state: &mut State, id: &ProviderJobId) {
        let now = self.now();
        let Some(accepted) = state.ledger.find(id).cloned() else { return };
        if accepted.is_copy() {
            return;
        }
        if !self.plan.wild {
            self.judge_double(state, &accepted);
        }
        let mut latest: Option<Grant> = None;
        let mut used: BTreeMap<&str, u32> = BTreeMap::new();
        for other in state.ledger.jobs.iter().filter(|job| job.is_live(now)) {
            let wanted = &state.jobs[&other.call.marker.job];
            // What was claimed in a history that a restore undid is found later, or ends.
            let Some(grant) = wanted.grant.filter(|it| it.number > state.grants_lost_before) else {
                continue;
            };
            if other.kind != Kind::Submitted {
                continue;
            }
            latest = latest.filter(|it| it.number > grant.number).or(Some(grant));
            *used.entry(wanted.user).or_default() += 1;
        }
        let Some(Grant { limits, .. }) = latest else { return };
        let total: u32 = used.values().sum();
        let job = Some(accepted.call.marker.job);
        if total > limits.global {
            let what = format!("{total} jobs run at the providers, and {} may", limits.global);
            self.found(state, job, what);
        }
        let owner = state.jobs[&accepted.call.marker.job].user;
        let of_user = used.get(owner).copied().unwrap_or_default();
        if of_user > limits.per_user {
            let what = format!("{of_user} jobs of {owner} run, and {} may", limits.per_user);
            self.found(state, job, what);
        }
    }

    fn judge_double(&self, state: &mut State, accepted: &Accepted) {
        let now = self.now();
        let job = accepted.call.marker.job;
        let earlier = state.ledger.of_job(job).find(|other| {
            other.call.number != accepted.call.number
                && !other.is_copy()
                && !other.is_forgotten(now)
        });
        if let Some(earlier) = earlier.cloned() {
            let what = format!(
                "{} was submitted twice: as {} (attempt {}) and as {} (attempt {})",
                state.jobs[&job].name,
                earlier.id,
                earlier.call.marker.attempt,
                accepted.id,
                accepted.call.marker.attempt,
            );
            self.found(state, Some(job), what);
        }
    }

    /// A live job was cancelled at a provider: never one that a person made. Whether there was a
    /// reason to cancel it is judged at the end, when it is known which one its job adopted.
    pub(crate) fn judge_cancellation(&self, state: &mut State, id: &ProviderJobId) {
        let Some(job) = state.ledger.find(id).cloned() else { return };
        if job.is_copy() {
            let what = format!("{id}, which a person made by hand, was cancelled");
            self.found(state, Some(job.call.marker.job), what);
        }
    }

    /// Jobs were claimed under these limits.
    pub(crate) fn note_claims(&self, claims: &Claims, limits: Limits) {
        let mut state = self.state();
        for claim in &claims.claims {
            state.grants += 1;
            let grant = Grant { number: state.grants, limits };
            if let Some(job) = state.jobs.get_mut(&claim.record.id()) {
                job.grant = Some(grant);
                let attempt = claim.record.entry().attempt;
                self.journal.note(format!("{} is claimed, attempt {attempt}", job.name));
            }
        }
    }

    /// Claims of dead holders were claimed again.
    pub(crate) fn note_reclaims(&self, claims: &Claims) {
        for claim in &claims.claims {
            let name = self.name(claim.record.id());
            let reclaims = claim.record.entry().reclaims;
            self.journal.note(format!("{name} is reclaimed, {reclaims} in a row"));
            // Whether it was sent is not known to the server; it may count as an attempt.
            *self.state().misses.entry(claim.record.id()).or_default() += 1;
        }
    }

    /// Requests for approval expired: none before its deadline, by the true time.
    pub(crate) fn judge_expiry(&self, expiry: &Expiry) {
        let now = self.now();
        for record in &expiry.expired {
            let (name, sent_at, ttl, clock_was_wrong_by) = {
                let mut state = self.state();
                let Some(job) = state.jobs.get_mut(&record.id()) else { continue };
                job.expired = true;
                (job.name.clone(), job.sent_at, job.approval, job.clock_wrong_by)
            };
            self.journal.note(format!("the approval of {name} expired"));
            let (Some(sent_at), Some(ttl)) = (sent_at, ttl) else { continue };
            let early = (sent_at + ttl).saturating_sub(now);
            let believable = self.believable_error(sent_at, clock_was_wrong_by);
            if early > SLACK.saturating_add(believable) {
                let what = format!("the approval of {name} expired {early:?} too early");
                self.violate(Some(record.id()), what);
            }
        }
    }

    /// By how much an approval may expire early that was made when the clock was wrong by `wrong_by`.
    /// Its deadline is a date of that clock: one that was right before or is right now may believe
    /// what it shows, as far as a clock is believed at all.
    fn believable_error(&self, made: Duration, wrong_by: SignedDuration) -> Duration {
        if wrong_by.abs() > SLACK.try_into().unwrap() {
            return Duration::MAX;
        }
        let errors = self.machine.errors_since(made);
        let worst = errors.into_iter().map(SignedDuration::abs).filter(|error| *error < BELIEVED);
        let worst = worst.max().unwrap_or_default();
        if self.machine.steady_for() > BELIEVED.unsigned_abs() {
            return Duration::MAX;
        }
        worst.unsigned_abs()
    }

    /// What became of an attempt, or of a job at a provider, was stored.
    pub(crate) fn note_settled(&self, marker: Marker, settled: Settled, record: &JobRecord) {
        let name = self.name(record.id());
        let at = record.provider_job_id().map(ToString::to_string).unwrap_or_default();
        self.journal.note(format!(
            "{name} attempt {}, {settled:?}: {} {} {at} {}",
            marker.attempt,
            record.status(),
            record.queue_status(),
            record.job().error_message.as_deref().unwrap_or_default(),
        ));
        let now = self.now();
        let mut state = self.state();
        match record.provider_job_id() {
            Some(id) => {
                if let Some(job) = state.ledger.find(id) {
                    job.answered = true;
                }
            }
            None if matches!(settled, Settled::Requeued | Settled::Ended(_)) => {
                state.not_arrived.insert(marker, now);
            }
            None => {}
        }
    }
}

/// The limits that apply now.
pub(crate) async fn limits_of(store: &dyn Store) -> Limits {
    store.limits().await.unwrap_or_default()
}
