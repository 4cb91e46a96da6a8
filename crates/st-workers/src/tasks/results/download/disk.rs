//! What stays free of the file system of the outputs: a full one would stop everything else that writes
//! there, perhaps the database of this server.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::files::blocking;

/// Bytes that no download uses.
const RESERVE: u64 = 1024 * 1024 * 1024;

/// The limit of what downloads may use.
#[derive(Debug)]
pub(in super::super) struct Disk {
    reserve: u64,
}

impl Default for Disk {
    fn default() -> Self {
        Self { reserve: RESERVE }
    }
}

impl Disk {
    #[cfg(test)]
    pub(super) fn keeping(reserve: u64) -> Self {
        Self { reserve }
    }

    /// Fails unless so many bytes more fit into a folder.
    pub(super) async fn room_for(&self, folder: &Path, bytes: u64) -> io::Result<()> {
        let (folder, needed) = (PathBuf::from(folder), self.reserve.saturating_add(bytes));
        blocking(move || {
            let disk = rustix::fs::statvfs(&folder)?;
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            if free >= needed {
                return Ok(());
            }
            let found = format!("{free} bytes are free and {needed} are needed, with the reserve");
            Err(io::Error::new(ErrorKind::QuotaExceeded, found))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_would_use_the_reserve_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::keeping(1);
        disk.room_for(dir.path(), 1).await.unwrap();
        let refused = disk.room_for(dir.path(), u64::MAX / 2).await.unwrap_err();
        assert!(refused.to_string().ends_with("are needed, with the reserve"), "{refused}");
        Disk::keeping(u64::MAX).room_for(dir.path(), 0).await.unwrap_err();
    }
}
