//! Status reports about a job at its provider.

use jiff::Timestamp;

use super::{JobRecord, Step};
use crate::model::{
    Actor, AtProvider, Cancellation, End, JobStatus, Phase, ProviderStatus, QueueStatus, RemoteId,
    Settled, Stage, TransitionError,
};

impl JobRecord {
    /// Takes over what the provider reports. A report that contains nothing new, or that comes
    /// late, changes nothing.
    pub(super) fn apply_status(
        &mut self,
        report: &ProviderStatus,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Settled, TransitionError> {
        let Stage::AtProvider(AtProvider { remote, phase, cancellation }) = &self.stage else {
            return match self.stage {
                Stage::Finished(_) => Ok(Settled::Unchanged),
                Stage::Blocked(_)
                | Stage::Waiting(_)
                | Stage::Claimed(_)
                | Stage::Held(_)
                | Stage::AtProvider(_) => Err(self.wrong_status(QueueStatus::Running)),
            };
        };
        if remote.id != report.provider_job_id {
            let (known, reported) = (remote.id.clone(), report.provider_job_id.clone());
            return Err(TransitionError::OtherProviderJob { known, reported });
        }
        let (remote, phase, cancellation) = (remote.clone(), *phase, cancellation.clone());
        let current = self.status();
        let reported = report.status.unwrap_or(current);
        if reported != current && !current.may_become(reported) {
            return Ok(Settled::Unchanged);
        }
        let before = self.job.clone();
        self.job.merge(report);
        let step = Step::new(actor, now);
        if let Some(end) = End::of_status(reported) {
            self.job.expect_results(report, now);
            self.finish_at_provider(end, remote, cancellation, step);
            return Ok(Settled::Changed);
        }
        let begins = reported == JobStatus::Running && phase == Phase::Queued;
        if begins {
            let statuses = self.statuses();
            self.job.started_at = self.job.started_at.or(Some(now));
            let phase = Phase::Running;
            self.stage = Stage::AtProvider(AtProvider { remote, phase, cancellation });
            self.record_changes(statuses, step);
        }
        // That it runs may be all that is new: its beginning can have been reported before.
        Ok(if self.job == before && !begins { Settled::Unchanged } else { Settled::Changed })
    }

    /// The job ended at the provider. A cancelled one was cancelled by who requested it; without a
    /// request the provider ended it on its own initiative.
    pub(super) fn finish_at_provider(
        &mut self,
        end: End,
        remote: RemoteId,
        cancellation: Option<Cancellation>,
        step: Step<'_>,
    ) {
        let actor = match (end, &cancellation) {
            (End::Cancelled, Some(cancellation)) => cancellation.by.clone(),
            (End::Cancelled, None) => Actor::Provider(self.job.provider.clone()),
            (End::Completed | End::Failed | End::NotApproved, _) => step.actor.clone(),
        };
        if end == End::Cancelled && self.job.error_message.is_none() {
            self.job.error_message = Some(match &cancellation {
                Some(cancellation) => cancellation.to_string(),
                None => "the provider ended it".to_owned(),
            });
        }
        let message = match end {
            End::Completed => None,
            End::Failed | End::Cancelled | End::NotApproved => self.job.error_message.clone(),
        };
        let step = Step { actor: &actor, now: step.now, message: message.as_deref() };
        self.finish(end, Some(remote), cancellation, step);
    }
}
