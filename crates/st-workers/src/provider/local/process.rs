//! Processes of other times: whether the one with this ID is still the one that is meant.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

/// A process, so that another one with the same ID is not taken for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessId {
    pub(super) pid: i32,
    /// Clock ticks from the machine's start to the process's, field 22 of `/proc/<pid>/stat`.
    start_time: u64,
    boot_id: String,
}

impl ProcessId {
    /// This process.
    pub(super) fn own() -> io::Result<Self> {
        let pid = i32::try_from(std::process::id()).map_err(io::Error::other)?;
        Self::of(pid)?.ok_or_else(|| io::Error::other("this process has no entry in /proc"))
    }

    fn of(pid: i32) -> io::Result<Option<Self>> {
        let stat = match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // It went away between the opening and the reading.
            Err(error) if error.raw_os_error() == Some(3) => return Ok(None),
            Err(error) => return Err(error),
        };
        // The name in parentheses may contain anything, parentheses too.
        let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        let state = fields.next();
        // The state is field 3, the start time field 22.
        let start_time = fields.nth(18).and_then(|field| field.parse().ok());
        let start_time =
            start_time.ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat is strange")))?;
        if state == Some("Z") {
            return Ok(None);
        }
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        Ok(Some(Self { pid, start_time, boot_id }))
    }

    /// Whether it is still there.
    pub(super) fn is_alive(&self) -> io::Result<bool> {
        Ok(Self::of(self.pid)?.as_ref() == Some(self))
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

    use super::*;

    #[test]
    fn a_process_is_alive_and_another_one_with_its_id_is_not_it() {
        let own = ProcessId::own().unwrap();
        assert!(own.is_alive().unwrap());
        let before = ProcessId { start_time: own.start_time - 1, ..own.clone() };
        assert!(!before.is_alive().unwrap());
        let other_boot = ProcessId { boot_id: "x".to_owned(), ..own };
        assert!(!other_boot.is_alive().unwrap());
        let nobody = ProcessId { pid: i32::MAX, start_time: 1, boot_id: String::new() };
        assert!(!nobody.is_alive().unwrap());
    }

    #[test]
    fn a_process_that_was_not_reaped_is_not_alive() {
        let mut child = Command::new("/bin/cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let process = ProcessId::of(pid).unwrap().unwrap();
        assert!(process.is_alive().unwrap());
        drop(child.stdin.take());
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(Pid::from_raw(pid).unwrap()), ended).unwrap();
        assert!(!process.is_alive().unwrap());
        child.wait().unwrap();
    }
}
