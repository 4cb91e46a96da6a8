//! One place where lines go: it may fail for a while and loses only what it must.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::patience::{Patience, now};
use super::unwaiting;

/// How often a file is looked after, whether it still is where it was opened.
const LOOK: Duration = Duration::from_secs(1);
/// How often stderr is told of an output that fails.
const TELL: Duration = Duration::from_mins(1);

/// Takes whole lines.
pub(crate) struct Output {
    sink: Box<dyn Write + Send>,
    /// Tells when there is room, where a write may find none.
    waits: Option<OwnedFd>,
    patience: Patience,
    opened: Option<Opened>,
    /// The rest of a line of which a part was written. Written first when writing works again, so
    /// that the next line does not begin in the middle of this one.
    torn: Vec<u8>,
    /// How many lost lines the torn line reports, where it is a report.
    torn_report: Option<u64>,
    /// Lines that were not written and not yet reported.
    unreported: u64,
    /// All lines that came here and were not written.
    lost: u64,
    failing: bool,
    told_at: Option<Instant>,
}

/// A file, which somebody may rename.
struct Opened {
    path: PathBuf,
    device_and_inode: (u64, u64),
    looked_at: Instant,
    /// The file itself, wherever it is now.
    file: File,
    /// It was removed, and another one cannot be made: what is written to it is lost.
    is_gone: bool,
    /// At the last look there was nothing. Whoever renamed it may be about to make a new one, with
    /// an owner of its choice, so that is waited for once.
    was_missing: bool,
}

impl Output {
    #[cfg(test)]
    pub(crate) fn new(sink: impl Write + Send + 'static) -> Self {
        Self::of(Box::new(sink), None)
    }

    fn of(sink: Box<dyn Write + Send>, waits: Option<OwnedFd>) -> Self {
        Self {
            sink,
            waits,
            patience: Patience::new(Duration::ZERO),
            opened: None,
            torn: Vec::new(),
            torn_report: None,
            unreported: 0,
            lost: 0,
            failing: false,
            told_at: None,
        }
    }

    /// Opens a file for append.
    pub(crate) fn file(path: &Path) -> io::Result<Self> {
        let (file, waits, opened) = open(path)?;
        Ok(Self { opened: Some(opened), ..Self::of(Box::new(file), waits) })
    }

    pub(crate) fn stdout() -> Self {
        match unwaiting::open(io::stdout().as_fd()) {
            Ok((sink, waits)) => Self::of(sink, waits),
            Err(_closed) => Self::of(Box::new(io::stdout()), None),
        }
    }

    /// How long it may wait for room within any second.
    pub(crate) fn with_patience(self, each_second: Duration) -> Self {
        Self { patience: Patience::new(each_second), ..self }
    }

    /// Writes whole lines.
    pub(crate) fn write(&mut self, lines: &[u8]) {
        self.look_after();
        if self.opened.as_ref().is_some_and(|it| it.is_gone) {
            self.failing = true;
            self.lose(count(lines));
        } else {
            self.write_here(lines);
        }
    }

