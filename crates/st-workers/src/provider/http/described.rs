//! The provider that a description makes.

mod provider;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use st_http::Client;
use st_store::{Marker, ProviderJobId, ProviderName, ProviderStatus};
use tokio::time::Instant;

use super::answers::Operation;
use super::call::{Call, Outgoing};
use super::client::SharedClient;
use super::connection::{Answer, Connection, Unanswered};
use super::description::Description;
use super::job::{JobShape, Owner};
use super::json;
use super::judge::{Asked, Judge, Refused};
use super::list::List;
use super::once::Once;
use super::pointer::Pointer;
use super::secret::Credential;
use super::section::DescriptionFault;
use super::sweep::Sweeper;
use super::template::RenderError;
use super::unknown_words::UnknownWords;
use super::values::Values;
use crate::provider::rate::Purpose;
use crate::provider::{JobLookup, ListQuery, QueryError, RemoteJob, Submission, SubmitError};

/// A provider that the configuration describes.
#[derive(Debug)]
pub struct HttpProvider {
    pub(super) name: ProviderName,
    pub(super) description: Description,
    pub(super) connection: Connection,
    /// Guards the account's name as [`Provider::validate`](crate::provider::Provider::validate) last learned it.
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
