//! `st-server logs -f` on a log that somebody writes, renames and truncates.

use std::fs::{File, OpenOptions};
use std::io::Write;

use tokio::process::{Child, ChildStdout};

use super::*;

/// A run that goes on.
struct Follower {
    child: Child,
    out: tokio::io::Lines<BufReader<ChildStdout>>,
}

impl Follower {
    fn start(args: &[&str], path: &Path) -> Self {
        let args = [&["-f"], args, &[path.to_str().unwrap()]].concat();
        let mut child = command(&args).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, out }
    }

    /// The next line must be this one.
    async fn shows(&mut self, line: &str) {
        let next = timeout(PATIENCE, self.out.next_line()).await;
        assert!(next.is_ok(), "gave up waiting for {line}");
        assert_eq!(next.unwrap().unwrap().as_deref(), Some(line));
    }

    /// Interrupts it; it must have nothing more to show.
    async fn ends(mut self) {
        let pid = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status().await.unwrap();
        assert!(sent.success());
        let rest = timeout(PATIENCE, self.out.next_line()).await.unwrap().unwrap();
        assert_eq!(rest, None);
        let output = timeout(PATIENCE, self.child.wait_with_output()).await.unwrap().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), err.as_str()), (Some(0), ""));
    }
}

fn append(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

#[tokio::test]
async fn what_is_there_and_what_comes_is_shown_until_the_interrupt() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cloud.log");
    let mut log = append(&path);
    log.write_all(b"one\ntw").unwrap();
    let mut follower = Follower::start(&[], &path);
    follower.shows("one").await;
    log.write_all(b"o\nthree\nfo").unwrap();
    follower.shows("two").await;
    follower.shows("three").await;
    follower.ends().await;
}

#[tokio::test]
async fn a_filter_holds_for_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cloud.log");
    let mut log = append(&path);
    let mut follower = Follower::start(&["--level", "ERROR"], &path);
    log.write_all(LOG.as_bytes()).unwrap();
    let line = "2024-01-15 10:30:02.000 ERROR    simpletuner.cloudy third (aaa111aaa111) a.rs:3 h";
    follower.shows(line).await;
    follower
        .shows(
            "2024-01-15 10:30:03.000 CRITICAL simpletuner fourth job_id=j1 (ccc333ccc333) a.rs:4 i",
        )
        .await;
    follower.ends().await;
}

#[tokio::test]
async fn rotation_by_renaming_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cloud.log");
    let mut log = append(&path);
    log.write_all(b"one\n").unwrap();
    let mut follower = Follower::start(&[], &path);
    follower.shows("one").await;
    for round in 0..3 {
        // The program writes to the renamed file until it is told, while the path is missing and
        // while the new file is there but empty.
        std::fs::rename(&path, dir.path().join(format!("cloud.log.{round}"))).unwrap();
        log.write_all(format!("{round} renamed\n").as_bytes()).unwrap();
        follower.shows(&format!("{round} renamed")).await;
        let mut new = append(&path);
        log.write_all(format!("{round} not told yet\n").as_bytes()).unwrap();
        follower.shows(&format!("{round} not told yet")).await;
        log.write_all(format!("{round} last\n{round} torn").as_bytes()).unwrap();
        new.write_all(format!("{round} reopened\n").as_bytes()).unwrap();
        follower.shows(&format!("{round} last")).await;
        follower.shows(&format!("{round} torn")).await;
        follower.shows(&format!("{round} reopened")).await;
        log = new;
    }
    follower.ends().await;
}

#[tokio::test]
async fn a_truncated_log_is_read_from_its_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cloud.log");
    let mut log = append(&path);
    log.write_all(b"a long line before\n").unwrap();
    let mut follower = Follower::start(&[], &path);
    follower.shows("a long line before").await;
    for round in ["first", "second"] {
        log.set_len(0).unwrap();
        log.write_all(format!("{round}\n").as_bytes()).unwrap();
        follower.shows(round).await;
        log.write_all(b"more of the same length\n").unwrap();
        follower.shows("more of the same length").await;
    }
    follower.ends().await;
}

#[tokio::test]
async fn following_needs_one_log_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let log = file(&dir, "cloud.log", LOG);
    let several = told(command(&["-f", &log, &log])).await;
    assert_eq!((several.code, several.out.as_str()), (Some(64), ""));
    assert!(several.err.contains("one file"), "{}", several.err);
    let missing = dir.path().join("missing.log").display().to_string();
    let missing_one = told(command(&["-f", &missing])).await;
    assert_eq!(missing_one.code, Some(1));
    assert!(missing_one.err.contains(&missing), "{}", missing_one.err);
    let packed = file(&dir, "cloud.log.2.gz", b"\x1f\x8b\x08\x00packed\n");
    let packed_one = told(command(&["-f", &packed])).await;
    assert_eq!((packed_one.code, packed_one.out.as_str()), (Some(1), ""));
}

#[tokio::test]
async fn a_followed_pipe_is_read_to_its_end() {
    let told = piped(&["-f", "--level", "CRITICAL"], LOG.as_bytes()).await;
    assert_eq!((told.code, told.err.as_str()), (Some(0), ""));
    assert_eq!(messages(&told.out), ["fourth"]);
}
