//! What a person decides about a job where nothing can be proven.

use jiff::Timestamp;

use super::{JobRecord, Step};
use crate::model::{
    Actor, AtProvider, Claimed, Due, End, Epoch, Held, InvalidText, JobStatus, ProviderJobId,
    ProviderStatus, Recheck, RemoteId, Resolution, Stage, TransitionError, Waiting,
};

impl JobRecord {
    /// Does what a person decided about a job of which it is unknown whether the provider has it,
    /// or about one that is at its provider. A claim ends by it: a worker that still acts on it is
    /// refused afterwards, because the token rises. Returns the search for what may appear of its
    /// attempt later.
    pub fn resolve(
        &mut self,
        resolution: &Resolution,
        note: Option<&str>,
        by: &Actor,
        (now, epoch): (Timestamp, Epoch),
    ) -> Result<Option<Recheck>, TransitionError> {
        check_texts(resolution, note, by)?;
        let message = message(resolution, note, by);
        let step = Step::new(by, now).with_reason(&message);
        let nothing = |why| Err(TransitionError::NothingToResolve(why));
        match &self.stage {
            Stage::Claimed(claimed) | Stage::Held(Held { claimed, .. }) => {
                if claimed.unresolved_since.is_none() {
                    return nothing("its submission is in flight");
                }
                let claimed = claimed.clone();
                self.resolve_claim(&claimed, resolution, epoch, step)
            }
            Stage::AtProvider(at_provider) => {
                let at_provider = at_provider.clone();
                self.resolve_at_provider(at_provider, resolution, step).map(|()| None)
            }
            Stage::Waiting(_) => nothing("nothing of it is at the provider, it waits"),
            Stage::Blocked(_) => nothing("it awaits approval"),
            Stage::Finished(_) => nothing("it is over"),
        }
    }

    fn resolve_claim(
        &mut self,
        claimed: &Claimed,
        resolution: &Resolution,
        epoch: Epoch,
        step: Step<'_>,
    ) -> Result<Option<Recheck>, TransitionError> {
        if let (Resolution::AtProvider { id, .. }, Some(remote)) = (resolution, self.stage.remote())
        {
            require_same(remote, id)?;
        }
        let recheck = self.recheck((step.now, epoch));
        self.entry.token = self.entry.token.next(epoch);
        self.entry.error_message = step.message.map(str::to_owned);
        let cancellation = claimed.cancellation.clone();
        match resolution {
            Resolution::AtProvider { id, account } => {
                let remote = RemoteId { id: id.clone(), account: account.clone() };
                let status = ProviderStatus::new(id.clone(), JobStatus::Queued);
                self.accept(epoch);
                self.arrive(remote, &status, cancellation, step);
            }
            Resolution::Absent => self.resolve_as_absent(claimed, epoch, step),
            Resolution::Abandon => {
                self.job.error_message = step.message.map(str::to_owned);
                // Not the ID of a submission that the provider holds: whatever becomes of that is
                // to be cancelled, and what a job has is left alone.
                self.finish(End::Failed, None, cancellation, step);
            }
        }
        Ok(recheck)
    }

    /// Nothing of the claim is at the provider: like a release, but without a pause.
    fn resolve_as_absent(&mut self, claimed: &Claimed, epoch: Epoch, step: Step<'_>) {
        if let Some(cancellation) = claimed.cancellation.clone() {
            self.job.error_message = Some(cancellation.before_it_was_submitted().to_owned());
            return self.finish(End::Cancelled, None, Some(cancellation), step);
        }
        if self.entry.failed_attempts >= self.entry.max_attempts {
            let error = self.blamed(step.message.unwrap_or_default());
            return self.fail(&error, step.with_reason(&error));
        }
        let before = self.statuses();
        // The person wants an attempt, and a claim that is only reconciled would be none.
        self.entry.reclaims = 0;
        self.entry.panics = 0;
        self.entry.epoch = epoch;
        self.stage = Stage::Waiting(Waiting { due: Due::Now });
        self.record_changes(before, step);
    }

    fn resolve_at_provider(
        &mut self,
        at_provider: AtProvider,
        resolution: &Resolution,
        step: Step<'_>,
    ) -> Result<(), TransitionError> {
        let AtProvider { remote, phase, cancellation } = at_provider;
        let error = match resolution {
            Resolution::AtProvider { id, account } => {
                require_same(&remote, id)?;
                // No status changes: only who is asked about it.
                let account = account.clone().or(remote.account);
                let remote = RemoteId { id: remote.id, account };
                self.stage = Stage::AtProvider(AtProvider { remote, phase, cancellation });
                return Ok(());
            }
            Resolution::Absent => "it is not at the provider",
            Resolution::Abandon => step.message.unwrap_or_default(),
        };
        self.entry.error_message = step.message.map(str::to_owned);
        self.job.error_message = Some(error.to_owned());
        self.finish(End::Failed, Some(remote), cancellation, step);
        Ok(())
    }
}

fn require_same(remote: &RemoteId, id: &ProviderJobId) -> Result<(), TransitionError> {
    if remote.id == *id {
        return Ok(());
    }
    let (known, reported) = (remote.id.clone(), id.clone());
    Err(TransitionError::OtherProviderJob { known, reported })
}

/// Refuses text that cannot be stored.
fn check_texts(
    resolution: &Resolution,
    note: Option<&str>,
    by: &Actor,
) -> Result<(), TransitionError> {
    InvalidText::check("user", by.name().unwrap_or_default())?;
    InvalidText::check("note", note.unwrap_or_default())?;
    if let Resolution::AtProvider { id, .. } = resolution {
        InvalidText::check("provider_job_id", id.as_str())?;
    }
    Ok(())
}

/// Who decided what, for the events and the job's error.
fn message(resolution: &Resolution, note: Option<&str>, by: &Actor) -> String {
    let by = by.name().unwrap_or(by.kind().as_str());
    let what = match resolution {
        Resolution::AtProvider { id, .. } => format!("resolved as {id} at the provider by {by}"),
        Resolution::Absent => format!("resolved as absent by {by}"),
        Resolution::Abandon => format!("abandoned by {by}"),
    };
    match note {
        Some(note) => format!("{what}: {note}"),
        None => what,
    }
}
