//! Copies, backups, lost logs: which database may be opened, and in which life.

use crate::repo::StoreStatus as _;
use std::fs;

use super::*;
use crate::Epoch;

/// A folder with a database whose newest event is 100, after a clean stop.
async fn stopped() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("cloud.db")).await.unwrap();
    store.events(100).await.unwrap();
    store.close().await.unwrap();
    dir
}

/// The same after a crash at event `last`.
async fn crashed(last: i64) -> TempDir {
    let dir = stopped().await;
    assert!(!child::play(&format!("crash {last}"), dir.path()).success());
    dir
}

fn file(dir: &TempDir, suffix: &str) -> PathBuf {
    dir.path().join(format!("cloud.db{suffix}"))
}

/// Opens it and says the epoch and the newest event.
async fn opened(dir: &TempDir) -> (u32, i64) {
    let store = open(&file(dir, "")).await.unwrap();
    let last = store.last_event.borrow().0;
    store.close().await.unwrap();
    (store.life().epoch.0, last)
}

/// Fails to open it, and changes neither the database nor its log.
async fn refused(dir: &TempDir) -> Error {
    let contents = || ["", "-wal"].map(|suffix| fs::read(file(dir, suffix)).unwrap_or_default());
    let before = contents();
    let error = open(&file(dir, "")).await.unwrap_err();
    assert!(contents() == before, "{error}");
    error
}

#[tokio::test]
async fn a_life_goes_on_after_a_stop_and_after_a_crash() {
    let dir = stopped().await;
    assert_eq!(opened(&dir).await, (1, 100));
    for last in 101..104 {
        assert!(!child::play(&format!("crash {last}"), dir.path()).success());
        assert!(fs::metadata(file(&dir, "-wal")).unwrap().len() > 32);
        if last == 102 {
            assert_eq!(opened(&dir).await, (1, 102));
        }
    }
    assert_eq!(opened(&dir).await, (1, 103));
}

#[tokio::test]
async fn a_renamed_folder_changes_nothing() {
    let dir = stopped().await;
    let to = dir.path().with_extension("renamed");
    fs::rename(dir.path(), &to).unwrap();
    let store = open(&to.join("cloud.db")).await.unwrap();
    assert_eq!(store.life(), &Life { epoch: Epoch(1), gaps: Vec::new() });
    store.close().await.unwrap();
    fs::rename(&to, dir.path()).unwrap();
}

#[tokio::test]
async fn an_older_copy_put_back_begins_a_life_with_a_gap() {
    let dir = stopped().await;
    let older = fs::read(file(&dir, "")).unwrap();
    let store = open(&file(&dir, "")).await.unwrap();
    store.events(150).await.unwrap();
    store.close().await.unwrap();
    // Into the same file, as `cp` does.
    fs::write(file(&dir, ""), older).unwrap();
    let store = open(&file(&dir, "")).await.unwrap();
    assert_eq!(store.life().epoch, Epoch(2));
    assert_eq!(store.last_event.borrow().0, 1_000_150);
    let gap = EventGap { after: EventId(100), until: EventId(1_000_151) };
    assert_eq!(store.life().gaps, [gap]);
    for (event, inside) in
        [(99, false), (100, false), (101, true), (150, true), (1_000_150, true), (1_000_151, false)]
    {
        assert_eq!(store.life().is_in_gap(EventId(event)), inside, "{event}");
    }
    store.close().await.unwrap();
    assert_eq!(opened(&dir).await, (2, 1_000_150), "and it goes on after that");
}

#[tokio::test]
async fn another_file_without_a_record_or_with_another_life_begins_anew() {
    let copied = stopped().await;
    let copy = file(&copied, ".copy");
    fs::copy(file(&copied, ""), &copy).unwrap();
    fs::rename(&copy, file(&copied, "")).unwrap();
    assert_eq!(opened(&copied).await, (2, 1_000_100));
    assert_eq!(opened(&copied).await, (2, 1_000_100));

    let no_record = stopped().await;
    fs::remove_file(file(&no_record, ".lock")).unwrap();
    assert_eq!(opened(&no_record).await, (2, 1_000_100));

    let earlier_format = stopped().await;
    fs::write(file(&earlier_format, ".lock"), "4711\n").unwrap();
    assert_eq!(opened(&earlier_format).await, (2, 1_000_100));

    let other_epoch = stopped().await;
    let record = fs::read_to_string(file(&other_epoch, ".lock")).unwrap();
    fs::write(file(&other_epoch, ".lock"), record.replace("epoch 1", "epoch 7")).unwrap();
    assert_eq!(opened(&other_epoch).await, (8, 1_000_100));
}

#[tokio::test]
async fn an_empty_database_needs_no_record() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(opened(&dir).await, (1, 0));
    fs::remove_file(file(&dir, ".lock")).unwrap();
    assert_eq!(opened(&dir).await, (1, 0));
    // And none is missed.
    fs::remove_file(file(&dir, "")).unwrap();
    assert_eq!(opened(&dir).await, (1, 0));
}

