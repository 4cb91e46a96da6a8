//! What the server writes to: its state directory, the disk below it, and its log file.
//!
//! Whether a folder can be written is tried with a file of one byte, which is removed again: only that
//! notices a full disk, a quota and a file system that is mounted for reading.

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, OFlags, StatVfs, access, statvfs};
use rustix::process::geteuid;

use super::broken_link::BrokenLink;
use super::finding::{Finding, Subject};
use crate::cli::database::size;

const MIB: u64 = 1024 * 1024;
/// With less room the next start or migration may fail.
const LEAST: u64 = 100 * MIB;
/// With less room there is an alert: the same numbers as in the rules for Prometheus.
const LITTLE: u64 = 1_000_000_000;
const LITTLE_PERCENT: u64 = 5;

/// Whether the folder is there, can be written, and belongs to its user alone.
pub(super) fn state_dir(path: &Path) -> Finding {
    let shown = path.display();
    let fail = |found: String, remedy: &str| Finding::failed(Subject::StateDir, found, remedy);
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return missing(path),
        Err(error) => {
            let remedy = "Set SIMPLETUNER_STATE_DIR to a folder that the server's user can reach.";
            return fail(format!("{shown} cannot be used: {error}"), remedy);
        }
    };
    if let Err(error) = try_writing(path) {
        let remedy = format!(
            "Run the doctor as the server's user (the folder belongs to user {}); if that is who \
             you are, correct the owner, the disk or SIMPLETUNER_STATE_DIR.",
            metadata.uid()
        );
        return fail(format!("{shown} cannot be written: {error}"), &remedy);
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o022 != 0 {
        let found = format!("others can write to {shown} (mode {mode:03o})");
        return fail(found, &format!("chmod 700 {shown}"));
    }
    if mode & 0o007 != 0 {
        let found = format!("every user of this machine can list {shown} (mode {mode:03o})");
        return Finding::warning(Subject::StateDir, found, format!("chmod 700 {shown}"));
    }
    owned_by(&metadata, path, geteuid().as_raw())
}

/// A folder of another user can be written here because the doctor may write everything; what that user
/// may write is then not found out.
fn owned_by(metadata: &Metadata, path: &Path, me: u32) -> Finding {
    let (shown, owner) = (path.display(), metadata.uid());
    if owner == me {
        return Finding::ok(Subject::StateDir, format!("{shown} can be written"));
    }
    let found = format!(
        "{shown} belongs to user {owner}, and the doctor runs as user {me}: what that user may \
                 not read or write is not found"
    );
    let remedy = format!("sudo -u '#{owner}' st-server doctor, with the server's environment.");
    Finding::warning(Subject::StateDir, found, remedy)
}

/// The folder is not there: whether a start could make it.
fn missing(path: &Path) -> Finding {
    if let Some(link) = BrokenLink::above(path) {
        let remedy =
            "Make the folder that the link leads to, mount its disk, or set SIMPLETUNER_STATE_DIR.";
        let found = format!("{} is not there: {link}", path.display());
        return Finding::failed(Subject::StateDir, found, remedy);
    }
    let above = path.ancestors().skip(1).find(|above| above.exists()).unwrap_or(Path::new("/"));
    if above.is_dir() && access(above, Access::WRITE_OK | Access::EXEC_OK).is_ok() {
        let found = format!("{} is not there yet; the first start makes it", path.display());
        return Finding::ok(Subject::StateDir, found);
    }
    let found =
        format!("{} is not there and cannot be made below {}", path.display(), above.display());
    let remedy = "Make it for the server's user, or set SIMPLETUNER_STATE_DIR.";
    Finding::failed(Subject::StateDir, found, remedy)
}

