#![doc = include_str!("../README.md")]

mod activator;
mod background;
mod backoff;
mod dispatch;
mod driver;
mod files;
mod gate;
pub mod provider;
mod providers;
mod reminder;
mod results;
mod search;
mod served;
mod status;
mod task;
pub mod tasks;

pub use background::{
    BackgroundConfig, BackgroundTasks, ProviderFigures, Unfinished, start_background_tasks,
    stop_background_tasks,
};
pub use backoff::Backoff;
pub use dispatch::{DispatchTimings, Dispatcher};
pub use driver::{Driver, Running};
pub use gate::{ClosedBy, GateStatus};
pub use providers::Providers;
pub use results::KeptLogs;
pub use served::{CallKind, CallOutcome, Calls, PolledJobs, UnreadJob};
pub use status::{CurrentRun, LastRun, Outcome, RunTotals, TaskStatus};
pub use task::{Cycle, Reason, RunSummary, Task, TaskError, TaskId, Timing};
