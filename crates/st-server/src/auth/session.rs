//! Sessions of browsers. They are in memory: a restart ends them, and a person signs in again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::key::{NoRandomness, Presented, SecretHash, random_text};

/// How long a session lasts.
pub(crate) const LIFETIME: Duration = Duration::from_hours(12);
/// How many there may be; the oldest gives way to a new one.
const MOST: usize = 1000;
/// 256 random bits.
const TOKEN_LENGTH: usize = 43;

/// The sessions, by the hash of their token.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<BTreeMap<SecretHash, Session>>);

#[derive(Debug)]
struct Session {
    key: Presented,
    opened_at: Instant,
}

/// A session that is open.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) key: Presented,
    pub(super) csrf: String,
}

/// A session that was just opened: the only time that its token is known here.
pub(crate) struct Opened {
    token: String,
    /// What requests of this session that change something must show.
    pub(crate) csrf: String,
}

impl Opened {
    pub(super) fn token(&self) -> &str {
        &self.token
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}

/// Derived from the token, which a page cannot read, and which cannot be found from this.
fn csrf(token: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let hash = SecretHash::of(&format!("csrf {token}"));
    let halves = hash.as_bytes().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digits = halves.filter_map(|half| DIGITS.get(usize::from(half)));
    digits.map(|digit| char::from(*digit)).collect()
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<SecretHash, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a session for the user of this key.
    pub(super) fn open(&self, key: Presented) -> Result<Opened, NoRandomness> {
        let token = random_text(TOKEN_LENGTH)?;
        let mut sessions = self.lock();
        sessions.retain(|_, session| session.opened_at.elapsed() < LIFETIME);
        if sessions.len() >= MOST {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.opened_at);
            let oldest = oldest.map(|(hash, _)| *hash);
            oldest.and_then(|hash| sessions.remove(&hash));
        }
        sessions.insert(SecretHash::of(&token), Session { key, opened_at: Instant::now() });
        drop(sessions);
        let csrf = csrf(&token);
        Ok(Opened { token, csrf })
    }

    /// The session with this token, if it is open.
    pub(super) fn find(&self, token: &str) -> Option<Found> {
        let sessions = self.lock();
        let session = sessions.get(&SecretHash::of(token))?;
        let open = session.opened_at.elapsed() < LIFETIME;
        open.then(|| Found { key: session.key.clone(), csrf: csrf(token) })
    }

    pub(super) fn end(&self, token: &str) {
        self.lock().remove(&SecretHash::of(token));
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::super::key::Minted;
    use super::*;

    fn key() -> Presented {
        Presented::parse(Minted::new().unwrap().expose()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_lasts_for_twelve_hours_or_until_it_is_ended() {
        let (sessions, key) = (Sessions::default(), key());
        let opened = sessions.open(key.clone()).unwrap();
        let other = sessions.open(key.clone()).unwrap();
        advance(LIFETIME.saturating_sub(Duration::from_secs(1))).await;
        let found = sessions.find(opened.token()).unwrap();
        assert_eq!((&found.key.id, &found.csrf), (&key.id, &opened.csrf));
        assert_ne!(opened.csrf, other.csrf);
        assert!(sessions.find("another").is_none());
        sessions.end(other.token());
        assert!(sessions.find(other.token()).is_none());
        advance(Duration::from_secs(1)).await;
        assert!(sessions.find(opened.token()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_only_so_many() {
        let (sessions, key) = (Sessions::default(), key());
        let first = sessions.open(key.clone()).unwrap();
        advance(Duration::from_secs(1)).await;
        let second = sessions.open(key.clone()).unwrap();
        advance(Duration::from_secs(1)).await;
        for _ in 0..MOST - 1 {
            sessions.open(key.clone()).unwrap();
        }
        assert_eq!(sessions.lock().len(), MOST);
        assert!(sessions.find(first.token()).is_none(), "the oldest gave way");
        assert!(sessions.find(second.token()).is_some());
    }

    #[test]
    fn nothing_shows_a_token() {
        let opened = Opened { token: "planted-token".to_owned(), csrf: "planted-csrf".to_owned() };
        assert!(!format!("{opened:?}").contains("planted"));
        assert!(!csrf("planted-token").contains("planted"));
    }
}
