//! The other ways to approval requests: those of the original's command line, of its page and of the
//! queue, and decisions about several at once.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use st_store::{ApprovalId, ApprovalStatus, Role};

use super::{Approve, DECIDED, Decided, ListRequests, MAX_TEXT, Request};
use crate::input::Fields;
use crate::names::{JobName, RequestArg};
use crate::operation::{Group, Input, Lane, Method, Operation};
use crate::problem::Code;
use crate::schema::{Time, word};

/// An approval request, as the original's command line reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// The request's number, which its decision names.
    pub id: i64,
    /// The job that waits for it.
    pub job_id: String,
    /// Where it is.
    #[schemars(schema_with = "word::<ApprovalStatus>")]
    pub status: ApprovalStatus,
    /// The name of the job's configuration; empty where it has none.
    pub config_name: String,
    /// When it was made.
    pub requested_at: Time,
    /// Why it is required.
    pub reason: String,
}

/// Approval requests, as the original's command line reads them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approvals {
    /// Each, newest first.
    pub approvals: Vec<Approval>,
}

/// How many requests are not decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PendingCount {
    /// The number.
    pub count: u64,
    /// The same as `count`.
    pub pending_count: u64,
}

/// The rejection of a request that needs no reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectBriefly {
    /// Why.
    pub reason: Option<String>,
}

impl Input for RejectBriefly {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { reason: fields.optional_string("reason", MAX_TEXT) })
    }
}

/// A decision about several requests; each is decided on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bulk {
    /// The requests.
    pub request_ids: Vec<ApprovalId>,
    /// What the reviewer writes.
    pub text: Option<String>,
}

/// The most requests that one call decides.
const MOST_AT_ONCE: usize = 500;

impl Input for Bulk {
    fn read(fields: &mut Fields) -> Option<Self> {
        let given = fields.numbers("request_ids", MOST_AT_ONCE);
        let given = fields.require(given, "request_ids");
        let notes = fields.optional_string("notes", MAX_TEXT);
        let reason = fields.optional_string("reason", MAX_TEXT);
        let mut request_ids = Vec::new();
        for (index, item) in given?.iter().enumerate() {
            // The original's page sends the numbers as text.
            let text = item.as_str().map_or_else(|| item.to_string(), str::to_owned);
            if let Ok(id) = text.parse() {
                request_ids.push(id);
            } else {
                let message = format!("expected the number of a request, found {item}");
                fields.faults_in("request_ids", [(format!("/{index}"), message)]);
            }
        }
        Some(Self { request_ids, text: notes.or(reason) })
    }
}

/// What became of each request of a decision about several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BulkDecided {
    /// Whether every one was decided as asked.
    pub success: bool,
    /// How many there are.
    pub total: u64,
    /// How many were decided as asked.
    pub succeeded: u64,
    /// How many were not.
    pub failed: u64,
    /// Each, in the order of the request.
    pub results: Vec<BulkResult>,
}

/// What became of one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BulkResult {
    /// The request.
    pub request_id: i64,
    /// Its job; `null` where there is no such request.
    pub job_id: Option<String>,
    /// Whether it was decided as asked.
    pub success: bool,
    /// The kind of the problem, as problems have it; `null` where it was decided.
    pub code: Option<Code>,
    /// Why it was not; empty where it was.
    pub error: String,
}

/// How many requests a run of the expirer settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Expired {
    /// The number.
    pub expired: u64,
}

/// Lists requests, as the original's command line asks.
pub const APPROVALS: Operation<(), ListRequests, (), Approvals> =
    Operation::new(Group::Approvals, Method::Get, "/api/approvals", "list_approvals")
        .summary("List approval requests, as the original's command line reads them")
        .example_query("status=pending&limit=50");

/// Approves a request, by the command line's path.
pub const APPROVE_BRIEFLY: Operation<RequestArg, (), Approve, Decided> =
    Operation::new(Group::Approvals, Method::Post, "/api/approvals/{id}/approve", "approve")
        .summary("Approve a request, as the original's command line does")
        .role(Role::Lead)
        .problems(DECIDED)
        .example_body(r#"{"reason": "within the budget"}"#);

/// Rejects a request, by the command line's path.
pub const REJECT_BRIEFLY: Operation<RequestArg, (), RejectBriefly, Decided> =
    Operation::new(Group::Approvals, Method::Post, "/api/approvals/{id}/reject", "reject")
        .summary("Reject a request, as the original's command line does")
        .role(Role::Lead)
        .problems(DECIDED)
        .example_body(r#"{"reason": "too expensive"}"#);

/// Approves several requests.
pub const BULK_APPROVE: Operation<(), (), Bulk, BulkDecided> = Operation::new(
    Group::Approvals,
    Method::Post,
    "/api/approvals/requests/bulk-approve",
    "approve_requests",
)
.lane(Lane::Bulk)
.summary("Approve several requests, each on its own")
.role(Role::Lead)
.example_body(r#"{"request_ids": [1, 2], "notes": "within the budget"}"#);

/// Rejects several requests.
pub const BULK_REJECT: Operation<(), (), Bulk, BulkDecided> = Operation::new(
    Group::Approvals,
    Method::Post,
    "/api/approvals/requests/bulk-reject",
    "reject_requests",
)
.lane(Lane::Bulk)
.summary("Reject several requests, each on its own")
.role(Role::Lead)
.example_body(r#"{"request_ids": [1, 2], "reason": "too expensive"}"#);

/// Counts the requests that are not decided.
pub const PENDING_COUNT: Operation<(), (), (), PendingCount> = Operation::new(
    Group::Approvals,
    Method::Get,
    "/api/approvals/requests/pending/count",
    "count_pending_requests",
)
.summary("Count the requests that are not decided");

/// Shows the request of a job.
pub const OF_JOB: Operation<JobName, (), (), Request> = Operation::new(
    Group::Approvals,
    Method::Get,
    "/api/approvals/requests/job/{job}",
    "get_request_of_job",
)
.summary("Show the approval request of a job")
.problems(&[Code::AmbiguousJob]);

/// Approves by the queue's path.
pub const APPROVE_JOB: Operation<JobName, (), Approve, Decided> =
    Operation::new(Group::Queue, Method::Post, "/api/queue/{job}/approve", "approve_job")
        .summary("Approve the request of a job")
        .role(Role::Lead)
        .problems(&[Code::NoApproval, Code::AlreadyDecided, Code::PastDeadline]);

/// Rejects by the queue's path.
pub const REJECT_JOB: Operation<JobName, RejectBriefly, (), Decided> =
    Operation::new(Group::Queue, Method::Post, "/api/queue/{job}/reject", "reject_job")
        .summary("Reject the request of a job")
        .role(Role::Lead)
        .problems(&[Code::NoApproval, Code::AlreadyDecided, Code::PastDeadline])
        .example_query("reason=too+expensive");

/// Runs the expirer now.
pub const EXPIRE: Operation<(), (), (), Expired> =
    Operation::new(Group::Approvals, Method::Post, "/api/approvals/expire", "expire_requests")
        .summary("Expire now the requests that are past their deadline")
        .role(Role::Lead);
