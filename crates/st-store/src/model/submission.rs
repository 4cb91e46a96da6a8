//! Attempts at a provider: the claim on a job, and how it is ensured that an attempt takes effect at
//! most once.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::model::text::text_enum;
use crate::model::{AccountId, Actor, AttemptToken, Holder, ProviderJobId};

text_enum! {
    /// How a provider makes sure that one submission becomes at most one job.
    AtMostOnce, "submission guarantee" {
        /// The provider deduplicates by a key that is sent along; sending again is harmless.
        IdempotencyKey = "idempotency_key",
        /// The provider's job has a name that we choose; a conflict means that it is there.
        ChosenName = "chosen_name",
        /// The provider holds a submission until it is released, which happens only after its ID
        /// is stored; one that is never released never runs.
        HeldSubmission = "held_submission",
        /// The provider lists what it has with the marker in it; absence must be proven.
        ListedMarker = "listed_marker",
    }
}

/// One attempt at handing a job to its provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its number, from 1: part of the marker.
    pub number: u32,
    /// The token that writes about this attempt must carry.
    pub token: AttemptToken,
    /// When it was claimed, by the store's clock.
    pub claimed_at: Timestamp,
    /// The provider's time of the claim, where it is known; the provider's own list is searched
    /// from shortly before it.
    pub provider_time: Option<Timestamp>,
    /// The account that submits; only its list can prove that nothing arrived.
    pub account: Option<AccountId>,
    /// How the provider makes sure that it takes effect at most once.
    pub guarantee: AtMostOnce,
    /// How long after the end of the call the submission may still arrive. A duration, because it
    /// must not depend on any wall clock; after a restart it runs anew.
    pub may_arrive_for: SignedDuration,
}

/// The right to act for a claimed job, for a limited time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The process that has it.
    pub holder: Holder,
    /// When another holder may reclaim the job, by the store's clock.
    pub until: Timestamp,
}

text_enum! {
    /// What is known about a claimed job's earlier submissions.
    ClaimOrigin, "claim origin" {
        /// Nothing of this job can be at the provider: submit it.
        New = "new",
        /// The holder of the claim before is gone; whether it submitted is not known: reconcile
        /// first.
        Reclaimed = "reclaimed",
        /// The job was queued before the database was restored, copied or moved, and may have been
        /// submitted since by the other copy, under any attempt number: reconcile first.
        Restored = "restored",
    }
}

/// A request to cancel a job, until it takes effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancellation {
    /// When it was first requested.
    pub at: Timestamp,
    /// Who requested it. The scheduler requests it for one reason: a budget with the action `stop` is
    /// overspent.
    pub by: Actor,
}

impl Cancellation {
    /// Why a job was cancelled that its provider never had.
    pub(crate) const fn before_it_was_submitted(&self) -> &'static str {
        if self.is_for_budget() {
            "stopped before it was submitted, because a budget was exceeded"
        } else {
            "cancelled before it was submitted"
        }
    }

    const fn is_for_budget(&self) -> bool {
        matches!(self.by, Actor::Scheduler)
    }
}

impl fmt::Display for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_for_budget() {
            return f.write_str("stopped because a budget was exceeded");
        }
        write!(f, "cancelled by {}", self.by)
    }
}

/// A job at its provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteId {
    /// The provider's identifier.
    pub id: ProviderJobId,
    /// The account that submitted it, where it is known. Another account's answers about it mean
    /// nothing.
    pub account: Option<AccountId>,
}
