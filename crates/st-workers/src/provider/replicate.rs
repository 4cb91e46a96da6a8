//! Replicate, by its public HTTP API (predictions).
//!
//! What decides whether a job is paid for twice is in [`Replicate::submit`] and in `classify`: only
//! a submission that certainly did not arrive is reported as one. What the list shows comes from
//! strangers and is read row by row.

mod address;
mod classify;
mod date;
mod fields;
mod page;
mod price;
mod retry_after;
mod row;
mod status;
mod statuses;

use std::fmt;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use http::Method;
use jiff::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use st_http::{Client, Request, Response};
use st_store::{AccountId, AtMostOnce, JobType, ProviderName, ProviderSettings, ProviderStatus};

use crate::provider::{
    Account, Arrivals, Cause, JobList, ListPage, ListQuery, PolledJob, Provider, QueryError,
    RemoteJob, Submission, SubmitError, Unavailable,
};
use address::Address;
pub use address::InvalidBaseUrl;
use classify::{Subject, answered, submitted, unreadable, unusable_success};
use date::ServerTime;
use page::Page;
use row::Row;

/// The input field that carries the marker.
const MARKER: &str = "st_marker";
/// Bytes of a page of the list, which holds the data of a hundred jobs.
const LARGEST_PAGE: usize = 64 * 1024 * 1024;
/// Bytes of an answer about one job, which holds all that it printed. Several are read at a time.
const LARGEST_JOB: usize = 32 * 1024 * 1024;
/// In the place of a link that is not followed. It is no URL.
const LEADS_ELSEWHERE: &str = "leads elsewhere";

/// An API token. Nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiToken(String);

impl ApiToken {
    /// A token, exactly as the provider issued it; empty where there is none, which every call then
    /// reports without being made.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// Identifies the account without revealing the token: the first 16 hex digits of its SHA-256. `None`
    /// when there is no token.
    fn fingerprint(&self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let digest = Sha256::digest(self.0.as_bytes());
        let first = digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        Some(format!("{first:016x}"))
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiToken(..)")
    }
}

/// Where the API is, and the account.
#[derive(Debug, Clone)]
pub struct ReplicateConfig {
    /// Such as `https://api.replicate.com/v1`.
    pub base_url: String,
    /// The account's token.
    pub api_token: ApiToken,
}

/// The provider `replicate`.
#[derive(Debug)]
pub struct Replicate {
    name: ProviderName,
    address: Address,
    token: ApiToken,
    client: Client,
    time: ServerTime,
    /// Guards the account's name as [`Provider::validate`] last learned it.
    username: Mutex<Option<String>>,
}

impl Replicate {
    /// The provider, calling through `client`.
    pub fn new(config: ReplicateConfig, client: Client) -> Result<Self, InvalidBaseUrl> {
        Ok(Self {
            name: ProviderName::new("replicate"),
            address: Address::parse(&config.base_url)?,
            token: config.api_token,
            client,
            time: ServerTime::default(),
            username: Mutex::new(None),
        })
    }

    /// Fails when there is no token.
    fn request(&self, method: Method, url: &str) -> Result<Request, Unavailable> {
        if self.token.0.is_empty() {
            let reason = "no api token for replicate is configured";
            return Err(Unavailable::new(Cause::Credentials, reason));
        }
        Ok(self.client.request(method, url).bearer(&self.token.0))
    }

    /// Sends a request; every answer shows the provider's time.
    async fn send(&self, request: Request) -> Result<Response, st_http::Error> {
        let answer = request.send().await;
        if let Ok(response) = &answer {
            self.time.observe(response.headers());
        }
        answer
    }

    /// Asks a question, whose answer may be large.
    async fn ask(
        &self,
        method: Method,
        url: &str,
        subject: Subject,
    ) -> Result<Response, QueryError> {
        let limit = match subject {
            Subject::Job => LARGEST_JOB,
            Subject::Account => LARGEST_PAGE,
        };
        let request = self.request(method, url)?.body_limit(limit);
        answered(self.send(request).await, subject)
    }

    /// Asks about one job. Below `/predictions/<id>`, such as `/cancel`.
    async fn ask_job(
        &self,
        method: Method,
        job: &RemoteJob,
        below: &str,
    ) -> Result<Response, QueryError> {
        let id = job.provider_job_id.as_str();
        if !row::is_safe_id(id) {
            // The provider was not asked, so it did not say that it does not know the job.
            return Err(QueryError::trouble("replicate has no jobs with such an id"));
        }
        let url = self.address.url(&format!("/predictions/{id}{below}"));
        self.ask(method, &url, Subject::Job).await
    }

    async fn job_status(&self, job: &RemoteJob) -> Result<ProviderStatus, QueryError> {
        status_in(&self.ask_job(Method::GET, job, "").await?, job)
    }

    /// A page of the list as it was sent.
    async fn list(&self, query: &ListQuery) -> Result<Response, QueryError> {
        let url = self.address.page(query).ok_or_else(foreign_link)?;
        self.ask(Method::GET, &url, Subject::Account).await
    }
}