#[tokio::test]
async fn a_missing_database_is_not_replaced_by_an_empty_one() {
    for (suffix, empty) in [("", false), ("", true), ("-wal", true)] {
        let dir = crashed(120).await;
        if empty {
            fs::write(file(&dir, ""), "").unwrap();
        } else {
            fs::rename(file(&dir, ""), file(&dir, ".away")).unwrap();
        }
        if suffix == "-wal" {
            fs::remove_file(file(&dir, ".lock")).unwrap();
        }
        let error = refused(&dir).await;
        assert!(matches!(error, Error::Missing { .. }), "{error}");
        assert_eq!(file(&dir, "").exists(), empty, "nothing is created");
    }
}

#[tokio::test]
async fn a_log_that_is_gone_after_a_crash_is_missed() {
    for truncated in [false, true] {
        let dir = crashed(120).await;
        let log = fs::read(file(&dir, "-wal")).unwrap();
        if truncated {
            fs::write(file(&dir, "-wal"), "").unwrap();
        } else {
            fs::remove_file(file(&dir, "-wal")).unwrap();
        }
        let error = refused(&dir).await;
        assert!(matches!(error, Error::Incomplete { missing: 20, .. }), "{error}");
        // Both ways out work.
        fs::write(file(&dir, "-wal"), log).unwrap();
        assert_eq!(opened(&dir).await, (1, 120));
        assert!(!child::play("crash 130", dir.path()).success());
        fs::remove_file(file(&dir, "-wal")).unwrap();
        assert!(matches!(refused(&dir).await, Error::Incomplete { .. }));
        fs::remove_file(file(&dir, ".lock")).unwrap();
        assert_eq!(opened(&dir).await, (2, 1_000_120));
    }
}

#[tokio::test]
async fn the_beginning_of_a_log_is_not_enough() {
    let dir = stopped().await;
    let store = open(&file(&dir, "")).await.unwrap();
    store.events(110).await.unwrap();
    let early = fs::metadata(file(&dir, "-wal")).unwrap().len();
    store.close().await.unwrap();
    assert!(!child::play("crash 120", dir.path()).success());
    let log = fs::read(file(&dir, "-wal")).unwrap();
    assert!(log.len() as u64 >= early);
    fs::write(file(&dir, "-wal"), &log[..log.len() - 4120]).unwrap();
    let error = refused(&dir).await;
    assert!(matches!(error, Error::Incomplete { .. }), "{error}");
}

#[tokio::test]
async fn a_log_that_is_gone_but_not_needed_is_not_missed() {
    let dir = crashed(120).await;
    // As the sqlite3 shell does, which folds the log into the database.
    Connection::open(file(&dir, "")).unwrap().pragma_update(None, "user_version", 0).unwrap();
    assert!(!file(&dir, "-wal").exists());
    assert_eq!(opened(&dir).await, (1, 120));
}

#[tokio::test]
async fn a_foreign_log_is_refused() {
    let other = crashed(500).await;
    for dir in [stopped().await, crashed(120).await] {
        fs::copy(file(&other, "-wal"), file(&dir, "-wal")).unwrap();
        let error = refused(&dir).await;
        assert!(matches!(error, Error::ForeignWal { .. }), "{error}");
        assert!(error.to_string().contains("cloud.db.lock"), "{error}");
    }
    // Its own log of an earlier run is as foreign.
    let dir = crashed(120).await;
    let earlier = fs::read(file(&dir, "-wal")).unwrap();
    assert_eq!(opened(&dir).await, (1, 120));
    fs::write(file(&dir, "-wal"), &earlier).unwrap();
    assert!(matches!(refused(&dir).await, Error::ForeignWal { .. }));
    fs::remove_file(file(&dir, "-wal")).unwrap();
    assert!(!child::play("crash 130", dir.path()).success());
    fs::write(file(&dir, "-wal"), &earlier).unwrap();
    assert!(matches!(refused(&dir).await, Error::ForeignWal { .. }));
}

#[tokio::test]
async fn a_whole_folder_copied_after_a_crash_is_another_life_with_everything() {
    let dir = crashed(120).await;
    let copy = tempfile::tempdir().unwrap();
    for suffix in ["", "-wal", ".lock"] {
        fs::copy(file(&dir, suffix), file(&copy, suffix)).unwrap();
    }
    assert_eq!(opened(&copy).await, (2, 1_000_120));
    assert_eq!(opened(&dir).await, (1, 120));
}

#[tokio::test]
async fn a_backup_put_beside_a_newer_log_is_refused() {
    let dir = stopped().await;
    let backup = fs::read(file(&dir, "")).unwrap();
    assert_eq!(opened(&dir).await, (1, 100));
    assert!(!child::play("crash 120", dir.path()).success());
    let current = fs::read(file(&dir, "")).unwrap();
    assert!(current != backup);
    // As `cp` does, into the same file.
    fs::write(file(&dir, ""), &backup).unwrap();
    let error = refused(&dir).await;
    assert!(matches!(error, Error::ForeignWal { .. }), "{error}");
    // In another file, as `mv` does.
    fs::write(file(&dir, ".backup"), &backup).unwrap();
    fs::rename(file(&dir, ".backup"), file(&dir, "")).unwrap();
    assert!(matches!(refused(&dir).await, Error::ForeignWal { .. }));
    fs::write(file(&dir, ""), &current).unwrap();
    assert_eq!(opened(&dir).await, (2, 1_000_120), "it is another file now");
}
