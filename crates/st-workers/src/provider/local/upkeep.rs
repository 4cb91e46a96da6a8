//! What is left of attempts: processes without a runner, and folders without a job.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use st_store::{Clock, JobId, Marker, ProviderStatus, SystemClock};
use tokio::time::{Instant, sleep};

use super::attempt::{self, Attempt, ExitFile, RunnerFile, State};
use super::waits::Waits;
use super::{LOG, Local, devices, members, trouble};
use crate::files::blocking;
use crate::provider::QueryError;

/// How long the processes of a dead runner may take to end after they were killed.
const END_WAIT: Duration = Duration::from_secs(2);
const SEARCH_AGAIN: Duration = Duration::from_millis(10);
/// How often the processes of all attempts are searched for without a reason.
const SEARCH_EVERY: Duration = Duration::from_mins(10);
/// How many more times they are searched for after a runner has died.
const SEARCHES: u32 = 2;
/// How often the folders are checked for jobs that are not known any more.
const CHECK_EVERY: Duration = Duration::from_mins(10);
/// How many jobs are checked at a time.
const CHECKED: usize = 100;
/// A folder that was changed within this time may be that of a job which is just being stored.
const MIN_AGE_SECONDS: i64 = 24 * 60 * 60;

/// When what was last done.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    /// Guards when what was last done.
    state: Mutex<Due>,
}

#[derive(Debug, Default)]
struct Due {
    searched_at: Option<Instant>,
    /// Searches that are due for a reason.
    searches: u32,
    checked_at: Option<Instant>,
    /// The last job of the check before; the next check begins behind it.
    after: Option<JobId>,
    waits: Waits,
}

impl Upkeep {
    fn with<T>(&self, change: impl FnOnce(&mut Due) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A runner died: what it should have ended may be anywhere.
    fn runner_died(&self) {
        self.with(|due| due.searches = SEARCHES);
    }

    fn begin_search(&self) -> bool {
        let now = Instant::now();
        self.with(|due| {
            let rested = due.searched_at.is_none_or(|at| now.duration_since(at) >= SEARCH_EVERY);
            let begins = rested || due.searches > 0;
            if begins {
                due.searched_at = Some(now);
                due.searches = due.searches.saturating_sub(1);
            }
            begins
        })
    }

    fn begin_check(&self) -> bool {
        let now = Instant::now();
        self.with(|due| {
            let rested = due.checked_at.is_none_or(|at| now.duration_since(at) >= CHECK_EVERY);
            if rested {
                due.checked_at = Some(now);
            }
            rested
        })
    }
}

impl Local {
    /// What is known of an attempt; `None` when it did not begin. When its runner is dead, the rest
    /// of its processes is ended first.
    pub(super) async fn status(
        &self,
        attempt: &Attempt,
    ) -> Result<Option<ProviderStatus>, QueryError> {
        let mine = attempt.clone();
        let state = blocking(move || mine.state()).await.map_err(trouble)?;
        self.report_wait(attempt, &state);
        let exit = match state {
            State::Unbegun => return Ok(None),
            State::Running(runner) => return Ok(Some(attempt.running(&runner))),
            State::Lost(runner) => self.end_lost(attempt, runner).await?,
            State::Ended(exit) => exit,
        };
        let mine = attempt.clone();
        blocking(move || mine.ended(&exit)).await.map(Some).map_err(trouble)
    }

    /// A job that waits for a card for long may wait for one that nothing will free.
    fn report_wait(&self, attempt: &Attempt, state: &State) {
        let (marker, now) = (attempt.marker(), Instant::now());
        let waits = matches!(state, State::Running(runner) if runner.waits);
        let waited = self.upkeep.with(|due| {
            if waits {
                return due.waits.waiting(marker, now);
            }
            due.waits.over(marker);
            None
        });
        if let Some(waited) = waited {
            st_log::warning!(
                logger: LOG, provider_job_id = marker.to_string(), waited_seconds = waited.as_secs(),
                "Job has been waiting for graphics cards for long"
            );
        }
    }

    /// Writes down the end of attempts that had a card last and whose runners died, so that their
    /// cards become free. No one may ask about such an attempt any more, when its job was resolved.
    pub(super) async fn free_cards(&self) {
        let root = self.config.dir.clone();
        let holders = match blocking(move || devices::last_holders(&root)).await {
            Ok(holders) => holders,
            Err(error) => {
                st_log::debug!(logger: LOG, error, "Last holders of graphics cards cannot be read");
                return;
            }
        };
        for attempt in holders {
            if let Err(error) = self.status(&attempt).await {
                st_log::debug!(
                    logger: LOG, error, provider_job_id = attempt.marker().to_string(),
                    "Last holder of a graphics card cannot be read or ended"
                );
            }
        }
    }

