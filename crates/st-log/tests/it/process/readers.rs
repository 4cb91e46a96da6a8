//! Stdout as pipes and sockets whose readers are slow, stall, exit or never existed.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{BATCHED, LOG, command, harness_cut_off, init};
use crate::capture::parsed;

/// Far longer than any wait here.
const LONG: Duration = Duration::from_hours(1);

/// The numbers that arrived, in order, and how many lines the log reports as dropped.
fn arrived(text: &str) -> (Vec<u64>, u64) {
    let (mut numbers, mut dropped) = (Vec::new(), 0);
    for record in parsed(&harness_cut_off(text)) {
        let number = |key: &str| record["extra"][key].as_u64();
        if let Some(number) = number("number") {
            numbers.push(number);
        } else {
            let lost = number("dropped").unwrap();
            assert_eq!(record["message"], Value::from(format!("{lost} log lines were dropped")));
            dropped += lost;
        }
    }
    assert!(numbers.is_sorted_by(|a, b| a < b));
    (numbers, dropped)
}

/// Logs until the pipe is full, waits until the parent starts to read, and continues.
pub(super) fn meets_a_full_pipe(file: &Path) {
    let log = init();
    let padding = "x".repeat(10_000);
    let mut number = 0_u64;
    let mut say = || {
        st_log::info!(logger: LOG, number, padding, "Line");
        number += 1;
    };
    while log.dropped_lines() == 0 {
        say();
    }
    if std::env::var_os(BATCHED).is_none() {
        // The last line was written only in part.
        assert!(!log.flush(Duration::ZERO));
    }
    std::io::stderr().write_all(b"full\n").unwrap();
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
    loop {
        // A torn line no longer counts as lost once it is completed, so flush first.
        log.flush(LONG);
        let before = log.dropped_lines();
        say();
        if log.flush(LONG) && log.dropped_lines() == before {
            break;
        }
    }
    fs::write(file.with_extension("said"), number.to_string()).unwrap();
}

#[test]
fn a_full_pipe_that_is_read_again_gets_lines_again_and_how_many_were_dropped() {
    for batched in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cloud.log");
        let mut program = command("meets_a_full_pipe", &path);
        if batched {
            program.env(BATCHED, "1");
        }
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = program.spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        // The output of a failing program has to be read as well, or it never exits.
        let is_before = |it: &String| it != "full" && !it.contains("panicked");
        let before: Vec<String> = stderr.by_ref().take_while(is_before).collect();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).unwrap();
            text
        });
        drop(child.stdin.take());
        let after: Vec<String> = stderr.collect();
        assert!(child.wait().unwrap().success(), "{before:?} {after:?}");
        let said: u64 = fs::read_to_string(path.with_extension("said")).unwrap().parse().unwrap();
        for text in [reader.join().unwrap(), fs::read_to_string(&path).unwrap()] {
            let (numbers, dropped) = arrived(&text);
            assert_eq!(u64::try_from(numbers.len()).unwrap() + dropped, said);
            assert_eq!(numbers.last(), Some(&(said - 1)));
        }
        if !batched {
            let (_, dropped) = arrived(&fs::read_to_string(&path).unwrap());
            assert_eq!(dropped, 0);
        }
    }
}

#[test]
fn a_stdout_that_was_never_there_disturbs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cloud.log");
    let program = command("says_ten_thousand_lines", &path);
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" \"$@\" >&-"]).arg(program.get_program());
    shell.args(program.get_args());
    shell.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let (numbers, dropped) = arrived(&fs::read_to_string(path).unwrap());
    assert!(numbers.into_iter().eq(0..10_000));
    assert_eq!(dropped, 0);
}

/// Starts a program whose stdout is one end of a socket, and returns the other end.
fn on_a_socket(program: &mut Command) -> (std::process::Child, UnixStream) {
    let (mine, theirs) = UnixStream::pair().unwrap();
    program.stdout(OwnedFd::from(theirs)).stderr(Stdio::piped());
    let child = program.spawn().unwrap();
    // Otherwise this process would keep the other end open.
    program.stdout(Stdio::null());
    (child, mine)
}

