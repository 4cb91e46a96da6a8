//! Jobs on this machine: a command that the configuration names, as a process of its own.
//!
//! Each attempt has a folder, named after its marker, and a runner: a small process of this program
//! that holds the folder's lock, runs the command and writes down how it ended. The runner outlives
//! the server; a server that starts again finds it by that lock. Whatever is repeated, the lock lets
//! an attempt run once.
//!
//! An attempt is over when none of its processes is left. While the runner lives, all of them descend
//! from it (`runner`). When it dies, the next status ends the rest (`upkeep`, `members`).
//!
//! Nothing of a request reaches a shell or an argument: it names one of the configured commands, and
//! the command reads its input from a file.

mod attempt;
mod cgroup;
mod command;
mod devices;
mod environment;
pub mod example;
mod limits;
mod machine;
mod members;
mod output;
mod process;
mod runner;
mod upkeep;
mod waits;

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use serde_json::Value;
use st_log::{Logger, get_logger};
use st_store::{
    AccountId, AtMostOnce, JobId, JobStatus, JobType, Marker, ProviderJobId, ProviderName,
    ProviderSettings, ProviderStatus,
};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::files::blocking;
use crate::provider::{
    Account, Arrivals, Cause, DeviceUse, FoundJob, JobLookup, PolledJob, Provider, QueryError,
    RemoteJob, Submission, SubmitError, Unavailable,
};
use attempt::{Attempt, CommandFile};
use devices::Wanted;
pub use devices::{DeviceName, InvalidDevice};
pub use environment::{InvalidVariable, PassedVariables};
pub use limits::Limits;
pub use machine::machine;
pub use output::FILE_BYTES;
pub use runner::run_attempt;
use upkeep::Upkeep;

const LOG: Logger = get_logger("simpletuner.cloud.local");

/// The usual time for the processes of a job to end after they were asked to.
pub const GRACE: Duration = Duration::from_secs(10);

/// How long a runner may take to say that it runs.
const RUNNER_START: Duration = Duration::from_secs(5);
/// How long a cancellation waits for the end; the poller sees a later one.
const CANCEL_WAIT: Duration = Duration::from_secs(1);
/// How often a folder is read meanwhile.
const READ_EVERY: Duration = Duration::from_millis(10);
/// How many folders are read at the same time.
const PARALLEL: usize = 4;
/// This many bytes of what a job printed are kept, the last ones.
const LOG_TAIL: u64 = 64 * 1024;

/// What jobs on this machine may run, and where they live.
#[derive(Debug, Clone)]
pub struct LocalConfig {
    /// Which machine this is, see [`machine`]. Jobs of another one are left alone.
    pub machine: AccountId,
    /// The folder with a folder for each attempt, for the provider's own files and what jobs print.
    pub dir: PathBuf,
    /// The same for the commands: a job's input, and the folder that it may write to.
    pub work_dir: PathBuf,
    /// How long the processes of a job have to end after they were asked to; then they are killed.
    pub grace: Duration,
    /// The commands, by the name that a job uses.
    pub commands: BTreeMap<String, LocalCommand>,
    /// The variables of this process's environment that jobs get beside the usual ones.
    pub pass_env: Vec<PassedVariables>,
    /// The graphics cards that are shared out among the jobs; where there are none, they are not
    /// managed, and each job sees what the server sees.
    pub devices: Vec<DeviceName>,
    /// What each process of a job may use.
    pub limits: Limits,
    /// The size in bytes at which the file that a job prints to is replaced by a new one. Two of them
    /// are kept.
    pub log_bytes: u64,
    /// How a runner is started; the attempt's folder becomes its last argument.
    pub runner: RunnerCommand,
}

/// A command that a job may name.
#[derive(Clone, PartialEq, Eq)]
pub struct LocalCommand {
    /// The program.
    pub program: PathBuf,
    /// All its arguments.
    pub args: Vec<String>,
    /// Added to its environment.
    pub env: BTreeMap<String, String>,
    /// How many of the [devices](LocalConfig::devices) it gets.
    pub devices: usize,
    /// It is the [`example`], whose input is checked before it is queued.
    pub is_example: bool,
}

impl fmt::Debug for LocalCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalCommand")
            .field("program", &self.program)
            // Arguments and values of variables may be secrets.
            .field("args", &self.args.len())
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("devices", &self.devices)
            .finish_non_exhaustive()
    }
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
    upkeep: Upkeep,
}

