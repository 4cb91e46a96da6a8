//! Putting a backup in the place of a database.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use st_store::{ClaimOrigin, Error, EventId, offline};
use st_testkit::suite::{at, claiming, job};
use tempfile::TempDir;

use super::super::bench::{Bench, folder};
use super::{filled, names};

/// A closed database with jobs, and a backup of it in another folder.
async fn with_backup() -> (TempDir, TempDir) {
    let bench = filled().await;
    let backups = folder();
    offline::back_up(&bench.path(), &backups.path().join("b.db")).unwrap();
    // Work that the backup does not have.
    bench.submit(job(7, "late")).await;
    (bench.closed().await, backups)
}

fn restore(kept: &TempDir, backups: &TempDir) -> st_store::Result<offline::Restored> {
    offline::restore(&kept.path().join("cloud.db"), &backups.path().join("b.db"), at(60))
}

/// Opens what was restored, and expects that it has its six jobs, in another life.
async fn expect_new_life(kept: TempDir, than: u32) -> Bench {
    let bench = Bench::open_in(kept, at(60)).await;
    assert!(bench.store.epoch().0 > than, "epoch {}", bench.store.epoch());
    let seen = bench.store.events_after(EventId(21), 10).await.unwrap();
    assert!(seen.resync, "a reader of the life that is lost");
    bench.go_to(600);
    let claims = bench.store.claim(&claiming(100)).await.unwrap().claims;
    let reclaimed = bench.reclaim().await;
    let origins: Vec<_> = claims
        .iter()
        .chain(&reclaimed)
        .map(|claim| claim.record.stage().claimed().unwrap().origin)
        .collect();
    assert!(!origins.is_empty() && !origins.contains(&ClaimOrigin::New), "{origins:?}");
    bench
}

#[tokio::test]
async fn a_restored_database_begins_a_new_life() {
    let (kept, backups) = with_backup().await;
    let restored = restore(&kept, &backups).unwrap();
    assert!(restored.compared);
    assert_eq!((restored.jobs, restored.schema), (6, 12));
    let replaced = restored.replaced.unwrap();
    assert!(replaced.to_string_lossy().ends_with("cloud.db.replaced-20260101T000100Z"));
    let raw = Connection::open(&replaced).unwrap();
    let jobs: i64 = raw.query_row("SELECT COUNT(*) FROM jobs", [], |row| row.get(0)).unwrap();
    assert_eq!(jobs, 7, "what was replaced is kept");
    raw.close().unwrap();
    // Restoring again is another life again.
    let bench = expect_new_life(kept, 1).await;
    let epoch = bench.store.epoch().0;
    let kept = bench.closed().await;
    restore(&kept, &backups).unwrap();
    expect_new_life(kept, epoch).await;
}

#[tokio::test]
async fn the_very_state_that_is_there_begins_a_new_life_when_it_is_restored() {
    let bench = filled().await;
    let kept = bench.closed().await;
    let backups = folder();
    let path = kept.path().join("cloud.db");
    offline::back_up(&path, &backups.path().join("b.db")).unwrap();
    restore(&kept, &backups).unwrap();
    expect_new_life(kept, 1).await;
}

#[tokio::test]
async fn after_a_crash_a_backup_can_be_restored() {
    let bench = filled().await;
    let backups = folder();
    offline::back_up(&bench.path(), &backups.path().join("b.db")).unwrap();
    bench.submit(job(7, "late")).await;
    // As the files are after a crash that also took the log.
    let crashed = folder();
    for name in ["cloud.db", "cloud.db.lock"] {
        fs::copy(bench.folder.path().join(name), crashed.path().join(name)).unwrap();
    }
    fs::copy(backups.path().join("b.db"), crashed.path().join("cloud.db")).unwrap();
    let refused =
        st_store::SqliteStore::open(st_store::SqliteConfig::new(crashed.path().join("cloud.db")));
    let refused = refused.await.unwrap_err();
    assert!(matches!(refused, Error::Incomplete { .. }), "{refused}");
    // The log of the database before is kept beside it and does not get into the restored one.
    fs::copy(bench.folder.path().join("cloud.db-wal"), crashed.path().join("cloud.db-wal"))
        .unwrap();
    let log = fs::read(crashed.path().join("cloud.db-wal")).unwrap();
    let replaced = restore(&crashed, &backups).unwrap().replaced.unwrap();
    let kept = format!("{}-wal", replaced.display());
    assert!(log == fs::read(kept).unwrap() && !crashed.path().join("cloud.db-wal").exists());
    expect_new_life(crashed, 1).await;
}

