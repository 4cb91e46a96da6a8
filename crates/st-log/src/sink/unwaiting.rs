//! Writing without waiting, so that a reader who stands still cannot stop the program.
//!
//! Setting `O_NONBLOCK` on standard output would change it for every process that shares the pipe.
//! Instead a pipe or terminal is opened a second time for ourselves, and a socket is asked not to
//! wait at each send. Where neither works, what is written fits into what the pipe has surely room
//! for.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::net::SendFlags;

/// What a pipe takes without waiting when it says that it takes something.
const PIPE_BUF: usize = 4096;

/// Flags of a file that is opened for us alone.
pub(super) fn flags() -> i32 {
    (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed()
}

/// Whether a write may find no room in it.
pub(super) fn may_wait(kind: FileType) -> bool {
    kind.is_fifo() || kind.is_char_device()
}

/// Standard output or error: what is written to, and what tells when there is room again; None where
/// there always is.
pub(super) fn open(fd: BorrowedFd<'_>) -> io::Result<(Box<dyn Write + Send>, Option<OwnedFd>)> {
    let file = File::from(fd.try_clone_to_owned()?);
    let kind = file.metadata()?.file_type();
    let waits = file.as_fd().try_clone_to_owned()?;
    if kind.is_socket() {
        return Ok((Box::new(Socket(file.into())), Some(waits)));
    }
    if !may_wait(kind) {
        return Ok((Box::new(file), None));
    }
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    match OpenOptions::new().append(true).custom_flags(flags()).open(path) {
        Ok(own) => Ok((Box::new(own), Some(waits))),
        Err(_not_ours) => Ok((Box::new(Careful(file)), Some(waits))),
    }
}

/// Says something on standard error, if there is room for it: the log cannot tell of itself now,
/// and both may lead to the same reader who stands still.
pub(super) fn tell(notice: &str) {
    let told = open(io::stderr().as_fd()).and_then(|(mut out, _)| out.write_all(notice.as_bytes()));
    // Where that fails, nobody listens at all.
    told.unwrap_or_default();
}

/// Waits until there is room, or an error to be told.
pub(super) fn wait_for_room(fd: &OwnedFd, timeout: Duration) -> bool {
    let timeout = Timespec::try_from(timeout).ok();
    let mut fds = [PollFd::new(fd, PollFlags::OUT)];
    // An interrupted wait is as good as a short one: the write will tell.
    poll(&mut fds, timeout.as_ref()).map_or(true, |ready| ready > 0)
}

struct Socket(OwnedFd);

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        rustix::net::send(&self.0, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
            .map_err(Into::into)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A pipe that belongs to somebody else, and may wait.
struct Careful(File);

impl Write for Careful {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut fds = [PollFd::new(&self.0, PollFlags::OUT)];
        if poll(&mut fds, Some(&Timespec::default()))? == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.0.write(bytes.get(..PIPE_BUF).unwrap_or(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
