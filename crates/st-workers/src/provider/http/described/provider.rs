//! What the rest of the server asks a described provider.

use std::sync::PoisonError;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use http::Uri;
use jiff::Timestamp;
use serde_json::Value;
use st_store::{
    AccountId, AtMostOnce, JobId, JobStatus, JobType, Marker, ProviderEnding, ProviderName,
    ProviderSettings, ProviderStatus,
};

use super::HttpProvider;
use crate::provider::http::answers::Operation;
use crate::provider::http::judge::{Asked, Submitted};
use crate::provider::http::list::Covers;
use crate::provider::http::once::{OnUnknown, Once};
use crate::provider::http::template::RenderError;
use crate::provider::http::values::Values;
use crate::provider::http::{json, statuses};
use crate::provider::rate::{CallBudget, Purpose};
use crate::provider::{
    Account, Arrivals, MAY_ARRIVE_FOR, NoPrice, OutputList, OwnAccess, PolledJob, Provider,
    QueryError, RemoteJob, Submission, SubmitError, Undecided,
};

#[async_trait]
impl Provider for HttpProvider {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    fn job_type(&self) -> JobType {
        JobType::Cloud
    }

    fn guarantee(&self) -> AtMostOnce {
        match self.description.once {
            Once::Key { .. } => AtMostOnce::IdempotencyKey,
            Once::Name { .. } => AtMostOnce::ChosenName,
            Once::Hold { .. } => AtMostOnce::HeldSubmission,
            // What cannot be found out is waited for like what a list shows.
            Once::Marker | Once::Unguarded { .. } => AtMostOnce::ListedMarker,
        }
    }

