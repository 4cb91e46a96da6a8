//! What people do with the queue beside submitting.

use jiff::SignedDuration;
use st_api::names::{JobName, UserArg};
use st_api::queue::{
    Cleaned, Cleanup, ListEntries, PriorityChanged, Processed, SetPriority, UserQueue,
};
use st_log::{Logger, get_logger};
use st_store::{
    Change, JobFilter, JobRecord, JobStatus, PageRequest, Priority, QueueStatus, UserId,
};
use st_workers::{Outcome, TaskId};

use super::view;
use crate::api::jobs::find;
use crate::api::waiting::Surroundings;
use crate::api::{Api, log_damaged};
use crate::http::problem::Problem;
use crate::http::route::Call;

const LOG: Logger = get_logger("simpletuner.cloud.queue");

/// How many jobs of each kind are listed of a user.
const LISTED: u32 = 100;
/// How many events of a run of the scheduler are read.
const EVENTS: u32 = 500;

pub(crate) async fn set_priority(
    api: Api,
    call: Call<JobName, (), SetPriority>,
) -> Result<PriorityChanged, Problem> {
    let record = find(&api, &call.named.0).await?;
    let by = call.caller.actor();
    let priority = call.body.priority;
    let (change, record) = api.store.set_priority(record.id(), priority, &by).await?;
    record.in_log_scope(|| {
        st_log::info!(
            logger: LOG, user_id = call.caller.user.as_str(),
            previous = change.previous.get(), priority = change.effective.get(),
            "Priority was changed"
        );
    });
    api.background.activate(TaskId::QueueProcessing);
    Ok(PriorityChanged {
        success: true,
        job_id: record.id().to_string(),
        previous_effective_priority: change.previous.get(),
        new_effective_priority: change.effective.get(),
        priority_override: change.priority_override.map(Priority::get),
        message: format!(
            "the priority is {}, it was {}",
            change.effective.get(),
            change.previous.get()
        ),
    })
}

/// Runs the scheduler, and reads from the log of events what that run claimed.
pub(crate) async fn process(api: Api, _call: Call) -> Result<Processed, Problem> {
    let before = *api.store.last_event().borrow();
    let run = api.background.run_now(TaskId::QueueProcessing).await;
    let success = matches!(run.map(|run| run.outcome), Some(Outcome::Done { .. }));
    let page = api.store.events_after(before, EVENTS).await?;
    log_damaged(&page.damaged);
    let claimed = page.events.iter().filter_map(|event| match event.event.change {
        Change::Job { job, to: JobStatus::Uploading, .. } => Some(job.to_string()),
        Change::Job { .. }
        | Change::Queue { .. }
        | Change::Approval { .. }
        | Change::Provider { .. }
        | Change::Priority { .. }
        | Change::Deleted { .. }
        | Change::Limits { .. } => None,
    });
    let job_ids: Vec<String> = claimed.collect();
    Ok(Processed { success, dispatched: job_ids.len() as u64, job_ids })
}

pub(crate) async fn clean_up(api: Api, call: Call<(), Cleanup>) -> Result<Cleaned, Problem> {
    let Cleanup { days } = call.query;
    let keep_for = SignedDuration::from_hours(i64::from(days) * 24);
    let (deleted, _all) = api.background.clean_up(keep_for).await?;
    st_log::info!(
        logger: LOG, user_id = call.caller.user.as_str(), deleted, days,
        "Old jobs were deleted on request"
    );
    Ok(Cleaned { success: true, deleted, days })
}

pub(crate) async fn me(api: Api, call: Call) -> Result<UserQueue, Problem> {
    of_user(&api, call.caller.user).await
}

pub(crate) async fn of(api: Api, call: Call<UserArg, ListEntries>) -> Result<UserQueue, Problem> {
    of_user(&api, call.named.0).await
}

async fn of_user(api: &Api, user: UserId) -> Result<UserQueue, Problem> {
    let mut records: Vec<JobRecord> = Vec::new();
    for status in [JobStatus::Pending, JobStatus::Uploading, JobStatus::Queued, JobStatus::Running]
    {
        let filter =
            JobFilter { status: Some(status), user: Some(user.clone()), ..JobFilter::default() };
        let found = api.store.list_jobs(&filter, PageRequest { limit: LISTED, offset: 0 }).await?;
        log_damaged(&found.damaged);
        records.extend(found.items);
    }
    let surroundings = Surroundings::read(api, &records).await?;
    let best_position = records.iter().filter_map(|it| surroundings.position(it)).min();
    let of = |wanted: fn(QueueStatus) -> bool| {
        records.iter().filter(move |record| wanted(record.queue_status()))
    };
    let views = |wanted: fn(QueueStatus) -> bool| {
        of(wanted).map(|record| view(record, &surroundings)).collect::<Vec<_>>()
    };
    let pending_jobs = views(|status| status == QueueStatus::Pending);
    let running_jobs = views(QueueStatus::takes_slot);
    Ok(UserQueue {
        user_id: user.to_string(),
        pending_count: pending_jobs.len() as u64,
        running_count: running_jobs.len() as u64,
        blocked_count: of(|status| status == QueueStatus::Blocked).count() as u64,
        best_position,
        pending_jobs,
        running_jobs,
    })
}
