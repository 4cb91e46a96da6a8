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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use jiff::Timestamp;
use rustix::fs::OFlags;

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
        let path = path.to_owned();
        if let Ok(mounts) = fs::read_to_string("/proc/self/mountinfo") {
            if let Some(kind) = mounts::network_kind(&mounts, &real) {
                return Err(Error::NetworkFileSystem { path, kind: kind.to_owned() });
            }
            if real.is_file() && mounts::is_mount_point(&mounts, &real) {
                return Err(Error::SeveralNames { path });
            }
        }
        let site = Self { path, real };
        for beside in [site.wal(), site.shm(), site.record()] {
            if fs::symlink_metadata(&beside).is_ok_and(|found| !found.is_file()) {
                let source = "it is a link, a folder or another thing that is no file".into();
                return Err(Error::Open { path: beside, source });
            }
        }
        Ok(site)
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

    pub(super) fn shm(&self) -> PathBuf {
        self.beside("-shm")
    }

    pub(super) fn record(&self) -> PathBuf {
        self.beside(".lock")
    }

    /// Where an operator puts a record that is to count no longer.
    pub(super) fn earlier_record(&self) -> PathBuf {
        self.beside(".lock.old")
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
            // A link to a database that is yet to be made.
            if let Ok(target) = fs::read_link(path) {
                return resolve(&folder.join(target));
            }
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
    /// The shared memory of the log is not. Another program may have a new one, does not see the
    /// locks of this process and may change the log or the database beside it: nothing may be
    /// written any more, whatever comes back to this path.
    ShmGone,
}

/// The database file, locked for this process.
#[derive(Debug)]
pub(super) struct Place {
    site: Site,
    id: FileId,
    born_at: Option<Timestamp>,
    /// When the file was last changed before this process touched it.
    found_changed_at: i64,
    /// The write-ahead log and its shared memory, once SQLite has opened them.
    wal: OnceLock<FileId>,
    shm: OnceLock<FileId>,
    /// Whether the shared memory was ever missed.
    shm_lost: AtomicBool,
    /// Whether another program has put other contents into the file.
    overwritten: AtomicBool,
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
        if metadata.nlink() > 1 {
            return Err(Error::SeveralNames { path: site.path });
        }
        if !metadata.is_file() || !is_at(&site.real, id) {
            return Err(fail(io::Error::other("it is no regular file, or it was just replaced")));
        }
        let found_changed_at = changed_at(&metadata);
        let born_at = metadata.created().ok().and_then(|time| Timestamp::try_from(time).ok());
        let registration = Registration(id);
        open.insert(id);
        drop(open);
        let place = Self {
            site,
            id,
            born_at,
            found_changed_at,
            wal: OnceLock::new(),
            shm: OnceLock::new(),
            shm_lost: AtomicBool::new(false),
            overwritten: AtomicBool::new(false),
            file,
            _registration: registration,
        };
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

    /// When the file was last changed before this process touched it, see [`changed_at`].
    ///
    /// [`changed_at`]: Self::changed_at
    pub(super) fn found_changed_at(&self) -> i64 {
        self.found_changed_at
    }

    /// When the file was last changed, in nanoseconds and on disk: no program can set this time, so
    /// a file that was written over has another one. `None` while the disk fails.
    pub(super) fn changed_at(&self) -> Option<i64> {
        // SQLite syncs the contents only, and after a power cut an older time would be found.
        self.file.sync_all().ok()?;
        self.file.metadata().ok().map(|metadata| changed_at(&metadata))
    }

    /// Notes which files the write-ahead log and its shared memory are. SQLite must have opened
    /// them.
    pub(super) fn note_wal(&self) -> Result<()> {
        let wal = self.site.wal();
        let metadata = fs::metadata(&wal)
            .map_err(|source| Error::Open { path: wal.clone(), source: source.into() })?;
        self.wal.get_or_init(|| FileId::of(&metadata));
        if let Ok(metadata) = fs::metadata(self.site.shm()) {
            self.shm.get_or_init(|| FileId::of(&metadata));
        }
        self.make_private();
        Ok(())
    }

    /// Compares the files at the paths with those that are open. Nothing is opened for it: closing
    /// would drop SQLite's locks.
    pub(super) fn presence(&self) -> Presence {
        if self.overwritten.load(Ordering::Relaxed) || !is_at(&self.site.path, self.id) {
            Presence::DatabaseGone
        } else if self.is_without_shm() && fs::metadata(self.site.wal()).is_ok() {
            Presence::ShmGone
        } else if self.wal.get().is_some_and(|wal| !is_at(&self.site.wal(), *wal)) {
            Presence::WalGone
        } else {
            Presence::Here
        }
    }

    /// Notes that the file has the contents of another database: from now on it counts as replaced,
    /// and nothing of this process is written into it any more.
    pub(super) fn note_overwritten(&self) {
        self.overwritten.store(true, Ordering::Relaxed);
    }

    /// Whether the shared memory of the log is, or ever was, no longer at its path.
    pub(super) fn is_without_shm(&self) -> bool {
        if self.shm.get().is_some_and(|shm| is_gone_from(&self.site.shm(), *shm)) {
            self.shm_lost.store(true, Ordering::Relaxed);
        }
        self.shm_lost.load(Ordering::Relaxed)
    }

    /// Where the contents of a deleted database can still be read while this process runs.
    pub(super) fn still_readable_at(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// Other users of the machine may read neither the jobs' inputs nor the users' names.
    fn make_private(&self) {
        let site = &self.site;
        for path in [site.real.clone(), site.wal(), site.shm(), site.record()] {
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

/// Which process holds the lock of this database; `None` where none does.
pub(super) fn holder(site: &Site) -> io::Result<Option<String>> {
    let file = open_plain(site.real())?;
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(locks::holder(file.metadata()?.ino(), None))),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Opens a file for reading, unless it is a link or something whose opening has an effect.
pub(super) fn open_plain(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(plain_flags()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no file")) }
}

/// Flags with which opening a file follows no link and never blocks.
pub(super) fn plain_flags() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()
}

/// The time of the last change in nanoseconds.
fn changed_at(metadata: &Metadata) -> i64 {
    metadata.ctime().saturating_mul(1_000_000_000).saturating_add(metadata.ctime_nsec())
}

fn is_at(path: &Path, id: FileId) -> bool {
    fs::metadata(path).is_ok_and(|metadata| FileId::of(&metadata) == id)
}

/// Whether the file is certainly not at its path: an error of the file system says nothing.
fn is_gone_from(path: &Path, id: FileId) -> bool {
    match fs::metadata(path) {
        Ok(metadata) => FileId::of(&metadata) != id,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
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
