//! Classifies answers, and their absence: what they mean for the request.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde_json::Value;
use st_http::{Error, Response, Sent};

use crate::provider::ProviderError;

/// The other side answered or closed the connection: what has not arrived by now hardly ever will.
const AFTER_ANSWER: Duration = Duration::from_secs(15);
/// The other side kept silent until our deadline: it may still be busy with it.
const AFTER_SILENCE: Duration = Duration::from_mins(2);
/// A provider that asks for more is asked again after this all the same.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// Whether a request may be sent twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// Sending it twice has the effect of sending it once.
    Idempotent,
    /// Sending it twice costs twice.
    NonIdempotent,
}

/// The response when it is a success, else what it means.
pub(super) fn classify(
    result: Result<Response, Error>,
    kind: RequestKind,
) -> Result<Response, ProviderError> {
    match result {
        Ok(response) if response.status().is_success() => Ok(response),
        Ok(response) => Err(refused(&response, kind)),
        Err(error) => Err(without_answer(error, kind)),
    }
}

fn without_answer(error: Error, kind: RequestKind) -> ProviderError {
    let may_arrive_for = if error.is_timeout() { AFTER_SILENCE } else { AFTER_ANSWER };
    match (error.was_sent(), kind) {
        (Sent::No, _) | (Sent::Maybe | Sent::Yes, RequestKind::Idempotent) => {
            ProviderError::Transient {
                message: "the provider cannot be reached".to_owned(),
                retry_after: None,
                source: Some(Box::new(error)),
            }
        }
        (Sent::Maybe | Sent::Yes, RequestKind::NonIdempotent) => ProviderError::UnknownOutcome {
            message: "the provider's answer was lost".to_owned(),
            may_arrive_for,
            source: Some(Box::new(error)),
        },
    }
}

fn refused(response: &Response, kind: RequestKind) -> ProviderError {
    let status = response.status();
    let body: Option<Value> = response.json().ok();
    let provided = body.as_ref().and_then(|body| body.get("detail")?.as_str());
    let detail = provided.map_or_else(
        || format!("the provider answered {status}"),
        |detail| detail.chars().take(500).collect(),
    );
    match status {
        StatusCode::TOO_MANY_REQUESTS => ProviderError::Transient {
            // Our own text has a number too, the status, which is not a time.
            retry_after: Some(wait(response.headers(), provided.unwrap_or_default())),
            message: detail,
            source: None,
        },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            ProviderError::Unauthorized { message: detail }
        }
        StatusCode::NOT_FOUND if kind == RequestKind::Idempotent => ProviderError::NotFound,
        _ if status.is_redirection() => ProviderError::Permanent {
            message: "the provider's address redirects elsewhere; the token does not follow"
                .to_owned(),
        },
        _ if status.is_client_error() => ProviderError::Permanent { message: detail },
        _ => match kind {
            RequestKind::Idempotent => {
                ProviderError::Transient { message: detail, retry_after: None, source: None }
            }
            RequestKind::NonIdempotent => ProviderError::UnknownOutcome {
                message: detail,
                may_arrive_for: AFTER_ANSWER,
                source: None,
            },
        },
    }
}

/// A success that cannot be read, of a call that must not be repeated.
pub(super) fn unreadable(error: &ProviderError) -> ProviderError {
    ProviderError::UnknownOutcome {
        message: error.to_string(),
        may_arrive_for: AFTER_ANSWER,
        source: None,
    }
}

/// How long the provider wants to be left alone: by the standard header, by its own, or by what it
/// says in words.
fn wait(headers: &HeaderMap, detail: &str) -> Duration {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let by_header = text("retry-after").and_then(|value| {
        let seconds = value.trim().parse().ok();
        seconds.or_else(|| seconds_until(value, text("date")?))
    });
    let by_own = || text("ratelimit-reset")?.trim().parse().ok();
    let by_words = || {
        let number = detail.rsplit(|it: char| !it.is_ascii_digit()).find(|it| !it.is_empty());
        number?.parse().ok()
    };
    let seconds: u64 = by_header.or_else(by_own).or_else(by_words).unwrap_or(1);
    Duration::from_secs(seconds.max(1)).min(LONGEST_WAIT)
}

/// From the answer's own time to another one, so that our clock does not matter.
fn seconds_until(then: &str, now: &str) -> Option<u64> {
    let read = |text: &str| -> Option<Timestamp> {
        rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
    };
    u64::try_from(read(then)?.duration_since(read(now)?).as_secs()).ok()
}

impl ProviderError {
    /// The same failure for another job of the same call.
    pub(super) fn for_other_job(&self) -> Self {
        let message = self.to_string();
        match self {
            Self::Transient { retry_after, .. } => {
                Self::Transient { message, retry_after: *retry_after, source: None }
            }
            Self::Permanent { .. } => Self::Permanent { message },
            Self::Unauthorized { .. } => Self::Unauthorized { message },
            // A list says nothing about a job if it is not there or was searched for another one.
            Self::UnknownOutcome { .. } | Self::NotFound | Self::InputsDeleted { .. } => {
                Self::Transient { message, retry_after: None, source: None }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs =
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        pairs.collect()
    }

    #[test]
    fn how_long_to_wait_is_read_from_wherever_it_is_said() {
        let words = "Request was throttled. Your rate limit resets in ~30s.";
        let date = [
            ("date", "Fri, 01 Jan 2027 00:00:00 GMT"),
            ("retry-after", "Fri, 01 Jan 2027 00:01:30 GMT"),
        ];
        let table = [
            (headers(&[("retry-after", "7"), ("ratelimit-reset", "1")]), words, 7),
            (headers(&[("ratelimit-reset", "3")]), words, 3),
            (headers(&[]), words, 30),
            (headers(&[]), "Expected available in 1 second.", 1),
            (headers(&[]), "slow down", 1),
            (headers(&[]), "", 1),
            (headers(&date), words, 90),
            (headers(&[("retry-after", "999999")]), words, 3600),
        ];
        for (headers, detail, seconds) in table {
            assert_eq!(
                wait(&headers, detail),
                Duration::from_secs(seconds),
                "{headers:?} {detail}"
            );
        }
    }
}
