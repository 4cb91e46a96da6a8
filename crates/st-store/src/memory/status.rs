//! The store in memory about itself.

use async_trait::async_trait;
use jiff::Timestamp;

use super::MemoryStore;
use crate::clock::ClockEvidence;
use crate::error::Result;
use crate::health::{Integrity, StoreHealth};
use crate::model::Epoch;
use crate::repo::StoreStatus;

#[async_trait]
impl StoreStatus for MemoryStore {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn epoch(&self) -> Epoch {
        self.lock().epoch
    }

    fn confirm_clock(&self, evidence: ClockEvidence) {
        self.clock.confirm(evidence);
    }

    fn health(&self) -> StoreHealth {
        let last_commit_at = self.lock().last_write_at;
        StoreHealth { last_commit_at, ..StoreHealth::new(Integrity::Sound) }
    }

    async fn close(&self) -> Result<()> {
        self.lock().closed = true;
        Ok(())
    }
}
