//! Settings that are changed at run time and kept across restarts.

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::error::Result;
use crate::model::{Limits, ProviderName};

/// A provider's settings: names and JSON values. Which names there are is the API's concern.
pub type ProviderConfig = Map<String, Value>;

/// Settings.
#[async_trait]
pub trait SettingsRepo: Send + Sync {
    /// The limits in force.
    async fn limits(&self) -> Result<Limits>;

    /// Puts other limits in force. What runs goes on, even above them.
    async fn set_limits(&self, limits: Limits, now: Timestamp) -> Result<()>;

    /// A provider's settings.
    async fn provider_config(&self, provider: &ProviderName) -> Result<ProviderConfig>;

    /// Sets the named settings and leaves the others; a `null` removes. Returns what then holds.
    async fn patch_provider_config(
        &self,
        provider: &ProviderName,
        patch: ProviderConfig,
        now: Timestamp,
    ) -> Result<ProviderConfig>;
}
