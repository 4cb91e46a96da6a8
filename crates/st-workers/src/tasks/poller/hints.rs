//! Webhooks that prove nothing. All that one can lead to is a question to the provider, and that is a call of
//! which the account has only so many: so strangers get few of them, and learn nothing by them.

use std::collections::BTreeMap;
use std::slice::from_ref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use st_log::Chain;
use st_store::{JobId, JobRecord, JobRef, ProviderJobId};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

use super::receive::{IntakeError, Received};
use super::{LOG, Poll};
use crate::provider::{QueryError, RemoteJob};

/// How many questions are open at the same time.
const OPEN: usize = 8;
/// How long one job is not asked about again.
const AGAIN: Duration = Duration::from_secs(10);
/// How many questions there are in a minute.
const BUDGET: u32 = 60;
const WINDOW: Duration = Duration::from_mins(1);

/// The questions that such webhooks lead to.
#[derive(Debug)]
pub(super) struct Hints {
    open: Semaphore,
    /// Guards what was asked; never held during a call.
    asked: Mutex<Asked>,
}

#[derive(Debug)]
struct Asked {
    /// When each job was asked about, or is going to be. No entry is older than [`AGAIN`].
    jobs: BTreeMap<JobId, Instant>,
    window: Instant,
    in_window: u32,
}

/// What becomes of a hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The provider is asked then.
    At(Instant),
    /// A question that is still to be asked answers this one as well.
    Covered,
    /// There were too many in this minute.
    Spent,
}

impl Default for Hints {
    fn default() -> Self {
        let asked = Asked { jobs: BTreeMap::new(), window: Instant::now(), in_window: 0 };
        Self { open: Semaphore::new(OPEN), asked: Mutex::new(asked) }
    }
}

impl Hints {
    fn turn(&self, job: JobId) -> Turn {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).turn(job, Instant::now())
    }
}

impl Asked {
    fn turn(&mut self, job: JobId, now: Instant) -> Turn {
        self.jobs.retain(|_, at| *at + AGAIN > now);
        let at = match self.jobs.get(&job) {
            Some(&at) if at > now => return Turn::Covered,
            // What happened since that question must not be missed.
            Some(&at) => at + AGAIN,
            None => now,
        };
        if now.duration_since(self.window) >= WINDOW {
            (self.window, self.in_window) = (now, 0);
        }
        if self.in_window >= BUDGET {
            return Turn::Spent;
        }
        self.in_window += 1;
        self.jobs.insert(job, at);
        Turn::At(at)
    }
}

impl Poll {
    /// Sees to it that the provider is asked soon about the job that is meant, if one is. Nothing that the
    /// sender can see depends on that.
    pub(super) async fn note_hint(
        self: &Arc<Self>,
        provider_job_id: Option<ProviderJobId>,
        job: Option<JobId>,
    ) -> Result<(), IntakeError> {
        let record = match self.meant(provider_job_id.as_ref(), job).await? {
            Ok(record) if record.status().is_terminal() => return Ok(()),
            Ok(record) => record,
            Err(reason) => {
                self.log_unfollowed(reason);
                return Ok(());
            }
        };
        let at = match self.hints.turn(record.id()) {
            Turn::At(at) => at,
            Turn::Covered => return Ok(()),
            Turn::Spent => {
                self.log_unfollowed("the provider was asked about too many in this minute");
                return Ok(());
            }
        };
        let this = Arc::clone(self);
        self.dispatcher.spawn_helper(async move {
            sleep_until(at).await;
            let Ok(_open) = this.hints.open.acquire().await else { return };
            match this.follow_hint(None, Some(record.id())).await {
                Ok(Received::Ignored { reason }) => this.log_unfollowed(&reason),
                Ok(Received::Applied { .. } | Received::Noted) => {}
                Err(error) => this.log_unfollowed(&Chain(&error).to_string()),
            }
        });
        Ok(())
    }

    /// Asks the provider what happened to the job that is meant, and does what it answers.
    pub(super) async fn follow_hint(
        &self,
        provider_job_id: Option<ProviderJobId>,
        job: Option<JobId>,
    ) -> Result<Received, IntakeError> {
        let record = match self.meant(provider_job_id.as_ref(), job).await? {
            Ok(record) => record,
            Err(reason) => return Ok(Received::ignored(reason)),
        };
        if record.status().is_terminal() {
            return Ok(Received::Applied { after: record.clone().into(), before: record.into() });
        }
        let Some(remote) = RemoteJob::of(&record, self.store.now()) else {
            return Ok(Received::ignored("the job is not at the provider"));
        };
        let answer = self.served.statuses(from_ref(&remote)).next().await;
        match answer.map_or_else(|| Err(self.served.no_status()), |(_, answer)| answer) {
            Ok(status) => self.apply(&self.webhook(), record, status).await,
            Err(QueryError::NotFound) => {
                Ok(Received::ignored("the provider does not know the job"))
            }
            Err(error) => Err(IntakeError::Unanswered(error)),
        }
    }

    /// The job that is meant, or why none can be asked about. Where the provider's identifier leads to none,
    /// ours may.
    async fn meant(
        &self,
        provider_job_id: Option<&ProviderJobId>,
        job: Option<JobId>,
    ) -> Result<Result<JobRecord, &'static str>, IntakeError> {
        let mut found = match provider_job_id {
            Some(id) => self.find(id).await?,
            None => None,
        };
        if let (None, Some(job)) = (&found, job) {
            found = self.store.find_job(&JobRef::Id(job)).await?;
        }
        let Some(record) = found.filter(|it| it.job().provider == *self.served.name()) else {
            return Ok(Err("no job of this server is meant"));
        };
        let remote = RemoteJob::of(&record, self.store.now());
        if remote.is_none_or(|remote| !self.serves(&remote)) {
            return Ok(Err("the account does not have the job"));
        }
        Ok(Ok(record))
    }

    fn log_unfollowed(&self, reason: &str) {
        st_log::debug!(
            logger: LOG, provider = self.served.name().as_str(), reason,
            "Webhook that is not signed led to nothing"
        );
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn job(number: u32) -> JobId {
        let [a, b, c, d] = number.to_be_bytes();
        JobId::new(Timestamp::UNIX_EPOCH, [a, b, c, d, 0, 0, 0, 0, 0, 0])
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_is_asked_about_once_in_ten_seconds_and_its_last_hint_is_not_lost() {
        let hints = Hints::default();
        let began = Instant::now();
        assert_eq!(hints.turn(job(1)), Turn::At(began));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(hints.turn(job(1)), Turn::At(began + AGAIN));
        assert_eq!(hints.turn(job(1)), Turn::Covered);
        assert_eq!(hints.turn(job(2)), Turn::At(began + Duration::from_secs(3)));
        tokio::time::advance(Duration::from_secs(8)).await;
        assert_eq!(hints.turn(job(1)), Turn::At(began + 2 * AGAIN), "that one was asked");
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(hints.turn(job(1)), Turn::At(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_minute_has_so_many_questions_and_the_next_one_again() {
        let hints = Hints::default();
        let asked = (0..1_000).filter(|it| hints.turn(job(*it)) != Turn::Spent).count();
        assert_eq!(asked, BUDGET as usize);
        assert_eq!(hints.asked.lock().unwrap().jobs.len(), BUDGET as usize);
        tokio::time::advance(WINDOW).await;
        assert_eq!(hints.turn(job(1_000)), Turn::At(Instant::now()));
        assert_eq!(hints.asked.lock().unwrap().jobs.len(), 1, "older ones are forgotten");
    }
}
