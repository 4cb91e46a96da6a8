//! What a job made, into a folder of its own.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use st_log::Chain;
use st_store::{JobRecord, ProviderName, RESULTS_MARGIN};
use tokio::time::Instant;

use super::DownloadConfig;
use super::download::{Disk, DownloadError, Downloader, Received, Wanted, without_query};
use super::names::file_names;
use super::place::{Manifest, ManifestFile, Place};
use crate::provider::{OutputFile, OutputList, QueryError, RemoteJob};
use crate::served::{CallKind, ServedProvider};

/// What is kept of a job.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) bytes: u64,
    /// Outputs.
    pub(super) files: usize,
    /// The folder of the outputs, where there is one.
    pub(super) path: Option<PathBuf>,
}

/// Why something of a job is not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotKept {
    /// It may work later.
    #[error("{0}")]
    Failed(String),
    /// The same, because of this machine.
    #[error("it cannot be stored here: {0}")]
    Storage(#[from] io::Error),
    /// The provider says that it has it no more.
    #[error("{0}")]
    Gone(String),
    /// It will not work later.
    #[error("{0}")]
    Lost(String),
}

impl NotKept {
    pub(super) fn of_query(provider: &ProviderName, what: &str, error: &QueryError) -> Self {
        match error {
            QueryError::NotFound => Self::Gone(format!("{provider} has deleted the {what}")),
            QueryError::Unavailable(_) => Self::Failed(format!("the {what}: {}", Chain(error))),
        }
    }

    fn of_file(name: &str, error: DownloadError) -> Self {
        match error {
            DownloadError::Storage(error) => Self::Storage(error),
            DownloadError::TooLarge => Self::Lost(error.to_string()),
            error @ (DownloadError::Http(_)
            | DownloadError::Status { .. }
            | DownloadError::Address(_)
            | DownloadError::Length { .. }
            | DownloadError::Partial(_)
            | DownloadError::Coding
            | DownloadError::NoEnd
            | DownloadError::TooSlow) => Self::Failed(format!("{name}: {}", Chain(&error))),
        }
    }

    /// The one of two that allows more attempts.
    pub(super) fn rather(self, other: Self) -> Self {
        let hope = |it: &Self| match it {
            Self::Storage(_) => 3,
            Self::Failed(_) => 2,
            Self::Gone(_) => 1,
            Self::Lost(_) => 0,
        };
        if hope(&other) > hope(&self) { other } else { self }
    }
}

/// What is here of the outputs of a job, and why not all of it.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    /// It has a path when a file is whole.
    pub(super) kept: Kept,
    /// Of several reasons the one that allows the most attempts.
    pub(super) missing: Option<NotKept>,
}

/// Downloads the outputs of a job that completed, as far as they are not here. `now`: the store's time.
pub(super) async fn keep(
    served: &ServedProvider,
    (job, record): (&RemoteJob, &JobRecord),
    config: &DownloadConfig,
    now: impl Fn() -> Timestamp + Send + Sync,
) -> Outputs {
    let place = Place::of(&config.dir, job.id);
    let missing = match place.manifest().await {
        Ok(Some(manifest)) => {
            return Outputs { kept: kept(&place, &manifest.files), missing: None };
        }
        Ok(None) => match listed(served, job).await {
            Ok(list) if list.files.is_empty() => match without_files(&list, record) {
                Some(missing) => missing,
                None => return Outputs::default(),
            },
            Ok(list) => {
                let downloader = Downloader {
                    provider: served.provider(),
                    client: &config.client,
                    until: no_further(record, now()),
                    disk: Disk::default(),
                };
                match fetch(&downloader, &place, &list, config.max_bytes, &now).await {
                    Ok(outputs) => return outputs,
                    Err(error) => NotKept::Storage(error),
                }
            }
            Err(missing) => missing,
        },
        Err(error) => NotKept::Storage(error),
    };
    // What earlier attempts received is still here.
    match place.received().await {
        Ok(files) => Outputs { kept: kept(&place, &files), missing: Some(missing) },
        Err(error) => {
            let missing = Some(missing.rather(NotKept::Storage(error)));
            Outputs { kept: Kept::default(), missing }
        }
    }
}

async fn listed(served: &ServedProvider, job: &RemoteJob) -> Result<OutputList, NotKept> {
    let list = served.fetch(CallKind::Outputs, served.provider().outputs(job)).await;
    list.map_err(|error| NotKept::of_query(served.name(), "output", &error))
}

