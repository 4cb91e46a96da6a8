//! `st-server logs`, as somebody at a terminal or a script uses it.

mod follow;

use std::path::Path;
use std::process::{Output, Stdio};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::PATIENCE;

/// Four records, one of them without extra, and a line that is none.
const LOG: &str = r#"{"timestamp": "2024-01-15T10:30:00.000Z", "level": "DEBUG", "logger": "simpletuner.cloud.jobs", "message": "first", "correlation_id": "aaa111aaa111", "source": {"file": "a.rs", "line": 1, "function": "f"}, "extra": {"job_id": "j1", "z": 18446744073709551615, "a": 2.50}}
{"timestamp": "2024-01-15T10:30:01.000Z", "level": "WARNING", "logger": "simpletuner.cloud.jobs.store", "message": "second", "correlation_id": "bbb222bbb222", "source": {"file": "a.rs", "line": 2, "function": "g"}, "extra": {"job_id": "j2"}}
thread 'main' panicked
{"timestamp": "2024-01-15T10:30:02.000Z", "level": "ERROR", "logger": "simpletuner.cloudy", "message": "third", "correlation_id": "aaa111aaa111", "source": {"file": "a.rs", "line": 3, "function": "h"}}
{"timestamp": "2024-01-15T10:30:03.000Z", "level": "CRITICAL", "logger": "simpletuner", "message": "fourth", "correlation_id": "ccc333ccc333", "source": {"file": "a.rs", "line": 4, "function": "i"}, "extra": {"job_id": "j1"}}
"#;

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_st-server"));
    command
        .arg("logs")
        .args(args)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// What a run that ends said.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Told {
    fn from(output: Output) -> Self {
        let out = String::from_utf8(output.stdout).unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        Self { code: output.status.code(), out, err }
    }
}

async fn told(mut command: Command) -> Told {
    timeout(PATIENCE, command.output()).await.unwrap().unwrap().into()
}

/// What it makes of a log that is piped in.
async fn piped(args: &[&str], log: &[u8]) -> Told {
    let mut child = command(args).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feed = async {
        stdin.write_all(log).await.unwrap();
        drop(stdin);
    };
    let ((), output) =
        timeout(PATIENCE, async { tokio::join!(feed, child.wait_with_output()) }).await.unwrap();
    output.unwrap().into()
}

