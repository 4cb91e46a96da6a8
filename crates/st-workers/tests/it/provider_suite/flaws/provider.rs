//! A provider in memory that breaks one promise, and its world.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use serde_json::Value;
use st_store::{
    AccountId, AtMostOnce, JobId, JobStatus, JobType, Marker, ProviderJobId, ProviderName,
    ProviderSettings, ProviderStatus,
};
use st_testkit::provider_suite::{
    Brought, FakeWorld, Impossible, RefusedInput, Situation, Turn, World,
};
use st_workers::provider::{
    Account, Arrivals, Cause, FoundJob, JobList, JobLookup, ListPage, ListQuery, PolledJob,
    Provider, QueryError, RemoteJob, Submission, SubmitError, Trace, Unavailable,
};
use tokio::sync::{Semaphore, watch};

pub(super) const SECRET: &str = "planted-s3cr3t";
/// How many submissions there is room for.
const ROOM: usize = 5;

/// The promise that is broken; the rest is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    EverySubmissionIsTwoJobs,
    EveryJobHasOneId,
    LostCallsCountAsRefused,
    WhatIsRefusedArrivesAllTheSame,
    WhatCheckRefusesIsSent,
    OutagesAreTheJobsFault,
    RoomIsPromisedAndNotGiven,
    WhatIsReleasedCannotBeReleasedAgain,
    MarkersAreNotShown,
    AnyMarkerIsFound,
    AnOutageIsAnEmptyList,
    AnEmptyAccountHasAWitness,
    OneAnswerIsMissing,
    OneAnswerIsGivenTwice,
    AnswersAreAboutOtherJobs,
    JobsNeverEnd,
    WhatIsOverRunsAgain,
    QuestionsAreAskedOneByOne,
    OneFailureIsTheFailureOfAll,
    WhatIsNotThereIsTrouble,
    OutagesAreAbsence,
    NothingIsAnnounced,
    NothingIsCancelled,
    WhatIsOverIsCancelled,
    AnythingCanBeCancelled,
    LogsAreEmpty,
    AnythingHasALog,
    HousekeepingEndsJobs,
    NothingIsForgottenTwice,
    RefusalsNameNoField,
    NothingIsEverMissing,
    TheAccountHasNoName,
    AWrongCredentialIsTrouble,
    DebugShowsTheSecret,
    WhatIsGivenUpIsNotShown,
    WhatIsGivenUpKeepsItsPlace,
    NothingIsCancelledTwice,
    TurnsThatAreGivenUpCount,
}

/// The provider.
pub(super) struct Flawed {
    inner: Arc<dyn Provider>,
    flaw: Flaw,
    calls: AtomicUsize,
    /// What was answered to the end.
    answered: Mutex<BTreeSet<ProviderJobId>>,
    places: Semaphore,
    changes: watch::Sender<u64>,
    turns: AtomicUsize,
}

impl fmt::Debug for Flawed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = if self.flaw == Flaw::DebugShowsTheSecret { SECRET } else { "***" };
        f.debug_struct("Flawed").field("secret", &secret).finish_non_exhaustive()
    }
}

impl Flawed {
    pub(super) fn new(inner: Arc<dyn Provider>, flaw: Flaw) -> Arc<Self> {
        Arc::new(Self {
            inner,
            flaw,
            calls: AtomicUsize::new(0),
            answered: Mutex::default(),
            places: Semaphore::new(20),
            changes: watch::Sender::new(0),
            turns: AtomicUsize::new(0),
        })
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    fn list(&self) -> &dyn JobList {
        let Arrivals::Listed(list) = self.inner.arrivals() else { panic!("it has a list") };
        list
    }

    fn changed(
        &self,
        answer: Result<ProviderStatus, QueryError>,
    ) -> Result<ProviderStatus, QueryError> {
        match answer {
            Err(QueryError::NotFound) if self.has(Flaw::WhatIsNotThereIsTrouble) => {
                Err(QueryError::trouble("what?"))
            }
            Err(QueryError::Unavailable(error)) => {
                if self.has(Flaw::OutagesAreAbsence) {
                    return Err(QueryError::NotFound);
                }
                if self.has(Flaw::AWrongCredentialIsTrouble) {
                    return Err(QueryError::trouble("what?"));
                }
                Err(error.into())
            }
            Ok(mut report) => {
                let is_over = report.status.is_some_and(JobStatus::is_terminal);
                let again = self.calls.fetch_add(1, Ordering::Relaxed) > 8;
                if is_over
                    && (self.has(Flaw::JobsNeverEnd)
                        || again && self.has(Flaw::WhatIsOverRunsAgain))
                {
                    report.status = Some(JobStatus::Running);
                }
                Ok(report)
            }
            other @ Err(_) => other,
        }
    }

    async fn status(&self, job: &RemoteJob) -> PolledJob {
        let one = std::slice::from_ref(job);
        let (id, answer) = self.inner.statuses(one).next().await.unwrap();
        (id, self.changed(answer))
    }
}

#[async_trait]
impl Provider for Flawed {
    fn name(&self) -> &ProviderName {
        self.inner.name()
    }

