//! Records and what becomes of them on the screen.

use super::Pretty;
use crate::cli::logs::record::Record;
use st_log::is_unprintable;

const HEAD: &str = r#""timestamp": "2024-01-15T10:30:00.007Z", "level": "INFO", "logger": "simpletuner.cloud.jobs", "message": "Job submitted""#;

fn shown(line: &str, color: bool) -> String {
    let mut out = String::new();
    Pretty { color }.write(&mut out, &Record::read(line).unwrap());
    out
}

fn extra(json: &str) -> String {
    let out = shown(&format!("{{{HEAD}, \"extra\": {json}}}"), false);
    let start = "2024-01-15 10:30:00.007 INFO     simpletuner.cloud.jobs Job submitted ";
    out.strip_prefix(start).unwrap().trim_end().to_owned()
}

#[test]
fn a_record_is_one_line() {
    let tail = r#""correlation_id": "abc123def456", "source": {"file": "submit.rs", "line": 350, "function": "submit_job"}, "extra": {"job_id": "xyz789", "cost": 2.50}"#;
    let line = format!("{{{HEAD}, {tail}}}");
    assert_eq!(
        shown(&line, false),
        "2024-01-15 10:30:00.007 INFO     simpletuner.cloud.jobs Job submitted job_id=xyz789 \
         cost=2.50 (abc123def456) submit.rs:350 submit_job\n"
    );
    assert_eq!(
        shown(&line, true),
        "2024-01-15 10:30:00.007 \u{1b}[32mINFO\u{1b}[0m     \u{1b}[2msimpletuner.cloud.jobs\
         \u{1b}[0m \u{1b}[1mJob submitted\u{1b}[0m \u{1b}[2mjob_id=\u{1b}[0mxyz789 \
         \u{1b}[2mcost=\u{1b}[0m2.50 \u{1b}[2m(abc123def456)\u{1b}[0m \
         \u{1b}[2msubmit.rs:350 submit_job\u{1b}[0m\n"
    );
}

#[test]
fn times_are_told_in_utc_to_the_millisecond() {
    let line = format!("{{{HEAD}}}").replace("10:30:00.007Z", "00:30:00.1239+02:00");
    assert!(shown(&line, false).starts_with("2024-01-14 22:30:00.123 INFO "), "{line}");
}

#[test]
fn values_stay_as_they_were_written() {
    let numbers = r#"{"b": 18446744073709551615, "a": -170141183460469231731687303715884105728, "e": 1E+2, "t": true, "n": null}"#;
    assert_eq!(
        extra(numbers),
        "b=18446744073709551615 a=-170141183460469231731687303715884105728 e=1E+2 t=true n=null"
    );
    let nested = r#"{"o": {"z": [1, "a b"], "a": {}}, "after": 1}"#;
    assert_eq!(extra(nested), r#"o={"z": [1, "a b"], "a": {}} after=1"#);
}

#[test]
fn strings_are_quoted_where_they_would_be_misread() {
    let bare = r#"{"a": "x-1.5/y", "b": "\u00fcber", "c": "(x)"}"#;
    assert_eq!(extra(bare), "a=x-1.5/y b=über c=(x)");
    let quoted = r#"{"a b": "", "b": "x y", "c": "k=v", "d": "1.5", "e": "true", "f": "[]", "g": "q\"\\", "h": "l\n\u001b\u202e"}"#;
    assert_eq!(
        extra(quoted),
        r#""a b"="" b="x y" c="k=v" d="1.5" e="true" f="[]" g="q\"\\" h="l\n\u001b\u202e""#
    );
}

#[test]
fn errors_and_stacks_follow_indented() {
    let error = r#""exception": {"type": "Timeout", "message": "no answer", "chain": ["read\nfailed", "reset"]}, "stack_info": "0: main\n  at main.rs:1\r\n\u001b[2J""#;
    let out = shown(&format!("{{{HEAD}, {error}}}"), false);
    let following: Vec<_> = out.lines().skip(1).collect();
    assert_eq!(
        following,
        [
            "  Timeout: no answer",
            "  caused by: read\\nfailed",
            "  caused by: reset",
            "    0: main",
            "      at main.rs:1",
            "    \\u{1b}[2J"
        ]
    );
}

#[test]
fn nothing_in_a_record_reaches_the_terminal_as_itself() {
    let bad = "\\u001b]0;x\\u0007\\u009b31m\\r\\n\\u2028\u{9b}\u{202e}\u{2066}\u{61c}\u{7f}";
    let line = format!(
        "{{\"timestamp\": \"2024-01-15T10:30:00Z\", \"level\": \"INFO\", \"logger\": \"{bad}\", \
         \"message\": \"{bad}\", \"correlation_id\": \"{bad}\", \"{bad}\": \"{bad}\", \
         \"source\": {{\"file\": \"{bad}\", \"line\": \"{bad}\", \"function\": \"{bad}\"}}, \
         \"exception\": {{\"type\": \"{bad}\", \"message\": \"{bad}\", \"chain\": [\"{bad}\"]}}, \
         \"extra\": {{\"{bad}\": \"{bad}\", \"o\": {{\"{bad}\": [\"{bad}\"]}}}}}}"
    );
    let out = shown(&line, false);
    assert_eq!(out.matches('\n').count(), 3, "{out}");
    assert!(!out.chars().any(|it| it != '\n' && is_unprintable(it)), "{out:?}");
}