#[test]
fn a_socket_gets_what_a_pipe_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cloud.log");
    let (child, mut mine) = on_a_socket(&mut command("says_ten_thousand_lines", &path));
    let mut text = String::new();
    mine.read_to_string(&mut text).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let (numbers, dropped) = arrived(&text);
    assert!(arrived(&fs::read_to_string(path).unwrap()).0.into_iter().eq(0..10_000));
    // On a busy machine, this reader may have been too slow.
    if dropped == 0 && output.stderr.is_empty() {
        assert!(numbers.into_iter().eq(0..10_000));
    }
}

#[test]
fn a_socket_whose_reader_stands_still_or_goes_away_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cloud.log");
    let (mut child, mut mine) = on_a_socket(&mut command("is_not_heard", &path));
    let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let said: Vec<String> = stderr.by_ref().take_while(|it| it != "came through").collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("st-log: cannot write to stdout"), "{said:?}");
    mine.read_to_string(&mut String::new()).unwrap();
    child.wait().unwrap();
    let (numbers, _) = arrived(&fs::read_to_string(&path).unwrap());
    assert!(numbers.into_iter().eq(0..20_000));

    let mut program = command("speaks_to_nobody", &path);
    let (mut child, mine) = on_a_socket(program.stdin(Stdio::piped()));
    BufReader::new(mine).read_until(b'.', &mut Vec::new()).unwrap();
    drop(child.stdin.take());
    child.wait().unwrap();
    assert_eq!(fs::read_to_string(path.with_extension("dropped")).unwrap(), "1000");
}

/// The result of ten thousand lines with a buffer for a dozen of them.
fn with_a_small_queue(overflow: &str) -> (Vec<u64>, u64) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cloud.log");
    let mut program = command("says_ten_thousand_lines", &path);
    let output = program.env(BATCHED, overflow).stdout(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    arrived(&fs::read_to_string(path).unwrap())
}

#[test]
fn a_queue_that_waits_loses_nothing_and_one_that_drops_counts() {
    let (numbers, dropped) = with_a_small_queue("wait");
    assert!(numbers.into_iter().eq(0..10_000));
    assert_eq!(dropped, 0);
    let (numbers, dropped) = with_a_small_queue("drop");
    assert_eq!(u64::try_from(numbers.len()).unwrap() + dropped, 10_000);
    assert!(dropped > 0);
}

/// Logs until two lines were dropped, and records that in a file.
pub(super) fn is_read_by_nobody(file: &Path) {
    let log = init();
    let padding = "x".repeat(10_000);
    while log.dropped_lines() < 2 {
        st_log::info!(logger: LOG, padding, "Line");
    }
    fs::write(file.with_extension("done"), "").unwrap();
}

/// Waits until the program has done that; its test harness may block on the same pipe.
fn wait_until_done(path: &Path) {
    while !path.with_extension("done").exists() {
        std::thread::yield_now();
    }
}

#[test]
fn stdout_and_stderr_in_one_full_pipe_do_not_stop_the_program() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cloud.log");
    let (reader, writer) = std::io::pipe().unwrap();
    let mut program = command("is_read_by_nobody", &path);
    program.stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut child = program.spawn().unwrap();
    drop(program);
    wait_until_done(&path);
    drop(reader);
    child.wait().unwrap();
}

fn pipe_at(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_pipe_as_log_file_needs_a_reader() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cloud.log");
    pipe_at(&path);
    let settings = st_log::Settings { file: Some(path), ..st_log::Settings::default() };
    let error = st_log::init(&settings).unwrap_err();
    let text = st_log::Chain(&error).to_string();
    assert!(text.contains("cannot open the log file") && text.contains("No such device"), "{text}");
}

#[test]
fn a_pipe_as_log_file_whose_reader_stands_still_does_not_stop_the_program() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cloud.log");
    pipe_at(&path);
    // For reading and writing, so that opening does not block until the other side is opened.
    let reader = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut program = command("is_read_by_nobody", &path);
    let mut child = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until_done(&path);
    assert!(child.wait().unwrap().success());
    drop(reader);
}
