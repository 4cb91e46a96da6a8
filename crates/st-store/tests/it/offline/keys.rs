//! Keys in a database that a server has open.

use st_store::{Actor, AuditFilter, Error, KeyHash, KeyId, offline};
use st_testkit::suite::keys::new_key;
use st_testkit::suite::{at, job};

use crate::bench::{Bench, folder};

#[tokio::test]
async fn keys_are_made_and_revoked_beside_an_open_store() {
    let bench = Bench::new().await;
    let path = bench.path();
    let made = offline::add_key(&path, &new_key(1), &KeyHash::new([7; 32]), at(3)).unwrap();
    assert_eq!((made.created_at, &made.created_by), (at(3), &Actor::Operator));
    let found = bench.store.find_key(&new_key(1).id).await.unwrap().unwrap();
    assert_eq!((&found.key, *found.hash.as_bytes()), (&made, [7; 32]));
    // The store goes on as before, and so does the other connection.
    bench.submit(job(1, "ann")).await;
    let revoked = offline::revoke_key(&path, &new_key(1).id, at(4)).unwrap();
    assert_eq!(revoked.revoked, Some((at(4), Actor::Operator)));
    bench.submit(job(2, "ann")).await;
    let stored = bench.store.find_key(&new_key(1).id).await.unwrap().unwrap();
    assert_eq!(stored.key, revoked);
    assert_eq!(offline::list_keys(&path, 9).unwrap(), [revoked]);
    let trail = bench.store.audit(&AuditFilter::default(), 9).await.unwrap().entries;
    let trail: Vec<_> = trail
        .iter()
        .map(|it| (it.entry.operation.as_str(), it.entry.object.as_deref(), &it.entry.actor))
        .collect();
    let operator = Some(Actor::Operator);
    let expected = [("revoke_key", Some("k1"), &operator), ("create_key", Some("k1"), &operator)];
    assert_eq!(trail, expected);
    // All of it is in the file that the next start opens.
    let bench = Bench::open_in(bench.closed().await, at(10)).await;
    assert!(bench.store.has_keys().await.unwrap());
    assert_eq!(bench.found(2).await.job().owner.user.as_str(), "ann");
}

#[tokio::test]
async fn a_key_that_is_not_there_leaves_no_entry() {
    let bench = Bench::new().await;
    let missing = offline::revoke_key(&bench.path(), &KeyId::new("k9"), at(4)).unwrap_err();
    assert!(matches!(missing, Error::NotFound { what: "key", .. }), "{missing}");
    let trail = bench.store.audit(&AuditFilter::default(), 9).await.unwrap().entries;
    assert_eq!(trail, []);
}

#[test]
fn where_there_is_no_database_none_is_made() {
    let folder = folder();
    let path = folder.path().join("cloud.db");
    let error = offline::add_key(&path, &new_key(1), &KeyHash::new([7; 32]), at(3)).unwrap_err();
    assert!(matches!(error, Error::NoDatabase { .. }), "{error}");
    assert!(!path.exists());
}
