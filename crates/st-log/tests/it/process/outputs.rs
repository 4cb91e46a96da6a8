//! Outputs, and what happens when writing to them fails.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use st_log::{CorrelationId, LogContext};

use super::{LOG, command, init, lines_of, output_of, run};
use crate::capture::parsed;

/// Far longer than any wait here, so that a lost wake-up cannot pass for a late one.
const LONG: Duration = Duration::from_hours(1);

pub(super) fn says_ten_thousand_lines(_: &Path) {
    let _log = init();
    let _context = LogContext::new().field("job_id", "xyz789").enter();
    st_log::set_correlation_id(CorrelationId::parse("abc123").unwrap());
    for number in 0..10_000 {
        st_log::debug!(logger: LOG, number, "Line {number}");
    }
}

#[test]
fn stdout_and_file_get_the_same_bytes_and_all_of_them() {
    let ran = run("says_ten_thousand_lines");
    assert!(ran.output.status.success());
    let numbers: Vec<_> = ran.records().iter().map(|it| it["extra"]["number"].as_u64()).collect();
    assert_eq!(numbers, (0..10_000).map(Some).collect::<Vec<_>>());
    assert_eq!(ran.stdout(), ran.file);
}

#[test]
fn the_manual_s_grep_finds_the_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cloud.log");
    command("says_ten_thousand_lines", &path).output().unwrap();
    let count = |pattern: &str| {
        let grep = Command::new("grep").args(["-c", pattern]).arg(&path).output().unwrap();
        String::from_utf8(grep.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(count(r#""correlation_id": "abc123""#), "10000");
    assert_eq!(count(r#""correlation_id": "abc124""#), "0");
}

pub(super) fn speaks_to_nobody(file: &Path) {
    let log = init();
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
    for number in 0..1000 {
        st_log::info!(logger: LOG, number, "Line {number}");
    }
    assert!(log.flush(LONG));
    fs::write(file.with_extension("dropped"), log.dropped_lines().to_string()).unwrap();
}

#[test]
fn a_closed_stdout_disturbs_neither_the_program_nor_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cloud.log");
    let mut program = command("speaks_to_nobody", &path);
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = program.spawn().unwrap();
    // The test harness has to finish its own output first, or its write would fail.
    let mut begun = BufReader::new(child.stdout.take().unwrap());
    begun.read_until(b'.', &mut Vec::new()).unwrap();
    drop(begun);
    drop(child.stdin.take());
    child.wait().unwrap();
    assert_eq!(parsed(&fs::read_to_string(&path).unwrap()).len(), 1000);
    assert_eq!(fs::read_to_string(path.with_extension("dropped")).unwrap(), "1000");
}

#[test]
fn a_full_disk_disturbs_neither_the_program_nor_stdout() {
    let output = output_of(&mut command("says_ten_thousand_lines", Path::new("/dev/full")));
    assert!(output.status.success());
    assert_eq!(parsed(&lines_of(&output)).len(), 10_000);
    let notice = String::from_utf8(output.stderr).unwrap();
    assert_eq!(notice.matches("cannot write to /dev/full, lines are dropped").count(), 1);
}

pub(super) fn is_not_heard(_: &Path) {
    let log = init();
    for number in 0..LINES {
        st_log::info!(logger: LOG, number, "Line {number}");
    }
    assert!(log.dropped_lines() > 0);
    std::io::stderr().write_all(b"came through\n").unwrap();
}

const LINES: usize = 20_000;

#[test]
fn a_reader_that_stands_still_stops_neither_the_program_nor_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cloud.log");
    let mut program = command("is_not_heard", &path);
    let mut child = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let unread = child.stdout.take();
    // Not to the end: the test harness still writes to the same stdout when the program is done.
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let said: Vec<String> = said.by_ref().take_while(|it| it != "came through").collect();
    drop(unread);
    child.wait().unwrap();
    let notice =
        "st-log: cannot write to stdout, lines are dropped: Resource temporarily unavailable";
    assert!(said[0].starts_with(notice), "{said:?}");
    assert_eq!(said.len(), 1, "{said:?}");
    let numbers = parsed(&fs::read_to_string(path).unwrap());
    let numbers: Vec<_> =
        numbers.iter().map(|it| it["extra"]["number"].as_u64().unwrap()).collect();
    assert!(numbers.into_iter().eq(0..u64::try_from(LINES).unwrap()));
}

pub(super) fn reopens(file: &Path) {
    let log = init();
    st_log::info!(logger: LOG, "before");
    assert!(log.flush(LONG));
    fs::rename(file, rotated(file)).unwrap();
    st_log::info!(logger: LOG, "still in the old one");
    assert!(log.flush(LONG));
    log.handle().reopen();
    st_log::info!(logger: LOG, "after");
    assert!(log.flush(LONG));
    fs::remove_file(file).unwrap();
    fs::create_dir(file).unwrap();
    assert!(!log.reopen());
    st_log::info!(logger: LOG, "lost");
    fs::remove_dir(file).unwrap();
    assert!(log.reopen());
    st_log::info!(logger: LOG, "at last");
    // The record of the failure could not be written to the file either.
    assert_eq!(log.dropped_lines(), 2);
}

fn rotated(file: &Path) -> PathBuf {
    file.with_extension("log.1")
}

#[test]
fn a_rotated_file_is_left_alone_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cloud.log");
    let output = output_of(&mut command("reopens", &path));
    assert!(output.status.success(), "{output:?}");
    let messages = |path: &Path| -> Vec<Value> {
        let text = fs::read_to_string(path).unwrap();
        parsed(&text).into_iter().map(|it| it["message"].clone()).collect()
    };
    assert_eq!(messages(&rotated(&path)), ["before", "still in the old one"]);
    assert_eq!(messages(&path), ["at last", "2 log lines were dropped"]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains("Log file could not be reopened"), "{stdout}");
}
