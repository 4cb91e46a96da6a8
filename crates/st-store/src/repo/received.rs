//! Webhooks that providers sent.

use async_trait::async_trait;

use crate::error::Result;
use crate::model::{MessageId, ProviderName};

/// Webhooks that providers sent, so that one which comes again is recognized. They are forgotten by
/// [`HistoryRepo::prune`](crate::HistoryRepo::prune).
#[async_trait]
pub trait ReceivedRepo: Send + Sync {
    /// Whether this webhook of a provider was dealt with.
    async fn is_received(&self, provider: &ProviderName, id: &MessageId) -> Result<bool>;

    /// Remembers that this webhook of a provider was dealt with. One that is remembered stays as it is.
    async fn note_received(&self, provider: &ProviderName, id: &MessageId) -> Result<()>;
}
