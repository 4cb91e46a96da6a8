//! What people do with the queue beside submitting.

use jiff::SignedDuration;
use st_api::names::{JobName, UserArg};
use st_api::queue::{
    Cleaned, Cleanup, ListUser, PriorityChanged, Processed, SetPriority, UserQueue,
};
use st_log::{Logger, get_logger};
use st_store::{Change, JobRecord, JobStatus, Priority, UserId};
use st_workers::TaskId;
use st_workers::tasks::retention::{CleanedUp, Left};

use super::view;
use crate::api::background::{counted, run_task};
use crate::api::jobs::find;
use crate::api::waiting::Surroundings;
use crate::api::{Api, log_damaged};
use crate::http::problem::Problem;
use crate::http::route::Call;

const LOG: Logger = get_logger("simpletuner.cloud.queue");

/// How many events of a run of the scheduler are read.
const EVENTS: u32 = 500;

pub(crate) async fn set_priority(
    api: Api,
    call: Call<JobName, (), SetPriority>,
) -> Result<PriorityChanged, Problem> {
    let record = find(&api, &call.caller, &call.named.0).await?;
    call.caller.about(record.id());
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

/// Runs the scheduler: how many jobs that run claimed, and which began meanwhile, of those that the
/// log of events names at once.
pub(crate) async fn process(api: Api, _call: Call) -> Result<Processed, Problem> {
    let before = *api.store.last_event().borrow();
    let counts = run_task(&api, TaskId::QueueProcessing).await?;
    let page = api.store.events_after(before, EVENTS).await?;
    log_damaged(&page.damaged);
    let claimed = page.events.iter().filter_map(|event| match event.event.change {
        Change::Job { job, to: JobStatus::Uploading, .. } => Some(job.to_string()),
        Change::Job { .. }
        | Change::Queue { .. }
        | Change::Approval { .. }
        | Change::Priority { .. }
        | Change::Provider { .. }
        | Change::Deleted { .. }
        | Change::Limits { .. } => None,
    });
    let job_ids = claimed.collect();
    Ok(Processed { success: true, dispatched: counted(&counts, "claimed"), job_ids })
}

pub(crate) async fn clean_up(api: Api, call: Call<(), Cleanup>) -> Result<Cleaned, Problem> {
    let Cleanup { days } = call.query;
    let keep_for = SignedDuration::from_hours(i64::from(days) * 24);
    let CleanedUp { deleted, left } = api.background.clean_up(keep_for).await?;
    st_log::info!(
        logger: LOG, user_id = call.caller.user.as_str(), deleted, days,
        "Old jobs were deleted on request"
    );
    let message = match left {
        None => format!("{deleted} jobs are deleted; there are no more"),
        Some(Left::More) => format!("{deleted} jobs are deleted; there are more, ask again"),
        Some(Left::ClockUnconfirmed) => {
            "nothing is deleted while the server's clock is not confirmed".to_owned()
        }
    };
    Ok(Cleaned { success: true, deleted, days, is_complete: left.is_none(), message })
}

pub(crate) async fn me(api: Api, call: Call) -> Result<UserQueue, Problem> {
    of_user(&api, call.caller.user, ListUser::USUAL).await
}

pub(crate) async fn of(api: Api, call: Call<UserArg, ListUser>) -> Result<UserQueue, Problem> {
    of_user(&api, call.named.0, call.query.limit).await
}

async fn of_user(api: &Api, user: UserId, limit: u32) -> Result<UserQueue, Problem> {
    let queue = api.store.user_queue(&user, limit).await?;
    let records: Vec<JobRecord> = queue.next.iter().chain(&queue.in_slots).cloned().collect();
    let surroundings = Surroundings::read(api, &records).await?;
    let views =
        |records: &[JobRecord]| records.iter().map(|record| view(record, &surroundings)).collect();
    Ok(UserQueue {
        user_id: user.to_string(),
        pending_count: queue.pending,
        running_count: queue.running,
        blocked_count: queue.blocked,
        best_position: queue.best_position,
        pending_jobs: views(&queue.next),
        running_jobs: views(&queue.in_slots),
    })
}
