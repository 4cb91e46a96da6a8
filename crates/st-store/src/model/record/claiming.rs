//! Claiming a job, keeping the claim, and reclaiming it from a holder that is gone.

use jiff::{SignedDuration, Timestamp};

use super::{JobRecord, Step};
use crate::model::job::{to_millis, whole_millis};
use crate::model::{
    AccountId, Actor, AtMostOnce, Attempt, AttemptToken, ClaimOrigin, Claimed, Due, Epoch, Lease,
    QueueStatus, Stage, TransitionError,
};

/// What a claim grants, and what is known of the provider at that moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Who acts for the job, and until when.
    pub lease: Lease,
    /// The account that would submit it.
    pub account: Option<AccountId>,
    /// The account of the latest submission that the provider accepted, as far as the store knows.
    pub last_account: Option<AccountId>,
    /// The provider's time now, where it is known.
    pub provider_time: Option<Timestamp>,
    /// How the provider makes sure that it takes effect at most once.
    pub guarantee: AtMostOnce,
    /// How long after the end of the call a submission may still arrive.
    pub may_arrive_for: SignedDuration,
    /// The store's epoch.
    pub epoch: Epoch,
}

impl JobRecord {
    /// Lets a waiting job whose date has come, or whose pause is over, compete for a slot. Returns
    /// whether it was due. No status changes, so there is no event.
    pub(crate) fn wake(&mut self, now: Timestamp) -> bool {
        match &mut self.stage {
            Stage::Waiting(waiting) if waiting.due.at().is_some_and(|at| at <= now) => {
                waiting.due = Due::Now;
                true
            }
            Stage::Blocked(_)
            | Stage::Waiting(_)
            | Stage::Claimed(_)
            | Stage::Held(_)
            | Stage::AtProvider(_)
            | Stage::Finished(_) => false,
        }
    }

    /// Claims a waiting job for a new attempt, under a new token.
    pub fn claim(&mut self, grant: &Grant, now: Timestamp) -> Result<(), TransitionError> {
        if !matches!(self.stage, Stage::Waiting(_)) {
            return Err(self.wrong_status(QueueStatus::Pending));
        }
        let before = self.statuses();
        let origin =
            if self.entry.epoch < grant.epoch { ClaimOrigin::Restored } else { ClaimOrigin::New };
        // What a lost life of the database submitted was submitted by the account that was used then.
        // The list of one that is used since proves nothing about it.
        let account = match origin {
            ClaimOrigin::Restored => grant.last_account.as_ref().or(grant.account.as_ref()),
            ClaimOrigin::New | ClaimOrigin::Reclaimed => grant.account.as_ref(),
        };
        self.entry.token = self.entry.token.next(grant.epoch);
        self.entry.attempt = self.entry.attempt.saturating_add(1);
        self.entry.started_at = Some(now);
        self.stage = Stage::Claimed(Claimed {
            attempt: Attempt {
                number: self.entry.attempt,
                token: self.entry.token,
                claimed_at: now,
                provider_time: grant.provider_time.map(to_millis),
                account: account.cloned(),
                guarantee: grant.guarantee,
                may_arrive_for: whole_millis(grant.may_arrive_for),
            },
            lease: grant.lease,
            origin,
            unresolved_since: (origin == ClaimOrigin::Restored).then_some(now),
            cancellation: None,
        });
        self.record_changes(before, Step::new(&Actor::Scheduler, now));
        Ok(())
    }

    /// Takes a claimed job over from a holder whose lease expired, under a new token. The attempt
    /// stays the same: what its holder may have submitted carries its marker.
    pub fn reclaim(
        &mut self,
        lease: Lease,
        epoch: Epoch,
        now: Timestamp,
    ) -> Result<(), TransitionError> {
        let token = self.entry.token.next(epoch);
        let error = self.wrong_status(QueueStatus::Ready);
        let claimed = self.stage.claimed_mut().ok_or(error)?;
        claimed.attempt.token = token;
        claimed.lease = lease;
        // Its holder may have ended because of the submission. What is only searched for ends no
        // process, however often that happens to end.
        let may_be_to_blame = claimed.origin == ClaimOrigin::New;
        claimed.unresolved_since.get_or_insert(now);
        if self.entry.epoch < epoch {
            // The life that was lost may have made further attempts.
            claimed.origin = ClaimOrigin::Restored;
        }
        if claimed.origin == ClaimOrigin::New {
            claimed.origin = ClaimOrigin::Reclaimed;
        }
        self.entry.token = token;
        if may_be_to_blame {
            self.entry.reclaims = self.entry.reclaims.saturating_add(1);
        }
        debug_assert_eq!(self.check(), Ok(()), "after a reclaim");
        Ok(())
    }

    /// Ends the claim of a holder that is dead: what it sent, if anything, is unknown from now on,
    /// also before another holder reclaims it.
    pub fn orphan(&mut self, token: AttemptToken, now: Timestamp) -> Result<(), TransitionError> {
        let claimed = self.require_claim(token)?;
        claimed.lease.until = now;
        claimed.unresolved_since.get_or_insert(now);
        Ok(())
    }

    /// Extends the lease of the holder of `token`.
    pub fn extend_lease(
        &mut self,
        token: AttemptToken,
        until: Timestamp,
    ) -> Result<(), TransitionError> {
        self.require_claim(token)?.lease.until = until;
        Ok(())
    }
}
