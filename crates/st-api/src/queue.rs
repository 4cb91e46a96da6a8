//! The queue: entries, limits, holds and weights.

mod control;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use st_store::{
    Limit, Limits, LimitsPatch, PageRequest, QueueEntryId, QueueStatus, Role, Scope, ScopeLevel,
    ShareLevel, ShareScope, ShareTime, UnknownText, Weight,
};

use crate::input::Fields;
use crate::jobs::{Cancelled, WaitingFor};
use crate::names::JobName;
use crate::operation::{Group, Input, Method, Operation};
use crate::page::page;
use crate::problem::Code;
use crate::schema::{Time, word};

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
    /// Its place; 1 is next. `null` where it cannot be claimed now.
    pub position: Option<u64>,
    /// The status of its entry.
    #[schemars(schema_with = "word::<QueueStatus>")]
    pub status: QueueStatus,
    /// The name of the priority that counts.
    pub priority: String,
    /// When it was queued.
    pub queued_at: Time,
    /// How long it is expected to wait.
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
    /// How long the first that can be claimed has waited.
    pub oldest_claimable_seconds: f64,
    /// The limits and the settings of fair share.
    #[serde(flatten)]
    pub limits: LimitsView,
    /// How many graphics cards jobs on this machine share; `null` where they are not managed.
    pub local_gpu_max_concurrent: Option<u64>,
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

/// The limits and the settings of fair share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LimitsView {
    /// Each by its name.
    #[serde(flatten)]
    pub numbers: BTreeMap<String, u32>,
    /// Whether slots are shared out between owners in turn.
    pub enable_fair_share: bool,
}

impl From<&Limits> for LimitsView {
    fn from(limits: &Limits) -> Self {
        let slots = Limit::ALL.iter().map(|&it| (it.as_str().to_owned(), limits.get(it)));
        let times = ShareTime::ALL.iter();
        let times = times.map(|&it| (it.as_str().to_owned(), limits.time(it)));
        Self { numbers: slots.chain(times).collect(), enable_fair_share: limits.fair_share }
    }
}

/// The limits after a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LimitsChanged {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
    /// All limits as they are now.
    #[serde(flatten)]
    pub limits: LimitsView,
}

/// Limits to change; the others stay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SetLimits(pub LimitsPatch);

impl Input for SetLimits {
    fn read(fields: &mut Fields) -> Option<Self> {
        let mut patch = LimitsPatch::default();
        for &limit in Limit::ALL {
            let value = fields.integer(limit.as_str(), 1..=i64::from(limit.largest()));
            if let Some(value) = value.and_then(|value| u32::try_from(value).ok()) {
                patch.set(limit, value);
            }
        }
        patch.fair_share = fields.boolean("enable_fair_share");
        for &time in ShareTime::ALL {
            let (smallest, largest) = time.range().into_inner();
            let value = fields.integer(time.as_str(), i64::from(smallest)..=i64::from(largest));
            if let Some(value) = value.and_then(|value| u32::try_from(value).ok()) {
                patch.set_time(time, value);
            }
        }
        Some(Self(patch))
    }
}

/// A hold: nothing new is claimed within its scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hold {
    /// What is held.
    #[schemars(schema_with = "word::<ScopeLevel>")]
    pub scope: ScopeLevel,
    /// Which owner or provider; `null` for everything.
    pub id: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Who paused it.
    pub by: String,
    /// Since when.
    pub since: Time,
}

/// The holds there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Holds {
    /// The holds that are in effect.
    pub holds: Vec<Hold>,
}

/// A scope to pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// What is paused.
    pub scope: Scope,
    /// Why.
    pub reason: Option<String>,
}

impl Input for Pause {
    fn read(fields: &mut Fields) -> Option<Self> {
        let scope = read_scope(fields);
        let reason = fields.optional_string("reason", MAX_TEXT);
        Some(Self { scope: scope?, reason })
    }
}

/// A scope to resume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// What is resumed.
    pub scope: Scope,
}

impl Input for Resume {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { scope: read_scope(fields)? })
    }
}

/// The scope, everything unless another is given. `None` only with a fault noted.
fn read_scope(fields: &mut Fields) -> Option<Scope> {
    let given = fields.has("scope");
    let level = fields.choice::<ScopeLevel>("scope");
    let id = fields.optional_string("id", MAX_TEXT);
    let level = match level {
        Some(level) => level,
        None if given => return None,
        None => ScopeLevel::All,
    };
    let scope = Scope::from_parts(level, id.as_deref());
    if scope.is_none() {
        let message = match level {
            ScopeLevel::All => "is not for the scope all; leave it out".to_owned(),
            ScopeLevel::User | ScopeLevel::Team | ScopeLevel::Org | ScopeLevel::Provider => {
                format!("is required: which {level}")
            }
        };
        fields.fault("id", message);
    }
    scope
}

