//! Keys of the interface.

use async_trait::async_trait;

use crate::error::Result;
use crate::model::{Actor, ApiKey, KeyHash, KeyId, NewApiKey, StoredApiKey};

/// Keys of the interface.
#[async_trait]
pub trait KeyRepo: Send + Sync {
    /// Stores a key with the hash of its secret.
    async fn add_key(&self, key: NewApiKey, hash: KeyHash, by: &Actor) -> Result<ApiKey>;

    /// At most `max` keys, newest first, those that are refused included; only those older than `before`.
    async fn list_keys(&self, before: Option<&KeyId>, max: u32) -> Result<Vec<ApiKey>>;

    /// The key, if there is one.
    async fn find_key(&self, id: &KeyId) -> Result<Option<StoredApiKey>>;

    /// Refuses a key from now on. One that is refused already stays as it is.
    async fn revoke_key(&self, id: &KeyId, by: &Actor) -> Result<ApiKey>;

    /// Remembers that these keys are in use now. Those that there are not are left out.
    async fn note_key_uses(&self, ids: &[KeyId]) -> Result<()>;

    /// Whether a key was ever made.
    async fn has_keys(&self) -> Result<bool>;
}
