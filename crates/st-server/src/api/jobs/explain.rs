//! Why a job is where it is, and what comes next.

use st_api::jobs::{ExpectedStart, Explanation, LimitUsed};
use st_api::names::JobName;
use st_api::schema::Time;
use st_store::{BudgetUse, Group, JobRecord, LimitUse, Pace, Stage};

use super::find;
use crate::api::waiting::Surroundings;
use crate::api::{Api, quotas};
use crate::http::problem::Problem;
use crate::http::route::Call;

pub(crate) async fn explain(api: Api, call: Call<JobName>) -> Result<Explanation, Problem> {
    let record = find(&api, &call.caller, &call.named.0).await?;
    let surroundings = Surroundings::read(&api, std::slice::from_ref(&record)).await?;
    let pace = match surroundings.pace() {
        Some(pace) => pace,
        None => api.store.queue_stats().await?.pace(),
    };
    let group = Group::of(&record);
    let limits = api.store.limit_uses(&group).await?;
    let budgets = api.store.budgets_of(&group).await?;
    Ok(explanation(&record, &surroundings, pace, (&limits, &budgets)))
}

fn explanation(
    record: &JobRecord,
    surroundings: &Surroundings,
    pace: Pace,
    (limits, budgets): (&[LimitUse], &[BudgetUse]),
) -> Explanation {
    let waiting_for = surroundings.waiting_for(record);
    let position = surroundings.position(record);
    let (summary, next_step) = match &waiting_for {
        Some(wait) => (format!("It waits: {}.", wait.reason), Some(wait.next_step.clone())),
        None => undisturbed(record, position),
    };
    let expected_wait = surroundings.expected_wait(record, waiting_for.as_ref());
    let expected_start = expected_wait.and_then(|wait| {
        let at = surroundings.now().checked_add(wait).ok()?;
        Some(ExpectedStart {
            at: Time(at),
            in_seconds: wait.as_secs_f64(),
            basis: format!(
                "jobs that were submitted lately had waited {:.0} s on average, and it is number {} of {}",
                pace.avg_wait_seconds?, position?, pace.claimable
            ),
        })
    });
    Explanation {
        job_id: record.id().to_string(),
        status: record.status(),
        queue_status: record.queue_status(),
        summary,
        next_step,
        waiting_for,
        position,
        waiting: pace.claimable,
        limits: limits.iter().map(limit).collect(),
        budgets: budgets.iter().map(quotas::view).collect(),
        expected_start,
    }
}

/// The words for a job that waits for nothing but its turn, its provider or nothing at all.
fn undisturbed(record: &JobRecord, position: Option<u64>) -> (String, Option<String>) {
    let provider = &record.job().provider;
    match record.stage() {
        Stage::Blocked(_) | Stage::Waiting(_) => {
            let place =
                position.map_or_else(String::new, |it| format!(", number {it} in the queue"));
            (format!("It waits for its turn{place}."), Some("it is submitted by itself".to_owned()))
        }
        Stage::Claimed(_) | Stage::Held(_) => (
            format!("It is being submitted to {provider}."),
            Some(format!("{provider} accepts it, or the submission is repeated by itself")),
        ),
        Stage::AtProvider(_) => (
            format!("It is at {provider}, which reports that it is {}.", record.status()),
            Some(format!("{provider} is asked about it until it ends")),
        ),
        Stage::Finished(_) => {
            let error = record.job().error_message.as_ref();
            let why = error.map_or_else(String::new, |error| format!(": {error}"));
            (format!("It is {}{why}.", record.status()), None)
        }
    }
}

pub(super) fn limit(one: &LimitUse) -> LimitUsed {
    let LimitUse { limit, used, max } = *one;
    LimitUsed { limit: limit.as_str().to_owned(), used, max, reached: one.is_reached() }
}
