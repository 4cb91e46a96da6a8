//! The settings of the logger, and how to read them from environment variables.
//!
//! The variables are passed in; nothing here reads the process environment.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::filter::Filter;
use crate::redact::Redaction;

const LEVEL: &str = "SIMPLETUNER_LOG_LEVEL";
const FORMAT: &str = "SIMPLETUNER_LOG_FORMAT";
const FILE: &str = "SIMPLETUNER_LOG_FILE";
const NO_COLOR: &str = "NO_COLOR";

/// The default limit of a record, below the 16 KiB at which Docker splits lines.
const MAX_RECORD_BYTES: usize = 16_000;
/// The default capacity of the buffer in bytes; room for about ten thousand lines.
const CAPACITY: usize = 4 << 20;

/// The settings of the logger. By default, INFO and above is logged as JSON to stdout, and each
/// line is written before the call returns.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent setting")]
pub struct Settings {
    /// Which events are logged. Default: INFO and above.
    pub level: Filter,
    /// The format of a line. Default: JSON.
    pub format: Format,
    /// Whether lines are written to stdout; on by default. Programs that print results there can
    /// turn it off and log to a file only.
    pub stdout: bool,
    /// A file to append to, in addition to stdout. Its directory must exist. Default: none.
    pub file: Option<PathBuf>,
    /// Which thread writes the lines. Default: the one that logs.
    pub writer: Writer,
    /// Whether records of ERROR and above have the stack trace of the log call in `stack_info`. Off
    /// by default.
    pub include_stack_info: bool,
    /// Whether the fields of `tracing` spans are in `extra` too. Spans of INFO and above are then
    /// enabled regardless of the filter. Off by default.
    pub include_span_fields: bool,
    /// Whether records of a scope with a [`TraceContext`](crate::TraceContext) have `trace_id` and
    /// `span_id`. Off by default.
    pub trace_context: bool,
    /// Whether panics are logged at CRITICAL, before the previous panic hook runs. Off by default.
    pub log_panics: bool,
    /// Whether the text format may be coloured on a terminal; on by default. It is never coloured
    /// if there is a file, because both outputs receive the same lines.
    pub color: bool,
    /// Which fields are secrets, by their keys.
    pub redaction: Redaction,
    /// The maximum length of a record in bytes, with its newline; longer records are truncated
    /// inside their longest texts. Default: 16,000. Values below 1024 count as 1024.
    pub max_record_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            level: Filter::default(),
            format: Format::default(),
            stdout: true,
            file: None,
            writer: Writer::default(),
            include_stack_info: false,
            include_span_fields: false,
            trace_context: false,
            log_panics: false,
            color: true,
            redaction: Redaction::default(),
            max_record_bytes: MAX_RECORD_BYTES,
        }
    }
}

/// Which thread writes the lines, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Writer {
    /// The thread that logs writes each line before its call returns, with one write per output. No
    /// line is lost when the process ends, even if it is killed.
    ///
    /// If a reader of stdout does not keep up, the call blocks for up to 100 ms within any second;
    /// then lines are dropped and counted.
    #[default]
    Direct,
    /// A background thread writes lines in batches: WARNING and above immediately, others within
    /// 20 ms. Logging costs less, but lines that are not yet written are lost if the process is
    /// killed.
    Batched {
        /// The capacity of the buffer in bytes.
        capacity: usize,
        /// What happens to a line when the buffer is full.
        overflow: Overflow,
    },
}

impl Writer {
    /// [`Writer::Batched`] with a buffer of 4 MiB and [`Overflow::Drop`].
    pub const BATCHED: Self = Self::Batched { capacity: CAPACITY, overflow: Overflow::Drop };
}

/// What happens to a line when the buffer of [`Writer::Batched`] is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// The line is dropped and counted.
    Drop,
    /// The call blocks for up to this time; then the line is dropped and counted.
    Wait(Duration),
}

