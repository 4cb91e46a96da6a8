//! The store about itself: its clock, its health, its end.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::clock::ClockEvidence;
use crate::error::Result;
use crate::figures::{Figures, WriteTimings};
use crate::health::StoreHealth;
use crate::model::Epoch;

/// The store about itself.
#[async_trait]
pub trait StoreStatus: Send + Sync {
    /// The time by the store's clock.
    fn now(&self) -> Timestamp;

    /// Which life of the database this is.
    fn epoch(&self) -> Epoch;

    /// Tells the store something about the true time. What cannot be undone is done only by a
    /// clock that is confirmed.
    fn confirm_clock(&self, evidence: ClockEvidence);

    /// Whether writes succeed, and what is known of the stored data.
    fn health(&self) -> StoreHealth;

    /// What is stored, in numbers that are kept.
    async fn figures(&self) -> Result<Figures>;

    /// How long writes took since the start; `None` where none waits for another.
    fn write_timings(&self) -> Option<WriteTimings> {
        None
    }

    /// Finishes what was accepted and closes the store. Calls after this are
    /// [`Closed`](crate::Error::Closed).
    async fn close(&self) -> Result<()>;
}

/// How long from `now` until `due`, not negative.
pub(crate) fn until(now: Timestamp, due: Timestamp) -> Duration {
    due.duration_since(now).try_into().unwrap_or(Duration::ZERO)
}
