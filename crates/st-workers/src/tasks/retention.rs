//! Deletes jobs that ended long ago, and forgets idempotency keys that have expired.
//!
//! Runs at the start, once a day, and when a person has deleted a job. A job goes with its queue entry, its input, its approval and its
//! events, and then with what its provider keeps of it on this machine; the sums of its day stay.
//! It goes in chunks, so that no other write waits for long, and never by a clock that is not confirmed.
//! Folders that are not removed now are found by the poller later, and kept logs whose job does not exist by
//! a search in each run that has nothing more to delete.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use st_log::{Logger, get_logger};
use st_store::{ClockEvidence, DeletedJob, JobId, JobRef, Pruned, Store};

use crate::providers::Providers;
use crate::results::KeptLogs;
use crate::task::{Cycle, RunSummary, Task, TaskError, TaskId, Timing};

const LOG: Logger = get_logger("simpletuner.cloud.retention");

/// How long finished jobs are usually kept.
pub const KEEP_FOR: SignedDuration = SignedDuration::from_hours(90 * 24);
const PERIOD: Duration = Duration::from_hours(24);
/// How many jobs are deleted in one transaction at most: with inputs of a megabyte each, this many
/// keep other writes waiting for a few milliseconds.
const CHUNK: u32 = 10;
/// How many transactions one run makes at most. The next run goes on where it ended.
const CHUNKS: u32 = 1000;
/// How many folders of kept logs one run looks for their jobs at most. The next run goes on where it ended.
const FOLDERS: usize = 10_000;
/// A folder that has changed within this time is kept even if its job does not exist: the database may be
/// one that was restored for a moment.
const STRAY_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// How long until the next run when there is more.
const GO_ON: Duration = Duration::from_secs(1);
/// How long until the next run when the clock was not confirmed.
const AGAIN: Duration = Duration::from_hours(1);

/// How many transactions one request makes at most: the person who waits may ask again.
const CHUNKS_AT_ONCE: u32 = 200;

/// What a request to delete old jobs did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanedUp {
    /// How many jobs are gone.
    pub deleted: u64,
    /// Why there may be more; `None` when there are none.
    pub left: Option<Left>,
}

/// Why old jobs were not deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// There were too many for one request.
    More,
    /// The clock is not confirmed, and what is deleted is gone.
    ClockUnconfirmed,
}

/// Deletes finished jobs after their retention period, and what their providers keep of them here.
#[derive(Debug)]
pub struct Retention {
    store: Arc<dyn Store>,
    providers: Providers,
    /// `None` where no logs are kept here.
    logs: Option<KeptLogs>,
    keep_for: Option<SignedDuration>,
    /// Guards up to which job the folders of kept logs have been searched. Locked for one change.
    searched: Mutex<Option<JobId>>,
    /// Whether the clock was not confirmed in the last run, so that each change is logged once.
    unconfirmed: AtomicBool,
}

impl Retention {
    /// Deletes jobs that ended at least `keep_for` ago; `None` disables deletion.
    pub fn new(
        store: Arc<dyn Store>,
        providers: Providers,
        keep_for: Option<SignedDuration>,
    ) -> Self {
        let (searched, unconfirmed) = (Mutex::default(), AtomicBool::new(false));
        Self { store, providers, logs: None, keep_for, searched, unconfirmed }
    }

    /// Removes the kept log of a job with it.
    #[must_use]
    pub fn with_logs(self, logs: KeptLogs) -> Self {
        Self { logs: Some(logs), ..self }
    }

    /// One chunk. What the providers say of the time may confirm the clock.
    async fn prune(&self) -> Result<Pruned, st_store::Error> {
        let pruned = self.store.prune(self.keep_for, CHUNK).await?;
        if !pruned.clock_unconfirmed {
            return Ok(pruned);
        }
        self.confirm_clock();
        self.store.prune(self.keep_for, CHUNK).await
    }

    fn confirm_clock(&self) {
        for time in self.providers.iter().filter_map(|provider| provider.time()) {
            self.store.confirm_clock(ClockEvidence::ProviderDate(time));
        }
    }

    /// Deletes now the jobs that ended at least `keep_for` ago, on a person's word. Apart from the run of
    /// the task, which also forgets keys and old entries of the audit trail.
    pub(crate) async fn clean_up(
        &self,
        keep_for: SignedDuration,
    ) -> Result<CleanedUp, st_store::Error> {
        self.confirm_clock();
        let mut deleted = 0;
        for _ in 0..CHUNKS_AT_ONCE {
            let pruned = self.store.prune_jobs(keep_for, CHUNK).await?;
            for job in &pruned.jobs {
                self.forget(job).await;
            }
            deleted += pruned.jobs.len() as u64;
            if pruned.clock_unconfirmed {
                return Ok(CleanedUp { deleted, left: Some(Left::ClockUnconfirmed) });
            }
            if !pruned.more {
                return Ok(CleanedUp { deleted, left: None });
            }
        }
        Ok(CleanedUp { deleted, left: Some(Left::More) })
    }

