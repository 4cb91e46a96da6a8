//! Health, the background tasks and the log.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use st_store::Role;

use crate::input::Fields;
use crate::operation::{Group, Input, Lane, Method, Named, Operation, Parameter};
use crate::problem::Code;
use crate::schema::Time;

/// That the server answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Alive {
    /// Always `healthy`.
    pub status: Condition,
    /// Whether there are accounts.
    pub mode: Mode,
}

/// Whether there are accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// No key was ever made: every request is the local administrator's.
    SingleUser,
    /// Requests need a key or a session.
    MultiUser,
}

/// That the server answers, or is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusWord {
    /// One word.
    pub status: String,
}

/// How well something works.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// As it should.
    Healthy,
    /// With a fault that loses nothing yet.
    Degraded,
    /// Not.
    Unhealthy,
}

/// How well the server works.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// That of the worst component.
    pub status: Condition,
    /// The version of the server.
    pub version: String,
    /// Since its start.
    pub uptime_seconds: f64,
    /// Each component.
    pub components: Vec<Component>,
    /// Now, by the server.
    pub timestamp: Time,
}

/// How well a component works.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Component {
    /// The component's name.
    pub name: String,
    /// How well it works.
    pub status: Condition,
    /// How long it took to answer, or its last run.
    pub latency_ms: Option<f64>,
    /// What is wrong; empty where nothing is.
    pub message: String,
}

/// What is asked beside the server's own parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HealthQuery {
    /// Whether Replicate is asked for our account.
    pub include_replicate: bool,
}

impl Input for HealthQuery {
    fn read(fields: &mut Fields) -> Option<Self> {
        let include_replicate = fields.boolean("include_replicate").unwrap_or(false);
        let deep = fields.boolean("deep").unwrap_or(false);
        Some(Self { include_replicate: include_replicate || deep })
    }
}

/// The background tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tasks {
    /// The background tasks.
    pub tasks: Vec<Task>,
    /// What is open at the providers, by provider; `null` while the database cannot be read.
    pub unsettled: Option<BTreeMap<String, Unsettled>>,
    /// How many rows are set aside because they cannot be decoded.
    pub damaged: Option<u64>,
}

/// What is open at a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unsettled {
    /// Submissions with an unknown outcome.
    pub unresolved: u64,
    /// Jobs that are there twice and being cancelled.
    pub strays: u64,
    /// Submissions that did not arrive and are still looked for.
    pub rechecks: u64,
}

/// A background task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Task {
    /// The task's name.
    pub name: String,
    /// How often it runs at least.
    pub period_seconds: f64,
    /// The run that is under way.
    pub current_run: Option<Run>,
    /// The run that ended last.
    pub last_run: Option<EndedRun>,
    /// When a run ended well.
    pub last_success_at: Option<Time>,
    /// When it runs next, unless a signal comes first.
    pub next_run_at: Option<Time>,
}

/// A run of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// Its number since the start.
    pub iteration: u64,
    /// When it began.
    pub started_at: Time,
    /// Why it began.
    pub reason: String,
}

/// A run of a task that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EndedRun {
    /// Which.
    #[serde(flatten)]
    pub run: Run,
    /// How long it took.
    pub elapsed_seconds: f64,
    /// How it ended.
    pub outcome: String,
    /// What it did, counted.
    pub counts: BTreeMap<String, u64>,
    /// Why the run failed; null where it did not.
    pub error: Option<String>,
}

/// The level of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLevel {
    /// A level, or several: `INFO,simpletuner.cloud.queue=DEBUG`.
    pub level: String,
}

/// The level of the log to set, as text: what it may be is the log's matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetLogLevel {
    /// A level, or several.
    pub level: String,
}

impl Input for SetLogLevel {
    fn read(fields: &mut Fields) -> Option<Self> {
        let level = fields.non_empty_string("level", 1000);
        Some(Self { level: fields.require(level, "level")? })
    }
}

/// That the server answers.
pub const PLAIN: Operation<(), (), (), Alive> =
    Operation::new(Group::Operation, Method::Get, "/health", "get_plain_health")
        .lane(Lane::Vital)
        .summary("Say that the server answers")
        .public();

