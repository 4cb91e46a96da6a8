//! Jobs on this machine: a command that the configuration names, as a process of its own.
//!
//! Each attempt has a folder, named after its marker, and a runner: a small process of this program
//! that holds the folder's lock, runs the command and writes down how it ended. The runner outlives
//! the server; a server that starts again finds it by its process ID and start time. Whatever is
//! repeated, the lock lets an attempt run once.
//!
//! Nothing of a request reaches a shell or an argument: it names one of the configured commands, and
//! the command reads its input from a file.

mod attempt;
pub mod example;
mod process;
mod runner;

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use st_log::{Logger, get_logger};
use st_store::{
    AtMostOnce, JobId, JobStatus, JobType, Marker, ProviderJobId, ProviderName, ProviderSettings,
    ProviderStatus,
};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::provider::{Account, FoundJob, Provider, ProviderError, RemoteJob, Submission};
use attempt::{Attempt, CommandFile};
pub use runner::run_attempt;

const LOG: Logger = get_logger("simpletuner.cloud.local");

/// How long a runner may take to say that it runs.
const RUNNER_START: Duration = Duration::from_secs(5);
/// How long a cancellation waits for the end; the poller sees a later one.
const CANCEL_WAIT: Duration = Duration::from_secs(1);
/// How often a folder is read meanwhile.
const READ_EVERY: Duration = Duration::from_millis(10);
/// Of what a job printed, the last so many bytes.
const LOG_TAIL: u64 = 64 * 1024;

/// What jobs on this machine may run, and where they live.
#[derive(Debug, Clone)]
pub struct LocalConfig {
    /// The folder with a folder for each attempt.
    pub dir: PathBuf,
    /// The commands, by the name that a job uses.
    pub commands: BTreeMap<String, LocalCommand>,
    /// How a runner is started; the attempt's folder becomes its last argument.
    pub runner: RunnerCommand,
}

/// A command that a job may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalCommand {
    /// The program.
    pub program: PathBuf,
    /// All its arguments.
    pub args: Vec<String>,
    /// Added to its environment.
    pub env: BTreeMap<String, String>,
}

/// A program that calls [`run_attempt`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerCommand {
    /// The program.
    pub program: PathBuf,
    /// Arguments before the folder.
    pub args: Vec<String>,
}

/// The provider `local`.
#[derive(Debug)]
pub struct Local {
    name: ProviderName,
    config: LocalConfig,
    /// Counts the runners that ended.
    ended: watch::Sender<u64>,
}

impl Local {
    /// The provider. Its folder is made when the first job comes.
    pub fn new(mut config: LocalConfig) -> Self {
        // A command has a working directory of its own: paths must be valid there too.
        if let Ok(dir) = std::path::absolute(&config.dir) {
            config.dir = dir;
        }
        Self { name: ProviderName::new("local"), config, ended: watch::Sender::new(0) }
    }

    /// The command that a job's input names.
    fn command(&self, input: &Value) -> Result<&LocalCommand, String> {
        let named = input.pointer("/config/command");
        let name = match named {
            None | Some(Value::Null) => "example",
            Some(Value::String(name)) => name,
            Some(_) => return Err("command must be text".to_owned()),
        };
        self.config.commands.get(name).ok_or_else(|| {
            let legal: Vec<&str> = self.config.commands.keys().map(String::as_str).collect();
            let legal = legal.join(", ");
            format!("command {name:?} is not configured on this server; there are {legal}")
        })
    }

    fn attempt(&self, marker: &str) -> Result<Attempt, ProviderError> {
        Attempt::named(&self.config.dir, marker).ok_or(ProviderError::NotFound)
    }

    async fn job_status(&self, job: &RemoteJob) -> Result<ProviderStatus, ProviderError> {
        let attempt = self.attempt(job.provider_job_id.as_str())?;
        blocking(move || attempt.status()).await?.ok_or(ProviderError::NotFound)
    }

    /// Starts a runner and sees to it that it does not stay as a zombie.
    fn start_runner(&self, attempt: &Attempt) -> Result<(), ProviderError> {
        let runner = &self.config.runner;
        let output = attempt.output().map_err(|error| transient("open the job's log", error))?;
        let errors = output.try_clone().map_err(|error| transient("open the job's log", error))?;
        let mut command = Command::new(&runner.program);
        without_secrets(&mut command);
        let mut child = command
            .args(&runner.args)
            .arg(attempt.dir())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .kill_on_drop(false)
            .spawn()
            .map_err(|error| not_started(&runner.program, error))?;
        let ended = self.ended.clone();
        drop(st_log::spawn(async move {
            if let Err(error) = child.wait().await {
                st_log::debug!(
                    logger: LOG, error, "Runner cannot be awaited"
                );
            }
            ended.send_modify(|ended| *ended += 1);
        }));
        Ok(())
    }
}

/// The server's settings and secrets are neither the runner's nor the job's.
fn without_secrets(command: &mut Command) {
    for (name, _value) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("SIMPLETUNER_") || text.starts_with("REPLICATE_") {
            command.env_remove(&name);
        }
    }
}

