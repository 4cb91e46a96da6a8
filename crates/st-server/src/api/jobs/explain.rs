//! Why a job is where it is, and what comes next.

use axum::Json;
use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use st_store::{JobRecord, LimitUse, QueueStats, QueueStatus, Stage};

use super::find;
use crate::api::body::Name;
use crate::api::queue::estimate;
use crate::api::waiting::{Surroundings, WaitingFor};
use crate::api::{Api, Time};
use crate::problem::Problem;

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
    let job = record.job();
    let limits = api.store.limit_uses(&job.owner, job.job_type).await?;
    Ok(Json(Explanation::of(&record, &surroundings, &stats, &limits)))
}

impl Explanation {
    fn of(
        record: &JobRecord,
        surroundings: &Surroundings,
        stats: &QueueStats,
        limits: &[LimitUse],
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
            expected_start: expected
                .and_then(|position| ExpectedStart::of(position, stats, surroundings.now())),
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
    fn of(position: u64, stats: &QueueStats, now: Timestamp) -> Option<Self> {
        let in_seconds = estimate(position, stats)?;
        let mean = stats.avg_wait_seconds?;
        let wait = SignedDuration::try_from_secs_f64(in_seconds).ok()?;
        let waiting = stats.count(QueueStatus::Pending);
        Some(Self {
            at: Time(now.checked_add(wait).ok()?),
            in_seconds,
            basis: format!(
                "jobs that were submitted lately had waited {mean:.0} s on average, and it is number \
                 {position} of {waiting}"
            ),
        })
    }
}
