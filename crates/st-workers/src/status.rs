//! What a task shows: whether it runs, and how its last run went.

use std::time::Duration;

use jiff::Timestamp;

use crate::task::{Reason, TaskId};

/// A run that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurrentRun {
    /// Counts the runs since the start, from 1.
    pub iteration: u64,
    /// When it began.
    pub started_at: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It did its work.
    Done {
        /// How much of what.
        counts: Vec<(&'static str, u64)>,
    },
    /// It failed.
    Failed {
        /// Why, with all causes.
        error: String,
    },
    /// It panicked: a fault of this program.
    Panicked {
        /// What it said.
        message: String,
    },
    /// It did not end before its deadline.
    TimedOut,
}

impl Outcome {
    /// The word for it in the API and in metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Done { .. } => "done",
            Self::Failed { .. } => "failed",
            Self::Panicked { .. } => "panicked",
            Self::TimedOut => "timed_out",
        }
    }
}

/// A run that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRun {
    /// The run.
    pub run: CurrentRun,
    /// How long it took.
    pub elapsed: Duration,
    /// How it ended.
    pub outcome: Outcome,
}

/// What a task shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStatus {
    /// Which task.
    pub id: TaskId,
    /// Its period.
    pub period: Duration,
    /// The run that goes on.
    pub current: Option<CurrentRun>,
    /// The run before.
    pub last: Option<LastRun>,
    /// When a run last did its work.
    pub last_success_at: Option<Timestamp>,
    /// When it runs next, unless something wakes it sooner.
    pub next_run_at: Option<Timestamp>,
}