    fn job_type(&self) -> JobType {
        self.inner.job_type()
    }

    fn guarantee(&self) -> AtMostOnce {
        if self.has(Flaw::WhatIsReleasedCannotBeReleasedAgain) {
            return AtMostOnce::HeldSubmission;
        }
        self.inner.guarantee()
    }

    fn arrivals(&self) -> Arrivals<'_> {
        if self.has(Flaw::AnyMarkerIsFound) {
            return Arrivals::LookedUp(self);
        }
        Arrivals::Listed(self)
    }

    fn account(&self) -> Option<AccountId> {
        self.inner.account()
    }

    fn check(&self, input: &Value, _settings: &ProviderSettings) -> Result<(), String> {
        if input.get("config").is_some() {
            return Ok(());
        }
        let named = !self.has(Flaw::RefusalsNameNoField);
        Err(if named { "\"config\" is required" } else { "the input is not legal" }.to_owned())
    }

    fn missing(&self, settings: &ProviderSettings) -> Option<String> {
        if self.has(Flaw::NothingIsEverMissing) {
            return None;
        }
        settings.version_override.is_some().then(|| "it has no versions".to_owned())
    }

    async fn turn_to_submit(&self) {
        if self.has(Flaw::TurnsThatAreGivenUpCount) {
            self.turns.fetch_add(1, Ordering::Relaxed);
        }
        if self.has(Flaw::RoomIsPromisedAndNotGiven) {
            std::future::pending::<()>().await;
        }
    }

    fn room_to_submit(&self) -> usize {
        ROOM.saturating_sub(self.turns.load(Ordering::Relaxed))
    }

    async fn submit(&self, submission: &Submission) -> Result<ProviderStatus, SubmitError> {
        let is_sent_anyway = self.has(Flaw::WhatCheckRefusesIsSent);
        if let Err(reason) = self.check(&submission.input, &submission.settings)
            && !is_sent_anyway
        {
            return Err(SubmitError::Rejected { reason });
        }
        if let Some(reason) = self.missing(&submission.settings) {
            return Err(SubmitError::MissingSetting { reason });
        }
        let answer = self.inner.submit(submission).await;
        match answer {
            Ok(mut report) => {
                if self.has(Flaw::EverySubmissionIsTwoJobs) {
                    return self.inner.submit(submission).await;
                }
                if self.has(Flaw::EveryJobHasOneId) {
                    report.provider_job_id = ProviderJobId::new("p1");
                }
                tokio::task::yield_now().await;
                let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
                answered.insert(report.provider_job_id.clone());
                Ok(report)
            }
            Err(SubmitError::Unknown { .. }) if self.has(Flaw::LostCallsCountAsRefused) => {
                Err(Unavailable::new(Cause::Unreachable, "it was lost").into())
            }
            Err(SubmitError::Rejected { reason })
                if self.has(Flaw::WhatIsRefusedArrivesAllTheSame) =>
            {
                self.inner.submit(submission).await.unwrap();
                Err(SubmitError::Rejected { reason })
            }
            Err(SubmitError::Unavailable(error)) if self.has(Flaw::OutagesAreTheJobsFault) => {
                Err(SubmitError::Rejected { reason: error.reason })
            }
            other => other,
        }
    }

