//! Receiving one file, however often the connection breaks: what is there is not asked for again, as long
//! as the other side says that it is still of the same file.
//!
//! The URL comes from a provider and may lead anywhere. Only at the provider's own origin it is called with
//! the provider's client, and with its credential where the provider wants one for that URL; everywhere
//! else with a client that connects to public addresses alone. That is decided anew after each redirect,
//! and what another origin redirects to is called as if it were not the provider's own.

mod answer;
mod disk;
mod location;
mod pace;
#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind};
use std::time::Duration;

use http::header::{ACCEPT_ENCODING, IF_RANGE, LOCATION, RANGE};
use http::{StatusCode, Uri};
use sha2::Digest;
use st_http::{Client, StreamingResponse};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

use super::place::{Part, PartRecord, Place, hex};
use crate::provider::{OwnAccess, Provider};
use answer::{Answer, Opened};
pub(super) use disk::Disk;
use location::joined;
pub(super) use location::without_query;
use pace::{Pace, TooSlow};

/// More redirects are a loop.
const REDIRECTS: usize = 5;
/// How long one answer may take, as long as it is fast enough. The largest outputs that are received
/// unless that is configured come within it at 5 Mbit/s.
const LONGEST: Duration = Duration::from_hours(24);
/// So many requests for parts follow each other without delay at most.
const ROUNDS: usize = 100;
/// After so many bytes more than ever, an answer that breaks off is followed by another request without
/// delay.
const PROGRESS: u64 = 1024 * 1024;
const AGAIN: Duration = Duration::from_secs(1);
/// So much is written between two times at which it is certainly on the disk.
const BETWEEN_SYNCS: u64 = 64 * 1024 * 1024;

/// Why a file was not received. No query of a URL is in any of them.
#[derive(Debug, thiserror::Error)]
pub(super) enum DownloadError {
    #[error("it cannot be stored here")]
    Storage(#[from] io::Error),
    #[error("it cannot be received")]
    Http(#[from] st_http::Error),
    #[error("{host} answered {status}")]
    Status { host: String, status: StatusCode },
    #[error("its address leads to {0}")]
    Address(&'static str),
    #[error("{received} bytes came, {expected} were announced")]
    Length { received: u64, expected: u64 },
    #[error("only its first {0} bytes can be received at once")]
    Partial(u64),
    #[error("it is sent compressed, which was not asked for")]
    Coding,
    #[error("it is sent without its length, so that its end is not known from a broken connection")]
    NoEnd,
    #[error("it is sent too slowly")]
    TooSlow,
    #[error("all outputs together are larger than outputs.max_bytes")]
    TooLarge,
}

/// A file that is whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// How files of a provider are received.
#[derive(Debug)]
pub(super) struct Downloader<'a> {
    pub(super) provider: &'a dyn Provider,
    /// For every origin but the provider's own.
    pub(super) client: &'a Client,
    /// From then on no request follows another one without delay.
    pub(super) until: Instant,
    pub(super) disk: Disk,
}

/// A file that is to be received.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) url: &'a str,
    pub(super) place: &'a Place,
    /// Its name there.
    pub(super) name: &'a str,
    /// Bytes that it may have.
    pub(super) allowed: u64,
}

/// How one request ended.
#[derive(Debug)]
enum Round {
    Whole(Received),
    /// So many bytes are stored. `anew`: they were not added to those that were stored before.
    Stopped {
        stored: u64,
        anew: bool,
        why: DownloadError,
    },
}

impl Downloader<'_> {
    /// Receives a file, all of which is then in its part.
    pub(super) async fn receive(&self, wanted: &Wanted<'_>) -> Result<Received, DownloadError> {
        let received = self.rounds(wanted).await;
        if let Err(error) = &received {
            wanted.give_back(error).await?;
        }
        received
    }

    async fn rounds(&self, wanted: &Wanted<'_>) -> Result<Received, DownloadError> {
        let mut pace = Pace::new();
        let mut most = wanted.record().await?.map_or(0, |record| record.stored);
        let mut rounds = 1;
        loop {
            let (received, anew, why) = match self.round(wanted, &mut pace).await? {
                Round::Whole(received) => return Ok(received),
                Round::Stopped { stored, anew, why } => (stored, anew, why),
            };
            let least = if matches!(why, DownloadError::Partial(_)) { 1 } else { PROGRESS };
            let progressed = received.saturating_sub(most) >= least && !anew;
            if !progressed || rounds >= ROUNDS || Instant::now() >= self.until {
                return Err(why);
            }
            most = received;
            rounds += 1;
            st_log::debug!(
                logger: super::LOG, error = why, received,
                "Download of an output broke off, going on with it"
            );
            sleep(AGAIN).await;
        }
    }

