//! Keys, sessions, the caller, and the audit trail.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use st_store::{AuditFilter, KeyId, KeyScope, KeyScopes, OrgId, PageRequest, Role, TeamId, UserId};

use crate::input::Fields;
use crate::names::JobName;
use crate::operation::{Group, Input, Method, Named, Operation, Parameter};
use crate::page::page;
use crate::problem::Code;
use crate::schema::{Time, word};

/// The longest name of a key, a user, a team or an organization, in bytes.
const MAX_NAME: usize = 200;

/// A key of the interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyArg(pub KeyId);

impl Named for KeyArg {
    const PARAMETER: Option<Parameter> = Some(Parameter {
        name: "id",
        what: "key",
        numeric: false,
        description: "The key's ID: the middle part of the key.",
    });

    fn parse(name: &str) -> Option<Self> {
        Some(Self(KeyId::new(name)))
    }
}

/// A key of the interface, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Key {
    /// Its ID, the middle part of the key.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// Whose it is.
    pub user: String,
    /// What it may do.
    #[schemars(schema_with = "word::<Role>")]
    pub role: Role,
    /// What of that it is limited to; `null` where it may do all that its role allows.
    pub scopes: Option<Vec<String>>,
    /// The team that jobs of it count for.
    pub team_id: Option<String>,
    /// The organization that jobs of it count for.
    pub org_id: Option<String>,
    /// When it was made.
    pub created_at: Time,
    /// The user or program that created the key.
    pub created_by: String,
    /// When it expires.
    pub expires_at: Option<Time>,
    /// When it was used last, to the minute.
    pub last_used_at: Option<Time>,
    /// When it was revoked.
    pub revoked_at: Option<Time>,
    /// Whether it is valid now.
    pub is_active: bool,
}

/// Which keys are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListKeys {
    /// Those after this one.
    pub after: Option<KeyId>,
    /// How many at most.
    pub page: PageRequest,
}

impl Input for ListKeys {
    fn read(fields: &mut Fields) -> Option<Self> {
        let page = page(fields);
        let after = fields.optional_string("cursor", MAX_NAME).map(KeyId::new);
        Some(Self { after, page })
    }
}

/// A page of keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Keys {
    /// The keys.
    pub keys: Vec<Key>,
    /// The `cursor` of the next page; `null` on the last one.
    pub next: Option<String>,
}

/// A key to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateKey {
    /// What it is called.
    pub name: String,
    /// Whose it is.
    pub user: UserId,
    /// What it may do.
    pub role: Role,
    /// What of that it is limited to.
    pub scopes: KeyScopes,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// The team that jobs of it count for.
    pub team: Option<TeamId>,
    /// The organization that jobs of it count for.
    pub org: Option<OrgId>,
}

impl Input for CreateKey {
    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.non_empty_string("name", MAX_NAME);
        let name = fields.require(name, "name");
        let user = fields.non_empty_string("user", MAX_NAME);
        let user = fields.require(user, "user");
        let role = fields.required_choice::<Role>("role");
        let scopes = match fields.choices::<KeyScope>("scopes") {
            None => KeyScopes::All,
            Some(scopes) if scopes.is_empty() => {
                let message = "names no scope; leave it out for all that the role allows";
                fields.fault("scopes", message);
                KeyScopes::All
            }
            Some(scopes) => KeyScopes::Only(scopes.into_iter().collect()),
        };
        let expires_at = fields.word::<Timestamp>("expires_at");
        if fields.is_empty_text("expires_at") {
            // A script with an unset variable must not create a key that never expires.
            fields.fault("expires_at", "is empty; leave it out for a key that does not expire");
        }
        let team = fields.optional_string("team_id", MAX_NAME).map(TeamId::new);
        let org = fields.optional_string("org_id", MAX_NAME).map(OrgId::new);
        let user = UserId::new(user?);
        Some(Self { name: name?, user, role: role?, scopes, expires_at, team, org })
    }
}

/// A key that was made. Its secret is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyCreated {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
    /// The key.
    pub key: Key,
    /// What requests send.
    pub secret: String,
}

impl std::fmt::Debug for KeyCreated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyCreated").field("key", &self.key).finish_non_exhaustive()
    }
}

/// A key that was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyRevoked {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
    /// The key.
    pub key: Key,
}

/// A caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// The user's ID.
    pub id: String,
    /// The same.
    pub username: String,
    /// What the user may do.
    #[schemars(schema_with = "word::<Role>")]
    pub role: Role,
    /// Whether the user may do everything.
    pub is_admin: bool,
    /// The role, as the original's page reads it.
    pub levels: Vec<String>,
    /// What of the role the key is limited to; `null` for all of it.
    pub scopes: Option<Vec<String>>,
    /// The team that jobs count for.
    pub team_id: Option<String>,
    /// The organization that jobs count for.
    pub org_id: Option<String>,
    /// The key of the request or of its session.
    pub key_id: Option<String>,
}

/// Whether the request shows a valid key or session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Checked {
    /// Whether it does, or needs none.
    pub authenticated: bool,
    /// Whether none is needed, because no key was ever made.
    pub single_user: bool,
    /// Who asks.
    pub user: Option<User>,
    /// What requests of the session that change something must send as `X-CSRF-Token`.
    pub csrf_token: Option<String>,
}

