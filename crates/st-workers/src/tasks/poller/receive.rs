//! What a provider reports by itself takes the same way as what it is asked for: the same settlement, under
//! another actor. A report that comes late or twice changes nothing there.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::{Arc, PoisonError};

use futures_util::FutureExt;
use st_log::{InScope, LogContext, get_correlation_id};
use st_store::{
    Actor, ClaimOrigin, Error, JobRecord, JobRef, Marker, MessageId, ProviderJobId, ProviderName,
    ProviderStatus, Sighting, SightingOutcome, Stage,
};
use tokio::sync::oneshot;

use super::{LOG, Poll, Poller, Tally, log_status_change};
use crate::provider::{Delivery, QueryError, ReceiveError, Report, Reported};

/// How many signed webhooks that only hint at something lead to a question at the same time.
pub(super) const QUESTIONS: usize = 8;

/// What became of a webhook.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    /// It is about this job, which it may have changed.
    Applied {
        /// The job as it was.
        before: Box<JobRecord>,
        /// The job as it is.
        after: Box<JobRecord>,
    },
    /// It is about no job that it could change.
    Ignored {
        /// Why.
        reason: String,
    },
    /// It proves nothing, so its sender learns nothing: neither whether there is such a job, nor whether the
    /// provider is asked about it.
    Noted,
}

/// Why nothing became of a webhook. A provider may send it again.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// There is no such provider.
    #[error("there is no provider {0}")]
    NoProvider(ProviderName),
    /// It is not signed, or does not say what it is about.
    #[error(transparent)]
    Refused(#[from] ReceiveError),
    /// The provider had to be asked, and did not answer.
    #[error("the provider could not be asked what happened")]
    Unanswered(#[source] QueryError),
    /// Too many others lead to a question already.
    #[error("the provider is being asked about too many webhooks already")]
    Busy,
    /// What it reports could not be stored.
    #[error("what is reported could not be stored")]
    NotStored(#[source] Error),
    /// The program stops.
    #[error("the server is stopping")]
    Stopping,
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] Error),
}

impl Received {
    pub(super) fn ignored(reason: impl Into<String>) -> Self {
        Self::Ignored { reason: reason.into() }
    }
}

impl Poller {
    pub(crate) async fn receive(
        &self,
        provider: &ProviderName,
        delivery: &Delivery<'_>,
    ) -> Result<Received, IntakeError> {
        let poll = self.polls.get(provider);
        let poll = poll.ok_or_else(|| IntakeError::NoProvider(provider.clone()))?;
        // Lines about the job carry the job's own identifier.
        let request = LogContext::new()
            .field("provider", provider.as_str())
            .field("request_correlation_id", get_correlation_id().as_str());
        poll.receive(delivery).in_context(request).await
    }
}

impl Poll {
    async fn receive(self: &Arc<Self>, delivery: &Delivery<'_>) -> Result<Received, IntakeError> {
        let report = self.served.provider().receive(delivery).await;
        let report = report.inspect_err(|error| self.warn_of_secret(error))?;
        match report {
            Report { id: Some(id), reported } => self.carry_out(id, reported).await,
            Report { id: None, reported } => {
                let (provider_job_id, job) = match reported {
                    Reported::Hint { provider_job_id, job } => (provider_job_id, job),
                    Reported::Status { status, marker: _ } => (Some(status.provider_job_id), None),
                };
                self.note_hint(provider_job_id, job).await?;
                Ok(Received::Noted)
            }
        }
    }