    /// One request for a file, or for the rest of it.
    async fn round(&self, wanted: &Wanted<'_>, pace: &mut Pace) -> Result<Round, DownloadError> {
        let Wanted { place, name, allowed, .. } = *wanted;
        self.disk.room_for(place.path(), 0).await?;
        let record = wanted.record().await?;
        let stored = record.as_ref().map_or(0, |record| record.stored);
        if stored > allowed {
            return Err(DownloadError::TooLarge);
        }
        // Read before the request: no answer waits for it.
        let part = if stored > 0 { Some(place.part(name, stored).await?) } else { None };
        let answer = self.begin(wanted, record.as_ref()).await?;
        let (answer, part) = match (answer, part) {
            (None, Some(part)) => return wanted.finished(part).await,
            (None, None) => return Err(DownloadError::Address("an empty part")),
            (Some(answer), Some(part)) if part.length == answer.start => (answer, part),
            (Some(answer), _) => {
                let part = place.part(name, answer.start).await?;
                (answer, part)
            }
        };
        if answer.least() > allowed {
            return Err(DownloadError::TooLarge);
        }
        self.disk.room_for(place.path(), answer.least() - answer.start).await?;
        self.store(wanted, (answer, part), pace, record.is_some()).await
    }

    /// Adds what an answer brings to a part. `resumed`: there were bytes, and the rest was asked for.
    async fn store(
        &self,
        wanted: &Wanted<'_>,
        (answer, mut part): (Answer, Part),
        pace: &mut Pace,
        resumed: bool,
    ) -> Result<Round, DownloadError> {
        let (start, end, whole) = (answer.start, answer.end, answer.whole);
        let (is_part, validator) = (answer.is_part(), answer.validator);
        // Without a version, what is there can be the rest of nothing.
        let usable = |stored| if validator.is_some() { stored } else { 0 };
        let record = |stored| {
            let validator = validator.clone().unwrap_or_default();
            wanted.write_record(validator, usable(stored), whole)
        };
        if start == 0 {
            // What an earlier record says is about bytes that are cut off.
            record(0).await?;
        }
        let received = self.copy((answer.response, &mut part), wanted, pace, &record).await;
        part.sync().await?;
        let stored = part.length;
        if let Some(expected) = end
            && (stored > expected || received.is_ok() && stored != expected)
        {
            record(0).await?;
            return Err(DownloadError::Length { received: stored, expected });
        }
        let why = match received {
            Ok(()) if !is_part || whole == Some(stored) => return wanted.finished(part).await,
            Ok(()) => DownloadError::Partial(stored),
            Err(why) => why,
        };
        record(stored).await?;
        if !matches!(why, DownloadError::Http(_) | DownloadError::Partial(_)) {
            return Err(why);
        }
        Ok(Round::Stopped { stored: usable(stored), anew: resumed && start == 0, why })
    }

    /// The answer with a file, or with the rest of it; `None` where the part that is here is all of it.
    async fn begin(
        &self,
        wanted: &Wanted<'_>,
        record: Option<&PartRecord>,
    ) -> Result<Option<Answer>, DownloadError> {
        if let Some(record) = record {
            if record.whole == Some(record.stored) {
                return Ok(None);
            }
            let opened = self.open(wanted, Some(record)).await?;
            match opened.status() {
                StatusCode::OK => return opened.whole().map(Some),
                StatusCode::PARTIAL_CONTENT => {
                    if let Some(rest) = opened.rest_of(record)? {
                        return Ok(Some(rest));
                    }
                }
                StatusCode::RANGE_NOT_SATISFIABLE if opened.ends_with(record) => return Ok(None),
                StatusCode::RANGE_NOT_SATISFIABLE => {}
                _ => return Err(opened.refused()),
            }
        }
        let opened = self.open(wanted, None).await?;
        match opened.status() {
            StatusCode::OK => opened.whole().map(Some),
            _ => Err(opened.refused()),
        }
    }

