//! A folder whose files are whole or not there, for its owner alone.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Counts the files that this process began to write.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// A folder.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it and what is above it, so that they outlast a power cut.
    pub(crate) fn create(&self) -> io::Result<()> {
        // From the folder up to the first that is there.
        let missing: Vec<&Path> = self.path.ancestors().take_while(|it| !it.is_dir()).collect();
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        missing.into_iter().filter_map(Path::parent).try_for_each(|parent| {
            // What is above a relative path of one name is the working directory.
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            sync(parent)
        })
    }

    pub(crate) fn exists(&self) -> io::Result<bool> {
        self.path.try_exists()
    }

    pub(crate) fn has(&self, name: &str) -> io::Result<bool> {
        self.path.join(name).try_exists()
    }

    /// Bytes of a file; `None` where there is none.
    pub(crate) fn size(&self, name: &str) -> io::Result<Option<u64>> {
        match fs::metadata(self.path.join(name)) {
            Ok(file) => Ok(Some(file.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes a file, if it is there.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Waits until the names in it are on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        sync(&self.path)
    }

    /// A file to append to.
    pub(crate) fn append(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).mode(0o600).open(self.path.join(name))
    }

    pub(crate) fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The last `max` bytes of a file, and whether that is all of it; `None` where there is none.
    pub(crate) fn read_end(&self, name: &str, max: u64) -> io::Result<Option<(Vec<u8>, bool)>> {
        let mut file = match File::open(self.path.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let start = file.metadata()?.len().saturating_sub(max);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(max).read_to_end(&mut bytes)?;
        Ok(Some((bytes, start == 0)))
    }

    pub(crate) fn read_json<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            io::Error::new(ErrorKind::InvalidData, format!("{name} is damaged: {error}"))
        })
    }

    pub(crate) fn write_json(&self, name: &str, value: &impl Serialize) -> io::Result<()> {
        self.write(name, &serde_json::to_vec(value)?)
    }

    /// Whole or not at all, also when the machine stops in between.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        // Two concurrent writers must not remove each other's file.
        let nonce = WRITES.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.path.join(format!(".{name}.{}.{nonce}", std::process::id()));
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        // New, so that no link is followed.
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, self.path.join(name))?;
        self.sync()
    }
}

/// Waits until the names in a folder are on the disk.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Work with files, on a thread that may wait for them.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    st_log::spawn_blocking(work).await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
}