    async fn release(&self, job: &RemoteJob) -> Result<ProviderStatus, QueryError> {
        let is_again = self.calls.fetch_add(1, Ordering::Relaxed) > 0;
        if !self.has(Flaw::WhatIsReleasedCannotBeReleasedAgain) || is_again {
            return Err(QueryError::trouble("it is not held"));
        }
        self.status(job).await.1
    }

    fn statuses<'a>(&'a self, jobs: &'a [RemoteJob]) -> BoxStream<'a, PolledJob> {
        let parallel = if self.has(Flaw::QuestionsAreAskedOneByOne) { 1 } else { 8 };
        let asked =
            if self.has(Flaw::OneAnswerIsMissing) { &jobs[..jobs.len().min(3)] } else { jobs };
        let answers = stream::iter(asked).map(async |job: &'a RemoteJob| {
            if self.has(Flaw::WhatIsGivenUpKeepsItsPlace) {
                let place = self.places.acquire().await.unwrap();
                place.forget();
                tokio::task::yield_now().await;
                self.places.add_permits(1);
            }
            self.status(job).await
        });
        let mut answers = answers.buffered(parallel).boxed();
        if self.has(Flaw::OneAnswerIsGivenTwice) {
            let again = stream::iter(jobs.first()).then(async |job| self.status(job).await);
            answers = answers.chain(again).boxed();
        }
        if self.has(Flaw::AnswersAreAboutOtherJobs) {
            let other = jobs.first().map(|job| job.provider_job_id.clone());
            answers = answers
                .map(move |(id, mut answer)| {
                    if let (Ok(report), Some(other)) = (&mut answer, &other) {
                        report.provider_job_id.clone_from(other);
                    }
                    (id, answer)
                })
                .boxed();
        }
        if self.has(Flaw::OneFailureIsTheFailureOfAll) {
            let all = async move {
                let all: Vec<PolledJob> = answers.collect().await;
                let failed = all.iter().any(|(_, answer)| answer.is_err());
                let fail = move |(id, answer)| {
                    (id, if failed { Err(QueryError::trouble("what?")) } else { answer })
                };
                stream::iter(all).map(fail)
            };
            return stream::once(all).flatten().boxed();
        }
        answers
    }

    async fn has_witness(&self) -> Result<bool, QueryError> {
        let has = self.inner.has_witness().await?;
        Ok(has || self.has(Flaw::AnEmptyAccountHasAWitness))
    }

    async fn cancel(&self, job: &RemoteJob) -> Result<ProviderStatus, QueryError> {
        let before = self.status(job).await.1;
        if self.has(Flaw::AnythingCanBeCancelled) && before.is_err() {
            return Ok(ProviderStatus::new(job.provider_job_id.clone(), JobStatus::Cancelled));
        }
        let before = before?;
        if self.has(Flaw::NothingIsCancelled) {
            return Ok(before);
        }
        let is_over = before.status.is_some_and(JobStatus::is_terminal);
        if is_over && self.has(Flaw::WhatIsOverIsCancelled) {
            return Ok(ProviderStatus::new(job.provider_job_id.clone(), JobStatus::Cancelled));
        }
        let report = self.inner.cancel(job).await?;
        if self.has(Flaw::NothingIsCancelledTwice) && is_over {
            return Err(QueryError::trouble("it is over"));
        }
        tokio::task::yield_now().await;
        Ok(report)
    }

    async fn logs(&self, job: &RemoteJob) -> Result<String, QueryError> {
        let log = self.inner.logs(job).await;
        match log {
            Ok(_) if self.has(Flaw::LogsAreEmpty) => Ok(String::new()),
            Err(_) if self.has(Flaw::AnythingHasALog) => Ok(String::new()),
            other => other,
        }
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        self.has(Flaw::NothingIsAnnounced).then(|| self.changes.subscribe())
    }

    async fn clean_up(&self) -> Vec<JobId> {
        if self.has(Flaw::HousekeepingEndsJobs)
            && let Ok(page) = self.list().page(&ListQuery::default()).await
        {
            for row in page.jobs {
                let Trace::Marker { marker, .. } = row.trace else { continue };
                let job = super::job(marker.job, row.status.provider_job_id);
                self.inner.cancel(&job).await.unwrap();
            }
        }
        Vec::new()
    }

    async fn forget(&self, _job: JobId) -> Result<(), QueryError> {
        let is_again = self.calls.fetch_add(1, Ordering::Relaxed) > 0;
        if is_again && self.has(Flaw::NothingIsForgottenTwice) {
            return Err(QueryError::trouble("it is not there"));
        }
        Ok(())
    }

    async fn validate(&self) -> Result<Account, QueryError> {
        let mut account = match self.inner.validate().await {
            Err(_) if self.has(Flaw::AWrongCredentialIsTrouble) => {
                return Err(QueryError::trouble("what?"));
            }
            other => other?,
        };
        if self.has(Flaw::TheAccountHasNoName) {
            account.username.clear();
        }
        Ok(account)
    }
}