#[tokio::test]
async fn where_there_is_no_database_a_backup_can_be_restored() {
    let (_kept, backups) = with_backup().await;
    let empty = folder();
    let restored = restore(&empty, &backups).unwrap();
    assert_eq!(restored.replaced, None);
    assert_eq!(names(empty.path()), ["cloud.db"]);
    expect_new_life(empty, 1).await;
}

#[tokio::test]
async fn nothing_is_restored_while_a_store_has_the_database() {
    let bench = filled().await;
    let backups = folder();
    let backup = backups.path().join("b.db");
    offline::back_up(&bench.path(), &backup).unwrap();
    let error = offline::restore(&bench.path(), &backup, at(60)).unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    bench.submit(job(7, "late")).await;
    assert_eq!(names(bench.folder.path()), ["cloud.db"]);
}

/// Expects that the backup is refused, and that the database is as it was.
async fn refused(change: impl Fn(&Path)) -> Error {
    let (kept, backups) = with_backup().await;
    change(&backups.path().join("b.db"));
    let path = kept.path().join("cloud.db");
    let before = fs::read(&path).unwrap();
    let error = restore(&kept, &backups).unwrap_err();
    assert!(before == fs::read(&path).unwrap());
    assert_eq!(names(kept.path()), ["cloud.db"]);
    let bench = Bench::open_in(kept, at(60)).await;
    assert_eq!(bench.store.epoch().0, 1, "the same life goes on");
    error
}

fn forget_checksum(backup: &Path) {
    fs::remove_file(backup.with_file_name("b.db.sha256")).unwrap();
}

#[tokio::test]
async fn a_backup_that_was_changed_is_refused() {
    let error = refused(|backup| {
        let mut bytes = fs::read(backup).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(backup, bytes).unwrap();
    });
    let error = error.await;
    assert!(matches!(error, Error::OtherChecksum { .. }), "{error}");
}

#[tokio::test]
async fn a_checksum_that_is_none_is_refused() {
    let error = refused(|backup| fs::write(backup.with_file_name("b.db.sha256"), "?").unwrap());
    let error = error.await;
    assert!(matches!(error, Error::File { .. }), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_such_database_is_refused() {
    let no_database = |error: Error, says: &str| {
        assert!(matches!(error, Error::NoDatabase { .. }), "{error}");
        assert!(error.to_string().contains("b.db cannot be used"), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    };
    let text = refused(|backup| {
        forget_checksum(backup);
        fs::write(backup, "no database at all").unwrap();
    });
    no_database(text.await, "it is no database of SQLite");
    let cut = refused(|backup| {
        forget_checksum(backup);
        let bytes = fs::read(backup).unwrap();
        fs::write(backup, &bytes[..bytes.len() / 2]).unwrap();
    });
    no_database(cut.await, "");
    let foreign = refused(|backup| {
        forget_checksum(backup);
        fs::remove_file(backup).unwrap();
        let foreign = Connection::open(backup).unwrap();
        foreign.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)").unwrap();
    });
    no_database(foreign.await, "it lacks what this program stores");
    let used = refused(|backup| fs::write(backup.with_file_name("b.db-wal"), "log").unwrap());
    no_database(used.await, "a database that is used");
}

#[tokio::test]
async fn a_backup_of_a_newer_version_is_refused() {
    let error = refused(|backup| {
        forget_checksum(backup);
        let newer = Connection::open(backup).unwrap();
        let sql = "INSERT INTO schema_migrations VALUES (99, 'later', 'abc', 0, '9.9')";
        newer.execute(sql, []).unwrap();
    });
    let error = error.await;
    assert!(matches!(error, Error::SchemaTooNew { found: 99, .. }), "{error}");
}

#[tokio::test]
async fn a_backup_without_a_checksum_is_restored_and_that_is_said() {
    let (kept, backups) = with_backup().await;
    forget_checksum(&backups.path().join("b.db"));
    assert!(!restore(&kept, &backups).unwrap().compared);
    expect_new_life(kept, 1).await;
}
