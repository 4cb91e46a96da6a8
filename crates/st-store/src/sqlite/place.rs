//! Where the database is, and that it belongs to this process alone.
//!
//! The lock is an advisory lock (`flock`) on the database file itself, so that neither deleting a
//! lock file nor another name of the same file lets a second server in. On Linux it does not meet
//! the POSIX record locks with which SQLite coordinates its own connections. Those, however, are
//! dropped when *any* descriptor of the file is closed in this process. So the file is opened here
//! once, before SQLite opens it, and closed after SQLite has closed it.

mod locks;
mod mounts;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::sqlite::LOG;

/// What tells one file from every other on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId {
    pub(super) device: u64,
    pub(super) inode: u64,
}

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// Where the database is or will be; nothing is opened yet.
#[derive(Debug, Clone)]
pub(super) struct Site {
    /// As configured.
    path: PathBuf,
    /// With all links resolved: SQLite puts its other files beside this one.
    real: PathBuf,
}

impl Site {
    /// Finds the place and refuses it when it is on a network file system.
    pub(super) fn find(path: &Path) -> Result<Self> {
        let real = resolve(path)
            .map_err(|source| Error::Open { path: path.to_owned(), source: source.into() })?;
        // Where it cannot be read, nothing is known, and nothing is refused.
        if let Ok(mounts) = fs::read_to_string("/proc/self/mountinfo")
            && let Some(kind) = mounts::network_kind(&mounts, &real)
        {
            return Err(Error::NetworkFileSystem { path: path.to_owned(), kind: kind.to_owned() });
        }
        Ok(Self { path: path.to_owned(), real })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn real(&self) -> &Path {
        &self.real
    }

    pub(super) fn wal(&self) -> PathBuf {
        self.beside("-wal")
    }

    pub(super) fn record(&self) -> PathBuf {
        self.beside(".lock")
    }

    /// Whether there is a database that is more than an empty file.
    pub(super) fn has_database(&self) -> bool {
        fs::metadata(&self.real).is_ok_and(|metadata| metadata.len() > 0)
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(self.real.as_os_str());
        name.push(suffix);
        PathBuf::from(name)
    }
}

fn resolve(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = fs::canonicalize(folder.unwrap_or(Path::new(".")))?;
            Ok(path.file_name().map_or_else(|| folder.clone(), |name| folder.join(name)))
        }
        resolved => resolved,
    }
}

/// Whether the files that are open are still those at their paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// They are.
    Here,
    /// The database is not.
    DatabaseGone,
    /// The write-ahead log is not, but the database is.
    WalGone,
}

/// The database file, locked for this process.
#[derive(Debug)]
pub(super) struct Place {
    site: Site,
    id: FileId,
    born_at: Option<Timestamp>,
    /// The write-ahead log, once SQLite has opened it.
    wal: OnceLock<FileId>,
    /// Carries the lock. Dropped before the registration, see [`OPEN`].
    file: File,
    _registration: Registration,
}

impl Place {
    /// Creates the database file where there is none, and locks it.
    pub(super) fn lock(site: Site, recorded_pid: Option<u32>) -> Result<Self> {
        let fail =
            |source: io::Error| Error::Open { path: site.path.clone(), source: source.into() };
        let mut open = open_files();
        if let Ok(metadata) = fs::metadata(&site.real)
            && open.contains(&FileId::of(&metadata))
        {
            let holder = format!("process {}", std::process::id());
            return Err(Error::InUse { path: site.path, holder });
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&site.real)
            .map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        let id = FileId::of(&metadata);
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = locks::holder(id.inode, recorded_pid);
                return Err(Error::InUse { path: site.path, holder });
            }
            Err(TryLockError::Error(source)) => return Err(fail(source)),
        }
        if !metadata.is_file() || !is_at(&site.real, id) {
            return Err(fail(io::Error::other("it is no regular file, or it was just replaced")));
        }
        let born_at = metadata.created().ok().and_then(|time| Timestamp::try_from(time).ok());
        let registration = Registration(id);
        open.insert(id);
        drop(open);
        let place =
            Self { site, id, born_at, wal: OnceLock::new(), file, _registration: registration };
        place.make_private();
        Ok(place)
    }

    pub(super) fn site(&self) -> &Site {
        &self.site
    }

    pub(super) fn id(&self) -> FileId {
        self.id
    }

    /// When the file was created, to the millisecond, where the file system knows it.
    pub(super) fn born_at(&self) -> Option<i64> {
        self.born_at.map(Timestamp::as_millisecond)
    }

    /// Notes which file the write-ahead log is. SQLite must have opened it.
    pub(super) fn note_wal(&self) -> Result<()> {
        let wal = self.site.wal();
        let metadata = fs::metadata(&wal)
            .map_err(|source| Error::Open { path: wal.clone(), source: source.into() })?;
        self.wal.get_or_init(|| FileId::of(&metadata));
        self.make_private();
        Ok(())
    }

    /// Compares the files at the paths with those that are open. Nothing is opened for it: closing
    /// would drop SQLite's locks.
    pub(super) fn presence(&self) -> Presence {
        if !is_at(&self.site.path, self.id) {
            Presence::DatabaseGone
        } else if self.wal.get().is_some_and(|wal| !is_at(&self.site.wal(), *wal)) {
            Presence::WalGone
        } else {
            Presence::Here
        }
    }

    /// Where the contents of a deleted database can still be read while this process runs.
    pub(super) fn still_readable_at(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// The jobs' inputs and the users' names are nobody else's business.
    fn make_private(&self) {
        let site = &self.site;
        for path in [site.real.clone(), site.wal(), site.beside("-shm"), site.record()] {
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let others = metadata.permissions().mode() & 0o077;
            if others == 0 {
                continue;
            }
            if let Err(error) = fs::set_permissions(&path, Permissions::from_mode(0o600)) {
                st_log::warning!(logger: LOG, path = %path.display(), error, "File cannot be made private");
            }
        }
    }
}

fn is_at(path: &Path, id: FileId) -> bool {
    fs::metadata(path).is_ok_and(|metadata| FileId::of(&metadata) == id)
}

/// The databases that this process has open. A second descriptor of one of them must not even be
/// opened, because closing it would drop the locks of the first. Locked while one is opened.
static OPEN: Mutex<BTreeSet<FileId>> = Mutex::new(BTreeSet::new());

fn open_files() -> MutexGuard<'static, BTreeSet<FileId>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct Registration(FileId);

impl Drop for Registration {
    fn drop(&mut self) {
        open_files().remove(&self.0);
    }
}
