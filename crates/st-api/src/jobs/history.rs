//! The events of a job.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use st_store::EventId;

use crate::input::Fields;
use crate::names::JobName;
use crate::operation::{Group, Input, Method, Operation};
use crate::problem::Code;
use crate::schema::Time;

/// Which events of a job are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListHistory {
    /// Those after this one.
    pub after: EventId,
    /// How many at most.
    pub limit: u32,
}

/// How many events of a job are listed when the request does not say.
const EVENTS: u32 = 100;

impl Input for ListHistory {
    fn read(fields: &mut Fields) -> Option<Self> {
        let after = EventId(fields.integer("cursor", 0..=i64::MAX).unwrap_or(0));
        let limit = fields.integer("limit", 1..=500);
        let limit = limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(EVENTS);
        Some(Self { after, limit })
    }
}

/// What happened to a job, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// The full ID of the job.
    pub job_id: String,
    /// The events.
    pub events: Vec<Event<'static>>,
    /// The `cursor` of the next page; `null` on the last one.
    pub next: Option<i64>,
}

/// Something that happened. `subject`, `from`, `to` and `actor` are the history's; `status`,
/// `previous_status` and `source` say the same for older clients of the stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event<'a> {
    /// Its kind, such as `job_status_changed`.
    pub r#type: Cow<'a, str>,
    /// The job; left out where the change is not about a job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// Its place in the log.
    pub id: i64,
    /// When.
    pub timestamp: Time,
    /// What changed.
    pub subject: Cow<'a, str>,
    /// The status before; `null` where the object came into being, or has no status.
    pub from: Option<Cow<'a, str>>,
    /// The status after.
    pub to: Option<Cow<'a, str>>,
    /// Who changed it.
    pub actor: Actor<'a>,
    /// The kind of the actor, as older clients know it.
    pub source: Cow<'a, str>,
    /// Empty where the change says all there is to say.
    pub message: Cow<'a, str>,
    /// Under which the log has it.
    pub correlation_id: Cow<'a, str>,
    /// The same as `to`.
    pub status: Option<Cow<'a, str>>,
    /// The same as `from`.
    pub previous_status: Option<Cow<'a, str>>,
    /// Left out where the change is not about an approval request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_id: Option<i64>,
}

/// Who changed something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Actor<'a> {
    /// What kind of actor.
    pub kind: Cow<'a, str>,
    /// The user's or the provider's name; `null` for actors of which there is only one.
    pub name: Option<Cow<'a, str>>,
}

/// Lists what happened to a job.
pub const HISTORY: Operation<JobName, ListHistory, (), History> =
    Operation::new(Group::Jobs, Method::Get, "/api/cloud/jobs/{job}/events", "list_job_events")
        .summary("List what happened to a job, oldest first")
        .problems(&[Code::AmbiguousJob]);
