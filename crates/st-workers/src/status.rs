//! The observable state of a task: its current run and how the last one went.

use std::time::Duration;

use jiff::Timestamp;

use tokio::time::Instant;

use crate::task::{Reason, TaskId};

/// A run that has not ended yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurrentRun {
    /// Counts the runs since the start of the driver, from 1.
    pub iteration: u64,
    /// When it began, by the wall clock.
    pub started_at: Timestamp,
    /// Why it began.
    pub reason: Reason,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It did its work.
    Done {
        /// How many objects of each kind it handled.
        counts: Vec<(&'static str, u64)>,
    },
    /// It failed.
    Failed {
        /// The error with all its causes.
        error: String,
    },
    /// It panicked: a bug of this program.
    Panicked {
        /// The message of the panic.
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

/// A run that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRun {
    /// The run.
    pub run: CurrentRun,
    /// Its duration.
    pub elapsed: Duration,
    /// How it ended.
    pub outcome: Outcome,
}

/// How the runs of a task ended since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunTotals {
    /// Those that did their work.
    pub done: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that panicked.
    pub panicked: u64,
    /// Those that did not end before their deadline.
    pub timed_out: u64,
    /// How long all of them took.
    pub elapsed: Duration,
}

impl RunTotals {
    pub(crate) fn add(&mut self, outcome: &Outcome, elapsed: Duration) {
        *match outcome {
            Outcome::Done { .. } => &mut self.done,
            Outcome::Failed { .. } => &mut self.failed,
            Outcome::Panicked { .. } => &mut self.panicked,
            Outcome::TimedOut => &mut self.timed_out,
        } += 1;
        self.elapsed = self.elapsed.saturating_add(elapsed);
    }
}

/// The observable state of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStatus {
    /// The task.
    pub id: TaskId,
    /// From the end of a run to the next one, when nothing wakes it sooner.
    pub period: Duration,
    /// The run that has not ended yet; `None` between runs.
    pub current: Option<CurrentRun>,
    /// The latest run that has ended; `None` before the first.
    pub last: Option<LastRun>,
    /// When a run last succeeded, by the wall clock.
    pub last_success_at: Option<Timestamp>,
    /// When it runs next unless something wakes it sooner; `None` during a run.
    pub next_run_at: Option<Timestamp>,
    /// How its runs ended since the start.
    pub totals: RunTotals,
    /// When a run last succeeded, or the start where none has.
    pub good_since: Instant,
}

impl TaskStatus {
    /// How long ago a run last succeeded, or the start where none has.
    pub fn lag(&self) -> Duration {
        self.good_since.elapsed()
    }
}
