//! Where a job's log is and how its lines are read.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::call::Call;
use super::pointer::{Pointer, scalar};
use super::reading::TimeAt;
use super::section::{Faults, Place, Section};
use super::units;
use super::values::{JOB, Scope, TAKEN};

/// Of a log so many bytes are kept; its end says what happened.
pub(super) const LONGEST_LOG: usize = 1024 * 1024;
/// How long a stream of events without an end may be silent before what came is the log.
const IDLE: Duration = Duration::from_secs(5);

/// How a log is fetched.
#[derive(Debug, Clone)]
pub(super) struct Logs {
    pub(super) from: From,
    pub(super) form: Form,
}

#[derive(Debug, Clone)]
pub(super) enum From {
    /// It is part of the answer to a status.
    Status,
    Call(Call),
    /// A first call finds a name that the second one needs.
    Found(Box<Found>),
}

/// Two calls for one log.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) first: Call,
    /// Where in the first answer the name is.
    pub(super) take: Pointer,
    pub(super) call: Call,
}

/// What comes.
#[derive(Debug, Clone)]
pub(super) enum Form {
    Text,
    Rows { rows: Pointer, line: Line, newest_first: bool },
    Events { idle: Duration, line: Line },
}

/// How one line is read out of a row or an event.
#[derive(Debug, Clone)]
pub(super) struct Line {
    text: Pointer,
    time: Option<TimeAt>,
    is_base64: bool,
}

impl Logs {
    pub(super) fn read<'v>(
        place: &Place<'v>,
        faults: &mut Faults,
        vars: &'v serde_json::Map<String, Value>,
    ) -> Option<Self> {
        let mut section = place.section(faults)?;
        let form = section.require("as", Form::read);
        let from = if section.has("from") {
            section.read("from", |place, faults| place.word(faults, &[("status", ())]));
            Some(From::Status)
        } else if section.has("first") {
            let first = section.read("first", |place, faults| {
                let mut section = place.section(faults)?;
                let call = Call::from(&mut section, &Scope::new(JOB, vars));
                let take = section.require("take", Pointer::read);
                section.finish();
                call.zip(take)
            });
            let call = Call::from(&mut section, &Scope::new(TAKEN, vars));
            first
                .zip(call)
                .map(|((first, take), call)| From::Found(Box::new(Found { first, take, call })))
        } else {
            Call::from(&mut section, &Scope::new(JOB, vars)).map(From::Call)
        };
        let call = match &from {
            Some(From::Call(call)) => Some(call),
            Some(From::Found(found)) => Some(&found.call),
            Some(From::Status) | None => None,
        };
        if call.is_some_and(|call| !call.is_reading()) {
            section.fault_here("logs must be a get, or say reads: true");
        }
        section.finish();
        Some(Self { from: from?, form: form? })
    }
}

impl Form {
    fn read(place: &Place<'_>, faults: &mut Faults) -> Option<Self> {
        if place.value.is_string() {
            return place.word(faults, &[("text", ())]).map(|()| Self::Text);
        }
        let mut section = place.section(faults)?;
        let rows = section.read("rows", Pointer::read);
        let sse = section.read("sse", Place::boolean).unwrap_or(false);
        let line = Line::from(&mut section);
        let order = section.read("order", |place, faults| {
            place.word(faults, &[("newest_first", true), ("oldest_first", false)])
        });
        let idle = section.read("idle", |place, faults| place.parsed(faults, units::duration));
        let read = match (rows, sse) {
            (Some(rows), false) => {
                if idle.is_some() {
                    section.fault("idle", "belongs to sse");
                }
                let newest_first = order.unwrap_or(false);
                line.map(|line| Self::Rows { rows, line, newest_first })
            }
            (None, true) => line.map(|line| Self::Events { idle: idle.unwrap_or(IDLE), line }),
            (Some(_), true) | (None, false) => {
                section.fault_here("needs either rows or sse: true, or is the word text");
                None
            }
        };
        section.finish();
        read
    }
}

impl Line {
    fn from(section: &mut Section<'_, '_>) -> Option<Self> {
        let text = section.require("text", Pointer::read);
        let time = section.read("time", TimeAt::read);
        let encoding = section.read("encoding", |place, faults| {
            place.word(faults, &[("base64", true), ("plain", false)])
        });
        Some(Self { text: text?, time, is_base64: encoding.unwrap_or(false) })
    }

    /// The line in a row, with a line break; `None` where it has none.
    pub(super) fn get(&self, row: &Value) -> Option<String> {
        let found = self.text.get(row)?;
        let mut text = scalar(found).unwrap_or_else(|| found.to_string());
        if self.is_base64 {
            // What is no base64 is shown as it came.
            let bytes = STANDARD.decode(text.trim()).ok();
            let decoded = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            text = decoded.unwrap_or(text);
        }
        let text = text.trim_end_matches(['\r', '\n']);
        Some(match self.time.as_ref().and_then(|time| time.get(row)) {
            Some(time) => format!("{time:.3} {text}\n"),
            None => format!("{text}\n"),
        })
    }
}

