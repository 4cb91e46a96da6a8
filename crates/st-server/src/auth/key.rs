//! The text of a key: `st_<id>_<secret>`.
//!
//! The identifier is no secret: it is listed and logged. The secret is 43 characters of 62, which is 256
//! random bits.

use std::fmt;

use sha2::{Digest, Sha256};
use st_store::{KeyHash, KeyId};

const PREFIX: &str = "st";
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ID_LENGTH: usize = 10;
const SECRET_LENGTH: usize = 43;

/// No randomness is to be had.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes")]
pub(crate) struct NoRandomness(#[source] getrandom::Error);

/// A key that was just made: the only time that its secret is known here.
pub(crate) struct Minted {
    pub(crate) id: KeyId,
    pub(crate) hash: KeyHash,
    text: String,
}

impl Minted {
    /// Makes a key.
    pub(crate) fn new() -> Result<Self, NoRandomness> {
        let (id, secret) = (random_text(ID_LENGTH)?, random_text(SECRET_LENGTH)?);
        let hash = KeyHash::new(*SecretHash::of(&secret).as_bytes());
        let text = format!("{PREFIX}_{id}_{secret}");
        Ok(Self { id: KeyId::new(id), hash, text })
    }

    /// The whole key, to be shown once.
    pub(crate) fn expose(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minted").field("id", &self.id).finish_non_exhaustive()
    }
}

/// So many characters, each as likely as the others.
pub(super) fn random_text(length: usize) -> Result<String, NoRandomness> {
    /// Bytes from here on would make the first characters likelier.
    const FAIR: u8 = 248;
    let mut text = String::with_capacity(length);
    let mut bytes = [0; 64];
    while text.len() < length {
        getrandom::fill(&mut bytes).map_err(NoRandomness)?;
        let fair = bytes.iter().filter(|byte| **byte < FAIR);
        let chars = fair.filter_map(|byte| ALPHABET.get(usize::from(byte % 62)));
        text.extend(chars.take(length - text.len()).map(|byte| char::from(*byte)));
    }
    Ok(text)
}

/// The SHA-256 of a secret.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SecretHash([u8; 32]);

impl SecretHash {
    pub(super) fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    pub(super) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(***)")
    }
}

/// A key as a request shows it, without its secret.
#[derive(Debug, Clone)]
pub(crate) struct Presented {
    pub(super) id: KeyId,
    pub(super) hash: SecretHash,
}

impl Presented {
    /// Reads the text of a key. What is not formed like one is none, so that nothing else that a person
    /// put there by mistake is ever stored or logged as an identifier.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '_');
        let (prefix, id, secret) = (parts.next()?, parts.next()?, parts.next()?);
        let formed = |text: &str, length| {
            text.len() == length && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        let is_key = prefix == PREFIX && formed(id, ID_LENGTH) && formed(secret, SECRET_LENGTH);
        is_key.then(|| Self { id: KeyId::new(id), hash: SecretHash::of(secret) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_made() {
        let (first, second) = (Minted::new().unwrap(), Minted::new().unwrap());
        assert_ne!(first.expose(), second.expose());
        assert_ne!(first.id, second.id);
        let read = Presented::parse(first.expose()).unwrap();
        assert_eq!((&read.id, read.hash.as_bytes()), (&first.id, first.hash.as_bytes()));
        assert_eq!(first.expose().len(), "st_".len() + ID_LENGTH + 1 + SECRET_LENGTH);
    }

    #[test]
    fn another_text_is_no_key() {
        let key = Minted::new().unwrap();
        let key = key.expose();
        let short = key.split_at(key.len() - 1).0;
        let (longer, other) = (format!("{key}x"), key.replacen("st_", "sk_", 1));
        let sign = format!("{short}-");
        for text in ["", "st", "st_", "st__", short, &longer, &other, &sign, "Bearer"] {
            assert!(Presented::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn nothing_shows_a_secret() {
        let key = Minted::new().unwrap();
        let secret = key.expose().rsplit('_').next().unwrap();
        let read = Presented::parse(key.expose()).unwrap();
        let shown = format!("{key:?} {read:?}");
        assert!(!shown.contains(secret), "{shown}");
        assert!(shown.contains("SecretHash(***)"), "{shown}");
    }

    #[test]
    fn each_character_is_as_likely_as_the_others() {
        let text = random_text(62 * 1000).unwrap();
        for char in ALPHABET {
            let found = text.bytes().filter(|byte| byte == char).count();
            assert!((800..1200).contains(&found), "{}: {found}", char::from(*char));
        }
    }
}
