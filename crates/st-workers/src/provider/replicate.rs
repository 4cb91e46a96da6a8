//! Replicate, by its public HTTP API (predictions).
//!
//! What decides whether a job is paid for twice is in [`Replicate::submit`] and in `classify`: only
//! a submission that certainly did not arrive is reported as one. What the list shows comes from
//! strangers and is read row by row.

mod access;
mod address;
mod answer;
mod classify;
mod fields;
#[cfg(test)]
mod fuzz;
mod latest;
mod logs;
mod outputs;
mod page;
mod price;
mod profile;
mod receive;
mod recent;
mod retry_after;
mod row;
mod secret;
mod status;
mod statuses;
mod submit;
mod version;
mod versions;
mod webhook;

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, StatusCode, Uri};
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};
use st_http::{Client, Request};
use st_store::{
    AccountId, AtMostOnce, JobType, ProviderEnding, ProviderName, ProviderSettings, ProviderStatus,
};

use super::excerpt::Shape;
use super::rate::{CallBudget, Purpose, Rate};
use super::server_time::ServerTime;
use crate::provider::{
    Account, Arrivals, Cause, Delivery, JobList, ListPage, ListQuery, NoPrice, OutputList,
    OwnAccess, PolledJob, Progress, Provider, QueryError, ReceiveError, RemoteJob, Report,
    Submission, SubmitError, Unavailable, VersionList, WebhookSecret,
};
pub use access::Access;
use access::Held;
use address::Address;
pub use address::InvalidBaseUrl;
use answer::{Answer, Unanswered};
use classify::{Subject, answered, submitted, unreadable, unusable_success};
use page::{PAGE, Page};
pub use price::{PRICES_READ_ON, Priced, Prices, UnknownPriced};
pub use profile::{Profile, UnknownProfile};
use recent::Recent;
use row::{JOB, Row, WORD};
pub use version::{InvalidVersion, ModelName, ModelVersion};
pub use webhook::{InvalidWebhook, check_webhook};

/// The input field that carries the marker.
const MARKER: &str = "st_marker";
/// In the place of a link that is not followed. It is no URL.
const LEADS_ELSEWHERE: &str = "leads elsewhere";

const ACCOUNT: Shape = WORD.or_members(&[("username", WORD)]);

/// An API token. Nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiToken(String);

/// A token that no request can carry. It is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a token such as r8_..., of visible ASCII characters")]
pub struct InvalidApiToken;

impl ApiToken {
    /// Reads a token as the provider issued it. White space around it is left out: files and copied
    /// lines end with a line break.
    pub fn parse(text: &str) -> Result<Self, InvalidApiToken> {
        let token = text.trim();
        let is_legal = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        if is_legal { Ok(Self(token.to_owned())) } else { Err(InvalidApiToken) }
    }

    /// The token itself, to store it where no one else can read it.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Identifies the account without revealing the token: the first 16 hex digits of its SHA-256.
    fn fingerprint(&self) -> String {
        let digest = Sha256::digest(self.0.as_bytes());
        let first = digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        format!("{first:016x}")
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiToken(..)")
    }
}

/// How many calls an account may make in a minute. Replicate documents 600 submissions and 3,000 other
/// calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// Submissions.
    pub creates: NonZeroU32,
    /// All other calls.
    pub others: NonZeroU32,
}

impl Default for CallLimits {
    fn default() -> Self {
        let limit = |calls| NonZeroU32::new(calls).unwrap_or(NonZeroU32::MIN);
        Self { creates: limit(600), others: limit(3_000) }
    }
}

/// Where the API is, the account, and what is charged there.
#[derive(Debug, Clone)]
pub struct ReplicateConfig {
    /// Such as `https://api.replicate.com/v1`.
    pub base_url: String,
    /// The account's token; without it nothing is called until there is one.
    pub api_token: Option<ApiToken>,
    /// What the account may do in a minute.
    pub limits: CallLimits,
    /// What a second of each model costs.
    pub prices: Prices,
    /// Which of the jobs that it ended by itself run once more.
    pub retry_on: BTreeSet<ProviderEnding>,
    /// The secrets of the account's webhooks, several while they are rotated; the account is asked for its
    /// own where there are none.
    pub webhook_secrets: Vec<WebhookSecret>,
}

/// The provider `replicate`.
#[derive(Debug)]
pub struct Replicate {
    name: ProviderName,
    address: Address,
    access: Access,
    prices: Prices,
    retry_on: BTreeSet<ProviderEnding>,
    webhook_secrets: Vec<WebhookSecret>,
    recent: Recent,
    time: Arc<ServerTime>,
    creates: CallBudget,
    others: Arc<CallBudget>,
}

