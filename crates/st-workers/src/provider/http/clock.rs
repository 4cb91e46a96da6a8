//! The provider's time: the `Date` of its latest answer, and what has passed since.

use std::sync::{Mutex, PoisonError};

use http::HeaderMap;
use http::header::DATE;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The latest `Date`, and when it came.
#[derive(Debug, Default)]
pub(super) struct ServerClock {
    /// Locked for one read or change.
    latest: Mutex<Option<(Timestamp, Instant)>>,
}

impl ServerClock {
    /// An answer without a legal date changes nothing.
    pub(super) fn observe(&self, headers: &HeaderMap) {
        let text = headers.get(DATE).and_then(|value| value.to_str().ok());
        let date = text.and_then(|text| httpdate::parse_http_date(text.trim()).ok());
        if let Some(date) = date.and_then(|date| Timestamp::try_from(date).ok()) {
            let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
            *latest = Some((date, Instant::now()));
        }
    }

    /// `None` before the first date.
    pub(super) fn now(&self) -> Option<Timestamp> {
        let (date, at) = (*self.latest.lock().unwrap_or_else(PoisonError::into_inner))?;
        date.checked_add(SignedDuration::try_from(at.elapsed()).ok()?).ok()
    }
}
