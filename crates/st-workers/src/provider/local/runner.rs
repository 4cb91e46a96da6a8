//! The runner: supervises one attempt, whatever becomes of the server.

use std::fs::TryLockError;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use st_store::{Clock, SystemClock};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use super::attempt::{Attempt, CommandFile, ExitFile, RunnerFile};
use super::process::ProcessId;

/// How long a command has to end after it was asked to.
const GRACE: Duration = Duration::from_secs(10);

/// Runs the attempt in `dir` to its end and writes down how it ended. A second runner for the same
/// attempt, or one that comes after its end, does nothing. For the process that
/// [`RunnerCommand`](super::RunnerCommand) starts; its output is the job's log.
pub fn run_attempt(dir: &Path) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ran = runtime.and_then(|runtime| runtime.block_on(run(dir)));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_to_log(&format!("the runner failed: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

async fn run(dir: &Path) -> io::Result<()> {
    let attempt =
        Attempt::of_dir(dir).ok_or_else(|| io::Error::other("the folder is no attempt's"))?;
    let lock = attempt.lock()?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(()),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // An earlier runner may be gone without a record of the end: the lock alone does not show that.
    if attempt.has_begun()? || attempt.is_void()? {
        return Ok(());
    }
    let Some(command) = attempt.command()? else {
        return Err(io::Error::other("the folder does not say what to run"));
    };
    // Listening first: a request to end that comes before the command starts is not lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let clock = SystemClock;
    let runner = RunnerFile { process: ProcessId::own()?, started_at: clock.wall() };
    attempt.write_runner(&runner)?;
    let ended = match start(&attempt, &command) {
        Ok(mut child) => {
            let asked = attempt.is_cancelled()?;
            let status = tokio::select! {
                biased;
                () = std::future::ready(()), if asked => end(&mut child).await?,
                status = child.wait() => status?,
                _ = terminate.recv() => end(&mut child).await?,
            };
            Ok(status)
        }
        Err(error) => Err(format!("{} cannot be started: {error}", command.program.display())),
    };
    attempt.write_exit(&exit(ended, &clock))?;
    drop(lock);
    Ok(())
}

/// Starts the command in a group of its own, so that ending it ends its children and spares the
/// runner.
fn start(attempt: &Attempt, command: &CommandFile) -> io::Result<Child> {
    Command::new(&command.program)
        .args(&command.args)
        .envs(&command.env)
        .env("ST_JOB_ID", &command.job_id)
        .env("ST_CORRELATION_ID", &command.correlation_id)
        .env("ST_INPUT", attempt.input())
        .env("ST_OUTPUT_DIR", attempt.dir())
        .current_dir(attempt.dir())
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
}

/// Asks the command and all its children to end, and makes them when they do not.
async fn end(child: &mut Child) -> io::Result<ExitStatus> {
    let group = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    let Some(group) = group else { return child.wait().await };
    signal_group(group, Signal::TERM)?;
    let status = match timeout(GRACE, child.wait()).await {
        Ok(status) => status?,
        Err(_elapsed) => {
            signal_group(group, Signal::KILL)?;
            child.wait().await?
        }
    };
    // Children that outlived the command.
    signal_group(group, Signal::KILL)?;
    Ok(status)
}

fn signal_group(group: Pid, signal: Signal) -> io::Result<()> {
    match kill_process_group(group, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn exit(ended: Result<ExitStatus, String>, clock: &dyn Clock) -> ExitFile {
    let finished_at = clock.wall();
    match ended {
        Ok(status) => {
            ExitFile { code: status.code(), signal: status.signal(), error: None, finished_at }
        }
        Err(error) => ExitFile { code: None, signal: None, error: Some(error), finished_at },
    }
}

/// Into the job's log, which is this process's stderr.
#[expect(clippy::print_stderr, reason = "the runner's stderr is the job's log")]
fn print_to_log(text: &str) {
    eprint!("{text}");
}