/// What became of a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HoldChanged {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
    /// For a person.
    pub message: String,
    /// The hold that was placed or released; `null` where there was none to release.
    pub hold: Option<Hold>,
}

/// The weight of an owner under fair share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OwnerWeight {
    /// The kind of owner.
    #[schemars(schema_with = "word::<ShareLevel>")]
    pub scope: ShareLevel,
    /// Which owner.
    pub id: String,
    /// How many turns it gets for one of an owner with the weight 1.
    pub weight: f64,
}

impl OwnerWeight {
    /// The weight of this owner.
    pub fn of(scope: &ShareScope, weight: Weight) -> Self {
        Self { scope: scope.level(), id: scope.id().to_owned(), weight: weight.get() }
    }
}

/// The weights that are not the default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Weights {
    /// The weights that were set; every other owner has 1.
    pub weights: Vec<OwnerWeight>,
    /// That of every other owner.
    pub default: f64,
}

/// A weight to set.
#[derive(Debug, Clone, PartialEq)]
pub struct SetWeight {
    /// Whose.
    pub scope: ShareScope,
    /// What it becomes; `None` for the default.
    pub weight: Option<Weight>,
}

impl Input for SetWeight {
    fn read(fields: &mut Fields) -> Option<Self> {
        let level = fields.choice::<ShareLevel>("scope");
        let level = fields.require(level, "scope");
        let id = fields.non_empty_string("id", MAX_TEXT);
        let id = fields.require(id, "id");
        let is_default = fields.is_null("weight");
        let number = fields.number("weight", Weight::SMALLEST.get()..=Weight::LARGEST.get());
        let weight = if is_default { None } else { Some(fields.require(number, "weight")) };
        let scope = ShareScope::from_parts(level?, &id?);
        let weight = match weight {
            None => None,
            Some(number) => Some(Weight::new(number?).ok()?),
        };
        Some(Self { scope, weight })
    }
}

/// A weight after its change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WeightChanged {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
    /// For a person.
    pub message: String,
    /// The weight now.
    pub weight: OwnerWeight,
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

/// Shows the limits.
pub const LIMITS: Operation<(), (), (), LimitsView> =
    Operation::new(Group::Queue, Method::Get, "/api/queue/concurrency", "get_concurrency")
        .summary("Show the limits and the settings of fair share");

/// Changes limits.
pub const SET_LIMITS: Operation<(), (), SetLimits, LimitsChanged> =
    Operation::new(Group::Queue, Method::Post, "/api/queue/concurrency", "set_concurrency")
        .summary("Change limits; the others stay")
        .description("Lowering a limit stops claims and ends nothing.")
        .role(Role::Admin)
        .example_body(r#"{"max_concurrent": 8, "enable_fair_share": true}"#);

/// Pauses.
pub const PAUSE: Operation<(), (), Pause, HoldChanged> =
    Operation::new(Group::Queue, Method::Post, "/api/queue/pause", "pause_queue")
        .summary("Submit nothing new of everything, of an owner or of a provider")
        .role(Role::Admin)
        .example_body(r#"{"scope": "user", "id": "ann", "reason": "maintenance"}"#);

/// Resumes.
pub const RESUME: Operation<(), (), Resume, HoldChanged> =
    Operation::new(Group::Queue, Method::Post, "/api/queue/resume", "resume_queue")
        .summary("End a pause")
        .role(Role::Admin)
        .example_body(r#"{"scope": "user", "id": "ann"}"#);

/// Lists the holds.
pub const HOLDS: Operation<(), (), (), Holds> =
    Operation::new(Group::Queue, Method::Get, "/api/queue/holds", "list_holds")
        .summary("List what is paused");

/// Lists the weights.
pub const WEIGHTS: Operation<(), (), (), Weights> =
    Operation::new(Group::Queue, Method::Get, "/api/queue/weights", "list_weights")
        .summary("List the weights of owners under fair share");

/// Sets a weight.
pub const SET_WEIGHT: Operation<(), (), SetWeight, WeightChanged> =
    Operation::new(Group::Queue, Method::Put, "/api/queue/weights", "set_weight")
        .summary("Set the weight of an owner; null is the default")
        .role(Role::Admin)
        .example_body(r#"{"scope": "team", "id": "vision", "weight": 2}"#);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use st_store::{OrgId, UserId};

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
