//! What fails of a [`super::FlakyStore`].

use std::sync::Arc;
use std::time::Duration;

use st_store::{DamagedRow, Error, StoreHealth};
use tokio::sync::{Barrier, Semaphore};

/// What fails. Each count is of the next calls.
#[derive(Debug, Default)]
pub struct Faults {
    /// The next submission is stored, and answered with this.
    pub submit: Option<Error>,
    /// Every list of jobs is answered with this.
    pub list: Option<fn() -> Error>,
    /// The setting `outputs` of every provider is one that cannot be decoded.
    pub unreadable_outputs: bool,
    /// Previews are answered as soon as so many were made.
    pub previews_together: Option<Arc<Barrier>>,
    /// Every question for one job is answered with this, or panics in it.
    pub find: Option<fn() -> Error>,
    /// Every settlement of results is answered with this.
    pub settle_results: Option<fn() -> Error>,
    /// Every question for positions in the queue is answered with this.
    pub standings: Option<fn() -> Error>,
    /// Every question for what is unsettled is answered with this.
    pub unsettled: Option<fn() -> Error>,
    /// Every question for the numbers of what is stored is answered with this.
    pub figures: Option<fn() -> Error>,
    /// That question waits for a permit before it is answered.
    pub figures_wait: Option<Arc<Semaphore>>,
    /// The question whether there are keys waits for a permit before it is answered.
    pub keys_wait: Option<Arc<Semaphore>>,
    /// Every cancellation is stored, and waits for a permit before it is answered.
    pub cancel_wait: Option<Arc<Semaphore>>,
    /// Every claim of a webhook is answered with this.
    pub claim_webhook: Option<fn() -> Error>,
    /// Nothing is appended to the audit trail.
    pub append_audit: Option<fn() -> Error>,
    /// Every decision about several requests is answered with this.
    pub decide_many: Option<fn() -> Error>,
    /// Every question for events is answered with this.
    pub events: Option<fn() -> Error>,
    /// Rows that every list and every part of the event log reports as damaged.
    pub damaged: Vec<DamagedRow>,
    /// Replaces the real health.
    pub health: Option<StoreHealth>,
    /// So many settlements of the scheduler are refused because the store is busy.
    pub busy_settlements: u32,
    /// So many settlements of the poller are refused because the store is busy.
    pub busy_polls: u32,
    /// Every report of a webhook about a job is answered with this.
    pub reports: Option<fn() -> Error>,
    /// So many settlements of the scheduler are stored, but the caller cannot know it.
    pub uncertain_settlements: u32,
    /// Delays the answer to the next claim by this after its commit.
    pub slow_claim: Option<Duration>,
    /// So many claimed jobs are cancelled between their claim and their dispatch.
    pub cancelled_claims: u32,
}