fn file(dir: &TempDir, name: &str, text: impl AsRef<[u8]>) -> String {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// The messages of the sample that are in this output, in its order.
fn messages(out: &str) -> Vec<&str> {
    let known = ["first", "second", "third", "fourth", "panicked"];
    let of = |line: &'_ str| known.into_iter().find(|message| line.contains(message));
    out.lines().map(|line| of(line).unwrap()).collect()
}

#[tokio::test]
async fn records_are_printed_for_people_and_other_lines_as_they_are() {
    let told = piped(&[], LOG.as_bytes()).await;
    assert_eq!((told.code, told.err.as_str()), (Some(0), ""));
    let lines: Vec<_> = told.out.lines().collect();
    assert_eq!(
        lines,
        [
            "2024-01-15 10:30:00.000 DEBUG    simpletuner.cloud.jobs first job_id=j1 \
             z=18446744073709551615 a=2.50 (aaa111aaa111) a.rs:1 f",
            "2024-01-15 10:30:01.000 WARNING  simpletuner.cloud.jobs.store second job_id=j2 \
             (bbb222bbb222) a.rs:2 g",
            "thread 'main' panicked",
            "2024-01-15 10:30:02.000 ERROR    simpletuner.cloudy third (aaa111aaa111) a.rs:3 h",
            "2024-01-15 10:30:03.000 CRITICAL simpletuner fourth job_id=j1 (ccc333ccc333) a.rs:4 i",
        ]
    );
}

#[tokio::test]
async fn each_filter_leaves_out_what_it_should() {
    let dir = tempfile::tempdir().unwrap();
    let log = file(&dir, "cloud.log", LOG);
    let filters: [(&[&str], &[&str]); 8] = [
        (&["--correlation-id", "aaa111aaa111"], &["first", "third"]),
        (&["--job-id", "j1"], &["first", "fourth"]),
        (&["--level", "warn"], &["second", "third", "fourth"]),
        (&["--logger", "simpletuner.cloud"], &["first", "second"]),
        (&["--since", "2024-01-15T11:30:02+01:00"], &["third", "fourth"]),
        (&["--since", "2024-01-15"], &["first", "second", "third", "fourth"]),
        (&["--since", "1d"], &[]),
        (&["--level", "INFO", "--job-id", "j1"], &["fourth"]),
    ];
    for (args, expected) in filters {
        let told = told(command(&[args, &[&log]].concat())).await;
        assert_eq!(messages(&told.out), expected, "{args:?}");
        let note = "st-server: left out 1 line that is no record\n";
        assert_eq!((told.code, told.err.as_str()), (Some(0), note), "{args:?}");
    }
}

#[tokio::test]
async fn a_wrapped_log_is_filtered_and_shown_as_the_log_itself() {
    let json_file = |line: &str| {
        let text = serde_json::to_string(&format!("{line}\n")).unwrap();
        format!(r#"{{"log":{text},"stream":"stdout","time":"2024-01-15T10:30:00.1Z"}}"#)
    };
    let compose = |line: &str| format!("st-server-1  | {line}");
    let cri = |line: &str| format!("2024-01-15T10:30:00.100000000Z stdout F {line}");
    let journald = |line: &str| format!("Jan 15 10:30:00 host st-server[1]: {line}");
    let wrappings: [&dyn Fn(&str) -> String; 4] = [&compose, &json_file, &cri, &journald];
    let filters: [&[&str]; 3] =
        [&["--level", "INFO"], &["--correlation-id", "aaa111aaa111"], &["--job-id", "j2"]];
    for wrap in wrappings {
        let wrapped: String = LOG.lines().map(|line| wrap(line) + "\n").collect();
        for args in filters {
            let expected = piped(args, LOG.as_bytes()).await;
            assert_eq!(piped(args, wrapped.as_bytes()).await.out, expected.out, "{wrapped}");
        }
        let open = piped(&[], wrapped.as_bytes()).await;
        let other = wrap("thread 'main' panicked");
        let expected = piped(&[], LOG.as_bytes()).await.out;
        assert_eq!(open.out, expected.replace("thread 'main' panicked", &other));
    }
    // Lines that an ID rules out before they are read are not taken for lines of other programs.
    let told = piped(
        &["--job-id", "j2"],
        LOG.lines().map(compose).collect::<Vec<_>>().join("\n").as_bytes(),
    )
    .await;
    assert_eq!(told.err, "st-server: left out 1 line that is no record\n");
}

#[tokio::test]
async fn a_byte_order_mark_hides_no_line() {
    let marked =
        LOG.replace("{\"timestamp\"", "\u{feff}{\"timestamp\"").replace("thread", "\u{feff}thread");
    assert_eq!(piped(&[], marked.as_bytes()).await, piped(&[], LOG.as_bytes()).await);
}

#[tokio::test]
async fn a_bad_value_is_refused_with_what_is_legal() {
    for (args, legal) in [
        (["--level", "LOUD"], "DEBUG, INFO, WARNING, ERROR and CRITICAL"),
        (["--since", "yesterday"], "15m"),
        (["--logger", "."], "simpletuner.cloud.queue"),
        (["--correlation-id", ""], "a value is required"),
        (["--job-id", ""], "a value is required"),
        (["--color", "blue"], "auto, always, never"),
    ] {
        let told = told(command(&args)).await;
        assert_eq!((told.code, told.out.as_str()), (Some(64), ""), "{args:?}");
        assert!(told.err.contains(legal) && told.err.contains(args[0]), "{}", told.err);
    }
}

#[tokio::test]
async fn without_files_it_reads_stdin_or_else_the_servers_log_file() {
    let dir = tempfile::tempdir().unwrap();
    let log = file(&dir, "cloud.log", LOG);
    let mut with_file = command(&["--level", "CRITICAL"]);
    with_file.env("SIMPLETUNER_LOG_FILE", &log);
    assert_eq!(messages(&told(with_file).await.out), ["fourth"]);

    let mut with_both = command(&["--level", "CRITICAL"]);
    with_both.env("SIMPLETUNER_LOG_FILE", "/nowhere");
    with_both.stdin(std::fs::File::open(&log).unwrap());
    assert_eq!(messages(&told(with_both).await.out), ["fourth"]);

    let nothing = told(command(&[])).await;
    assert_eq!((nothing.code, nothing.out.as_str()), (Some(64), ""));
    for named in ["name a file", "SIMPLETUNER_LOG_FILE", "pipe"] {
        assert!(nothing.err.contains(named), "{}", nothing.err);
    }
}

#[tokio::test]
async fn files_are_read_in_order_and_a_missing_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = LOG.split_at(LOG.find("thread").unwrap());
    let old = file(&dir, "cloud.log.1", old);
    let new = file(&dir, "cloud.log", new);
    let missing = dir.path().join("missing.log").display().to_string();
    let told = told(command(&[&new, &missing, dir.path().to_str().unwrap(), &old])).await;
    assert_eq!(messages(&told.out), ["panicked", "third", "fourth", "first", "second"]);
    assert_eq!(told.code, Some(1));
    let errors: Vec<_> = told.err.lines().collect();
    assert_eq!(errors.len(), 2, "{}", told.err);
    assert!(errors[0].contains(&missing) && errors[0].contains("No such file"), "{}", told.err);
    assert!(errors[1].contains("Is a directory"), "{}", told.err);
}

#[tokio::test]
async fn a_packed_log_is_refused_with_the_way_to_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let packed = file(&dir, "cloud.log.2.gz", b"\x1f\x8b\x08\x00packed\n");
    let log = file(&dir, "cloud.log", LOG);
    let told = told(command(&[&packed, &log])).await;
    assert_eq!((told.code, told.out.lines().count()), (Some(1), 5));
    assert!(told.err.contains(&format!("zcat {packed} | st-server logs")), "{}", told.err);
    let told = piped(&[], b"\x1f\x8b\x08\x00packed\n").await;
    assert_eq!((told.code, told.out.as_str()), (Some(1), ""));
    assert!(told.err.contains("standard input is packed"), "{}", told.err);
}

