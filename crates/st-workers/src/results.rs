//! The logs that are kept here of finished jobs, because their provider deletes them.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use st_store::JobId;

use crate::files::{Folder, blocking};

const LOG: &str = "log";

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

    fn folder(&self, job: JobId) -> Folder {
        Folder::new(self.dir.join(job.to_string()))
    }

    /// What the job printed; `None` where that is not kept. What is no UTF-8 is replaced.
    pub async fn read(&self, job: JobId) -> io::Result<Option<String>> {
        let folder = self.folder(job);
        let log = blocking(move || folder.read(LOG)).await?;
        Ok(log.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
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
