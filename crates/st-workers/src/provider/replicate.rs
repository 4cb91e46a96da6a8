//! Replicate, by its public HTTP API (predictions).
//!
//! What decides whether a job is paid for twice is in [`Replicate::submit`] and in `classify`: only
//! a call that certainly had no effect is reported as one that may be repeated.

mod classify;
mod date;
mod price;
mod status;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt};
use http::{Method, Uri};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use st_http::{Client, Request};
use st_log::InScope;
use st_store::{
    AccountId, AtMostOnce, JobId, JobStatus, JobType, Marker, ProviderJobId, ProviderName,
    ProviderSettings, ProviderStatus,
};

use crate::provider::{Account, FoundJob, Provider, ProviderError, RemoteJob, Submission};
use classify::{RequestKind, classify};
use date::ServerTime;
use wire::{AccountReply, Page, Prediction};

/// The input field that carries the marker.
const MARKER: &str = "st_marker";
/// Up to so many jobs are polled one by one; more of them through the list.
const FEW: usize = 2;
/// How many calls for single jobs are made at the same time.
const PARALLEL: usize = 8;
/// The provider's clock may differ from ours by this much.
const SKEW: SignedDuration = SignedDuration::from_mins(2);
/// How many jobs a page of the list has.
const PAGE: usize = 100;
/// Beyond this many pages a search for a marker is given up rather than called fruitless.
const MARKER_PAGES: usize = 50;

/// An API token. Nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiToken(String);

impl ApiToken {
    /// A token, exactly as the provider issued it.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
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

/// A base URL that cannot be used. It is not repeated where it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no absolute http or https URL without user name and query")]
pub struct InvalidBaseUrl(String);

/// The provider `replicate`.
#[derive(Debug)]
pub struct Replicate {
    name: ProviderName,
    base: String,
    origin: (String, String),
    token: ApiToken,
    client: Client,
    time: ServerTime,
}

impl Replicate {
    /// The provider, calling through `client`.
    pub fn new(config: ReplicateConfig, client: Client) -> Result<Self, InvalidBaseUrl> {
        let base = config.base_url.trim_end_matches('/').to_owned();
        let origin = if base.contains(['@', '?', '#']) { None } else { origin(&base) };
        let shown = || if base.contains('@') { "it".to_owned() } else { format!("{base:?}") };
        let origin = origin.ok_or_else(|| InvalidBaseUrl(shown()))?;
        let name = ProviderName::new("replicate");
        let time = ServerTime::default();
        Ok(Self { name, base, origin, token: config.api_token, client, time })
    }

    fn request(&self, method: Method, url: &str) -> Request {
        self.client.request(method, url).bearer(&self.token.0)
    }

    /// Sends a request and says what its answer means; every answer shows the provider's time.
    async fn send(
        &self,
        request: Request,
        kind: RequestKind,
    ) -> Result<st_http::Response, ProviderError> {
        let answer = request.send().await;
        if let Ok(response) = &answer {
            self.time.observe(response.headers());
        }
        classify(answer, kind)
    }

    /// A call that may be repeated.
    async fn idempotent(
        &self,
        method: Method,
        url: &str,
    ) -> Result<st_http::Response, ProviderError> {
        self.send(self.request(method, url), RequestKind::Idempotent).await
    }

    fn url_of(&self, job: &RemoteJob, action: &str) -> Result<String, ProviderError> {
        let id = wire::safe_id(job.provider_job_id.as_str())?;
        Ok(format!("{}/predictions/{id}{action}", self.base))
    }

    async fn prediction(&self, job: &RemoteJob) -> Result<Prediction, ProviderError> {
        let url = self.url_of(job, "")?;
        wire::decode(&self.idempotent(Method::GET, &url).await?)
    }

