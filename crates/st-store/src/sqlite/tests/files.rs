//! The files: who has them, and what happens when they are moved or deleted.

use crate::repo::StoreStatus as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn all_files_are_private() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cloud.db");
    open(&path).await.unwrap().close().await.unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let record = dir.path().join("cloud.db.lock");
    std::fs::set_permissions(&record, std::fs::Permissions::from_mode(0o664)).unwrap();
    let store = open(&path).await.unwrap();
    store.prepare().await;
    for name in ["cloud.db", "cloud.db-wal", "cloud.db-shm", "cloud.db.lock"] {
        assert_eq!(mode(&dir.path().join(name)), 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_second_store_is_refused_by_name_by_link_and_without_the_record() {
    let bench = Bench::new().await;
    let other = tempfile::tempdir().unwrap();
    let (hard, soft) = (other.path().join("hard.db"), other.path().join("soft.db"));
    std::fs::hard_link(bench.path(), &hard).unwrap();
    std::os::unix::fs::symlink(bench.path(), &soft).unwrap();
    let own = format!("is in use by process {}", std::process::id());
    for path in [bench.path(), hard.clone(), soft] {
        let error = open(&path).await.unwrap_err();
        assert!(matches!(error, Error::InUse { .. }), "{error}");
        assert!(error.to_string().contains(&own), "{error}");
    }
    std::fs::remove_file(bench.dir.path().join("cloud.db.lock")).unwrap();
    // Another process, which does not know this one's list of open files.
    std::fs::rename(&hard, other.path().join("cloud.db")).unwrap();
    for folder in [bench.dir.path(), other.path()] {
        assert!(child::play("refused", folder).success());
        let said = std::fs::read_to_string(folder.join("refused")).unwrap();
        assert!(said.contains(&own), "{said}");
    }
    // SQLite's own locks are still there. Closing a second descriptor would have dropped them.
    let inode = std::fs::metadata(bench.path()).unwrap().ino();
    let kept = format!("POSIX ADVISORY READ {} {inode} ", std::process::id());
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    let lock = |line: &str| {
        let words: Vec<_> = line.split_ascii_whitespace().skip(1).collect();
        let inode = words.get(4).and_then(|place| place.rsplit(':').next());
        words.get(..4).zip(inode).map(|(words, inode)| format!("{} {inode} ", words.join(" ")))
    };
    assert!(locks.lines().filter_map(lock).any(|found| found == kept), "{kept}: {locks}");
    bench.store.put("one").await.unwrap();
    assert_eq!(bench.store.names().await, ["one"]);
    // When the first server has ended, no name may be opened: its log lies beside one of them.
    bench.store.close().await.unwrap();
    for path in [bench.path(), other.path().join("cloud.db")] {
        let error = open(&path).await.unwrap_err();
        assert!(matches!(&error, Error::SeveralNames { path: named } if *named == path), "{error}");
    }
    std::fs::remove_file(other.path().join("cloud.db")).unwrap();
    assert_eq!(open(&bench.path()).await.unwrap().names().await, ["one"]);
}

#[tokio::test]
async fn the_lock_ends_with_the_store() {
    let bench = Bench::new().await;
    bench.store.put("one").await.unwrap();
    bench.store.close().await.unwrap();
    let again = open(&bench.path()).await.unwrap();
    assert_eq!(again.names().await, ["one"]);
    assert!(child::play("refused", bench.dir.path()).success());
    again.close().await.unwrap();
    assert!(child::play("open", bench.dir.path()).success());
}

#[tokio::test]
async fn a_database_that_is_moved_away_is_noticed_and_so_is_its_return() {
    let bench = Bench::new().await;
    let store = &bench.store;
    store.put("before").await.unwrap();
    let away = bench.dir.path().join("away.db");
    std::fs::rename(bench.path(), &away).unwrap();
    for lane in [Lane::Interactive, Lane::Worker, Lane::Bulk] {
        let refused = store.spawn(lane, "put", |tx| insert(tx, "away", 1)).await.unwrap();
        assert!(matches!(refused, Err(Error::Detached { .. })), "{refused:?}");
    }
    assert!(store.health().detached);
    let reason = store.health().writable.unwrap_err();
    assert!(reason.contains("cloud.db was moved, replaced or deleted"), "{reason}");
    std::fs::rename(&away, bench.path()).unwrap();
    // An idle store finds out by itself.
    store.until_health(|health| health.writable.is_ok()).await;
    assert!(!store.health().detached);
    store.put("after").await.unwrap();
    assert_eq!(store.names().await, ["before", "after"]);
}

#[tokio::test]
async fn an_idle_store_notices_that_its_database_was_replaced() {
    let bench = Bench::new().await;
    bench.store.put("before").await.unwrap();
    let copy = bench.dir.path().join("copy.db");
    std::fs::copy(bench.path(), &copy).unwrap();
    std::fs::rename(&copy, bench.path()).unwrap();
    bench.store.until_health(|health| health.detached).await;
    bench.store.close().await.unwrap();
    assert!(bench.wal().exists(), "the log is not deleted by its name");
}

#[tokio::test]
async fn a_deleted_log_is_rescued_into_the_database() {
    let bench = Bench::new().await;
    bench.store.put("one").await.unwrap();
    std::fs::remove_file(bench.wal()).unwrap();
    let refused = bench.store.put("two").await;
    let Err(Error::Detached { path }) = refused else { panic!("{refused:?}") };
    assert_eq!(path, std::fs::canonicalize(bench.dir.path()).unwrap().join("cloud.db-wal"));
    assert_eq!(names_in_copy(&bench.path()), ["one"]);
    bench.store.close().await.unwrap();
    let again = open(&bench.path()).await.unwrap();
    assert_eq!(again.names().await, ["one"]);
    assert_eq!(again.life().epoch, crate::Epoch(1));
}

#[tokio::test]
async fn another_log_in_the_place_of_ours_is_left_alone() {
    let bench = Bench::new().await;
    bench.store.put("one").await.unwrap();
    std::fs::remove_file(bench.wal()).unwrap();
    std::fs::write(bench.wal(), [7; 9000]).unwrap();
    let refused = bench.store.put("two").await;
    assert!(matches!(refused, Err(Error::Detached { .. })), "{refused:?}");
    bench.store.close().await.unwrap();
    assert_eq!(std::fs::read(bench.wal()).unwrap(), [7; 9000]);
    let refused = open(&bench.path()).await;
    assert!(matches!(refused, Err(Error::ForeignWal { .. })), "{refused:?}");
    std::fs::remove_file(bench.wal()).unwrap();
    assert_eq!(open(&bench.path()).await.unwrap().names().await, ["one"]);
}

#[tokio::test]
async fn a_damaged_database_is_refused_at_the_start() {
    let bench = Bench::new().await;
    for number in 0..200 {
        bench.store.put(&format!("name {number}")).await.unwrap();
    }
    bench.store.close().await.unwrap();
    let size = std::fs::metadata(bench.path()).unwrap().len();
    let file = std::fs::OpenOptions::new().write(true).open(bench.path()).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xa5; 8192], size / 8192 * 4096).unwrap();
    let error = open(&bench.path()).await.unwrap_err();
    assert!(matches!(error, Error::DamagedFile { .. }), "{error:?}");
    assert!(error.to_string().contains(".recover"), "{error}");
}

