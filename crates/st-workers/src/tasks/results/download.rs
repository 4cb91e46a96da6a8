//! Receiving one file, however often the connection breaks: what is there is not asked for again, as long
//! as the other side says that it is still of the same file.
//!
//! The URL comes from a provider and may lead anywhere. Only at the provider's own origin it is called with
//! the provider's client and credential, everywhere else with a client that connects to public addresses
//! alone; that is decided anew after each redirect.

use std::io;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, LOCATION, RANGE};
use http::{HeaderMap, StatusCode, Uri};
use sha2::Digest;
use st_http::{Client, StreamingResponse};
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

use super::place::{Part, PartRecord, Place, hex};
use crate::provider::{OutputFile, OwnAccess, Provider};

/// More redirects are a loop.
const REDIRECTS: usize = 5;
/// How long receiving a file may take, as long as something arrives.
const LONGEST: Duration = Duration::from_hours(24 * 7);
/// After so many new bytes, an attempt that breaks is followed by another one without delay.
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
}

impl Downloader<'_> {
    /// Receives a file of at most `allowed` bytes, and gives it its name.
    pub(super) async fn receive(
        &self,
        file: &OutputFile,
        (place, name): (&Place, &str),
        allowed: u64,
    ) -> Result<Received, DownloadError> {
        loop {
            let mut progress = 0;
            match self.attempt(file, (place, name), allowed, &mut progress).await {
                Err(DownloadError::Http(error)) if progress >= PROGRESS => {
                    let received = progress;
                    st_log::debug!(
                        logger: super::LOG, error, received,
                        "Download of an output broke off, going on with it"
                    );
                    sleep(AGAIN).await;
                }
                ended => return ended,
            }
        }
    }

    async fn attempt(
        &self,
        file: &OutputFile,
        (place, name): (&Place, &str),
        allowed: u64,
        progress: &mut u64,
    ) -> Result<Received, DownloadError> {
        let url = without_query(&file.url);
        let record = place.part_record(name, url).await?;
        let (response, start) = self.begin(&file.url, record.as_ref(), allowed).await?;
        let expected = announced(response.headers(), start);
        if start.max(expected.unwrap_or(0)) > allowed {
            return Err(DownloadError::TooLarge);
        }
        let validator = validator(response.headers());
        let mut part = place.part(name, start).await?;
        let record = |stored| {
            // Without a version, what is there can be the rest of nothing.
            let stored = if validator.is_some() { stored } else { 0 };
            let (url, validator) = (url.to_owned(), validator.clone().unwrap_or_default());
            place.record_part(name, PartRecord { url, validator, stored })
        };
        if start == 0 {
            // What an earlier record says is about bytes that are cut off.
            record(0).await?;
        }
        let received = copy(response, &mut part, allowed, &record).await;
        part.file.flush().await?;
        part.file.sync_data().await?;
        *progress = part.length - start;
        if received.is_err() {
            record(part.length).await?;
        }
        received?;
        match expected {
            Some(expected) if expected != part.length => {
                record(0).await?;
                Err(DownloadError::Length { received: part.length, expected })
            }
            Some(_) | None => {
                drop(part.file);
                place.finish(name).await?;
                Ok(Received { bytes: part.length, sha256: hex(&part.digest.finalize()) })
            }
        }
    }

    /// The answer with the rest of a file, and the byte that it begins with.
    async fn begin(
        &self,
        url: &str,
        record: Option<&PartRecord>,
        allowed: u64,
    ) -> Result<(StreamingResponse, u64), DownloadError> {
        if let Some(record) = record {
            let response = self.open(url, Some(record), allowed).await?;
            if response.status() == StatusCode::OK {
                return Ok((response, 0));
            }
            if response.status() == StatusCode::PARTIAL_CONTENT
                && continues(response.headers(), record)
            {
                return Ok((response, record.stored));
            }
            let is_other = [StatusCode::PARTIAL_CONTENT, StatusCode::RANGE_NOT_SATISFIABLE]
                .contains(&response.status());
            if !is_other {
                return Err(refused(url, response.status()));
            }
        }
        let response = self.open(url, None, allowed).await?;
        match response.status() {
            StatusCode::OK => Ok((response, 0)),
            other => Err(refused(url, other)),
        }
    }

    /// Calls a URL and follows its redirects.
    async fn open(
        &self,
        url: &str,
        record: Option<&PartRecord>,
        allowed: u64,
    ) -> Result<StreamingResponse, DownloadError> {
        let mut url = url.to_owned();
        for _ in 0..=REDIRECTS {
            let Ok(target) = url.parse::<Uri>() else {
                return Err(DownloadError::Address("what is no URL"));
            };
            let own = self.provider.own_access(&target).await;
            let is_clear_text = target.scheme_str() != Some("https");
            if own.is_none() && is_clear_text && !self.provider.is_clear_text() {
                return Err(DownloadError::Address("http, where the provider has https"));
            }
            let (client, credential) = match own {
                Some(OwnAccess { client, credential }) => (client, credential),
                None => (self.client.clone(), None),
            };
            let limit = usize::try_from(allowed).unwrap_or(usize::MAX).max(1);
            let mut request = client.get(&url).timeout(LONGEST).body_limit(limit);
            if let Some((name, value)) = credential {
                request = request.secret_header(name, value);
            }
            if let Some(PartRecord { validator, stored, .. }) = record {
                request = request.header(RANGE, format!("bytes={stored}-"));
                request = request.header(IF_RANGE, validator.as_str());
            }
            let response = request.open().await?;
            if !is_redirect(response.status()) {
                return Ok(response);
            }
            let location = response.headers().get(LOCATION).and_then(|it| it.to_str().ok());
            let next = location.and_then(|location| joined(&target, location));
            url = next.ok_or(DownloadError::Address("a redirect to no URL"))?;
        }
        Err(DownloadError::Address("a loop of redirects"))
    }
}

