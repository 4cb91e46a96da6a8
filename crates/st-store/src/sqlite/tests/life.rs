//! Copies, backups, lost logs: which database may be opened, and in which life.

use crate::repo::StoreStatus as _;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

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

/// Opens it in this new life, which begins far behind event `known`, and says how far.
async fn begun(dir: &TempDir, epoch: u32, known: i64) -> i64 {
    let (found, last) = opened(dir).await;
    assert_eq!(found, epoch);
    assert!(last >= known + 1_000_000, "{last}");
    last
}

/// Writes over a file as `cp` does, once that shows in its time of change.
fn put_back(path: &Path, contents: &[u8]) {
    let changed = || {
        let metadata = fs::metadata(path).unwrap();
        (metadata.ctime(), metadata.ctime_nsec())
    };
    let before = changed();
    while changed() == before {
        fs::write(path, contents).unwrap();
    }
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
    let last = store.last_event.borrow().0;
    assert!(last >= 1_000_150, "{last}");
    let gap = EventGap { after: EventId(100), until: EventId(last + 1) };
    assert_eq!(store.life().gaps, [gap]);
    for (event, inside) in
        [(99, false), (100, false), (101, true), (150, true), (last, true), (last + 1, false)]
    {
        assert_eq!(store.life().is_in_gap(EventId(event)), inside, "{event}");
    }
    store.close().await.unwrap();
    assert_eq!(opened(&dir).await, (2, last), "and it goes on after that");
}

#[tokio::test]
async fn another_file_without_a_record_or_with_another_life_begins_anew() {
    let copied = stopped().await;
    let copy = file(&copied, ".copy");
    fs::copy(file(&copied, ""), &copy).unwrap();
    fs::rename(&copy, file(&copied, "")).unwrap();
    let last = begun(&copied, 2, 100).await;
    assert_eq!(opened(&copied).await, (2, last));

    let no_record = stopped().await;
    fs::remove_file(file(&no_record, ".lock")).unwrap();
    begun(&no_record, 2, 100).await;

    let earlier_format = stopped().await;
    fs::write(file(&earlier_format, ".lock"), "4711\n").unwrap();
    begun(&earlier_format, 2, 100).await;

    let other_epoch = stopped().await;
    let record = fs::read_to_string(file(&other_epoch, ".lock")).unwrap();
    fs::write(file(&other_epoch, ".lock"), record.replace("epoch 1", "epoch 7")).unwrap();
    begun(&other_epoch, 8, 100).await;
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
        begun(&dir, 2, 120).await;
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
    begun(&copy, 2, 120).await;
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
    // It is another file now.
    begun(&dir, 2, 120).await;
}

#[tokio::test]
async fn a_folder_put_back_in_place_begins_a_life() {
    for crashes in [false, true] {
        let dir = if crashes { crashed(120).await } else { stopped().await };
        let known = if crashes { 120 } else { 100 };
        let saved = ["", "-wal", ".lock"].map(|suffix| fs::read(file(&dir, suffix)).ok());
        // The life that is lost.
        let store = open(&file(&dir, "")).await.unwrap();
        store.events(150).await.unwrap();
        store.close().await.unwrap();
        for (suffix, contents) in ["", "-wal", ".lock"].into_iter().zip(saved) {
            match contents {
                Some(contents) if suffix.is_empty() => put_back(&file(&dir, ""), &contents),
                Some(contents) => fs::write(file(&dir, suffix), contents).unwrap(),
                None => drop(fs::remove_file(file(&dir, suffix))),
            }
        }
        let last = begun(&dir, 2, known).await;
        assert_eq!(opened(&dir).await, (2, last));
    }
}

