//! The calls about keys and the audit trail.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use st_store::{
    Actor, ApiKey, AuditFilter, AuditPage, AuditRepo, KeyHash, KeyId, KeyRepo, NewApiKey, NewAudit,
    Result, StoredApiKey,
};

use super::FlakyStore;

impl FlakyStore {
    /// How often a key was read.
    pub fn key_reads(&self) -> u32 {
        self.key_reads.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl KeyRepo for FlakyStore {
    async fn add_key(&self, key: NewApiKey, hash: KeyHash, by: &Actor) -> Result<ApiKey> {
        self.inner.add_key(key, hash, by).await
    }

    async fn list_keys(&self, before: Option<&KeyId>, max: u32) -> Result<Vec<ApiKey>> {
        self.inner.list_keys(before, max).await
    }

    async fn find_key(&self, id: &KeyId) -> Result<Option<StoredApiKey>> {
        self.key_reads.fetch_add(1, Ordering::SeqCst);
        self.inner.find_key(id).await
    }

    async fn revoke_key(&self, id: &KeyId, by: &Actor) -> Result<ApiKey> {
        self.inner.revoke_key(id, by).await
    }

    async fn note_key_uses(&self, ids: &[KeyId]) -> Result<()> {
        self.inner.note_key_uses(ids).await
    }

    async fn has_keys(&self) -> Result<bool> {
        let wait = self.faults().keys_wait.clone();
        if let Some(wait) = wait
            && let Ok(permit) = wait.acquire().await
        {
            permit.forget();
        }
        self.inner.has_keys().await
    }
}

#[async_trait]
impl AuditRepo for FlakyStore {
    async fn append_audit(&self, entries: Vec<NewAudit>) -> Result<()> {
        let fault = self.faults().append_audit;
        if let Some(error) = fault {
            return Err(error());
        }
        self.inner.append_audit(entries).await
    }

    async fn audit(&self, filter: &AuditFilter, max: u32) -> Result<AuditPage> {
        self.inner.audit(filter, max).await
    }
}
