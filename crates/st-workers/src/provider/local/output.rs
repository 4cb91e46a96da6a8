//! What a job prints, bounded: the end of it is kept, in two files that replace each other.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::files::Folder;

const CURRENT: &str = "output.log";
const PREVIOUS: &str = "output.log.1";
/// The usual size of a file. One that has grown to it becomes the previous one, so the log of a job
/// has at most twice as many bytes and its last ones are always there.
pub const FILE_BYTES: u64 = 8 * 1024 * 1024;
/// How much is read from the command at a time.
const CHUNK: usize = 64 * 1024;

/// Copies all of `from` into the log in this folder, whose files have `limit` bytes at most. What
/// cannot be written is lost, so that a full disk does not stop the command.
pub(super) fn keep(mut from: impl Read, dir: &Path, limit: u64) -> io::Result<()> {
    let mut log = Log { folder: Folder::new(dir.to_owned()), limit };
    let mut chunk = vec![0; CHUNK];
    let mut lost = None;
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return lost.map_or(Ok(()), Err),
            Ok(length) => {
                if let Err(error) = log.write(chunk.get(..length).unwrap_or_default()) {
                    lost = Some(error);
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Adds a line of the runner's own.
pub(super) fn add(dir: &Path, line: &str) -> io::Result<()> {
    Log { folder: Folder::new(dir.to_owned()), limit: FILE_BYTES }.write(line.as_bytes())
}

/// The log of one attempt.
#[derive(Debug)]
struct Log {
    folder: Folder,
    limit: u64,
}

impl Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.folder.append(CURRENT)?;
        file.write_all(bytes)?;
        if file.metadata()?.len() >= self.limit {
            let path = |name| self.folder.path().join(name);
            fs::rename(path(CURRENT), path(PREVIOUS))?;
        }
        Ok(())
    }
}

/// The last `bytes` of what was printed; `None` when there is no log.
pub(super) fn tail(dir: &Path, bytes: u64) -> io::Result<Option<String>> {
    let Some(current) = tail_of(&dir.join(CURRENT), bytes)? else {
        let previous = tail_of(&dir.join(PREVIOUS), bytes)?;
        return Ok(previous.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
    };
    let missing = bytes.saturating_sub(current.len() as u64);
    let mut tail = if missing > 0 {
        tail_of(&dir.join(PREVIOUS), missing)?.unwrap_or_default()
    } else {
        Vec::new()
    };
    tail.extend(current);
    Ok(Some(String::from_utf8_lossy(&tail).into_owned()))
}

fn tail_of(path: &Path, bytes: u64) -> io::Result<Option<Vec<u8>>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
    let mut tail = Vec::new();
    file.take(bytes).read_to_end(&mut tail)?;
    Ok(Some(tail))
}

/// The last line that says something, shortened.
pub(super) fn last_line(dir: &Path) -> Option<String> {
    let tail = tail(dir, 4096).ok().flatten()?;
    // A progress bar writes its lines over one another.
    let line = tail.rsplit(['\n', '\r']).find(|line| !line.trim().is_empty())?;
    Some(line.trim().chars().take(500).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_bounded_and_keeps_its_end() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(tail(dir.path(), 10).unwrap(), None);
        let mut log = Log { folder: Folder::new(dir.path().to_owned()), limit: 100 };
        for number in 100..1000 {
            log.write(format!("line {number}\n").as_bytes()).unwrap();
        }
        let bytes: u64 =
            fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap().metadata().unwrap().len()).sum();
        assert!(bytes < 220, "{bytes}");
        assert_eq!(tail(dir.path(), 18).unwrap().as_deref(), Some("line 998\nline 999\n"));
        let most = tail(dir.path(), 100).unwrap().unwrap();
        assert_eq!(most.len(), 100, "from both files: {most}");
        assert!(most.ends_with("line 998\nline 999\n"));
        assert_eq!(last_line(dir.path()).as_deref(), Some("line 999"));
    }

    #[test]
    fn the_command_goes_on_when_its_output_cannot_be_kept() {
        let printed = io::repeat(b'x').take(1_000_000);
        let lost = keep(printed, Path::new("/no/such/folder"), 100).unwrap_err();
        assert_eq!(lost.kind(), ErrorKind::NotFound);
    }
}
