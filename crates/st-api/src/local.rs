//! Submitting a named configuration to this machine, as the original's command line does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use st_store::Role;

use crate::input::Fields;
use crate::jobs::MAX_KEY;
use crate::operation::{Group, Input, Method, Operation};
use crate::problem::Code;

/// The targets of the original; the ones that exist here are the first two.
pub const TARGETS: [&str; 2] = ["auto", "local"];

/// A named configuration to run on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmitLocal {
    /// The whole request as it came, by which a repetition is recognised.
    pub raw: Map<String, Value>,
    /// The configuration's name.
    pub config_name: String,
    /// Whether the job is refused unless it can start at once.
    pub no_wait: bool,
    /// Whether any graphics cards will do, which is always so.
    pub any_gpu: bool,
    /// Whether a job beyond a budget asks for approval instead of being refused.
    pub for_approval: bool,
    /// Where it runs; another than [`TARGETS`] is 400, as the clients of this path expect.
    pub target: Option<String>,
    /// By which a repetition of the request is recognised.
    pub idempotency_key: Option<String>,
}

impl Input for SubmitLocal {
    fn read(fields: &mut Fields) -> Option<Self> {
        let raw = fields.given().clone();
        let config_name = fields.non_empty_string("config_name", 200);
        let config_name = fields.require(config_name, "config_name");
        let mut flag = |name| fields.boolean(name).unwrap_or(false);
        let (no_wait, any_gpu, for_approval) =
            (flag("no_wait"), flag("any_gpu"), flag("for_approval"));
        let target = fields.optional_string("target", 100);
        let idempotency_key = fields.optional_string("idempotency_key", MAX_KEY);
        let config_name = config_name?;
        Some(Self { raw, config_name, no_wait, any_gpu, for_approval, target, idempotency_key })
    }
}

/// What became of a submission to this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LocalSubmitted {
    /// Whether there is a job now. `false` only where the request did not want to wait.
    pub success: bool,
    /// The job.
    pub job_id: Option<String>,
    /// `queued`, `running`, `blocked` (it needs approval) or `rejected` (it would have to wait). Of a job
    /// that had been submitted before also `completed`, `failed` or `cancelled`.
    pub status: String,
    /// The graphics cards that it has; `null` until it starts.
    pub allocated_gpus: Option<Vec<u32>>,
    /// Always null: there are no agents on other machines.
    pub allocated_worker_id: Option<String>,
    /// Its place in the queue.
    pub queue_position: Option<u64>,
    /// Whether it waits for approval.
    pub requires_approval: bool,
    /// Why there is no job.
    pub error: Option<String>,
    /// Why it waits, or why there is no job.
    pub reason: Option<String>,
    /// Whether the job had been submitted before under the same key.
    pub idempotent_hit: bool,
}

/// Submits a named configuration to this machine.
pub const SUBMIT: Operation<(), (), SubmitLocal, LocalSubmitted> =
    Operation::new(Group::Queue, Method::Post, "/api/queue/submit", "submit_local_job")
        .summary("Submit a named configuration to this machine")
        .description(
            "`Idempotency-Key`, as a header or in the body (the header counts where both are there), makes \
             a repetition answer the same job for 24 hours. With `no_wait` there is no job unless it could begin at once: it must need no \
             approval, and no hold, limit, quota or closed gate may keep it from a slot.",
        )
        .role(Role::Researcher)
        .problems(&[
            Code::UnknownTarget,
            Code::BadIdempotencyKey,
            Code::IdempotencyMismatch,
            Code::JobDeleted,
            Code::NotFound,
            Code::MissingSetting,
            Code::OverBudget,
            Code::QuotaExceeded,
        ])
        .example_body(r#"{"config_name": "demo", "target": "local"}"#);
