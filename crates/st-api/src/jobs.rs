//! Jobs: what is asked about them and what is answered.

mod check;
mod estimate;
mod explain;
mod history;
mod submit;
mod sync;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use st_store::{
    JobFilter, JobStatus, JobType, PageRequest, ProviderJobId, ProviderName, Resolution, Role,
    UnknownText, UserId,
};

use crate::input::Fields;
use crate::names::JobName;
use crate::operation::{Group, Input, Media, Method, Operation};
use crate::page::page;
use crate::problem::Code;
use crate::schema::{Time, word};

pub use check::{CHECK, CheckQuery, PreSubmitCheck, Refusal};
pub use estimate::{CostEstimate, ESTIMATE, EstimateCost};
pub use explain::{EXPLAIN, ExpectedStart, Explanation, LimitUsed, WaitKind, WaitingFor};
pub use history::{Actor, Event, HISTORY, History, ListHistory};
pub(crate) use submit::MAX_KEY;
pub use submit::{SUBMIT, SubmitJob, SubmitQuery, Submitted};
pub use sync::{JobsSynced, SYNC, SyncJobs};

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// Our ID of it: a UUID, version 7.
    pub job_id: String,
    /// Where it runs.
    #[schemars(schema_with = "word::<JobType>")]
    pub job_type: JobType,
    /// The provider that runs it.
    pub provider: String,
    /// Where it is in its life.
    #[schemars(schema_with = "word::<JobStatus>")]
    pub status: JobStatus,
    /// The name of its configuration.
    pub config_name: Option<String>,
    /// When it was submitted.
    pub created_at: Time,
    /// When it began to run.
    pub started_at: Option<Time>,
    /// When it ended.
    pub completed_at: Option<Time>,
    /// The same as `completed_at`.
    pub finished_at: Option<Time>,
    /// What it cost, in US dollars.
    pub cost_usd: Option<f64>,
    /// The hardware that it runs on.
    pub hardware_type: Option<String>,
    /// Why the job failed; null while it has not.
    pub error_message: Option<String>,
    /// Where its output is at the provider.
    pub output_url: Option<String>,
    /// Where its output is on the server.
    pub output_path: Option<String>,
    /// When the provider deletes its output.
    pub output_expires_at: Option<Time>,
    /// Whether its log and output are kept.
    pub results: Option<Results>,
    /// Who submitted it.
    pub user_id: String,
    /// What people call it and its run.
    pub metadata: Map<String, Value>,
    /// Whether it is over.
    pub is_terminal: bool,
    /// Whether it is not over.
    pub is_active: bool,
    /// How long it has run, or ran.
    pub duration_seconds: Option<f64>,
    /// Its place among the jobs that are due, from 1; `null` for a job that is not. 1 is next, unless the job
    /// waits for something that others do not: see `waiting_for`.
    pub queue_position: Option<u64>,
    /// The provider's ID of it.
    pub provider_job_id: Option<String>,
    /// How many times it was submitted to the provider, at least 1.
    pub attempt: u32,
    /// Under which the log has its life.
    pub correlation_id: String,
    /// How long from now it is expected to wait for its turn, in seconds; `null` for a job that is not due or
    /// waits for something else than a slot, while no job was claimed yet, and where it has waited longer than
    /// others did.
    pub estimated_wait_seconds: Option<f64>,
    /// Whether its cancellation was requested.
    pub cancel_requested: bool,
    /// What it waits for; `null` where it waits for nothing but its turn.
    pub waiting_for: Option<WaitingFor>,
}

/// Whether the log and the output of a job are kept that its provider deletes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Results {
    /// Where they are.
    pub state: ResultsWord,
    /// Why they are lost.
    pub reason: Option<String>,
}

/// Where the results of a job are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResultsWord {
    /// They are still to be fetched.
    Due,
    /// They are on the server.
    Kept,
    /// The provider deleted them before they were fetched.
    Lost,
}

/// Which jobs are listed.
#[derive(Debug)]
pub struct ListJobs {
    /// What they must have.
    pub filter: JobFilter,
    /// Their status; one that does not exist is 400, as the clients of this path expect.
    pub status: Option<Result<JobStatus, UnknownText>>,
    /// Which part of them.
    pub page: PageRequest,
    /// Whether the providers are asked about them, too.
    pub sync_active: bool,
}