/// Writes what arrives; now and then it is written down how much is on the disk.
async fn copy<R>(
    mut response: StreamingResponse,
    part: &mut Part,
    allowed: u64,
    record: impl Fn(u64) -> R,
) -> Result<(), DownloadError>
where
    R: Future<Output = io::Result<()>>,
{
    let mut unsynced = 0;
    while let Some(chunk) = response.chunk().await.map_err(too_large_or_http)? {
        let bytes = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        if part.length.saturating_add(bytes) > allowed {
            return Err(DownloadError::TooLarge);
        }
        part.file.write_all(&chunk).await?;
        part.digest.update(&chunk);
        part.length += bytes;
        unsynced += bytes;
        if unsynced >= BETWEEN_SYNCS {
            part.file.flush().await?;
            part.file.sync_data().await?;
            record(part.length).await?;
            unsynced = 0;
        }
    }
    Ok(())
}

fn too_large_or_http(error: st_http::Error) -> DownloadError {
    if error.is_body_too_large() { DownloadError::TooLarge } else { error.into() }
}

fn refused(url: &str, status: StatusCode) -> DownloadError {
    let host = url.parse::<Uri>().ok().and_then(|url| url.host().map(str::to_owned));
    DownloadError::Status { host: host.unwrap_or_default(), status }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// What identifies this version of the file for a later request for the rest of it.
fn validator(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    // A weak one does not promise that the bytes are the same.
    text(ETAG).filter(|etag| etag.starts_with('"')).or_else(|| text(LAST_MODIFIED))
}

/// Whether an answer is the rest of what is there.
fn continues(headers: &HeaderMap, record: &PartRecord) -> bool {
    let same = validator(headers).is_none_or(|validator| validator == record.validator);
    same && range(headers).is_some_and(|(first, _)| first == record.stored)
}

/// The first byte of a part, and the length of the whole, where that is known.
fn range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, whole) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, whole.trim().parse().ok()))
}

/// The length of the whole file, where the answer says it.
fn announced(headers: &HeaderMap, start: u64) -> Option<u64> {
    if start > 0
        && let Some((_, whole)) = range(headers)
    {
        return whole;
    }
    let length: u64 = headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()?;
    start.checked_add(length)
}

/// The URL that a `Location` means.
fn joined(base: &Uri, location: &str) -> Option<String> {
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let location = location.split('#').next().unwrap_or_default();
    if location.contains("://") {
        return Some(location.to_owned());
    }
    if location.starts_with("//") {
        return Some(format!("{scheme}:{location}"));
    }
    if location.starts_with('/') {
        return Some(format!("{scheme}://{authority}{location}"));
    }
    let (folder, _) = base.path().rsplit_once('/')?;
    (!location.is_empty()).then(|| format!("{scheme}://{authority}{folder}/{location}"))
}

pub(super) fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_joined_to_its_url() {
        let base: Uri = "https://a.example/files/x?s=1".parse().unwrap();
        for (location, url) in [
            ("https://b.example/y#z", Some("https://b.example/y")),
            ("//b.example/y", Some("https://b.example/y")),
            ("/y?t=2", Some("https://a.example/y?t=2")),
            ("y", Some("https://a.example/files/y")),
            ("", None),
        ] {
            assert_eq!(joined(&base, location).as_deref(), url, "{location}");
        }
    }

    #[test]
    fn only_a_strong_etag_identifies_a_version() {
        let headers = |pairs: &[(http::HeaderName, &str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
        };
        let date = "Wed, 25 Nov 2026 21:57:00 GMT";
        assert_eq!(validator(&headers(&[(ETAG, "\"a\"")])).as_deref(), Some("\"a\""));
        let weak = headers(&[(ETAG, "W/\"a\""), (LAST_MODIFIED, date)]);
        assert_eq!(validator(&weak).as_deref(), Some(date));
        assert_eq!(validator(&headers(&[(ETAG, "W/\"a\"")])), None);
    }

    #[test]
    fn a_part_says_where_it_begins_and_how_long_the_whole_is() {
        for (text, expected) in [
            ("bytes 5-9/10", Some((5, Some(10)))),
            ("bytes 5-9/*", Some((5, None))),
            ("bytes */10", None),
            ("items 5-9/10", None),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_RANGE, text.parse().unwrap())]);
            assert_eq!(range(&headers), expected, "{text}");
        }
    }
}
