//! The runner: supervises one attempt, whatever becomes of the server.
//!
//! It is the reaper of everything that the command starts, so whatever becomes an orphan, in whichever
//! session, becomes its child. The attempt is over when it has no child left.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, getpid, set_child_subreaper, wait, waitpid};
use st_store::{Clock, SystemClock};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::attempt::{Attempt, CommandFile, ExitFile, RunnerFile, instance};
use super::cgroup::Cgroup;
use super::devices::{Held, Wanted};
use super::process::{Process, ProcessId, descendants};
use super::{command, members, output};

/// How often it is checked whether they have.
const CHECK_EVERY: Duration = Duration::from_millis(100);
/// How often it is tried whether a card is free.
const TAKE_AGAIN: Duration = Duration::from_millis(100);
/// How long the rest of the output is waited for once all processes are gone.
const DRAIN: Duration = Duration::from_secs(5);
/// How often the record of the end is written again while that fails.
const WRITES: u32 = 600;
const WRITE_AGAIN: Duration = Duration::from_secs(1);

/// In place of the folder, this file in it says that the process is to become the command.
const COMMAND: &str = "command.json";

/// Runs the attempt in `dir` to its end and writes down how it ended. A second runner for the same
/// attempt, or one that comes after its end, does nothing. For the process that
/// [`RunnerCommand`](super::RunnerCommand) starts. It starts that program once more with the same
/// arguments but the last, and that process becomes the command.
pub fn run_attempt(dir: &Path) -> ExitCode {
    let (dir, ran) = match dir.parent() {
        Some(parent) if dir.ends_with(COMMAND) => (parent, command::become_command(parent)),
        Some(_) | None => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let ran = runtime.and_then(|runtime| {
                let ran = runtime.block_on(run(dir));
                // A process that is not the job's may have its output open for longer.
                runtime.shutdown_background();
                ran.map(|()| ExitCode::SUCCESS)
            });
            (dir, ran)
        }
    };
    ran.unwrap_or_else(|error| {
        // There is no other place for it, and the server sees that the runner is gone.
        drop(output::add(dir, &format!("the runner failed: {error}\n")));
        ExitCode::FAILURE
    })
}