    /// Removes the job's log, and what its provider keeps of it on this machine. Downloaded outputs are
    /// their user's and stay.
    async fn forget(&self, DeletedJob { id, provider: name }: &DeletedJob) {
        if let Some(logs) = &self.logs
            && let Err(error) = logs.forget(*id).await
        {
            st_log::warning!(
                logger: LOG, provider = name.as_str(), job_id = id.to_string(), error,
                "Kept log of a deleted job could not be removed"
            );
        }
        let Some(provider) = self.providers.get(name) else { return };
        if let Err(error) = provider.forget(*id).await {
            st_log::warning!(
                logger: LOG, provider = name.as_str(), job_id = id.to_string(), error,
                "Folders of a deleted job could not be removed yet"
            );
        }
    }

    /// Removes what is kept of jobs that were deleted on a person's word; returns of how many.
    async fn forget_deleted(&self, cycle: &Cycle) -> Result<u64, st_store::Error> {
        let mut forgotten = 0;
        while !cycle.stopping.is_cancelled() {
            let deleted = self.store.deleted_jobs(CHUNK).await?;
            if deleted.is_empty() {
                break;
            }
            for job in &deleted {
                self.forget(job).await;
            }
            let jobs: Vec<JobId> = deleted.iter().map(|job| job.id).collect();
            self.store.forget_deleted(&jobs).await?;
            forgotten += jobs.len() as u64;
        }
        Ok(forgotten)
    }

    /// Removes kept logs whose job does not exist, as after a crash or where a backup was restored; returns
    /// how many.
    async fn sweep_logs(&self, cycle: &Cycle) -> u64 {
        let Some(logs) = &self.logs else { return 0 };
        let beyond = *self.searched.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(before) = self.store.now().checked_sub(STRAY_AFTER) else { return 0 };
        let jobs = match logs.jobs_beyond(beyond, before, FOLDERS).await {
            Ok(jobs) => jobs,
            Err(error) => {
                st_log::warning!(logger: LOG, error, "Folder of kept logs cannot be searched");
                return 0;
            }
        };
        let mut searched = if jobs.len() < FOLDERS { None } else { jobs.last().copied() };
        let mut removed = 0;
        for job in jobs {
            if cycle.stopping.is_cancelled() {
                searched = Some(job);
                break;
            }
            // A job that cannot be read exists.
            if !matches!(self.store.find_job(&JobRef::Id(job)).await, Ok(None)) {
                continue;
            }
            match logs.forget(job).await {
                Ok(()) => removed += 1,
                Err(error) => st_log::warning!(
                    logger: LOG, job_id = job.to_string(), error,
                    "Kept log of a deleted job could not be removed"
                ),
            }
        }
        *self.searched.lock().unwrap_or_else(PoisonError::into_inner) = searched;
        removed
    }

    fn log_clock(&self, unconfirmed: bool) {
        let before = self.unconfirmed.swap(unconfirmed, Ordering::Relaxed);
        if unconfirmed && !before {
            st_log::warning!(
                logger: LOG, "Old jobs are not deleted: the system clock is not confirmed"
            );
        }
        if before && !unconfirmed {
            st_log::info!(logger: LOG, "Old jobs are deleted again: the system clock is confirmed");
        }
    }
}

#[async_trait]
impl Task for Retention {
    fn id(&self) -> TaskId {
        TaskId::JobRetention
    }

    fn timing(&self) -> Timing {
        Timing { period: PERIOD, deadline: Duration::from_mins(30) }
    }

    async fn run(&self, cycle: &Cycle) -> Result<RunSummary, TaskError> {
        const FAILED: &str = "Error in job retention";
        let forgotten = self.forget_deleted(cycle).await.map_err(TaskError::because(FAILED))?;
        let (mut jobs, mut keys, mut wake_in) = (0, 0, None);
        for chunk in 1..=CHUNKS {
            if cycle.stopping.is_cancelled() {
                break;
            }
            let pruned = self.prune().await.map_err(TaskError::because(FAILED))?;
            self.log_clock(pruned.clock_unconfirmed);
            jobs += pruned.jobs.len() as u64;
            keys += pruned.keys;
            for damaged in &pruned.damaged {
                st_log::error!(
                    logger: LOG, row = damaged.to_string(),
                    "Old job cannot be read and was set aside"
                );
            }
            for job in &pruned.jobs {
                self.forget(job).await;
            }
            if pruned.clock_unconfirmed {
                wake_in = Some(AGAIN);
            }
            if !pruned.more {
                break;
            }
            if chunk == CHUNKS {
                wake_in = Some(GO_ON);
            }
        }
        if jobs > 0 {
            st_log::info!(logger: LOG, keys, "Deleted {jobs} old jobs");
        }
        let mut counts = vec![("deleted", jobs), ("keys", keys)];
        if forgotten > 0 {
            counts.push(("forgotten", forgotten));
        }
        if wake_in.is_none() {
            let logs = self.sweep_logs(cycle).await;
            if logs > 0 {
                st_log::info!(logger: LOG, "Removed {logs} kept logs without a job");
                counts.push(("logs", logs));
            }
        }
        Ok(RunSummary { counts, wake_in })
    }
}
