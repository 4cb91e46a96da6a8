//! The keys and the audit trail of a life.

use async_trait::async_trait;
use st_store::{
    Actor, ApiKey, AuditFilter, AuditPage, AuditRepo, KeyHash, KeyId, KeyRepo, NewApiKey, NewAudit,
    Result, StoredApiKey,
};

use super::LifeStore;

#[async_trait]
impl KeyRepo for LifeStore {
    async fn add_key(&self, key: NewApiKey, hash: KeyHash, by: &Actor) -> Result<ApiKey> {
        self.call("add a key", |it| async move { it.add_key(key, hash, by).await }).await
    }

    async fn list_keys(&self, before: Option<&KeyId>, max: u32) -> Result<Vec<ApiKey>> {
        self.call("list keys", |it| async move { it.list_keys(before, max).await }).await
    }

    async fn find_key(&self, id: &KeyId) -> Result<Option<StoredApiKey>> {
        self.call("find a key", |it| async move { it.find_key(id).await }).await
    }

    async fn revoke_key(&self, id: &KeyId, by: &Actor) -> Result<ApiKey> {
        self.call("revoke a key", |it| async move { it.revoke_key(id, by).await }).await
    }

    async fn note_key_uses(&self, ids: &[KeyId]) -> Result<()> {
        self.call("note uses of keys", |it| async move { it.note_key_uses(ids).await }).await
    }

    async fn has_keys(&self) -> Result<bool> {
        self.call("ask for keys", |it| async move { it.has_keys().await }).await
    }
}

#[async_trait]
impl AuditRepo for LifeStore {
    async fn append_audit(&self, entries: Vec<NewAudit>) -> Result<()> {
        self.call("append to the audit trail", |it| async move { it.append_audit(entries).await })
            .await
    }

    async fn audit(&self, filter: &AuditFilter, max: u32) -> Result<AuditPage> {
        self.call("list the audit trail", |it| async move { it.audit(filter, max).await }).await
    }
}
