//! Processes: an identity that survives the reuse of process IDs, the table of those that there are,
//! and signals that reach the process that is meant or none.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// A process, so that another one with the same ID is not taken for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessId {
    pub(super) pid: i32,
    /// Clock ticks from the machine's start to the process's, field 22 of `/proc/<pid>/stat`.
    start_time: u64,
    boot_id: String,
}

/// A row of the process table of this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) session: i32,
    /// It has ended and waits to be reaped.
    pub(super) is_zombie: bool,
    start_time: u64,
}

impl ProcessId {
    /// This process.
    pub(super) fn own() -> io::Result<Self> {
        let pid = i32::try_from(std::process::id()).map_err(io::Error::other)?;
        let own = Process::find(pid)?;
        let own = own.ok_or_else(|| io::Error::other("this process has no entry in /proc"))?;
        Ok(Self { pid, start_time: own.start_time, boot_id: boot_id()? })
    }

    /// Whether it is still there.
    pub(super) fn is_alive(&self) -> io::Result<bool> {
        let Some(process) = Process::find(self.pid)? else { return Ok(false) };
        let is_it = !process.is_zombie && process.start_time == self.start_time;
        Ok(is_it && boot_id()? == self.boot_id)
    }

    /// Whether the machine was not started again since: else none of its relatives is there.
    pub(super) fn is_of_this_boot(&self) -> io::Result<bool> {
        Ok(boot_id()? == self.boot_id)
    }

    /// Signals it, if it is still there.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        signal_if(self.pid, signal, || self.is_alive())
    }
}

impl Process {
    /// The process with this ID now.
    pub(super) fn find(pid: i32) -> io::Result<Option<Self>> {
        let Some(stat) = read(pid, "stat")? else { return Ok(None) };
        let stat = String::from_utf8_lossy(&stat);
        let strange = || io::Error::other(format!("/proc/{pid}/stat is strange"));
        // The name in parentheses may contain anything, parentheses too.
        let fields: Vec<&str> =
            stat.rsplit(") ").next().unwrap_or_default().split_whitespace().collect();
        let number = |field: usize| -> Option<u64> {
            // The state is field 3.
            fields.get(field.checked_sub(3)?)?.parse().ok()
        };
        let id = |field| i32::try_from(number(field).unwrap_or_default()).map_err(io::Error::other);
        // A first thread that ended before the others is shown as a zombie too.
        let threads = number(20).unwrap_or_default();
        let ended = fields.first().is_none_or(|state| matches!(*state, "Z" | "X"));
        Ok(Some(Self {
            pid,
            parent: id(4)?,
            session: id(6)?,
            is_zombie: ended && threads <= 1,
            start_time: number(22).ok_or_else(strange)?,
        }))
    }

    /// All processes that this one may see.
    pub(super) fn all() -> io::Result<Vec<Self>> {
        let mut all = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            match Self::find(pid) {
                Ok(process) => all.extend(process),
                // Another user's, where those are hidden.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// The environment that it was started with, empty where that may not be read.
    pub(super) fn environment(&self) -> io::Result<Vec<u8>> {
        match read(self.pid, "environ") {
            Err(error) if error.kind() != ErrorKind::PermissionDenied => Err(error),
            environment => Ok(environment.ok().flatten().unwrap_or_default()),
        }
    }

    /// Whether its stdout or stderr is this pipe.
    pub(super) fn writes_to(&self, pipe: u64) -> bool {
        let name = format!("pipe:[{pipe}]");
        [1, 2].into_iter().any(|file| {
            let target = fs::read_link(format!("/proc/{}/fd/{file}", self.pid));
            target.is_ok_and(|target| target.as_os_str() == name.as_str())
        })
    }

    /// Signals it, if it is still there.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        signal_if(self.pid, signal, || {
            let now = Self::find(self.pid)?;
            Ok(now.is_some_and(|now| now.start_time == self.start_time))
        })
    }
}

