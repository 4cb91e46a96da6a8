//! What can be configured, and how the environment says it.
//!
//! Nothing here reads the environment itself: the variables are handed in.

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

/// What a record has at most, so that Docker, which cuts at 16 KiB, leaves it whole.
const MAX_RECORD_BYTES: usize = 16_000;
/// About ten thousand lines.
const CAPACITY: usize = 4 << 20;

/// How to log. The default is INFO and above as JSON to stdout, each line written at once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Settings {
    /// Which events are logged.
    pub level: Filter,
    /// How a line looks.
    pub format: Format,
    /// Whether lines go to stdout; a program that prints its results there has them in a file only.
    pub stdout: bool,
    /// A file to append to, besides stdout. Its folder must exist.
    pub file: Option<PathBuf>,
    /// Who writes, and when.
    pub writer: Writer,
    /// Whether errors carry the stack they were logged from, as `stack_info`.
    pub include_stack_info: bool,
    /// Whether the fields of `tracing` spans are in `extra` too. Spans of INFO and above are then
    /// kept whatever the level is.
    pub include_span_fields: bool,
    /// Whether records of a scope with a [`TraceContext`](crate::TraceContext) have `trace_id` and
    /// `span_id`.
    pub trace_context: bool,
    /// Whether panics are logged at CRITICAL, before what was the panic hook so far is called.
    pub log_panics: bool,
    /// Whether text on a terminal may be coloured; with a file it never is, as both get the same.
    pub color: bool,
    /// Which fields are secrets.
    pub redaction: Redaction,
    /// How long a record may be, with its newline; what is longer is cut inside its longest texts.
    /// At least 1024.
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

/// Who writes lines, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Writer {
    /// The thread that logs, before its call returns: one write per line and output. What was
    /// logged is safe from the end of the process, however it comes.
    ///
    /// A reader of stdout that does not keep up is waited for, up to 100 ms within any second; what
    /// it still has no room for is dropped and counted.
    #[default]
    Direct,
    /// A thread, many lines at once: WARNING and above at once, others after 20 ms at the latest.
    /// Logging costs less, and the process may take what is not written yet with it.
    Batched {
        /// Bytes that may wait.
        capacity: usize,
        /// What happens to a line for which there is no room.
        overflow: Overflow,
    },
}

impl Writer {
    /// Batched, with 4 MiB, and what does not fit dropped and counted.
    pub const BATCHED: Self = Self::Batched { capacity: CAPACITY, overflow: Overflow::Drop };
}

/// What happens to a line for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// It is dropped at once, and counted.
    Drop,
    /// Whoever logs waits so long at most; then the line is dropped, and counted.
    Wait(Duration),
}

impl Settings {
    /// Reads the three `SIMPLETUNER_LOG_` variables and `NO_COLOR` among `vars`.
    ///
    /// An empty variable counts as not set. Tells all faults, not just the first.
    pub fn from_env<V: Into<OsString>>(
        vars: impl IntoIterator<Item = (String, V)>,
    ) -> Result<Self, Vec<EnvFault>> {
        let mut settings = Self::default();
        let mut faults = Vec::new();
        for (name, given) in vars {
            let given = given.into();
            // A path may be any bytes; of the others, what is not Unicode is not legal either.
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

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One JSON object per line.
    #[default]
    Json,
    /// `2024-01-15 10:30:00 [INFO] logger (correlation ID): message key=value`, in UTC.
    Text,
}

impl Format {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Json, Self::Text];

    /// As it is configured.
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

/// A text that is no [`Format`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("legal are json and text")]
#[non_exhaustive]
pub struct InvalidFormat;

/// A variable of the environment with a value that is not legal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} is {value:?}: {message}")]
#[non_exhaustive]
pub struct EnvFault {
    /// The variable's name.
    pub variable: &'static str,
    /// What it holds.
    pub value: String,
    /// What is legal.
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
        let told: Vec<_> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
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
