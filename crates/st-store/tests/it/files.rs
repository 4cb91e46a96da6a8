//! The files of a store: who may read them, what they may be called, and what is refused.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use st_store::{Epoch, Error, JobRef, JobRepo, SqliteConfig, SqliteStore, StoreStatus};
use st_testkit::suite::{self, id, job};

use super::bench::folder;

const FILES: [&str; 4] = ["", "-wal", "-shm", ".lock"];
/// Names the database that a child process opens.
const CHILD: &str = "ST_FILES_CHILD";
/// A user who is not root: root may write to everything.
const NOBODY: u32 = 65_534;

async fn open(path: &Path) -> st_store::Result<SqliteStore> {
    let config = SqliteConfig { clock: suite::clock(), ..SqliteConfig::new(path) };
    SqliteStore::open(config).await
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Not a test by itself: opens the database that its environment names, stores a job, and writes
/// what came of it and the modes of the files.
#[tokio::test]
async fn child_process() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let path = PathBuf::from(path);
    let mut out = std::io::stdout();
    let store = match open(&path).await {
        Ok(store) => store,
        Err(error) => {
            let kind = matches!(error, Error::Open { .. });
            return writeln!(out, "\nsaid refused {kind}: {}", st_log::Chain(&error)).unwrap();
        }
    };
    store.submit(job(1, "ann")).await.unwrap();
    let modes = FILES.map(|suffix| format!("{:o}", mode(&beside(&path, suffix))));
    writeln!(out, "\nsaid {}", modes.join(" ")).unwrap();
    store.close().await.unwrap();
}

