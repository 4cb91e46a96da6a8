//! Keys that were verified a moment ago, so that a request costs no read of the database.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use st_store::{ApiKey, KeyId};
use tokio::time::Instant;

use super::key::{Presented, SecretHash};

/// For how long a key counts as verified. What another process revokes is refused after this.
pub(super) const FOR: Duration = Duration::from_secs(5);
/// How many keys are kept.
const MOST: usize = 1024;

/// Verified keys by the hash of their secret. A hash tells a guesser nothing, however it is compared.
#[derive(Debug, Default)]
pub(super) struct Verified(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    keys: BTreeMap<SecretHash, (Arc<ApiKey>, Instant)>,
    /// Rises with every revocation, so that what was read before one is not kept after it.
    generation: u64,
}

impl Verified {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key, if it was verified a moment ago. Whether it is valid now is another question.
    pub(super) fn find(&self, presented: &Presented) -> Option<Arc<ApiKey>> {
        let kept = self.lock();
        let (key, at) = kept.keys.get(&presented.hash)?;
        (at.elapsed() < FOR && key.key.id == presented.id).then(|| Arc::clone(key))
    }

    /// To be asked for before a key is read.
    pub(super) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Keeps a key that was read in this generation.
    pub(super) fn insert(&self, presented: &Presented, key: &Arc<ApiKey>, generation: u64) {
        let mut kept = self.lock();
        if kept.generation != generation {
            return;
        }
        if kept.keys.len() >= MOST {
            kept.keys.clear();
        }
        kept.keys.insert(presented.hash, (Arc::clone(key), Instant::now()));
    }

    /// The key was revoked.
    pub(super) fn forget(&self, id: &KeyId) {
        let mut kept = self.lock();
        kept.generation += 1;
        kept.keys.retain(|_, (key, _)| key.key.id != *id);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use st_store::{Actor, KeyScopes, NewApiKey, Role, UserId};
    use tokio::time::advance;

    use super::super::key::Minted;
    use super::*;

    fn key() -> (Presented, Arc<ApiKey>) {
        let presented = Presented::parse(Minted::new().unwrap().expose()).unwrap();
        let key = NewApiKey {
            id: presented.id.clone(),
            name: String::new(),
            user: UserId::new("ann"),
            role: Role::Viewer,
            team: None,
            org: None,
            scopes: KeyScopes::All,
            expires_at: None,
        };
        let (created_at, created_by) = (Timestamp::UNIX_EPOCH, Actor::Operator);
        let key = ApiKey { key, created_at, created_by, last_used_at: None, revoked: None };
        (presented, Arc::new(key))
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_kept_for_some_seconds_and_not_beyond_its_revocation() {
        let verified = Verified::default();
        let ((presented, key), (other, _)) = (key(), key());
        verified.insert(&presented, &key, verified.generation());
        assert_eq!(verified.find(&presented).as_ref(), Some(&key));
        assert_eq!(verified.find(&other), None);
        let borrowed = Presented { id: other.id.clone(), ..presented.clone() };
        assert_eq!(verified.find(&borrowed), None, "the secret of another key");
        let before = verified.generation();
        verified.forget(&presented.id);
        assert_eq!(verified.find(&presented), None);
        verified.insert(&presented, &key, before);
        assert_eq!(verified.find(&presented), None, "it was read before the revocation");
        verified.insert(&presented, &key, verified.generation());
        advance(FOR).await;
        assert_eq!(verified.find(&presented), None);
    }

    #[test]
    fn only_so_many_are_kept() {
        let verified = Verified::default();
        for _ in 0..=MOST {
            let (presented, key) = key();
            verified.insert(&presented, &key, 0);
            assert!(verified.find(&presented).is_some());
        }
        assert!(verified.lock().keys.len() <= MOST);
    }
}