impl Input for ListJobs {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            page: page(fields),
            status: fields.attempt("status"),
            filter: JobFilter {
                job_type: fields.choice::<JobType>("job_type"),
                status: None,
                provider: fields.optional_string("provider", 100).map(ProviderName::new),
                user: fields.optional_string("user_id", 200).map(UserId::new),
                before: fields.optional_string("cursor", 100).and_then(|text| {
                    let cursor = text.parse().ok();
                    if cursor.is_none() {
                        fields.fault("cursor", "expected the `next` of the page before");
                    }
                    cursor
                }),
            },
            sync_active: fields.boolean("sync_active").unwrap_or(false),
        })
    }
}

/// A page of jobs, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<Job>,
    /// How many there are in all.
    pub total: u64,
    /// The `cursor` of the next page; `null` on the last one.
    pub next: Option<String>,
}

/// One job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OneJob {
    /// The job.
    pub job: Job,
}

/// The answer to a request to cancel a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cancelled {
    /// Whether the request is recorded: the job is cancelled, or will be. `false` when it ended in
    /// another way meanwhile.
    pub success: bool,
    /// The job.
    pub job_id: String,
    /// Its status now.
    #[schemars(schema_with = "word::<JobStatus>")]
    pub status: JobStatus,
    /// When the cancellation takes effect.
    pub message: String,
}

/// What was done with a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobChanged {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
    /// The job.
    pub job_id: String,
    /// Its status now.
    #[schemars(schema_with = "word::<JobStatus>")]
    pub status: JobStatus,
}

/// What a job printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Logs {
    /// The job.
    pub job_id: String,
    /// Its log.
    pub logs: String,
}

/// How far a job has come, by what it prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InlineProgress {
    /// The job.
    pub job_id: String,
    /// What it does now.
    pub stage: Option<String>,
    /// The last line of its log.
    pub last_log: Option<String>,
    /// In percent.
    pub progress: Option<f64>,
}

/// What became of a job, as an administrator says.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolve {
    /// What became of it.
    pub resolution: Resolution,
    /// Why it is believed.
    pub note: Option<String>,
}

/// The longest identifier of a provider, in bytes.
const MAX_ID: usize = 200;
/// The longest note, in bytes.
const MAX_NOTE: usize = 2000;

impl Input for Resolve {
    fn read(fields: &mut Fields) -> Option<Self> {
        const OUTCOMES: [&str; 3] = ["at_provider", "absent", "abandon"];
        let outcome = fields.required_one_of("outcome", &OUTCOMES);
        let id = fields.optional_string("provider_job_id", MAX_ID);
        let note = fields.optional_string("note", MAX_NOTE);
        let resolution = match (outcome?, id) {
            ("at_provider", id) => {
                let id = fields.require(id, "provider_job_id")?;
                Resolution::AtProvider { id: ProviderJobId::new(id), account: None }
            }
            (_, Some(_)) => {
                fields.fault("provider_job_id", "is only for the outcome at_provider");
                return None;
            }
            ("absent", None) => Resolution::Absent,
            (_, None) => Resolution::Abandon,
        };
        Some(Self { resolution, note })
    }
}

/// Lists jobs.
pub const LIST: Operation<(), ListJobs, (), JobPage> =
    Operation::new(Group::Jobs, Method::Get, "/api/cloud/jobs", "list_jobs")
        .summary("List jobs, newest first")
        .problems(&[Code::UnknownStatus])
        .example_query("limit=10");

/// Shows a job.
pub const SHOW: Operation<JobName, (), (), OneJob> =
    Operation::new(Group::Jobs, Method::Get, "/api/cloud/jobs/{job}", "get_job")
        .summary("Show a job")
        .problems(&[Code::AmbiguousJob]);

/// Cancels a job.
pub const CANCEL: Operation<JobName, (), (), Cancelled> =
    Operation::new(Group::Jobs, Method::Post, "/api/cloud/jobs/{job}/cancel", "cancel_job")
        .summary("Cancel a job")
        .description(
            "A job that is at its provider is cancelled there, until the provider confirms it. The \
             message says when the cancellation takes effect.",
        )
        .role(Role::Researcher)
        .problems(&[Code::JobOver, Code::AmbiguousJob]);

/// Shows what a job printed.
pub const LOGS: Operation<JobName, (), (), Logs> =
    Operation::new(Group::Jobs, Method::Get, "/api/cloud/jobs/{job}/logs", "get_job_logs")
        .summary("Show what a job printed")
        .problems(&[Code::AmbiguousJob, Code::ProviderError]);

