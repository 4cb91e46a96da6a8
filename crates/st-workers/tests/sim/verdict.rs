//! What must hold when everything has come to an end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use st_store::{
    Due, JobFilter, JobId, JobRecord, JobStatus, PageRequest, ProviderJobId, Stage, Store,
};

use crate::jobs::{RunEnd, WantedJob};
use crate::ledger::{Accepted, Kind};
use crate::store::with_time_held;
use crate::world::World;

/// How many jobs may fail because a provider's settings are wrong, each time: three, and one whose
/// rejection is on its way when they are mended.
const FAIL_BY_SETTINGS: usize = 4;
/// When a marker is looked for after its attempt ended.
const LOOKS: [Duration; 6] = [
    Duration::from_mins(1),
    Duration::from_mins(5),
    Duration::from_mins(15),
    Duration::from_hours(1),
    Duration::from_hours(6),
    Duration::from_hours(24),
];
/// How long a planned look and the cancellation that follows may take while everything works.
const LOOK_TAKES: Duration = Duration::from_secs(90);

/// All jobs in the store.
pub(crate) async fn records(data: &dyn Store) -> Vec<JobRecord> {
    let page = PageRequest { limit: 500, offset: 0 };
    data.list_jobs(&JobFilter::default(), page).await.unwrap().items
}

/// Whether nothing happens any more; if not, what it waits for.
pub(crate) async fn unfinished(world: &World, data: &dyn Store) -> Option<String> {
    for record in records(data).await {
        let ahead = match record.stage() {
            Stage::Waiting(waiting) => match waiting.due {
                Due::Date(at) => at > data.now(),
                Due::Now | Due::Pause(_) => false,
            },
            Stage::Blocked(_)
            | Stage::Claimed(_)
            | Stage::Held(_)
            | Stage::AtProvider(_)
            | Stage::Finished(_) => false,
        };
        if !record.status().is_terminal() && !ahead {
            let name = world.name(record.id());
            let status = record.queue_status();
            let error = record.job().error_message.clone().unwrap_or_default();
            return Some(format!("{name} is {status}, {:?}, {error}", record.stage()));
        }
    }
    let strays = data.unsettled().await.map_or(1, |unsettled| unsettled.total().strays);
    if strays > 0 {
        return Some(format!("{strays} strays are open"));
    }
    let now = world.now();
    let state = world.state();
    let live = state.ledger.jobs.iter().find(|job| !job.is_copy() && job.is_live(now));
    live.map(|job| format!("{} still runs at its provider", job.id))
}

/// Whether a job that is poison waits for others to show that it alone is at fault.
pub(crate) fn needs_canaries(world: &World, records: &[JobRecord]) -> bool {
    let state = world.state();
    records.iter().any(|record| {
        !record.status().is_terminal()
            && state.jobs.get(&record.id()).is_some_and(|job| job.poison.is_some())
    })
}

/// Judges everything, once nothing happens any more.
pub(crate) async fn judge(world: &Arc<World>, data: &Arc<dyn Store>) {
    let checked = Arc::clone(data);
    let invariants = st_log::spawn(async move {
        st_testkit::dump::check_records(checked.as_ref()).await;
    });
    if with_time_held(invariants).await.is_err() {
        world.violate(None, "an invariant of the store does not hold; see above");
    }
    let records: BTreeMap<JobId, JobRecord> = with_time_held(records(data.as_ref()))
        .await
        .into_iter()
        .map(|record| (record.id(), record))
        .collect();
    let wanted: Vec<WantedJob> = world.state().jobs.values().cloned().collect();
    for job in &wanted {
        match records.get(&job.id) {
            Some(record) => judge_job(world, job, record),
            None if job.acknowledged_at.is_some() => {
                world.violate(Some(job.id), format!("{} is lost", job.name));
            }
            None => {}
        }
    }
    judge_settings(world, &records);
    let accepted = world.state().ledger.jobs.clone();
    for job in accepted.iter().filter(|job| !job.is_copy()) {
        judge_accepted(world, job, records.get(&job.call.marker.job));
    }
}

fn judge_job(world: &World, job: &WantedJob, record: &JobRecord) {
    let name = &job.name;
    let adopted = record.provider_job_id().and_then(|id| adopted(world, id));
    let error = record.job().error_message.clone().unwrap_or_default();
    let wrong = match record.status() {
        JobStatus::Completed => {
            let ran = adopted.as_ref().is_some_and(|run| {
                run.status(world.now()) == JobStatus::Completed && !run.is_copy()
            });
            (!ran).then(|| format!("{name} is completed and never ran to its end"))
        }
        JobStatus::Failed => {
            let excused = fails_rightly(world, job, adopted.as_ref(), &error);
            (!excused).then(|| format!("{name} failed for no reason of its own: {error}"))
        }
        JobStatus::Cancelled => {
            let stopped = adopted
                .as_ref()
                .is_some_and(|run| run.ends == RunEnd::Stopped && run.cancelled_at.is_none());
            let excused = job.cancel_asked_at.is_some() || job.rejected || job.expired || stopped;
            (!excused).then(|| format!("{name} is cancelled and no person asked: {error}"))
        }
        JobStatus::Pending | JobStatus::Uploading | JobStatus::Queued | JobStatus::Running => None,
    };
    if let Some(wrong) = wrong {
        world.violate(Some(job.id), wrong);
    }
}

