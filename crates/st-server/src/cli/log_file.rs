//! Whether a start could open the log file. Makes nothing and writes nothing.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, OFlags, access};

/// Fails with the reason why a start could not open it.
pub(super) fn check(path: &Path) -> Result<(), String> {
    open(path).map_err(|error| format!("cannot open the log file {}: {error}", path.display()))
}

fn open(path: &Path) -> io::Result<()> {
    match path.metadata() {
        // Opening a device may do something, and opening a pipe may end its reader.
        Ok(it) if it.file_type().is_char_device() || it.file_type().is_fifo() => Ok(()),
        Ok(_) => {
            let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
            OpenOptions::new().append(true).custom_flags(flags).open(path).map(drop)
        }
        // A start would take the folder for the file.
        Err(_) if path.as_os_str().as_bytes().ends_with(b"/") => {
            Err(io::Error::from(io::ErrorKind::IsADirectory))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = folder_of(path);
            match fs::read_link(path) {
                // The start makes what the link leads to.
                Ok(target) => open(&folder.join(target)),
                Err(_no_link) => Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?),
            }
        }
        Err(error) => Err(error),
    }
}

fn folder_of(file: &Path) -> PathBuf {
    let folder = file.parent().filter(|it| !it.as_os_str().is_empty());
    folder.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_a_start_could_open_is_good_and_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("there.log"), "a line\n").unwrap();
        symlink("new.log", at("link.log")).unwrap();
        drop(std::os::unix::net::UnixListener::bind(at("socket")).unwrap());
        symlink(at("no/new.log"), at("broken.log")).unwrap();
        for good in ["there.log", "new.log", "link.log"] {
            assert_eq!(check(&at(good)), Ok(()), "{good}");
        }
        let gone = "No such file or directory (os error 2)";
        for (bad, why) in [
            ("no/x.log", gone),
            ("broken.log", gone),
            ("there.log/x.log", "Not a directory (os error 20)"),
            (".", "Is a directory (os error 21)"),
            ("new.log/", "is a directory"),
            ("socket", "No such device or address (os error 6)"),
        ] {
            let path = at(bad);
            let expected = format!("cannot open the log file {}: {why}", path.display());
            assert_eq!(check(&path), Err(expected));
        }
        assert_eq!(check(Path::new("/dev/null")), Ok(()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4, "nothing was made");
        assert_eq!(fs::read_to_string(at("there.log")).unwrap(), "a line\n");
    }
}
