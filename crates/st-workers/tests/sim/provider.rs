//! A provider as one life of the server sees it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use serde_json::Value;
use st_store::{AccountId, AtMostOnce, JobType, ProviderName, ProviderSettings, ProviderStatus};
use st_workers::provider::{
    Account, Arrivals, Cause, JobList, ListPage, ListQuery, PolledJob, Provider, QueryError,
    RemoteJob, Submission, SubmitError, Unavailable,
};
use tokio::sync::oneshot;

use crate::kill_switch::KillSwitch;
use crate::ledger::Call;
use crate::world::World;

/// The hashes of the credentials.
const CREDENTIAL: &str = "key-of-team";
pub(crate) const OTHER_CREDENTIAL: &str = "key-of-other";
/// How many questions about jobs are asked at the same time.
const PARALLEL: usize = 4;

/// The connection of one life to one provider.
#[derive(Debug)]
pub(crate) struct SimProvider {
    name: ProviderName,
    index: usize,
    world: Arc<World>,
    kill_switch: Arc<KillSwitch>,
    /// The provider's time by its latest answer, and when that came. Locked for one read or write.
    seen: Mutex<Option<(Timestamp, Duration)>>,
    /// The accounts whose names this life has learnt. Locked for one read or write.
    known: Mutex<BTreeSet<&'static str>>,
}

impl SimProvider {
    pub(crate) fn new(world: &Arc<World>, index: usize, kill_switch: &Arc<KillSwitch>) -> Self {
        Self {
            name: ProviderName::new(world.plan.providers[index].name),
            index,
            world: Arc::clone(world),
            kill_switch: Arc::clone(kill_switch),
            seen: Mutex::default(),
            known: Mutex::default(),
        }
    }

    /// Whose credentials they are now.
    fn username(&self) -> &'static str {
        if self.world.is_other_account(self.index) { "other" } else { "team" }
    }

    /// An answer came, and with it the provider's time.
    fn observe(&self) {
        let seen = (self.world.provider_time(self.index), self.world.now());
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }

    /// A question of this life.
    async fn ask<T>(
        &self,
        what: &str,
        answer: impl FnOnce() -> Result<T, QueryError> + Send,
    ) -> Result<T, QueryError> {
        let begun = self.kill_switch.begin(what, 0.0).await;
        let reached = self.world.question(self.index).await;
        let answer = match reached {
            Ok(()) => {
                self.observe();
                answer()
            }
            Err(unavailable) => Err(QueryError::Unavailable(unavailable)),
        };
        self.kill_switch.end(what, begun, 0.0).await;
        answer
    }

    /// The caller of a submission learns what became of it.
    fn note_answer(&self, submission: &Submission, answer: &Result<ProviderStatus, SubmitError>) {
        let now = self.world.now();
        let evidence = &mut self.world.state().evidence;
        evidence.call_ended(submission.marker, now);
        match answer {
            Ok(_) => evidence.end_series(self.index),
            Err(SubmitError::Rejected { .. }) => {
                evidence.rejected_for_settings(submission.marker, self.index);
            }
            Err(_) => {}
        }
    }

    async fn status_of(&self, job: &RemoteJob) -> Result<ProviderStatus, QueryError> {
        self.ask("status", || self.world.status_of(self.index, &job.provider_job_id)).await
    }
}

#[async_trait]
impl Provider for SimProvider {
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

    fn may_arrive_for(&self) -> Duration {
        self.world.plan.providers[self.index].may_arrive_for
    }

    fn account(&self) -> Option<AccountId> {
        let username = self.username();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(username);
        let url = format!("https://{}.example", self.name);
        let other = self.world.is_other_account(self.index);
        let credential = if other { OTHER_CREDENTIAL } else { CREDENTIAL };
        Some(AccountId::new(url, known.then_some(username), Some(credential)))
    }

    fn time(&self) -> Option<Timestamp> {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (shown, at) = seen?;
        shown.checked_add(self.world.now().saturating_sub(at)).ok()
    }

    fn check(&self, _input: &Value, _settings: &ProviderSettings) -> Result<(), String> {
        Ok(())
    }

    fn missing(&self, settings: &ProviderSettings) -> Option<String> {
        settings.version_override.is_none().then(|| "no version is set".to_owned())
    }

    async fn submit(&self, submission: &Submission) -> Result<ProviderStatus, SubmitError> {
        let begun = self.kill_switch.begin("submit", 0.0).await;
        if !AccountId::may_be_same(submission.account.as_ref(), self.account().as_ref()) {
            let reason = "the credentials were changed after the job was claimed";
            let changed = Unavailable::new(Cause::Trouble, reason);
            self.kill_switch.end("submit", begun, 0.0).await;
            self.world.count("submission after a change of the account");
            return Err(changed.into());
        }
        // Dropped when this call ends, in whatever way.
        let (_caller, caller_ended) = oneshot::channel::<()>();
        let number = {
            let mut state = self.world.state();
            state.submit_calls += 1;
            state.submit_calls
        };
        let call = Call { number, provider: self.index, marker: submission.marker };
        let fate = self.world.fate_of(call, submission);
        let name = self.world.name(submission.marker.job);
        let attempt = submission.marker.attempt;
        self.world.journal.note(format!("submit {name} attempt {attempt}: {fate:?}"));
        if fate.is_death() {
            self.kill_switch.die("of a job");
        }
        let request = Arc::clone(&self.world).submit_request(call, fate, caller_ended);
        let answer = match st_log::spawn(request).await {
            Ok(answer) => answer,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        let unreachable =
            matches!(&answer, Err(SubmitError::Unavailable(it)) if it.cause == Cause::Unreachable);
        if !unreachable {
            self.observe();
        }
        self.kill_switch.end("submit", begun, 0.0).await;
        self.note_answer(submission, &answer);
        answer
    }

    fn statuses<'a>(&'a self, jobs: &'a [RemoteJob]) -> BoxStream<'a, PolledJob> {
        let answers = stream::iter(jobs).map(|job| async { (job.id, self.status_of(job).await) });
        answers.buffer_unordered(PARALLEL).boxed()
    }

    async fn has_witness(&self) -> Result<bool, QueryError> {
        self.ask("witness", || Ok(self.world.page(self.index, &ListQuery::default()).rows > 0))
            .await
    }

    async fn cancel(&self, job: &RemoteJob) -> Result<ProviderStatus, QueryError> {
        let begun = self.kill_switch.begin("cancel", 0.0).await;
        let id = job.provider_job_id.clone();
        let request = Arc::clone(&self.world).cancel_request(self.index, id);
        let answer = match st_log::spawn(request).await {
            Ok(answer) => answer,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        if !matches!(answer, Err(QueryError::Unavailable(_))) {
            self.observe();
        }
        self.kill_switch.end("cancel", begun, 0.0).await;
        answer
    }

    async fn logs(&self, _job: &RemoteJob) -> Result<String, QueryError> {
        self.ask("logs", || Ok(String::new())).await
    }

    async fn validate(&self) -> Result<Account, QueryError> {
        self.ask("account", || {
            let username = self.username();
            self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(username);
            Ok(Account { username: username.to_owned() })
        })
        .await
    }
}

#[async_trait]
impl JobList for SimProvider {
    async fn page(&self, query: &ListQuery) -> Result<ListPage, QueryError> {
        self.ask("list", || Ok(self.world.page(self.index, query))).await
    }
}
