//! The webhooks of a life.

use std::time::Duration;

use async_trait::async_trait;
use st_store::{
    Delivery, DeliveryAttempt, EventId, FilterRevision, Holder, KeyedWebhook, NewWebhook,
    PageRequest, Result, SettledDelivery, TestDelivery, Webhook, WebhookId, WebhookList,
    WebhookPatch, WebhookRepo,
};

use super::LifeStore;

#[async_trait]
impl WebhookRepo for LifeStore {
    async fn add_webhook(&self, new: NewWebhook) -> Result<Webhook> {
        self.call("add a webhook", |it| async move { it.add_webhook(new).await }).await
    }

    async fn webhooks(&self) -> Result<WebhookList> {
        self.call("list webhooks", |it| async move { it.webhooks().await }).await
    }

    async fn find_webhook(&self, id: WebhookId) -> Result<Option<KeyedWebhook>> {
        self.call("find a webhook", |it| async move { it.find_webhook(id).await }).await
    }

    async fn patch_webhook(&self, id: WebhookId, patch: WebhookPatch) -> Result<Webhook> {
        self.call("change a webhook", |it| async move { it.patch_webhook(id, patch).await }).await
    }

    async fn remove_webhook(&self, id: WebhookId) -> Result<bool> {
        self.call("remove a webhook", |it| async move { it.remove_webhook(id).await }).await
    }

    async fn claim_webhook(
        &self,
        id: WebhookId,
        holder: Holder,
        lease: Duration,
    ) -> Result<Option<KeyedWebhook>> {
        self.call("claim a webhook", |it| async move { it.claim_webhook(id, holder, lease).await })
            .await
    }

    async fn end_webhook_leases(&self, holder: Holder) -> Result<u64> {
        self.call("end leases of webhooks", |it| async move { it.end_webhook_leases(holder).await })
            .await
    }

    async fn settle_attempt(
        &self,
        id: WebhookId,
        holder: Holder,
        attempt: DeliveryAttempt,
        lease: Duration,
    ) -> Result<Option<SettledDelivery>> {
        self.call("settle an attempt", |it| async move {
            it.settle_attempt(id, holder, attempt, lease).await
        })
        .await
    }

    async fn pass_events(
        &self,
        id: WebhookId,
        holder: Holder,
        up_to: EventId,
        revision: FilterRevision,
    ) -> Result<()> {
        self.call(
            "pass events",
            |it| async move { it.pass_events(id, holder, up_to, revision).await },
        )
        .await
    }

    async fn note_test(&self, id: WebhookId, test: TestDelivery) -> Result<()> {
        self.call("note a test", |it| async move { it.note_test(id, test).await }).await
    }

    async fn deliveries(&self, of: Option<WebhookId>, page: PageRequest) -> Result<Vec<Delivery>> {
        self.call("list deliveries", |it| async move { it.deliveries(of, page).await }).await
    }

    async fn prune_deliveries(&self, max: u32) -> Result<u64> {
        self.call("prune deliveries", |it| async move { it.prune_deliveries(max).await }).await
    }
}
