//! Settings that are changed at run time and kept across restarts.

use async_trait::async_trait;

use crate::error::Result;
use crate::model::{
    Actor, Limits, LimitsPatch, ProviderName, ProviderSettings, ProviderSettingsPatch,
};

/// Settings.
#[async_trait]
pub trait SettingsRepo: Send + Sync {
    /// The current limits.
    async fn limits(&self) -> Result<Limits>;

    /// Changes the limits that the patch names and leaves the others. Jobs that have a slot keep
    /// it, also above a lowered limit. Returns the limits that apply from now on.
    async fn patch_limits(&self, patch: LimitsPatch, by: &Actor) -> Result<Limits>;

    /// A provider's settings.
    async fn provider_settings(&self, provider: &ProviderName) -> Result<ProviderSettings>;

    /// Changes the settings that the patch names and leaves the others. Returns the settings that
    /// apply from now on.
    async fn patch_provider_settings(
        &self,
        provider: &ProviderName,
        patch: ProviderSettingsPatch,
        by: &Actor,
    ) -> Result<ProviderSettings>;
}
