//! The provider that a description makes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use http::Uri;
use jiff::Timestamp;
use serde_json::Value;
use st_http::Client;
use st_store::{
    AccountId, AtMostOnce, JobId, JobStatus, JobType, Marker, ProviderEnding, ProviderJobId,
    ProviderName, ProviderSettings, ProviderStatus,
};
use tokio::time::Instant;

use super::answers::Operation;
use super::call::{Call, Outgoing};
use super::client::SharedClient;
use super::connection::{Answer, Connection, Unanswered};
use super::description::Description;
use super::job::{JobShape, Owner};
use super::judge::{Asked, Judge, Refused, Submitted};
use super::list::{Covers, List};
use super::once::{OnUnknown, Once};
use super::pointer::Pointer;
use super::secret::Credential;
use super::section::DescriptionFault;
use super::sweep::Sweeper;
use super::template::RenderError;
use super::unknown_words::UnknownWords;
use super::values::Values;
use super::{json, statuses};
use crate::provider::rate::{CallBudget, Purpose};
use crate::provider::{
    Account, Arrivals, JobLookup, ListQuery, MAY_ARRIVE_FOR, NoPrice, OutputList, OwnAccess,
    PolledJob, Provider, QueryError, RemoteJob, Submission, SubmitError, Undecided,
};

/// A provider that the configuration describes.
#[derive(Debug)]
pub struct HttpProvider {
    pub(super) name: ProviderName,
    pub(super) description: Description,
    pub(super) connection: Connection,
    /// Guards the account's name as [`Provider::validate`] last learned it.
    account: Mutex<Option<String>>,
    /// Guards since when jobs are denied that must be denied for longer than every job.
    denied: Mutex<BTreeMap<ProviderJobId, Instant>>,
    unknown_words: UnknownWords,
    sweeper: Sweeper,
}

/// A credential that was found, or the lack of one.
#[derive(Debug, Clone)]
pub struct Credentials(Option<Arc<Credential>>);

impl Credentials {
    /// Finds the credential that a description names. `environment`: the process's variables.
    pub fn load(
        description: &Description,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, DescriptionFault> {
        let auth = description.auth.as_ref();
        let loaded = auth.map(|auth| Credential::load(auth, environment)).transpose()?;
        Ok(Self(loaded.map(Arc::new)))
    }

    /// The text without the credential: a provider may repeat what it got.
    pub fn mask(&self, text: &str) -> String {
        self.0.as_ref().map_or_else(|| text.to_owned(), |credential| credential.mask(text))
    }
}

/// One that is part of another must not take it apart.
fn longest_first<'v>(values: impl IntoIterator<Item = &'v str>) -> Vec<String> {
    let mut values: Vec<String> = values.into_iter().map(str::to_owned).collect();
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    values
}

impl HttpProvider {
    /// The provider, calling through `client`.
    pub fn new(
        name: ProviderName,
        description: Description,
        credentials: Credentials,
        client: Client,
    ) -> Self {
        let connection = Connection::new(&description, credentials.0, client);
        Self {
            name,
            description,
            connection,
            account: Mutex::new(None),
            denied: Mutex::default(),
            unknown_words: UnknownWords::default(),
            sweeper: Sweeper::default(),
        }
    }

    /// To change the client while the provider runs.
    pub fn client(&self) -> &SharedClient {
        &self.connection.client
    }

