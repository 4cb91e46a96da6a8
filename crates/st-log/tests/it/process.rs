//! Global logging: each test runs this test program again as a child process.

mod endings;
mod interop;

mod outputs;
mod readers;
mod sinks;

mod tasks;

use std::error::Error;
use std::fs;
use std::io::{Read as _, Seek as _};
use std::panic::catch_unwind;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use st_log::{CorrelationId, Format, LogContext, LogGuard, Overflow, Settings, Writer};

use crate::capture::parsed;
use crate::interleave;

const LOG: st_log::Logger = st_log::get_logger("simpletuner.cloud.test");
const PROGRAM: &str = "ST_LOG_TEST_PROGRAM";
const FILE: &str = "SIMPLETUNER_LOG_FILE";
/// Set if a background thread is to write the lines; `wait` and `drop` select a small buffer.
const BATCHED: &str = "ST_LOG_TEST_BATCHED";
type Program = (&'static str, fn(&Path));

/// The bodies of the child processes, whose output the parent checks.
const PROGRAMS: &[Program] = &[
    ("logs_three_deep", endings::logs_three_deep),
    ("ends_a_thread_with_scopes", endings::ends_a_thread_with_scopes),
    ("logs_in_the_panic_hook", endings::logs_in_the_panic_hook),
    ("exits", endings::exits),
    ("aborts", endings::aborts),
    ("speaks_by_the_log_crate", interop::speaks_by_the_log_crate),
    ("changes_its_level", interop::changes_its_level),
    ("has_a_logger_already", interop::has_a_logger_already),
    ("shares_a_file", sinks::shares_a_file),
    ("is_moved_about", sinks::is_moved_about),
    ("is_truncated", sinks::is_truncated),
    ("fails_to_write", sinks::fails_to_write),
    ("speaks_with_many_threads", sinks::speaks_with_many_threads),
    ("is_rotated_by_logrotate", sinks::is_rotated_by_logrotate),
    ("meets_a_full_pipe", readers::meets_a_full_pipe),
    ("is_read_by_nobody", readers::is_read_by_nobody),
    ("makes_an_id", tasks::makes_an_id),
    ("interleaves", interleave::interleaves),
    ("says_ten_thousand_lines", outputs::says_ten_thousand_lines),
    ("speaks_to_nobody", outputs::speaks_to_nobody),
    ("is_not_heard", outputs::is_not_heard),
    ("panics", panics),
    ("mixes_tasks", tasks::mixes_tasks),
    ("carries_into_blocking_calls", tasks::carries_into_blocking_calls),
    ("logs_inside_display", logs_inside_display),
    ("logs_while_the_thread_ends", logs_while_the_thread_ends),
    ("reopens", outputs::reopens),
    ("sets_up_twice", sets_up_twice),
    ("goes_on_after_the_guard", goes_on_after_the_guard),
];

/// Not a test by itself: the entry point of the child processes.
#[test]
fn program() {
    let Some(name) = std::env::var_os(PROGRAM) else { return };
    let file = std::env::var_os(FILE).unwrap();
    let (_, run) = PROGRAMS.iter().find(|(it, _)| name == *it).unwrap();
    run(Path::new(&file));
}

pub(crate) fn command(name: &str, file: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "process::program", "--nocapture", "--test-threads=1"]);
    command.env(PROGRAM, name).env(FILE, file).env("SIMPLETUNER_LOG_LEVEL", "debug");
    command
}

fn lines_of(output: &Output) -> String {
    harness_cut_off(&String::from_utf8_lossy(&output.stdout))
}

fn harness_cut_off(stdout: &str) -> String {
    // The test harness writes the start of a line, and the program continues it.
    let lines = stdout.split_inclusive('\n');
    lines.filter_map(|it| it.get(it.find("{\"timestamp\"")?..)).collect()
}

/// Like [`Command::output`], but through a file: a pipe that is not read in time loses lines.
fn output_of(command: &mut Command) -> Output {
    let mut stdout = tempfile::tempfile().unwrap();
    command.stdout(stdout.try_clone().unwrap());
    let mut output = command.output().unwrap();
    stdout.rewind().unwrap();
    stdout.read_to_end(&mut output.stdout).unwrap();
    output
}

struct Ran {
    output: Output,
    file: String,
    _dir: tempfile::TempDir,
}

impl Ran {
    /// The lines on stdout, without the output of the test harness.
    fn stdout(&self) -> String {
        lines_of(&self.output)
    }

    fn records(&self) -> Vec<Value> {
        parsed(&self.file)
    }
}

fn run(name: &str) -> Ran {
    run_as(name, |_| {})
}

/// Runs a program with each kind of writer.
fn run_both(name: &str) -> [Ran; 2] {
    let batched = run_as(name, |command| {
        command.env(BATCHED, "1");
    });
    [run(name), batched]
}

fn run_as(name: &str, change: impl FnOnce(&mut Command)) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cloud.log");
    let mut command = command(name, &path);
    change(&mut command);
    let output = output_of(&mut command);
    Ran { output, file: fs::read_to_string(path).unwrap(), _dir: dir }
}

