//! The webhooks that a life received.

use async_trait::async_trait;
use st_store::{MessageId, ProviderName, ReceivedRepo, Result};

use super::LifeStore;

#[async_trait]
impl ReceivedRepo for LifeStore {
    async fn is_received(&self, provider: &ProviderName, id: &MessageId) -> Result<bool> {
        self.call("find a received webhook", |it| async move { it.is_received(provider, id).await })
            .await
    }

    async fn note_received(&self, provider: &ProviderName, id: &MessageId) -> Result<()> {
        self.call("note a webhook", |it| async move { it.note_received(provider, id).await }).await
    }
}
