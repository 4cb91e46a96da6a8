//! What is at a provider and no job has: there must be a reason for its end, and it must be found
//! and ended by the first planned search that can see it.

use std::time::Duration;

use st_store::JobRecord;

use crate::jobs::EndedBy;
use crate::journal::clock;
use crate::ledger::{Accepted, Kind};
use crate::world::World;

/// When a marker is searched for again, counted from when its attempt ended or was adopted.
const RECHECKS: [Duration; 6] = [
    Duration::from_mins(1),
    Duration::from_mins(5),
    Duration::from_mins(15),
    Duration::from_hours(1),
    Duration::from_hours(6),
    Duration::from_hours(24),
];
/// How long a planned search and the cancellation that follows may take while everything works.
const RECHECK_TAKES: Duration = Duration::from_secs(90);
/// How long everything must have worked before: until then a search or a cancellation that failed
/// may be waiting for its next try.
const SETTLED_FOR: Duration = Duration::from_mins(10);

/// A job that is at a provider is ended only for a reason, and is ended if no job has it.
pub(crate) fn judge_accepted(world: &World, run: &Accepted, record: Option<&JobRecord>) {
    let job = run.call.marker.job;
    // What a restore undid has no job; what is found of it ends.
    let Some(record) = record else { return };
    let is_adopted = record.provider_job_id() == Some(&run.id);
    if let Some(at) = run.cancelled_at {
        match excuse(world, run, (is_adopted, at)) {
            Some(excuse) => world.count(excuse),
            None => world.violate(Some(job), format!("{} was cancelled for no reason", run.id)),
        }
    }
    if is_adopted {
        return;
    }
    if let Some(due) = recheck_due(world, run) {
        world.count("late arrival that a planned search had to end");
        if run.over_at() > due + RECHECK_TAKES {
            let what = format!(
                "{} ran until {} though it was due to be found at {}",
                run.id,
                clock(run.over_at()),
                clock(due)
            );
            world.violate(Some(job), what);
        }
    }
}

/// By what the cancellation of a run is excused; `None` by nothing.
fn excuse(
    world: &World,
    run: &Accepted,
    (is_adopted, at): (bool, Duration),
) -> Option<&'static str> {
    let state = world.state();
    let job = state.jobs.get(&run.call.marker.job)?;
    let others = state.ledger.of_job(job.id).filter(|it| it.id != run.id && !it.is_copy());
    if job.cancel_asked_at.is_some_and(|asked| asked <= at) {
        Some("run cancelled: a person asked for it")
    } else if is_adopted && run.is_cancelled_before(&state.restores) {
        Some("run cancelled: in a history that was undone, and adopted then")
    } else if is_adopted || job.kept.as_ref() == Some(&run.id) {
        None
    } else if run.kind != Kind::Submitted {
        Some("run cancelled: a duplicate, or too late")
    } else if others.count() > 0 {
        Some("run cancelled: its job has another one")
    } else if job.ended_by.contains(&EndedBy::Operator) {
        Some("run cancelled: a person abandoned its job")
    } else {
        world.plan.restores().then_some("run cancelled: of a history that was undone")
    }
}

/// By when a planned search must have found that this came of its attempt; `None` when none can.
fn recheck_due(world: &World, run: &Accepted) -> Option<Duration> {
    let from = {
        let state = world.state();
        let searched_from = state.evidence.searched_from(run.call.marker);
        // What a history submitted that a restore undid is searched for when its job ends.
        searched_from.or(state.jobs.get(&run.call.marker.job)?.ended_at)?
    };
    let due = RECHECKS.iter().map(|after| from + *after);
    due.filter(|due| *due >= run.listed_from).find(|due| works(world, run.call.provider, *due))
}

/// Whether everything works around a planned search.
fn works(world: &World, provider: usize, due: Duration) -> bool {
    let (from, to) = (due.saturating_sub(SETTLED_FOR), due + RECHECK_TAKES);
    let is_up = {
        let state = world.state();
        let began = state.lives.iter().rev().find(|began| **began <= from);
        let died = |began: &Duration| state.deaths.iter().any(|at| began <= at && *at <= to);
        began.is_some_and(|began| !died(began))
    };
    let calm = world.plan.active_for <= from;
    is_up && (calm || world.plan.is_quiet(provider, (from, to)) && !world.machine.was_set())
}
