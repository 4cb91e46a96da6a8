//! The webhooks behind the faults.

use async_trait::async_trait;
use st_store::{MessageId, ProviderName, ReceivedRepo, Result};

use super::FlakyStore;

#[async_trait]
impl ReceivedRepo for FlakyStore {
    async fn is_received(&self, provider: &ProviderName, id: &MessageId) -> Result<bool> {
        self.inner.is_received(provider, id).await
    }

    async fn note_received(&self, provider: &ProviderName, id: &MessageId) -> Result<()> {
        self.inner.note_received(provider, id).await
    }
}
