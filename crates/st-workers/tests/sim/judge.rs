//! What must hold at every moment of every world, whatever goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::SignedDuration;
use st_store::{Claims, Expiry, JobId, Limits, Marker, ProviderJobId, Store};

use crate::jobs::{EndedBy, Grant};
use crate::ledger::{Accepted, Call, Kind, Known};
use crate::users::{BEHIND_A_SWEEP, SWEEPER};
use crate::world::{State, Violation, World};

/// A clock that is wrong by less than this, or was not set for this time, is believed.
const BELIEVED: SignedDuration = SignedDuration::from_hours(24);
/// How much a deadline may be off because times are stored in whole milliseconds and steps of less
/// than a minute are none.
const SLACK: Duration = Duration::from_secs(70);

impl World {
    fn violate_locked(&self, state: &mut State, job: Option<JobId>, what: String) {
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
        let (mut latest, mut latest_of_owner): (Option<Grant>, Option<Grant>) = (None, None);
        let owner = state.jobs[&accepted.call.marker.job].user;
        let mut used: BTreeMap<&str, u32> = BTreeMap::new();
        // What was claimed in a history that a restore undid is found later, or ends.
        let grant_of = |run: &Accepted| {
            let grant = state.jobs[&run.call.marker.job].grant;
            grant.filter(|it| it.number > state.grants_lost_before)
        };
        let live = || state.ledger.jobs.iter().filter(|job| job.is_live(now) && !job.is_copy());
        for run in live().filter(|run| run.kind == Kind::Submitted) {
            let Some(grant) = grant_of(run) else { continue };
            latest = latest.filter(|it| it.number > grant.number).or(Some(grant));
            if state.jobs[&run.call.marker.job].user == owner {
                latest_of_owner =
                    latest_of_owner.filter(|it| it.number > grant.number).or(Some(grant));
            }
        }
        let Some(Grant { limits, at, .. }) = latest else { return };
        // A limit may be exceeded by the duplicates that the server did not know of when it granted
        // the latest claim, and by what a person gave up, and by nothing else.
        let mut slots = BTreeSet::new();
        for run in live().filter(|run| grant_of(run).is_some()) {
            let job = &state.jobs[&run.call.marker.job];
            let takes_a_slot = match run.known_at(at) {
                Some(Known::Stray) => true,
                Some(Known::Adopted) => slots.insert(job.id),
                None => {
                    let is_own = run.kind == Kind::Submitted;
                    is_own && !job.ended_by.contains(&EndedBy::Operator) && slots.insert(job.id)
                }
            };
            *used.entry(job.user).or_default() += u32::from(takes_a_slot);
        }
        let total: u32 = used.values().sum();
        let job = Some(accepted.call.marker.job);
        if total > limits.global {
            let what = format!("{total} jobs run at the providers, and {} may", limits.global);
            self.violate_locked(state, job, what);
        }
        // A limit that was lowered ends nothing that runs.
        let Some(Grant { limits, .. }) = latest_of_owner else { return };
        let of_user = used.get(owner).copied().unwrap_or_default();
        if of_user > limits.per_user {
            let what = format!("{of_user} jobs of {owner} run, and {} may", limits.per_user);
            self.violate_locked(state, job, what);
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
            self.violate_locked(state, Some(job), what);
        }
    }

    /// A live job was cancelled at a provider: never one that a person made. Whether there was a
    /// reason to cancel it is judged at the end, when it is known which one its job adopted.
    pub(crate) fn judge_cancellation(&self, state: &mut State, id: &ProviderJobId) {
        let Some(job) = state.ledger.find(id).cloned() else { return };
        if job.is_copy() {
            let what = format!("{id}, which a person made by hand, was cancelled");
            self.violate_locked(state, Some(job.call.marker.job), what);
        }
    }

    /// A submission is sent: none that was refused before, while the job of another user waits that
    /// never was tried. That job could be claimed whenever this one can, because its user has no
    /// other.
    pub(crate) fn judge_order(&self, call: Call) {
        let job = call.marker.job;
        let state = &mut *self.state();
        let Some(sweeper) = state.jobs.get(&job).filter(|job| job.user == SWEEPER) else { return };
        let name = sweeper.name.clone();
        let waits = state.jobs.values().any(|job| {
            let waits = job.acknowledged_at.is_some() && job.ended_at.is_none();
            job.user == BEHIND_A_SWEEP && waits && job.grant.is_none()
        });
        let times = state.evidence.sent_in_series(job, call.provider);
        if waits && times > 1 {
            let what = format!("{name} is tried {times} times before another user's job is");
            self.violate_locked(state, Some(job), what);
        }
    }

    /// Jobs were claimed under these limits.
    pub(crate) fn note_claims(&self, claims: &Claims, limits: Limits) {
        let now = self.now();
        let state = &mut *self.state();
        for claim in &claims.claims {
            state.grants += 1;
            let grant = Grant { number: state.grants, at: now, limits };
            let Some(job) = state.jobs.get_mut(&claim.record.id()) else { continue };
            job.grant = Some(grant);
            let Some(claimed) = claim.record.stage().claimed() else { continue };
            let marker = Marker { job: job.id, attempt: claimed.attempt.number };
            let (attempt, origin) = (marker.attempt, claimed.origin);
            self.journal.note(format!("{} is claimed, attempt {attempt}, {origin:?}", job.name));
            let made = (now, self.is_other_account(job.provider));
            state.evidence.claimed(marker, origin, made);
        }
    }

    /// Claims of dead holders were claimed again.
    pub(crate) fn note_reclaims(&self, claims: &Claims) {
        for claim in &claims.claims {
            let job = claim.record.id();
            let entry = claim.record.entry();
            let (attempt, reclaims) = (entry.attempt, entry.reclaims);
            let name = self.name(job);
            let origin = claim.record.stage().claimed().map(|claimed| claimed.origin);
            self.journal.note(format!("{name} is reclaimed, {reclaims} in a row, {origin:?}"));
            if let Some(origin) = origin {
                self.state().evidence.reclaimed(Marker { job, attempt }, origin);
            }
        }
    }

    /// A job is being stored, by the machine's clock.
    pub(crate) fn note_made(&self, job: JobId) {
        let wrong_by = self.machine.wrong_by();
        if let Some(job) = self.state().jobs.get_mut(&job)
            && job.acknowledged_at.is_none()
        {
            job.clock_wrong_by = wrong_by;
        }
    }

    /// Requests for approval expired: none before its deadline, by the true time.
    pub(crate) fn judge_expiry(&self, expiry: &Expiry) {
        let now = self.now();
        for record in &expiry.expired {
            let (name, sent_at, ttl, clock_was_wrong_by) = {
                let mut state = self.state();
                let Some(job) = state.jobs.get_mut(&record.id()) else { continue };
                job.ended_by.insert(EndedBy::Expiry);
                job.ended_at = Some(now);
                (job.name.clone(), job.sent_at, job.approval, job.clock_wrong_by)
            };
            self.journal.note(format!("the approval of {name} expired"));
            let (Some(sent_at), Some(ttl)) = (sent_at, ttl) else { continue };
            let early = (sent_at + ttl).saturating_sub(now);
            let believable = if self.state().reopens {
                self.believable_error(sent_at, clock_was_wrong_by)
            } else {
                Duration::ZERO
            };
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
}

/// The limits that apply now.
pub(crate) async fn limits_of(store: &dyn Store) -> Limits {
    store.limits().await.unwrap_or_default()
}
