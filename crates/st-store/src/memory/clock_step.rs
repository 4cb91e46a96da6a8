//! What a set clock moves: what is stored as a time but means a duration moves with the clock. Dates
//! that are further ahead than is legal are cut only when the clock is confirmed.

use jiff::{SignedDuration, Timestamp};

use super::State;
use crate::clock::Step;
use crate::model::{
    Approval, Due, GRANT_MEMORY, Held, IDEMPOTENCY_TTL, JobRecord, MAX_LEASE, MAX_PAUSE,
    MAX_RECHECK, MAX_RUN_AFTER, SettledApproval, Stage, after,
};

impl State {
    /// Adapts everything stored to a clock that was set. Writes no events: no status changes.
    pub(super) fn follow_clock(&mut self, step: Step) {
        let Step { by, to: now, .. } = step;
        let longest = |at: Timestamp, longest| at.min(after(now, longest));
        for record in self.records.values_mut() {
            if let Some(moved) = moved(record, by, now) {
                *record = moved;
            }
        }
        for acceptances in self.acceptances.values_mut() {
            for (_, at) in [&mut acceptances.latest, &mut acceptances.other].into_iter().flatten() {
                *at = after(*at, by);
            }
        }
        for stray in self.strays.values_mut() {
            stray.next_cancel_at = longest(after(stray.next_cancel_at, by), MAX_RECHECK);
        }
        for ended_at in self.ended_strays.values_mut() {
            *ended_at = longest(after(*ended_at, by), SignedDuration::ZERO);
        }
        for recheck in self.rechecks.values_mut() {
            recheck.ended_at = longest(after(recheck.ended_at, by), SignedDuration::ZERO);
            recheck.due_at = longest(after(recheck.due_at, by), MAX_RECHECK);
        }
        self.move_results(by, now);
        self.move_shares(by, now);
        self.move_webhooks(by, now);
        for grant in self.grants.values_mut() {
            grant.at = longest(after(grant.at, by), SignedDuration::ZERO);
            grant.check_at = longest(after(grant.check_at, by), GRANT_MEMORY);
        }
    }

    /// Cuts dates to their greatest legal distance from now. The clock must be confirmed.
    pub(super) fn cut_dates(&mut self, now: Timestamp) {
        for record in self.records.values_mut() {
            if let Some(cut) = cut(record, now) {
                *record = cut;
            }
        }
        for key in self.keys.values_mut() {
            key.expires_at = key.expires_at.min(after(now, IDEMPOTENCY_TTL));
        }
    }
}

/// The record with no date further ahead than is legal; `None` where it has no such dates.
fn cut(record: &JobRecord, now: Timestamp) -> Option<JobRecord> {
    let latest_date = after(now, MAX_RUN_AFTER);
    let mut stage = record.stage().clone();
    match &mut stage {
        Stage::Finished(_) => return None,
        Stage::Blocked(request) => {
            request.expires_at = request.expires_at.min(after(now, request.ttl));
        }
        Stage::Waiting(waiting) => {
            if let Due::Date(at) = waiting.due {
                waiting.due = Due::Date(at.min(latest_date));
            }
        }
        Stage::Claimed(_) | Stage::Held(_) | Stage::AtProvider(_) => {}
    }
    let mut entry = record.entry().clone();
    entry.run_after = entry.run_after.map(|at| at.min(latest_date));
    entry.waits_since = entry.waits_since.min(entry.run_after.unwrap_or(now).max(now));
    JobRecord::from_parts(record.job().clone(), entry, stage, settled_approval(record)).ok()
}

/// The record as it is after the clock was set; `None` where nothing of it depends on the clock.
fn moved(record: &JobRecord, by: SignedDuration, now: Timestamp) -> Option<JobRecord> {
    let moved = |at: Timestamp, longest| after(at, by).min(after(now, longest));
    let mut stage = record.stage().clone();
    match &mut stage {
        Stage::Finished(_) => return None,
        Stage::Waiting(waiting) => {
            if let Due::Pause(at) = waiting.due {
                waiting.due = Due::Pause(moved(at, MAX_PAUSE));
            }
        }
        Stage::Claimed(claimed) | Stage::Held(Held { claimed, .. }) => {
            claimed.lease.until = moved(claimed.lease.until, MAX_LEASE);
            claimed.unresolved_since = claimed.unresolved_since.map(|at| after(at, by));
        }
        // This process made them all, by this clock.
        Stage::Blocked(request) => request.expires_at = after(request.expires_at, by),
        Stage::AtProvider(_) => {}
    }
    let mut entry = record.entry().clone();
    entry.suspect_since = entry.suspect_since.map(|at| after(at, by));
    JobRecord::from_parts(record.job().clone(), entry, stage, settled_approval(record)).ok()
}

fn settled_approval(record: &JobRecord) -> Option<SettledApproval> {
    match record.approval() {
        Some(Approval::Settled(settled)) => Some(settled.clone()),
        Some(Approval::Open(_)) | None => None,
    }
}
