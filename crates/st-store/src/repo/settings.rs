//! Settings that are changed at run time and kept across restarts.

use async_trait::async_trait;

use crate::error::Result;
use crate::model::{
    Actor, Hold, Limits, LimitsPatch, ProviderName, ProviderSettings, ProviderSettingsPatch, Scope,
    ShareScope, ShareUsage, Weight,
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

    /// Whether providers are polled, where a person decided it; `None` is as configured.
    async fn polling_preference(&self) -> Result<Option<bool>>;

    /// Decides whether providers are polled, also after a restart; `None` for as configured. Returns
    /// the preference that applies from now on.
    async fn set_polling_preference(
        &self,
        preference: Option<bool>,
        by: &Actor,
    ) -> Result<Option<bool>>;

    /// The weights that are not the default, ordered by their scopes.
    async fn weights(&self) -> Result<Vec<(ShareScope, Weight)>>;

    /// Sets the weight of an owner under fair share; `None` for the default. Returns the weight that
    /// applies from now on.
    async fn set_weight(
        &self,
        scope: &ShareScope,
        weight: Option<Weight>,
        by: &Actor,
    ) -> Result<Weight>;

    /// What owners used of the slots under fair share, as far as any of it is left, ordered by their
    /// scopes.
    async fn share_usage(&self) -> Result<Vec<(ShareScope, ShareUsage)>>;

    /// All holds, ordered by their scopes.
    async fn holds(&self) -> Result<Vec<Hold>>;

    /// Puts a scope on hold: nothing in it is claimed until it is released, also after a restart.
    /// What has a slot keeps it. Again changes nothing but the reason. Returns the hold.
    async fn pause(&self, scope: Scope, reason: Option<&str>, by: &Actor) -> Result<Hold>;

    /// Releases a hold. Returns it; `None` where the scope was not on hold.
    async fn resume(&self, scope: &Scope, by: &Actor) -> Result<Option<Hold>>;
}
