//! Pausing and resuming the queue, an owner or a provider.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use st_store::{Role, Scope, ScopeLevel};

use super::MAX_TEXT;
use crate::input::Fields;
use crate::operation::{Group, Input, Method, Operation};
use crate::schema::{Time, word};

/// A hold: nothing new is claimed within its scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hold {
    /// What is held.
    #[schemars(schema_with = "word::<ScopeLevel>")]
    pub scope: ScopeLevel,
    /// Which owner or provider; `null` for everything.
    pub id: Option<String>,
    /// Why it is paused, as the operator gave it.
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
    /// Why it is paused, as the operator gave it.
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
        None if fields.is_empty_text("scope") => {
            // One that was left empty must not hold everything.
            fields.fault("scope", "is empty; leave it out for everything");
            return None;
        }
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
    /// What was done, in a sentence for people.
    pub message: String,
    /// The hold that was placed or released; `null` where there was none to release.
    pub hold: Option<Hold>,
}

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
