//! The SQLite store about itself.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use st_log::{Logger, get_logger};

use super::SqliteStore;
use super::damage::{first_of_many, set_jobs_aside};
use super::queue::figures;
use super::writer::Lane;
use crate::clock::ClockEvidence;
use crate::error::Result;
use crate::figures::{Figures, WriteTimings};
use crate::health::StoreHealth;
use crate::model::{DamagedRow, Epoch};
use crate::repo::StoreStatus;

const LOG: Logger = get_logger("simpletuner.cloud.store");

#[async_trait]
impl StoreStatus for SqliteStore {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn epoch(&self) -> Epoch {
        self.life.epoch
    }

    fn confirm_clock(&self, evidence: ClockEvidence) {
        self.clock.confirm(evidence);
    }

    fn health(&self) -> StoreHealth {
        let mut health = self.health.borrow().clone();
        health.waiting = self.writer.waiting();
        let stuck = self.writer.stuck_for();
        health.is_stuck = stuck.is_some();
        if let (Ok(()), Some(stuck)) = (&health.writable, stuck) {
            let since = SignedDuration::try_from(stuck).unwrap_or_default();
            health.failing_since = self.clock.now().checked_sub(since).ok();
            health.writable = Err(format!("a write has taken {} seconds so far", stuck.as_secs()));
        }
        health
    }

    async fn figures(&self) -> Result<Figures> {
        let now = self.clock.now();
        self.readers.list("count what is stored", move |connection| figures(connection, now)).await
    }

    fn write_timings(&self) -> Option<WriteTimings> {
        Some(self.writer.timings())
    }

    async fn close(&self) -> Result<()> {
        self.writer.refuse_more();
        self.readers.close().await;
        self.known_settings.forget();
        self.writer.close().await
    }
}

impl SqliteStore {
    /// Sets the entries of jobs aside that a read could not decode, unless they are many. The read
    /// itself is good: that this fails is logged, and the next call that meets them tries again.
    pub(super) async fn set_aside(&self, damaged: &[DamagedRow]) {
        if damaged.is_empty() || first_of_many(damaged).is_some() {
            return;
        }
        let rows = damaged.to_vec();
        let set_aside = self
            .writer
            .write(Lane::Interactive, "set damaged jobs aside", move |tx| {
                set_jobs_aside(tx.connection, &rows)
            })
            .await;
        if let Err(error) = set_aside {
            st_log::warning!(logger: LOG, error, "Damaged jobs could not be set aside");
        }
    }
}