/// What a child process says about this database. `as_nobody` runs it as a user whom permissions
/// apply to.
#[expect(clippy::panic, reason = "what helps tests fails as tests do")]
fn child(path: &Path, umask: &str, as_nobody: bool) -> String {
    let mut command = Command::new("sh");
    command
        .args(["-c", "umask \"$1\"; exec \"$0\" --exact files::child_process --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .arg(umask)
        .env(CHILD, path)
        .current_dir("/");
    if as_nobody && is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = text.lines().find_map(|line| line.strip_prefix("said "));
    let errors = String::from_utf8_lossy(&output.stderr);
    said.unwrap_or_else(|| panic!("the child said nothing: {text}{errors}")).to_owned()
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

#[test]
fn all_four_files_are_private_whatever_the_umask() {
    for umask in ["000", "002", "022", "027", "077", "177"] {
        let folder = folder();
        let path = folder.path().join("cloud.db");
        for start in ["first", "second"] {
            assert_eq!(child(&path, umask, false), "600 600 600 600", "{umask}, {start} start");
        }
    }
}

#[tokio::test]
async fn a_name_may_hold_whatever_the_file_system_allows() {
    let names: [&[u8]; 8] = [
        b"my cloud.db",
        "träning–实验 ☁.db".as_bytes(),
        b"100%20.db",
        b"what?mode=memory.db",
        b"a#b&c='d\".db",
        b"-leading",
        b"line\nbreak.db",
        b"not \xff utf-8.db",
    ];
    for name in names {
        let folder = folder();
        let inside = folder.path().join(OsStr::from_bytes(name));
        std::fs::create_dir(&inside).unwrap();
        let path = inside.join(OsStr::from_bytes(name));
        let store = open(&path).await.unwrap();
        store.submit(job(1, "ann")).await.unwrap();
        for suffix in FILES {
            assert_eq!(mode(&beside(&path, suffix)), 0o600, "{}{suffix}", path.display());
        }
        assert_eq!(std::fs::read_dir(&inside).unwrap().count(), 4, "{}", path.display());
        store.close().await.unwrap();
        drop(store);
        let store = open(&path).await.unwrap();
        assert_eq!(store.epoch(), Epoch(1), "{}", path.display());
        let found = store.find_job(&JobRef::Id(id(1))).await.unwrap();
        assert_eq!(found.unwrap().id(), id(1), "{}", path.display());
    }
}

#[tokio::test]
async fn a_link_to_a_database_is_that_database() {
    let (real_folder, link_folder) = (folder(), folder());
    let real = real_folder.path().join("cloud.db");
    let link = link_folder.path().join("link.db");
    symlink(&real, &link).unwrap();
    // Also before there is one: the first start goes through the link.
    for (start, path) in [&link, &real, &link].into_iter().enumerate() {
        let store = open(path).await.unwrap_or_else(|error| panic!("start {start}: {error:?}"));
        let number = u8::try_from(start).unwrap();
        store.submit(job(number, "ann")).await.unwrap();
        for earlier in 0..=number {
            let found = store.find_job(&JobRef::Id(id(earlier))).await.unwrap();
            assert_eq!(found.map(|record| record.id()), Some(id(earlier)), "start {start}");
        }
        for suffix in FILES {
            assert_eq!(mode(&beside(&real, suffix)), 0o600, "start {start} {suffix}");
        }
        let refused = open(if *path == link { &real } else { &link }).await.unwrap_err();
        assert!(matches!(refused, Error::InUse { .. }), "start {start}: {refused}");
        assert_eq!(store.epoch(), Epoch(1), "start {start}: it is the same file");
        store.close().await.unwrap();
        let beside_link = std::fs::read_dir(link_folder.path()).unwrap().count();
        assert_eq!(beside_link, 1, "start {start}: nothing lies beside the link");
    }
}

#[tokio::test]
async fn a_linked_folder_is_that_folder() {
    let (real, links) = (folder(), folder());
    let link = links.path().join("state");
    symlink(real.path(), &link).unwrap();
    open(&link.join("cloud.db")).await.unwrap().close().await.unwrap();
    let store = open(&real.path().join("cloud.db")).await.unwrap();
    assert_eq!(store.epoch(), Epoch(1));
}

#[tokio::test]
async fn a_link_that_is_set_elsewhere_is_noticed() {
    let (one, two) = (folder(), folder());
    let link = one.path().join("link.db");
    symlink(one.path().join("one.db"), &link).unwrap();
    std::fs::write(one.path().join("one.db"), "").unwrap();
    let store = open(&link).await.unwrap();
    store.submit(job(1, "ann")).await.unwrap();
    std::fs::remove_file(&link).unwrap();
    symlink(two.path().join("two.db"), &link).unwrap();
    std::fs::write(two.path().join("two.db"), "").unwrap();
    let refused = store.submit(job(2, "ann")).await.unwrap_err();
    assert!(matches!(&refused, Error::Detached { path } if *path == link), "{refused:?}");
}

/// A closed database, in a folder of a user who is not root.
async fn of_nobody() -> (tempfile::TempDir, PathBuf) {
    let folder = folder();
    let path = folder.path().join("cloud.db");
    open(&path).await.unwrap().close().await.unwrap();
    if is_root() {
        let files = FILES.map(|suffix| beside(&path, suffix)).into_iter().filter(|it| it.exists());
        for each in files.chain([folder.path().to_owned()]) {
            chown(each, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    (folder, path)
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_by_name_and_stays_as_it_is() {
    let (folder, path) = of_nobody().await;
    assert_eq!(child(&path, "022", true), "600 600 600 600", "with every right it opens");
    let record = beside(&path, ".lock");
    let before = (std::fs::read(&path).unwrap(), std::fs::read(&record).unwrap());
    let cases: [(&Path, u32, u32, &Path); 4] = [
        (&path, 0o400, 0o600, &path),
        (&path, 0o000, 0o600, &path),
        (&record, 0o400, 0o600, &record),
        (folder.path(), 0o500, 0o700, &path),
    ];
    for (file, denied, allowed, named) in cases {
        for suffix in ["-wal", "-shm"] {
            // They are empty, or not there.
            drop(std::fs::remove_file(beside(&path, suffix)));
        }
        set_mode(file, denied);
        let said = child(&path, "022", true);
        set_mode(file, allowed);
        let expected = format!("refused true: cannot open the database {}: ", named.display());
        assert!(said.starts_with(&expected), "{}: {said}", file.display());
    }
    assert!(std::fs::read(&path).unwrap() == before.0, "the database is as it was");
    assert_eq!(child(&path, "022", true), "600 600 600 600", "and opens when it may be written");
    assert_eq!(std::fs::read(&record).unwrap().len(), before.1.len());
}

#[tokio::test]
async fn a_new_database_in_a_folder_that_cannot_be_written_is_refused_by_name() {
    let folder = folder();
    if is_root() {
        chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    set_mode(folder.path(), 0o500);
    let path = folder.path().join("cloud.db");
    let said = child(&path, "022", true);
    set_mode(folder.path(), 0o700);
    assert!(said.starts_with("refused true: cannot open the database "), "{said}");
    assert!(said.contains("cloud.db: Permission denied"), "{said}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left there");
}

#[tokio::test]
async fn a_folder_is_no_database() {
    let folder = folder();
    let error = open(folder.path()).await.unwrap_err();
    assert!(matches!(&error, Error::Open { path, .. } if path == folder.path()), "{error:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
