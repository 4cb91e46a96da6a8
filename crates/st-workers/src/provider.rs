//! What a place that runs jobs must be able to do, in the terms of the domain.
//!
//! A provider knows nothing of the store, the queue or the tasks. It gets everything that a call
//! needs and returns what came of it. Two kinds of failure are kept apart: a submission that failed
//! says whether it may have arrived ([`SubmitError`]); a question that failed says nothing about the
//! job that it was about ([`QueryError`]).

mod error;
mod excerpt;
pub mod http;
mod listing;
pub mod local;
mod origin;
mod progress;
mod rate;
pub mod replicate;
mod report;
mod server_time;
mod signature;

use std::fmt;
use std::time::Duration;

use ::http::{HeaderName, HeaderValue, Uri};
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use serde_json::Value;
use st_http::Client;
use st_log::CorrelationId;
use st_store::{
    AccountId, AtMostOnce, JobId, JobRecord, JobType, Marker, ProviderEnding, ProviderJobId,
    ProviderName, ProviderSettings, ProviderStatus,
};
use tokio::sync::watch;

pub use error::{Cause, LONGEST_RETRY_AFTER, QueryError, SubmitError, Unavailable};
pub use listing::{
    Arrivals, FoundJob, JobList, JobLookup, ListPage, ListQuery, ListedJob, Trace, Undecided,
};
pub use progress::{Count, Progress};
pub use report::{Delivery, ReceiveError, Report, Reported};
pub use signature::{BadSignature, InvalidWebhookSecret, WebhookSecret};

/// How long after the end of its call a submission may still arrive, unless the provider or the
/// failure asks for more.
pub const MAY_ARRIVE_FOR: Duration = Duration::from_mins(2);

/// A job on its way to a provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// Travels inside the job's input, so that the provider's own list shows whether it arrived.
    pub marker: Marker,
    /// The account that the attempt was claimed for, where it is known. A provider whose account can change
    /// submits for no other.
    pub account: Option<AccountId>,
    /// What the submitter asked for: an object with `config` and, where given,
    /// `dataloader_config`, `config_name` and the other fields of the request.
    pub input: Value,
    /// The hardware that it asks for.
    pub hardware_type: Option<String>,
    /// The provider's settings, as they are now.
    pub settings: ProviderSettings,
}

/// A job that a provider has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteJob {
    /// Our identifier.
    pub id: JobId,
    /// The provider's identifier.
    pub provider_job_id: ProviderJobId,
    /// The account that submitted it, where that is known.
    pub account: Option<AccountId>,
    /// Its correlation ID: calls for this job alone carry it.
    pub correlation_id: CorrelationId,
    /// How long ago it was claimed, so at least as long as it has been at the provider. A duration,
    /// because the provider's clock is another one.
    pub age: Duration,
    /// The hardware that it asked for.
    pub hardware_type: Option<String>,
}

impl RemoteJob {
    /// What a provider must know of a job that it has or had; `None` when it never had it. `now`:
    /// the store's time.
    pub fn of(record: &JobRecord, now: Timestamp) -> Option<Self> {
        let job = record.job();
        let remote = record.stage().remote()?;
        let claimed_at = record.entry().started_at.unwrap_or(job.created_at);
        Some(Self {
            id: job.id,
            provider_job_id: remote.id.clone(),
            account: remote.account.clone(),
            correlation_id: job.correlation_id.clone(),
            age: now.duration_since(claimed_at).try_into().unwrap_or_default(),
            hardware_type: job.hardware_type.clone(),
        })
    }
}

/// The account that a provider works for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The account's name at the provider.
    pub username: String,
}

/// Something that a finished job made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputFile {
    /// What its URL calls it. It is not to be trusted: it may be anything, also empty, and may be that
    /// of another file too.
    pub name: String,
    /// Where it is: an http or https URL. Its query may be a secret.
    pub url: String,
}

impl OutputFile {
    /// The file at this URL; `None` where that is no http or https URL with a host.
    pub fn at(url: &str) -> Option<Self> {
        let parsed: Uri = url.parse().ok()?;
        let is_http = matches!(parsed.scheme_str(), Some("http" | "https"));
        let has_host = parsed.host().is_some_and(|host| !host.is_empty());
        let name = parsed.path().rsplit('/').next().unwrap_or_default();
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned();
        (is_http && has_host).then(|| Self { name, url: url.to_owned() })
    }
}

