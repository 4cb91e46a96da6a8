//! Why a job is where it is, and what it waits for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use st_store::{JobStatus, QueueStatus};

use crate::names::JobName;
use crate::operation::{Group, Method, Operation};
use crate::problem::Code;
use crate::quotas::Quota;
use crate::schema::{Time, word};

/// The kinds of waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitKind {
    /// The decision of a reviewer.
    Approval,
    /// The date that the submitter chose.
    Date,
    /// The end of the pause after an attempt.
    Pause,
    /// A slot under a limit.
    Limit,
    /// The release of a person's hold.
    Hold,
    /// Room in a budget.
    Budget,
    /// The provider, which does not accept submissions.
    Gate,
    /// The configuration of its provider.
    Provider,
    /// The outcome of its submission, which is unknown.
    Outcome,
    /// The credentials of the account that it belongs to.
    Account,
    /// The provider's confirmation that it is cancelled.
    Cancellation,
    /// A report of the provider about its status.
    Status,
    /// The repair of its row.
    Damaged,
}

/// What a job waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingFor {
    /// The kind of the wait.
    pub kind: WaitKind,
    /// Why, in words.
    pub reason: String,
    /// Since when; `null` where that is not recorded.
    pub since: Option<Time>,
    /// When it ends, or is tried again, by itself; `null` where no time is known.
    pub until: Option<Time>,
    /// What ends the wait, in words.
    pub next_step: String,
}

/// Why a job is where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// The full ID of the job.
    pub job_id: String,
    /// Its status.
    #[schemars(schema_with = "word::<JobStatus>")]
    pub status: JobStatus,
    /// The status of its queue entry.
    #[schemars(schema_with = "word::<QueueStatus>")]
    pub queue_status: QueueStatus,
    /// In one sentence.
    pub summary: String,
    /// What must happen next, by itself or by a person; `null` when the job is over.
    pub next_step: Option<String>,
    /// What it waits for.
    pub waiting_for: Option<WaitingFor>,
    /// Its place among the jobs that are due, from 1; `null` for others.
    pub position: Option<u64>,
    /// How many jobs are due.
    pub waiting: u64,
    /// The limits that count for it.
    pub limits: Vec<LimitUsed>,
    /// The budgets that it counts for.
    pub budgets: Vec<Quota>,
    /// When it is expected to start; `null` where nothing is known about that.
    pub expected_start: Option<ExpectedStart>,
}

/// How far a limit is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitUsed {
    /// The limit's name among the queue's settings.
    pub limit: String,
    /// Slots in use.
    pub used: u32,
    /// Slots in all.
    pub max: u32,
    /// Whether none is free.
    pub reached: bool,
}

/// When a job is expected to start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExpectedStart {
    /// The time.
    pub at: Time,
    /// The same as a distance.
    pub in_seconds: f64,
    /// What the estimate rests on.
    pub basis: String,
}

/// Explains a job.
pub const EXPLAIN: Operation<JobName, (), (), Explanation> =
    Operation::new(Group::Jobs, Method::Get, "/api/cloud/jobs/{job}/explain", "explain_job")
        .summary("Say why a job is where it is, and what comes next")
        .problems(&[Code::AmbiguousJob]);
