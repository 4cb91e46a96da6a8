//! The queue: entries, limits, holds and weights.

mod control;
mod holds;
mod limits;
mod weights;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use st_store::{PageRequest, QueueEntryId, QueueStatus, Role, UnknownText};

use crate::input::Fields;
use crate::jobs::{Cancelled, WaitingFor};
use crate::names::JobName;
use crate::operation::{Group, Input, Method, Operation};
use crate::page::page;
use crate::problem::Code;
use crate::schema::{Time, word};

pub use holds::{HOLDS, Hold, HoldChanged, Holds, PAUSE, Pause, RESUME, Resume};
pub use limits::{LIMITS, LimitsChanged, LimitsView, SET_LIMITS, SetLimits};
pub use weights::{OwnerWeight, SET_WEIGHT, SetWeight, WEIGHTS, WeightChanged, Weights};

pub use control::{
    CLEANUP, Cleaned, Cleanup, ListUser, ME, PRIORITY, PROCESS, PriorityChanged, Processed,
    SetPriority, USER_QUEUE, UserQueue,
};

/// The longest name of an owner or a provider, and the longest reason, in bytes.
const MAX_TEXT: usize = 1024;

/// A job's entry in the queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QueueEntry {
    /// Its number, in the order of submission.
    pub id: i64,
    /// The job.
    pub job_id: String,
    /// Who submitted it.
    pub user_id: String,
    /// The team that it counts for.
    pub team_id: Option<String>,
    /// The organization that it counts for.
    pub org_id: Option<String>,
    /// The provider that runs it.
    pub provider: String,
    /// The name of its configuration.
    pub config_name: Option<String>,
    /// The priority of the submitter's role.
    pub priority: u8,
    /// The name of the priority that counts.
    pub priority_name: String,
    /// The priority that was set instead.
    pub priority_override: Option<u8>,
    /// The priority that counts.
    pub effective_priority: u8,
    /// Where it is.
    #[schemars(schema_with = "word::<QueueStatus>")]
    pub status: QueueStatus,
    /// Its place in the queue; 1 is next.
    pub position: Option<u64>,
    /// When it was queued.
    pub queued_at: Time,
    /// When it was claimed first.
    pub started_at: Option<Time>,
    /// When it ended.
    pub completed_at: Option<Time>,
    /// In US dollars.
    pub estimated_cost: f64,
    /// Whether it needed, or needs, approval.
    pub requires_approval: bool,
    /// The approval request.
    pub approval_id: Option<i64>,
    /// How many times it was submitted to the provider, at least 1.
    pub attempt: u32,
    /// How many attempts that count against it there may be.
    pub max_attempts: u32,
    /// Why the last attempt failed.
    pub error_message: Option<String>,
    /// Before which it is not claimed.
    pub not_before: Option<Time>,
    /// What it waits for; `null` where it waits for nothing but its turn.
    pub waiting_for: Option<WaitingFor>,
}

/// Which entries are listed.
#[derive(Debug)]
pub struct ListEntries {
    /// Their status; one that does not exist is 400, as the clients of this path expect.
    pub status: Option<Result<QueueStatus, UnknownText>>,
    /// Whether those of jobs that are over are listed, too.
    pub include_completed: bool,
    /// Those after this one.
    pub after: Option<QueueEntryId>,
    /// Which part of them.
    pub page: PageRequest,
}

impl Input for ListEntries {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            status: fields.attempt("status"),
            include_completed: fields.boolean("include_completed").unwrap_or(false),
            after: fields.integer("cursor", 0..=i64::MAX).map(QueueEntryId),
            page: page(fields),
        })
    }
}

/// A page of the queue, in the order of submission.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QueuePage {
    /// The entries.
    pub entries: Vec<QueueEntry>,
    /// How many there are in all.
    pub total: u64,
    /// The `cursor` of the next page; `null` on the last one.
    pub next: Option<String>,
    /// How many wait for a slot.
    pub total_pending: u64,
    /// How many have one.
    pub total_running: u64,
}

/// Where a job is in the queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Position {
    /// The job.
    pub job_id: String,
    /// Its place among the jobs that are due, from 1; `null` for a job that is not. 1 is next, unless the job
    /// waits for something that others do not: see `waiting_for` of the job.
    pub position: Option<u64>,
    /// The status of its entry.
    #[schemars(schema_with = "word::<QueueStatus>")]
    pub status: QueueStatus,
    /// The name of the priority that counts.
    pub priority: String,
    /// When it was queued.
    pub queued_at: Time,
    /// How long from now it is expected to wait for its turn, in seconds: as in the job.
    pub estimated_wait_seconds: Option<f64>,
}

