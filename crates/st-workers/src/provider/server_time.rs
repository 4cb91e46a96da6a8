//! The provider's time: what its latest answer showed, plus the time that has passed since.

use std::sync::{Mutex, PoisonError};

use http::HeaderMap;
use http::header::DATE;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The `Date` of the latest answer, and when it came.
#[derive(Debug, Default)]
pub(super) struct ServerTime {
    /// Locked for one read or change.
    latest: Mutex<Option<(Timestamp, Instant)>>,
}

impl ServerTime {
    /// Notes the `Date` of an answer; one without a legal date changes nothing.
    pub(super) fn observe(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|value| value.to_str().ok());
        if let Some(date) = date.and_then(parse_date) {
            let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
            *latest = Some((date, Instant::now()));
        }
    }

    /// The provider's time now; `None` before its first answer.
    pub(super) fn now(&self) -> Option<Timestamp> {
        let latest = *self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let (date, at) = latest?;
        let passed = SignedDuration::try_from(at.elapsed()).ok()?;
        date.checked_add(passed).ok()
    }
}

/// A date in one of the three forms that HTTP has; `None` for anything else.
pub(super) fn parse_date(text: &str) -> Option<Timestamp> {
    httpdate::parse_http_date(text.trim()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_time_of_the_latest_answer_goes_on() {
        let time = ServerTime::default();
        assert_eq!(time.now(), None);
        let mut headers = HeaderMap::new();
        headers.insert(DATE, HeaderValue::from_static("Wed, 25 Nov 2026 21:57:00 GMT"));
        time.observe(&headers);
        tokio::time::advance(Duration::from_secs(90)).await;
        let expected: Timestamp = "2026-11-25T21:58:30Z".parse().unwrap();
        assert_eq!(time.now(), Some(expected));
        headers.insert(DATE, HeaderValue::from_static("yesterday"));
        time.observe(&headers);
        assert_eq!(time.now(), Some(expected), "no date is none");
    }
}
