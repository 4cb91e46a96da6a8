//! What a set clock moves: what is stored as a time but means a duration moves with the clock, and
//! no date stays further ahead than a submitter could have put it.

use jiff::{SignedDuration, Timestamp};

use super::State;
use crate::clock::Step;
use crate::model::{
    Approval, Due, IDEMPOTENCY_TTL, JobRecord, MAX_RUN_AFTER, SettledApproval, Stage, after,
};

impl State {
    /// Adapts everything stored to a clock that was set. Writes no events: no status changes.
    pub(super) fn follow_clock(&mut self, step: Step) {
        let Step { by, to: now, .. } = step;
        for record in self.records.values_mut() {
            if let Some(moved) = moved(record, by, now) {
                *record = moved;
            }
        }
        for key in self.keys.values_mut() {
            key.expires_at = key.expires_at.min(after(now, IDEMPOTENCY_TTL));
        }
        for acceptances in self.acceptances.values_mut() {
            for (_, at) in [&mut acceptances.latest, &mut acceptances.other].into_iter().flatten() {
                *at = after(*at, by);
            }
        }
        for stray in self.strays.values_mut() {
            stray.next_cancel_at = after(stray.next_cancel_at, by);
        }
        for recheck in self.rechecks.values_mut() {
            recheck.ended_at = after(recheck.ended_at, by);
            recheck.due_at = after(recheck.due_at, by);
        }
    }
}

/// The record as it is after the clock was set; `None` where nothing of it depends on the clock.
fn moved(record: &JobRecord, by: SignedDuration, now: Timestamp) -> Option<JobRecord> {
    let latest_date = after(now, MAX_RUN_AFTER);
    let mut stage = record.stage().clone();
    match &mut stage {
        Stage::Finished(_) => return None,
        Stage::Blocked(request) => {
            request.expires_at = request.expires_at.min(after(now, request.ttl));
        }
        Stage::Waiting(waiting) => {
            waiting.due = match waiting.due {
                Due::Now => Due::Now,
                Due::Date(at) => Due::Date(at.min(latest_date)),
                Due::Pause(at) => Due::Pause(after(at, by)),
            };
        }
        Stage::Claimed(claimed) => claimed.lease.until = after(claimed.lease.until, by),
        Stage::Held(held) => held.claimed.lease.until = after(held.claimed.lease.until, by),
        Stage::AtProvider(_) => {}
    }
    let mut entry = record.entry().clone();
    entry.run_after = entry.run_after.map(|at| at.min(latest_date));
    entry.waits_since = entry.waits_since.min(entry.run_after.unwrap_or(now).max(now));
    entry.suspect_since = entry.suspect_since.map(|at| after(at, by));
    JobRecord::from_parts(record.job().clone(), entry, stage, settled_approval(record)).ok()
}

fn settled_approval(record: &JobRecord) -> Option<SettledApproval> {
    match record.approval() {
        Some(Approval::Settled(settled)) => Some(settled.clone()),
        Some(Approval::Open(_)) | None => None,
    }
}
