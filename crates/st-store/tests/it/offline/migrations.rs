//! The copy before a migration, and what would be migrated.

use std::fs;

use rusqlite::Connection;
use st_store::{Error, SqliteConfig, SqliteStore, offline};
use st_testkit::suite::at;

use super::super::bench::{Bench, folder, text_of};
use super::super::schema::downgrade;
use super::{filled, names};

const COPY: &str = "cloud.db.v1.20260101T000100Z.backup";

#[tokio::test]
async fn a_database_is_copied_before_it_is_migrated() {
    let kept = filled().await.closed().await;
    downgrade(kept.path());
    let path = kept.path().join("cloud.db");
    let plan = offline::migrations(&path).unwrap();
    assert_eq!(plan.schema, 1);
    let pending: Vec<i64> = plan.pending.iter().map(|(version, _)| *version).collect();
    assert_eq!(pending, [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    assert_eq!(names(kept.path()), ["cloud.db"], "a plan changes nothing");
    let bench = Bench::open_in(kept, at(60)).await;
    let folder = bench.folder.path();
    assert_eq!(names(folder), ["cloud.db", COPY, &format!("{COPY}.sha256")]);
    let copy = Connection::open(folder.join(COPY)).unwrap();
    assert_eq!(text_of(&copy, "SELECT MAX(version) AS v FROM schema_migrations"), "v=1");
    assert_eq!(text_of(&copy, "SELECT COUNT(*) AS n FROM jobs"), "n=6");
    assert_eq!(offline::migrations(&path).unwrap().pending, []);
}

#[tokio::test]
async fn only_the_newest_copies_are_kept() {
    let kept = filled().await.closed().await;
    downgrade(kept.path());
    let old = ["20250101T000000Z", "20250102T000000Z", "20250103T000000Z", "20250104T000000Z"];
    for time in old {
        for end in ["", ".sha256"] {
            let name = format!("cloud.db.v1.{time}.backup{end}");
            fs::write(kept.path().join(name), "old").unwrap();
        }
    }
    let others = ["cloud.db.v1.backup", "cloud.db.vx.20240101T000000Z.backup", "notes.backup"];
    for other in others {
        fs::write(kept.path().join(other), "mine").unwrap();
    }
    let bench = Bench::open_in(kept, at(60)).await;
    let mut expected: Vec<String> = others.iter().map(|&name| name.to_owned()).collect();
    expected.push("cloud.db".to_owned());
    for time in [old[2], old[3], "20260101T000100Z"] {
        let name = format!("cloud.db.v1.{time}.backup");
        expected.extend([format!("{name}.sha256"), name]);
    }
    expected.sort();
    assert_eq!(names(bench.folder.path()), expected);
}

#[tokio::test]
async fn a_new_database_is_not_copied() {
    let bench = Bench::new().await;
    assert_eq!(names(bench.folder.path()), ["cloud.db"]);
}

#[tokio::test]
async fn where_no_copy_can_be_made_nothing_is_migrated() {
    let kept = filled().await.closed().await;
    downgrade(kept.path());
    let path = kept.path().join("cloud.db");
    // A row without its job: such a copy could not be restored.
    let raw = Connection::open(&path).unwrap();
    let orphan = "PRAGMA foreign_keys = OFF; INSERT INTO job_inputs VALUES (99, '{}')";
    raw.execute_batch(orphan).unwrap();
    raw.close().unwrap();
    let error = SqliteStore::open(SqliteConfig::new(&path)).await.unwrap_err();
    assert!(matches!(error, Error::NoDatabase { .. }), "{error}");
    assert_eq!(offline::migrations(&path).unwrap().schema, 1);
}

#[tokio::test]
async fn a_database_from_a_newer_version_names_the_copy_that_can_be_used() {
    let kept = filled().await.closed().await;
    let path = kept.path().join("cloud.db");
    let raw = Connection::open(&path).unwrap();
    let sql = "INSERT INTO schema_migrations VALUES (99, 'later', 'abc', 0, '9.9')";
    raw.execute(sql, []).unwrap();
    raw.close().unwrap();
    let said = async || SqliteStore::open(SqliteConfig::new(&path)).await.unwrap_err().to_string();
    assert!(said().await.ends_with("this program knows up to 12"), "{}", said().await);
    for version in [1, 2, 13] {
        let name = format!("cloud.db.v{version}.202601{version:02}T000000Z.backup");
        fs::write(kept.path().join(name), "copy").unwrap();
    }
    let end = "cloud.db.v2.20260102T000000Z.backup is a copy from before it was migrated";
    assert!(said().await.ends_with(end), "{}", said().await);
}

#[test]
fn what_is_no_database_has_no_plan() {
    let folder = folder();
    let error = offline::migrations(&folder.path().join("cloud.db")).unwrap_err();
    assert!(matches!(error, Error::NoDatabase { .. }), "{error}");
}