    fn arrivals(&self) -> Arrivals<'_> {
        match &self.description.once {
            Once::Key { keep_for, .. } | Once::Name { keep_for, .. } => {
                Arrivals::Repeated { within: *keep_for, lookup: self }
            }
            Once::Unguarded { on_unknown, .. } => Arrivals::Undecidable(match on_unknown {
                OnUnknown::Fail => Undecided::Fails,
                OnUnknown::Repeat => Undecided::IsRepeated,
            }),
            Once::Hold { .. } | Once::Marker => match &self.description.list {
                // Read once for all who search, as far as its order says that it is enough.
                Some(list)
                    if self.description.find.is_none()
                        && list.marker.is_some()
                        && list.newest_first
                        && list.covers == Covers::All
                        && self.shape().has_creation() =>
                {
                    Arrivals::Listed(self)
                }
                Some(_) | None => Arrivals::LookedUp(self),
            },
        }
    }

    async fn turn_to_submit(&self) {
        if let Some(budget) = self.connection.budget(Operation::Submit) {
            budget.turn(Purpose::Other).await;
        }
    }

    fn room_to_submit(&self) -> usize {
        self.connection.budget(Operation::Submit).map_or(usize::MAX, CallBudget::room)
    }

    fn may_arrive_for(&self) -> Duration {
        self.description.may_arrive_for.unwrap_or(MAY_ARRIVE_FOR)
    }

    fn account(&self) -> Option<AccountId> {
        let learned = || self.account.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // What the operator calls it is known from the start and stays what it is.
        let name = self.description.account.clone().or_else(learned);
        let fingerprint = self.connection.fingerprint();
        Some(AccountId::new(self.description.realm(), name.as_deref(), fingerprint.as_deref()))
    }

    fn time(&self) -> Option<Timestamp> {
        self.connection.clock.now()
    }

    fn price_per_second(
        &self,
        hardware: Option<&str>,
        settings: &ProviderSettings,
    ) -> Result<f64, NoPrice> {
        let hardware = hardware.or(settings.hardware_profile.as_deref());
        self.shape().price_per_second(&self.description.prices, hardware)
    }

    fn reruns(&self, ending: ProviderEnding) -> bool {
        self.description.retry_on.contains(&ending)
    }

    fn check(&self, input: &Value, settings: &ProviderSettings) -> Result<(), String> {
        let probe = Submission {
            marker: Marker { job: JobId::new(Timestamp::UNIX_EPOCH, [0; 10]), attempt: 1 },
            account: None,
            input: input.clone(),
            // Which one the job asks for is known only when it is submitted.
            hardware_type: self.description.hardware.keys().next().cloned(),
            settings: settings.clone(),
        };
        match self.submission(&probe) {
            Err(RenderError::Missing { reference }) if reference.starts_with("hardware.") => Ok(()),
            Err(error) => Err(st_log::Chain(&error).to_string()),
            Ok(_) => Ok(()),
        }
    }

    async fn submit(&self, submission: &Submission) -> Result<ProviderStatus, SubmitError> {
        let judge = self.judge();
        let wanted = submission.hardware_type.as_deref();
        if let Some(wanted) = wanted.filter(|name| self.description.sku(name).is_none()) {
            let known: Vec<&str> = self.description.hardware.keys().map(String::as_str).collect();
            let reason =
                format!("{} has no hardware {wanted:?}, there is {}", self.name, known.join(", "));
            return Err(SubmitError::Rejected { reason });
        }
        let outgoing =
            self.submission(submission).map_err(|error| judge.unsubmitted(error.into()))?;
        let answer = self
            .connection
            .ask(&self.description, Operation::Submit, Purpose::Other, outgoing)
            .await;
        let answer = answer.map_err(|why| judge.unsubmitted(why))?;
        let body = json::value(&answer.body);
        match judge.submitted(&answer, body.as_ref())? {
            Submitted::Conflict => self.under_our_name(submission.marker).await,
            Submitted::Accepted => {
                let body =
                    body.ok_or_else(|| judge.unusable_success("its answer cannot be read"))?;
                let shown = self.description.submit.root.get(&body).unwrap_or(&body);
                let id = self.shape().id(shown);
                let id = id.ok_or_else(|| judge.unusable_success("its answer has no usable id"))?;
                Ok(self.report(shown, &id, wanted))
            }
        }
    }

    async fn release(&self, job: &RemoteJob) -> Result<ProviderStatus, QueryError> {
        let Once::Hold { release } = &self.description.once else {
            return Err(QueryError::trouble(format!("{} holds no submissions", self.name)));
        };
        match self.ask_job(Operation::Release, Purpose::Other, release, job).await {
            Ok(_) => Ok(ProviderStatus::new(job.provider_job_id.clone(), JobStatus::Queued)),
            // It may be refused because an earlier request was carried out and its answer lost.
            Err(refused) => match self.job_status(job, Purpose::Other).await {
                Ok(status) if status.status.is_some_and(has_begun) => Ok(status),
                Ok(_) | Err(_) => Err(refused),
            },
        }
    }

    fn statuses<'a>(&'a self, jobs: &'a [RemoteJob]) -> BoxStream<'a, PolledJob> {
        if self.description.sweep.is_some() {
            self.sweeper.note(jobs.iter().map(|job| &job.provider_job_id));
        }
        statuses::statuses(self, jobs)
    }

    async fn has_witness(&self) -> Result<bool, QueryError> {
        if let Some(list) = &self.description.list {
            return self.lists_any(list).await;
        }
        // An accepted credential does not show that the jobs of the account can be read.
        Ok(false)
    }

    async fn cancel(&self, job: &RemoteJob) -> Result<ProviderStatus, QueryError> {
        let Some(cancel) = &self.description.cancel else {
            return Err(QueryError::trouble(format!("no cancel is described for {}", self.name)));
        };
        let (asked, body) =
            self.ask_job(Operation::Cancel, Purpose::Other, &cancel.call, job).await?;
        let id = job.provider_job_id.clone();
        // That there is nothing to cancel does not say how the job ended.
        if asked == Asked::Done {
            return self.job_status(job, Purpose::Other).await;
        }
        let requested =
            ProviderStatus { status: None, ..ProviderStatus::new(id, JobStatus::Cancelled) };
        if !cancel.answers_job {
            return Ok(requested);
        }
        // The request was accepted; how the job is then, the next poll reads where this does not say.
        Ok(self.job_in(&cancel.call, body.as_ref(), job).unwrap_or(requested))
    }

    fn has_logs(&self) -> bool {
        self.description.logs.is_some()
    }

    async fn logs(&self, job: &RemoteJob) -> Result<String, QueryError> {
        self.read_log(job).await
    }

    async fn outputs(&self, job: &RemoteJob) -> Result<OutputList, QueryError> {
        let call = &self.description.status;
        let (_, body) = self.ask_job(Operation::Status, Purpose::Other, call, job).await?;
        // It is about this job, and not of another one under the same ID.
        self.job_in(&self.description.status, body.as_ref(), job)?;
        let shown = body.as_ref().and_then(|body| self.description.status.root.get(body));
        Ok(shown.map(|shown| self.shape().outputs(shown)).unwrap_or_default())
    }

    async fn own_access(&self, url: &Uri) -> Option<OwnAccess> {
        self.connection.own_access(&self.description.base, url)
    }

    fn is_clear_text(&self) -> bool {
        self.description.base.is_clear
    }

    async fn clean_up(&self) -> Vec<JobId> {
        self.sweeper.sweep(self).await;
        Vec::new()
    }

    async fn validate(&self) -> Result<Account, QueryError> {
        let named = || self.description.account.clone().unwrap_or_default();
        let Some(validate) = &self.description.validate else {
            if let Some(list) = &self.description.list {
                self.lists_any(list).await?;
            }
            return Ok(Account { username: named() });
        };
        let judge = self.judge();
        let values = Values::new(&self.description.vars);
        let answer =
            self.send((Operation::Validate, Purpose::Other), &validate.call, &values, &[]).await;
        let answer = answer.map_err(|why| judge.unanswered(why))?;
        let body = json::value(&answer.body);
        judge.answered(Operation::Validate, &answer, body.as_ref())?;
        let name = validate.account.as_ref().zip(body.as_ref());
        let name = name.and_then(|(at, body)| at.text(body)).filter(|name| !name.is_empty());
        if name.is_some() {
            name.clone_into(&mut self.account.lock().unwrap_or_else(PoisonError::into_inner));
        }
        Ok(Account { username: name.unwrap_or_else(named) })
    }
}

/// Whether a job of this status is not held any more.
fn has_begun(status: JobStatus) -> bool {
    match status {
        JobStatus::Running | JobStatus::Completed | JobStatus::Failed | JobStatus::Cancelled => {
            true
        }
        JobStatus::Pending | JobStatus::Uploading | JobStatus::Queued => false,
    }
}
