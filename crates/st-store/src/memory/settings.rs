//! Settings in memory.

use async_trait::async_trait;
use jiff::Timestamp;

use super::MemoryStore;
use crate::error::Result;
use crate::model::{Limits, ProviderName};
use crate::repo::{ProviderConfig, SettingsRepo};

#[async_trait]
impl SettingsRepo for MemoryStore {
    async fn limits(&self) -> Result<Limits> {
        Ok(self.state().limits)
    }

    async fn set_limits(&self, limits: Limits, _now: Timestamp) -> Result<()> {
        limits.check()?;
        self.state().limits = limits;
        Ok(())
    }

    async fn provider_config(&self, provider: &ProviderName) -> Result<ProviderConfig> {
        Ok(self.state().providers.get(provider).cloned().unwrap_or_default())
    }

    async fn patch_provider_config(
        &self,
        provider: &ProviderName,
        patch: ProviderConfig,
        _now: Timestamp,
    ) -> Result<ProviderConfig> {
        let mut state = self.state();
        let config = state.providers.entry(provider.clone()).or_default();
        for (key, value) in patch {
            if value.is_null() {
                config.remove(&key);
            } else {
                config.insert(key, value);
            }
        }
        Ok(config.clone())
    }
}