    /// Ends what a dead runner left, and writes down that it died.
    async fn end_lost(
        &self,
        attempt: &Attempt,
        runner: RunnerFile,
    ) -> Result<ExitFile, QueryError> {
        self.upkeep.runner_died();
        let deadline = Instant::now() + END_WAIT;
        let (mut found, mut empty) = (0, 0);
        // A process may have been born behind the back of one search, but not of two.
        while empty < 2 {
            let (mine, of, root) = (attempt.clone(), runner.clone(), self.config.dir.clone());
            let kill = move || members::kill_left(mine.marker(), &attempt::instance(&root)?, &of);
            let left = blocking(kill).await.map_err(trouble)?;
            found = found.max(left);
            empty = if left == 0 { empty + 1 } else { 0 };
            if left > 0 && Instant::now() >= deadline {
                return Err(QueryError::trouble("the job's processes do not end"));
            }
            if left > 0 {
                sleep(SEARCH_AGAIN).await;
            }
        }
        if found > 0 {
            st_log::warning!(
                logger: LOG, provider_job_id = attempt.marker().to_string(), processes = found,
                "Runner of the job died, its processes were ended"
            );
        }
        let mine = attempt.clone();
        blocking(move || record_lost(&mine)).await.map_err(trouble)
    }

    /// Ends processes of attempts whose runners are gone, whatever the store says of their jobs.
    /// They are searched for when there is a reason, and now and then without one.
    pub(super) async fn end_strays(&self) {
        if !self.upkeep.begin_search() {
            return;
        }
        let root = self.config.dir.clone();
        match blocking(move || end_strays(&root)).await {
            Ok(ended) => {
                for (marker, processes) in ended {
                    self.upkeep.runner_died();
                    st_log::warning!(
                        logger: LOG, provider_job_id = marker.to_string(), processes,
                        "Processes had outlived their job and were ended"
                    );
                }
            }
            Err(error) => st_log::debug!(
                logger: LOG, error, "Processes that outlived their jobs could not be searched for"
            ),
        }
    }

    /// Some jobs with folders that are old enough to be removed, in turn.
    pub(super) async fn old_jobs(&self) -> Vec<JobId> {
        if !self.upkeep.begin_check() {
            return Vec::new();
        }
        let after = self.upkeep.with(|due| due.after);
        let root = self.config.dir.clone();
        match blocking(move || old_jobs(&root, after)).await {
            Ok(jobs) => {
                let is_whole = jobs.len() < CHECKED;
                let last = jobs.last().copied().filter(|_| !is_whole);
                self.upkeep.with(|due| due.after = last);
                jobs
            }
            Err(error) => {
                st_log::debug!(logger: LOG, error, "Folders of jobs could not be listed");
                Vec::new()
            }
        }
    }

    pub(super) async fn remove(&self, job: JobId) -> Result<(), QueryError> {
        let (root, work) = (self.config.dir.clone(), self.config.work_dir.clone());
        for marker in blocking(move || attempt::list(&root, job)).await.map_err(trouble)? {
            let attempt = Attempt::of(&self.config.dir, marker);
            // Whatever its runner left must not write there any more.
            self.status(&attempt).await?;
            let work = work.join(marker.to_string());
            blocking(move || remove(&attempt, &work)).await.map_err(trouble)?;
        }
        Ok(())
    }
}

/// That a job was to be cancelled is what became of it, also when its runner died.
fn record_lost(attempt: &Attempt) -> io::Result<ExitFile> {
    let Some(_lock) = attempt.lock()? else { return Err(busy()) };
    if let State::Ended(exit) = attempt.state()? {
        return Ok(exit);
    }
    let exit = ExitFile {
        code: None,
        signal: None,
        error: None,
        cancelled: attempt.is_cancelled()?,
        timed_out: false,
        lost: true,
        finished_at: SystemClock.wall(),
    };
    attempt.write_exit(&exit)?;
    Ok(exit)
}

fn busy() -> io::Error {
    io::Error::new(ErrorKind::ResourceBusy, "the attempt is in use")
}

fn end_strays(root: &Path) -> io::Result<Vec<(Marker, usize)>> {
    if !root.try_exists()? {
        return Ok(Vec::new());
    }
    let mut ended = Vec::new();
    for (marker, processes) in members::by_attempt(&attempt::instance(root)?)? {
        if !Attempt::of(root, marker).has_runner()? {
            members::kill(&processes);
            ended.push((marker, processes.len()));
        }
    }
    Ok(ended)
}

fn old_jobs(root: &Path, after: Option<JobId>) -> io::Result<Vec<JobId>> {
    let mut jobs = Vec::new();
    for marker in attempt::all(root)? {
        if after.is_some_and(|after| marker.job <= after) || jobs.last() == Some(&marker.job) {
            continue;
        }
        let attempt = Attempt::of(root, marker);
        if is_old(attempt.dir())? && !attempt.has_runner()? {
            jobs.push(marker.job);
        }
        if jobs.len() >= CHECKED {
            break;
        }
    }
    Ok(jobs)
}

fn is_old(dir: &Path) -> io::Result<bool> {
    match fs::metadata(dir) {
        Ok(folder) => Ok(SystemClock.wall().as_second() - folder.mtime() >= MIN_AGE_SECONDS),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes the folders of an attempt that is not running. Its own files go last: as long as they are
/// there, it is known what else to remove.
fn remove(attempt: &Attempt, work: &Path) -> io::Result<()> {
    if !attempt.dir().try_exists()? {
        return Ok(());
    }
    let Some(_lock) = attempt.lock()? else { return Err(busy()) };
    // A runner that was started and is late must not begin in between.
    attempt.make_void()?;
    for folder in [PathBuf::from(work), attempt.dir().to_owned()] {
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}