    /// Shows the predictions created since a time, newest first, page by page, until `done` says so
    /// or `max_pages` were read; `true` when the list was read to its end. Pages are large: `done` owns
    /// each, to drop what it does not need.
    async fn list(
        &self,
        since: Timestamp,
        max_pages: usize,
        mut done: impl FnMut(Vec<Prediction>) -> bool + Send,
    ) -> Result<bool, ProviderError> {
        let since = since.saturating_sub(SKEW).unwrap_or(Timestamp::MIN);
        let mut url = format!("{}/predictions?created_after={since:.3}", self.base);
        for _page in 0..max_pages {
            let page: Page = wire::decode(&self.idempotent(Method::GET, &url).await?)?;
            let done = done(page.results);
            match page.next {
                None => return Ok(true),
                Some(_) if done => break,
                // The token must not follow a link to another host.
                Some(next) if origin(&next).as_ref() == Some(&self.origin) => url = next,
                Some(_) => break,
            }
        }
        Ok(false)
    }

    async fn job_status(&self, job: &RemoteJob) -> Result<ProviderStatus, ProviderError> {
        Ok(self.prediction(job).await?.to_status(job.hardware_type.as_deref()))
    }

    async fn one_by_one(&self, jobs: &[&RemoteJob]) -> Vec<Result<ProviderStatus, ProviderError>> {
        let mut calls = Vec::with_capacity(jobs.len());
        for job in jobs {
            calls.push(self.job_status(job).with_correlation_id(job.correlation_id.clone()));
        }
        stream::iter(calls).buffered(PARALLEL).collect().await
    }
}

/// Scheme and authority.
fn origin(url: &str) -> Option<(String, String)> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let authority = uri.authority().filter(|authority| !authority.host().is_empty())?;
    Some((scheme.to_owned(), authority.as_str().to_ascii_lowercase()))
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

    fn account(&self) -> Option<AccountId> {
        Some(AccountId::new(&self.base, None, None))
    }

    fn time(&self) -> Option<Timestamp> {
        self.time.now()
    }

    fn check(&self, _input: &Value, settings: &ProviderSettings) -> Result<(), String> {
        match version(settings) {
            Some(_) => Ok(()),
            None => Err("it is not known which model trains; name it with PUT \
                         /api/cloud/providers/replicate/config \
                         {\"version_override\": \"owner/model:version\"}"
                .to_owned()),
        }
    }

    async fn submit(&self, submission: &Submission) -> Result<ProviderStatus, ProviderError> {
        let Some(version) = version(&submission.settings) else {
            let message = "the setting version_override was removed meanwhile".to_owned();
            return Err(ProviderError::Permanent { message });
        };
        let body = serde_json::json!({"version": version, "input": input(submission)});
        let request = self.request(Method::POST, &format!("{}/predictions", self.base));
        let response = self.send(request.json(&body), RequestKind::NonIdempotent).await?;
        match wire::decode::<Prediction>(&response) {
            Ok(prediction) => Ok(prediction.to_status(submission.hardware_type.as_deref())),
            // It said yes in a way that cannot be read: it may well have the job.
            Err(error) => Err(classify::unreadable(&error)),
        }
    }

    async fn statuses(&self, jobs: &[RemoteJob]) -> Vec<Result<ProviderStatus, ProviderError>> {
        let all: Vec<&RemoteJob> = jobs.iter().collect();
        let Some(since) = jobs.iter().map(|job| job.submitted_at).min() else {
            return Vec::new();
        };
        if jobs.len() <= FEW {
            return self.one_by_one(&all).await;
        }
        let mut reports: BTreeMap<&str, Option<ProviderStatus>> =
            jobs.iter().map(|job| (job.provider_job_id.as_str(), None)).collect();
        let hardware: BTreeMap<&str, Option<&str>> = jobs
            .iter()
            .map(|job| (job.provider_job_id.as_str(), job.hardware_type.as_deref()))
            .collect();
        let mut missing = reports.len();
        let pages = jobs.len().div_ceil(PAGE) + 3;
        let listed = self.list(since, pages, |page| {
            for prediction in page {
                let id = prediction.id.as_str();
                if let Some(report @ None) = reports.get_mut(id) {
                    *report = Some(prediction.to_status(hardware.get(id).copied().flatten()));
                    missing -= 1;
                }
            }
            missing == 0
        });
        if let Err(error) = listed.await {
            // A provider in trouble is not asked again for each job.
            return jobs.iter().map(|_job| Err(error.for_other_job())).collect();
        }
        let answers: Vec<Option<ProviderStatus>> = jobs
            .iter()
            .map(|job| reports.get(job.provider_job_id.as_str()).cloned().flatten())
            .collect();
        let missing: Vec<&RemoteJob> = jobs
            .iter()
            .zip(&answers)
            .filter(|(_, answer)| answer.is_none())
            .map(|(job, _)| job)
            .collect();
        let mut asked = self.one_by_one(&missing).await.into_iter();
        answers
            .into_iter()
            .map(|answer| match answer {
                Some(report) => Ok(report),
                None => asked.next().unwrap_or(Err(ProviderError::NotFound)),
            })
            .collect()
    }

