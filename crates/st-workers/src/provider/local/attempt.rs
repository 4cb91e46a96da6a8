//! One attempt: its folders, and what they say about it.
//!
//! It has two folders in separate trees. In one are the runner's files; the command does not learn
//! its path. The other is the command's: whatever the command does in there changes nothing here.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use st_store::{JobId, JobStatus, Marker, ProviderStatus};

use super::devices::{DeviceName, Wanted};
use super::limits::Limits;
use super::process::ProcessId;
use super::{output, status_of};
use crate::files::Folder;

const INPUT: &str = "input.json";
const OUTPUT: &str = "output";
const COMMAND: &str = "command.json";
const LOCK: &str = "lock";
const RUNNER: &str = "runner.json";
const EXIT: &str = "exit.json";
const CANCEL: &str = "cancel";
const VOID: &str = "void";
const NOT_STARTED: &str = "not-started";
const ERRORS: &str = "runner.log";

/// What the runner is to run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct CommandFile {
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) job_id: String,
    pub(super) correlation_id: String,
    /// The command's folder.
    pub(super) work: PathBuf,
    /// How long its processes have to end after they were asked to.
    pub(super) grace: Duration,
    /// How long it may run.
    pub(super) time_limit: Option<Duration>,
    /// The cards that it needs; `None` where cards are not managed.
    pub(super) devices: Option<Wanted>,
    pub(super) limits: Limits,
    /// The size at which a file of its log is full.
    pub(super) log_bytes: u64,
}

impl CommandFile {
    /// The job's input.
    pub(super) fn input(&self) -> PathBuf {
        self.work.join(INPUT)
    }

    /// Where the command starts and may leave what it makes.
    pub(super) fn output(&self) -> PathBuf {
        self.work.join(OUTPUT)
    }
}

/// The process that runs it, and how the command's processes are recognised.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RunnerFile {
    pub(super) process: ProcessId,
    pub(super) started_at: Timestamp,
    /// The control group of the command, where one could be made.
    #[serde(default)]
    pub(super) cgroup: Option<PathBuf>,
    /// The inode of the pipe that the command prints to.
    #[serde(default)]
    pub(super) pipe: Option<u64>,
    /// The command's session; absent until it was started.
    #[serde(default)]
    pub(super) session: Option<i32>,
    /// The cards of the command; `None` where cards are not managed.
    #[serde(default)]
    pub(super) devices: Option<Vec<DeviceName>>,
    /// It waits for cards, and the command was not started.
    #[serde(default)]
    pub(super) waits: bool,
}

/// How it ended; written when none of its processes is left.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact that a file may lack")]
pub(super) struct ExitFile {
    pub(super) code: Option<i32>,
    pub(super) signal: Option<i32>,
    /// Why it did not even start.
    pub(super) error: Option<String>,
    /// Its cancellation was requested before it ended.
    #[serde(default)]
    pub(super) cancelled: bool,
    /// It was ended because its time was over.
    #[serde(default)]
    pub(super) timed_out: bool,
    /// Its runner died before it ended.
    #[serde(default)]
    pub(super) lost: bool,
    pub(super) finished_at: Timestamp,
}

/// How far it has come.
#[derive(Debug)]
pub(super) enum State {
    /// No runner began it.
    Unbegun,
    /// A runner holds its lock.
    Running(RunnerFile),
    /// Its runner died and left no record of the end. Its processes may still be there.
    Lost(RunnerFile),
    /// It is over, and none of its processes is left.
    Ended(ExitFile),
}

/// One attempt.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    marker: Marker,
    folder: Folder,
}

impl Attempt {
    /// The attempt with this marker; `None` when that is no marker, so that no name can leave the
    /// folder.
    pub(super) fn named(root: &Path, marker: &str) -> Option<Self> {
        let parsed = marker.parse::<Marker>().ok()?;
        (parsed.to_string() == marker).then(|| Self::of(root, parsed))
    }

    pub(super) fn of(root: &Path, marker: Marker) -> Self {
        Self { folder: Folder::new(root.join(marker.to_string())), marker }
    }