#[tokio::test]
async fn what_the_start_does_not_check_is_checked_beside_the_work() {
    let bench = Bench::new().await;
    assert_eq!(bench.store.health().integrity, Integrity::Sound);
    for number in 0..200 {
        bench.store.put(&format!("name {number}")).await.unwrap();
    }
    bench.store.close().await.unwrap();
    let config = || SqliteConfig { start_check: Duration::ZERO, ..quick(bench.path()) };
    let store = SqliteStore::open(config()).await.unwrap();
    store.until_health(|health| health.integrity == Integrity::Sound).await;
    store.close().await.unwrap();
    // The last page is one of the table that the tests made.
    let size = std::fs::metadata(bench.path()).unwrap().len();
    let file = std::fs::OpenOptions::new().write(true).open(bench.path()).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xa5; 4096], size - 4096).unwrap();
    let store = SqliteStore::open(config()).await.unwrap();
    store.until_health(|health| matches!(health.integrity, Integrity::Damaged(_))).await;
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_close_does_not_wait_for_the_check() {
    let bench = Bench::new().await;
    bench.store.close().await.unwrap();
    let config = SqliteConfig { start_check: Duration::ZERO, ..quick(bench.path()) };
    SqliteStore::open(config).await.unwrap().close().await.unwrap();
    assert!(!bench.wal().exists() || std::fs::metadata(bench.wal()).unwrap().len() == 0);
}