#[tokio::test]
async fn what_this_program_changes_is_no_other_life() {
    let dir = stopped().await;
    let large = |store: SqliteStore| async move {
        store.sql("CREATE TABLE IF NOT EXISTS big (body BLOB)").await.unwrap();
        store.sql("INSERT INTO big VALUES (zeroblob(5000000))").await.unwrap();
        // After this the log was copied into the database.
        store.sql("INSERT INTO big VALUES (zeroblob(5))").await.unwrap();
        store
    };
    let store = large(open(&file(&dir, "")).await.unwrap()).await;
    store.close().await.unwrap();
    assert_eq!(opened(&dir).await, (1, 100));
    drop(large(open(&file(&dir, "")).await.unwrap()).await);
    let (epoch, last) = loop {
        match open(&file(&dir, "")).await {
            Ok(store) => break (store.life().epoch, store.last_event.borrow().0),
            Err(Error::InUse { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!((epoch, last), (Epoch(1), 100));
    // Rights are changed by the start itself.
    let dir = stopped().await;
    for suffix in ["", ".lock"] {
        let open_to_all = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        fs::set_permissions(file(&dir, suffix), open_to_all).unwrap();
    }
    let (epoch, _) = opened(&dir).await;
    assert_eq!(epoch, 2, "somebody changed the file while it was closed");
    assert_eq!(opened(&dir).await.0, 2, "this program did");
}

#[tokio::test]
async fn a_backup_restored_twice_gives_two_lives_with_different_events() {
    for aside in [false, true] {
        let dir = stopped().await;
        let backup = fs::read(file(&dir, "")).unwrap();
        let mut ends = Vec::new();
        for life in 2..4 {
            fs::write(file(&dir, ""), &backup).unwrap();
            if aside {
                fs::rename(file(&dir, ".lock"), file(&dir, ".lock.old")).unwrap();
            } else {
                fs::remove_file(file(&dir, ".lock")).unwrap();
            }
            let store = open(&file(&dir, "")).await.unwrap();
            let first = store.last_event.borrow().0;
            assert!(first >= 1_000_100 && ends.iter().all(|end| first > *end), "{first} {ends:?}");
            assert_eq!(store.life().epoch.0, if aside { life } else { 2 });
            store.events(first + 10).await.unwrap();
            ends.push(first + 10);
            store.close().await.unwrap();
            // At most one event in a millisecond.
            let begun = SystemClock.wall();
            while SystemClock.wall().duration_since(begun).as_millis() < 11 {}
        }
    }
}

#[tokio::test]
async fn a_record_put_aside_still_counts_for_an_empty_database() {
    let dir = crashed(120).await;
    fs::rename(file(&dir, ".lock"), file(&dir, ".lock.old")).unwrap();
    for suffix in ["", "-wal", "-shm"] {
        drop(fs::remove_file(file(&dir, suffix)));
    }
    begun(&dir, 2, 120).await;
}

#[test]
fn event_ids_stay_numbers_that_json_can_hold() {
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    assert_eq!(crate::sqlite::life::first_event(100, at("2020-01-01T00:00:01Z")), 1_001_101);
    assert_eq!(crate::sqlite::life::first_event(100, at("1970-01-01T00:00:00Z")), 1_000_101);
    let late = (1 << 53) - 2_000_000;
    assert_eq!(
        crate::sqlite::life::first_event(late, at("2026-01-01T00:00:00Z")),
        late + 1_000_001
    );
}

#[tokio::test]
async fn a_refused_start_leaves_the_record_as_it_was() {
    let dir = stopped().await;
    let backup = fs::read(file(&dir, "")).unwrap();
    let store = open(&file(&dir, "")).await.unwrap();
    store.events(150).await.unwrap();
    store.prepare().await;
    for number in 0..200 {
        store.put(&format!("name {number}")).await.unwrap();
    }
    store.close().await.unwrap();
    let bytes = fs::read(file(&dir, "")).unwrap();
    let mut damaged = bytes.clone();
    let size = damaged.len();
    damaged[size / 8192 * 4096..][..8192].fill(0xa5);
    put_back(&file(&dir, ""), &damaged);
    let record = fs::read(file(&dir, ".lock")).unwrap();
    let error = open(&file(&dir, "")).await.unwrap_err();
    assert!(matches!(error, Error::DamagedFile { .. }), "{error}");
    assert_eq!(fs::read(file(&dir, ".lock")).unwrap(), record);
    fs::write(file(&dir, ""), &backup).unwrap();
    begun(&dir, 2, 150).await;
}

#[tokio::test]
async fn a_lost_note_of_the_life_does_not_lower_the_epoch() {
    let dir = stopped().await;
    let copy = file(&dir, ".copy");
    fs::copy(file(&dir, ""), &copy).unwrap();
    fs::rename(&copy, file(&dir, "")).unwrap();
    begun(&dir, 2, 100).await;
    for (record, epoch) in [(true, 3), (false, 4)] {
        let foreign = Connection::open(file(&dir, "")).unwrap();
        assert_eq!(foreign.execute("DELETE FROM life", []).unwrap(), 1);
        drop(foreign);
        if !record {
            fs::remove_file(file(&dir, ".lock")).unwrap();
        }
        begun(&dir, epoch, 100).await;
    }
}

#[tokio::test]
async fn a_confirmed_time_that_cannot_be_read_confirms_no_clock() {
    let dir = stopped().await;
    let store = open(&file(&dir, "")).await.unwrap();
    assert!(store.clock_is_confirmed(), "there is no event yet");
    let sql = "INSERT INTO events (at, actor, correlation_id, subject) \
               VALUES (0, 'operator', 'c', 'limits')";
    store.sql(sql).await.unwrap();
    store.close().await.unwrap();
    let store = open(&file(&dir, "")).await.unwrap();
    assert!(store.clock_is_confirmed(), "its time is not that of the event");
    store.sql("UPDATE life SET confirmed_at = 9223372036854775807").await.unwrap();
    store.close().await.unwrap();
    let store = open(&file(&dir, "")).await.unwrap();
    assert!(!store.clock_is_confirmed());
    store.confirm_clock(crate::clock::ClockEvidence::Operator);
    assert!(store.clock_is_confirmed());
}
