//! Non-blocking writes, so that a reader that stalls cannot block the program.
//!
//! `O_NONBLOCK` is a flag of the open file description, so setting it on standard output would
//! change it for every process that shares the pipe. Instead, a pipe or terminal is opened again,
//! and a socket is sent to with `MSG_DONTWAIT`. Where neither works, each write is limited to what
//! a writable pipe accepts without blocking.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::net::SendFlags;

/// Bytes that a pipe accepts without blocking once `poll` reports it writable.
const PIPE_BUF: usize = 4096;

/// Flags for files that this crate opens itself and shares with no other process.
pub(super) fn flags() -> i32 {
    (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed()
}

/// Whether a write to a file of this type may block.
pub(super) fn may_block(kind: FileType) -> bool {
    kind.is_fifo() || kind.is_char_device()
}

/// Opens standard output or error for non-blocking writes. Also returns the descriptor to poll for
/// writability; None if writes never block.
pub(super) fn open(fd: BorrowedFd<'_>) -> io::Result<(Box<dyn Write + Send>, Option<OwnedFd>)> {
    let file = File::from(fd.try_clone_to_owned()?);
    let kind = file.metadata()?.file_type();
    let poll_fd = file.as_fd().try_clone_to_owned()?;
    if kind.is_socket() {
        return Ok((Box::new(Socket(file.into())), Some(poll_fd)));
    }
    if !may_block(kind) {
        return Ok((Box::new(file), None));
    }
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    match OpenOptions::new().append(true).custom_flags(flags()).open(path) {
        Ok(reopened) => Ok((Box::new(reopened), Some(poll_fd))),
        Err(_not_permitted) => Ok((Box::new(SharedPipe(file)), Some(poll_fd))),
    }
}

/// Writes a notice to standard error, without blocking: it may be the same stalled pipe as standard
/// output.
pub(super) fn write_stderr(notice: &str) {
    let written =
        open(io::stderr().as_fd()).and_then(|(mut out, _)| out.write_all(notice.as_bytes()));
    // There is no other channel on which to report that this failed.
    written.unwrap_or_default();
}

/// Waits until a write will not block, because there is room or the write will fail.
pub(super) fn wait_until_writable(fd: &OwnedFd, timeout: Duration) -> bool {
    let timeout = Timespec::try_from(timeout).ok();
    let mut fds = [PollFd::new(fd, PollFlags::OUT)];
    // An interrupted poll counts as ready: the next write determines whether there is room.
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

/// A blocking pipe that other processes share and that cannot be opened again.
struct SharedPipe(File);

impl Write for SharedPipe {
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