    /// Shows these values in no error: the description has them from the environment, and a provider may
    /// repeat what it got. `secrets`, a part of them, are shown in no log of a job either.
    #[must_use]
    pub fn hiding<'v>(
        mut self,
        values: impl IntoIterator<Item = &'v str>,
        secrets: impl IntoIterator<Item = &'v str>,
    ) -> Self {
        self.connection.hidden = longest_first(values);
        self.connection.secrets = longest_first(secrets);
        self
    }

    pub(super) fn judge(&self) -> Judge<'_> {
        let connection = Some(&self.connection);
        Judge { name: &self.name, description: &self.description, connection }
    }

    pub(super) fn shape(&self) -> &JobShape {
        &self.description.job
    }

    /// Sends a call; its answer is not judged yet.
    pub(super) async fn send(
        &self,
        (operation, purpose): (Operation, Purpose),
        call: &Call,
        values: &Values<'_>,
        more: &[(&str, &str)],
    ) -> Result<Answer, Unanswered> {
        let outgoing = self.description.render(call, values, more)?;
        self.connection.ask(&self.description, operation, purpose, outgoing).await
    }

    /// Asks about one job.
    async fn ask_job(
        &self,
        operation: Operation,
        purpose: Purpose,
        call: &Call,
        job: &RemoteJob,
    ) -> Result<(Asked, Option<Value>), QueryError> {
        let values = Values::of_job(&self.description.vars, job);
        let judge = self.judge();
        let answer = self.send((operation, purpose), call, &values, &[]).await;
        let answer = answer.map_err(|why| judge.unanswered(why))?;
        let body = json::value(&answer.body);
        match judge.answered(operation, &answer, body.as_ref()) {
            Ok(asked) => {
                self.denied().remove(&job.provider_job_id);
                Ok((asked, body))
            }
            Err(refused) => Err(self.denial(&job.provider_job_id, refused)),
        }
    }

    /// Removes what is left of a finished job.
    pub(super) async fn remove(&self, call: &Call, job: &RemoteJob) -> Result<(), QueryError> {
        match self.ask_job(Operation::Sweep, Purpose::Other, call, job).await {
            Ok(_) | Err(QueryError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn denied(&self) -> std::sync::MutexGuard<'_, BTreeMap<ProviderJobId, Instant>> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a denial is worth: the caller wants ten minutes of them, the description may want more.
    fn denial(&self, id: &ProviderJobId, refused: Refused) -> QueryError {
        let Refused::Gone(after) = refused else { return refused.into() };
        let more = after.saturating_sub(super::answers::SHORTEST_GONE);
        let mut denied = self.denied();
        let now = Instant::now();
        denied.retain(|_, since| now.saturating_duration_since(*since) < FORGET_DENIED);
        let since = *denied.entry(id.clone()).or_insert(now);
        if now.saturating_duration_since(since) >= more {
            QueryError::NotFound
        } else {
            QueryError::trouble(format!("{} does not know the job, which may pass", self.name))
        }
    }

    /// A job as the provider shows it, without the credential.
    pub(super) fn report(&self, job: &Value, id: &str, hardware: Option<&str>) -> ProviderStatus {
        let status = self.shape().report(job, id, &self.description.prices, hardware);
        let mask = |text: Option<String>| text.map(|text| self.connection.mask(&text));
        let results_kept_for = self.kept_for(&status);
        ProviderStatus {
            error_message: mask(status.error_message),
            output_url: status.output_url.map(|url| self.connection.mask_result(&url)),
            results_kept_for,
            ..status
        }
    }

    /// How long the results of a job that is over can still be read, by the provider's own times; where
    /// they do not say when it ended, that was just now.
    fn kept_for(&self, status: &ProviderStatus) -> Option<Duration> {
        let keeps = self.description.keeps()?;
        status.status.filter(|status| status.is_terminal())?;
        let times = status.completed_at.zip(self.connection.clock.now());
        let since = times.map_or(Duration::ZERO, |(ended, now)| {
            now.duration_since(ended).try_into().unwrap_or_default()
        });
        Some(keeps.saturating_sub(since))
    }

    /// Where IDs are used again, only the marker tells whose job it is. `at`: where it is in a row.
    pub(super) fn check_owner(
        &self,
        shown: &Value,
        at: Option<&Pointer>,
        job: &RemoteJob,
    ) -> Result<(), QueryError> {
        match self.shape().owner(shown, at, job.id) {
            Owner::Ours => Ok(()),
            Owner::Another => Err(QueryError::NotFound),
            Owner::NotKnown => Err(self.judge().unreadable("it does not show whose job it is")),
        }
    }

    /// The job in an answer about it alone.
    pub(super) fn job_in(
        &self,
        call: &Call,
        body: Option<&Value>,
        job: &RemoteJob,
    ) -> Result<ProviderStatus, QueryError> {
        let judge = self.judge();
        let body = body.ok_or_else(|| judge.unreadable("it is not JSON"))?;
        let shown = call.root.get(body).ok_or_else(|| judge.unreadable("it shows no job"))?;
        let id = job.provider_job_id.as_str();
        // Some answers about one job do not repeat its ID.
        if self.shape().id(shown).is_some_and(|shown| shown != id) {
            return Err(judge.unreadable("it is about another job"));
        }
        self.check_owner(shown, None, job)?;
        let status = self.report(shown, id, job.hardware_type.as_deref());
        self.note_word(shown, &status);
        Ok(status)
    }

    pub(super) fn note_word(&self, shown: &Value, status: &ProviderStatus) {
        if status.status.is_none()
            && let Some(word) = self.shape().word(shown)
        {
            self.unknown_words.warn(&self.name, &self.connection.mask(&word));
        }
    }

    pub(super) async fn job_status(
        &self,
        job: &RemoteJob,
        purpose: Purpose,
    ) -> Result<ProviderStatus, QueryError> {
        let call = &self.description.status;
        let (_, body) = self.ask_job(Operation::Status, purpose, call, job).await?;
        self.job_in(call, body.as_ref(), job)
    }

    /// The values of a submission.
    fn values<'a>(&'a self, submission: &'a Submission) -> Values<'a> {
        let wanted = submission.hardware_type.as_deref();
        let wanted = wanted.or(submission.settings.hardware_profile.as_deref());
        let values = Values::of_attempt(&self.description.vars, submission.marker);
        let values = values.with_input(&submission.input);
        match wanted.and_then(|name| Some((name, self.description.sku(name)?))) {
            Some((name, sku)) => {
                values.with("hardware", serde_json::json!({"name": name, "sku": sku}))
            }
            None => values,
        }
    }

    /// The submission as it goes out.
    pub(super) fn submission(&self, submission: &Submission) -> Result<Outgoing, RenderError> {
        let values = self.values(submission);
        let mut outgoing = self.description.render(&self.description.submit, &values, &[])?;
        if let Once::Key { header: Some(header), .. } = &self.description.once
            && let Ok(key) = submission.marker.to_string().parse()
        {
            outgoing.headers.push((header.clone(), key));
        }
        Ok(outgoing)
    }

    /// The job under the name that we chose, after a conflict.
    async fn under_our_name(&self, marker: Marker) -> Result<ProviderStatus, SubmitError> {
        let taken = format!("the name that {} was given is taken", self.name);
        match self.find(marker.job, Some(marker.attempt)).await {
            Ok(found) => match found.into_iter().next() {
                Some(found) => Ok(found.status),
                None => Err(self.judge().unknown(format!("{taken}, and it is not there"), None)),
            },
            Err(error) => Err(self.judge().unknown(taken, Some(Box::new(error)))),
        }
    }

    /// The first page of the list has a row.
    async fn lists_any(&self, list: &List) -> Result<bool, QueryError> {
        let values = Values::new(&self.description.vars).with_window(&ListQuery::default());
        let page = self.read_page((Operation::List, Purpose::Other), list, &values, None).await?;
        Ok(!page.rows.is_empty())
    }
}

impl Description {
    /// What the provider calls a hardware; `None` for one that is not described.
    pub(super) fn sku<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        if self.hardware.is_empty() {
            Some(name)
        } else {
            self.hardware.get(name).map(String::as_str)
        }
    }
}

/// Since when a job is denied is forgotten after this.
const FORGET_DENIED: Duration = Duration::from_hours(48);

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
