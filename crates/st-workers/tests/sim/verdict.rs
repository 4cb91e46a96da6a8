//! What must hold when everything has come to an end.

use std::collections::BTreeMap;
use std::sync::Arc;

use st_store::{
    Due, JobFilter, JobId, JobRecord, JobStatus, PageRequest, ProviderJobId, Stage, Store,
};

use crate::failures::{excuse_of_cancellation, excuse_of_failure};
use crate::jobs::WantedJob;
use crate::lateness::judge_accepted;
use crate::ledger::Accepted;
use crate::life::Life;
use crate::world::World;

/// More jobs than any world has.
const ALL: u32 = 500;

/// All jobs in the store.
pub(crate) async fn records(data: &dyn Store) -> Vec<JobRecord> {
    let page = PageRequest { limit: ALL, offset: 0 };
    let page = data.list_jobs(&JobFilter::default(), page).await.unwrap();
    assert!(page.total <= u64::from(ALL), "{} jobs are more than one page", page.total);
    assert!(page.damaged.is_empty(), "{:?}", page.damaged);
    page.items
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
    match data.unsettled().await.map(|unsettled| unsettled.total().strays) {
        Ok(0) => {}
        Ok(strays) => return Some(format!("{strays} strays are open")),
        Err(error) => return Some(format!("what is unsettled cannot be read: {error:?}")),
    }
    let now = world.now();
    let state = world.state();
    let live = state.ledger.jobs.iter().find(|job| !job.is_copy() && job.is_live(now));
    live.map(|job| format!("{} still runs at its provider", job.id))
}

/// Whether a job waits for others: to show that it alone is at fault, or that its provider knows
/// other jobs and not this one.
pub(crate) fn needs_canaries(world: &World, records: &[JobRecord]) -> bool {
    let now = world.now();
    let state = &mut *world.state();
    records.iter().filter(|record| !record.status().is_terminal()).any(|record| {
        let run = record.provider_job_id().and_then(|id| state.ledger.find(id));
        run.is_some_and(|run| run.is_forgotten(now))
            || state.jobs.get(&record.id()).is_some_and(|job| job.poison.is_some())
    })
}

/// Judges everything, once nothing happens any more.
pub(crate) async fn judge(world: &Arc<World>, life: &Life) {
    let checked = Arc::clone(&life.data);
    let invariants = st_log::spawn(async move {
        st_testkit::dump::check_records(checked.as_ref()).await;
    });
    if life.store.run(invariants).await.is_err() {
        world.violate(None, "an invariant of the store does not hold; see above");
    }
    let records: BTreeMap<JobId, JobRecord> = life
        .store
        .run(records(life.data.as_ref()))
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
            let excuse = excuse_of_failure(world, job, adopted.as_ref(), &error);
            excused(world, excuse, || format!("{name} failed for no reason of its own: {error}"))
        }
        JobStatus::Cancelled => {
            let restores = world.state().restores.clone();
            let excuse = excuse_of_cancellation(job, adopted.as_ref(), (&error, &restores));
            excused(world, excuse, || format!("{name} is cancelled and no person asked: {error}"))
        }
        JobStatus::Pending | JobStatus::Uploading | JobStatus::Queued | JobStatus::Running => None,
    };
    if let Some(wrong) = wrong {
        world.violate(Some(job.id), wrong);
    }
    if let Some(kept) = &job.kept
        && record.provider_job_id() != Some(kept)
    {
        world.violate(Some(job.id), format!("{name} is not at its provider as {kept} any more"));
    }
}

fn excused(
    world: &World,
    excuse: Option<&'static str>,
    violation: impl FnOnce() -> String,
) -> Option<String> {
    match excuse {
        Some(excuse) => {
            world.count(excuse);
            None
        }
        None => Some(violation()),
    }
}

fn adopted(world: &World, id: &ProviderJobId) -> Option<Accepted> {
    world.state().ledger.find(id).cloned()
}
