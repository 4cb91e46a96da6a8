//! Files that are shared, renamed, removed, truncated and full.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use st_log::{CorrelationId, LogGuard};

use super::{BATCHED, LOG, command, init, output_of};
use crate::capture::parsed;
use crate::strict;

/// Far longer than any wait here.
const LONG: Duration = Duration::from_hours(1);
/// A file is checked once a second, and a missing one is checked once more before it is created.
const DEADLINE: Duration = Duration::from_secs(20);
const LINES: u64 = 5000;

fn runs_with_both_writers(name: &str, check: impl Fn(&Path, &Output) + Sync) {
    let run = |batched: bool| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cloud.log");
        let mut program = command(name, &path);
        if batched {
            program.env(BATCHED, "1");
        }
        let output = output_of(&mut program);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        check(&path, &output);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| run(true));
        run(false);
    });
}

fn messages(path: &Path) -> Vec<String> {
    let records = parsed(&fs::read_to_string(path).unwrap());
    records.iter().map(|it| it["message"].as_str().unwrap().to_owned()).collect()
}

fn rotated(file: &Path) -> PathBuf {
    file.with_extension("log.1")
}

fn say(log: &LogGuard, message: &str) {
    st_log::info!(logger: LOG, "{message}");
    assert!(log.flush(LONG));
}

pub(super) fn shares_a_file(_: &Path) {
    let _log = init();
    // Both begin at the same time: when the other end is closed.
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
    st_log::set_correlation_id(CorrelationId::generate());
    let padding = "x".repeat(fastrand::usize(0..3000));
    for number in 0..LINES {
        st_log::info!(logger: LOG, number, padding, "Line");
    }
}

#[test]
fn two_processes_append_to_one_file_without_tearing_a_line() {
    for batched in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cloud.log");
        let start = || {
            let mut program = command("shares_a_file", &path);
            if batched {
                program.env(BATCHED, "wait");
            }
            program.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
        };
        let mut children = [start(), start()];
        for child in &mut children {
            drop(child.stdin.take());
        }
        for child in &mut children {
            assert!(child.wait().unwrap().success());
        }
        let mut next: BTreeMap<String, u64> = BTreeMap::new();
        for line in fs::read_to_string(&path).unwrap().lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            let next = next.entry(record["correlation_id"].to_string()).or_default();
            assert_eq!(record["extra"]["number"], *next);
            *next += 1;
        }
        assert_eq!(next.into_values().collect::<Vec<_>>(), [LINES, LINES]);
    }
}

#[test]
fn each_record_is_one_write() {
    if !strict::has("strace") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (path, trace) = (dir.path().join("cloud.log"), dir.path().join("trace"));
    let program = command("speaks_to_nobody", &path);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-e", "trace=write,writev,pwrite64", "-s", "40", "-o"]).arg(&trace);
    strace.arg(program.get_program()).args(program.get_args());
    strace.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace.stdin(Stdio::null());
    let output = strace.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("PTRACE") || stderr.contains("Operation not permitted") {
        assert!(std::env::var_os("CI").is_none(), "{stderr}");
        std::io::stderr().write_all(b"!! SKIPPED: strace may not trace here\n").unwrap();
        return;
    }
    assert!(output.status.success(), "{stderr}");
    let trace = fs::read_to_string(trace).unwrap();
    let writes = trace.lines().filter(|it| it.contains("{\\\"timestamp\\\""));
    // To stdout and to the file.
    assert_eq!(writes.count(), 2 * 1000);
    let log = fs::read_to_string(&path).unwrap();
    let mut lengths: Vec<_> = log.split_inclusive('\n').map(str::len).collect();
    lengths.extend(lengths.clone());
    let mut written: Vec<usize> = trace
        .lines()
        .filter(|it| it.contains("{\\\"timestamp\\\""))
        .map(|it| it.rsplit_once("= ").unwrap().1.parse().unwrap())
        .collect();
    lengths.sort_unstable();
    written.sort_unstable();
    assert_eq!(written, lengths);
}

/// Logs until the condition holds; panics after a deadline.
#[expect(clippy::disallowed_methods, reason = "the sink looks at the real time")]
fn says_until(log: &LogGuard, message: &str, done: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + DEADLINE;
    while !done() {
        assert!(std::time::Instant::now() < deadline, "{message}");
        say(log, message);
        std::thread::yield_now();
    }
}

/// A rename, a removal and a directory that is missing for a while, all without a reopen request.
pub(super) fn is_moved_about(file: &Path) {
    let log = init();
    say(&log, "first");
    fs::rename(file, rotated(file)).unwrap();
    says_until(&log, "renamed", || file.exists());
    say(&log, "second");
    fs::remove_file(file).unwrap();
    says_until(&log, "removed", || file.exists());
    say(&log, "third");
    // Another file exists already, as with logrotate's `create`.
    fs::rename(file, file.with_extension("log.2")).unwrap();
    OpenOptions::new().append(true).create_new(true).open(file).unwrap();
    says_until(&log, "replaced", || fs::metadata(file).unwrap().len() > 0);
    say(&log, "fourth");
    let dir = file.parent().unwrap();
    let hidden = dir.with_extension("hidden");
    fs::rename(dir, &hidden).unwrap();
    let before = log.dropped_lines();
    say(&log, "in a directory that is elsewhere");
    fs::rename(&hidden, dir).unwrap();
    assert_eq!((before, log.dropped_lines()), (0, 0));
}

