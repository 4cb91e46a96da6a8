//! Parts of lists: which rows, how many, and which of them could not be read.

use crate::model::{
    ApprovalId, ApprovalStatus, JobId, JobStatus, JobType, ProviderName, QueueEntryId, QueueStatus,
    UserId,
};

/// Which rows of a list, at most `limit` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// At most so many rows, 1 to 500.
    pub limit: u32,
    /// How many rows to skip first.
    pub offset: u32,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { limit: 50, offset: 0 }
    }
}

/// A part of a list whose rows have keys `K`, and how long the whole list is.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T, K> {
    /// The rows.
    pub items: Vec<T>,
    /// How many rows match in all.
    pub total: u64,
    /// Rows of this page that could not be decoded; they are set aside and stop nothing else.
    pub damaged: Vec<DamagedRow>,
    /// Where the next page continues, for the filter; `None` when there is none. Whatever is added
    /// to the list meanwhile, no row comes twice and none is left out.
    pub next: Option<K>,
}

/// A stored row that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedRow {
    /// The table.
    pub table: &'static str,
    /// The row's key, as far as it can be read.
    pub key: String,
    /// What is wrong: the column, and what was found in it.
    pub problem: String,
}

impl std::fmt::Display for DamagedRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{} row {}: {}", self.table, self.key, self.problem))
    }
}

/// Which jobs to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Where they run.
    pub job_type: Option<JobType>,
    /// Their status.
    pub status: Option<JobStatus>,
    /// The provider that runs them.
    pub provider: Option<ProviderName>,
    /// The user they belong to.
    pub user: Option<UserId>,
    /// Only jobs older than this one: where the page before ended.
    pub before: Option<JobId>,
}

/// Which queue entries to list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueFilter {
    /// Their status.
    pub status: Option<QueueStatus>,
    /// Whether terminal entries are included; a terminal `status` includes them as well.
    pub include_completed: bool,
    /// Only entries behind this one: where the page before ended.
    pub after: Option<QueueEntryId>,
}

impl QueueFilter {
    /// The statuses that match.
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

/// Which approval requests to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestFilter {
    /// Their status.
    pub status: Option<ApprovalStatus>,
    /// The user whose jobs they are for.
    pub user: Option<UserId>,
    /// Only requests older than this one: where the page before ended.
    pub before: Option<ApprovalId>,
}

#[cfg(test)]
mod tests;