    /// Lines that were lost here, since the start.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    fn lose(&mut self, lines: u64) {
        self.unreported += lines;
        self.lost += lines;
    }

    /// Whether all of it was written.
    fn write_here(&mut self, lines: &[u8]) -> bool {
        let written = self.try_write(lines);
        self.failing = written.is_err();
        if let Err(error) = &written {
            self.tell("lines are dropped", error);
        }
        written.is_ok()
    }

    /// Counts lines that were lost before they came here.
    pub(crate) fn miss(&mut self, lines: u64) {
        self.unreported += lines;
    }

    /// Writes what `report` makes of the number of lost lines, when there are any and it works.
    pub(crate) fn report(&mut self, report: impl FnOnce(u64) -> Vec<u8>) {
        if self.unreported == 0 || self.failing {
            return;
        }
        let lost = mem::take(&mut self.unreported);
        let before = self.lost;
        if !self.write_here(&report(lost)) {
            // The report is no line that somebody misses. One that is torn has yet to be finished.
            self.lost = before;
            self.unreported = lost;
            self.torn_report = (!self.torn.is_empty()).then_some(lost);
        }
    }

    /// Writes the rest of a torn line, for which it may wait so long; whether there is none left.
    pub(crate) fn mend(&mut self, timeout: Duration) -> bool {
        if !self.torn.is_empty() {
            let usual = mem::replace(&mut self.patience, Patience::new(timeout));
            self.write_here(b"");
            self.patience = usual;
        }
        self.torn.is_empty()
    }

    /// Opens the file again, which may have been renamed; the old one stays where that fails.
    ///
    /// Whether there is a file to be opened.
    pub(crate) fn reopen(&mut self) -> io::Result<bool> {
        let Some(before) = &mut self.opened else { return Ok(false) };
        let (file, waits, opened) = open(&before.path).inspect_err(|_| {
            before.is_gone = before.file.metadata().is_ok_and(|it| it.nlink() == 0);
        })?;
        self.sink = Box::new(file);
        self.waits = waits;
        self.opened = Some(opened);
        // The rest of a line is of no use in another file.
        self.torn.clear();
        self.torn_report = None;
        Ok(true)
    }

    /// Follows a file that was renamed or removed. One that was truncated needs nothing: it is
    /// written at its end, wherever that is.
    fn look_after(&mut self) {
        let Some(opened) = &mut self.opened else { return };
        let now = now();
        if now.duration_since(opened.looked_at) < LOOK {
            return;
        }
        opened.looked_at = now;
        let moved = match std::fs::metadata(&opened.path) {
            Ok(found) => {
                opened.was_missing = false;
                device_and_inode(&found) != opened.device_and_inode
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                mem::replace(&mut opened.was_missing, true)
            }
            // Nothing is known; the file that is open still is one.
            Err(_unknown) => false,
        };
        if moved && let Err(error) = self.reopen() {
            let is_gone = self.opened.as_ref().is_some_and(|it| it.is_gone);
            self.tell(
                if is_gone { "lines are dropped" } else { "lines still go to the old file" },
                &error,
            );
        }
    }

    fn try_write(&mut self, lines: &[u8]) -> io::Result<()> {
        let torn = mem::take(&mut self.torn);
        let (written, result) = self.write_all(&torn);
        if let Err(error) = result {
            self.torn = torn.get(written..).unwrap_or_default().to_vec();
            self.lose(count(lines));
            return Err(error);
        }
        if !torn.is_empty() {
            let reported = self.torn_report.take();
            // A line that was torn was given up, and is whole now.
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
            self.lose(count(rest));
        }
        result
    }

    /// How much was written, and whether that is all.
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
        let Some(fd) = &self.waits else { return false };
        self.patience.wait(|timeout| unwaiting::wait_for_room(fd, timeout))
    }

    /// On stderr, once in a while.
    fn tell(&mut self, consequence: &str, error: &io::Error) {
        let now = now();
        if self.told_at.is_some_and(|told_at| now.duration_since(told_at) < TELL) {
            return;
        }
        self.told_at = Some(now);
        let name = self.opened.as_ref().map_or("stdout".into(), |it| it.path.to_string_lossy());
        let name = name.escape_debug();
        unwaiting::tell(&format!("st-log: cannot write to {name}, {consequence}: {error}\n"));
    }
}

/// Also a pipe, which is waited for no longer than stdout is.
fn open(path: &Path) -> io::Result<(File, Option<OwnedFd>, Opened)> {
    let flags = unwaiting::flags();
    let file = OpenOptions::new().append(true).create(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    let waits = if unwaiting::may_wait(metadata.file_type()) {
        Some(file.as_fd().try_clone_to_owned()?)
    } else {
        None
    };
    let opened = Opened {
        path: path.to_owned(),
        device_and_inode: device_and_inode(&metadata),
        file: file.try_clone()?,
        is_gone: false,
        looked_at: now(),
        was_missing: false,
    };
    Ok((file, waits, opened))
}

fn device_and_inode(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().map(|it| u64::from(*it == b'\n')).sum()
}