#[tokio::test]
async fn a_database_whose_shared_memory_is_gone_is_left_alone() {
    let bench = Bench::new().await;
    for number in 0..4 {
        bench.store.put(&format!("name {number}")).await.unwrap();
    }
    let shm = bench.dir.path().join("cloud.db-shm");
    std::fs::remove_file(&shm).unwrap();
    // It does not see the locks of this process.
    assert!(child::play("fold", bench.dir.path()).success());
    for number in 4..9 {
        let refused = bench.store.put(&format!("name {number}")).await;
        assert!(matches!(refused, Err(Error::Detached { .. })), "{refused:?}");
    }
    let reason = bench.store.health().writable.unwrap_err();
    assert!(reason.contains("cloud.db-shm"), "{reason}");
    // Whatever comes back is another one.
    std::fs::write(&shm, "").unwrap();
    assert!(matches!(bench.store.put("late").await, Err(Error::Detached { .. })));
    std::fs::remove_file(&shm).unwrap();
    let before = std::fs::read(bench.path()).unwrap();
    bench.store.close().await.unwrap();
    assert!(std::fs::read(bench.path()).unwrap() == before, "the database is not touched");
    let again = open(&bench.path()).await.unwrap();
    assert_eq!(again.names().await, ["name 0", "name 1", "name 2", "name 3"]);
    assert_eq!(again.health().integrity, Integrity::Sound);
}

#[tokio::test]
async fn a_deleted_log_is_rescued_without_its_shared_memory_while_nobody_else_is_there() {
    for foreign in [false, true] {
        let bench = Bench::new().await;
        bench.store.put("one").await.unwrap();
        std::fs::remove_file(bench.wal()).unwrap();
        std::fs::remove_file(bench.dir.path().join("cloud.db-shm")).unwrap();
        if foreign {
            assert!(child::play("fold", bench.dir.path()).success());
        }
        let refused = bench.store.put("two").await;
        assert!(matches!(refused, Err(Error::Detached { .. })), "{refused:?}");
        bench.store.close().await.unwrap();
        let copy = Connection::open(bench.path()).unwrap();
        let tables: i64 = copy
            .query_row(
                "SELECT COUNT(*) FROM sqlite_schema WHERE name IN ('t', 'other')",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(tables, 1, "one or the other, never a mixture");
        if !foreign {
            assert_eq!(names(&copy).unwrap(), ["one"]);
        }
    }
}

#[tokio::test]
async fn what_is_no_file_beside_the_database_is_refused() {
    for suffix in ["-wal", "-shm", ".lock"] {
        for kind in ["fifo", "folder", "link"] {
            let dir = tempfile::tempdir().unwrap();
            let (beside, victim) =
                (dir.path().join(format!("cloud.db{suffix}")), dir.path().join("victim"));
            std::fs::write(&victim, "precious").unwrap();
            match kind {
                "fifo" => {
                    let made = std::process::Command::new("mkfifo").arg(&beside).status().unwrap();
                    assert!(made.success());
                }
                "folder" => std::fs::create_dir(&beside).unwrap(),
                _ => std::os::unix::fs::symlink(&victim, &beside).unwrap(),
            }
            let error = open(&dir.path().join("cloud.db")).await.unwrap_err();
            let Error::Open { path, source } = &error else { panic!("{error:?}") };
            assert!(path.ends_with(beside.file_name().unwrap()), "{}", path.display());
            assert!(source.to_string().contains("no file"), "{source}");
            assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
        }
    }
}

#[tokio::test]
async fn a_row_that_breaks_a_rule_of_its_table_is_no_damage_of_the_file() {
    let bench = Bench::new().await;
    bench.store.put("one").await.unwrap();
    bench.store.close().await.unwrap();
    let foreign = Connection::open(bench.path()).unwrap();
    foreign.execute_batch("PRAGMA ignore_check_constraints = ON").unwrap();
    foreign
        .execute_batch(
            "INSERT INTO events (at, actor, correlation_id, subject) VALUES (1, 'a', 'c', 'odd')",
        )
        .unwrap();
    drop(foreign);
    for start_check in [Duration::from_secs(10), Duration::ZERO] {
        let config = SqliteConfig { start_check, ..quick(bench.path()) };
        let store = SqliteStore::open(config).await.unwrap();
        store.until_health(|health| health.integrity == Integrity::Sound).await;
        assert_eq!(store.names().await, ["one"]);
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_database_that_another_program_has_locked_is_in_use() {
    let bench = Bench::new().await;
    bench.store.close().await.unwrap();
    let foreign = Connection::open(bench.path()).unwrap();
    foreign
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; CREATE TABLE x (a)")
        .unwrap();
    let error = open(&bench.path()).await.unwrap_err();
    assert!(matches!(error, Error::InUse { .. } | Error::Busy), "{error:?}");
}