/// A key to open a session with.
#[derive(Clone, PartialEq, Eq)]
pub struct SignIn {
    /// The key.
    pub api_key: String,
}

impl std::fmt::Debug for SignIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignIn").finish_non_exhaustive()
    }
}

impl Input for SignIn {
    fn read(fields: &mut Fields) -> Option<Self> {
        let key = fields.non_empty_string("api_key", MAX_NAME);
        Some(Self { api_key: fields.require(key, "api_key")? })
    }
}

/// A session that was opened; its cookie is in the header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignedIn {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
    /// Who has signed in.
    pub user: User,
    /// What requests of the session that change something must send as `X-CSRF-Token`.
    pub csrf_token: String,
    /// How long it lasts.
    pub expires_in_seconds: u64,
}

/// A session that was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignedOut {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
}

/// Which entries of the audit trail are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListAudit {
    /// What they must have, apart from the job.
    pub filter: AuditFilter,
    /// The job that they must be about, named as wherever a job is named.
    pub job: Option<JobName>,
    /// How many at most.
    pub page: PageRequest,
}

impl Input for ListAudit {
    fn read(fields: &mut Fields) -> Option<Self> {
        let page = page(fields);
        let filter = AuditFilter {
            actor: fields.optional_string("actor", MAX_NAME),
            job: None,
            since: fields.word::<Timestamp>("since"),
            before: fields.optional_string("cursor", MAX_NAME).and_then(|text| {
                let cursor = text.parse().ok();
                if cursor.is_none() {
                    fields.fault("cursor", "expected the `next` of the page before");
                }
                cursor
            }),
        };
        let job = fields.optional_string("job_id", MAX_NAME).map(JobName);
        Some(Self { filter, job, page })
    }
}

/// An entry of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// The entry's number; a later entry has a greater one.
    pub id: i64,
    /// When.
    pub timestamp: Time,
    /// Who; `null` where nobody was known.
    pub actor: Option<AuditActor>,
    /// By which key.
    pub key_id: Option<String>,
    /// What: the operation's name in the OpenAPI document.
    pub operation: String,
    /// What the path named.
    pub object: Option<String>,
    /// The job that it was about.
    pub job_id: Option<String>,
    /// From where.
    pub peer: Option<String>,
    /// Under which the log has it.
    pub correlation_id: Option<String>,
    /// The status of the answer.
    pub status: u16,
    /// How often, where alike ones were counted together.
    pub times: u32,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditActor {
    /// What kind of actor.
    pub kind: String,
    /// The name.
    pub name: Option<String>,
}

/// A page of the audit trail, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditPage {
    /// The entries.
    pub entries: Vec<AuditEntry>,
    /// The `cursor` of the next page; `null` on the last one.
    pub next: Option<String>,
}

/// Lists the keys.
pub const KEYS: Operation<(), ListKeys, (), Keys> =
    Operation::new(Group::Accounts, Method::Get, "/api/keys", "list_keys")
        .summary("List the keys, without their secrets")
        .role(Role::Admin);

/// Makes a key.
pub const CREATE_KEY: Operation<(), (), CreateKey, KeyCreated> =
    Operation::new(Group::Accounts, Method::Post, "/api/keys", "create_key")
        .summary("Make a key; its secret is shown this once")
        .role(Role::Admin)
        .problems(&[Code::FirstKeyMustBeAdmin])
        .example_body(r#"{"name": "laptop", "user": "ann", "role": "researcher"}"#);

/// Revokes a key.
pub const REVOKE_KEY: Operation<KeyArg, (), (), KeyRevoked> =
    Operation::new(Group::Accounts, Method::Delete, "/api/keys/{id}", "revoke_key")
        .summary("Revoke a key")
        .role(Role::Admin);

/// Shows the caller.
pub const ME: Operation<(), (), (), User> =
    Operation::new(Group::Accounts, Method::Get, "/api/users/me", "get_me")
        .summary("Show who you are")
        .signed_in();

/// Checks the login.
pub const CHECK: Operation<(), (), (), Checked> =
    Operation::new(Group::Accounts, Method::Get, "/api/auth/check", "check_login")
        .summary("Say whether the request shows a valid key or session")
        .problems(&[Code::Unauthenticated, Code::TooManyAttempts])
        .public();

/// Opens a session.
pub const SIGN_IN: Operation<(), (), SignIn, SignedIn> =
    Operation::new(Group::Accounts, Method::Post, "/api/auth/session", "sign_in")
        .summary("Open a session for a browser, whose cookie the answer sets")
        .problems(&[Code::Unauthenticated, Code::TooManyAttempts, Code::SingleUser])
        .public()
        .example_body(r#"{"api_key": "st_abc_secret"}"#);

/// Ends a session.
pub const SIGN_OUT: Operation<(), (), (), SignedOut> =
    Operation::new(Group::Accounts, Method::Delete, "/api/auth/session", "sign_out")
        .summary("End the session of the request")
        .signed_in();

/// Lists the audit trail.
pub const AUDIT: Operation<(), ListAudit, (), AuditPage> =
    Operation::new(Group::Accounts, Method::Get, "/api/audit", "list_audit")
        .summary("List who did what, newest first")
        .role(Role::Admin)
        .example_query("limit=20")
        .problems(&[Code::NotFound]);