fn adopted(world: &World, id: &ProviderJobId) -> Option<Accepted> {
    world.state().ledger.find(id).cloned()
}

fn fails_rightly(world: &World, job: &WantedJob, adopted: Option<&Accepted>, error: &str) -> bool {
    let ran = adopted.is_some_and(|run| {
        run.ends == RunEnd::Fails || run.is_forgotten(world.now()) || run.cancelled_at.is_some()
    });
    ran || job.poison.is_some()
        || error.contains("there is no such version")
        || (error.contains("may have run") && has_candidate(world, job))
        || misses(world, job) >= 3
}

/// How often a job was sent and not accepted.
fn misses(world: &World, job: &WantedJob) -> u64 {
    world.state().misses.get(&job.id).copied().unwrap_or_default()
}

/// Whether the list ever showed a row without its input that may have been this job.
fn has_candidate(world: &World, job: &WantedJob) -> bool {
    let state = world.state();
    let removed = Duration::from_hours(1);
    let since = job.sent_at.unwrap_or_default();
    state.ledger.of_job(job.id).any(|run| run.over_at() + removed <= world.now())
        || world.strangers[job.provider].iter().any(|stranger| stranger.appears_at >= since)
        || state.ledger.jobs.iter().any(|run| run.kind != Kind::Submitted)
        || world.plan.restores()
        // A window of a clock that was set is wider.
        || !world.plan.providers[job.provider].clock.is_steady()
}

/// A wrong version costs a few jobs each time and not the queue.
fn judge_settings(world: &World, records: &BTreeMap<JobId, JobRecord>) {
    let state = world.state();
    let mut found = None;
    for provider in 0..world.plan.providers.len() {
        let failed = records.values().filter(|record| {
            let here = state
                .jobs
                .get(&record.id())
                .is_some_and(|job| job.provider == provider && job.poison.is_none());
            let error = record.job().error_message.as_deref().unwrap_or_default();
            here && error.contains("there is no such version")
        });
        let changes = state.version_changes.iter().filter(|(_, at, _)| *at == provider);
        let mut times = 0;
        let mut wrong_since = None;
        for (at, _, wrong) in changes {
            if *wrong {
                wrong_since = wrong_since.or(Some(*at));
            } else if let Some(since) = wrong_since.take() {
                // What was seen of it is forgotten with each life.
                let lives = state.lives.iter().filter(|life| since < **life && **life < *at);
                times += 1 + lives.count();
            }
        }
        if world.plan.restores() {
            times += state.lives.len();
        }
        let failed = failed.count();
        if failed > FAIL_BY_SETTINGS * times {
            let name = world.plan.providers[provider].name;
            found = Some(format!("{failed} jobs failed because the settings of {name} were wrong"));
        }
    }
    drop(state);
    if let Some(found) = found {
        world.violate(None, found);
    }
}

/// A job that is at a provider is ended only for a reason, and is ended if no job has it.
fn judge_accepted(world: &World, run: &Accepted, record: Option<&JobRecord>) {
    let job = run.call.marker.job;
    // What a restore undid has no job; what is found of it ends.
    let Some(record) = record else { return };
    let (asked, others) = {
        let state = world.state();
        let asked = state.jobs.get(&job).and_then(|job| job.cancel_asked_at);
        let others = state.ledger.of_job(job).filter(|it| it.id != run.id && !it.is_copy());
        (asked, others.count())
    };
    let is_adopted = record.provider_job_id() == Some(&run.id);
    if let Some(at) = run.cancelled_at {
        let reason = asked.is_some_and(|asked| asked <= at)
            || (!is_adopted && (others > 0 || run.kind != Kind::Submitted))
            || (!is_adopted && world.plan.restores());
        if !reason {
            world.violate(Some(job), format!("{} was cancelled for no reason", run.id));
        }
    } else if !is_adopted && let Some(due) = look_due(world, run) {
        let over = run.over_at();
        if over > due + LOOK_TAKES {
            let due = crate::journal::clock(due);
            world.violate(
                Some(job),
                format!("{} ran on though it was due to be found at {due}", run.id),
            );
        }
    }
}

/// By when it must have been found that this attempt arrived after all.
fn look_due(world: &World, run: &Accepted) -> Option<Duration> {
    let (ended, last_life) = {
        let state = world.state();
        let ended = *state.not_arrived.get(&run.call.marker)?;
        (ended, state.lives.last().copied().unwrap_or_default())
    };
    let works_from = world.plan.active_for.max(last_life) + Duration::from_mins(10);
    let visible = run.listed_from.max(works_from);
    LOOKS.iter().map(|look| ended + *look).find(|due| *due >= visible)
}