/// Everything that a finished job made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutputList {
    /// The files that can be fetched.
    pub files: Vec<OutputFile>,
    /// How many more there are that cannot: at addresses that are not whole or not http, or too many.
    pub left_out: usize,
}

/// How a provider is called at its own origin.
#[derive(Debug, Clone)]
pub struct OwnAccess {
    /// The client, which may connect to whatever the operator configured as the provider's address.
    pub client: Client,
    /// The credential; `None` where calls of this URL have none.
    pub credential: Option<(HeaderName, HeaderValue)>,
}

/// The versions of the model that a provider runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionList {
    /// Each, the newest first.
    pub versions: Vec<ListedVersion>,
    /// The one that jobs run with; `None` where the provider has no versions.
    pub current: Option<String>,
}

/// A version of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedVersion {
    /// Its ID at the provider.
    pub id: String,
    /// When it was made, as the provider says it.
    pub created_at: Option<String>,
}

/// Why it is not known what a job will cost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NoPrice {
    /// In words; it fits behind a colon.
    pub reason: String,
}

impl NoPrice {
    /// For this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// The answer about one of several jobs.
pub type PolledJob = (JobId, Result<ProviderStatus, QueryError>);

/// A device that jobs share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceUse {
    /// Its name in the configuration.
    pub name: String,
    /// Whether a job has it now.
    pub in_use: bool,
}

/// A place that runs jobs.
#[async_trait]
pub trait Provider: fmt::Debug + Send + Sync {
    /// Its name in requests, in the store and in the log.
    fn name(&self) -> &ProviderName;

    /// Whether it can be called at all. One that cannot, because what identifies us is missing, counts as
    /// absent until it can.
    fn is_configured(&self) -> bool {
        true
    }

    /// Whether its jobs run on this machine or elsewhere.
    fn job_type(&self) -> JobType;

    /// How it makes sure that one submission becomes at most one job.
    fn guarantee(&self) -> AtMostOnce;

    /// How it is found out whether a submission arrived.
    fn arrivals(&self) -> Arrivals<'_>;

    /// How long after the end of a call a submission may still arrive, at least. A failed call may
    /// ask for more.
    fn may_arrive_for(&self) -> Duration {
        MAY_ARRIVE_FOR
    }

    /// The account that submits, as far as it is known. What another account's list does not show
    /// proves nothing.
    fn account(&self) -> Option<AccountId> {
        None
    }

    /// The provider's time now, by the `Date` of its latest answer and the time that has passed
    /// since; `None` where it is not known.
    fn time(&self) -> Option<Timestamp> {
        None
    }

    /// Says what is wrong with a job's input before it is queued; the text fits behind a colon.
    /// `settings` are the provider's settings as they are now.
    fn check(&self, input: &Value, settings: &ProviderSettings) -> Result<(), String>;

    /// What a second of a job costs, in US dollars, that asks for this hardware and is submitted under these
    /// settings. By the prices that its cost is later computed from.
    fn price_per_second(
        &self,
        _hardware: Option<&str>,
        _settings: &ProviderSettings,
    ) -> Result<f64, NoPrice> {
        Err(NoPrice::new(format!("there are no prices of jobs at {}", self.name())))
    }

    /// The hardware that a job is priced by under these settings which asks for none; `None` where no name
    /// says it.
    fn default_hardware(&self, _settings: &ProviderSettings) -> Option<String> {
        None
    }

    /// Whether a job that the provider ended so is to be run once more.
    fn reruns(&self, _ending: ProviderEnding) -> bool {
        false
    }

    /// What must be set before any job can be submitted at all; `None` when nothing is missing.
    fn missing(&self, _settings: &ProviderSettings) -> Option<String> {
        None
    }

    /// Waits until a submission may be made without exceeding how often the provider allows it. It is
    /// called before each [`Provider::submit`], nothing is sent meanwhile, and it may be given up.
    async fn turn_to_submit(&self) {}

    /// How many submissions may begin now without waiting for their turn.
    fn room_to_submit(&self) -> usize {
        usize::MAX
    }

    /// The same as [`Provider::turn_to_submit`] before a question or a cancellation; polls and logs wait
    /// by themselves.
    async fn turn_to_ask(&self) {}

