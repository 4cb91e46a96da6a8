//! The folder of a job's outputs: files that are whole, files that are not yet, and at the end a list of
//! them.
//!
//! A file is whole under its own name. Until then it is `<name>.part`, and `<name>.part.json` says how much
//! of it is certainly on the disk, and of which version of the file: what a machine that lost its power
//! wrote last may be nothing but zeros. `.received.json` says of which URL each whole file is: names follow
//! the order of a provider's list, which may change.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use st_store::JobId;
use tokio::io::AsyncWriteExt;

use crate::files::{Folder, blocking};

pub(super) const MANIFEST: &str = "manifest.json";
/// No file gets such a name: none begins with a dot.
const RECEIVED: &str = ".received.json";
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
    /// A strong `ETag`, or a `Last-Modified`; nothing says that there is none.
    pub(super) validator: String,
    /// Bytes that are on the disk.
    pub(super) stored: u64,
    /// Bytes of the whole file, where they are known.
    #[serde(default)]
    pub(super) whole: Option<u64>,
}

/// A file that is being received.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) file: tokio::fs::File,
    pub(super) digest: Sha256,
    pub(super) length: u64,
}

impl Part {
    /// Waits until all of it is on the disk.
    pub(super) async fn sync(&mut self) -> io::Result<()> {
        self.file.flush().await?;
        self.file.sync_data().await
    }
}

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Place {
    job: JobId,
    folder: Folder,
}

impl Place {
    pub(super) fn of(dir: &Path, job: JobId) -> Self {
        Self { job, folder: Folder::new(dir.join(job.to_string())) }
    }

    pub(super) fn job(&self) -> JobId {
        self.job
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
        blocking(move || {
            folder.write_json(MANIFEST, &manifest)?;
            folder.remove(RECEIVED)
        })
        .await
    }

    /// The files that are whole, as far as they still have the size that they were received with.
    pub(super) async fn received(&self) -> io::Result<Vec<ManifestFile>> {
        let folder = self.folder.clone();
        blocking(move || {
            let mut files = read_received(&folder)?;
            let mut sizes = Vec::with_capacity(files.len());
            for file in &files {
                sizes.push(folder.size(&file.name)? == Some(file.bytes));
            }
            let mut is_here = sizes.into_iter();
            files.retain(|_| is_here.next().unwrap_or_default());
            Ok(files)
        })
        .await
    }

    /// Gives a file its name, whose part is all of it.
    pub(super) async fn keep_whole(&self, file: ManifestFile) -> io::Result<()> {
        let folder = self.folder.clone();
        let (part, whole) = (self.file(&format!("{}{PART}", file.name)), self.file(&file.name));
        let record = format!("{}{PART_RECORD}", file.name);
        blocking(move || {
            let mut files = read_received(&folder)?;
            files.retain(|other| other.name != file.name);
            files.push(file);
            // Before the name: what has one is always of a known URL.
            folder.write_json(RECEIVED, &files)?;
            std::fs::rename(&part, &whole)?;
            folder.remove(&record)?;
            folder.sync()
        })
        .await
    }

    /// Removes what there is of a file that is not whole.
    pub(super) async fn discard_part(&self, name: &str) -> io::Result<()> {
        let folder = self.folder.clone();
        let names = [PART, PART_RECORD].map(|ending| format!("{name}{ending}"));
        blocking(move || names.iter().try_for_each(|name| folder.remove(name))).await
    }

    /// Removes what there is of all files that are not whole: nothing will go on with them.
    pub(super) async fn discard_parts(&self) -> io::Result<()> {
        let folder = self.folder.clone();
        blocking(move || {
            let entries = match folder.path().read_dir() {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                read => read?,
            };
            for entry in entries {
                let name = entry?.file_name();
                let Some(name) = name.to_str() else { continue };
                // What a crash left of the writing of a record has a dot before and numbers behind its name.
                let is_unwritten = name.starts_with('.') && name.contains(PART_RECORD);
                if name.ends_with(PART) || name.ends_with(PART_RECORD) || is_unwritten {
                    folder.remove(name)?;
                }
            }
            Ok(())
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
}

/// What is said of the files that are whole. A list that is damaged is as good as none.
fn read_received(folder: &Folder) -> io::Result<Vec<ManifestFile>> {
    match folder.read_json(RECEIVED) {
        Err(error) if error.kind() == ErrorKind::InvalidData => Ok(Vec::new()),
        read => Ok(read?.unwrap_or_default()),
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