pub(crate) fn init() -> LogGuard {
    st_log::init(&settings()).unwrap()
}

/// Settings from the environment, with everything turned on that is off by default.
fn settings() -> Settings {
    let vars = std::env::vars().filter(|(name, _)| name.starts_with("SIMPLETUNER_"));
    let settings = Settings::from_env(vars).unwrap();
    let small = |overflow| Writer::Batched { capacity: 4096, overflow };
    let writer = match std::env::var_os(BATCHED).and_then(|it| it.into_string().ok()).as_deref() {
        None => Writer::Direct,
        Some("wait") => small(Overflow::Wait(Duration::from_hours(1))),
        Some("drop") => small(Overflow::Drop),
        Some(_) => Writer::BATCHED,
    };
    Settings { log_panics: true, writer, ..settings }
}

fn panics(_: &Path) {
    let _log = init();
    st_log::set_correlation_id(CorrelationId::parse("abc123").unwrap());
    for number in 0..1000 {
        st_log::info!(logger: LOG, number, "Before");
    }
    panic!("on purpose");
}

#[test]
fn a_panic_is_logged_after_everything_before_it() {
    for ran in run_both("panics") {
        assert!(!ran.output.status.success());
        let records = ran.records();
        assert_eq!(records.len(), 1001);
        let last = &records[1000];
        assert_eq!(last["message"], "Panicked: on purpose");
        assert_eq!(last["level"], "CRITICAL");
        assert_eq!(last["correlation_id"], "abc123");
        assert_eq!(last["source"]["file"], "process.rs");
        // The previous panic hook still prints the panic.
        assert!(String::from_utf8_lossy(&ran.output.stderr).contains("on purpose"));
    }
}

struct Logs;

impl std::fmt::Display for Logs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        st_log::info!(logger: LOG, "inside");
        f.write_str("logged")
    }
}

fn fails() -> u32 {
    panic!("argument")
}

fn logs_inside_display(_: &Path) {
    let _log = init();
    st_log::info!(logger: LOG, value = %Logs, "outside {}", Logs);
    let panicked = catch_unwind(|| st_log::info!(logger: LOG, "{}", fails()));
    panicked.unwrap_err();
    st_log::info!(logger: LOG, "after");
}

#[test]
fn logging_within_logging_loses_no_line() {
    let records = run("logs_inside_display").records();
    let messages: Vec<_> = records.iter().map(|it| it["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["inside", "inside", "outside logged", "Panicked: argument", "after"]);
}

struct LogsLast;

impl Drop for LogsLast {
    fn drop(&mut self) {
        let _context = LogContext::new().field("a", 1).enter();
        st_log::set_correlation_id(CorrelationId::generate());
        st_log::get_correlation_id();
        st_log::info!(logger: LOG, "last");
    }
}

thread_local! {
    static LAST: LogsLast = const { LogsLast };
}

fn logs_while_the_thread_ends(_: &Path) {
    let _log = init();
    let thread = std::thread::spawn(|| {
        LAST.with(|_| {});
        // Initialized after LAST, so destroyed before it.
        st_log::get_correlation_id();
        tracing::info_span!("span").in_scope(|| st_log::info!(logger: LOG, "first"));
    });
    thread.join().unwrap();
}

#[test]
fn a_thread_may_log_while_its_variables_are_torn_down() {
    let ran = run("logs_while_the_thread_ends");
    let messages: Vec<_> = ran.records().iter().map(|it| it["message"].clone()).collect();
    assert_eq!(messages, ["first", "last"]);
    assert!(ran.output.status.success());
}

fn sets_up_twice(file: &Path) {
    let log = init();
    let again = st_log::init(&Settings::default()).unwrap_err();
    assert_eq!(again.to_string(), "logging is set up already");
    st_log::info!(logger: LOG, "still here");
    drop(log);
    assert_eq!(parsed(&fs::read_to_string(file).unwrap()).len(), 1);
}

#[test]
fn setting_up_twice_is_an_error_and_disturbs_nothing() {
    assert!(run("sets_up_twice").output.status.success());
}

fn goes_on_after_the_guard(file: &Path) {
    drop(init());
    for number in 1..=3 {
        st_log::info!(logger: LOG, "after");
        assert_eq!(parsed(&fs::read_to_string(file).unwrap()).len(), number);
    }
}

#[test]
fn lines_after_the_guard_are_written_before_the_call_returns() {
    assert!(run("goes_on_after_the_guard").output.status.success());
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let settings = Settings {
        file: Some("/nowhere/at all/cloud.log".into()),
        format: Format::Text,
        ..Settings::default()
    };
    let error = st_log::init(&settings).unwrap_err();
    assert_eq!(error.to_string(), "cannot open the log file \"/nowhere/at all/cloud.log\"");
    assert!(error.source().unwrap().to_string().contains("No such file"));
}
