//! The audit trail.

use async_trait::async_trait;

use crate::error::Result;
use crate::model::{AuditFilter, AuditPage, NewAudit};

/// The audit trail. [`HistoryRepo::prune`](super::HistoryRepo::prune) deletes its old entries.
#[async_trait]
pub trait AuditRepo: Send + Sync {
    /// Appends entries, all of them or none.
    async fn append_audit(&self, entries: Vec<NewAudit>) -> Result<()>;

    /// At most `max` entries, newest first.
    async fn audit(&self, filter: &AuditFilter, max: u32) -> Result<AuditPage>;
}