/// Shows how far a job has come.
pub const PROGRESS: Operation<JobName, (), (), InlineProgress> = Operation::new(
    Group::Jobs,
    Method::Get,
    "/api/cloud/jobs/{job}/inline-progress",
    "get_job_progress",
)
.summary("Show how far a running job has come")
.problems(&[Code::AmbiguousJob, Code::ProviderError]);

/// Says what became of a job.
pub const RESOLVE: Operation<JobName, (), Resolve, JobChanged> =
    Operation::new(Group::Jobs, Method::Post, "/api/cloud/jobs/{job}/resolve", "resolve_job")
        .summary("Say what became of a job, where nothing can be proven")
        .role(Role::Admin)
        .problems(&[Code::NothingToResolve, Code::AmbiguousJob])
        .example_body(r#"{"outcome": "absent", "note": "asked their support"}"#);

/// A job that was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobDeleted {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
    /// The job.
    pub job_id: String,
}

/// Runs a job once more.
pub const RETRY: Operation<JobName, (), (), Submitted> =
    Operation::new(Group::Jobs, Method::Post, "/api/cloud/jobs/{job}/retry", "retry_job")
        .summary("Submit a new job with the input of one that failed or was cancelled")
        .role(Role::Researcher)
        .problems(&[Code::Conflict, Code::OverBudget, Code::QuotaExceeded, Code::AmbiguousJob]);

/// Deletes a job.
pub const DELETE: Operation<JobName, (), (), JobDeleted> = Operation::new(
    Group::Jobs,
    Method::Delete,
    "/api/cloud/jobs/{job}",
    "delete_job",
)
.summary("Delete a job that is over")
.description(
    "While the provider may still have something of it, the answer is 409 with the time from \
             which it can be deleted.",
)
.role(Role::Researcher)
.problems(&[Code::NotTerminal, Code::StillOpen, Code::AmbiguousJob]);

/// Follows what a job prints.
pub const FOLLOW_LOGS: Operation<JobName, (), (), Logs> = Operation::new(
    Group::Jobs,
    Method::Get,
    "/api/cloud/jobs/{job}/logs/stream",
    "follow_logs",
)
.summary("Follow what a job prints, until it ends")
.description(
    "Server-Sent Events: `data: <line>` for each line, and at the end `event: done` with the \
             status of the job as its data.",
)
.problems(&[Code::AmbiguousJob, Code::ProviderError, Code::TooManyStreams])
.media(Media::EventStream);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: &Value) -> Result<Resolve, String> {
        let fields = Fields::new(body.as_object().unwrap().clone());
        Resolve::from_fields(fields).map_err(|faults| {
            let said = faults.into_iter().map(|it| format!("{}: {}", it.pointer, it.message));
            said.collect::<Vec<_>>().join("; ")
        })
    }

    #[test]
    fn each_outcome_is_read_and_an_empty_text_is_none() {
        let at_provider = Resolution::AtProvider { id: ProviderJobId::new("p1"), account: None };
        for (body, resolution, note) in [
            (json!({"outcome": "at_provider", "provider_job_id": "p1"}), at_provider, None),
            (json!({"outcome": "absent", "note": ""}), Resolution::Absent, None),
            (
                json!({"outcome": "abandon", "provider_job_id": "", "note": "asked support"}),
                Resolution::Abandon,
                Some("asked support".to_owned()),
            ),
        ] {
            assert_eq!(read(&body).unwrap(), Resolve { resolution, note }, "{body}");
        }
    }

    #[test]
    fn faults_are_named_with_their_fields() {
        for (body, detail) in [
            (json!({}), "/outcome: is required"),
            (json!({"outcome": "gone"}), "/outcome: expected one of at_provider, absent, abandon"),
            (json!({"outcome": "at_provider"}), "/provider_job_id: is required"),
            (
                json!({"outcome": "at_provider", "provider_job_id": "x".repeat(MAX_ID + 1)}),
                "/provider_job_id: is longer than 200 bytes",
            ),
            (
                json!({"outcome": "absent", "provider_job_id": "p1"}),
                "/provider_job_id: is only for the outcome at_provider",
            ),
            (
                json!({"outcome": "absent", "note": "x".repeat(MAX_NOTE + 1)}),
                "/note: is longer than 2000 bytes",
            ),
            (json!({"outcome": "absent", "notes": "x"}), "/notes: unknown field"),
        ] {
            let found = read(&body).unwrap_err();
            assert!(found.starts_with(detail), "{found}");
        }
    }
}
