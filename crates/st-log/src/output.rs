//! One place where lines go: it may fail for a while and loses only what it must.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// How often a full pipe that must not be waited for is tried again, and after what pause.
const PATIENCE: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// Takes batches of whole lines.
pub(crate) struct Output {
    sink: Box<dyn Write + Send>,
    /// Where it can be opened again.
    path: Option<PathBuf>,
    /// The rest of a line of which a part was written. Written first when writing works again, so
    /// that the next line does not begin in the middle of this one.
    torn: Vec<u8>,
    /// Lines that were not written and not yet reported.
    lost: u64,
    failing: bool,
}

impl Output {
    pub(crate) fn new(sink: impl Write + Send + 'static) -> Self {
        Self { sink: Box::new(sink), path: None, torn: Vec::new(), lost: 0, failing: false }
    }

    /// Opens a file for append.
    pub(crate) fn file(path: &Path) -> io::Result<Self> {
        Ok(Self { path: Some(path.to_owned()), ..Self::new(open(path)?) })
    }

    #[cfg(unix)]
    pub(crate) fn stdout() -> Self {
        use std::os::fd::AsFd;
        // The buffer of the standard library would split a batch into several writes.
        match io::stdout().as_fd().try_clone_to_owned() {
            Ok(fd) => Self::new(File::from(fd)),
            Err(_closed) => Self::new(io::stdout()),
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn stdout() -> Self {
        Self::new(io::stdout())
    }

    /// Writes the batch; returns how many of its lines were lost.
    pub(crate) fn write(&mut self, batch: &[u8]) -> u64 {
        if batch.is_empty() {
            return 0;
        }
        let before = self.lost;
        match self.try_write(batch) {
            Ok(()) => self.failing = false,
            Err(error) => self.tell(&error),
        }
        self.lost - before
    }

    /// Counts lines that were lost before they came here.
    pub(crate) fn miss(&mut self, lines: u64) {
        self.lost += lines;
    }

    /// Writes what `report` makes of the number of lost lines, when there are any and it works.
    pub(crate) fn report(&mut self, report: impl FnOnce(u64) -> String) {
        if self.lost == 0 || self.failing {
            return;
        }
        let lost = self.lost;
        let unreported = self.write(report(lost).as_bytes());
        self.lost = if unreported == 0 { 0 } else { lost };
    }

    /// Opens the file again, which may have been renamed; the old one stays where that fails.
    ///
    /// Returns how many lines were lost by it.
    pub(crate) fn reopen(&mut self) -> io::Result<u64> {
        let Some(path) = &self.path else { return Ok(0) };
        self.sink = Box::new(open(path)?);
        // The rest of a line is of no use in another file.
        let lost = u64::from(!mem::take(&mut self.torn).is_empty());
        self.lost += lost;
        Ok(lost)
    }

    fn try_write(&mut self, batch: &[u8]) -> io::Result<()> {
        let torn = mem::take(&mut self.torn);
        let (written, result) = write_all(&mut *self.sink, &torn);
        if let Err(error) = result {
            self.torn = torn.get(written..).unwrap_or_default().to_vec();
            self.lost += lines(batch);
            return Err(error);
        }
        let (written, result) = write_all(&mut *self.sink, batch);
        if result.is_err() {
            let rest = batch.get(written..).unwrap_or_default();
            let mid_line =
                batch.get(..written).is_some_and(|it| !it.is_empty() && !it.ends_with(b"\n"));
            if mid_line {
                self.torn =
                    rest.split_inclusive(|it| *it == b'\n').next().unwrap_or_default().to_vec();
            }
            self.lost += lines(rest) - u64::from(mid_line);
        }
        result
    }

    /// Once per failure, on stderr: the log cannot tell of itself now.
    fn tell(&mut self, error: &io::Error) {
        if !mem::replace(&mut self.failing, true) {
            let name = self.path.as_deref().map_or("stdout".into(), Path::to_string_lossy);
            let notice = format!("st-log: cannot write to {name}, lines are dropped: {error}\n");
            if io::stderr().write_all(notice.as_bytes()).is_err() {
                // Then nobody listens at all.
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.iter().map(|it| u64::from(*it == b'\n')).sum()
}

/// How much was written, and whether that is all.
fn write_all(sink: &mut dyn Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    let mut patience = PATIENCE;
    while let Some(rest) = bytes.get(written..).filter(|it| !it.is_empty()) {
        match sink.write(rest) {
            Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && patience > 0 => {
                patience -= 1;
                thread::park_timeout(PAUSE);
            }
            Err(error) => return (written, Err(error)),
        }
    }
    (written, sink.flush())
}