    /// Waits until something of a finished job may be fetched, so that the results of many jobs keep no
    /// other call from being made. It is called before each call of [`Provider::logs`] and
    /// [`Provider::outputs`] that no person waits for.
    async fn turn_to_fetch(&self) {}

    /// Submits a job. At most one call is made per marker, except where the provider says that it
    /// recognizes repetitions ([`Arrivals::Repeated`]); the caller sees to that.
    async fn submit(&self, submission: &Submission) -> Result<ProviderStatus, SubmitError>;

    /// Releases a job that was submitted and is held ([`AtMostOnce::HeldSubmission`]); one that was
    /// released already stays as it is.
    async fn release(&self, _job: &RemoteJob) -> Result<ProviderStatus, QueryError> {
        Err(QueryError::trouble("the provider holds no submissions"))
    }

    /// The statuses of many jobs, in whatever way costs the fewest calls: one answer for each job,
    /// in any order, each as soon as it is known, so that one slow call holds up no other answer.
    fn statuses<'a>(&'a self, jobs: &'a [RemoteJob]) -> BoxStream<'a, PolledJob>;

    /// Whether the account has any job at all that can be read now. It is what makes "there is no
    /// such job" of the same account worth believing.
    async fn has_witness(&self) -> Result<bool, QueryError> {
        Ok(false)
    }

    /// Cancels a job; one that is over already stays as it is.
    async fn cancel(&self, job: &RemoteJob) -> Result<ProviderStatus, QueryError>;

    /// Whether what a job prints can be read at all.
    fn has_logs(&self) -> bool {
        true
    }

    /// What the job printed so far.
    async fn logs(&self, job: &RemoteJob) -> Result<String, QueryError>;

    /// How far the job has come, by the end of what it printed; `None` where it printed nothing.
    async fn progress(&self, job: &RemoteJob) -> Result<Option<Progress>, QueryError> {
        Ok(Progress::in_log(&self.logs(job).await?))
    }

    /// What a finished job made, as far as that is files at URLs. [`QueryError::NotFound`] means that the
    /// provider has deleted it.
    async fn outputs(&self, _job: &RemoteJob) -> Result<OutputList, QueryError> {
        Ok(OutputList::default())
    }

    /// How this URL of an output is called, where it is at the provider's own origin. `None` for every
    /// other: the trust in the provider's address is not for it. The credential is for known places of
    /// files alone: the model that wrote an output chose its address.
    async fn own_access(&self, _url: &Uri) -> Option<OwnAccess> {
        None
    }

    /// Whether the provider itself is called in clear text. Only then may its outputs be.
    fn is_clear_text(&self) -> bool {
        false
    }

    /// Changes whenever the provider learns by itself that one of its jobs may have changed; `None`
    /// where it has to be asked.
    fn changes(&self) -> Option<watch::Receiver<u64>> {
        None
    }

    /// Reads a webhook that says it is from this provider: who signed it, and what it reports. Nothing
    /// of it may be believed before that.
    async fn receive(&self, _delivery: &Delivery<'_>) -> Result<Report, ReceiveError> {
        Err(ReceiveError::Unsupported)
    }

    /// Called in every poll, also when the provider has no job: ends what runs here for no job.
    /// Returns some of the jobs, in turn, of which something old is kept here; what is kept of one
    /// that the store does not have is then removed by [`Provider::forget`].
    async fn clean_up(&self) -> Vec<JobId> {
        Vec::new()
    }

    /// Removes all that is kept here of a job that was deleted and does not run.
    async fn forget(&self, _job: JobId) -> Result<(), QueryError> {
        Ok(())
    }

    /// The devices that its jobs share, and whether each is in use; none where it manages none, or
    /// where that cannot be found out.
    async fn devices(&self) -> Vec<DeviceUse> {
        Vec::new()
    }

    /// The versions of the model that jobs run under these settings; none where a provider has none.
    async fn versions(&self, _settings: &ProviderSettings) -> Result<VersionList, QueryError> {
        Ok(VersionList::default())
    }

    /// Whether the provider accepts our credentials, and for which account. A call without effect;
    /// after it [`Provider::time`] and [`Provider::account`] are known where they can be.
    async fn validate(&self) -> Result<Account, QueryError>;
}
