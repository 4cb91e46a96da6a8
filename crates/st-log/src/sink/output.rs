//! One output, stdout or a file: tolerates temporary write failures and counts the lines they lose.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::nonblocking;
use super::wait_budget::{WaitBudget, now};

/// How often to check whether the file was renamed or removed.
const RENAME_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The time until the next check if nothing was at the path: long enough for a log rotator that is
/// about to create the file.
const MISSING_CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// If the last check is older than this, the file was most likely renamed long ago and nobody is
/// about to create another one.
const IDLE_AFTER: Duration = Duration::from_secs(2);
/// The minimum time between two reports of write failures on stderr.
const FAILURE_REPORT_INTERVAL: Duration = Duration::from_mins(1);

/// Writes whole lines to stdout or a file.
pub(crate) struct Output {
    sink: Box<dyn Write + Send>,
    /// Polled for writability; None if writes never block.
    poll_fd: Option<OwnedFd>,
    wait_budget: WaitBudget,
    open_file: Option<OpenFile>,
    /// The remainder of a partially written line. It is written first once writing works again, so
    /// that the next line starts on a new line.
    torn: Vec<u8>,
    /// If the torn line is a drop report, the number of lost lines that it reports.
    torn_report: Option<u64>,
    /// Lost lines that are not yet in a drop report.
    unreported: u64,
    /// Lines that this output has lost in total.
    lost: u64,
    failing: bool,
    reported_at: Option<Instant>,
}

/// The state of an open log file, to detect that it was renamed or removed.
struct OpenFile {
    path: PathBuf,
    device_and_inode: (u64, u64),
    checked_at: Instant,
    /// A duplicate of the descriptor that is written to; it stays valid after a rename.
    file: File,
    /// The file has no name any more and a new one could not be created: writes to it are lost.
    is_unlinked: bool,
    /// The path did not exist at the last check. A log rotator may be about to create the file with
    /// another owner, so the file is not created before the next check, unless lines would be lost
    /// until then or go to the old file long after it was renamed.
    was_missing: bool,
}

impl OpenFile {
    /// Whether the path should be opened again, because another file or none is there.
    fn has_moved(&mut self, now: Instant) -> bool {
        let since_check = now.duration_since(self.checked_at);
        let interval =
            if self.was_missing { MISSING_CHECK_INTERVAL } else { RENAME_CHECK_INTERVAL };
        if since_check < interval {
            return false;
        }
        self.checked_at = now;
        match std::fs::metadata(&self.path) {
            Ok(found) => {
                self.was_missing = false;
                device_and_inode(&found) != self.device_and_inode
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let was_missing = mem::replace(&mut self.was_missing, true);
                was_missing || since_check >= IDLE_AFTER || self.is_removed()
            }
            // The check itself failed, so keep the open file if what is written to it can be read.
            Err(_unknown) => self.is_removed(),
        }
    }

    /// Whether the open file has no name any more, so that what is written to it is lost.
    fn is_removed(&self) -> bool {
        self.file.metadata().is_ok_and(|it| it.nlink() == 0)
    }
}

impl Output {
    #[cfg(test)]
    pub(crate) fn new(sink: impl Write + Send + 'static) -> Self {
        Self::of(Box::new(sink), None)
    }

    fn of(sink: Box<dyn Write + Send>, poll_fd: Option<OwnedFd>) -> Self {
        Self {
            sink,
            poll_fd,
            wait_budget: WaitBudget::new(Duration::ZERO),
            open_file: None,
            torn: Vec::new(),
            torn_report: None,
            unreported: 0,
            lost: 0,
            failing: false,
            reported_at: None,
        }
    }

    /// Opens a file for append.
    pub(crate) fn file(path: &Path) -> io::Result<Self> {
        let (file, poll_fd, open_file) = open(path)?;
        Ok(Self { open_file: Some(open_file), ..Self::of(Box::new(file), poll_fd) })
    }

    pub(crate) fn stdout() -> Self {
        match nonblocking::open(io::stdout().as_fd()) {
            Ok((sink, poll_fd)) => Self::of(sink, poll_fd),
            Err(_closed) => Self::of(Box::new(io::stdout()), None),
        }
    }

    /// Sets how long writes may block within any second; the default is not at all.
    pub(crate) fn with_wait_budget(self, per_second: Duration) -> Self {
        Self { wait_budget: WaitBudget::new(per_second), ..self }
    }

    /// Writes whole lines; what cannot be written is counted as lost.
    pub(crate) fn write(&mut self, lines: &[u8]) {
        self.follow_rename();
        if self.open_file.as_ref().is_some_and(|it| it.is_unlinked) {
            self.failing = true;
            self.count_lost(count_lines(lines));
        } else {
            self.write_or_count(lines);
        }
    }

