//! What a job made, into a folder of its own.

use std::io;
use std::path::PathBuf;

use jiff::Timestamp;
use st_log::Chain;
use st_store::{ProviderName, ResultsOutcome};
use tokio::time::timeout;

use super::DownloadConfig;
use super::download::{DownloadError, Downloader, Received, without_query};
use super::names::file_names;
use super::place::{Manifest, ManifestFile, Place};
use crate::provider::{OutputFile, QueryError, RemoteJob};
use crate::served::{LONGEST_CALL, ServedProvider};

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
            | DownloadError::Length { .. }) => Self::Failed(format!("{name}: {}", Chain(&error))),
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

    pub(super) fn outcome(&self) -> ResultsOutcome {
        let reason = self.to_string();
        match self {
            Self::Failed(_) | Self::Storage(_) => ResultsOutcome::Failed { reason },
            Self::Gone(_) => ResultsOutcome::Gone { reason },
            Self::Lost(_) => ResultsOutcome::Lost { reason },
        }
    }
}

/// Downloads the outputs of a job that completed, as far as they are not here. `now`: the store's time.
pub(super) async fn keep(
    served: &ServedProvider,
    job: &RemoteJob,
    config: &DownloadConfig,
    now: impl Fn() -> Timestamp,
) -> Result<Kept, NotKept> {
    let place = Place::of(&config.dir, job.id);
    if let Some(manifest) = place.manifest().await? {
        return Ok(kept(&place, &manifest.files));
    }
    let files = match timeout(LONGEST_CALL, served.provider().outputs(job)).await {
        Ok(Ok(files)) => files,
        Ok(Err(error)) => return Err(NotKept::of_query(served.name(), "output", &error)),
        Err(_elapsed) => return Err(NotKept::Failed(served.no_status().to_string())),
    };
    if files.is_empty() {
        return Ok(Kept::default());
    }
    place.create().await?;
    let downloader = Downloader { provider: served.provider(), client: &config.client };
    let names = file_names(files.iter().map(|file| file.name.as_str()));
    let mut listed = Vec::with_capacity(files.len());
    let mut left = config.max_bytes;
    for (file, name) in files.iter().zip(names) {
        let Received { bytes, sha256 } = one(&downloader, file, (&place, &name), left)
            .await
            .map_err(|error| NotKept::of_file(&name, error))?;
        left = left.saturating_sub(bytes);
        let (url, fetched_at) = (without_query(&file.url).to_owned(), format!("{:.3}", now()));
        listed.push(ManifestFile { name, url, bytes, sha256, fetched_at });
    }
    let kept = kept(&place, &listed);
    place.complete(Manifest { job_id: job.id.to_string(), files: listed }).await?;
    Ok(kept)
}

/// One file, unless an earlier attempt has received it whole.
async fn one(
    downloader: &Downloader<'_>,
    file: &OutputFile,
    (place, name): (&Place, &str),
    left: u64,
) -> Result<Received, DownloadError> {
    match place.whole(name).await? {
        Some((bytes, sha256)) => Ok(Received { bytes, sha256 }),
        None => downloader.receive(file, (place, name), left).await,
    }
}

fn kept(place: &Place, files: &[ManifestFile]) -> Kept {
    let bytes = files.iter().map(|file| file.bytes).fold(0, u64::saturating_add);
    Kept { bytes, files: files.len(), path: Some(place.path().to_owned()) }
}
