//! Keys and the audit trail in memory.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::{MemoryStore, Moment, State};
use crate::error::{Error, Result};
use crate::model::history::deleted_up_to;
use crate::model::text::without_nul;
use crate::model::{
    Actor, ApiKey, Audit, AuditFilter, AuditId, AuditPage, KeyHash, KeyId, NewApiKey, NewAudit,
    ProviderName, StoredApiKey, UserId,
};
use crate::repo::{AuditRepo, KeyRepo};

/// Keys and the audit trail, each in the order of writing.
#[derive(Debug, Clone, Default)]
pub(super) struct Accounts {
    keys: Vec<StoredApiKey>,
    audit: Vec<Audit>,
    last_audit: i64,
}

impl Accounts {
    fn position(&self, id: &KeyId) -> Option<usize> {
        self.keys.iter().position(|stored| stored.key.key.id == *id)
    }

    fn key_mut(&mut self, id: &KeyId) -> Option<&mut ApiKey> {
        self.keys.iter_mut().map(|stored| &mut stored.key).find(|key| key.key.id == *id)
    }
}

impl State {
    /// How many entries the audit trail has, and how many of them are not older than `since`.
    pub(super) fn audit_counts(&self, since: Timestamp) -> (u64, u64) {
        let audit = &self.accounts.audit;
        let recent = audit.iter().filter(|entry| entry.at >= since).count();
        (audit.len() as u64, recent as u64)
    }

    /// How many entries of the audit trail are old enough to be deleted.
    pub(super) fn old_audit(&self, keep_for: Option<SignedDuration>, now: Timestamp) -> usize {
        let Some(keep_for) = keep_for else { return 0 };
        let up_to = deleted_up_to(now, keep_for);
        self.accounts.audit.iter().filter(|entry| entry.at <= up_to).count()
    }

    /// Deletes so many of the oldest entries.
    pub(super) fn prune_audit(&mut self, count: usize) {
        self.accounts.audit.sort_by_key(Audit::cursor);
        self.accounts.audit.drain(..count.min(self.accounts.audit.len()));
    }
}

#[async_trait]
impl KeyRepo for MemoryStore {
    async fn add_key(&self, key: NewApiKey, hash: KeyHash, by: &Actor) -> Result<ApiKey> {
        key.check().map_err(Error::InvalidKey)?;
        self.write(|state, Moment { now, .. }| {
            if state.accounts.position(&key.id).is_some() {
                let source = format!("there is a key {} already", key.id).into();
                return Err(Error::Database { operation: "store a key", source });
            }
            let created_by = by.clone();
            let (last_used_at, revoked) = (None, None);
            let key = ApiKey { key, created_at: now, created_by, last_used_at, revoked };
            state.accounts.keys.push(StoredApiKey { key: key.clone(), hash });
            Ok(key)
        })
    }

    async fn list_keys(&self, before: Option<&KeyId>, max: u32) -> Result<Vec<ApiKey>> {
        let state = self.read()?;
        let keys = &state.accounts.keys;
        let end = before.and_then(|id| state.accounts.position(id)).unwrap_or(keys.len());
        let older = keys.iter().take(end).rev().take(max as usize);
        Ok(older.map(|stored| stored.key.clone()).collect())
    }

    async fn find_key(&self, id: &KeyId) -> Result<Option<StoredApiKey>> {
        let state = self.read()?;
        let position = state.accounts.position(id);
        Ok(position.and_then(|at| state.accounts.keys.get(at)).cloned())
    }

    async fn revoke_key(&self, id: &KeyId, by: &Actor) -> Result<ApiKey> {
        self.write(|state, Moment { now, .. }| {
            let missing = || Error::NotFound { what: "key", id: id.to_string() };
            let key = state.accounts.key_mut(id).ok_or_else(missing)?;
            key.revoked.get_or_insert_with(|| (now, by.clone()));
            Ok(key.clone())
        })
    }

    async fn note_key_uses(&self, ids: &[KeyId]) -> Result<()> {
        self.write(|state, Moment { now, .. }| {
            for id in ids {
                if let Some(key) = state.accounts.key_mut(id) {
                    key.last_used_at = Some(now);
                }
            }
            Ok(())
        })
    }

    async fn has_keys(&self) -> Result<bool> {
        Ok(!self.read()?.accounts.keys.is_empty())
    }
}

#[async_trait]
impl AuditRepo for MemoryStore {
    async fn append_audit(&self, entries: Vec<NewAudit>) -> Result<()> {
        self.write(|state, Moment { now, .. }| {
            for entry in entries {
                state.accounts.last_audit += 1;
                let id = AuditId(state.accounts.last_audit);
                state.accounts.audit.push(Audit { id, at: now, entry: storable(entry) });
            }
            Ok(())
        })
    }

    async fn audit(&self, filter: &AuditFilter, max: u32) -> Result<AuditPage> {
        let AuditFilter { actor, job, since, before } = filter;
        let state = self.read()?;
        let by =
            |entry: &Audit| entry.entry.actor.as_ref().and_then(Actor::name).map(str::to_owned);
        let mut entries: Vec<Audit> = state
            .accounts
            .audit
            .iter()
            .filter(|entry| actor.is_none() || by(entry) == *actor)
            .filter(|entry| job.is_none() || entry.entry.job == *job)
            .filter(|entry| since.is_none_or(|since| entry.at >= since))
            .filter(|entry| before.is_none_or(|before| entry.cursor() < before))
            .cloned()
            .collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.cursor()));
        entries.truncate(max as usize);
        let next = entries.last().map(Audit::cursor).filter(|_| entries.len() >= max as usize);
        Ok(AuditPage { entries, damaged: Vec::new(), next })
    }
}

/// An entry as it can be stored.
fn storable(entry: NewAudit) -> NewAudit {
    NewAudit {
        actor: entry.actor.map(|actor| match actor {
            Actor::User(user) => Actor::User(UserId::new(without_nul(user.as_str()))),
            Actor::Webhook(it) => Actor::Webhook(ProviderName::new(without_nul(it.as_str()))),
            Actor::Provider(it) => Actor::Provider(ProviderName::new(without_nul(it.as_str()))),
            Actor::Poller | Actor::Scheduler | Actor::Expirer | Actor::Operator => actor,
        }),
        key: entry.key.map(|key| KeyId::new(without_nul(key.as_str()))),
        operation: without_nul(&entry.operation),
        object: entry.object.as_deref().map(without_nul),
        ..entry
    }
}