    async fn cancel(&self, job: &RemoteJob) -> Result<ProviderStatus, ProviderError> {
        let url = self.url_of(job, "/cancel")?;
        match self.idempotent(Method::POST, &url).await {
            Ok(response) => {
                let prediction: Prediction = wire::decode(&response)?;
                Ok(prediction.to_status(job.hardware_type.as_deref()))
            }
            // What is not there cannot cost anything.
            Err(ProviderError::NotFound) => {
                Ok(ProviderStatus::new(job.provider_job_id.clone(), JobStatus::Cancelled))
            }
            Err(error) => Err(error),
        }
    }

    async fn logs(&self, job: &RemoteJob) -> Result<String, ProviderError> {
        let prediction = self.prediction(job).await?;
        if prediction.data_removed == Some(true) {
            // An hour after a job's end the provider deletes what it printed.
            return Err(ProviderError::NotFound);
        }
        Ok(prediction.logs.unwrap_or_default())
    }

    async fn find_by_marker(
        &self,
        job: JobId,
        attempt: Option<u32>,
        since: Timestamp,
    ) -> Result<Vec<FoundJob>, ProviderError> {
        // By ID: a list that grows while it is read shows a row twice.
        let mut found: BTreeMap<String, (Marker, Prediction)> = BTreeMap::new();
        let mut deleted = BTreeSet::new();
        let listed = self.list(since, MARKER_PAGES, |page| {
            let without = page.iter().filter(|it| it.data_removed == Some(true));
            deleted.extend(without.map(|it| ProviderJobId::new(it.id.clone())));
            for prediction in page {
                if let Some(marker) = prediction.marker(MARKER)
                    && marker.job == job
                    && attempt.is_none_or(|attempt| attempt == marker.attempt)
                {
                    found.insert(prediction.id.clone(), (marker, prediction));
                }
            }
            false
        });
        let ended = listed.await?;
        if found.is_empty() && !ended {
            let message = "the provider's list could not be read to its end".to_owned();
            return Err(ProviderError::Transient { message, retry_after: None, source: None });
        }
        if found.is_empty() && !deleted.is_empty() {
            // An hour after a job's end its input goes, and the marker with it.
            return Err(ProviderError::InputsDeleted { jobs: deleted.into_iter().collect() });
        }
        let mut found: Vec<(Marker, Prediction)> = found.into_values().collect();
        found.sort_by(|(_, one), (_, two)| {
            (one.created_at(), &one.id).cmp(&(two.created_at(), &two.id))
        });
        let found = found.into_iter();
        Ok(found.map(|(marker, it)| FoundJob { marker, status: it.to_status(None) }).collect())
    }

    async fn validate(&self) -> Result<Account, ProviderError> {
        let response = self.idempotent(Method::GET, &format!("{}/account", self.base)).await?;
        let account: AccountReply = wire::decode(&response)?;
        Ok(Account { username: account.username })
    }
}

impl Prediction {
    fn to_status(&self, hardware_type: Option<&str>) -> ProviderStatus {
        let seconds = self.metrics.as_ref().and_then(|metrics| metrics.predict_time);
        let price = price::per_second(self.model.as_deref(), hardware_type);
        ProviderStatus {
            provider_job_id: ProviderJobId::new(self.id.clone()),
            status: status::parse_status(&self.status),
            started_at: wire::time(self.started_at.as_ref()),
            completed_at: wire::time(self.completed_at.as_ref()),
            cost_usd: seconds.map(|seconds| seconds.max(0.0) * price),
            error_message: self.error_text(),
            output_url: self.output_url(),
        }
    }
}