/// What a process of the job inherits, so that it is recognised.
pub(super) fn variables(
    attempt: &Attempt,
    command: &CommandFile,
) -> io::Result<[(&'static str, OsString); 6]> {
    let root = attempt.dir().parent().unwrap_or(attempt.dir());
    Ok([
        (members::JOB, command.job_id.as_str().into()),
        (members::ATTEMPT, attempt.marker().attempt.to_string().into()),
        (members::INSTANCE, instance(root)?.into()),
        ("ST_CORRELATION_ID", command.correlation_id.as_str().into()),
        ("ST_INPUT", command.input().into()),
        ("ST_OUTPUT_DIR", command.output().into()),
    ])
}

async fn run(dir: &Path) -> io::Result<()> {
    let attempt =
        Attempt::of_dir(dir).ok_or_else(|| io::Error::other("the folder is no attempt's"))?;
    let Some(lock) = attempt.lock()? else { return Ok(()) };
    // An earlier runner may be gone without a record of the end: the lock alone does not show that.
    if attempt.has_begun()? || attempt.is_void()? {
        return Ok(());
    }
    let Some(command) = attempt.command()? else {
        return Err(io::Error::other("the folder does not say what to run"));
    };
    set_child_subreaper(Some(getpid()))?;
    // Listening first: a request to end that comes before the command starts is not lost.
    let signals = Signals {
        terminate: signal(SignalKind::terminate())?,
        child: signal(SignalKind::child())?,
    };
    let (reader, writer) = io::pipe()?;
    let reader = File::from(OwnedFd::from(reader));
    let root = dir.parent().unwrap_or(dir);
    let group = Cgroup::create(&format!("st-job-{}-{}", instance(root)?, attempt.marker()));
    let mut runner = RunnerFile {
        process: ProcessId::own()?,
        started_at: SystemClock.wall(),
        cgroup: group.as_ref().map(|group| group.dir().to_owned()),
        pipe: Some(reader.metadata()?.ino()),
        session: None,
        devices: None,
        waits: command.devices.is_some(),
    };
    attempt.write_runner(&runner)?;
    let (grace, timed_out) = (command.grace, false);
    let mut supervisor = Supervisor { signals, group, grace, timed_out };
    let mut devices = Held::default();
    let ended =
        match supervisor.wait_for_devices(&attempt, &command, &mut runner, &mut devices).await {
            Ok(true) => supervisor.run(&attempt, &command, &mut runner, (reader, writer)).await,
            Ok(false) => Ok(None),
            Err(error) => Err(error),
        };
    supervisor.remove_group();
    write_exit(&attempt, ended, supervisor.timed_out).await?;
    // Until it is written down that all of it is over, its cards are not free.
    drop(devices);
    drop(lock);
    Ok(())
}

/// Takes cards; `true` when the attempt has all and it is written down that it does not wait.
fn begin_with_devices(
    attempt: &Attempt,
    wanted: &Wanted,
    runner: &mut RunnerFile,
    held: &mut Held,
) -> io::Result<bool> {
    if !held.take(attempt, wanted)? {
        return Ok(false);
    }
    runner.devices = Some(held.names());
    (runner.waits, runner.started_at) = (false, SystemClock.wall());
    // The command reads there what it may use.
    attempt.write_runner(runner).map(|()| true)
}

/// Starts the process that becomes the command.
fn start(attempt: &Attempt, command: &CommandFile, writer: io::PipeWriter) -> io::Result<Child> {
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    arguments.pop();
    // The program itself, also when its file was replaced meanwhile.
    Command::new("/proc/self/exe")
        .args(arguments)
        .arg(attempt.dir().join(COMMAND))
        .envs(variables(attempt, command)?)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()
}

/// Keeps trying: without this record the job would count as lost.
async fn write_exit(
    attempt: &Attempt,
    ended: io::Result<Option<ExitStatus>>,
    timed_out: bool,
) -> io::Result<()> {
    let mut tries = 0;
    loop {
        let error = match &ended {
            Ok(_) => attempt.not_started(),
            Err(error) => Ok(Some(format!("its runner failed: {error}"))),
        };
        let status = ended.as_ref().ok().copied().flatten();
        let written = error.and_then(|error| {
            attempt.write_exit(&ExitFile {
                code: status.and_then(|status| status.code()),
                signal: status.and_then(|status| status.signal()),
                error,
                cancelled: attempt.is_cancelled()?,
                timed_out,
                lost: false,
                finished_at: SystemClock.wall(),
            })
        });
        tries += 1;
        match written {
            Err(_) if tries < WRITES => sleep(WRITE_AGAIN).await,
            Ok(()) | Err(_) => return written,
        }
    }
}

#[derive(Debug)]
struct Signals {
    terminate: SignalStream,
    child: SignalStream,
}

/// Ends the command and everything that it started.
#[derive(Debug)]
struct Supervisor {
    signals: Signals,
    group: Option<Cgroup>,
    /// Between asking and killing.
    grace: Duration,
    /// The command was asked to end because its time was over.
    timed_out: bool,
}

impl Supervisor {
    /// Waits until the command has the cards that it needs; `false` when it was cancelled first.
    async fn wait_for_devices(
        &mut self,
        attempt: &Attempt,
        command: &CommandFile,
        runner: &mut RunnerFile,
        held: &mut Held,
    ) -> io::Result<bool> {
        let mut has_failed = false;
        loop {
            if attempt.is_cancelled()? {
                return Ok(false);
            }
            let Some(wanted) = &command.devices else { return Ok(true) };
            match begin_with_devices(attempt, wanted, runner, held) {
                Ok(true) => return Ok(true),
                // Without its folder it can never begin, and no one can cancel it.
                Err(error) if !attempt.dir().is_dir() => return Err(error),
                // A full disk is no fault of the job.
                Err(error) if !has_failed => {
                    has_failed = true;
                    let why = format!("it waits, its devices cannot be locked: {error}\n");
                    drop(output::add(attempt.dir(), &why));
                }
                Ok(false) | Err(_) => {}
            }
            tokio::select! {
                _ = self.signals.terminate.recv() => {
                    if !attempt.is_cancelled()? {
                        return Err(io::Error::other("it was ended while it waited for a device"));
                    }
                }
                () = sleep(TAKE_AGAIN) => {}
            }
        }
    }

    /// Runs the command until nothing of it is left.
    async fn run(
        &mut self,
        attempt: &Attempt,
        command: &CommandFile,
        runner: &mut RunnerFile,
        (reader, writer): (File, io::PipeWriter),
    ) -> io::Result<Option<ExitStatus>> {
        let mut child = start(attempt, command, writer)?;
        let (log, log_bytes) = (attempt.dir().to_owned(), command.log_bytes);
        let printed = st_log::spawn_blocking(move || output::keep(reader, &log, log_bytes));
        runner.session = child.id().and_then(|pid| i32::try_from(pid).ok());
        // Only a dead runner's job needs it, and it has other signs.
        drop(attempt.write_runner(runner));
        let time_limit = command.time_limit;
        let (status, kill_at) = self.supervise(&mut child, attempt, time_limit).await;
        self.end_rest(kill_at).await;
        drop(timeout(DRAIN, printed).await);
        status.map(Some)
    }

    /// Waits for the end of the command, or makes it. Returns also when the rest is to be killed.
    async fn supervise(
        &mut self,
        child: &mut Child,
        attempt: &Attempt,
        time_limit: Option<Duration>,
    ) -> (io::Result<ExitStatus>, Instant) {
        let command = child.id().and_then(|pid| i32::try_from(pid).ok());
        let ends_at = time_limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut kill_at = None;
        let mut killed = false;
        if attempt.is_cancelled().unwrap_or_default() {
            kill_at = Some(self.terminate());
        }
        loop {
            let deadline = kill_at.unwrap_or_else(Instant::now);
            tokio::select! {
                status = child.wait() => {
                    return (status, kill_at.unwrap_or_else(|| Instant::now() + self.grace));
                }
                Some(()) = self.signals.terminate.recv(), if kill_at.is_none() => {
                    kill_at = Some(self.terminate());
                }
                () = sleep_until(ends_at.unwrap_or(deadline)),
                    if ends_at.is_some() && kill_at.is_none() =>
                {
                    self.timed_out = true;
                    kill_at = Some(self.terminate());
                }
                () = sleep_until(deadline), if kill_at.is_some() && !killed => {
                    self.kill();
                    killed = true;
                }
                Some(()) = self.signals.child.recv() => reap_orphans(command),
            }
        }
    }

    /// Ends what the command left: asks until `kill_at`, then kills, until nothing is left.
    async fn end_rest(&mut self, kill_at: Instant) {
        let mut asked: Vec<Process> = Vec::new();
        while !self.is_over() {
            if Instant::now() >= kill_at {
                self.kill();
            } else {
                for process in members() {
                    if !asked.contains(&process) {
                        drop(process.signal(Signal::TERM));
                        asked.push(process);
                    }
                }
            }
            tokio::select! {
                _ = self.signals.child.recv() => {}
                () = sleep(CHECK_EVERY) => {}
            }
        }
        self.remove_group();
    }

    /// Asks all processes to end; returns when they are to be killed.
    fn terminate(&self) -> Instant {
        for process in members() {
            drop(process.signal(Signal::TERM));
        }
        Instant::now() + self.grace
    }

    fn kill(&self) {
        if let Some(group) = &self.group {
            drop(group.kill());
        }
        members::kill(&members());
    }

    fn is_over(&self) -> bool {
        let is_empty = self.group.as_ref().is_none_or(|group| group.is_empty().unwrap_or_default());
        has_no_child() && is_empty
    }

    fn remove_group(&self) {
        if let Some(group) = &self.group {
            group.remove();
        }
    }
}

/// What descends from this process. A table that cannot be read is read again: nothing is over before
/// the kernel says so.
fn members() -> Vec<Process> {
    let own = getpid().as_raw_nonzero().get();
    let mut members = Process::all().map_or_else(|_| Vec::new(), |all| descendants(&all, [own]));
    members.retain(|process| !process.is_zombie);
    members
}

/// Reaps everything that has ended; whether no child is left. Only the kernel knows that for certain.
fn has_no_child() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return false,
            Err(error) => return error == Errno::CHILD,
        }
    }
}

/// Reaps orphans while the command lives, whose own end is awaited elsewhere. What is left over is
/// reaped the next time.
fn reap_orphans(command: Option<i32>) {
    let own = getpid().as_raw_nonzero().get();
    for process in Process::all().unwrap_or_default() {
        if process.parent != own || !process.is_zombie || Some(process.pid) == command {
            continue;
        }
        if let Some(pid) = Pid::from_raw(process.pid) {
            drop(waitpid(Some(pid), WaitOptions::NOHANG).map_err(io::Error::from));
        }
    }
}