/// How well the server works.
pub const HEALTH: Operation<(), HealthQuery, (), Health> =
    Operation::new(Group::Operation, Method::Get, "/api/cloud/health", "get_health")
        .lane(Lane::Vital)
        .summary("Say how well each part of the server works")
        .example_query("deep=true");

/// That the process lives.
pub const LIVE: Operation<(), (), (), StatusWord> =
    Operation::new(Group::Operation, Method::Get, "/api/cloud/health/live", "get_liveness")
        .lane(Lane::Vital)
        .summary("Say that the process lives, whatever else fails")
        .public();

/// Whether the server can work.
pub const READY: Operation<(), (), (), StatusWord> =
    Operation::new(Group::Operation, Method::Get, "/api/cloud/health/ready", "get_readiness")
        .lane(Lane::Vital)
        .summary("Say whether the server can work now")
        .problems(&[Code::NotReady])
        .public();

/// Lists the background tasks.
pub const TASKS: Operation<(), (), (), Tasks> =
    Operation::new(Group::Operation, Method::Get, "/api/background/tasks", "list_tasks")
        .summary("List the background tasks: what each did last and does next");

/// Shows the level of the log.
pub const LOG_LEVEL: Operation<(), (), (), LogLevel> =
    Operation::new(Group::Operation, Method::Get, "/api/logging/level", "get_log_level")
        .summary("Show the level of the log");

/// Sets the level of the log.
pub const SET_LOG_LEVEL: Operation<(), (), SetLogLevel, LogLevel> =
    Operation::new(Group::Operation, Method::Put, "/api/logging/level", "set_log_level")
        .summary("Set the level of the log, until the next start")
        .role(Role::Admin)
        .example_body(r#"{"level": "INFO,simpletuner.cloud.queue=DEBUG"}"#);

/// The OpenAPI document.
pub const OPENAPI: Operation<(), (), (), Value> =
    Operation::new(Group::Operation, Method::Get, "/api/openapi.json", "get_openapi")
        .summary("The interface as an OpenAPI 3.1 document")
        .public();

/// A background task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskName(pub String);

impl Named for TaskName {
    const PARAMETER: Option<Parameter> = Some(Parameter {
        name: "task",
        what: "task",
        numeric: false,
        description: "The task's name in the list.",
    });

    fn parse(name: &str) -> Option<Self> {
        Some(Self(name.to_owned()))
    }
}

/// Shows a background task.
pub const TASK: Operation<TaskName, (), (), Task> =
    Operation::new(Group::Operation, Method::Get, "/api/background/tasks/{task}", "get_task")
        .summary("Show a background task");

/// Runs a background task now.
pub const ACTIVATE_TASK: Operation<TaskName, (), (), Activated> = Operation::new(
    Group::Operation,
    Method::Post,
    "/api/background/tasks/{task}/activate",
    "activate_task",
)
.summary("Run a background task now")
.role(Role::Admin);

/// That a task runs now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Activated {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
    /// The task.
    pub name: String,
}

/// Whether providers accept submissions, in the original's form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Breakers {
    /// Each provider.
    pub circuit_breakers: Vec<Breaker>,
}

/// Whether a provider accepts submissions, in the original's form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Breaker {
    /// The provider.
    pub name: String,
    /// `closed` where it accepts submissions, `open` where it does not, `half_open` while it is tried.
    pub state: String,
    /// How often it stopped accepting submissions since the start.
    pub failure_count: u64,
    /// How many submissions it accepted since the start.
    pub success_count: u64,
    /// Since when it accepts none.
    pub last_failure: Option<Time>,
    /// In seconds, when it is tried next.
    pub retry_after: Option<f64>,
    /// Why it accepts none; empty where it does.
    pub reason: String,
}

/// Lists the gates in the original's form.
pub const BREAKERS: Operation<(), (), (), Breakers> = Operation::new(
    Group::Operation,
    Method::Get,
    "/api/cloud/circuit-breakers",
    "list_circuit_breakers",
)
.summary("Say whether each provider accepts submissions, in the original's form");

/// That the server stops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShuttingDown {
    /// Always `shutting_down`.
    pub status: String,
}

/// Stops the server.
pub const SHUTDOWN: Operation<(), (), (), ShuttingDown> =
    Operation::new(Group::Operation, Method::Post, "/api/system/shutdown", "shut_down")
        .summary("Stop the server, as SIGTERM does")
        .role(Role::Admin);
