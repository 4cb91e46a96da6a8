//! Redacts secrets, which are recognized by the keys of fields.
//!
//! Only keys are matched, not values, at every depth of nested values. A key denotes a secret if
//! its last words do: `token`, `access_token`, `X-Api-Key`, `dbPassword`; not `token_count`.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::json::COMMA;
use crate::json_members::{inside, items, members};

const REDACTED: &[u8] = b"\"[REDACTED]\"";

/// Determines which fields are printed as `"[REDACTED]"`, by the last words of their keys.
///
/// Case and the separators `_`, `-`, `.` and space are ignored. The default covers
/// [`Redaction::DEFAULT`].
#[derive(Clone)]
pub struct Redaction {
    keys: Vec<String>,
    /// Identifies this set of keys, so that contexts can cache that they contain no secrets.
    id: u32,
}

impl Redaction {
    /// The keys that are redacted by default.
    pub const DEFAULT: &'static [&'static str] = &[
        "access_key",
        "api_key",
        "authorization",
        "bearer",
        "cookie",
        "cookies",
        "credential",
        "credentials",
        "passphrase",
        "passwd",
        "password",
        "private_key",
        "secret",
        "secret_key",
        "token",
    ];

    /// Creates a redaction that covers no keys.
    pub fn none() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Self { keys: Vec::new(), id: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    /// Adds keys.
    #[must_use]
    pub fn with(self, keys: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut all = self.keys;
        for key in keys {
            let key: String = key.as_ref().chars().filter(|it| !is_separator(*it)).collect();
            let key = key.to_ascii_lowercase();
            if !key.is_empty() && !all.contains(&key) {
                all.push(key);
            }
        }
        Self { keys: all, ..Self::none() }
    }

    /// Whether a field with this key is a secret.
    pub fn covers(&self, key: &str) -> bool {
        self.covers_plain(key.as_bytes())
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn covers_escaped(&self, key: &[u8]) -> bool {
        if key.contains(&b'\\') {
            let quoted = [b"\"", key, b"\""].concat();
            return serde_json::from_slice::<String>(&quoted).is_ok_and(|key| self.covers(&key));
        }
        self.covers_plain(key)
    }

    fn covers_plain(&self, key: &[u8]) -> bool {
        self.keys.iter().any(|secret| has_suffix(key, secret.as_bytes()))
    }

    /// Whether the members contain no secrets, at any depth.
    pub(crate) fn is_clean(&self, text: &[u8]) -> bool {
        members(text).all(|it| !self.covers_escaped(it.key) && self.is_clean_value(it.value))
    }

    fn is_clean_value(&self, value: &[u8]) -> bool {
        if let Some(object) = inside(value, b'{') {
            return self.is_clean(object);
        }
        inside(value, b'[').is_none_or(|array| items(array).all(|it| self.is_clean_value(it)))
    }

    /// Appends the members with secrets redacted.
    pub(crate) fn push_members(&self, out: &mut Vec<u8>, text: &[u8]) {
        for (at, member) in members(text).enumerate() {
            if at > 0 {
                out.extend_from_slice(COMMA);
            }
            let key_and_colon = member.whole.len() - member.value.len();
            out.extend_from_slice(member.whole.get(..key_and_colon).unwrap_or_default());
            if self.covers_escaped(member.key) {
                out.extend_from_slice(REDACTED);
            } else {
                self.push_value(out, member.value);
            }
        }
    }

    /// Appends a value with the secrets inside it redacted.
    pub(crate) fn push_value(&self, out: &mut Vec<u8>, value: &[u8]) {
        if let Some(object) = inside(value, b'{') {
            out.push(b'{');
            self.push_members(out, object);
            out.push(b'}');
        } else if let Some(array) = inside(value, b'[') {
            out.push(b'[');
            for (at, item) in items(array).enumerate() {
                if at > 0 {
                    out.extend_from_slice(COMMA);
                }
                self.push_value(out, item);
            }
            out.push(b']');
        } else {
            out.extend_from_slice(value);
        }
    }

    pub(crate) fn push_placeholder(out: &mut Vec<u8>) {
        out.extend_from_slice(REDACTED);
    }
}

impl Default for Redaction {
    fn default() -> Self {
        Self::none().with(Self::DEFAULT)
    }
}

impl fmt::Debug for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Redaction").field(&self.keys).finish()
    }
}

impl PartialEq for Redaction {
    fn eq(&self, other: &Self) -> bool {
        self.keys == other.keys
    }
}

impl Eq for Redaction {}

fn is_separator(it: char) -> bool {
    matches!(it, '_' | '-' | '.' | ' ')
}

/// Whether the last words of `key` are `secret`, which is in lower case and without separators.
fn has_suffix(key: &[u8], secret: &[u8]) -> bool {
    let mut rest = key;
    // The first two letters of the match, in their original case.
    let (mut first, mut second) = (0, 0);
    for expected in secret.iter().rev() {
        while let Some((it, before)) = rest.split_last()
            && is_separator(char::from(*it))
        {
            rest = before;
        }
        match rest.split_last() {
            Some((it, before)) if it.eq_ignore_ascii_case(expected) => {
                (first, second, rest) = (*it, first, before);
            }
            _ => return false,
        }
    }
    // A word begins at the start of the key, after a separator, or with a capital letter that is
    // not inside a run of capitals: `dbPassword`, `APIToken`.
    rest.last().is_none_or(|it| {
        let is_word = !it.is_ascii_uppercase() || second.is_ascii_lowercase();
        !it.is_ascii_alphanumeric() || (first.is_ascii_uppercase() && is_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_a_key_decide() {
        let redaction = Redaction::default();
        for key in [
            "token",
            "Authorization",
            "Proxy-Authorization",
            "access_token",
            "api_key",
            "apiKey",
            "X-API-Key",
            "REPLICATE_API_TOKEN",
            "dbPassword",
            "webhook.secret",
            "set-cookie",
            "APIKEY",
            "a.b.token",
            "é_token",
            "token_",
            "HFToken",
            "DBPassword",
            "secretKey",
        ] {
            assert!(redaction.covers(key), "{key}");
        }
        for key in
            ["tokens", "token_count", "broken", "monkey", "key", "secretary", "", "passwordless"]
        {
            assert!(!redaction.covers(key), "{key}");
        }
        assert!(redaction.covers_escaped(br"x\ntoken") && !redaction.covers_escaped(br"x\nntoken"));
        assert!(!Redaction::none().covers("token"));
        assert!(Redaction::none().with(["Social-Security"]).covers("user_social_security"));
    }

    #[test]
    fn secrets_are_found_at_every_depth() {
        let redaction = Redaction::default();
        let text = br#""a": 1, "h": [{"Cookie": {"x": 1}, "b": "t"}], "token": [1]"#;
        let mut out = Vec::new();
        redaction.push_members(&mut out, text);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#""a": 1, "h": [{"Cookie": "[REDACTED]", "b": "t"}], "token": "[REDACTED]""#
        );
        assert!(!redaction.is_clean(text));
        assert!(redaction.is_clean(br#""a": 1, "h": [{"b": "token"}]"#));
    }
}