impl Replicate {
    /// The provider, calling through `client`.
    pub fn new(config: ReplicateConfig, client: Client) -> Result<Self, InvalidBaseUrl> {
        Ok(Self {
            name: ProviderName::new("replicate"),
            address: Address::parse(&config.base_url)?,
            access: Access::new(client, config.api_token),
            prices: config.prices,
            retry_on: config.retry_on,
            webhook_secrets: config.webhook_secrets,
            recent: Recent::default(),
            time: Arc::default(),
            creates: CallBudget::new(Rate::per_minute(config.limits.creates)),
            others: Arc::new(CallBudget::shared(Rate::per_minute(config.limits.others))),
        })
    }

    /// To change the client and the token while the provider runs.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The account that these calls are made for; `None` where none can be made.
    fn account_of(&self, held: &Held) -> Option<AccountId> {
        let (name, credential) = (held.username(), held.token.as_ref()?.fingerprint());
        Some(AccountId::new(self.address.base(), name.as_deref(), Some(&credential)))
    }

    async fn send(
        &self,
        request: Request,
        budget: &CallBudget,
        shape: &'static Shape,
    ) -> Result<Answer, Unanswered> {
        send(request, &self.time, budget, shape).await
    }

    async fn ask(
        &self,
        method: Method,
        url: &str,
        subject: Subject,
        shape: &'static Shape,
    ) -> Result<Answer, QueryError> {
        let request = self.access.current().request(method, url)?;
        answered(self.send(request, &self.others, shape).await, subject)
    }

    /// Asks about one job. Below `/predictions/<id>`, such as `/cancel`.
    async fn ask_job(
        &self,
        method: Method,
        job: &RemoteJob,
        below: &str,
        shape: &'static Shape,
    ) -> Result<Answer, QueryError> {
        let id = job.provider_job_id.as_str();
        if !row::is_safe_id(id) {
            // The provider was not asked, so it did not say that it does not know the job.
            return Err(QueryError::trouble("replicate has no jobs with such an id"));
        }
        let url = self.address.url(&format!("/predictions/{id}{below}"));
        self.ask(method, &url, Subject::Job, shape).await
    }

    /// The caller has waited for a turn.
    async fn job_status(&self, job: &RemoteJob) -> Result<ProviderStatus, QueryError> {
        self.status_in(&self.ask_job(Method::GET, job, "", &JOB).await?, job)
    }

    /// The status of the job in an answer about it alone.
    fn status_in(&self, answer: &Answer, job: &RemoteJob) -> Result<ProviderStatus, QueryError> {
        let row = Row::read(answer.text()).filter(|row| row.word().is_some());
        let status = row.and_then(|row| row.to_status(&self.prices, self.time.now()));
        let status = status.ok_or_else(|| unreadable("it is no job with an id and a status"))?;
        if status.provider_job_id != job.provider_job_id {
            return Err(unreadable("it is about another job"));
        }
        Ok(status)
    }

    /// A page of the list, as text. The caller has waited for a turn.
    async fn list(&self, query: &ListQuery) -> Result<Answer, QueryError> {
        let url = self.address.page(query).ok_or_else(foreign_link)?;
        self.ask(Method::GET, &url, Subject::Account, &PAGE).await
    }
}

/// Sends a request; every answer shows the provider's time. `budget`: that of which the call is. `shape`:
/// what is needed of a success.
async fn send(
    request: Request,
    time: &ServerTime,
    budget: &CallBudget,
    shape: &'static Shape,
) -> Result<Answer, Unanswered> {
    let response = request.body_limit(answer::LARGEST_BODY).open().await?;
    time.observe(response.headers());
    if response.status() == StatusCode::TOO_MANY_REQUESTS {
        budget.note_refusal();
    }
    Answer::read(response, shape).await
}