/// Writes one byte to a new file in the folder, and removes it again whatever came of that.
fn try_writing(folder: &Path) -> io::Result<()> {
    let probe = folder.join(format!(".st-server-doctor.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&probe)?;
    let written = file.write_all(b".").and_then(|()| file.sync_all());
    drop(file);
    let removed = fs::remove_file(&probe);
    written.and(removed)
}

/// How much room there is for the state directory.
pub(super) fn space(state_dir: &Path) -> Option<Finding> {
    let there = state_dir.ancestors().find(|path| path.exists())?;
    let disk = match statvfs(there) {
        Ok(disk) => disk,
        Err(error) => {
            let found = format!("the room on the disk of {} cannot be read", there.display());
            let remedy = format!("{error}; check with `df -h {}`.", there.display());
            return Some(Finding::warning(Subject::DiskSpace, found, remedy));
        }
    };
    Some(judge_space(state_dir, &disk))
}

fn judge_space(state_dir: &Path, disk: &StatVfs) -> Finding {
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    let (free, all) = (bytes(disk.f_bavail), bytes(disk.f_blocks));
    let percent = free.saturating_mul(100).checked_div(all).unwrap_or(100);
    let found = format!("{} ({percent} %) are free for {}", size(free), state_dir.display());
    let remedy = "Make room, or shorten SIMPLETUNER_JOB_RETENTION_DAYS. On a full disk nothing more \
                  is accepted, and nothing is lost.";
    if free < LEAST || disk.f_favail == 0 && disk.f_files > 0 {
        Finding::failed(Subject::DiskSpace, found, remedy)
    } else if free < LITTLE || percent < LITTLE_PERCENT {
        Finding::warning(Subject::DiskSpace, found, remedy)
    } else {
        Finding::ok(Subject::DiskSpace, found)
    }
}

/// The same for the log, where it is on another disk.
pub(super) fn log_space(log_file: &Path, state_dir: &Path) -> Option<Finding> {
    let is_pipe_or_device = log_file.metadata().is_ok_and(|it| !it.is_file());
    let device = |path: &Path| {
        let there = path.ancestors().find(|path| path.exists())?;
        Some(there.metadata().ok()?.dev())
    };
    let folder = folder_of(log_file);
    if is_pipe_or_device || device(&folder) == device(state_dir) {
        return None;
    }
    space(&folder)
}

fn folder_of(file: &Path) -> PathBuf {
    let folder = file.parent().filter(|it| !it.as_os_str().is_empty());
    folder.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// Whether the log file can be written, and is there while a server runs. `setting`: what names it.
pub(super) fn log_file(path: &Path, setting: &str, is_running: bool) -> Finding {
    let shown = path.display();
    // Opening a pipe would wait for its reader.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    match path.metadata() {
        Ok(it) if it.is_dir() => {
            let remedy = format!("Name a file in {setting}.");
            Finding::failed(Subject::LogFile, format!("{shown} is a folder"), remedy)
        }
        Ok(it) => match OpenOptions::new().append(true).custom_flags(flags).open(path) {
            Ok(_closed) if !it.is_file() => {
                let found = format!("{shown} is a pipe or a device, and is not read");
                Finding::ok(Subject::LogFile, found)
            }
            Ok(_closed) => Finding::ok(Subject::LogFile, format!("{shown} can be written")),
            Err(error) => {
                let found = format!("{shown} cannot be written: {error}");
                let remedy = format!(
                    "Give it to the server's user (it belongs to user {}), or change {setting}.",
                    it.uid()
                );
                Finding::failed(Subject::LogFile, found, remedy)
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_running => {
            let found = format!("a server runs, and {shown} is not there");
            let remedy = "The server writes to another file: the file was renamed or deleted and the \
                          server got no SIGHUP, or its SIMPLETUNER_LOG_FILE differs.";
            Finding::failed(Subject::LogFile, found, remedy)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => new_log_file(path, setting),
        Err(error) => {
            let found = format!("{shown} cannot be used: {error}");
            Finding::failed(Subject::LogFile, found, format!("Correct {setting}."))
        }
    }
}

fn new_log_file(path: &Path, setting: &str) -> Finding {
    let folder = folder_of(path);
    match try_writing(&folder) {
        Ok(()) => {
            let found = format!("{} is not there yet and can be made", path.display());
            Finding::ok(Subject::LogFile, found)
        }
        Err(error) => {
            let found = format!("{} cannot be made: {error}", path.display());
            let remedy = format!(
                "Make the folder {} for the server's user, or change {setting}.",
                folder.display()
            );
            Finding::failed(Subject::LogFile, found, remedy)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn disk(free: u64, all: u64) -> StatVfs {
        let mut disk = statvfs(".").unwrap();
        (disk.f_frsize, disk.f_bavail, disk.f_blocks) = (1, free, all);
        (disk.f_favail, disk.f_files) = (1, 1);
        disk
    }

    #[test]
    fn a_disk_is_judged_as_by_the_alert() {
        let level = |free, all| judge_space(Path::new("/x"), &disk(free, all)).level();
        assert_eq!(level(99 * MIB, 100 * MIB), Level::Failed);
        assert_eq!(level(LITTLE - 1, LITTLE), Level::Warning);
        assert_eq!(level(LITTLE, 20 * LITTLE), Level::Ok);
        assert_eq!(level(LITTLE, 21 * LITTLE), Level::Warning);
        let full = StatVfs { f_favail: 0, ..disk(20 * LITTLE, 21 * LITTLE) };
        assert_eq!(judge_space(Path::new("/x"), &full).level(), Level::Failed, "no more files");
    }

    #[test]
    fn a_folder_is_as_before_after_it_was_tried() {
        let dir = tempfile::tempdir().unwrap();
        try_writing(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        try_writing(&dir.path().join("gone")).unwrap_err();
    }

    #[test]
    fn a_folder_that_others_can_write_is_a_fault_and_one_that_they_can_list_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        for (mode, expected) in [
            (0o700, Level::Ok),
            (0o750, Level::Ok),
            (0o755, Level::Warning),
            (0o770, Level::Failed),
            (0o777, Level::Failed),
        ] {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(state_dir(dir.path()).level(), expected, "{mode:o}");
        }
    }

    #[test]
    fn a_folder_of_another_user_says_little_about_what_that_user_may_do() {
        let dir = tempfile::tempdir().unwrap();
        let metadata = dir.path().metadata().unwrap();
        let level = |me| owned_by(&metadata, dir.path(), me).level();
        assert_eq!((level(metadata.uid()), level(metadata.uid() + 1)), (Level::Ok, Level::Warning));
    }

    #[test]
    fn a_folder_that_is_not_there_is_one_only_where_it_cannot_be_made() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(state_dir(&dir.path().join("a/b")).level(), Level::Ok);
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(state_dir(&file.join("state")).level(), Level::Failed);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was made");
    }

    #[test]
    fn a_folder_behind_a_link_to_nothing_is_named_with_where_the_link_leads() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("state");
        std::os::unix::fs::symlink("/nowhere/disk", &link).unwrap();
        for path in [link.clone(), link.join("below")] {
            let found = state_dir(&path);
            assert_eq!(found.level(), Level::Failed);
            let why = format!(
                "{} is not there: {} is a symbolic link to /nowhere/disk, which is not there",
                path.display(),
                link.display()
            );
            assert_eq!(found.found, why);
        }
    }

    #[test]
    fn a_log_file_is_neither_made_nor_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cloud.log");
        assert_eq!(log_file(&path, "X", false).level(), Level::Ok);
        assert!(!path.exists());
        assert_eq!(log_file(&path, "X", true).level(), Level::Failed);
        fs::write(&path, "a line\n").unwrap();
        assert_eq!(log_file(&path, "X", false).level(), Level::Ok);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a line\n");
        assert_eq!(log_file(dir.path(), "X", false).level(), Level::Failed);
        let gone = log_file(&dir.path().join("no/cloud.log"), "SIMPLETUNER_LOG_FILE", false);
        assert_eq!(gone.level(), Level::Failed);
        assert!(gone.remedy().unwrap().contains("SIMPLETUNER_LOG_FILE"), "{gone:?}");
    }

    #[test]
    fn a_pipe_without_a_reader_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        crate::config::plain::tests::pipe(&path);
        assert_eq!(log_file(&path, "X", true).level(), Level::Failed);
        assert_eq!(log_file(Path::new("/dev/null"), "X", true).level(), Level::Ok);
    }

    #[test]
    fn the_disk_of_the_log_is_judged_where_it_is_another() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(log_space(&dir.path().join("cloud.log"), &dir.path().join("state")), None);
        let found = log_space(Path::new("/proc/cloud.log"), dir.path());
        assert!(found.is_some_and(|it| it.found.ends_with("are free for /proc")));
        assert_eq!(log_space(Path::new("/dev/null"), dir.path()), None);
    }
}