/// Does file work where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, ProviderError> {
    match st_log::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| transient("read or write the job's folder", error)),
        Err(stopped) => Err(transient("do file work", io::Error::other(stopped))),
    }
}

/// Trouble with the program itself does not pass; a lack of memory or of processes may.
fn not_started(program: &Path, error: io::Error) -> ProviderError {
    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) {
        let message = format!("cannot run {}: {error}", program.display());
        return ProviderError::Permanent { message };
    }
    transient("start a runner", error)
}

fn unknown(source: Option<Box<dyn StdError + Send + Sync>>) -> ProviderError {
    ProviderError::UnknownOutcome {
        message: "the runner did not say that it runs".to_owned(),
        may_arrive_for: RUNNER_START,
        source,
    }
}

fn transient(what: &str, error: io::Error) -> ProviderError {
    ProviderError::Transient {
        message: format!("cannot {what}"),
        retry_after: None,
        source: Some(Box::new(error)),
    }
}

#[async_trait]
impl Provider for Local {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    fn job_type(&self) -> JobType {
        JobType::Local
    }

    fn guarantee(&self) -> AtMostOnce {
        AtMostOnce::ChosenName
    }

    /// The lock of an attempt proves its absence immediately.
    fn may_arrive_for(&self) -> Duration {
        Duration::ZERO
    }

    fn check(&self, input: &Value, _settings: &ProviderSettings) -> Result<(), String> {
        self.command(input).map(drop)
    }

    async fn submit(&self, submission: &Submission) -> Result<ProviderStatus, ProviderError> {
        let command = self
            .command(&submission.input)
            .map_err(|message| ProviderError::Permanent { message })?;
        let command = CommandFile {
            program: command.program.clone(),
            args: command.args.clone(),
            env: command.env.clone(),
            job_id: submission.marker.job.to_string(),
            correlation_id: st_log::get_correlation_id().to_string(),
        };
        let attempt = self.attempt(&submission.marker.to_string())?;
        let (mine, input) = (attempt.clone(), submission.input.to_string());
        blocking(move || mine.prepare(&input, &command)).await?;
        // From here on the runner may run, whatever is seen of it.
        self.start_runner(&attempt)?;
        let deadline = Instant::now() + RUNNER_START;
        let mut ticks = ticks();
        while Instant::now() < deadline {
            ticks.tick().await;
            let mine = attempt.clone();
            match blocking(move || mine.status()).await {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => {}
                Err(error) => return Err(unknown(Some(Box::new(error)))),
            }
        }
        Err(unknown(None))
    }

    async fn statuses(&self, jobs: &[RemoteJob]) -> Vec<Result<ProviderStatus, ProviderError>> {
        let mut statuses = Vec::with_capacity(jobs.len());
        for job in jobs {
            statuses.push(self.job_status(job).await);
        }
        statuses
    }

    async fn cancel(&self, job: &RemoteJob) -> Result<ProviderStatus, ProviderError> {
        let attempt = self.attempt(job.provider_job_id.as_str())?;
        let mine = attempt.clone();
        blocking(move || mine.request_end()).await?;
        let deadline = Instant::now() + CANCEL_WAIT;
        let mut ticks = ticks();
        loop {
            ticks.tick().await;
            let status = self.job_status(job).await?;
            let over = status.status.is_some_and(JobStatus::is_terminal);
            if over || Instant::now() >= deadline {
                return Ok(status);
            }
        }
    }

    async fn logs(&self, job: &RemoteJob) -> Result<String, ProviderError> {
        let attempt = self.attempt(job.provider_job_id.as_str())?;
        blocking(move || attempt.tail(LOG_TAIL)).await?.ok_or(ProviderError::NotFound)
    }

    /// Attempts that did not begin are made void, so that their absence stays true.
    async fn find_by_marker(
        &self,
        job: JobId,
        attempt: Option<u32>,
        _since: Timestamp,
    ) -> Result<Vec<FoundJob>, ProviderError> {
        let root = self.config.dir.clone();
        blocking(move || {
            let markers = match attempt {
                Some(attempt) => vec![Marker { job, attempt }],
                None => attempt::list(&root, job)?,
            };
            let mut found = Vec::new();
            for marker in markers {
                let attempt = Attempt::named(&root, &marker.to_string());
                let status = attempt.map_or(Ok(None), |attempt| attempt.status_or_void())?;
                found.extend(status.map(|status| FoundJob { marker, status }));
            }
            Ok(found)
        })
        .await
    }

    /// The end of every runner that this process started.
    fn changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.ended.subscribe())
    }

    async fn validate(&self) -> Result<Account, ProviderError> {
        if self.config.commands.is_empty() {
            return Err(ProviderError::Permanent {
                message: "no command is configured".to_owned(),
            });
        }
        Ok(Account { username: "local".to_owned() })
    }
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = interval(READ_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// The status of an attempt.
fn status_of(marker: &str, status: JobStatus) -> ProviderStatus {
    ProviderStatus::new(ProviderJobId::new(marker), status)
}