/// The status of the job in an answer about it alone.
fn status_in(response: &Response, job: &RemoteJob) -> Result<ProviderStatus, QueryError> {
    let text = page::text(response.body());
    let row = Row::read(&text).filter(|row| row.word().is_some());
    let status = row.and_then(|row| row.to_status(job.hardware_type.as_deref()));
    let status = status.ok_or_else(|| unreadable("it is no job with an id and a status"))?;
    if status.provider_job_id != job.provider_job_id {
        return Err(unreadable("it is about another job"));
    }
    Ok(status)
}

fn foreign_link() -> QueryError {
    QueryError::trouble("the next page of replicate's list is not below its base url")
}

fn version(settings: &ProviderSettings) -> Option<&str> {
    settings.version_override.as_deref().filter(|version| !version.is_empty())
}

/// What the trainer gets: its configuration as text, and the marker.
fn input(submission: &Submission) -> Map<String, Value> {
    let mut input = Map::new();
    let names = [
        ("config", "config_json"),
        ("dataloader_config", "dataloader_json"),
        ("lycoris_config", "lycoris_config"),
    ];
    for (ours, theirs) in names {
        if let Some(value) = submission.input.get(ours).filter(|value| !value.is_null()) {
            input.insert(theirs.to_owned(), value.to_string().into());
        }
    }
    input.insert(MARKER.to_owned(), submission.marker.to_string().into());
    input
}

#[async_trait]
impl Provider for Replicate {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    fn job_type(&self) -> JobType {
        JobType::Cloud
    }

    fn guarantee(&self) -> AtMostOnce {
        AtMostOnce::ListedMarker
    }

    fn arrivals(&self) -> Arrivals<'_> {
        Arrivals::Listed(self)
    }

    fn account(&self) -> Option<AccountId> {
        let name = self.username.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let credential = self.token.fingerprint();
        Some(AccountId::new(self.address.base(), name.as_deref(), credential.as_deref()))
    }

    fn time(&self) -> Option<Timestamp> {
        self.time.now()
    }

    fn check(&self, _input: &Value, settings: &ProviderSettings) -> Result<(), String> {
        self.missing(settings).map_or(Ok(()), Err)
    }

    fn missing(&self, settings: &ProviderSettings) -> Option<String> {
        let missing = "it is not known which model trains; name it with PUT \
                       /api/cloud/providers/replicate/config \
                       {\"version_override\": \"owner/model:version\"}";
        version(settings).is_none().then(|| missing.to_owned())
    }

    async fn submit(&self, submission: &Submission) -> Result<ProviderStatus, SubmitError> {
        if let Some(reason) = self.missing(&submission.settings) {
            return Err(SubmitError::MissingSetting { reason });
        }
        let version = version(&submission.settings);
        let body = serde_json::json!({"version": version, "input": input(submission)});
        let request = self.request(Method::POST, &self.address.url("/predictions"))?.json(&body);
        let response = submitted(self.send(request).await)?;
        let text = page::text(response.body());
        let row = Row::read(&text).ok_or_else(|| unusable_success("its answer cannot be read"))?;
        row.to_status(submission.hardware_type.as_deref())
            .ok_or_else(|| unusable_success("gave it an id that cannot be used"))
    }

    fn statuses<'a>(&'a self, jobs: &'a [RemoteJob]) -> BoxStream<'a, PolledJob> {
        statuses::statuses(self, jobs)
    }

    async fn has_witness(&self) -> Result<bool, QueryError> {
        let page = self.page(&ListQuery::default()).await?;
        Ok(page.rows > page.unreadable)
    }

    async fn cancel(&self, job: &RemoteJob) -> Result<ProviderStatus, QueryError> {
        status_in(&self.ask_job(Method::POST, job, "/cancel").await?, job)
    }

    async fn logs(&self, job: &RemoteJob) -> Result<String, QueryError> {
        let response = self.ask_job(Method::GET, job, "").await?;
        let text = page::text(response.body());
        let row = Row::read(&text).ok_or_else(|| unreadable("it is no json object"))?;
        // No logs are something else than logs that were deleted.
        if row.is_deleted() { Err(QueryError::NotFound) } else { Ok(row.logs()) }
    }

    async fn validate(&self) -> Result<Account, QueryError> {
        let url = self.address.url("/account");
        let response = self.ask(Method::GET, &url, Subject::Account).await?;
        let text = page::text(response.body());
        let [username] = fields::pick(&text, ["username"]).map_err(unreadable)?;
        let username: Option<String> = fields::read(username);
        let username = username.filter(|name| !name.is_empty());
        if username.is_some() {
            username.clone_into(&mut self.username.lock().unwrap_or_else(PoisonError::into_inner));
        }
        Ok(Account { username: username.unwrap_or_default() })
    }
}

#[async_trait]
impl JobList for Replicate {
    /// A link that must not be followed becomes a cursor that cannot be: the rows beside it are good,
    /// and asking for the page behind it is the error.
    async fn page(&self, query: &ListQuery) -> Result<ListPage, QueryError> {
        let response = self.list(query).await?;
        let text = page::text(response.body());
        let page = Page::read(&text).map_err(unreadable)?;
        let next = page
            .next
            .as_deref()
            .map(|next| self.address.cursor(next).unwrap_or_else(|| LEADS_ELSEWHERE.to_owned()));
        Ok(ListPage { next, ..page.sorted() })
    }
}
