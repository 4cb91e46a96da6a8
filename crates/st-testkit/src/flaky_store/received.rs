//! The webhooks behind the faults.

use async_trait::async_trait;
use st_store::{ProviderName, ReceivedRepo, Result, WebhookId};

use super::FlakyStore;

#[async_trait]
impl ReceivedRepo for FlakyStore {
    async fn is_received(&self, provider: &ProviderName, id: &WebhookId) -> Result<bool> {
        self.inner.is_received(provider, id).await
    }

    async fn note_received(&self, provider: &ProviderName, id: &WebhookId) -> Result<()> {
        self.inner.note_received(provider, id).await
    }
}