#[async_trait]
impl JobList for Flawed {
    async fn page(&self, query: &ListQuery) -> Result<ListPage, QueryError> {
        let page = self.list().page(query).await;
        let mut page = match page {
            Err(_) if self.has(Flaw::AnOutageIsAnEmptyList) => ListPage::default(),
            other => other?,
        };
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        for row in &mut page.jobs {
            let is_given_up = !answered.contains(&row.status.provider_job_id);
            if self.has(Flaw::MarkersAreNotShown)
                || is_given_up && self.has(Flaw::WhatIsGivenUpIsNotShown)
            {
                row.trace = Trace::Deleted;
            }
        }
        drop(answered);
        Ok(page)
    }
}

#[async_trait]
impl JobLookup for Flawed {
    async fn find(&self, job: JobId, attempt: Option<u32>) -> Result<Vec<FoundJob>, QueryError> {
        let marker = Marker { job, attempt: attempt.unwrap_or(1) };
        let status = ProviderStatus::new(ProviderJobId::new("p1"), JobStatus::Running);
        Ok(vec![FoundJob { marker, status }])
    }
}

/// The world of such a provider.
pub(super) struct FlawedWorld {
    inner: FakeWorld,
    provider: Arc<Flawed>,
    flaw: Flaw,
}

impl FlawedWorld {
    pub(super) fn new(flaw: Flaw) -> Self {
        let inner = FakeWorld::new();
        let provider = Flawed::new(inner.provider(), flaw);
        Self { inner, provider, flaw }
    }

    fn flawed(&self, inner: Arc<dyn Provider>) -> Arc<dyn Provider> {
        Flawed::new(inner, self.flaw)
    }
}

#[async_trait]
impl World for FlawedWorld {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(&self.provider) as Arc<dyn Provider>
    }

    fn submission(&self, marker: Marker) -> Submission {
        self.inner.submission(marker)
    }

    async fn arrived(&self) -> Vec<Marker> {
        self.inner.arrived().await
    }

    fn unknown_job(&self) -> ProviderJobId {
        self.inner.unknown_job()
    }

    async fn bring_about(&self, situation: Situation) -> Brought {
        self.inner.bring_about(situation).await
    }

    async fn turn(&self, job: &ProviderJobId, turn: Turn) -> Brought {
        self.inner.turn(job, turn).await
    }

    fn printed(&self) -> Result<&'static str, Impossible> {
        self.inner.printed()
    }

    fn refused_inputs(&self) -> Result<Vec<RefusedInput>, Impossible> {
        Ok(vec![RefusedInput { input: serde_json::json!({}), field: "config" }])
    }

    fn incomplete_settings(&self) -> Result<ProviderSettings, Impossible> {
        let version_override = Some("none".to_owned());
        Ok(ProviderSettings { version_override, ..ProviderSettings::default() })
    }

    fn account_name(&self) -> Result<&'static str, Impossible> {
        self.inner.account_name()
    }

    fn secret(&self) -> Result<&'static str, Impossible> {
        Ok(SECRET)
    }

    async fn with_wrong_credential(&self) -> Result<Arc<dyn Provider>, Impossible> {
        Ok(self.flawed(self.inner.with_wrong_credential().await?))
    }

    async fn nowhere(&self) -> Result<Arc<dyn Provider>, Impossible> {
        Ok(self.flawed(self.inner.nowhere().await?))
    }
}