    /// Calls a URL and follows its redirects.
    async fn open(
        &self,
        wanted: &Wanted<'_>,
        record: Option<&PartRecord>,
    ) -> Result<Opened, DownloadError> {
        let mut url = wanted.url.to_owned();
        let mut left_origin = false;
        for _ in 0..=REDIRECTS {
            let Ok(target) = url.parse::<Uri>() else {
                return Err(DownloadError::Address("what is no URL"));
            };
            let own = if left_origin { None } else { self.provider.own_access(&target).await };
            left_origin = own.is_none();
            let is_clear_text = target.scheme_str() != Some("https");
            if own.is_none() && is_clear_text && !self.provider.is_clear_text() {
                return Err(DownloadError::Address("http, where the provider has https"));
            }
            let (client, credential) = match own {
                Some(OwnAccess { client, credential }) => (client, credential),
                None => (self.client.clone(), None),
            };
            let limit = usize::try_from(wanted.allowed).unwrap_or(usize::MAX).max(1);
            let mut request = client.get(&url).timeout(LONGEST).body_limit(limit);
            request = request.header(ACCEPT_ENCODING, "identity");
            if let Some((name, value)) = credential {
                request = request.secret_header(name, value);
            }
            if let Some(PartRecord { validator, stored, .. }) = record {
                request = request.header(RANGE, format!("bytes={stored}-"));
                request = request.header(IF_RANGE, validator.as_str());
            }
            let response = request.open().await?;
            if !is_redirect(response.status()) {
                return Ok(Opened { response, target });
            }
            let location = response.headers().get(LOCATION).and_then(|it| it.to_str().ok());
            let next = location.and_then(|location| joined(&target, location));
            url = next.ok_or(DownloadError::Address("a redirect to no URL"))?;
        }
        Err(DownloadError::Address("a loop of redirects"))
    }

    /// Writes what arrives; now and then it is written down how much is on the disk.
    async fn copy<R>(
        &self,
        (mut response, part): (StreamingResponse, &mut Part),
        wanted: &Wanted<'_>,
        pace: &mut Pace,
        record: impl Fn(u64) -> R,
    ) -> Result<(), DownloadError>
    where
        R: Future<Output = io::Result<()>>,
    {
        let mut unsynced = 0;
        loop {
            let next =
                pace.keep(response.chunk()).await.map_err(|TooSlow| DownloadError::TooSlow)?;
            let Some(chunk) = next.map_err(too_large_or_http)? else { return Ok(()) };
            let bytes = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            if part.length.saturating_add(bytes) > wanted.allowed {
                return Err(DownloadError::TooLarge);
            }
            pace.note(bytes);
            part.file.write_all(&chunk).await?;
            part.digest.update(&chunk);
            part.length += bytes;
            unsynced += bytes;
            if unsynced >= BETWEEN_SYNCS {
                part.sync().await?;
                record(part.length).await?;
                self.disk.room_for(wanted.place.path(), 0).await?;
                unsynced = 0;
            }
        }
    }
}

impl Wanted<'_> {
    async fn record(&self) -> io::Result<Option<PartRecord>> {
        self.place.part_record(self.name, without_query(self.url)).await
    }

    async fn write_record(
        &self,
        validator: String,
        stored: u64,
        whole: Option<u64>,
    ) -> io::Result<()> {
        let url = without_query(self.url).to_owned();
        let record = PartRecord { url, validator, stored, whole };
        self.place.record_part(self.name, record).await
    }

    /// A part that is all of the file. Its record says so, so that nothing is lost before it has its name.
    async fn finished(&self, part: Part) -> Result<Round, DownloadError> {
        self.write_record(String::new(), part.length, Some(part.length)).await?;
        Ok(Round::Whole(Received { bytes: part.length, sha256: hex(&part.digest.finalize()) }))
    }

    /// Removes a part that no later attempt can go on with, or for which there is no room.
    async fn give_back(&self, error: &DownloadError) -> io::Result<()> {
        let is_useless = match error {
            DownloadError::TooLarge => true,
            DownloadError::Storage(error) => error.kind() == ErrorKind::StorageFull,
            DownloadError::Http(_)
            | DownloadError::Status { .. }
            | DownloadError::Address(_)
            | DownloadError::Length { .. }
            | DownloadError::Partial(_)
            | DownloadError::Coding
            | DownloadError::NoEnd
            | DownloadError::TooSlow => false,
        };
        if is_useless { self.place.discard_part(self.name).await } else { Ok(()) }
    }
}

fn too_large_or_http(error: st_http::Error) -> DownloadError {
    if error.is_body_too_large() { DownloadError::TooLarge } else { error.into() }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}
