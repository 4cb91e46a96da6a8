//! The calls about webhooks.

use std::time::Duration;

use async_trait::async_trait;
use st_store::{
    Delivery, DeliveryAttempt, EventId, FilterRevision, Holder, KeyedWebhook, NewWebhook,
    PageRequest, Result, SettledDelivery, TestDelivery, Webhook, WebhookId, WebhookList,
    WebhookPatch, WebhookRepo,
};

use super::FlakyStore;

#[async_trait]
impl WebhookRepo for FlakyStore {
    async fn add_webhook(&self, new: NewWebhook) -> Result<Webhook> {
        self.inner.add_webhook(new).await
    }

    async fn webhooks(&self) -> Result<WebhookList> {
        let found = self.inner.webhooks().await?;
        Ok(WebhookList { damaged: self.damaged(), ..found })
    }

    async fn find_webhook(&self, id: WebhookId) -> Result<Option<KeyedWebhook>> {
        self.inner.find_webhook(id).await
    }

    async fn patch_webhook(&self, id: WebhookId, patch: WebhookPatch) -> Result<Webhook> {
        self.inner.patch_webhook(id, patch).await
    }

    async fn remove_webhook(&self, id: WebhookId) -> Result<bool> {
        self.inner.remove_webhook(id).await
    }

    async fn claim_webhook(
        &self,
        id: WebhookId,
        holder: Holder,
        lease: Duration,
    ) -> Result<Option<KeyedWebhook>> {
        let fault = self.faults().claim_webhook;
        if let Some(error) = fault {
            return Err(error());
        }
        self.inner.claim_webhook(id, holder, lease).await
    }

    async fn end_webhook_leases(&self, holder: Holder) -> Result<u64> {
        self.inner.end_webhook_leases(holder).await
    }

    async fn settle_attempt(
        &self,
        id: WebhookId,
        holder: Holder,
        attempt: DeliveryAttempt,
        lease: Duration,
    ) -> Result<Option<SettledDelivery>> {
        self.inner.settle_attempt(id, holder, attempt, lease).await
    }

    async fn pass_events(
        &self,
        id: WebhookId,
        holder: Holder,
        up_to: EventId,
        revision: FilterRevision,
    ) -> Result<()> {
        self.inner.pass_events(id, holder, up_to, revision).await
    }

    async fn note_test(&self, id: WebhookId, test: TestDelivery) -> Result<()> {
        self.inner.note_test(id, test).await
    }

    async fn deliveries(&self, of: Option<WebhookId>, page: PageRequest) -> Result<Vec<Delivery>> {
        self.inner.deliveries(of, page).await
    }

    async fn prune_deliveries(&self, max: u32) -> Result<u64> {
        self.inner.prune_deliveries(max).await
    }
}
