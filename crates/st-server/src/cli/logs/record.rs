//! A line of the log, read back.
//!
//! Promises: a line is a record when it is a JSON object with a time, a level, a logger and a
//! message; nothing else is demanded, so that the lines of older and newer versions are records
//! too. A member that is not known is kept. Leaves out: checking what the values mean.

use std::borrow::Cow;

use jiff::Timestamp;
use st_log::Level;

use super::json::{Object, elements, string};

/// What a record says.
#[derive(Debug)]
pub(super) struct Record<'a> {
    pub(super) at: Timestamp,
    pub(super) level: Level,
    pub(super) logger: Cow<'a, str>,
    pub(super) message: Cow<'a, str>,
    pub(super) correlation_id: Option<Cow<'a, str>>,
    pub(super) source: Option<Source<'a>>,
    pub(super) exception: Option<Exception<'a>>,
    pub(super) stack: Option<Cow<'a, str>>,
    pub(super) extra: Option<Object<'a>>,
    /// Members that are none of the above, or not in the form they should have.
    pub(super) others: Vec<(Cow<'a, str>, &'a str)>,
}

/// Where a record came from.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Source<'a> {
    pub(super) file: Cow<'a, str>,
    pub(super) line: &'a str,
    pub(super) function: Cow<'a, str>,
}

/// The error that a record tells.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Exception<'a> {
    pub(super) kind: Cow<'a, str>,
    pub(super) message: Cow<'a, str>,
    /// The causes, nearest first.
    pub(super) chain: Vec<Cow<'a, str>>,
}

impl<'a> Record<'a> {
    /// None when the line is no record.
    pub(super) fn read(line: &'a str) -> Option<Self> {
        let (mut at, mut level, mut logger, mut message) = (None, None, None, None);
        let (mut correlation_id, mut stack, mut extra) = (None, None, None);
        let (mut source, mut exception, mut others) = (None, None, Vec::new());
        for (key, value) in Object::read(line)?.members() {
            let known = match key.as_ref() {
                "timestamp" => set(&mut at, string(value)?.parse().ok()),
                "level" => set(&mut level, read_level(&string(value)?)),
                "logger" => set(&mut logger, string(value)),
                "message" => set(&mut message, string(value)),
                "correlation_id" => set(&mut correlation_id, string(value)),
                "source" => set(&mut source, Object::of(value).map(Source::read)),
                "exception" => set(&mut exception, Object::of(value).map(Exception::read)),
                "stack_info" => set(&mut stack, string(value)),
                "extra" => set(&mut extra, Object::of(value)),
                _ => false,
            };
            if !known && value != "null" {
                others.push((key, value));
            }
        }
        Some(Self {
            at: at?,
            level: level?,
            logger: logger?,
            message: message?,
            correlation_id,
            source,
            exception,
            stack,
            extra,
            others,
        })
    }

    /// What stands in `extra`, then what is not known, in their order.
    pub(super) fn fields(&self) -> impl Iterator<Item = (Cow<'a, str>, &'a str)> {
        let others = self.others.iter().cloned();
        self.extra.into_iter().flat_map(Object::members).chain(others)
    }
}

impl<'a> Source<'a> {
    fn read(object: Object<'a>) -> Self {
        let mut source = Self::default();
        for (key, value) in object.members() {
            match key.as_ref() {
                "file" => source.file = words(value),
                "line" => source.line = value,
                "function" => source.function = words(value),
                _ => {}
            }
        }
        source
    }
}

impl<'a> Exception<'a> {
    fn read(object: Object<'a>) -> Self {
        let mut exception = Self::default();
        for (key, value) in object.members() {
            match key.as_ref() {
                "type" => exception.kind = words(value),
                "message" => exception.message = words(value),
                "chain" => exception.chain = elements(value).map(words).collect(),
                _ => {}
            }
        }
        exception
    }
}

/// Whether there was something to set.
fn set<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let is_some = value.is_some();
    *place = value;
    is_some
}

/// What a string says, and anything else as it stands.
fn words(value: &str) -> Cow<'_, str> {
    string(value).unwrap_or(Cow::Borrowed(value))
}

fn read_level(text: &str) -> Option<Level> {
    let exact = Level::ALL.into_iter().find(|level| level.as_str() == text);
    exact.or_else(|| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use st_log::Level;

    use super::{Exception, Record, Source};

    const FULL: &str = r#"{"timestamp": "2024-01-15T10:30:00.000Z", "level": "ERROR", "logger": "simpletuner.cloud.jobs", "message": "Failed to sync job X", "correlation_id": "abc123def456", "trace_id": "4bf9", "source": {"file": "submit.rs", "line": 350, "function": "submit_job"}, "exception": {"type": "Timeout", "message": "no answer", "chain": ["read", "reset"]}, "stack_info": "a\nb", "extra": {"z": 2.50, "job_id": "xyz789"}}"#;

    #[test]
    fn all_parts_of_a_record_are_read() {
        let record = Record::read(FULL).unwrap();
        assert_eq!(record.at.to_string(), "2024-01-15T10:30:00Z");
        assert_eq!(record.level, Level::Error);
        assert_eq!(record.logger, "simpletuner.cloud.jobs");
        assert_eq!(record.message, "Failed to sync job X");
        assert_eq!(record.correlation_id.as_deref(), Some("abc123def456"));
        assert_eq!(record.stack.as_deref(), Some("a\nb"));
        let source =
            Source { file: "submit.rs".into(), line: "350", function: "submit_job".into() };
        assert_eq!(record.source, Some(source));
        let exception = Exception {
            kind: "Timeout".into(),
            message: "no answer".into(),
            chain: vec!["read".into(), "reset".into()],
        };
        assert_eq!(record.exception, Some(exception));
        let fields: Vec<_> = record.fields().collect();
        assert_eq!(
            fields,
            [
                ("z".into(), "2.50"),
                ("job_id".into(), "\"xyz789\""),
                ("trace_id".into(), "\"4bf9\"")
            ]
        );
    }

    #[test]
    fn a_record_needs_time_level_logger_and_message() {
        let least = r#"{"timestamp": "2024-01-15T10:30:00Z", "level": "WARN", "logger": "a", "message": ""}"#;
        assert_eq!(Record::read(least).unwrap().level, Level::Warning);
        for part in ["2024-01-15T10:30:00Z", "WARN", "\"a\"", "\"\""] {
            assert!(Record::read(&least.replace(part, "5")).is_none(), "{part}");
        }
        for key in ["timestamp", "level", "logger", "message"] {
            assert!(Record::read(&least.replace(key, "other")).is_none(), "{key}");
        }
        for cut in 0..FULL.len() {
            assert!(Record::read(FULL.split_at(cut).0).is_none(), "{cut}");
        }
    }

    #[test]
    fn a_part_of_another_form_is_kept_as_a_field() {
        let strange =
            FULL.replace(r#""extra": {"z": 2.50, "job_id": "xyz789"}"#, r#""extra": [1]"#);
        let strange = strange.replace("\"a\\nb\"", "null").replace("\"abc123def456\"", "7");
        let record = Record::read(&strange).unwrap();
        let fields: Vec<_> = record.fields().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(fields, ["correlation_id=7", "trace_id=\"4bf9\"", "extra=[1]"]);
        assert_eq!((record.correlation_id, record.stack), (None, None));
    }
}
