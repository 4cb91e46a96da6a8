//! The first process of a container: starts the server as its child, passes signals on to it, and
//! reaps what nothing else reaps.
//!
//! Orphans of the whole container become children of its first process, which has to wait for them,
//! or they stay as zombies. A server that did that itself would take the exits of its own children
//! from those who wait for them. When the server ends, so does this process, and the kernel ends
//! whatever else there is in the container.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use futures_util::future::select_all;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use tokio::signal::unix::{SignalKind, signal};

/// What is passed on; the first process of a container gets only signals that it listens to.
const PASSED_ON: [(SignalKind, Signal); 5] = [
    (SignalKind::terminate(), Signal::TERM),
    (SignalKind::interrupt(), Signal::INT),
    (SignalKind::hangup(), Signal::HUP),
    (SignalKind::user_defined1(), Signal::USR1),
    (SignalKind::user_defined2(), Signal::USR2),
];

/// Whether this process is the one whose end is the end of everything that it can see.
pub(crate) fn is_first_process() -> bool {
    std::process::id() == 1
}

/// Runs this program with the same arguments as a child until it ends, and ends as it did.
pub(crate) fn run() -> io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(supervise(Command::new("/proc/self/exe").args(std::env::args_os().skip(1))))
}

async fn supervise(command: &mut Command) -> io::Result<ExitCode> {
    // Listening first, so that no end and no signal is missed.
    let mut ended = signal(SignalKind::child())?;
    let mut passed_on = Vec::new();
    for (kind, number) in PASSED_ON {
        passed_on.push((signal(kind)?, number));
    }
    // In a group of its own: what a terminal sends to this one is passed on once and not twice.
    let child = command.process_group(0).spawn()?;
    let child = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let child = child.ok_or_else(|| io::Error::other("the child has no process ID"))?;
    loop {
        if let Some(status) = reap(child)? {
            return Ok(exit_code(status));
        }
        let received = passed_on.iter_mut().map(|(stream, number)| {
            Box::pin(async {
                match stream.recv().await {
                    Some(()) => *number,
                    None => std::future::pending().await,
                }
            })
        });
        tokio::select! {
            _ = ended.recv() => {}
            (number, _, _) = select_all(received) => match kill_process(child, number) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            },
        }
    }
}

/// Reaps everything that has ended. How `child` ended, if that was among it.
fn reap(child: Pid) -> io::Result<Option<WaitStatus>> {
    let mut of_child = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == child => of_child = Some(status),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) | Err(Errno::CHILD) => return Ok(of_child),
            Err(error) => return Err(error.into()),
        }
    }
}

/// As a shell says it: 128 and the number of the signal, where one ended it.
fn exit_code(status: WaitStatus) -> ExitCode {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|it| 128 + it));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}
