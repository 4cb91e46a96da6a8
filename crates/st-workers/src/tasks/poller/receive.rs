//! What a provider reports by itself takes the same way as what it is asked for: the same settlement, under
//! another actor. A report that comes late or twice changes nothing there.

use std::slice::from_ref;
use std::sync::PoisonError;

use futures_util::StreamExt;
use st_log::{InScope, LogContext, get_correlation_id};
use st_store::{
    Actor, ClaimOrigin, Error, JobId, JobRecord, JobRef, Marker, ProviderJobId, ProviderName,
    ProviderStatus, Sighting, SightingOutcome, Stage,
};

use super::{LOG, Poll, Poller, Tally, log_status_change};
use crate::provider::{Delivery, QueryError, ReceiveError, RemoteJob, Reported};

/// How many questions webhooks may lead to at the same time. One that is not signed proves nothing, so
/// strangers can send them.
pub(super) const HINTS: usize = 8;

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
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] Error),
}

impl Received {
    fn ignored(reason: impl Into<String>) -> Self {
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
        let received = poll.receive(delivery).in_context(request).await?;
        if let Received::Ignored { reason } = &received {
            st_log::info!(
                logger: LOG, provider = provider.as_str(), reason = reason.as_str(),
                "Webhook was ignored"
            );
        }
        Ok(received)
    }
}

impl Poll {
    async fn receive(&self, delivery: &Delivery<'_>) -> Result<Received, IntakeError> {
        let report = match self.served.provider().receive(delivery).await {
            Ok(report) => report,
            Err(error) => {
                self.warn_of_secret(&error);
                return Err(error.into());
            }
        };
        let provider = self.served.name();
        if let Some(id) = &report.id
            && self.store.is_received(provider, id).await?
        {
            return Ok(Received::ignored(format!("webhook {id} was received before")));
        }
        let received = match report.reported {
            Reported::Status { status, marker } => self.apply_report(*status, marker).await?,
            Reported::Hint { provider_job_id, job } => {
                self.follow_hint(provider_job_id, job).await?
            }
        };
        // Afterwards: one that could not be dealt with may come again.
        if let (Some(id), Received::Applied { .. }) = (&report.id, &received) {
            self.store.note_received(provider, id).await?;
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
    ) -> Result<Received, Error> {
        let id = status.provider_job_id.clone();
        if let Some(record) = self.find(&id).await? {
            return self.apply(record, status).await;
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

    /// What is reported is no proof, so the provider is asked.
    async fn follow_hint(
        &self,
        provider_job_id: Option<ProviderJobId>,
        job: Option<JobId>,
    ) -> Result<Received, IntakeError> {
        let found = match (&provider_job_id, job) {
            (Some(id), _) => self.find(id).await?,
            (None, Some(job)) => self.store.find_job(&JobRef::Id(job)).await?,
            (None, None) => None,
        };
        let Some(record) = found.filter(|it| it.job().provider == *self.served.name()) else {
            return Ok(Received::ignored("no job of this server is meant"));
        };
        let remote = RemoteJob::of(&record, self.store.now());
        let Some(remote) = remote.filter(|remote| self.serves(remote)) else {
            return Ok(Received::ignored("the account does not have the job"));
        };
        if record.status().is_terminal() {
            return Ok(Received::Applied { after: record.clone().into(), before: record.into() });
        }
        let Ok(_permit) = self.hints.try_acquire() else { return Err(IntakeError::Busy) };
        let answer = self.served.statuses(from_ref(&remote)).next().await;
        match answer.map_or_else(|| Err(self.served.no_status()), |(_, answer)| answer) {
            Ok(status) => Ok(self.apply(record, status).await?),
            Err(QueryError::NotFound) => {
                Ok(Received::ignored("the provider does not know the job"))
            }
            Err(error) => Err(IntakeError::Unanswered(error)),
        }
    }

    async fn find(&self, id: &ProviderJobId) -> Result<Option<JobRecord>, Error> {
        let provider = self.served.name().clone();
        self.store.find_job(&JobRef::Provider { provider, id: id.clone() }).await
    }

    fn webhook(&self) -> Actor {
        Actor::Webhook(self.served.name().clone())
    }

    async fn apply(&self, before: JobRecord, status: ProviderStatus) -> Result<Received, Error> {
        self.served.denials.clear(&status.provider_job_id);
        let reports = vec![(before.clone(), status)];
        self.settle(&self.webhook(), reports, &mut Tally::default()).await?;
        let after = self.store.find_job(&JobRef::Id(before.id())).await?;
        Ok(match after {
            Some(after) => Received::Applied { before: before.into(), after: after.into() },
            None => Received::ignored("the job was deleted meanwhile"),
        })
    }

    /// Gives a job of which it was not known whether it arrived what was found of it. `None` where the job
    /// does not wait for that: then it may be a copy, which the search for late arrivals tells apart.
    pub(super) async fn adopt(
        &self,
        by: &Actor,
        before: &JobRecord,
        marker: Marker,
        status: ProviderStatus,
    ) -> Result<Option<JobRecord>, Error> {
        let is_awaited = match before.stage() {
            Stage::Claimed(claimed) => {
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
        let sighting = Sighting { marker, provider, account, status };
        let outcome = self.store.record_sightings(by, vec![sighting]).await?.into_iter().next();
        match outcome.transpose()? {
            Some(SightingOutcome::Adopted | SightingOutcome::AlreadyAdopted) => {}
            Some(SightingOutcome::Stray | SightingOutcome::Over | SightingOutcome::Expected)
            | None => return Ok(None),
        }
        let after = self.store.find_job(&JobRef::Id(before.id())).await?;
        if let Some(after) = &after {
            after.in_log_scope(|| {
                st_log::info!(
                    logger: LOG, provider_job_id = after.provider_job_id().map(ProviderJobId::as_str),
                    "Submission of unknown outcome was found at the provider"
                );
            });
            log_status_change(after);
            self.dispatcher.note_results(after);
        }
        Ok(after)
    }
}
