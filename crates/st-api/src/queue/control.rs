//! What people do with the queue beside submitting: the priority of a job, a run of the scheduler, the
//! deletion of old jobs, and what one user has in it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use st_store::{Priority, Role};

use super::QueueEntry;
use crate::input::Fields;
use crate::names::{JobName, UserArg};
use crate::operation::{Group, Input, Lane, Method, Operation};
use crate::problem::Code;

/// A priority to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetPriority {
    /// Instead of that of the submitter's role; `None` for that of the role.
    pub priority: Option<Priority>,
}

impl Input for SetPriority {
    fn read(fields: &mut Fields) -> Option<Self> {
        let is_cleared = fields.is_null("priority");
        let number = fields.integer("priority", 0..=50);
        if is_cleared {
            return Some(Self { priority: None });
        }
        let number = fields.require(number, "priority")?;
        Some(Self { priority: Some(Priority::new(number).ok()?) })
    }
}

/// The priority of a job after its change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PriorityChanged {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
    /// The job.
    pub job_id: String,
    /// The priority that counted before.
    pub previous_effective_priority: u8,
    /// The priority that counts now.
    pub new_effective_priority: u8,
    /// The priority that is set instead of that of the role.
    pub priority_override: Option<u8>,
    /// For a person.
    pub message: String,
}

/// What a run of the scheduler began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Processed {
    /// Always true: a run that failed is an error answer.
    pub success: bool,
    /// How many jobs were claimed.
    pub dispatched: u64,
    /// The jobs whose first submission began meanwhile, as far as the next 500 events name them.
    pub job_ids: Vec<String>,
}

/// How old finished jobs must be to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleanup {
    /// In days.
    pub days: u16,
}

impl Input for Cleanup {
    fn read(fields: &mut Fields) -> Option<Self> {
        let days = fields.integer("days", 1..=365).and_then(|days| u16::try_from(days).ok());
        Some(Self { days: days.unwrap_or(30) })
    }
}

/// How many jobs were deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cleaned {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
    /// How many.
    pub deleted: u64,
    /// How old they were at least.
    pub days: u16,
    /// Whether no such job is left.
    pub is_complete: bool,
    /// For a person.
    pub message: String,
}

/// How many jobs of a user are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListUser {
    /// How many of each kind.
    pub limit: u32,
}

impl ListUser {
    /// When the request does not say.
    pub const USUAL: u32 = 100;
}

impl Input for ListUser {
    fn read(fields: &mut Fields) -> Option<Self> {
        let limit = fields.integer("limit", 1..=500).and_then(|limit| u32::try_from(limit).ok());
        Some(Self { limit: limit.unwrap_or(Self::USUAL) })
    }
}

/// What one user has in the queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UserQueue {
    /// The user.
    pub user_id: String,
    /// How many wait for a slot, of the newest 500 with each status.
    pub pending_count: u64,
    /// How many have one, counted so too.
    pub running_count: u64,
    /// How many wait for approval, counted so too.
    pub blocked_count: u64,
    /// The place of the first of those in the queue.
    pub best_position: Option<u64>,
    /// The newest that wait, as many as `limit`.
    pub pending_jobs: Vec<QueueEntry>,
    /// The newest that have a slot, as many as `limit`.
    pub running_jobs: Vec<QueueEntry>,
}

/// Sets the priority of a job.
pub const PRIORITY: Operation<JobName, (), SetPriority, PriorityChanged> =
    Operation::new(Group::Queue, Method::Post, "/api/queue/{job}/priority", "set_priority")
        .summary("Set the priority of a job; null is that of its submitter's role")
        .role(Role::Lead)
        .problems(&[Code::JobOver, Code::AmbiguousJob])
        .example_body(r#"{"priority": 40}"#);

/// Runs the scheduler now.
pub const PROCESS: Operation<(), (), (), Processed> =
    Operation::new(Group::Queue, Method::Post, "/api/queue/process", "process_queue")
        .summary("Claim and submit now what may be")
        .role(Role::Lead);

/// Deletes old jobs.
pub const CLEANUP: Operation<(), Cleanup, (), Cleaned> =
    Operation::new(Group::Queue, Method::Post, "/api/queue/cleanup", "clean_up_queue")
        .lane(Lane::Bulk)
        .summary("Delete jobs that ended so many days ago or earlier")
        .role(Role::Admin)
        .example_query("days=30");

/// Shows what the caller has in the queue.
pub const ME: Operation<(), (), (), UserQueue> =
    Operation::new(Group::Queue, Method::Get, "/api/queue/me", "get_my_queue")
        .summary("Show what you have in the queue");

/// Shows what a user has in the queue.
pub const USER_QUEUE: Operation<UserArg, ListUser, (), UserQueue> =
    Operation::new(Group::Queue, Method::Get, "/api/queue/user/{user}", "get_user_queue")
        .summary("Show what a user has in the queue");