/// Figures of the queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QueueStats {
    /// How many entries have each status.
    pub by_status: BTreeMap<String, u64>,
    /// How many entries each user has that are not over.
    pub by_user: BTreeMap<String, u64>,
    /// How many wait for a slot.
    pub queue_depth: u64,
    /// How many have one.
    pub running: u64,
    /// How long the entries that were claimed lately had waited, on average.
    pub avg_wait_seconds: Option<f64>,
    /// How long the job has waited that has been due for longest, whatever holds it.
    pub oldest_claimable_seconds: f64,
    /// The limits and the settings of fair share.
    #[serde(flatten)]
    pub limits: LimitsView,
    /// Jobs on this machine; `null` where no graphics cards are managed.
    pub local: Option<LocalJobs>,
    /// Always null: there are no agents on other machines.
    pub workers: Option<()>,
}

/// Jobs on the server's machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LocalJobs {
    /// How many run.
    pub running_jobs: u64,
    /// How many may run.
    pub max_concurrent_jobs: u32,
    /// How many graphics cards they share.
    pub total_gpus: u64,
    /// The places of those that are free in the list of the configuration, from 0.
    pub available_gpus: Vec<u64>,
    /// The places of those that a job has.
    pub allocated_gpus: Vec<u64>,
}

/// Lists the queue.
pub const LIST: Operation<(), ListEntries, (), QueuePage> =
    Operation::new(Group::Queue, Method::Get, "/api/queue", "list_queue")
        .summary("List the queue, in the order of submission")
        .problems(&[Code::UnknownStatus])
        .example_query("status=pending&limit=20");

/// Shows the figures of the queue.
pub const STATS: Operation<(), (), (), QueueStats> =
    Operation::new(Group::Queue, Method::Get, "/api/queue/stats", "get_queue_stats")
        .summary("Show the figures of the queue");

/// Shows where a job is in the queue.
pub const POSITION: Operation<JobName, (), (), Position> =
    Operation::new(Group::Queue, Method::Get, "/api/queue/position/{job}", "get_queue_position")
        .summary("Show where a job is in the queue")
        .problems(&[Code::AmbiguousJob]);

/// Cancels a job, by the queue's path.
pub const CANCEL: Operation<JobName, (), (), Cancelled> =
    Operation::new(Group::Queue, Method::Post, "/api/queue/{job}/cancel", "cancel_queue_entry")
        .summary("Cancel a job, as by the path of the job")
        .role(Role::Researcher)
        .problems(&[Code::JobOver, Code::AmbiguousJob]);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use st_store::{OrgId, Scope, ShareScope, UserId, Weight};

    use super::*;

    fn read<T: Input>(body: &Value) -> Result<T, String> {
        let fields = Fields::new(body.as_object().unwrap().clone());
        T::from_fields(fields).map_err(|faults| {
            let said = faults.into_iter().map(|it| format!("{}: {}", it.pointer, it.message));
            said.collect::<Vec<_>>().join("; ")
        })
    }

    #[test]
    fn a_weight_is_a_number_or_the_default() {
        let weight =
            |body| read::<SetWeight>(&body).map(|it| (it.scope, it.weight.map(Weight::get)));
        let ann = ShareScope::User(UserId::new("ann"));
        let body = json!({"scope": "user", "id": "ann", "weight": 2.5});
        assert_eq!(weight(body), Ok((ann, Some(2.5))));
        let acme = ShareScope::Org(OrgId::new("acme"));
        let body = json!({"scope": "org", "id": "acme", "weight": null});
        assert_eq!(weight(body), Ok((acme, None)));
    }

    #[test]
    fn what_is_no_weight_of_an_owner_is_refused_by_name() {
        for (body, said) in [
            (json!({"scope": "user", "id": "ann"}), "/weight: "),
            (json!({"scope": "user", "weight": 1}), "/id: "),
            (json!({"id": "ann", "weight": 1}), "/scope: "),
            (json!({"scope": "user", "id": "", "weight": 1}), "/id: "),
            (json!({"scope": "all", "id": "ann", "weight": 1}), "/scope: unknown scope \"all\""),
            (json!({"scope": "user", "id": "ann", "weight": 0}), "/weight: expected "),
            (json!({"scope": "user", "id": "ann", "weight": 1001}), "/weight: expected "),
            (json!({"scope": "user", "id": "ann", "weight": "1"}), "/weight: expected "),
        ] {
            let detail = read::<SetWeight>(&body).unwrap_err();
            assert!(detail.starts_with(said), "{body}: {detail}");
        }
    }

    #[test]
    fn a_scope_is_everything_unless_it_names_one() {
        let scope = |body| read::<Pause>(&body).map(|it| it.scope);
        assert_eq!(scope(json!({})), Ok(Scope::All));
        let ann = Scope::User(UserId::new("ann"));
        assert_eq!(scope(json!({"scope": "user", "id": "ann"})), Ok(ann));
        let missing = scope(json!({"scope": "team"})).unwrap_err();
        assert_eq!(missing, "/id: is required: which team");
        let needless = scope(json!({"scope": "all", "id": "x"})).unwrap_err();
        assert!(needless.starts_with("/id: is not for the scope all"), "{needless}");
    }
}
