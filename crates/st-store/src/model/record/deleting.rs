//! Deleting a job on a person's word.

use jiff::Timestamp;

use super::JobRecord;
use crate::model::{Actor, Change, DeletedJob, NewEvent, Recheck, Stage, Stray, TransitionError};

/// What of a job that is over may still happen at its provider.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OpenMatters {
    /// When the next attempt is made to cancel a copy of it that nobody has adopted.
    next_cancel_at: Option<Timestamp>,
    /// When the last search for what one of its attempts may have left is due.
    last_search_at: Option<Timestamp>,
}

impl OpenMatters {
    /// The sum of these strays and searches of one job.
    pub(crate) fn of<'a>(
        strays: impl IntoIterator<Item = &'a Stray>,
        rechecks: impl IntoIterator<Item = &'a Recheck>,
    ) -> Self {
        Self {
            next_cancel_at: strays.into_iter().map(|stray| stray.next_cancel_at).max(),
            last_search_at: rechecks.into_iter().map(Recheck::last_due_at).max(),
        }
    }

    fn require_none(self) -> Result<(), TransitionError> {
        let refuse = |matter, until| Err(TransitionError::StillOpen { matter, until });
        if let Some(until) = self.last_search_at {
            return refuse("a submission of it may still appear at its provider", until);
        }
        if let Some(until) = self.next_cancel_at {
            return refuse("a second copy of it is being cancelled at its provider", until);
        }
        Ok(())
    }
}

impl JobRecord {
    /// What is deleted, and the event that stays of it. Results that are not fetched yet do not keep
    /// the job: who deletes it does not want them.
    pub(crate) fn delete(
        &self,
        open: OpenMatters,
        by: &Actor,
        now: Timestamp,
    ) -> Result<(DeletedJob, NewEvent), TransitionError> {
        if !matches!(self.stage, Stage::Finished(_)) {
            return Err(TransitionError::NotOver(self.status()));
        }
        open.require_none()?;
        let job = self.job();
        let change =
            Change::Deleted { job: job.id, owner: job.owner.user.clone(), from: self.status() };
        let event = NewEvent {
            at: now,
            actor: by.clone(),
            correlation_id: job.correlation_id.clone(),
            change,
        };
        Ok((DeletedJob { id: job.id, provider: job.provider.clone() }, event))
    }
}