impl Settings {
    /// Reads the three `SIMPLETUNER_LOG_` variables and `NO_COLOR` among `vars`.
    ///
    /// Empty variables are ignored. Returns all invalid variables, not only the first.
    pub fn from_env<V: Into<OsString>>(
        vars: impl IntoIterator<Item = (String, V)>,
    ) -> Result<Self, Vec<EnvFault>> {
        let mut settings = Self::default();
        let mut faults = Vec::new();
        for (name, given) in vars {
            let given = given.into();
            // A path may be any bytes; the other values are invalid if they are not Unicode.
            let value = given.to_string_lossy();
            if value.trim().is_empty() {
                continue;
            }
            let read = match name.as_str() {
                LEVEL => read(LEVEL, &value).map(|level| settings.level = level),
                FORMAT => read(FORMAT, &value).map(|format| settings.format = format),
                FILE => {
                    settings.file = Some(PathBuf::from(&given));
                    Ok(())
                }
                NO_COLOR => {
                    settings.color = false;
                    Ok(())
                }
                _ => Ok(()),
            };
            faults.extend(read.err());
        }
        if faults.is_empty() { Ok(settings) } else { Err(faults) }
    }
}

fn read<T: FromStr<Err: fmt::Display>>(variable: &'static str, value: &str) -> Result<T, EnvFault> {
    value.trim().parse().map_err(|legal: T::Err| EnvFault {
        variable,
        value: value.to_owned(),
        message: legal.to_string(),
    })
}

/// The format of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One JSON object per line.
    #[default]
    Json,
    /// `2024-01-15 10:30:00 [INFO] logger (correlation ID): message key=value`, in UTC.
    Text,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 2] = [Self::Json, Self::Text];

    /// The name in the configuration, in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Format {
    type Err = InvalidFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|it| it.as_str().eq_ignore_ascii_case(text));
        known.ok_or(InvalidFormat)
    }
}

/// The error for a text that is not a [`Format`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("legal are json and text")]
#[non_exhaustive]
pub struct InvalidFormat;

/// An environment variable with an invalid value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} is {value:?}: {message}")]
#[non_exhaustive]
pub struct EnvFault {
    /// The name of the variable.
    pub variable: &'static str,
    /// Its value; invalid Unicode is replaced.
    pub value: String,
    /// Which values are valid.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level::Level;

    fn from(vars: &[(&str, &str)]) -> Result<Settings, Vec<EnvFault>> {
        let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::from_env(vars)
    }

    #[test]
    fn nothing_set_is_the_default() {
        let empty = [(LEVEL, ""), (FORMAT, " "), (FILE, ""), (NO_COLOR, ""), ("OTHER", "x")];
        assert_eq!(from(&[]).unwrap(), Settings::default());
        assert_eq!(from(&empty).unwrap(), Settings::default());
    }

    #[test]
    fn every_variable_is_read() {
        let vars = [
            (LEVEL, " warn,simpletuner.cloud.queue=Debug,hyper=FATAL"),
            (FORMAT, "TEXT"),
            (FILE, "/var/log/simpletuner/cloud.log"),
            (NO_COLOR, "1"),
        ];
        let expected = Settings {
            level: Filter::new(Level::Warning)
                .with("simpletuner.cloud.queue", Level::Debug)
                .with("hyper", Level::Critical),
            format: Format::Text,
            file: Some("/var/log/simpletuner/cloud.log".into()),
            color: false,
            ..Settings::default()
        };
        assert_eq!(from(&vars).unwrap(), expected);
    }

    #[test]
    fn all_faults_are_told_at_once_with_what_is_legal() {
        let faults = from(&[(FORMAT, "xml\n"), (LEVEL, "LOUD"), (FILE, "x")]).unwrap_err();
        let messages: Vec<_> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "SIMPLETUNER_LOG_FORMAT is \"xml\\n\": legal are json and text",
                "SIMPLETUNER_LOG_LEVEL is \"LOUD\": legal are DEBUG, INFO, WARNING, ERROR and \
                 CRITICAL, also for single loggers, as in INFO,simpletuner.cloud.queue=DEBUG",
            ]
        );
    }

    #[test]
    fn a_filter_must_make_sense_as_a_whole() {
        for text in ["INFO,", "INFO,DEBUG", "=DEBUG", "a b=DEBUG", "a=", "a=LOUD", "INFO;a=DEBUG"] {
            let faults = from(&[(LEVEL, text)]).unwrap_err();
            assert_eq!(faults.len(), 1, "{text}");
        }
    }
}
