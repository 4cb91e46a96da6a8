//! The SQLite store about itself.

use async_trait::async_trait;
use jiff::Timestamp;
use st_log::{Logger, get_logger};

use super::SqliteStore;
use super::damage::Damage;
use super::writer::Lane;
use crate::clock::ClockEvidence;
use crate::error::Result;
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
        StoreHealth { waiting: self.writer.waiting(), ..self.health.borrow().clone() }
    }

    async fn close(&self) -> Result<()> {
        self.writer.refuse_more();
        self.readers.close().await;
        self.writer.close().await
    }
}

impl SqliteStore {
    /// Sets the entries of jobs aside that a read could not decode. The read itself is good: that
    /// this fails is logged, and the next call that meets them tries again.
    pub(super) async fn set_aside(&self, damaged: &[DamagedRow]) -> Result<()> {
        if damaged.is_empty() {
            return Ok(());
        }
        let rows = damaged.to_vec();
        let set_aside = self
            .writer
            .write(Lane::Interactive, "set damaged jobs aside", move |tx| {
                let mut damage = Damage::default();
                rows.iter().try_for_each(|row| damage.set_aside(tx.connection, row.clone()))
            })
            .await;
        if let Err(error) = set_aside {
            st_log::warning!(logger: LOG, error, "Damaged jobs could not be set aside");
        }
        Ok(())
    }
}
