//! Webhooks of strangers that are refused: a line in the log for each would let strangers fill it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use st_api::operation::Lane;
use st_api::problem::Code;
use tokio::time::Instant;

/// How long no further line is written after one.
const AGAIN: Duration = Duration::from_mins(1);

/// The refusals of webhooks of providers that no line of the log tells of yet.
#[derive(Debug, Default)]
pub(crate) struct RefusedWebhooks {
    since: Mutex<Since>,
}

#[derive(Debug, Default)]
struct Since {
    written: Option<Instant>,
    refused: u64,
}

/// What becomes of a request's own line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// It is written as that of any request.
    Own,
    /// It is counted.
    Summed,
    /// So many were refused since the last line, this one among them.
    Sum(u64),
}

impl RefusedWebhooks {
    /// Counts a request if it is one of those.
    pub(crate) fn note(&self, lane: Lane, status: u16) -> Line {
        let is_refusal =
            [Code::BadSignature, Code::AddressNotAllowed].map(Code::status).contains(&status);
        if !is_refusal || lane != Lane::Received {
            return Line::Own;
        }
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.refused = since.refused.saturating_add(1);
        if since.written.is_some_and(|at| at.elapsed() < AGAIN) {
            return Line::Summed;
        }
        since.written = Some(Instant::now());
        Line::Sum(std::mem::take(&mut since.refused))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_refusals_is_one_line_a_minute() {
        let refused = RefusedWebhooks::default();
        let note = |code: Code| refused.note(Lane::Received, code.status());
        assert_eq!(note(Code::BodyTooLarge), Line::Own);
        assert_eq!(refused.note(Lane::Interactive, Code::BadSignature.status()), Line::Own);
        assert_eq!(note(Code::BadSignature), Line::Sum(1));
        for _ in 0..500 {
            assert_eq!(note(Code::AddressNotAllowed), Line::Summed);
        }
        tokio::time::advance(AGAIN).await;
        assert_eq!(note(Code::BadSignature), Line::Sum(501));
    }
}