    /// Does what a signed webhook says, to its end: that its sender hangs up ends only the wait for it.
    async fn carry_out(
        self: &Arc<Self>,
        id: MessageId,
        reported: Reported,
    ) -> Result<Received, IntakeError> {
        let (done, received) = oneshot::channel();
        let this = Arc::clone(self);
        self.dispatcher.spawn_helper(async move {
            let result = AssertUnwindSafe(this.receive_signed(&id, reported)).catch_unwind().await;
            drop(done.send(result));
        });
        match received.await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_stopped) => Err(IntakeError::Stopping),
        }
    }

    async fn receive_signed(
        &self,
        id: &MessageId,
        reported: Reported,
    ) -> Result<Received, IntakeError> {
        let provider = self.served.name();
        let received = if self.store.is_received(provider, id).await? {
            Received::ignored(format!("webhook {id} was received before"))
        } else {
            match reported {
                Reported::Status { status, marker } => self.apply_report(*status, marker).await?,
                Reported::Hint { provider_job_id, job } => {
                    let Ok(_permit) = self.questions.try_acquire() else {
                        return Err(IntakeError::Busy);
                    };
                    self.follow_hint(provider_job_id, job).await?
                }
            }
        };
        match &received {
            Received::Applied { after, .. } => {
                // Afterwards: one that could not be dealt with may come again.
                self.store.note_received(provider, id).await?;
                if after.cancel_requested() && !after.status().is_terminal() {
                    // Only now it can be cancelled there.
                    let open = vec![JobRecord::clone(after)];
                    self.dispatcher.repeat_cancellations(&self.served, open);
                }
            }
            Received::Ignored { reason } => st_log::info!(
                logger: LOG, provider = provider.as_str(), reason = reason.as_str(),
                "Webhook was ignored"
            ),
            Received::Noted => {}
        }
        Ok(received)
    }

    fn warn_of_secret(&self, error: &ReceiveError) {
        let ReceiveError::NoSecret { reason } = error else { return };
        if self.unverified.lock().unwrap_or_else(PoisonError::into_inner).is_due() {
            st_log::warning!(
                logger: LOG, provider = self.served.name().as_str(), reason = reason.as_str(),
                "Webhooks cannot be verified, they are refused"
            );
        }
    }

    /// A signed report in the provider's own words.
    async fn apply_report(
        &self,
        status: ProviderStatus,
        marker: Option<Marker>,
    ) -> Result<Received, IntakeError> {
        let id = status.provider_job_id.clone();
        if let Some(record) = self.find(&id).await? {
            return self.apply(&self.webhook(), record, status).await;
        }
        let Some(marker) = marker else {
            return Ok(Received::ignored(format!("no job of this server is {id} at the provider")));
        };
        let Some(before) = self.store.find_job(&JobRef::Id(marker.job)).await? else {
            return Ok(Received::ignored(format!(
                "{id} is of job {}, which is not here",
                marker.job
            )));
        };
        if let Some(after) = self.adopt(&self.webhook(), &before, marker, status).await? {
            return Ok(Received::Applied { before: before.into(), after: after.into() });
        }
        let Marker { job, attempt } = marker;
        Ok(Received::ignored(format!("job {job} does not wait for {id} of its attempt {attempt}")))
    }

    pub(super) async fn find(&self, id: &ProviderJobId) -> Result<Option<JobRecord>, Error> {
        let provider = self.served.name().clone();
        self.store.find_job(&JobRef::Provider { provider, id: id.clone() }).await
    }

    pub(super) fn webhook(&self) -> Actor {
        Actor::Webhook(self.served.name().clone())
    }

    pub(super) async fn apply(
        &self,
        by: &Actor,
        before: JobRecord,
        status: ProviderStatus,
    ) -> Result<Received, IntakeError> {
        self.served.denials.clear(&status.provider_job_id);
        let reports = vec![(before.clone(), status)];
        let unsettled = self.settle(by, reports, &mut Tally::default()).await;
        let unsettled = unsettled.map_err(IntakeError::NotStored)?.pop();
        let after = self.store.find_job(&JobRef::Id(before.id())).await?;
        match (after, unsettled) {
            (None, _) => Ok(Received::ignored("the job was deleted meanwhile")),
            (Some(_), Some((_, error))) => Err(IntakeError::NotStored(error)),
            (Some(after), None) => {
                Ok(Received::Applied { before: before.into(), after: after.into() })
            }
        }
    }

    /// Gives a job of which it was not known whether it arrived what was found of it. `None` where the job
    /// does not wait for that: then it may be a copy, which the search for late arrivals tells apart.
    pub(super) async fn adopt(
        &self,
        by: &Actor,
        before: &JobRecord,
        marker: Marker,
        status: ProviderStatus,
    ) -> Result<Option<JobRecord>, IntakeError> {
        let mut was_unknown = false;
        let is_awaited = match before.stage() {
            Stage::Claimed(claimed) => {
                was_unknown = claimed.unresolved_since.is_some();
                let is_same = claimed.attempt.number == marker.attempt;
                is_same || claimed.origin == ClaimOrigin::Restored
            }
            Stage::Blocked(_)
            | Stage::Waiting(_)
            | Stage::Held(_)
            | Stage::AtProvider(_)
            | Stage::Finished(_) => false,
        };
        let account = before.account_of(marker.attempt).cloned();
        let is_ours = before.job().provider == *self.served.name()
            && self.served.serves_account(account.as_ref());
        if !is_awaited || !is_ours {
            return Ok(None);
        }
        let account = account.or_else(|| self.served.provider().account());
        let provider = self.served.name().clone();
        // What follows from its end is seen to where every other end is settled.
        let arrival = self.served.arrival_of(status.clone());
        let ends_later = arrival != status;
        let sighting = Sighting { marker, provider, account, status: arrival };
        let outcome = self.store.record_sightings(by, vec![sighting]).await?.into_iter().next();
        match outcome.transpose()? {
            Some(SightingOutcome::Adopted | SightingOutcome::AlreadyAdopted) => {}
            Some(SightingOutcome::Stray | SightingOutcome::Over | SightingOutcome::Expected)
            | None => return Ok(None),
        }
        let Some(after) = self.store.find_job(&JobRef::Id(before.id())).await? else {
            return Ok(None);
        };
        if was_unknown {
            after.in_log_scope(|| {
                st_log::info!(
                    logger: LOG, provider_job_id = after.provider_job_id().map(ProviderJobId::as_str),
                    "Submission of unknown outcome was found at the provider"
                );
            });
        }
        if !ends_later {
            log_status_change(&after);
            self.dispatcher.note_results(&after);
            return Ok(Some(after));
        }
        match self.apply(by, after, status).await? {
            Received::Applied { after, .. } => Ok(Some(*after)),
            Received::Ignored { .. } | Received::Noted => Ok(None),
        }
    }
}
