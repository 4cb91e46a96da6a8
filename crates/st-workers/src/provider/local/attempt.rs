//! The folder of one attempt, and what it says about the attempt.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use st_store::{JobId, JobStatus, Marker, ProviderStatus};

use super::process::ProcessId;
use super::status_of;

const INPUT: &str = "input.json";
const COMMAND: &str = "command.json";
const OUTPUT: &str = "output.log";
const LOCK: &str = "lock";
const RUNNER: &str = "runner.json";
const EXIT: &str = "exit.json";
const CANCEL: &str = "cancel";
const VOID: &str = "void";

/// Counts the files that this process began to write.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// What the runner is to run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct CommandFile {
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) job_id: String,
    pub(super) correlation_id: String,
}

/// The process that runs it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RunnerFile {
    pub(super) process: ProcessId,
    pub(super) started_at: Timestamp,
}

/// How it ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ExitFile {
    pub(super) code: Option<i32>,
    pub(super) signal: Option<i32>,
    /// Why it did not even start.
    pub(super) error: Option<String>,
    pub(super) finished_at: Timestamp,
}

/// One attempt.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    marker: String,
    dir: PathBuf,
}

impl Attempt {
    /// The attempt with this marker; `None` when that is no marker, so that no name can leave the
    /// folder.
    pub(super) fn named(root: &Path, marker: &str) -> Option<Self> {
        let canonical = marker.parse::<Marker>().ok()?.to_string();
        (canonical == marker).then(|| Self { dir: root.join(marker), marker: canonical })
    }

    /// The attempt in this folder.
    pub(super) fn of_dir(dir: &Path) -> Option<Self> {
        Self::named(dir.parent()?, dir.file_name()?.to_str()?)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn input(&self) -> PathBuf {
        self.dir.join(INPUT)
    }

    /// Writes down what is to run. Doing it again is harmless.
    pub(super) fn prepare(&self, input: &str, command: &CommandFile) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        self.write(INPUT, input.as_bytes())?;
        self.write(COMMAND, &serde_json::to_vec(command)?)
    }

    pub(super) fn command(&self) -> io::Result<Option<CommandFile>> {
        self.read(COMMAND)
    }

    /// The lock that only one runner can hold.
    pub(super) fn lock(&self) -> io::Result<File> {
        self.open(LOCK)
    }

    /// What the command prints goes here.
    pub(super) fn output(&self) -> io::Result<File> {
        self.open(OUTPUT)
    }

