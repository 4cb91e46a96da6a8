//! Why a job is where it is, and what comes next.

use jiff::{SignedDuration, Timestamp};
use st_api::jobs::{ExpectedStart, Explanation, LimitUsed, WaitKind};
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
    let is_in_line = waiting_for.as_ref().is_none_or(|wait| wait.kind == WaitKind::Limit);
    let expected = position.filter(|_| is_in_line);
    let waits_since = record.entry().waits_since;
    Explanation {
        job_id: record.id().to_string(),
        status: record.status(),
        queue_status: record.queue_status(),
        summary,
        next_step,
        waiting_for,
        position,
        waiting: pace.pending,
        limits: limits.iter().map(limit).collect(),
        budgets: budgets.iter().map(quotas::view).collect(),
        expected_start: expected
            .and_then(|position| expected_start(position, waits_since, pace, surroundings.now())),
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

/// `None` while nothing was claimed lately, and for a job that has waited longer than those did.
fn expected_start(
    position: u64,
    waits_since: Timestamp,
    pace: Pace,
    now: Timestamp,
) -> Option<ExpectedStart> {
    let mean = pace.avg_wait_seconds?;
    let whole = SignedDuration::try_from_secs_f64(pace.estimated_wait_seconds(position)?).ok()?;
    let at = waits_since.checked_add(whole).ok().filter(|&at| at > now)?;
    let waiting = pace.pending;
    Some(ExpectedStart {
        at: Time(at),
        in_seconds: at.duration_since(now).as_secs_f64(),
        basis: format!(
            "jobs that were submitted lately had waited {mean:.0} s on average, and it is number \
             {position} of {waiting}"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_expected_after_what_others_waited_and_only_in_the_future() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let pace = Pace { pending: 4, avg_wait_seconds: Some(200.0) };
        let soon = expected_start(2, at(1000), pace, at(1030)).unwrap();
        assert_eq!((soon.at, soon.in_seconds), (Time(at(1100)), 70.0), "half of 200 s after 1000");
        assert!(soon.basis.contains("200 s") && soon.basis.ends_with("number 2 of 4"));
        assert_eq!(expected_start(2, at(1000), pace, at(1100)), None, "it waited longer");
        let unknown = Pace { avg_wait_seconds: None, ..pace };
        assert_eq!(expected_start(2, at(1000), unknown, at(1030)), None, "nothing is known");
    }
}
