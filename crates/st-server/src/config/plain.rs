//! Reading a file that an operator names, without waiting for anyone.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a file for reading. Pipes are refused, because opening one waits for a writer, maybe for ever; so
/// are folders and sockets. A device such as `/dev/null` is accepted.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if kind.is_file() || kind.is_char_device() {
        return Ok(file);
    }
    Err(io::Error::other("it is no regular file"))
}

/// Its text, as far as so many bytes.
pub(crate) fn text(path: &Path, most: u64) -> io::Result<String> {
    let mut text = String::new();
    open(path)?.take(most).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
pub(crate) mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    /// A pipe that nothing writes to.
    pub(crate) fn pipe(path: &Path) {
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }

    #[test]
    fn a_pipe_and_a_folder_are_refused_without_a_wait() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        pipe(&path);
        assert_eq!(text(&path, 9).unwrap_err().to_string(), "it is no regular file");
        text(dir.path(), 9).unwrap_err();
        let file = dir.path().join("file");
        std::fs::write(&file, "0123456789").unwrap();
        assert_eq!(text(&file, 9).unwrap(), "012345678");
        assert_eq!(text(Path::new("/dev/null"), 9).unwrap(), "");
    }
}
