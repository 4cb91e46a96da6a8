//! What happens in a process of its own, which may be killed or have a failing disk.
//!
//! The test binary runs itself again: the one test here does nothing unless its environment says
//! what to do.

use std::process::{Command, ExitStatus};

use super::*;

const SCENE: &str = "ST_STORE_TEST_SCENE";
const FOLDER: &str = "ST_STORE_TEST_FOLDER";

/// A command that plays a scene in a process of its own.
pub(super) fn command(scene: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "sqlite::tests::child::a_scene_in_a_process_of_its_own", "--nocapture"])
        .env(SCENE, scene)
        .env(FOLDER, folder)
        .env_remove("RUST_BACKTRACE");
    command
}

pub(super) fn play(scene: &str, folder: &Path) -> ExitStatus {
    command(scene, folder).output().unwrap().status
}

#[tokio::test]
async fn a_scene_in_a_process_of_its_own() {
    let (Some(scene), Some(folder)) = (std::env::var_os(SCENE), std::env::var_os(FOLDER)) else {
        return;
    };
    let path = Path::new(&folder).join("cloud.db");
    let scene = scene.into_string().unwrap();
    let (name, number) = scene.split_once(' ').unwrap_or((&scene, "0"));
    let number: i64 = number.parse().unwrap();
    match name {
        "crash" => crash(&path, number).await,
        "fold" => fold(&path),
        "open" => drop(open(&path).await.unwrap()),
        "refused" => {
            let error = open(&path).await.unwrap_err();
            std::fs::write(Path::new(&folder).join("refused"), error.to_string()).unwrap();
        }

        #[cfg(target_os = "linux")]
        "failing_commit" => disk::failing_commit(&path).await,
        #[cfg(target_os = "linux")]
        "rewrite" => disk::rewrite(&path).await,
        #[cfg(target_os = "linux")]
        "idle" => disk::idle(&path).await,
        #[cfg(target_os = "linux")]
        "checkpoint" => disk::checkpoint(&path).await,
        #[cfg(feature = "failpoints")]
        "claimed_again" => failpoints::claimed_again(&path).await,
        #[cfg(feature = "failpoints")]
        "step" => failpoints::step(&path).await,
        #[cfg(feature = "failpoints")]
        "seen" => failpoints::seen_before_the_record(&path).await,
        #[cfg(feature = "failpoints")]
        "failpoint" => failpoints::scene(&path, usize::try_from(number).unwrap()).await,
        unknown => panic!("{unknown}"),
    }
}

/// Another program, which writes something and copies the log into the database.
fn fold(path: &Path) {
    let connection = Connection::open(path).unwrap();
    let sql = "CREATE TABLE other (a); PRAGMA wal_checkpoint(TRUNCATE)";
    connection.execute_batch(sql).unwrap();
}

/// Appends events up to this one and dies.
async fn crash(path: &Path, last: i64) {
    let store = open(path).await.unwrap();
    store.events(last).await.unwrap();
    std::process::abort();
}