/// Why no file is listed; `None` where the job made none.
fn without_files(list: &OutputList, record: &JobRecord) -> Option<NotKept> {
    if list.left_out > 0 {
        return Some(left_out(list.left_out));
    }
    // The status said where it is.
    let has_output = record.job().output_url.is_some();
    has_output.then(|| NotKept::Failed("the output is not in the provider's answer".to_owned()))
}

fn left_out(count: usize) -> NotKept {
    NotKept::Lost(format!(
        "{count} outputs cannot be downloaded: their addresses are not http URLs, or there are too many"
    ))
}

/// When no more requests follow each other without delay: nothing is expected of the provider any more.
fn no_further(record: &JobRecord, now: Timestamp) -> Instant {
    let deadline = record.job().results.as_ref().map_or(now, |results| results.expires_at);
    let left = deadline.duration_since(now).saturating_add(RESULTS_MARGIN);
    let left = Duration::try_from(left).unwrap_or_default();
    let start = Instant::now();
    start.checked_add(left).unwrap_or(start)
}

/// Receives every file that is not here, whatever becomes of the others.
async fn fetch(
    downloader: &Downloader<'_>,
    place: &Place,
    list: &OutputList,
    max_bytes: u64,
    now: &(impl Fn() -> Timestamp + Sync),
) -> io::Result<Outputs> {
    place.create().await?;
    let received = place.received().await?;
    let known: Vec<Option<&ManifestFile>> =
        list.files.iter().map(|file| known(file, &list.files, &received)).collect();
    let taken: Vec<&str> = known.iter().flatten().map(|file| file.name.as_str()).collect();
    let unknown = list.files.iter().zip(&known).filter(|(_, known)| known.is_none());
    let unknown = unknown.map(|(file, _)| file.name.as_str());
    let mut names = file_names(unknown, taken.into_iter()).into_iter();
    let here = known.iter().flatten().map(|file| file.bytes).fold(0, u64::saturating_add);
    let mut left = max_bytes.saturating_sub(here);
    let mut missing = (list.left_out > 0).then(|| left_out(list.left_out));
    let mut whole = Vec::with_capacity(list.files.len());
    for (file, known) in list.files.iter().zip(known) {
        if let Some(known) = known {
            whole.push(known.clone());
            continue;
        }
        let name = names.next().unwrap_or_default();
        let wanted = Wanted { url: &file.url, place, name: &name, allowed: left };
        match one(downloader, &wanted, now).await {
            Ok(file) => {
                left = left.saturating_sub(file.bytes);
                whole.push(file);
            }
            Err(error) => {
                let reason = NotKept::of_file(&name, error);
                missing = Some(match missing {
                    Some(other) => other.rather(reason),
                    None => reason,
                });
            }
        }
    }
    let kept = kept(place, &whole);
    match &missing {
        None => place.complete(Manifest { job_id: place.job().to_string(), files: whole }).await?,
        // No later attempt goes on with what is not whole.
        Some(NotKept::Lost(_)) => place.discard_parts().await?,
        Some(_) => {}
    }
    Ok(Outputs { kept, missing })
}

/// The file that an earlier attempt has received from this address. Where only the query tells two
/// addresses apart, which is not kept, either may be it.
fn known<'r>(
    file: &OutputFile,
    all: &[OutputFile],
    received: &'r [ManifestFile],
) -> Option<&'r ManifestFile> {
    let url = without_query(&file.url);
    let alike = all.iter().filter(|other| without_query(&other.url) == url).count();
    received.iter().find(|known| alike == 1 && known.url == url)
}

async fn one(
    downloader: &Downloader<'_>,
    wanted: &Wanted<'_>,
    now: &(impl Fn() -> Timestamp + Sync),
) -> Result<ManifestFile, DownloadError> {
    let Received { bytes, sha256 } = downloader.receive(wanted).await?;
    let (name, url) = (wanted.name.to_owned(), without_query(wanted.url).to_owned());
    let file = ManifestFile { name, url, bytes, sha256, fetched_at: format!("{:.3}", now()) };
    wanted.place.keep_whole(file.clone()).await?;
    Ok(file)
}

fn kept(place: &Place, files: &[ManifestFile]) -> Kept {
    let bytes = files.iter().map(|file| file.bytes).fold(0, u64::saturating_add);
    let path = (!files.is_empty()).then(|| place.path().to_owned());
    Kept { bytes, files: files.len(), path }
}
