//! Provider jobs that carry our markers and are not adopted, and late looks for those that may
//! still appear.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::error::Result;
use crate::model::{
    Actor, ProviderJobId, ProviderName, Recheck, RecheckId, Searched, Sighting, SightingOutcome,
    Stray, StrayOutcome,
};

/// What a late search came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecheckOutcome {
    /// The search that was made.
    pub recheck: RecheckId,
    /// How far it got.
    pub searched: Searched,
}

/// What is open, by provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unsettled {
    /// Counts of each provider at which something is open.
    pub providers: BTreeMap<ProviderName, UnsettledCounts>,
    /// Jobs that were set aside because they cannot be decoded.
    pub damaged: u64,
}

impl Unsettled {
    /// The counts of all providers together.
    pub fn total(&self) -> UnsettledCounts {
        self.providers.values().fold(UnsettledCounts::default(), |sum, each| UnsettledCounts {
            unresolved: sum.unresolved.saturating_add(each.unresolved),
            strays: sum.strays.saturating_add(each.strays),
            rechecks: sum.rechecks.saturating_add(each.rechecks),
        })
    }
}

/// How much is open at a provider.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnsettledCounts {
    /// Claimed jobs of which it is unknown whether the provider has them.
    pub unresolved: u64,
    /// Strays that are not confirmed as ended.
    pub strays: u64,
    /// Attempts whose marker is still looked for.
    pub rechecks: u64,
}

/// Strays and rechecks.
#[async_trait]
pub trait StrayRepo: Send + Sync {
    /// Records provider jobs that carry our markers, all in one transaction: each is left alone,
    /// adopted, or becomes a stray. One result for each, in order.
    async fn record_sightings(
        &self,
        actor: &Actor,
        sightings: Vec<Sighting>,
    ) -> Result<Vec<Result<SightingOutcome>>>;

    /// Strays at this provider that are due to be cancelled, at most `max`.
    async fn due_strays(&self, provider: &ProviderName, max: u32) -> Result<Vec<Stray>>;

    /// Settles what came of cancelling a stray; of one that is gone, nothing.
    async fn settle_stray(
        &self,
        provider: &ProviderName,
        id: &ProviderJobId,
        outcome: StrayOutcome,
    ) -> Result<()>;

    /// Rechecks at this provider that are due, at most `max`.
    async fn due_rechecks(&self, provider: &ProviderName, max: u32) -> Result<Vec<Recheck>>;

    /// Records how far late searches got; see [`Recheck::settled`].
    async fn settle_rechecks(&self, outcomes: Vec<RecheckOutcome>) -> Result<()>;

    /// What is open at each provider.
    async fn unsettled(&self) -> Result<Unsettled>;
}
