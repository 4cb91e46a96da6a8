//! Webhooks that providers sent, in memory.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{MemoryStore, State};
use crate::error::Result;
use crate::model::{MessageId, ProviderName, received_up_to};
use crate::repo::ReceivedRepo;

impl State {
    /// The webhooks that are old enough to be forgotten, the oldest first.
    pub(super) fn old_webhooks(&self, now: Timestamp) -> Vec<(ProviderName, MessageId)> {
        let up_to = received_up_to(now);
        let mut old: Vec<_> = self.received.iter().filter(|(_, at)| **at <= up_to).collect();
        old.sort_by_key(|(key, at)| (**at, *key));
        old.into_iter().map(|(key, _)| key.clone()).collect()
    }
}

#[async_trait]
impl ReceivedRepo for MemoryStore {
    async fn is_received(&self, provider: &ProviderName, id: &MessageId) -> Result<bool> {
        Ok(self.read()?.received.contains_key(&(provider.clone(), id.clone())))
    }

    async fn note_received(&self, provider: &ProviderName, id: &MessageId) -> Result<()> {
        self.write(|state, moment| {
            state.received.entry((provider.clone(), id.clone())).or_insert(moment.now);
            Ok(())
        })
    }
}