    /// The attempt in this folder.
    pub(super) fn of_dir(dir: &Path) -> Option<Self> {
        Self::named(dir.parent()?, dir.file_name()?.to_str()?)
    }

    pub(super) fn marker(&self) -> Marker {
        self.marker
    }

    pub(super) fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// Writes down what is to run. Doing it again is harmless.
    pub(super) fn prepare(&self, input: &str, command: &CommandFile) -> io::Result<()> {
        self.folder.create()?;
        if self.has_begun()? {
            return Ok(());
        }
        Folder::new(command.output()).create()?;
        Folder::new(command.work.clone()).write(INPUT, input.as_bytes())?;
        self.folder.write_json(COMMAND, command)
    }

    pub(super) fn command(&self) -> io::Result<Option<CommandFile>> {
        self.folder.read_json(COMMAND)
    }

    /// Where the runner's own errors go, those that end it in the middle too.
    pub(super) fn errors(&self) -> io::Result<File> {
        self.folder.append(ERRORS)
    }

    /// The lock that only one runner can hold, held from now on; `None` when another one does.
    pub(super) fn lock(&self) -> io::Result<Option<File>> {
        let lock = self.folder.append(LOCK)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(lock)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether a runner holds the lock. Asking keeps no runner and no one else from it, once a
    /// runner has begun.
    pub(super) fn has_runner(&self) -> io::Result<bool> {
        let lock = match File::open(self.dir().join(LOCK)) {
            Ok(lock) => lock,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        match lock.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    pub(super) fn write_runner(&self, runner: &RunnerFile) -> io::Result<()> {
        self.folder.write_json(RUNNER, runner)
    }

    pub(super) fn write_exit(&self, exit: &ExitFile) -> io::Result<()> {
        self.folder.write_json(EXIT, exit)
    }

    /// Records why the command could not be started.
    pub(super) fn write_not_started(&self, why: &str) -> io::Result<()> {
        self.folder.write(NOT_STARTED, why.as_bytes())
    }

    pub(super) fn not_started(&self) -> io::Result<Option<String>> {
        let why = self.folder.read(NOT_STARTED)?;
        Ok(why.map(|why| String::from_utf8_lossy(&why).into_owned()))
    }

    /// Whether a runner began it, whatever became of that runner.
    pub(super) fn has_begun(&self) -> io::Result<bool> {
        Ok(self.folder.has(RUNNER)? || self.folder.has(EXIT)?)
    }

    /// Whether it must not begin any more.
    pub(super) fn is_void(&self) -> io::Result<bool> {
        self.folder.has(VOID)
    }

    pub(super) fn make_void(&self) -> io::Result<()> {
        self.folder.write(VOID, b"")
    }

    /// Whether it certainly never began and never will: a runner that is started late finds that it
    /// is void.
    pub(super) fn is_absent(&self) -> io::Result<bool> {
        if self.has_begun()? {
            return Ok(false);
        }
        if !self.folder.exists()? {
            return Ok(true);
        }
        let Some(_lock) = self.lock()? else {
            return Err(io::Error::new(ErrorKind::ResourceBusy, "a runner is starting"));
        };
        if self.has_begun()? {
            return Ok(false);
        }
        self.make_void()?;
        Ok(true)
    }

    pub(super) fn is_cancelled(&self) -> io::Result<bool> {
        self.folder.has(CANCEL)
    }

    /// Records that it is to end, and signals its runner.
    pub(super) fn request_end(&self) -> io::Result<()> {
        if !self.folder.exists()? || self.folder.has(EXIT)? {
            return Ok(());
        }
        if !self.is_cancelled()? {
            self.folder.write(CANCEL, b"")?;
        }
        if let State::Running(runner) = self.state()? {
            runner.process.signal(Signal::TERM)?;
            // One that was stopped could not act on it.
            runner.process.signal(Signal::CONT)?;
        }
        Ok(())
    }

    pub(super) fn state(&self) -> io::Result<State> {
        if let Some(exit) = self.folder.read_json(EXIT)? {
            return Ok(State::Ended(exit));
        }
        let Some(runner) = self.folder.read_json::<RunnerFile>(RUNNER)? else {
            return Ok(State::Unbegun);
        };
        if self.has_runner()? {
            return Ok(State::Running(runner));
        }
        // It may have ended between the two reads.
        if let Some(exit) = self.folder.read_json(EXIT)? {
            return Ok(State::Ended(exit));
        }
        if runner.process.is_alive()? {
            let copied = "its runner works in another folder, of which this one is a copy";
            return Err(io::Error::new(ErrorKind::ResourceBusy, copied));
        }
        Ok(State::Lost(runner))
    }

    /// What the provider reports of it while it runs.
    pub(super) fn running(&self, runner: &RunnerFile) -> ProviderStatus {
        if runner.waits {
            return status_of(self.marker, JobStatus::Queued);
        }
        let mut status = status_of(self.marker, JobStatus::Running);
        status.started_at = Some(runner.started_at);
        status
    }

    /// What the provider reports of its end.
    pub(super) fn ended(&self, exit: &ExitFile) -> io::Result<ProviderStatus> {
        let (ended, why) = match exit {
            // However it ended after that was requested: by the signal, or in its own way.
            ExitFile { cancelled: true, .. } => (JobStatus::Cancelled, None),
            ExitFile { timed_out: true, .. } => {
                let why = "the provider ended it: it took longer than max_runtime_minutes";
                (JobStatus::Cancelled, Some(why.to_owned()))
            }
            ExitFile { error: Some(error), .. } => (JobStatus::Failed, Some(error.clone())),
            ExitFile { lost: true, .. } => {
                let why = "the process is gone and left no record of its end";
                (JobStatus::Failed, Some(why.to_owned()))
            }
            ExitFile { code: Some(0), .. } => (JobStatus::Completed, None),
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
        let mut status = status_of(self.marker, ended);
        status.error_message = why.map(|why| match output::last_line(self.dir()) {
            Some(line) => format!("{why}: {line}"),
            None => why,
        });
        let runner = self.folder.read_json::<RunnerFile>(RUNNER)?;
        status.started_at = runner.map(|runner| runner.started_at);
        status.completed_at = Some(exit.finished_at);
        Ok(status)
    }
}

/// Names the folder of all attempts so that a copy of it, or another server's, has another name:
/// by device and inode.
pub(super) fn instance(root: &Path) -> io::Result<String> {
    let folder = fs::metadata(root)?;
    Ok(format!("{:x}-{:x}", folder.dev(), folder.ino()))
}

/// The attempts in this folder, in order.
pub(super) fn all(root: &Path) -> io::Result<Vec<Marker>> {
    let folders = match fs::read_dir(root) {
        Ok(folders) => folders,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut markers = Vec::new();
    for folder in folders {
        let name = folder?.file_name();
        let attempt = name.to_str().and_then(|name| Attempt::named(root, name));
        markers.extend(attempt.map(|attempt| attempt.marker));
    }
    markers.sort_unstable();
    Ok(markers)
}

/// The attempts at a job that have a folder, in order.
pub(super) fn list(root: &Path, job: JobId) -> io::Result<Vec<Marker>> {
    let mut markers = all(root)?;
    markers.retain(|marker| marker.job == job);
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
        assert!(matches!(attempt.state().unwrap(), State::Unbegun));
        fs::create_dir(attempt.dir()).unwrap();
        fs::write(attempt.dir().join(RUNNER), "{").unwrap();
        assert!(attempt.state().unwrap_err().to_string().contains("runner.json is damaged"));
    }

    #[test]
    fn an_instance_is_its_folder_and_no_copy_of_it() {
        let root = tempfile::tempdir().unwrap();
        let (one, two) = (root.path().join("one"), root.path().join("two"));
        fs::create_dir(&one).unwrap();
        fs::create_dir(&two).unwrap();
        let name = instance(&one).unwrap();
        assert_ne!(name, instance(&two).unwrap());
        let moved = root.path().join("moved");
        fs::rename(&one, &moved).unwrap();
        assert_eq!(name, instance(&moved).unwrap());
    }
}