fn foreign_link() -> QueryError {
    QueryError::trouble("the next page of replicate's list is not below its base url")
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
        self.account_of(&self.access.current())
    }

    fn is_configured(&self) -> bool {
        self.access.has_token()
    }

    fn time(&self) -> Option<Timestamp> {
        self.time.now()
    }

    fn check(&self, _input: &Value, _settings: &ProviderSettings) -> Result<(), String> {
        Ok(())
    }

    fn price_per_second(
        &self,
        hardware: Option<&str>,
        settings: &ProviderSettings,
    ) -> Result<f64, NoPrice> {
        self.price(hardware, settings)
    }

    fn default_hardware(&self, settings: &ProviderSettings) -> Option<String> {
        submit::default_hardware(settings)
    }

    fn reruns(&self, ending: ProviderEnding) -> bool {
        self.retry_on.contains(&ending)
    }

    fn missing(&self, settings: &ProviderSettings) -> Option<String> {
        submit::fault(settings, &self.address.base())
    }

    async fn turn_to_submit(&self) {
        self.creates.turn(Purpose::Other).await;
    }

    fn room_to_submit(&self) -> usize {
        self.creates.room()
    }

    async fn turn_to_fetch(&self) {
        self.others.turn_to_fetch().await;
    }

    async fn turn_to_ask(&self) {
        self.others.turn(Purpose::Other).await;
    }

    async fn submit(&self, submission: &Submission) -> Result<ProviderStatus, SubmitError> {
        let held = self.access.current();
        if !AccountId::may_be_same(submission.account.as_ref(), self.account_of(&held).as_ref()) {
            let reason = "the token of replicate was changed after the job was claimed".to_owned();
            return Err(Unavailable::new(Cause::Trouble, reason).into());
        }
        let request = self.submission(&held, submission).await?;
        let answer = submitted(self.send(request, &self.creates, &JOB).await)?;
        let row = Row::read(answer.text())
            .ok_or_else(|| unusable_success("its answer cannot be read"))?;
        row.to_status(&self.prices, self.time.now())
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
        self.status_in(&self.ask_job(Method::POST, job, "/cancel", &JOB).await?, job)
    }

    async fn logs(&self, job: &RemoteJob) -> Result<String, QueryError> {
        self.others.turn(Purpose::Other).await;
        let answer = self.ask_job(Method::GET, job, "", &logs::LOGS).await?;
        logs::in_text(answer.text(), &job.provider_job_id)
    }

    async fn progress(&self, job: &RemoteJob) -> Result<Option<Progress>, QueryError> {
        let ask = async { Ok(Progress::in_log(&self.logs(job).await?)) };
        self.recent.or_ask(&job.provider_job_id, ask).await
    }

    async fn outputs(&self, job: &RemoteJob) -> Result<OutputList, QueryError> {
        self.others.turn(Purpose::Other).await;
        let answer = self.ask_job(Method::GET, job, "", &outputs::OUTPUTS).await?;
        outputs::in_text(answer.text(), &job.provider_job_id)
    }

    async fn receive(&self, delivery: &Delivery<'_>) -> Result<Report, ReceiveError> {
        self.read_webhook(delivery).await
    }

    async fn own_access(&self, url: &Uri) -> Option<OwnAccess> {
        if !self.address.is_own(url) {
            return None;
        }
        let held = self.access.current();
        let mut credential = None;
        if self.address.is_file(url) {
            let mut token: HeaderValue =
                format!("Bearer {}", held.token.as_ref()?.0).parse().ok()?;
            token.set_sensitive(true);
            credential = Some((AUTHORIZATION, token));
        }
        Some(OwnAccess { client: held.client.clone(), credential })
    }

    fn is_clear_text(&self) -> bool {
        self.address.is_clear_text()
    }

    async fn versions(&self, settings: &ProviderSettings) -> Result<VersionList, QueryError> {
        self.others.turn(Purpose::Other).await;
        versions::versions(self, settings).await
    }

    async fn validate(&self) -> Result<Account, QueryError> {
        let url = self.address.url("/account");
        // What is answered is known of the token that it was asked with.
        let held = self.access.current();
        let request = held.request(Method::GET, &url)?;
        let answer = answered(self.send(request, &self.others, &ACCOUNT).await, Subject::Account)?;
        let [username] = fields::pick(answer.text(), ["username"]).map_err(unreadable)?;
        let username: Option<String> = fields::read(username);
        let username = username.filter(|name| !name.is_empty());
        if let Some(username) = &username {
            held.learn(username);
        }
        Ok(Account { username: username.unwrap_or_default() })
    }
}

#[async_trait]
impl JobList for Replicate {
    /// A link that must not be followed becomes a cursor that cannot be: the rows beside it are good,
    /// and asking for the page behind it is the error.
    async fn page(&self, query: &ListQuery) -> Result<ListPage, QueryError> {
        let answer = self.list(query).await?;
        let page = Page::read(answer.text()).map_err(unreadable)?;
        let next = page
            .next
            .as_deref()
            .map(|next| self.address.cursor(next).unwrap_or_else(|| LEADS_ELSEWHERE.to_owned()));
        Ok(ListPage { next, ..page.sorted(&self.prices, self.time.now()) })
    }
}
