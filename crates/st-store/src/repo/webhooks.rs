//! Webhooks and the messages that were sent to them.

use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;
use crate::model::{
    Delivery, DeliveryAttempt, EventId, FilterRevision, Holder, KeyedWebhook, NewWebhook,
    PageRequest, SettledDelivery, TestDelivery, Webhook, WebhookId, WebhookList, WebhookPatch,
};

/// Webhooks. The process that delivers to one holds its lease, so that its events are sent in order
/// whatever the number of processes. A lease that is not extended expires, and the event that was being
/// delivered is delivered again.
#[async_trait]
pub trait WebhookRepo: Send + Sync {
    /// Stores a webhook. It is sent what is committed from now on.
    async fn add_webhook(&self, new: NewWebhook) -> Result<Webhook>;

    /// All of them.
    async fn webhooks(&self) -> Result<WebhookList>;

    /// One of them, with what its messages are signed with.
    async fn find_webhook(&self, id: WebhookId) -> Result<Option<KeyedWebhook>>;

    /// Changes a webhook.
    async fn patch_webhook(&self, id: WebhookId, patch: WebhookPatch) -> Result<Webhook>;

    /// Removes a webhook with what is remembered of its messages; `false` where there was none.
    async fn remove_webhook(&self, id: WebhookId) -> Result<bool>;

    /// Takes the lease of a webhook for so long. `None` where it is not enabled, where another holder
    /// has its lease, and before the next attempt is due.
    async fn claim_webhook(
        &self,
        id: WebhookId,
        holder: Holder,
        lease: Duration,
    ) -> Result<Option<KeyedWebhook>>;

    /// Ends the leases of all other holders. The caller knows that none of them lives any more.
    async fn end_webhook_leases(&self, holder: Holder) -> Result<u64>;

    /// Settles an attempt, and extends the lease if the next event may be sent now. `None` where the
    /// holder has lost the lease: another will deliver the event again. Settling twice is harmless.
    async fn settle_attempt(
        &self,
        id: WebhookId,
        holder: Holder,
        attempt: DeliveryAttempt,
        lease: Duration,
    ) -> Result<Option<SettledDelivery>>;

    /// Passes the events up to this one, of which none was wanted at this revision, and gives the lease
    /// back. Nothing happens where another holder has it, where others are wanted since, or where there
    /// is no such webhook.
    async fn pass_events(
        &self,
        id: WebhookId,
        holder: Holder,
        up_to: EventId,
        revision: FilterRevision,
    ) -> Result<()>;

    /// Remembers a test of a webhook, if that is still there. Where it was accepted, the next attempt is
    /// due now.
    async fn note_test(&self, id: WebhookId, test: TestDelivery) -> Result<()>;

    /// The messages of one webhook or of all, those first that were begun last. Of each webhook the last
    /// [`KEPT_DELIVERIES`](crate::KEPT_DELIVERIES) are remembered.
    async fn deliveries(&self, of: Option<WebhookId>, page: PageRequest) -> Result<Vec<Delivery>>;

    /// Forgets at most `max` messages that were begun longer ago than
    /// [`KEEP_DELIVERIES_FOR`](crate::KEEP_DELIVERIES_FOR), the oldest first; none while the clock is
    /// not confirmed.
    async fn prune_deliveries(&self, max: u32) -> Result<u64>;
}
