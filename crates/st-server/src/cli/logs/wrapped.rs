//! The record of a line that another program has put something around.
//!
//! Promises: a record is found behind a prefix, as docker compose, kubectl, CRI and journald print
//! one, and in a JSON line that holds the text, as Docker's json-file does; a line is read a few
//! times at most, whatever is in it; the piece of another record or message on the same line, which a
//! crash leaves, is given back. Leaves out: what the other program says, and a record that it has split
//! over several lines.

use super::json::{Object, string};
use super::record::Record;

/// At how many braces a record is looked for. A prefix can have some itself, as the labels of
/// logcli; without a limit, a line of nothing but braces would be read once for each.
const BRACES: usize = 8;

/// Under which keys others keep the line: Docker's json-file, journald and Loki.
const TEXTS: [&str; 3] = ["log", "MESSAGE", "line"];

/// A record that was found in a line.
pub(super) struct Found<'a> {
    pub(super) record: Record<'a>,
    /// What is before it and no program puts there: a piece that was written without an end of its line.
    pub(super) torn: Option<&'a str>,
}

/// None when there is no record in the line. `room` holds the text of one that was within JSON.
pub(super) fn read<'a>(line: &'a str, room: &'a mut String) -> Option<Found<'a>> {
    if let Some(found) = behind_a_prefix(line) {
        return Some(found);
    }
    *room = held_text(line)?;
    behind_a_prefix(room)
}

/// A record ends with its line, so that one that is a part of something else is none.
fn behind_a_prefix(line: &str) -> Option<Found<'_>> {
    let mut braces = line.match_indices('{').take(BRACES);
    braces.find_map(|(at, _)| {
        let (before, record) = line.split_at_checked(at)?;
        Some(Found { record: Record::read(record)?, torn: is_torn(before).then_some(before) })
    })
}

/// Prefixes end with a space, coloured or not, and begin as no record does.
fn is_torn(before: &str) -> bool {
    let plain = before.strip_suffix("\u{1b}[0m").unwrap_or(before);
    !before.trim().is_empty() && (!plain.ends_with([' ', '\t']) || before.starts_with('{'))
}

fn held_text(line: &str) -> Option<String> {
    let mut members = Object::read(line)?.members();
    let (_, text) = members.find(|(key, _)| TEXTS.contains(&key.as_ref()))?;
    string(text).map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::{BRACES, read};

    const RECORD: &str = r#"{"timestamp": "2026-01-15T10:30:00.000Z", "level": "ERROR", "logger": "simpletuner.cloud.jobs", "message": "a {\"b\": {}} \\ c", "extra": {"job_id": "xyz789"}}"#;

    /// The message and the fields of the record that was found.
    fn found(line: &str) -> Option<(String, Vec<String>)> {
        let mut room = String::new();
        let record = read(line, &mut room)?.record;
        let fields = record.fields().map(|(key, value)| format!("{key}={value}")).collect();
        Some((record.message.to_string(), fields))
    }

    fn whole() -> (String, Vec<String>) {
        (r#"a {"b": {}} \ c"#.to_owned(), vec![r#"job_id="xyz789""#.to_owned()])
    }

    #[test]
    fn a_record_is_found_behind_the_prefixes_of_common_programs() {
        for prefix in [
            "",
            " ",
            "st-server-1  | ",
            "st-server-1  | 2026-01-15T10:30:00.000000000Z ",
            "\u{1b}[36mst-server-1  | \u{1b}[0m",
            "2026-01-15T10:30:00.000000000Z ",
            "[pod/st-server-5d4f/st-server] ",
            "2026-01-15T10:30:00.000000000Z stdout F ",
            "Nov 27 22:00:00 host st-server[1]: ",
            r#"2026-01-15T10:30:00Z {job="simpletuner", pod="{a}"} "#,
            r#"{"timestamp": "2026-01-15T10:30:00.000Z", "level": "INFO", "extra": {"torn"#,
        ] {
            assert_eq!(found(&format!("{prefix}{RECORD}")), Some(whole()), "{prefix}");
            assert_eq!(found(&format!("{prefix}{RECORD} \r")), Some(whole()), "{prefix}");
        }
    }

    #[test]
    fn a_piece_before_a_record_is_given_back_and_a_prefix_is_not() {
        let torn = |before: &str| {
            let (line, mut room) = (format!("{before}{RECORD}"), String::new());
            read(&line, &mut room).unwrap().torn.map(str::to_owned)
        };
        for piece in [
            r#"{"timestamp": "2026-01-15T10:30:00.000Z", "level": "CRITICAL", "message": "Database is dam"#,
            r#"{"timestamp": "2026-01-15T10:30:00.000Z", "level": "CRITICAL", "message": "#,
            "thread main panicked at x.rs:1: index out of bounds",
        ] {
            assert_eq!(torn(piece).as_deref(), Some(piece));
        }
        for prefix in ["", " ", "st-server-1  | ", "\u{1b}[36mst-server-1  | \u{1b}[0m", "x[1]: "] {
            assert_eq!(torn(prefix), None, "{prefix}");
        }
    }

    #[test]
    fn a_record_is_found_in_the_text_of_a_json_line() {
        for end in ["", "\n", "\r\n"] {
            let text = serde_json::to_string(&format!("{RECORD}{end}")).unwrap();
            for line in [
                format!(r#"{{"log":{text},"stream":"stdout","time":"2026-01-15T10:30:00Z"}}"#),
                format!(r#"{{"stream": "stdout", "attrs": {{"tag": "a"}}, "log": {text}}}"#),
                format!(r#"{{"PRIORITY":"6","MESSAGE":{text},"_PID":"1"}}"#),
                format!(r#"{{"labels":{{"job":"simpletuner"}},"line":{text},"timestamp":"x"}}"#),
            ] {
                assert_eq!(found(&line), Some(whole()), "{line}");
            }
        }
    }

    #[test]
    fn a_part_of_something_else_is_no_record() {
        let text = serde_json::to_string(RECORD).unwrap();
        for line in [
            format!("[{RECORD}]"),
            format!(r#"{{"nested": {RECORD}}}"#),
            format!("{RECORD} and more"),
            format!(r#"{{"other": {text}}}"#),
            format!(r#"{{"log": {RECORD}}}"#),
            format!(r#"{{"log": {text}"#),
            r#"st-server-1  | {"level": "ERROR", "message": "m"}"#.to_owned(),
            r#"{"log": "thread 'main' panicked\n"}"#.to_owned(),
        ] {
            assert_eq!(found(&line), None, "{line}");
        }
    }

    #[test]
    fn a_line_of_braces_is_read_only_a_few_times() {
        let behind = |braces: usize| found(&format!("{}{RECORD}", "{".repeat(braces)));
        assert_eq!(behind(BRACES - 1), Some(whole()));
        assert_eq!(behind(BRACES), None);
        let text = serde_json::to_string(&format!("{}{RECORD}", "{".repeat(BRACES))).unwrap();
        assert_eq!(found(&format!(r#"{{"log": {text}}}"#)), None);
    }
}
