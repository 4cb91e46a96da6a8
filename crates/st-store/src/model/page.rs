//! What part of a list somebody wants.

use crate::model::{ApprovalStatus, JobId, JobStatus, JobType, ProviderName, QueueStatus, UserId};

/// Which rows of a list, at most `limit` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// At most so many rows, 1 to 500.
    pub limit: u32,
    /// How many rows to pass over first.
    pub offset: u32,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { limit: 50, offset: 0 }
    }
}

/// A part of a list, and how long the whole list is.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// How many rows match in all.
    pub total: u64,
}

/// Which jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Where they run.
    pub job_type: Option<JobType>,
    /// Where they are.
    pub status: Option<JobStatus>,
    /// Who runs them.
    pub provider: Option<ProviderName>,
    /// Whose they are.
    pub user: Option<UserId>,
    /// Only jobs older than this one: where the page before ended.
    pub before: Option<JobId>,
}

/// Which queue entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueFilter {
    /// Where they are.
    pub status: Option<QueueStatus>,
    /// Whether those that are over come too; a `status` that is final brings them as well.
    pub include_completed: bool,
}

impl QueueFilter {
    /// The statuses that it lets through.
    pub fn statuses(self) -> Vec<QueueStatus> {
        QueueStatus::ALL
            .iter()
            .copied()
            .filter(|&status| match self.status {
                Some(wanted) => status == wanted,
                None => self.include_completed || !status.is_terminal(),
            })
            .collect()
    }
}

/// Which approval requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestFilter {
    /// Where they are.
    pub status: Option<ApprovalStatus>,
}
