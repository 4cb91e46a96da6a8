//! The queue: claiming under the limits, and settling what was claimed.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::error::Result;
use crate::model::{
    AccountId, Actor, AtMostOnce, AttemptToken, Caution, DamagedRow, Group, Holder, JobId,
    JobRecord, LimitUse, Opening, Outcome, Page, PageRequest, Priority, PriorityChange,
    ProviderName, QueueEntryId, QueueFilter, QueueStats, Resolution, Settled, Standings, UserId,
    UserQueue,
};

/// A provider that a holder serves, and what it knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// The provider.
    pub provider: ProviderName,
    /// The account under which it submits, where it is known.
    pub account: Option<AccountId>,
    /// How the provider makes sure that a submission takes effect at most once.
    pub guarantee: AtMostOnce,
    /// The provider's time now, where it is known.
    pub provider_time: Option<Timestamp>,
    /// How long after the end of a call a submission may still arrive.
    pub may_arrive_for: SignedDuration,
    /// How many new submissions it is to be given. `reclaim` and `next_due` disregard it.
    pub opening: Opening,
}

/// How to claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimOptions {
    /// Who claims: this life of this process.
    pub holder: Holder,
    /// The providers whose jobs it claims; those of others wait.
    pub serving: Vec<Serving>,
    /// How many jobs at most.
    pub max: u32,
    /// How long the claims last unless they are renewed; at most
    /// [`MAX_LEASE`](crate::MAX_LEASE).
    pub lease: Duration,
}

/// A claimed job: the right and the duty to act for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The job; its stage is claimed or held.
    pub record: JobRecord,
    /// How long the claim may be relied on, counted on the caller's monotonic clock from *before*
    /// the call.
    pub usable_for: Duration,
    /// How carefully the job is to be dispatched.
    pub caution: Caution,
}

/// What was claimed.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(clippy::struct_field_names, reason = "the claims, beside what was set aside")]
pub struct Claims {
    /// The claims, in claim order.
    pub claims: Vec<Claim>,
    /// Jobs that could not be decoded; they are set aside and take no slot.
    pub damaged: Vec<DamagedRow>,
    /// Whether there may be more to claim at this moment, also where nothing was claimed: delayed
    /// jobs become claimable in portions. `false` when it is only the opening of a provider that
    /// ended the claim: the same call again would grant what that is to keep back.
    pub more: bool,
}

/// An outcome to be settled.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// The job.
    pub job: JobId,
    /// The number of the attempt that the outcome belongs to.
    pub attempt: u32,
    /// The token under which it was claimed, or that it had when it was listed.
    pub token: AttemptToken,
    /// What is known.
    pub outcome: Outcome,
    /// The provider's time of the outcome, where it is known. What the attempt left is searched for
    /// up to some time after it.
    pub provider_time: Option<Timestamp>,
}

/// The queue.
#[async_trait]
pub trait QueueRepo: Send + Sync {
    /// Claims what may run next under the limits and as far as its provider is open, each job under
    /// a new token. When this returns, the intent to submit is durable.
    async fn claim(&self, options: &ClaimOptions) -> Result<Claims>;

    /// Takes over claims whose lease expired, each under a new token; never those of `in_flight`,
    /// which the caller is still working on.
    async fn reclaim(&self, options: &ClaimOptions, in_flight: &BTreeSet<JobId>) -> Result<Claims>;

    /// Extends this holder's leases on the jobs that it is working on, unless they were reclaimed.
    /// Returns how many.
    async fn renew(
        &self,
        holder: Holder,
        lease: Duration,
        in_flight: &BTreeSet<JobId>,
    ) -> Result<u64>;

    /// Ends the leases of every other holder that is certainly dead, so that they can be reclaimed
    /// without waiting. Returns how many.
    async fn expire_dead_holders(&self, holder: Holder) -> Result<u64>;

    /// Settles outcomes, all in one transaction. One result for each, in order: a refused one stops
    /// none of the others, and settling one again is harmless. A submission under an old token, or
    /// of another provider job than the job has, is settled as a sighting of that provider job.
    async fn settle(
        &self,
        actor: &Actor,
        settlements: Vec<Settlement>,
    ) -> Result<Vec<Result<(Settled, JobRecord)>>>;

    /// Does what a person decided about a job where nothing can be proven: of a claimed job whose
    /// outcome is unknown, and of one at its provider. Refused where it is known what becomes of
    /// the job, and where another job has the given provider job.
    async fn resolve(
        &self,
        job: JobId,
        resolution: &Resolution,
        note: Option<&str>,
        by: &Actor,
    ) -> Result<JobRecord>;

    /// Replaces the priority of a job that is not over, or with `None` lets that of its submitter's
    /// role count again. A waiting job takes its new place in the queue; one in a slot keeps it.
    async fn set_priority(
        &self,
        job: JobId,
        priority: Option<Priority>,
        by: &Actor,
    ) -> Result<(PriorityChange, JobRecord)>;

    /// What the provider gets for a job. Read when it is submitted, not when it is claimed.
    async fn input(&self, job: JobId) -> Result<Value>;

    /// Entries in the order in which they were queued.
    async fn list_entries(
        &self,
        filter: QueueFilter,
        page: PageRequest,
    ) -> Result<Page<JobRecord, QueueEntryId>>;

    /// Where each of these jobs is among those that may be claimed now, and what holds them.
    async fn standings(&self, jobs: &[JobId]) -> Result<Standings>;

    /// The limits that apply to jobs of this group, with what is taken of each.
    async fn limit_uses(&self, group: &Group) -> Result<Vec<LimitUse>>;

    /// The providers that have a job that is not over.
    async fn providers_in_use(&self) -> Result<BTreeSet<ProviderName>>;

    /// The queue in numbers.
    async fn queue_stats(&self) -> Result<QueueStats>;

    /// What a user has in the queue: counts, and at most `max` of the jobs that may be claimed now
    /// and `max` of those in slots.
    async fn user_queue(&self, user: &UserId, max: u32) -> Result<UserQueue>;

    /// How long until something in the queue becomes due by itself: a delayed job, or a lease that
    /// this caller would reclaim.
    async fn next_due(
        &self,
        options: &ClaimOptions,
        in_flight: &BTreeSet<JobId>,
    ) -> Result<Option<Duration>>;
}
