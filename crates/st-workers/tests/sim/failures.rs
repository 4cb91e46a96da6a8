//! Why jobs may fail and be cancelled. Every excuse is counted, so that a run shows how often the
//! judge believed it.

use std::time::Duration;

use st_store::{ClaimOrigin, JobRecord, JobStatus, Marker};

use crate::jobs::{EndedBy, Poison, RunEnd, WantedJob};
use crate::ledger::Accepted;
use crate::world::World;

/// How many jobs may fail in one series of rejections because a provider's settings are wrong.
const FAIL_BY_SETTINGS: u32 = 3;
/// A call is given up after this time.
const LONGEST_CALL: Duration = Duration::from_secs(65);
/// How exactly times of the server, of a provider and of the world can be compared.
const SLACK: Duration = Duration::from_secs(65);
/// How long after its call a submission may arrive, at least.
const MAY_ARRIVE_FOR: Duration = Duration::from_mins(2);
/// How long a provider must deny a job before it is believed.
const DENIED_FOR: Duration = Duration::from_mins(10);

const WRONG_VERSION: &str = "there is no such version";
const CANDIDATES: &str = "it may have run at the provider as ";
const GONE: &str = "the provider no longer kn";

impl World {
    /// The store has just let a job fail because of this attempt. What depends on the moment is
    /// judged now, the rest at the end.
    pub(crate) fn judge_failure(&self, marker: Marker, record: &JobRecord) {
        let error = record.job().error_message.as_deref().unwrap_or_default();
        let name = self.name(marker.job);
        if error.contains(WRONG_VERSION) {
            let failed = self.state().evidence.failed_for_settings(marker);
            match failed {
                None => self.violate(Some(marker.job), format!("{name} was not rejected: {error}")),
                Some(failed) if failed > FAIL_BY_SETTINGS => self.violate(
                    Some(marker.job),
                    format!("{name} is job {failed} in a row to fail for wrong settings"),
                ),
                Some(_) => {}
            }
        } else if let Some(ids) = error.strip_prefix(CANDIDATES) {
            let ids = ids.split(';').next().unwrap_or_default();
            for id in ids.split(", ") {
                if let Some(why) = self.is_no_candidate(marker, id) {
                    let what = format!("{name} failed because of {id}, which {why}");
                    self.violate(Some(marker.job), what);
                }
            }
        } else if error.starts_with(GONE) && !self.was_denied(record) {
            self.violate(Some(marker.job), format!("{name} was given up too early: {error}"));
        }
    }

    fn was_denied(&self, record: &JobRecord) -> bool {
        let now = self.now();
        let mut state = self.state();
        let run = record.provider_job_id().and_then(|id| state.ledger.find(id));
        run.is_some_and(|run| run.forgotten_at.is_some_and(|from| from + DENIED_FOR <= now + SLACK))
    }

    /// Why a row of a provider's list cannot be what came of this attempt; `None` when it can.
    fn is_no_candidate(&self, marker: Marker, id: &str) -> Option<&'static str> {
        let now = self.now();
        let state = self.state();
        let job = state.jobs.get(&marker.job)?;
        let Some(attempt) = state.evidence.attempt(marker) else {
            return Some("is of an attempt that was never claimed");
        };
        let plan = &self.plan.providers[job.provider];
        let (provider, of_team, created, removed_at) = if let Some(number) = id.strip_prefix('s') {
            let (provider, number) = number.split_once('n')?;
            let provider: usize = provider.parse().unwrap();
            let stranger = self.strangers[provider][number.parse::<usize>().unwrap()];
            (provider, false, stranger.appears_at, stranger.ends_at)
        } else {
            let Some(run) = state.ledger.jobs.iter().find(|run| run.id.as_str() == id) else {
                return Some("is nowhere");
            };
            (run.call.provider, true, run.at, run.over_at())
        };
        if provider != job.provider {
            return Some("is at another provider");
        }
        // One of a restored database is searched for with the account that was used before it.
        let of_other_account = attempt.of_other_account && attempt.origin != ClaimOrigin::Restored;
        if of_team && of_other_account {
            return Some("belongs to another account");
        }
        if now < removed_at + crate::ledger::INPUT_KEPT_FOR {
            return Some("still has its input");
        }
        let mut slack = SLACK + plan.clock.spread();
        let mut since = attempt.claimed_at;
        if attempt.origin == ClaimOrigin::Restored {
            // When the job was queued is known by the machine's clock only.
            since = job.sent_at.unwrap_or_default();
            slack += self.machine.spread_since(since, job.clock_wrong_by);
        }
        let life = state.lives.last().copied().unwrap_or_default();
        // A call that did not end was given up, or ended with the life that made it.
        let sent_before =
            attempt.call_ended_at.unwrap_or(attempt.claimed_at + LONGEST_CALL).max(life);
        let certain_at = sent_before + plan.may_arrive_for.max(MAY_ARRIVE_FOR);
        if created + slack < since {
            return Some("is older than the attempt");
        }
        (created > certain_at + slack).then_some("is younger than the attempt can be")
    }
}

/// By what a failed job is excused; `None` by nothing.
pub(crate) fn excuse_of_failure(
    world: &World,
    job: &WantedJob,
    adopted: Option<&Accepted>,
    error: &str,
) -> Option<&'static str> {
    let state = world.state();
    if error.starts_with("failed ") {
        let own = state.evidence.own_failures(job.id, job.provider);
        return (own >= 3).then_some("failed: refused or lost three times, others were not");
    }
    if error.starts_with("its dispatch failed again and again") {
        let ended = state.evidence.ended_its_dispatches(job.id);
        return ended.then_some("failed: ended its dispatches or the process");
    }
    if error.starts_with(CANDIDATES) {
        return Some("failed: may have run, judged when it did");
    }
    if error.contains(WRONG_VERSION) {
        return Some("failed: rejected for wrong settings, judged when it was");
    }
    if error.contains("the input is not legal") {
        let rejected = job.poison == Some(Poison::Rejected) && state.evidence.was_rejected(job.id);
        return rejected.then_some("failed: rejected for its input");
    }
    if error.starts_with("abandoned by") {
        let abandoned = job.ended_by.contains(&EndedBy::Operator);
        return abandoned.then_some("failed: abandoned by a person");
    }
    let run = adopted?;
    if error.starts_with(GONE) {
        return run.is_forgotten(world.now()).then_some("failed: forgotten by its provider");
    }
    (run.ends == RunEnd::Fails && run.status(world.now()) == JobStatus::Failed)
        .then_some("failed: its run did")
}

/// By what a cancelled job is excused; `None` by nothing.
pub(crate) fn excuse_of_cancellation(
    job: &WantedJob,
    adopted: Option<&Accepted>,
    (error, restores): (&str, &[Duration]),
) -> Option<&'static str> {
    if job.cancel_asked_at.is_some() {
        Some("cancelled: a person asked for it")
    } else if job.ended_by.contains(&EndedBy::Rejection) {
        Some("cancelled: rejected by a person")
    } else if job.ended_by.contains(&EndedBy::Expiry) {
        Some("cancelled: its approval expired")
    } else if job.approval.is_some() && error.starts_with("approval was not given by") {
        // The process died while another thread stored it.
        Some("cancelled: its approval expired, unseen")
    } else {
        let run = adopted?;
        if run.is_cancelled_before(restores) {
            // Nothing shows who cancelled it: a stray looks like what a person cancelled.
            return Some("cancelled: its run was, in a history that was undone");
        }
        (run.ends == RunEnd::Stopped && run.cancelled_at.is_none())
            .then_some("cancelled: stopped by its provider")
    }
}
