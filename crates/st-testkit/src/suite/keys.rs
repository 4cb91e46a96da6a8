//! Keys: stored, found, listed, revoked, and when they were used.

use st_store::{
    Actor, ApiKey, Error, KeyHash, KeyId, KeyScope, KeyScopes, NewApiKey, OrgId, Role, TeamId,
    UserId,
};

use super::{Harness, at, user};

/// A key of ann's that is used up at second 1000.
pub fn new_key(number: u8) -> NewApiKey {
    NewApiKey {
        id: KeyId::new(format!("k{number}")),
        name: format!("key {number}"),
        user: UserId::new("ann"),
        role: Role::Researcher,
        team: Some(TeamId::new("vision")),
        org: Some(OrgId::new("acme")),
        scopes: KeyScopes::Only([KeyScope::Submit, KeyScope::Read].into()),
        expires_at: Some(at(1000)),
    }
}

fn hash(number: u8) -> KeyHash {
    KeyHash::new([number; 32])
}

async fn added(harness: &Harness, number: u8) -> ApiKey {
    harness.store.add_key(new_key(number), hash(number), &user("root")).await.unwrap()
}

pub async fn a_key_is_found_as_it_was_stored(harness: &Harness) {
    let store = &harness.store;
    assert!(!store.has_keys().await.unwrap());
    assert!(store.find_key(&KeyId::new("k1")).await.unwrap().is_none());
    harness.go_to(7);
    let added = added(harness, 1).await;
    let expected = ApiKey {
        key: new_key(1),
        created_at: at(7),
        created_by: user("root"),
        last_used_at: None,
        revoked: None,
    };
    assert_eq!(added, expected);
    let found = store.find_key(&KeyId::new("k1")).await.unwrap().unwrap();
    assert_eq!((found.key, *found.hash.as_bytes()), (expected, [1; 32]));
    let mut plain = new_key(2);
    (plain.team, plain.org, plain.expires_at, plain.scopes) = (None, None, None, KeyScopes::All);
    let added = store.add_key(plain.clone(), hash(2), &Actor::Operator).await.unwrap();
    assert_eq!((added.key, added.created_by), (plain, Actor::Operator));
    assert!(store.has_keys().await.unwrap());
    let again = store.add_key(new_key(1), hash(3), &Actor::Operator).await;
    assert!(again.is_err(), "an identifier is one key's");
    let found = store.find_key(&KeyId::new("k1")).await.unwrap().unwrap();
    assert_eq!(*found.hash.as_bytes(), [1; 32]);
}

pub async fn keys_are_listed_newest_first_and_in_pages(harness: &Harness) {
    for number in [3, 1, 2] {
        added(harness, number).await;
    }
    let listed = async |before: Option<&str>, max| {
        let before = before.map(KeyId::new);
        let keys = harness.store.list_keys(before.as_ref(), max).await.unwrap();
        keys.into_iter().map(|key| key.key.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(listed(None, 500).await, ["k2", "k1", "k3"]);
    assert_eq!(listed(None, 2).await, ["k2", "k1"]);
    assert_eq!(listed(Some("k1"), 2).await, ["k3"]);
    assert_eq!(listed(Some("k3"), 2).await, [""; 0]);
}

pub async fn a_key_is_revoked_once(harness: &Harness) {
    let store = &harness.store;
    let key = added(harness, 1).await;
    assert!(key.is_valid_at(at(0)) && key.is_valid_at(at(999)));
    assert!(!key.is_valid_at(at(1000)), "it has expired");
    harness.go_to(10);
    let revoked = store.revoke_key(&key.key.id, &user("root")).await.unwrap();
    assert_eq!(revoked.revoked, Some((at(10), user("root"))));
    assert!(!revoked.is_valid_at(at(10)));
    harness.go_to(20);
    let again = store.revoke_key(&key.key.id, &Actor::Operator).await.unwrap();
    assert_eq!(again, revoked);
    assert_eq!(store.find_key(&key.key.id).await.unwrap().unwrap().key, revoked);
    let missing = store.revoke_key(&KeyId::new("k9"), &Actor::Operator).await.unwrap_err();
    assert!(matches!(missing, Error::NotFound { what: "key", .. }), "{missing}");
    assert!(store.has_keys().await.unwrap(), "it was made, and that counts");
}

pub async fn the_use_of_a_key_is_noted(harness: &Harness) {
    let store = &harness.store;
    let (first, second) = (added(harness, 1).await, added(harness, 2).await);
    harness.go_to(30);
    store.note_key_uses(&[first.key.id.clone(), KeyId::new("none")]).await.unwrap();
    let found = store.find_key(&first.key.id).await.unwrap().unwrap().key;
    assert_eq!(found, ApiKey { last_used_at: Some(at(30)), ..first });
    assert_eq!(store.find_key(&second.key.id).await.unwrap().unwrap().key, second);
}

pub async fn a_key_that_cannot_be_stored_is_refused(harness: &Harness) {
    let nul = "a\0b";
    for (bad, field) in [
        (NewApiKey { name: nul.to_owned(), ..new_key(1) }, "name"),
        (NewApiKey { user: UserId::new(nul), ..new_key(1) }, "user"),
        (NewApiKey { team: Some(TeamId::new(nul)), ..new_key(1) }, "team_id"),
        (NewApiKey { org: Some(OrgId::new(nul)), ..new_key(1) }, "org_id"),
    ] {
        let error = harness.store.add_key(bad, hash(1), &Actor::Operator).await.unwrap_err();
        assert!(matches!(&error, Error::InvalidKey(text) if text.field == field), "{error}");
    }
    assert!(!harness.store.has_keys().await.unwrap());
}
