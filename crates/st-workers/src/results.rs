//! The logs that are kept here of finished jobs, because their provider deletes them.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use st_store::JobId;

use crate::files::{Folder, blocking};

const LOG: &str = "log";
/// Bytes of the end of a log.
const END: u64 = 64 * 1024;

/// A folder with a folder for each job, in which its log is. For the server's user alone.
#[derive(Debug, Clone)]
pub struct KeptLogs {
    dir: PathBuf,
}

impl KeptLogs {
    /// The logs in this folder, which is made when the first is kept.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Whether this folder is the one of the logs or within it, where others delete what they do not know.
    pub fn owns(&self, folder: &Path) -> bool {
        folder.starts_with(&self.dir)
    }

    fn folder(&self, job: JobId) -> Folder {
        Folder::new(self.dir.join(job.to_string()))
    }

    /// What the job printed; `None` where that is not kept. What is no UTF-8 is replaced.
    pub async fn read(&self, job: JobId) -> io::Result<Option<String>> {
        let folder = self.folder(job);
        let log = blocking(move || folder.read(LOG)).await?;
        Ok(log.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The whole lines in the last 64 KiB of what the job printed; `None` where that is not kept.
    pub async fn read_end(&self, job: JobId) -> io::Result<Option<String>> {
        let folder = self.folder(job);
        let Some((bytes, is_all)) = blocking(move || folder.read_end(LOG, END)).await? else {
            return Ok(None);
        };
        let cut = if is_all { None } else { memchr::memchr(b'\n', &bytes) };
        let lines = cut.and_then(|at| bytes.get(at + 1..)).unwrap_or(&bytes);
        Ok(Some(String::from_utf8_lossy(lines).into_owned()))
    }

    /// At most `max` of the jobs that have a folder here which has not changed since `before`, in order,
    /// from the first beyond `beyond`.
    pub(crate) async fn jobs_beyond(
        &self,
        beyond: Option<JobId>,
        before: Timestamp,
        max: usize,
    ) -> io::Result<BTreeSet<JobId>> {
        let dir = self.dir.clone();
        blocking(move || {
            let entries = match std::fs::read_dir(dir) {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
                Err(error) => return Err(error),
            };
            let mut first = BTreeSet::new();
            for entry in entries {
                let entry = entry?;
                let job = entry.file_name().to_str().and_then(|name| name.parse::<JobId>().ok());
                let Some(job) = job.filter(|job| beyond.is_none_or(|beyond| *job > beyond)) else {
                    continue;
                };
                if changed_at(&entry.path()).is_some_and(|at| at < before) {
                    first.insert(job);
                }
                if first.len() > max {
                    first.pop_last();
                }
            }
            Ok(first)
        })
        .await
    }

    /// Bytes of the job's log; `None` where it is not kept.
    pub(crate) async fn size(&self, job: JobId) -> io::Result<Option<u64>> {
        let folder = self.folder(job);
        blocking(move || folder.size(LOG)).await
    }

    /// Keeps the job's log: all of it or, on an error, nothing.
    pub(crate) async fn keep(&self, job: JobId, log: String) -> io::Result<()> {
        let folder = self.folder(job);
        blocking(move || {
            folder.create()?;
            folder.write(LOG, log.as_bytes())
        })
        .await
    }

    /// Removes what is kept of a job.
    pub(crate) async fn forget(&self, job: JobId) -> io::Result<()> {
        let folder = self.folder(job);
        blocking(move || match std::fs::remove_dir_all(folder.path()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        })
        .await
    }
}

/// `None` where it is not known: such a folder is left alone.
fn changed_at(folder: &Path) -> Option<Timestamp> {
    Timestamp::try_from(std::fs::metadata(folder).ok()?.modified().ok()?).ok()
}