#[test]
fn a_file_that_is_renamed_removed_or_replaced_is_followed() {
    let check = |path: &Path, _: &Output| {
        let (old, replaced) = (messages(&rotated(path)), messages(&path.with_extension("log.2")));
        assert_eq!(old.first().unwrap(), "first");
        // Nothing was lost before the rename was noticed.
        assert!(old.len() > 1 && old[1..].iter().all(|it| it == "renamed"), "{old:?}");
        assert_eq!((replaced[0].as_str(), replaced[1].as_str()), ("removed", "third"));
        assert!(replaced.len() > 2 && replaced[2..].iter().all(|it| it == "replaced"));
        let last = ["replaced", "fourth", "in a directory that is elsewhere"];
        assert_eq!(messages(path), last);
    };
    runs_with_both_writers("is_moved_about", check);
}

pub(super) fn is_truncated(file: &Path) {
    let log = init();
    for at in 0..3 {
        say(&log, &format!("before {at}"));
    }
    // Like logrotate's `copytruncate`.
    fs::copy(file, rotated(file)).unwrap();
    OpenOptions::new().write(true).truncate(true).open(file).unwrap();
    say(&log, "after");
}

#[test]
fn a_truncated_file_goes_on_at_its_start() {
    runs_with_both_writers("is_truncated", |path, _| {
        assert_eq!(messages(&rotated(path)), ["before 0", "before 1", "before 2"]);
        let text = fs::read(path).unwrap();
        assert_eq!(text.first(), Some(&b'{'));
        assert!(!text.contains(&0));
        assert_eq!(messages(path), ["after"]);
    });
}

pub(super) fn fails_to_write(file: &Path) {
    let log = init();
    for number in 0..1000 {
        st_log::warning!(logger: LOG, number, "Line");
    }
    assert!(log.flush(LONG));
    assert_eq!((file, log.dropped_lines()), (Path::new("/dev/full"), 1000));
}

#[test]
fn of_a_thousand_failures_stderr_is_told_once() {
    for batched in [false, true] {
        let mut program = command("fails_to_write", Path::new("/dev/full"));
        if batched {
            program.env(BATCHED, "1");
        }
        let output = program.stdout(Stdio::null()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        assert_eq!(stderr.matches("st-log: ").count(), 1, "{stderr}");
        let notice = "cannot write to /dev/full, lines are dropped: No space left on device";
        assert!(stderr.contains(notice), "{stderr}");
    }
}

pub(super) fn speaks_with_many_threads(_: &Path) {
    let _log = init();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                for number in 0..500 {
                    if number % 50 == 0 {
                        st_log::warning!(logger: LOG, thread, number, "Line");
                    } else {
                        st_log::info!(logger: LOG, thread, number, "Line");
                    }
                }
            });
        }
    });
}

#[test]
fn the_lines_of_each_thread_stay_in_their_order() {
    runs_with_both_writers("speaks_with_many_threads", |path, _| {
        let mut next = [0_u64; 8];
        for record in parsed(&fs::read_to_string(path).unwrap()) {
            let thread = record["extra"]["thread"].as_u64().unwrap();
            let next = &mut next[usize::try_from(thread).unwrap()];
            assert_eq!(record["extra"]["number"], *next);
            *next += 1;
        }
        assert_eq!(next, [500; 8]);
    });
}

/// Logs while another program rotates the file.
pub(super) fn is_rotated_by_logrotate(file: &Path) {
    let log = init();
    say(&log, "before");
    let dir = file.parent().unwrap();
    for (round, extra) in [(1, "create"), (2, "copytruncate")] {
        let config = dir.join(format!("{extra}.conf"));
        let rules = format!("{} {{\n rotate 5\n su root root\n {extra}\n}}\n", file.display());
        fs::write(&config, rules).unwrap();
        let state = dir.join("state");
        let rotate = Command::new("logrotate").args(["-f", "-s"]).arg(state).arg(config).output();
        let rotate = rotate.unwrap();
        assert!(rotate.status.success(), "{}", String::from_utf8_lossy(&rotate.stderr));
        if extra == "create" {
            says_until(&log, "rotated", || fs::metadata(file).unwrap().len() > 0);
        }
        say(&log, &format!("after {round}"));
    }
}

#[test]
fn logrotate_rotates_without_a_signal_and_without_a_loss() {
    if !strict::has("logrotate") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cloud.log");
    let output = command("is_rotated_by_logrotate", &path).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let named = |number: u32| messages(&path.with_extension(format!("log.{number}")));
    assert_eq!(messages(&path), ["after 2"]);
    assert_eq!(named(1), ["rotated", "after 1"]);
    let oldest = named(2);
    assert_eq!(oldest[0], "before");
    assert!(oldest.len() > 1 && oldest[1..].iter().all(|it| it == "rotated"), "{oldest:?}");
}
