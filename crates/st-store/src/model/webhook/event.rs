//! What a webhook may be sent: the kinds of events, under the names that messages have.

use std::collections::BTreeSet;

use crate::model::text::{UnknownText, text_enum};
use crate::model::{ApprovalStatus, Change, JobStatus};

text_enum! {
    /// A kind of event.
    WebhookEvent, "event" {
        /// A job was accepted.
        JobPending = "job.pending",
        /// A job is being submitted to its provider.
        JobUploading = "job.uploading",
        /// A provider has a job.
        JobQueued = "job.queued",
        /// A job runs.
        JobRunning = "job.running",
        /// A job succeeded.
        JobCompleted = "job.completed",
        /// A job failed.
        JobFailed = "job.failed",
        /// A job was cancelled.
        JobCancelled = "job.cancelled",
        /// A job was deleted.
        JobDeleted = "job.deleted",
        /// A place in the queue changed.
        QueueChanged = "queue.changed",
        /// A job waits for a decision.
        ApprovalRequired = "approval.required",
        /// A decision was made.
        ApprovalDecided = "approval.decided",
        /// No decision was made in time.
        ApprovalExpired = "approval.expired",
        /// Settings of a provider changed.
        ProviderChanged = "provider.changed",
        /// Limits, holds or budgets changed.
        LimitsChanged = "limits.changed",
    }
}

impl WebhookEvent {
    /// The kind of this change.
    pub const fn of(change: &Change) -> Self {
        match change {
            Change::Job { to, .. } => match to {
                JobStatus::Pending => Self::JobPending,
                JobStatus::Uploading => Self::JobUploading,
                JobStatus::Queued => Self::JobQueued,
                JobStatus::Running => Self::JobRunning,
                JobStatus::Completed => Self::JobCompleted,
                JobStatus::Failed => Self::JobFailed,
                JobStatus::Cancelled => Self::JobCancelled,
            },
            Change::Deleted { .. } => Self::JobDeleted,
            Change::Queue { .. } | Change::Priority { .. } => Self::QueueChanged,
            Change::Approval { to, .. } => match to {
                ApprovalStatus::Pending => Self::ApprovalRequired,
                ApprovalStatus::Expired => Self::ApprovalExpired,
                ApprovalStatus::Approved | ApprovalStatus::Rejected | ApprovalStatus::Cancelled => {
                    Self::ApprovalDecided
                }
            },
            Change::Provider { .. } => Self::ProviderChanged,
            Change::Limits { .. } => Self::LimitsChanged,
        }
    }

    /// What it means, in one sentence.
    pub const fn description(self) -> &'static str {
        match self {
            Self::JobPending => "A job was accepted; it waits for a slot, a date or an approval.",
            Self::JobUploading => "A job is being submitted to its provider.",
            Self::JobQueued => "A provider has a job that has not begun.",
            Self::JobRunning => "A job runs.",
            Self::JobCompleted => "A job succeeded.",
            Self::JobFailed => "A job failed.",
            Self::JobCancelled => "A job was cancelled.",
            Self::JobDeleted => "A person deleted a job that was over.",
            Self::QueueChanged => "The place of a job in the queue, or its priority, changed.",
            Self::ApprovalRequired => "A job waits for a decision.",
            Self::ApprovalDecided => "An approval was given or refused, or its job was cancelled.",
            Self::ApprovalExpired => "There was no decision before the deadline.",
            Self::ProviderChanged => "Settings of a provider changed.",
            Self::LimitsChanged => "Limits, holds, weights, budgets or the polling changed.",
        }
    }
}

/// What a webhook is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WantedEvents {
    /// Everything, also kinds of events that come with a later version.
    All,
    /// These, of which there is at least one.
    Only(BTreeSet<WebhookEvent>),
}

impl WantedEvents {
    /// These kinds of events; all of them where none is named.
    pub fn of(kinds: impl IntoIterator<Item = WebhookEvent>) -> Self {
        let kinds: BTreeSet<_> = kinds.into_iter().collect();
        if kinds.is_empty() { Self::All } else { Self::Only(kinds) }
    }

    /// Whether this change is among them.
    pub fn include(&self, change: &Change) -> bool {
        match self {
            Self::All => true,
            Self::Only(kinds) => kinds.contains(&WebhookEvent::of(change)),
        }
    }

    /// The words as they are stored; `None` for all.
    pub fn to_text(&self) -> Option<String> {
        match self {
            Self::All => None,
            Self::Only(kinds) => {
                let words: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
                Some(words.join(","))
            }
        }
    }

    /// What [`Self::to_text`] wrote.
    pub fn from_text(text: Option<&str>) -> Result<Self, UnknownText> {
        let Some(text) = text else { return Ok(Self::All) };
        let kinds: BTreeSet<_> = text.split(',').map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self::Only(kinds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_read_as_it_was_written() {
        let some = WantedEvents::of([WebhookEvent::JobFailed, WebhookEvent::JobCompleted]);
        for wanted in [WantedEvents::of([]), some.clone()] {
            assert_eq!(WantedEvents::from_text(wanted.to_text().as_deref()).unwrap(), wanted);
        }
        assert_eq!(some.to_text().as_deref(), Some("job.completed,job.failed"));
        for damaged in ["", "job.completed,", "job.exploded"] {
            WantedEvents::from_text(Some(damaged)).unwrap_err();
        }
    }

    #[test]
    fn each_status_of_a_job_has_its_kind() {
        for &to in JobStatus::ALL {
            let job = "019bc123-4d5e-7f60-8a9b-0c1d2e3f4a5b".parse().unwrap();
            let change = Change::Job { job, from: None, to, message: None };
            let kind = WebhookEvent::of(&change);
            assert_eq!(kind.as_str(), format!("job.{to}"));
            for &wanted in WebhookEvent::ALL {
                assert_eq!(WantedEvents::of([wanted]).include(&change), wanted == kind);
            }
            assert!(WantedEvents::All.include(&change));
        }
    }
}