    fn open(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).mode(0o600).open(self.dir.join(name))
    }

    pub(super) fn write_runner(&self, runner: &RunnerFile) -> io::Result<()> {
        self.write(RUNNER, &serde_json::to_vec(runner)?)
    }

    pub(super) fn write_exit(&self, exit: &ExitFile) -> io::Result<()> {
        self.write(EXIT, &serde_json::to_vec(exit)?)
    }

    /// Whether a runner began it, whatever became of that runner.
    pub(super) fn has_begun(&self) -> io::Result<bool> {
        Ok(self.dir.join(RUNNER).try_exists()? || self.has_ended()?)
    }

    fn has_ended(&self) -> io::Result<bool> {
        self.dir.join(EXIT).try_exists()
    }

    /// Whether it must not begin any more.
    pub(super) fn is_void(&self) -> io::Result<bool> {
        self.dir.join(VOID).try_exists()
    }

    /// What is known of it; when no runner began it, none will: a runner that is started late finds
    /// that it is void. That is what makes its absence certain.
    pub(super) fn status_or_void(&self) -> io::Result<Option<ProviderStatus>> {
        if let Some(status) = self.status()? {
            return Ok(Some(status));
        }
        if !self.dir.try_exists()? {
            return Ok(None);
        }
        let lock = self.lock()?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(ErrorKind::ResourceBusy, "a runner is starting"));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if self.has_begun()? {
            return self.status();
        }
        self.write(VOID, b"")?;
        Ok(None)
    }

    pub(super) fn is_cancelled(&self) -> io::Result<bool> {
        self.dir.join(CANCEL).try_exists()
    }

    /// Records that it is to end, and signals the runner, if that is still the same process.
    pub(super) fn request_end(&self) -> io::Result<()> {
        if !self.dir.try_exists()? || self.has_ended()? {
            return Ok(());
        }
        self.write(CANCEL, b"")?;
        let Some(runner) = self.read::<RunnerFile>(RUNNER)? else { return Ok(()) };
        if runner.process.is_alive()?
            && let Some(pid) = Pid::from_raw(runner.process.pid)
        {
            match kill_process(pid, Signal::TERM) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// What is known of it; `None` when no runner ever ran.
    pub(super) fn status(&self) -> io::Result<Option<ProviderStatus>> {
        if let Some(exit) = self.read::<ExitFile>(EXIT)? {
            return self.ended(&exit).map(Some);
        }
        let Some(runner) = self.read::<RunnerFile>(RUNNER)? else { return Ok(None) };
        let mut status = status_of(&self.marker, JobStatus::Running);
        if !runner.process.is_alive()? {
            // It may have ended between the two reads.
            if let Some(exit) = self.read::<ExitFile>(EXIT)? {
                return self.ended(&exit).map(Some);
            }
            status.status = Some(JobStatus::Failed);
            let why = "the process is gone and left no record of its end";
            status.error_message = Some(why.to_owned());
        }
        status.started_at = Some(runner.started_at);
        Ok(Some(status))
    }

    fn ended(&self, exit: &ExitFile) -> io::Result<ProviderStatus> {
        let (ended, why) = match exit {
            ExitFile { error: Some(error), .. } => (JobStatus::Failed, Some(error.clone())),
            ExitFile { code: Some(0), .. } => (JobStatus::Completed, None),
            // However it ended after that was requested: by the signal, or in its own way.
            ExitFile { .. } if self.is_cancelled()? => (JobStatus::Cancelled, None),
            ExitFile { code: Some(code), .. } => {
                (JobStatus::Failed, Some(format!("exit status {code}")))
            }
            ExitFile { signal: Some(signal), .. } => {
                (JobStatus::Failed, Some(format!("ended by signal {signal}")))
            }
            ExitFile { code: None, signal: None, error: None, .. } => {
                (JobStatus::Failed, Some("it ended in an unknown way".to_owned()))
            }
        };
        let last_line = || -> Option<String> {
            let tail = self.tail(4096).ok().flatten()?;
            // A progress bar writes its lines over one another.
            let line = tail.rsplit(['\n', '\r']).find(|line| !line.trim().is_empty())?;
            Some(line.trim().chars().take(500).collect())
        };
        let mut status = status_of(&self.marker, ended);
        status.error_message = why.map(|why| match last_line() {
            Some(line) => format!("{why}: {line}"),
            None => why,
        });
        status.started_at = self.read::<RunnerFile>(RUNNER)?.map(|runner| runner.started_at);
        status.completed_at = Some(exit.finished_at);
        Ok(status)
    }

    /// The last `bytes` of what it printed; `None` when it never ran.
    pub(super) fn tail(&self, bytes: u64) -> io::Result<Option<String>> {
        let mut file = match File::open(self.dir.join(OUTPUT)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
        let mut tail = Vec::new();
        file.take(bytes).read_to_end(&mut tail)?;
        Ok(Some(String::from_utf8_lossy(&tail).into_owned()))
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        match fs::read(self.dir.join(name)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                io::Error::new(ErrorKind::InvalidData, format!("{name} is damaged: {error}"))
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whole or not at all, also when the machine stops in between.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        // Two concurrent writers must not remove each other's file.
        let nonce = WRITES.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.dir.join(format!(".{name}.{}.{nonce}", std::process::id()));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, self.dir.join(name))?;
        File::open(&self.dir)?.sync_all()
    }
}

/// The attempts at a job that have a folder, in order.
pub(super) fn list(root: &Path, job: JobId) -> io::Result<Vec<Marker>> {
    let folders = match fs::read_dir(root) {
        Ok(folders) => folders,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut markers = Vec::new();
    for folder in folders {
        let marker = folder?.file_name().to_str().and_then(|name| name.parse::<Marker>().ok());
        markers.extend(marker.filter(|marker| marker.job == job));
    }
    markers.sort_unstable();
    Ok(markers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_marker_names_a_folder() {
        let root = Path::new("/state/local");
        let marker = "019c0000-0000-7000-8000-000000000000.1";
        let attempt = Attempt::named(root, marker).unwrap();
        assert_eq!(attempt.dir(), root.join(marker));
        assert!(Attempt::of_dir(attempt.dir()).is_some());
        for bad in ["", "x", "../../etc.1", &format!("{marker}/.."), &marker.replace(".1", ".01")] {
            assert!(Attempt::named(root, bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn garbage_in_a_file_is_an_error_and_no_verdict() {
        let root = tempfile::tempdir().unwrap();
        let attempt =
            Attempt::named(root.path(), "019c0000-0000-7000-8000-000000000000.1").unwrap();
        assert_eq!(attempt.status().unwrap(), None);
        fs::create_dir(attempt.dir()).unwrap();
        fs::write(attempt.dir().join(RUNNER), "{").unwrap();
        assert!(attempt.status().unwrap_err().to_string().contains("runner.json is damaged"));
    }
}
