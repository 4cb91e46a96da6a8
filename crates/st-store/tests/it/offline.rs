//! Backups, restores, audits and plans of migrations, beside stores that are open and closed.

mod audits;
mod exports;
mod keys;
mod migrations;
mod restores;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::Connection;
use st_store::{Error, offline};
use st_testkit::dump::dump;
use st_testkit::suite::{at, costs_more_than, job};

use super::bench::{Bench, folder};

/// A store with jobs in some of their stages.
async fn filled() -> Bench {
    let bench = Bench::new().await;
    bench.store.add_rule(costs_more_than("50")).await.unwrap();
    bench.at_provider(1).await;
    bench.claimed(2).await;
    bench.blocked(3, 3600).await;
    for number in 4..=6 {
        bench.submit(job(number, "ann")).await;
    }
    bench
}

/// The names of the files in a folder, but for those of SQLite and the record.
fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| !["-wal", "-shm", ".lock"].iter().any(|end| name.ends_with(end)));
    names.sort();
    names
}

/// All but the last line, which tells the life and the time.
fn contents(dump: &str) -> Vec<&str> {
    let lines: Vec<&str> = dump.lines().collect();
    lines[..lines.len() - 1].to_vec()
}

#[tokio::test]
async fn a_backup_is_what_was_committed_while_the_store_goes_on() {
    let bench = filled().await;
    let before = dump(bench.store.as_ref()).await;
    let to = bench.folder.path().join("copy.db");
    let made = offline::back_up(&bench.path(), &to).unwrap();
    bench.submit(job(7, "late")).await;
    assert_eq!((made.path.as_path(), made.jobs, made.schema), (to.as_path(), 6, 12));
    assert_eq!(made.last_event.0, 20);
    assert_eq!(names(bench.folder.path()), ["cloud.db", "copy.db", "copy.db.sha256"]);
    let sum = fs::read_to_string(bench.folder.path().join("copy.db.sha256")).unwrap();
    assert_eq!(sum, format!("{}  copy.db\n", made.sha256));
    assert_eq!(fs::metadata(&to).unwrap().len(), made.bytes);
    for name in ["copy.db", "copy.db.sha256"] {
        let permissions = fs::metadata(bench.folder.path().join(name)).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, 0o600, "{name}");
    }
    let elsewhere = folder();
    fs::copy(&to, elsewhere.path().join("cloud.db")).unwrap();
    let copy = Bench::open_in(elsewhere, at(0)).await;
    assert_eq!(contents(&dump(copy.store.as_ref()).await), contents(&before));
}

#[tokio::test]
async fn a_backup_of_a_closed_database_leaves_it_as_it_is() {
    let kept = filled().await.closed().await;
    let path = kept.path().join("cloud.db");
    let before = fs::read(&path).unwrap();
    let made = offline::back_up(&path, &kept.path().join("copy.db")).unwrap();
    assert_eq!(made.jobs, 6);
    assert!(before == fs::read(&path).unwrap());
    let bench = Bench::open_in(kept, at(0)).await;
    assert_eq!(bench.store.epoch().0, 1, "the same life goes on");
}

#[tokio::test]
async fn no_file_is_replaced_by_a_backup() {
    let bench = filled().await;
    let folder = bench.folder.path();
    for taken in ["copy.db", "copy.db.sha256"] {
        fs::write(folder.join(taken), "mine").unwrap();
        let error = offline::back_up(&bench.path(), &folder.join("copy.db")).unwrap_err();
        assert!(matches!(error, Error::Exists { .. }), "{error}");
        assert_eq!(fs::read_to_string(folder.join(taken)).unwrap(), "mine");
        fs::remove_file(folder.join(taken)).unwrap();
    }
    assert_eq!(names(folder), ["cloud.db"]);
}

#[tokio::test]
async fn a_database_that_is_damaged_gives_no_backup() {
    let kept = filled().await.closed().await;
    let path = kept.path().join("cloud.db");
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM jobs WHERE user_id = 'ann'").unwrap();
    raw.close().unwrap();
    let error = offline::back_up(&path, &kept.path().join("copy.db")).unwrap_err();
    assert!(error.to_string().contains("refers to one that is not there"), "{error}");
    assert_eq!(names(kept.path()), ["cloud.db"], "nothing is left of the attempt");
}

#[test]
fn where_there_is_no_database_there_is_no_backup() {
    let folder = folder();
    let error = offline::back_up(&folder.path().join("cloud.db"), &folder.path().join("copy.db"));
    assert!(matches!(error, Err(Error::NoDatabase { .. })), "{error:?}");
    assert_eq!(names(folder.path()), [""; 0], "none was made");
}