    /// Lines that this output has lost in total.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    fn count_lost(&mut self, lines: u64) {
        self.unreported += lines;
        self.lost += lines;
    }

    /// Writes the lines or counts them as lost. Returns whether all were written.
    fn write_or_count(&mut self, lines: &[u8]) -> bool {
        let written = self.try_write(lines);
        self.failing = written.is_err();
        if let Err(error) = &written {
            self.report_failure("lines are dropped", error);
        }
        written.is_ok()
    }

    /// Adds lines that were dropped upstream to the next drop report.
    pub(crate) fn add_unreported(&mut self, lines: u64) {
        self.unreported += lines;
    }

    /// Writes the drop report that `report` formats, if lines were lost and the last write
    /// succeeded.
    pub(crate) fn report_lost(&mut self, report: impl FnOnce(u64) -> Vec<u8>) {
        if self.unreported == 0 || self.failing {
            return;
        }
        let lost = mem::take(&mut self.unreported);
        let before = self.lost;
        if !self.write_or_count(&report(lost)) {
            // A failed report does not count as a lost line. A torn one still has to be completed.
            self.lost = before;
            self.unreported = lost;
            self.torn_report = (!self.torn.is_empty()).then_some(lost);
        }
    }

    /// Writes the rest of a torn line, blocking for up to `timeout`. Returns whether none is left.
    pub(crate) fn finish_torn_line(&mut self, timeout: Duration) -> bool {
        if !self.torn.is_empty() {
            let configured = mem::replace(&mut self.wait_budget, WaitBudget::new(timeout));
            self.write_or_count(b"");
            self.wait_budget = configured;
        }
        self.torn.is_empty()
    }

    /// Opens the file at its path again; if that fails, the old file stays open.
    ///
    /// Returns false if this output is not a file.
    pub(crate) fn reopen(&mut self) -> io::Result<bool> {
        let Some(before) = &mut self.open_file else { return Ok(false) };
        let (file, poll_fd, open_file) = open(&before.path).inspect_err(|_| {
            before.is_unlinked = before.is_removed();
        })?;
        self.sink = Box::new(file);
        self.poll_fd = poll_fd;
        self.open_file = Some(open_file);
        // The rest of a torn line is useless in another file.
        self.torn.clear();
        self.torn_report = None;
        Ok(true)
    }

    /// Opens a new file if the open one was renamed or removed. This comes before each write, not
    /// after it: the first lines after hours of silence must not go to a file that was deleted in
    /// the meantime. Truncation needs no handling, because the file is opened for append.
    fn follow_rename(&mut self) {
        let Some(open_file) = &mut self.open_file else { return };
        if open_file.has_moved(now())
            && let Err(error) = self.reopen()
        {
            let is_unlinked = self.open_file.as_ref().is_some_and(|it| it.is_unlinked);
            self.report_failure(
                if is_unlinked { "lines are dropped" } else { "lines still go to the old file" },
                &error,
            );
        }
    }

    fn try_write(&mut self, lines: &[u8]) -> io::Result<()> {
        let torn = mem::take(&mut self.torn);
        let (written, result) = self.write_all(&torn);
        if let Err(error) = result {
            self.torn = torn.get(written..).unwrap_or_default().to_vec();
            self.count_lost(count_lines(lines));
            return Err(error);
        }
        if !torn.is_empty() {
            let reported = self.torn_report.take();
            // The torn line was counted as lost, and is complete now.
            self.unreported = self.unreported.saturating_sub(reported.unwrap_or(1));
            self.lost = self.lost.saturating_sub(u64::from(reported.is_none()));
        }
        let (written, result) = self.write_all(lines);
        if result.is_err() {
            let rest = lines.get(written..).unwrap_or_default();
            let mid_line =
                lines.get(..written).is_some_and(|it| !it.is_empty() && !it.ends_with(b"\n"));
            if mid_line {
                self.torn =
                    rest.split_inclusive(|it| *it == b'\n').next().unwrap_or_default().to_vec();
            }
            self.count_lost(count_lines(rest));
        }
        result
    }

    /// Returns how many bytes were written, and the error that ended the write.
    fn write_all(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|it| !it.is_empty()) {
            match self.sink.write(rest) {
                Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.wait() => {}
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }

    fn wait(&mut self) -> bool {
        let Some(fd) = &self.poll_fd else { return false };
        self.wait_budget.wait(|timeout| nonblocking::wait_until_writable(fd, timeout))
    }

    /// Reports a failure on stderr, at most once per interval.
    fn report_failure(&mut self, consequence: &str, error: &io::Error) {
        let now = now();
        if self
            .reported_at
            .is_some_and(|reported_at| now.duration_since(reported_at) < FAILURE_REPORT_INTERVAL)
        {
            return;
        }
        self.reported_at = Some(now);
        let name = self.open_file.as_ref().map_or("stdout".into(), |it| it.path.to_string_lossy());
        let name = name.escape_debug();
        nonblocking::write_stderr(&format!(
            "st-log: cannot write to {name}, {consequence}: {error}\n"
        ));
    }
}

/// Opens a file for append. It may also be a named pipe, which gets the same wait budget as stdout.
fn open(path: &Path) -> io::Result<(File, Option<OwnedFd>, OpenFile)> {
    let flags = nonblocking::flags();
    let file = OpenOptions::new().append(true).create(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    let poll_fd = if nonblocking::may_block(metadata.file_type()) {
        Some(file.as_fd().try_clone_to_owned()?)
    } else {
        None
    };
    let open_file = OpenFile {
        path: path.to_owned(),
        device_and_inode: device_and_inode(&metadata),
        file: file.try_clone()?,
        is_unlinked: false,
        checked_at: now(),
        was_missing: false,
    };
    Ok((file, poll_fd, open_file))
}

fn device_and_inode(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn count_lines(lines: &[u8]) -> u64 {
    lines.iter().map(|it| u64::from(*it == b'\n')).sum()
}

#[cfg(test)]
mod tests;
