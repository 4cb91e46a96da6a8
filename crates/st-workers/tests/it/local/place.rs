//! A folder for the attempts at one job, a provider on it, and ways to wait for what happens there.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use futures_util::StreamExt;
use jiff::Timestamp;
use rustix::process::Pid;
use serde_json::{Value, json};
use st_log::CorrelationId;
use st_store::{AccountId, JobId, Marker, ProviderJobId, ProviderSettings, ProviderStatus};
use st_workers::provider::local::{
    FILE_BYTES, GRACE, Limits, Local, LocalCommand, LocalConfig, RunnerCommand,
};
use st_workers::provider::{Provider, QueryError, RemoteJob, Submission};
use tempfile::TempDir;
use tokio::process::Command;

/// Makes this program the runner of the folder that follows.
const RUNNER: [&str; 3] = ["--exact", "local::runner_process", "--nocapture"];

/// Folders for attempts, and one job.
pub(crate) struct Place {
    /// For the provider's files.
    pub(crate) root: PathBuf,
    /// For the commands.
    pub(crate) work: PathBuf,
    pub(super) marker: Marker,
    _root: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let random = fastrand::u128(..).to_le_bytes()[..10].try_into().unwrap();
        let job = JobId::new(Timestamp::UNIX_EPOCH, random);
        let root = tempfile::tempdir().unwrap();
        let marker = Marker { job, attempt: 1 };
        let (own, work) = (root.path().join("local"), root.path().join("work"));
        fs::create_dir(&own).unwrap();
        Self { root: own, work, marker, _root: root }
    }

    /// The provider with this script as the command `job`.
    pub(super) fn running(&self, script: &str) -> Local {
        Local::new(self.config(script))
    }

    pub(crate) fn config(&self, script: &str) -> LocalConfig {
        let args = vec!["-c".to_owned(), script.to_owned()];
        let command = LocalCommand {
            program: "/bin/sh".into(),
            args,
            env: BTreeMap::new(),
            devices: 0,
            is_example: false,
        };
        LocalConfig {
            machine: AccountId::new("machine:test", None, None),
            dir: self.root.clone(),
            work_dir: self.work.clone(),
            grace: GRACE,
            pass_env: Vec::new(),
            devices: Vec::new(),
            limits: Limits::default(),
            log_bytes: FILE_BYTES,
            commands: BTreeMap::from([("job".to_owned(), command)]),
            runner: RunnerCommand {
                program: std::env::current_exe().unwrap(),
                args: RUNNER.map(str::to_owned).to_vec(),
            },
        }
    }

    pub(super) fn dir(&self) -> PathBuf {
        self.root.join(self.marker.to_string())
    }

    /// A file of the provider's.
    pub(super) fn own(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// A file in the command's folder.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.work.join(self.marker.to_string()).join("output").join(name)
    }

    pub(super) fn submission(&self) -> Submission {
        Submission {
            marker: self.marker,
            account: None,
            input: json!({"config": {"command": "job", "rank": 16}}),
            hardware_type: None,
            settings: ProviderSettings::default(),
        }
    }

    pub(super) fn known(&self) -> RemoteJob {
        known(self.marker.job, &self.marker.to_string())
    }

    /// The job's last report, once it has ended.
    pub(super) async fn end(&self, local: &Local) -> ProviderStatus {
        let job = self.known();
        // A process that is being killed lets go of its lock before it is gone: for that moment the
        // folder looks like a copy, and the job cannot be read.
        let ended = async || {
            let report = status_of(local, &job).await.ok()?;
            report.status.unwrap().is_terminal().then_some(report)
        };
        eventually("the job ends", ended).await
    }

    /// Submits and waits for the end.
    pub(super) async fn run(&self, script: &str) -> ProviderStatus {
        let local = self.running(script);
        local.submit(&self.submission()).await.unwrap();
        self.end(&local).await
    }

    /// Runs the script for as long as a moment of the time limit that its runner reads.
    pub(super) async fn run_for(&self, script: &str) -> ProviderStatus {
        let local = self.running(script);
        let mut unstarted = self.config(script);
        unstarted.runner = RunnerCommand { program: "/bin/true".into(), args: Vec::new() };
        let (unstarted, submission) = (Local::new(unstarted), self.submission());
        let written = async || self.own("command.json").exists().then_some(());
        // Without a runner the submission only writes down what is to run.
        tokio::select! {
            never = unstarted.submit(&submission) => panic!("{never:?}"),
            () = eventually("it is written down what is to run", written) => {}
        }
        let mut command = self.command_record();
        command["time_limit"] = json!({"secs": 0, "nanos": 300_000_000});
        fs::write(self.own("command.json"), command.to_string()).unwrap();
        assert!(run_again(self.dir()).await);
        self.end(&local).await
    }

    fn command_record(&self) -> Value {
        serde_json::from_slice(&fs::read(self.own("command.json")).unwrap()).unwrap()
    }

    pub(super) fn runner_record(&self) -> Value {
        serde_json::from_slice(&fs::read(self.own("runner.json")).unwrap()).unwrap()
    }

    /// The runner's process.
    pub(super) fn runner(&self) -> Pid {
        let pid = self.runner_record()["process"]["pid"].as_i64().unwrap();
        Pid::from_raw(pid.try_into().unwrap()).unwrap()
    }

    /// The ID of a process, once the command has written it down.
    pub(super) async fn pid(&self, name: &str) -> i32 {
        let read = async || fs::read_to_string(self.file(name)).ok()?.trim().parse().ok();
        eventually("the command writes its process ID down", read).await
    }
}

/// What one more runner comes to.
pub(super) async fn run_again(dir: PathBuf) -> bool {
    let program = std::env::current_exe().unwrap();
    let ended = Command::new(program).args(RUNNER).arg(dir).stdout(Stdio::null()).status();
    ended.await.unwrap().success()
}

pub(super) fn known(id: JobId, provider_job_id: &str) -> RemoteJob {
    RemoteJob {
        id,
        provider_job_id: ProviderJobId::new(provider_job_id),
        account: None,
        correlation_id: CorrelationId::parse("of-ann").unwrap(),
        age: Duration::ZERO,
        hardware_type: None,
    }
}

pub(super) async fn status_of(
    local: &Local,
    job: &RemoteJob,
) -> Result<ProviderStatus, QueryError> {
    local.statuses(std::slice::from_ref(job)).next().await.unwrap().1
}

/// Checks until it is so.
pub(super) async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let found = async {
        loop {
            ticks.tick().await;
            if let Some(found) = check().await {
                return found;
            }
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(20), found).await;
    found.unwrap_or_else(|_elapsed| panic!("it never came to it that {what}"))
}

/// Waits until a process has ended; nobody may have asked it for its status yet.
pub(super) async fn gone(pid: i32) {
    let ended = async || match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.contains(") Z ").then_some(()),
        Err(_gone) => Some(()),
    };
    eventually("the process ends", ended).await;
}
