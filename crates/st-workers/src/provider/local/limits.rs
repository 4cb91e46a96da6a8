//! What a command may use of the machine.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, nice, setrlimit};
use serde::{Deserialize, Serialize};

/// Limits of each process of a job; those that are not set are the server's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory of its own that a process may have (`RLIMIT_DATA`): its heap and its private
    /// mappings that can be written, which the stacks of its threads are and that of its first thread
    /// is not. Address space that is only reserved, as CUDA does, does not count.
    pub memory: Option<u64>,
    /// How many files a process may have open.
    pub open_files: Option<u64>,
    /// By how much it gives way to other processes, 0 to 19.
    pub nice: Option<u8>,
}

impl Limits {
    /// Applies them to this process, and so to all that it starts.
    pub(super) fn apply(self) -> io::Result<()> {
        set("memory", Resource::Data, self.memory)?;
        set("open_files", Resource::Nofile, self.open_files)?;
        if let Some(by) = self.nice {
            nice(by.into()).map_err(|error| refused("nice", by.into(), error))?;
        }
        Ok(())
    }
}

fn set(name: &str, resource: Resource, limit: Option<u64>) -> io::Result<()> {
    let Some(limit) = limit else { return Ok(()) };
    let both = Rlimit { current: Some(limit), maximum: Some(limit) };
    setrlimit(resource, both).map_err(|error| refused(name, limit, error))
}

fn refused(name: &str, limit: u64, error: Errno) -> io::Error {
    io::Error::new(error.kind(), format!("limits.{name} cannot be {limit}: {error}"))
}