impl Form {
    /// The log in an answer that is JSON. `None` where it does not have the form.
    pub(super) fn in_rows(&self, answer: &Value) -> Option<String> {
        let Self::Rows { rows, line, newest_first } = self else { return None };
        let Some(rows) = rows.get(answer) else { return Some(String::new()) };
        let lines = rows.as_array()?.iter().filter_map(|row| line.get(row));
        let mut lines: Vec<String> = lines.collect();
        if *newest_first {
            lines.reverse();
        }
        Some(end_of(lines.concat()))
    }
}

/// The last bytes of a log, from the beginning of a line where there is one.
pub(super) fn end_of(log: String) -> String {
    let Some(cut) = log.len().checked_sub(LONGEST_LOG).filter(|cut| *cut > 0) else { return log };
    let at = (cut..=log.len()).find(|at| log.is_char_boundary(*at)).unwrap_or(log.len());
    let end = log.get(at..).unwrap_or_default();
    end.split_once('\n').map_or(end, |(_, rest)| rest).to_owned()
}

/// The lines of a stream of server-sent events, while it arrives.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// Of a line that is not complete yet.
    pending: Vec<u8>,
    pub(super) log: String,
}

/// A line of a stream that is longer is cut.
const LONGEST_EVENT: usize = 64 * 1024;

impl Events {
    /// Reads the next bytes. Returns whether any of them was a line of the log.
    pub(super) fn feed(&mut self, bytes: &[u8], line: &Line) -> bool {
        let before = self.log.len();
        for byte in bytes {
            if *byte != b'\n' {
                if self.pending.len() < LONGEST_EVENT {
                    self.pending.push(*byte);
                }
                continue;
            }
            let text = String::from_utf8_lossy(&self.pending).into_owned();
            self.pending.clear();
            let Some(data) = text.trim_end_matches('\r').strip_prefix("data:") else { continue };
            let data = data.trim_start();
            match serde_json::from_str::<Value>(data) {
                Ok(event) => self.log.extend(line.get(&event)),
                // Not JSON: the line itself.
                Err(_plain) => self.log.extend([data, "\n"]),
            }
        }
        let grew = self.log.len() > before;
        if self.log.len() > 2 * LONGEST_LOG {
            self.log = end_of(std::mem::take(&mut self.log));
        }
        grew
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn form(value: &Value) -> Result<Form, String> {
        let mut faults = Faults::default();
        let read = Form::read(&Place { value, pointer: String::new() }, &mut faults);
        match faults.0.first() {
            None => Ok(read.unwrap()),
            Some(fault) => Err(format!("{}: {}", fault.pointer, fault.message)),
        }
    }

    #[test]
    fn rows_are_lines_with_their_times_oldest_first() {
        let time = json!({"at": "/at", "as": "epoch_s"});
        let form = json!({"rows": "/data", "text": "/m", "time": time, "order": "newest_first"});
        let answer = json!({"data": [
            {"at": 1_795_683_601, "m": "two\n"}, {"at": 1_795_683_600, "m": "one"}, {"x": 1},
        ]});
        let log = self::form(&form).unwrap().in_rows(&answer).unwrap();
        assert_eq!(log, "2026-11-26T09:00:00.000Z one\n2026-11-26T09:00:01.000Z two\n");
        let encoded = json!({"rows": "/data", "text": "/m", "encoding": "base64"});
        let answer = json!({"data": [{"m": "aGk="}, {"m": "not base64!"}]});
        assert_eq!(self::form(&encoded).unwrap().in_rows(&answer).unwrap(), "hi\nnot base64!\n");
    }

    #[test]
    fn events_are_lines_however_they_are_cut() {
        let Form::Events { line, idle } =
            form(&json!({"sse": true, "text": "/data", "idle": "2s"})).unwrap()
        else {
            panic!("no events")
        };
        assert_eq!(idle, Duration::from_secs(2));
        let stream = b": keep-alive\n\ndata: {\"data\":\"step 1\"}\r\n\ndata:plain\nevent: x\n";
        for size in 1..stream.len() {
            let mut events = Events::default();
            for chunk in stream.chunks(size) {
                events.feed(chunk, &line);
            }
            assert_eq!(events.log, "step 1\nplain\n", "in pieces of {size}");
        }
        assert!(!Events::default().feed(b": keep-alive\n\n", &line), "no line of the log");
    }

    #[test]
    fn of_a_long_log_the_end_is_kept_from_the_beginning_of_a_line() {
        let log = "ä line of the log\n".repeat(100_000);
        let end = end_of(log.clone());
        assert!(end.len() <= LONGEST_LOG && log.ends_with(&end) && end.starts_with('ä'));
        assert_eq!(end_of("short".to_owned()), "short");
    }

    #[test]
    fn a_log_has_one_form() {
        for (value, said) in [
            (json!("txt"), ": \"txt\" is not legal, expected text"),
            (json!({"text": "/m"}), ": needs either rows or sse: true"),
            (json!({"rows": "/r", "sse": true, "text": "/m"}), ": needs either"),
            (json!({"rows": "/r"}), "/text: is required"),
            (json!({"rows": "/r", "text": "/m", "idle": "1s"}), "/idle: belongs to sse"),
        ] {
            let error = form(&value).unwrap_err();
            assert!(error.starts_with(said), "{value}: {error}");
        }
    }
}
