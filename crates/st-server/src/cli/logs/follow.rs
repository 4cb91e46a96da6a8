//! A log that is still being written.
//!
//! Promises: every line is given once it has its end, across rotation by renaming and by copying and
//! truncating; an interrupt ends it well. Leaves out: a file that is rotated twice, or truncated and
//! filled beyond where it was, between two looks; and whoever goes on writing to a renamed file
//! after the first line is in the new one.

use std::fs::{self, File, Metadata};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::lines::Lines;
use super::viewer::Viewer;
use super::{CHUNK, GZIP, Screen, Stop, read_chunk};

/// How long a line waits at most before it is shown.
const PERIOD: Duration = Duration::from_millis(250);

struct Tail<'p> {
    path: &'p Path,
    file: File,
    id: (u64, u64),
    /// How much of the file has been read.
    position: u64,
    lines: Lines,
    chunk: Vec<u8>,
}

/// Shows what is in the file and what comes, until there is an interrupt.
pub(super) fn follow(path: &Path, file: File, viewer: &mut Screen) -> Result<(), Stop> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Stop::Input)?;
    let mut tail = Tail::new(path, file).map_err(Stop::Input)?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Stop::Input)?;
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let more = tail.step(viewer)?;
            tokio::select! {
                biased;
                _ = interrupt.recv() => return Ok(()),
                // Without it a long file could not be interrupted.
                () = tokio::task::yield_now(), if more => {}
                _ = ticks.tick(), if !more => {}
            }
        }
    })
}

impl<'p> Tail<'p> {
    fn new(path: &'p Path, file: File) -> io::Result<Self> {
        let id = id(&file.metadata()?);
        Ok(Self { path, file, id, position: 0, lines: Lines::default(), chunk: vec![0; CHUNK] })
    }

    /// Reads on by one chunk, or goes to where the log goes on. False when there is nothing to do.
    fn step(&mut self, viewer: &mut Viewer<impl Write>) -> Result<bool, Stop> {
        // Asked before the file is read to its end: what was written to it before it had a
        // successor must not be missed.
        let has_successor = self.has_successor();
        let read = read_chunk(&mut self.file, &mut self.chunk).map_err(Stop::Input)?;
        if !read.is_empty() {
            if self.position == 0 && read.starts_with(&GZIP) {
                return Err(Stop::Packed);
            }
            self.position += read.len() as u64;
            self.lines.feed(read, |line| viewer.take(line)).map_err(Stop::Output)?;
            viewer.flush().map_err(Stop::Output)?;
            return Ok(true);
        }
        if self.file.metadata().map_err(Stop::Input)?.len() < self.position {
            self.file.seek(SeekFrom::Start(0)).map_err(Stop::Input)?;
        } else if has_successor && let Ok(file) = File::open(self.path) {
            // When it cannot be opened it may soon be, as a rotation is not one step.
            self.id = id(&file.metadata().map_err(Stop::Input)?);
            self.file = file;
        } else {
            return Ok(false);
        }
        self.position = 0;
        self.lines.finish(|line| viewer.take(line)).map_err(Stop::Output)?;
        viewer.flush().map_err(Stop::Output)?;
        Ok(true)
    }

    /// Whether another file stands at the path and is in use. While it is empty, the program may
    /// not know yet that it should write there.
    fn has_successor(&self) -> bool {
        fs::metadata(self.path).is_ok_and(|it| it.is_file() && id(&it) != self.id && it.len() > 0)
    }
}

fn id(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests;
