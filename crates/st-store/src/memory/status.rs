//! The store in memory about itself.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::{MemoryStore, State};
use crate::clock::ClockEvidence;
use crate::error::Result;
use crate::figures::{Figures, WaitReason};
use crate::health::{Integrity, StoreHealth};
use crate::model::{Due, Epoch, Group, Stage, Waiting};
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

    async fn figures(&self) -> Result<Figures> {
        Ok(self.read()?.figures(self.clock.now()))
    }

    async fn close(&self) -> Result<()> {
        self.lock().closed = true;
        Ok(())
    }
}

impl State {
    fn figures(&self, now: Timestamp) -> Figures {
        let mut figures = Figures::default();
        let admission = self.admission(now);
        for record in self.records.values() {
            let provider = &record.job().provider;
            *figures.jobs.entry((provider.clone(), record.status())).or_default() += 1;
            *figures.entries.entry(record.queue_status()).or_default() += 1;
            if let Some(approval) = record.approval() {
                *figures.approvals.entry(approval.status()).or_default() += 1;
            }
            match record.stage() {
                Stage::Waiting(Waiting { due: Due::Now }) => {
                    let held_by =
                        admission.standing(1, &Group::of(record), record.reservation()).held_by;
                    let reason = WaitReason::from(held_by);
                    *figures.claimable.entry((provider.clone(), reason)).or_default() += 1;
                }
                Stage::Waiting(_) => figures.delayed += 1,
                Stage::Blocked(_)
                | Stage::Claimed(_)
                | Stage::Held(_)
                | Stage::AtProvider(_)
                | Stage::Finished(_) => {}
            }
        }
        figures.oldest_claimable_at =
            self.claimable().map(|record| record.entry().waits_since).min();
        let claimed = self.records.values().filter_map(|record| record.stage().claimed());
        figures.oldest_unresolved_at = claimed.filter_map(|it| it.unresolved_since).min();
        figures.next_expiry_at = self.deadlines().map(|(expires_at, ..)| expires_at).min();
        let day_ago = now.saturating_sub(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MIN);
        (figures.audit_entries, figures.audit_entries_of_day) = self.audit_counts(day_ago);
        figures
    }
}
