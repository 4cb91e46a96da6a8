//! Why a job is where it is, and what comes next.

use axum::Json;
use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use st_store::{BudgetUse, Group, JobRecord, LimitUse, QueueStats, QueueStatus, Stage};

use super::find;
use crate::api::queue::estimate;
use crate::api::quotas::QuotaView;
use crate::api::waiting::{Surroundings, WaitingFor};
use crate::api::{Api, Time};
use crate::http::extract::Name;
use crate::http::problem::Problem;

/// The answer.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Explanation {
    job_id: String,
    status: &'static str,
    queue_status: &'static str,
    /// In one sentence.
    summary: String,
    /// What must happen next, by itself or by a person; `null` when the job is over.
    next_step: Option<String>,
    waiting_for: Option<WaitingFor>,
    /// Its place among the jobs that may be claimed now, from 1; `null` for others.
    position: Option<u64>,
    /// How many jobs wait in all.
    waiting: u64,
    /// The limits that count for it.
    limits: Vec<LimitView>,
    /// The budgets that it counts for.
    budgets: Vec<QuotaView>,
    expected_start: Option<ExpectedStart>,
}

#[derive(Debug, PartialEq, Serialize)]
struct LimitView {
    limit: &'static str,
    used: u32,
    max: u32,
    reached: bool,
}

#[derive(Debug, PartialEq, Serialize)]
struct ExpectedStart {
    at: Time,
    in_seconds: f64,
    /// What the estimate rests on.
    basis: String,
}

pub(crate) async fn explain(
    State(api): State<Api>,
    Name(name): Name,
) -> Result<Json<Explanation>, Problem> {
    let record = find(&api, &name).await?;
    let surroundings = Surroundings::read(&api, std::slice::from_ref(&record)).await?;
    let stats = api.store.queue_stats().await?;
    let group = Group::of(&record);
    let limits = api.store.limit_uses(&group).await?;
    let budgets = api.store.budgets_of(&group).await?;
    Ok(Json(Explanation::of(&record, &surroundings, &stats, (&limits, &budgets))))
}

impl Explanation {
    fn of(
        record: &JobRecord,
        surroundings: &Surroundings,
        stats: &QueueStats,
        (limits, budgets): (&[LimitUse], &[BudgetUse]),
    ) -> Self {
        let waiting_for = surroundings.waiting_for(record);
        let position = surroundings.position(record);
        let (summary, next_step) = match &waiting_for {
            Some(wait) => {
                (format!("It waits: {}.", wait.reason()), Some(wait.next_step().to_owned()))
            }
            None => undisturbed(record, position),
        };
        let is_in_line = waiting_for.as_ref().is_none_or(WaitingFor::is_for_a_slot);
        let expected = position.filter(|_| is_in_line);
        let waits_since = record.entry().waits_since;
        Self {
            job_id: record.id().to_string(),
            status: record.status().as_str(),
            queue_status: record.queue_status().as_str(),
            summary,
            next_step,
            waiting_for,
            position,
            waiting: stats.count(QueueStatus::Pending),
            limits: limits.iter().map(LimitView::of).collect(),
            budgets: budgets.iter().map(QuotaView::of).collect(),
            expected_start: expected.and_then(|position| {
                ExpectedStart::of(position, waits_since, stats, surroundings.now())
            }),
        }
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

impl LimitView {
    fn of(one: &LimitUse) -> Self {
        let LimitUse { limit, used, max } = *one;
        Self { limit: limit.as_str(), used, max, reached: one.is_reached() }
    }
}

impl ExpectedStart {
    /// `None` while nothing was claimed lately, and for a job that has waited longer than those did.
    fn of(
        position: u64,
        waits_since: Timestamp,
        stats: &QueueStats,
        now: Timestamp,
    ) -> Option<Self> {
        let mean = stats.avg_wait_seconds?;
        let whole = SignedDuration::try_from_secs_f64(estimate(position, stats)?).ok()?;
        let at = waits_since.checked_add(whole).ok().filter(|&at| at > now)?;
        let waiting = stats.count(QueueStatus::Pending);
        Some(Self {
            at: Time(at),
            in_seconds: at.duration_since(now).as_secs_f64(),
            basis: format!(
                "jobs that were submitted lately had waited {mean:.0} s on average, and it is number \
                 {position} of {waiting}"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use st_store::Limits;

    use super::*;

    #[test]
    fn the_start_is_expected_after_what_others_waited_and_only_in_the_future() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let mut stats = QueueStats {
            by_status: BTreeMap::from([(QueueStatus::Pending, 4)]),
            by_user: BTreeMap::new(),
            avg_wait_seconds: Some(200.0),
            oldest_claimable_at: None,
            limits: Limits::default(),
        };
        let soon = ExpectedStart::of(2, at(1000), &stats, at(1030)).unwrap();
        assert_eq!((soon.at, soon.in_seconds), (Time(at(1100)), 70.0), "half of 200 s after 1000");
        assert!(soon.basis.contains("200 s") && soon.basis.ends_with("number 2 of 4"));
        assert_eq!(ExpectedStart::of(2, at(1000), &stats, at(1100)), None, "it waited longer");
        stats.avg_wait_seconds = None;
        assert_eq!(ExpectedStart::of(2, at(1000), &stats, at(1030)), None, "nothing is known");
    }
}
