//! Keys of the interface: who a caller is and what the caller may do.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;

use crate::model::text::{UnknownText, text_enum};
use crate::model::{Actor, InvalidText, KeyId, OrgId, Role, TeamId, UserId};

text_enum! {
    /// A part of what a role allows. A key with scopes may do what its role allows and one of its
    /// scopes covers; no scope includes another.
    KeyScope, "scope" {
        /// Reads.
        Read = "read",
        /// Submits, repeats and cancels jobs.
        Submit = "submit",
        /// Decides about approvals, and about priorities.
        Approve = "approve",
        /// Everything else: settings, limits, holds, keys.
        Admin = "admin",
    }
}

/// The scopes of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyScopes {
    /// The key may do all that its role allows.
    All,
    /// The key may do only what one of these covers.
    Only(BTreeSet<KeyScope>),
}

impl KeyScopes {
    /// Whether what needs this scope is covered.
    pub fn allow(&self, scope: KeyScope) -> bool {
        match self {
            Self::All => true,
            Self::Only(scopes) => scopes.contains(&scope),
        }
    }

    /// The scopes as they are stored; `None` for all.
    pub fn to_text(&self) -> Option<String> {
        match self {
            Self::All => None,
            Self::Only(scopes) => {
                let words: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
                Some(words.join(","))
            }
        }
    }

    /// What [`Self::to_text`] wrote.
    pub fn from_text(text: Option<&str>) -> Result<Self, UnknownText> {
        let Some(text) = text else { return Ok(Self::All) };
        let words = text.split(',').filter(|word| !word.is_empty());
        words.map(str::parse).collect::<Result<_, _>>().map(Self::Only)
    }
}

/// The SHA-256 of a key's secret. The secret is 256 random bits, so that nobody finds it by trying, and a
/// slow hash as for passwords would protect nothing.
#[derive(Clone, Copy)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// A hash with these bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes. Not to be compared with `==`, which takes as long as they are equal.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(***)")
    }
}

/// A key that is to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// The part of the key that is no secret.
    pub id: KeyId,
    /// What people call it.
    pub name: String,
    /// The user whose requests it makes.
    pub user: UserId,
    /// What the user may do with it.
    pub role: Role,
    /// The team that its jobs may be counted for.
    pub team: Option<TeamId>,
    /// The organization that its jobs may be counted for.
    pub org: Option<OrgId>,
    /// What narrows the role.
    pub scopes: KeyScopes,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
}

impl NewApiKey {
    /// Refuses texts that cannot be stored.
    pub(crate) fn check(&self) -> Result<(), InvalidText> {
        let texts = [
            ("name", Some(self.name.as_str())),
            ("user", Some(self.user.as_str())),
            ("team_id", self.team.as_ref().map(TeamId::as_str)),
            ("org_id", self.org.as_ref().map(OrgId::as_str)),
        ];
        let check =
            |(field, text): (_, Option<&str>)| InvalidText::check(field, text.unwrap_or_default());
        texts.into_iter().try_for_each(check)
    }
}

/// A key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Who it belongs to and what it allows.
    pub key: NewApiKey,
    /// When it was made.
    pub created_at: Timestamp,
    /// The actor that created the key.
    pub created_by: Actor,
    /// When a request was last made with it, to about a minute.
    pub last_used_at: Option<Timestamp>,
    /// Since when it is refused, and who decided that.
    pub revoked: Option<(Timestamp, Actor)>,
}

impl ApiKey {
    /// Whether a request may be made with it at this time.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.key.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}

/// A key with what its secret is compared with.
#[derive(Debug, Clone)]
pub struct StoredApiKey {
    /// The key.
    pub key: ApiKey,
    /// The hash of its secret.
    pub hash: KeyHash,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_they_were_written() {
        let some = KeyScopes::Only([KeyScope::Submit, KeyScope::Read].into());
        for scopes in [KeyScopes::All, some.clone(), KeyScopes::Only(BTreeSet::new())] {
            let text = scopes.to_text();
            assert_eq!(KeyScopes::from_text(text.as_deref()).unwrap(), scopes);
        }
        assert_eq!(some.to_text().as_deref(), Some("read,submit"));
        KeyScopes::from_text(Some("read,all")).unwrap_err();
    }

    #[test]
    fn a_scope_includes_no_other() {
        for &held in KeyScope::ALL {
            let scopes = KeyScopes::Only([held].into());
            for &needed in KeyScope::ALL {
                assert_eq!(scopes.allow(needed), held == needed);
                assert!(KeyScopes::All.allow(needed));
            }
        }
    }

    #[test]
    fn a_hash_does_not_show_itself() {
        assert_eq!(format!("{:?}", KeyHash::new([7; 32])), "KeyHash(***)");
    }
}