#[tokio::test]
async fn hostile_and_broken_bytes_come_out_as_text() {
    let mut log = b"\x1b[2J\x07\tlog\r\nnot\xff\xfe utf-8 \xc2\x9b\xe2\x80\xae\n\0\n".to_vec();
    log.extend(LOG.replace("first", "fi\\u001b[31m\\nrst\u{202e}").as_bytes());
    log.extend(
        br#"{"timestamp": "2024-01-15T10:30:09Z", "level": "INFO", "logger": "a", "message": "caf"#,
    );
    log.extend(b"\xe9\"}\n{\"timestamp\": \"torn");
    let told = piped(&[], &log).await;
    assert_eq!((told.code, told.err.as_str()), (Some(0), ""));
    let lines: Vec<_> = told.out.lines().collect();
    assert_eq!(lines[0], "\\u{1b}[2J\\u{7}\tlog");
    assert_eq!(lines[1], "not\u{fffd}\u{fffd} utf-8 \\u{9b}\\u{202e}");
    assert_eq!(lines[2], "\\u{0}");
    assert!(lines[3].contains(" fi\\u{1b}[31m\\nrst\\u{202e} job_id=j1 "), "{}", lines[3]);
    assert_eq!(lines[8], "2024-01-15 10:30:09.000 INFO     a caf\u{fffd}");
    assert_eq!(lines[9..], ["{\"timestamp\": \"torn"]);
}

#[tokio::test]
async fn a_line_that_never_ends_is_cut() {
    let mut log = vec![b'x'; 3 << 20];
    log.push(b'\n');
    log.extend(LOG.as_bytes());
    let open = piped(&[], &log).await;
    let lengths: Vec<_> = open.out.lines().take(1).map(str::len).collect();
    assert_eq!((lengths, open.out.lines().count()), (vec![1 << 20], 6));
    assert_eq!(open.err, "st-server: cut 1 line longer than 1 MiB\n");
    let filtered = piped(&["--level", "CRITICAL"], &log).await;
    assert_eq!(messages(&filtered.out), ["fourth"]);
    assert!(filtered.err.ends_with("left out 1 line longer than 1 MiB\n"), "{}", filtered.err);
}

#[tokio::test]
async fn colours_come_only_when_asked_for() {
    let painted = "\u{1b}[31mERROR\u{1b}[0m";
    let always = piped(&["--color", "always"], LOG.as_bytes()).await;
    assert!(always.out.contains(painted), "{}", always.out);
    let mut no_color = command(&["--color", "always", "-"]);
    no_color.env("NO_COLOR", "1").stdin(Stdio::null());
    assert_eq!(told(no_color).await.code, Some(0));
    for args in [&[][..], &["--color", "auto"], &["--color", "never"]] {
        let told = piped(args, LOG.as_bytes()).await;
        assert!(!told.out.contains('\u{1b}'), "{args:?}: {}", told.out);
    }
}

#[tokio::test]
async fn whoever_has_seen_enough_may_leave() {
    let dir = tempfile::tempdir().unwrap();
    let log = file(&dir, "cloud.log", LOG.repeat(5_000));
    let mut child = command(&[&log]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(out.next_line().await.unwrap().unwrap().contains(" first "));
    drop(out);
    let output = timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]));
}

#[tokio::test]
async fn a_live_pipe_is_shown_as_it_comes() {
    let mut child = command(&["--level", "DEBUG"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    for message in ["first", "second"] {
        let line = LOG.lines().find(|line| line.contains(message)).unwrap();
        stdin.write_all(format!("{line}\n{{\"torn").as_bytes()).await.unwrap();
        let shown = timeout(PATIENCE, out.next_line()).await.unwrap().unwrap().unwrap();
        assert!(shown.contains(message), "{shown}");
        stdin.write_all(b"\n").await.unwrap();
    }
    drop(stdin);
    let output = timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(err, "st-server: left out 2 lines that are no records\n");
}

#[tokio::test]
async fn help_shows_how_it_is_used() {
    let told = told(command(&["--help"])).await;
    assert_eq!((told.code, told.err.as_str()), (Some(0), ""));
    for named in
        ["--follow", "--since", "SIMPLETUNER_LOG_FILE", "kubectl logs", "compose logs", "zcat"]
    {
        assert!(told.out.contains(named), "{named} is missing in:\n{}", told.out);
    }
}