/// Those of `all` that descend from one of `roots`, without the roots.
pub(super) fn descendants(all: &[Process], roots: impl IntoIterator<Item = i32>) -> Vec<Process> {
    let mut family: BTreeSet<i32> = roots.into_iter().collect();
    let mut found = Vec::new();
    loop {
        let before = found.len();
        for process in all {
            if family.contains(&process.parent) && family.insert(process.pid) {
                found.push(*process);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

/// Pins the process before `is_meant` is asked, so that the signal cannot reach a later one.
fn signal_if(pid: i32, signal: Signal, is_meant: impl Fn() -> io::Result<bool>) -> io::Result<()> {
    let Some(pid) = Pid::from_raw(pid) else { return Ok(()) };
    let sent = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pinned) if is_meant()? => pidfd_send_signal(&pinned, signal),
        // Kernels and containers without it.
        Err(Errno::NOSYS | Errno::PERM) if is_meant()? => kill_process(pid, signal),
        Ok(_) | Err(Errno::SRCH | Errno::NOSYS | Errno::PERM) => Ok(()),
        Err(error) => Err(error),
    };
    match sent {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A file of a process; `None` when the process is gone.
fn read(pid: i32, name: &str) -> io::Result<Option<Vec<u8>>> {
    match fs::read(format!("/proc/{pid}/{name}")) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        // It went away between the opening and the reading.
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use rustix::process::{WaitId, WaitIdOptions, waitid};

    use super::*;

    fn cat() -> Child {
        Command::new("/bin/cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }

    fn process(child: &Child) -> Process {
        Process::find(i32::try_from(child.id()).unwrap()).unwrap().unwrap()
    }

    #[test]
    fn a_process_is_alive_and_another_one_with_its_id_is_not_it() {
        let own = ProcessId::own().unwrap();
        assert!(own.is_alive().unwrap());
        let before = ProcessId { start_time: own.start_time - 1, ..own.clone() };
        assert!(!before.is_alive().unwrap());
        let other_boot = ProcessId { boot_id: "x".to_owned(), ..own };
        assert!(!other_boot.is_alive().unwrap());
        let none = ProcessId { pid: i32::MAX, start_time: 1, boot_id: String::new() };
        assert!(!none.is_alive().unwrap());
    }

    #[test]
    fn a_process_that_was_not_reaped_is_not_alive() {
        let mut child = cat();
        let pid = process(&child).pid;
        assert!(!process(&child).is_zombie);
        drop(child.stdin.take());
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(Pid::from_raw(pid).unwrap()), ended).unwrap();
        assert!(process(&child).is_zombie);
        child.wait().unwrap();
    }

    #[test]
    fn a_signal_reaches_only_the_process_that_is_meant() {
        let mut child = cat();
        let meant = process(&child);
        let reused = Process { start_time: meant.start_time - 1, ..meant };
        reused.signal(Signal::KILL).unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        meant.signal(Signal::KILL).unwrap();
        assert!(!child.wait().unwrap().success());
        meant.signal(Signal::KILL).unwrap();
    }

    #[test]
    fn descendants_are_found_in_any_order_of_the_table() {
        let row =
            |pid, parent| Process { pid, parent, session: 0, is_zombie: false, start_time: 0 };
        let all = [row(4, 3), row(3, 2), row(2, 1), row(9, 8), row(1, 0)];
        let pids: Vec<i32> = descendants(&all, [2]).iter().map(|it| it.pid).collect();
        assert_eq!(pids, [3, 4]);
    }

    #[test]
    fn a_pipe_tells_who_writes_to_it() {
        use std::os::unix::fs::MetadataExt;
        let mut child = cat();
        let pipe = std::os::fd::OwnedFd::from(child.stdout.take().unwrap());
        let pipe = fs::File::from(pipe).metadata().unwrap().ino();
        assert!(process(&child).writes_to(pipe));
        assert!(!process(&child).writes_to(pipe + 1));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
