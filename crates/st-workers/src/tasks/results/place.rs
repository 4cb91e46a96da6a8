//! The folder of a job's outputs: files that are whole, files that are not yet, and at the end a list of
//! them.
//!
//! A file is whole under its own name. Until then it is `<name>.part`, and `<name>.part.json` says how much
//! of it is certainly on the disk, and of which version of the file: what a machine that lost its power
//! wrote last may be nothing but zeros.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use st_store::JobId;

use crate::files::{Folder, blocking};

pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const PART: &str = ".part";
pub(super) const PART_RECORD: &str = ".part.json";

/// Bytes that are read at a time.
const PIECE: usize = 256 * 1024;

/// What is in a folder of outputs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) job_id: String,
    pub(super) files: Vec<ManifestFile>,
}

/// A file that is whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ManifestFile {
    pub(super) name: String,
    /// Without its query, which may be a secret.
    pub(super) url: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
    /// RFC 3339, by the store's clock.
    pub(super) fetched_at: String,
}

/// What is known of a file that is not whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartRecord {
    /// Without its query.
    pub(super) url: String,
    /// A strong `ETag`, or a `Last-Modified`.
    pub(super) validator: String,
    /// Bytes that are on the disk.
    pub(super) stored: u64,
}

/// A file that is being received.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) file: tokio::fs::File,
    pub(super) digest: Sha256,
    pub(super) length: u64,
}

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Place {
    folder: Folder,
}

impl Place {
    pub(super) fn of(dir: &Path, job: JobId) -> Self {
        Self { folder: Folder::new(dir.join(job.to_string())) }
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(super) async fn create(&self) -> io::Result<()> {
        let folder = self.folder.clone();
        blocking(move || folder.create()).await
    }

    /// What is in it, once all of it is.
    pub(super) async fn manifest(&self) -> io::Result<Option<Manifest>> {
        let folder = self.folder.clone();
        blocking(move || folder.read_json(MANIFEST)).await
    }

    /// Says that all of it is there.
    pub(super) async fn complete(&self, manifest: Manifest) -> io::Result<()> {
        let folder = self.folder.clone();
        blocking(move || folder.write_json(MANIFEST, &manifest)).await
    }

    /// Bytes and SHA-256 of a file that is whole; `None` where there is none.
    pub(super) async fn whole(&self, name: &str) -> io::Result<Option<(u64, String)>> {
        let path = self.file(name);
        blocking(move || match File::open(&path) {
            Ok(file) => {
                let bytes = file.metadata()?.len();
                let digest = digest_of(file, bytes)?;
                Ok(Some((bytes, hex(&digest.finalize()))))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    /// What is there of a file at this URL, where its receiving can go on.
    pub(super) async fn part_record(
        &self,
        name: &str,
        url: &str,
    ) -> io::Result<Option<PartRecord>> {
        let (folder, part) = (self.folder.clone(), self.file(&format!("{name}{PART}")));
        let (name, url) = (format!("{name}{PART_RECORD}"), url.to_owned());
        blocking(move || {
            // A record that is damaged is as good as none: the file is received anew.
            let record: Option<PartRecord> = match folder.read_json(&name) {
                Err(error) if error.kind() == ErrorKind::InvalidData => None,
                read => read?,
            };
            let length = std::fs::metadata(&part).map_or(0, |part| part.len());
            let fits = |it: &PartRecord| it.url == url && it.stored > 0 && it.stored <= length;
            Ok(record.filter(fits))
        })
        .await
    }

    /// Writes down how much of a file is on the disk, once it is.
    pub(super) async fn record_part(&self, name: &str, record: PartRecord) -> io::Result<()> {
        let (folder, name) = (self.folder.clone(), format!("{name}{PART_RECORD}"));
        blocking(move || folder.write_json(&name, &record)).await
    }

    /// A file to be received from byte `start` on; what there is beyond that is cut off.
    pub(super) async fn part(&self, name: &str, start: u64) -> io::Result<Part> {
        let path = self.file(&format!("{name}{PART}"));
        blocking(move || {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let mut file = options.open(&path)?;
            file.set_len(start)?;
            let digest = digest_of(&mut file, start)?;
            let file = tokio::fs::File::from_std(file);
            Ok(Part { file, digest, length: start })
        })
        .await
    }

    /// Gives a file that is whole its name. All of it is on the disk.
    pub(super) async fn finish(&self, name: &str) -> io::Result<()> {
        let folder = self.folder.clone();
        let (part, record) = (self.file(&format!("{name}{PART}")), format!("{name}{PART_RECORD}"));
        let whole = self.file(name);
        blocking(move || {
            std::fs::rename(&part, &whole)?;
            folder.remove(&record)?;
            folder.sync()
        })
        .await
    }
}

/// The digest of the next `bytes` of a file, which has as many.
fn digest_of(file: impl Read, bytes: u64) -> io::Result<Sha256> {
    let (mut file, mut digest) = (file.take(bytes), Sha256::new());
    let mut piece = vec![0; PIECE];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(digest);
        }
        digest.update(piece.get(..read).unwrap_or_default());
    }
}

pub(super) fn hex(digest: &[u8]) -> String {
    let digit = |four: u8| char::from_digit(u32::from(four), 16).unwrap_or_default();
    digest.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