impl Local {
    /// The provider. Its folder is made when the first job comes.
    pub fn new(mut config: LocalConfig) -> Self {
        // A command has a working directory of its own: paths must be valid there too.
        for dir in [&mut config.dir, &mut config.work_dir] {
            if let Ok(absolute) = std::path::absolute(&dir) {
                *dir = absolute;
            }
        }
        Self {
            name: ProviderName::new("local"),
            config,
            ended: watch::Sender::new(0),
            upkeep: Upkeep::default(),
        }
    }

    /// The command that a job's input names; what is wrong with it fits behind a colon.
    fn command(&self, input: &Value) -> Result<&LocalCommand, UnusableCommand> {
        let legal: Vec<&str> = self.config.commands.keys().map(String::as_str).collect();
        let legal = legal.join(", ");
        let name = match input.pointer("/config/command") {
            Some(Value::String(name)) => name,
            None | Some(Value::Null) => {
                let missing = format!("\"command\" is required, one of: {legal}");
                return Err(UnusableCommand::Named(missing));
            }
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                let wrong = format!("\"command\" must be text, one of: {legal}");
                return Err(UnusableCommand::Named(wrong));
            }
        };
        self.config.commands.get(name).ok_or_else(|| {
            UnusableCommand::NotConfigured(format!(
                "command {name:?} is not configured on this server; there are {legal}"
            ))
        })
    }

    /// What the runner has to know.
    fn command_file(&self, command: &LocalCommand, submission: &Submission) -> CommandFile {
        let of = self.config.devices.clone();
        let minutes = submission.settings.max_runtime_minutes;
        CommandFile {
            program: command.program.clone(),
            args: command.args.clone(),
            env: command.env.clone(),
            job_id: submission.marker.job.to_string(),
            correlation_id: st_log::get_correlation_id().to_string(),
            work: self.config.work_dir.join(submission.marker.to_string()),
            grace: self.config.grace,
            time_limit: minutes.map(|minutes| Duration::from_mins(minutes.into())),
            devices: (!of.is_empty()).then_some(Wanted { count: command.devices, of }),
            limits: self.config.limits,
            log_bytes: self.config.log_bytes,
        }
    }

    fn attempt(&self, job: &RemoteJob) -> Result<Attempt, QueryError> {
        let named = Attempt::named(&self.config.dir, job.provider_job_id.as_str());
        named.ok_or(QueryError::NotFound)
    }

    async fn job_status(&self, job: &RemoteJob) -> Result<ProviderStatus, QueryError> {
        let attempt = self.attempt(job)?;
        self.status(&attempt).await?.ok_or(QueryError::NotFound)
    }

    /// Starts a runner and sees to it that it does not stay as a zombie.
    fn start_runner(&self, attempt: &Attempt) -> Result<(), SubmitError> {
        let runner = &self.config.runner;
        let errors = attempt.errors().map_err(|error| not_begun("open the runner's log", error))?;
        let mut command = Command::new(&runner.program);
        environment::restrict(&mut command, &self.config.pass_env);
        let mut child = command
            .args(&runner.args)
            .arg(attempt.dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
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

/// Why a job's command cannot be run.
enum UnusableCommand {
    /// The job names none.
    Named(String),
    /// The configuration lacks it.
    NotConfigured(String),
}

/// A question about an attempt that its folder does not answer.
fn trouble(error: io::Error) -> QueryError {
    unavailable(Cause::Trouble, "read or write the job's folder", error).into()
}

/// Passing trouble before a runner was started.
fn not_begun(what: &str, error: io::Error) -> SubmitError {
    unavailable(Cause::Unreachable, what, error).into()
}

fn unavailable(cause: Cause, what: &str, error: io::Error) -> Unavailable {
    let source: Option<Box<dyn StdError + Send + Sync>> = Some(Box::new(error));
    Unavailable { source, ..Unavailable::new(cause, format!("local cannot {what}")) }
}

/// Trouble with the program itself does not pass; a lack of memory or of processes may.
fn not_started(program: &Path, error: io::Error) -> SubmitError {
    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) {
        let reason = format!("local cannot run {}: {error}", program.display());
        return SubmitError::MissingSetting { reason };
    }
    not_begun("start a runner", error)
}

fn unknown(source: Option<QueryError>) -> SubmitError {
    SubmitError::Unknown {
        reason: "the runner of local did not say that it runs".to_owned(),
        may_arrive_for: RUNNER_START,
        source: source.map(Into::into),
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

    /// The folder knows: an attempt that is not there is made void.
    fn arrivals(&self) -> Arrivals<'_> {
        Arrivals::LookedUp(self)
    }

    /// Jobs of another machine are not asked about here, where nothing is known of them.
    fn account(&self) -> Option<AccountId> {
        Some(self.config.machine.clone())
    }

    fn check(&self, input: &Value, _settings: &ProviderSettings) -> Result<(), String> {
        match self.command(input) {
            Ok(command) if command.is_example => example::check(input),
            Ok(_) => Ok(()),
            Err(UnusableCommand::Named(fault) | UnusableCommand::NotConfigured(fault)) => {
                Err(fault)
            }
        }
    }

    async fn submit(&self, submission: &Submission) -> Result<ProviderStatus, SubmitError> {
        let command = self.command(&submission.input).map_err(|fault| match fault {
            UnusableCommand::Named(fault) => {
                SubmitError::Rejected { reason: format!("local refused it: {fault}") }
            }
            UnusableCommand::NotConfigured(fault) => {
                SubmitError::MissingSetting { reason: format!("local cannot run it: {fault}") }
            }
        })?;
        let attempt = Attempt::of(&self.config.dir, submission.marker);
        let command = self.command_file(command, submission);
        let (mine, input) = (attempt.clone(), submission.input.to_string());
        blocking(move || mine.prepare(&input, &command))
            .await
            .map_err(|error| not_begun("write the job's folder", error))?;
        // From here on the runner may run, whatever is seen of it.
        self.start_runner(&attempt)?;
        let deadline = Instant::now() + RUNNER_START;
        let mut ticks = ticks();
        while Instant::now() < deadline {
            ticks.tick().await;
            match self.status(&attempt).await {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => {}
                Err(error) => return Err(unknown(Some(error))),
            }
        }
        Err(unknown(None))
    }

    fn statuses<'a>(&'a self, jobs: &'a [RemoteJob]) -> BoxStream<'a, PolledJob> {
        let read = stream::iter(jobs).map(async |job| (job.id, self.job_status(job).await));
        read.buffer_unordered(PARALLEL).boxed()
    }

    async fn cancel(&self, job: &RemoteJob) -> Result<ProviderStatus, QueryError> {
        let mine = self.attempt(job)?;
        blocking(move || mine.request_end()).await.map_err(trouble)?;
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

    async fn logs(&self, job: &RemoteJob) -> Result<String, QueryError> {
        let attempt = self.attempt(job)?;
        let read = move || match output::tail(attempt.dir(), LOG_TAIL)? {
            // A job that has printed nothing yet, or nothing at all, has an empty log.
            None if attempt.dir().is_dir() => Ok(Some(String::new())),
            tail => Ok(tail),
        };
        blocking(read).await.map_err(trouble)?.ok_or(QueryError::NotFound)
    }

    /// The end of every runner that this process started.
    fn changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.ended.subscribe())
    }

    async fn clean_up(&self) -> Vec<JobId> {
        self.end_strays().await;
        self.free_cards().await;
        self.old_jobs().await
    }

    async fn forget(&self, job: JobId) -> Result<(), QueryError> {
        self.remove(job).await
    }

    async fn devices(&self) -> Vec<DeviceUse> {
        let (root, names) = (self.config.dir.clone(), self.config.devices.clone());
        match blocking(move || devices::in_use(&root, &names)).await {
            Ok(devices) => devices,
            Err(error) => {
                st_log::warning!(logger: LOG, error, "Devices of jobs cannot be read");
                Vec::new()
            }
        }
    }

    async fn validate(&self) -> Result<Account, QueryError> {
        if self.config.commands.is_empty() {
            return Err(QueryError::trouble("no command is configured for local"));
        }
        Ok(Account { username: "local".to_owned() })
    }
}

#[async_trait]
impl JobLookup for Local {
    /// Attempts that did not begin are made void, so that their absence stays true.
    async fn find(&self, job: JobId, attempt: Option<u32>) -> Result<Vec<FoundJob>, QueryError> {
        let root = self.config.dir.clone();
        let markers = match attempt {
            Some(attempt) => vec![Marker { job, attempt }],
            None => blocking(move || attempt::list(&root, job)).await.map_err(trouble)?,
        };
        let mut found = Vec::new();
        for marker in markers {
            let attempt = Attempt::of(&self.config.dir, marker);
            let mine = attempt.clone();
            if blocking(move || mine.is_absent()).await.map_err(trouble)? {
                continue;
            }
            let status = self.status(&attempt).await?;
            found.extend(status.map(|status| FoundJob { marker, status }));
        }
        Ok(found)
    }
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = interval(READ_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// The status of an attempt.
fn status_of(marker: Marker, status: JobStatus) -> ProviderStatus {
    ProviderStatus::new(ProviderJobId::new(marker.to_string()), status)
}
