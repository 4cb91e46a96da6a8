//! What the head of an answer says of the file: which part of it comes, of how much, of which version.

use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, LAST_MODIFIED, TRANSFER_ENCODING,
};
use http::{HeaderMap, StatusCode, Uri};
use st_http::StreamingResponse;

use super::super::place::PartRecord;
use super::DownloadError;

/// An answer that is no redirect.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) response: StreamingResponse,
    /// Who answered.
    pub(super) target: Uri,
}

/// An answer that brings bytes of the file.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: StreamingResponse,
    /// The first byte.
    pub(super) start: u64,
    /// The byte behind the last, where that is known.
    pub(super) end: Option<u64>,
    /// Bytes of the whole file, where they are known.
    pub(super) whole: Option<u64>,
    /// What identifies this version of the file.
    pub(super) validator: Option<String>,
}

impl Answer {
    /// Bytes of the whole file that there are at least.
    pub(super) fn least(&self) -> u64 {
        self.whole.or(self.end).unwrap_or(self.start)
    }

    /// Whether it is for a part, so that its end is not that of the file by itself.
    pub(super) fn is_part(&self) -> bool {
        self.response.status() == StatusCode::PARTIAL_CONTENT
    }
}

impl Opened {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(super) fn refused(&self) -> DownloadError {
        let host = self.target.host().unwrap_or_default().to_owned();
        DownloadError::Status { host, status: self.status() }
    }

    /// The file from its beginning, in an answer of 200.
    pub(super) fn whole(self) -> Result<Answer, DownloadError> {
        let headers = self.response.headers();
        check_coding(headers)?;
        let length = number(headers, CONTENT_LENGTH);
        // Over TLS, an end that an attacker forged would be an error.
        let ends_by_closing = length.is_none() && !headers.contains_key(TRANSFER_ENCODING);
        if ends_by_closing && self.target.scheme_str() != Some("https") {
            return Err(DownloadError::NoEnd);
        }
        let validator = validator(headers);
        Ok(Answer { response: self.response, start: 0, end: length, whole: length, validator })
    }

    /// The rest of a file, in an answer of 206; `None` where it is not of the part that is here.
    pub(super) fn rest_of(self, record: &PartRecord) -> Result<Option<Answer>, DownloadError> {
        let headers = self.response.headers();
        check_coding(headers)?;
        let Some((first, last, whole)) = range(headers) else { return Ok(None) };
        let same_length = whole.zip(record.whole).is_none_or(|(one, other)| one == other);
        let whole = whole.or(record.whole);
        let fits = last >= first && whole.is_none_or(|whole| last < whole);
        let continues = first == record.stored && is_same_version(headers, record);
        if !(same_length && fits && continues) {
            return Ok(None);
        }
        // It need not repeat what identifies the version, which If-Range has compared.
        let validator = Some(record.validator.clone());
        let end = last.checked_add(1);
        Ok(Some(Answer { response: self.response, start: first, end, whole, validator }))
    }

    /// Whether an answer of 416 says that the file ends where the part does.
    pub(super) fn ends_with(&self, record: &PartRecord) -> bool {
        let headers = self.response.headers();
        let text = headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let whole = text.and_then(|text| text.trim().strip_prefix("bytes */")?.trim().parse().ok());
        whole == Some(record.stored) && is_same_version(headers, record)
    }
}

fn is_same_version(headers: &HeaderMap, record: &PartRecord) -> bool {
    validator(headers).is_none_or(|validator| validator == record.validator)
}

/// What is compressed has other lengths, other ranges and another digest.
fn check_coding(headers: &HeaderMap) -> Result<(), DownloadError> {
    let plain = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().all(plain) {
        return Ok(());
    }
    Err(DownloadError::Coding)
}

/// What identifies this version of the file for a later request for the rest of it.
fn validator(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    // A weak one does not promise that the bytes are the same.
    text(ETAG).filter(|etag| etag.starts_with('"')).or_else(|| text(LAST_MODIFIED))
}

/// The first and the last byte of a part, and the length of the whole, where that is known.
fn range(headers: &HeaderMap) -> Option<(u64, u64, Option<u64>)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, whole) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?, whole.trim().parse().ok()))
}

fn number(headers: &HeaderMap, name: http::HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_part_says_where_it_is_and_how_long_the_whole_is() {
        for (text, expected) in [
            ("bytes 5-9/10", Some((5, 9, Some(10)))),
            ("bytes 5-9/*", Some((5, 9, None))),
            ("bytes 5-/10", None),
            ("bytes */10", None),
            ("items 5-9/10", None),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_RANGE, text.parse().unwrap())]);
            assert_eq!(range(&headers), expected, "{text}");
        }
    }

    #[test]
    fn only_what_is_not_coded_is_kept() {
        for (coding, legal) in [("identity", true), ("Identity", true), ("gzip", false)] {
            let headers = HeaderMap::from_iter([(CONTENT_ENCODING, coding.parse().unwrap())]);
            assert_eq!(check_coding(&headers).is_ok(), legal, "{coding}");
        }
    }
}
