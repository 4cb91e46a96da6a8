//! What a check found.

use std::fmt;

/// What was checked. The words are those of the JSON, and do not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// The configuration is legal, and nothing in it is dangerous.
    Configuration,
    /// The programs of local jobs can be run.
    LocalCommands,
    /// Who reaches the server needs a key, unless that is only this machine.
    Access,
    /// The state directory can be written.
    StateDir,
    /// There is room on its disk.
    DiskSpace,
    /// Secrets are readable by the server's user alone.
    Secrets,
    /// The database can be read and written, and its schema is known.
    Database,
    /// The log is JSON.
    LogFormat,
    /// The log file can be written.
    LogFile,
    /// Its records have their fields.
    LogRecords,
    /// A server answers, of this version.
    Server,
    /// Each of its parts works.
    Health,
    /// A request keeps its correlation ID, to the answer and to the log.
    Correlation,
    /// Whether providers are polled, and why.
    Polling,
    /// The queue is processed, and what holds it.
    Queue,
    /// A provider is reached and accepts the credential.
    Provider,
    /// The clock agrees with that of a provider.
    Clock,
}

impl Subject {
    /// The word for it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::LocalCommands => "local_commands",
            Self::Access => "access",
            Self::StateDir => "state_dir",
            Self::DiskSpace => "disk_space",
            Self::Secrets => "secrets",
            Self::Database => "database",
            Self::LogFormat => "log_format",
            Self::LogFile => "log_file",
            Self::LogRecords => "log_records",
            Self::Server => "server",
            Self::Health => "health",
            Self::Correlation => "correlation",
            Self::Polling => "polling",
            Self::Queue => "queue",
            Self::Provider => "provider",
            Self::Clock => "clock",
        }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Something works less well than it could, or will stop working.
    Warning,
    /// Something does not work.
    Failed,
}

impl Level {
    /// The word for it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How it was judged. What is wrong comes with what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warning { remedy: String },
    Failed { remedy: String },
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) subject: Subject,
    /// In words.
    pub(super) found: String,
    verdict: Verdict,
}

impl Finding {
    pub(super) fn ok(subject: Subject, found: impl Into<String>) -> Self {
        Self { subject, found: found.into(), verdict: Verdict::Ok }
    }

    pub(super) fn warning(
        subject: Subject,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let verdict = Verdict::Warning { remedy: remedy.into() };
        Self { subject, found: found.into(), verdict }
    }

    pub(super) fn failed(
        subject: Subject,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let verdict = Verdict::Failed { remedy: remedy.into() };
        Self { subject, found: found.into(), verdict }
    }

    pub(super) const fn level(&self) -> Level {
        match self.verdict {
            Verdict::Ok => Level::Ok,
            Verdict::Warning { .. } => Level::Warning,
            Verdict::Failed { .. } => Level::Failed,
        }
    }

    /// What to do about it; `None` where nothing is wrong.
    pub(super) fn remedy(&self) -> Option<&str> {
        match &self.verdict {
            Verdict::Ok => None,
            Verdict::Warning { remedy } | Verdict::Failed { remedy } => Some(remedy),
        }
    }

    /// The same with its texts changed by `hide`.
    pub(super) fn hiding(self, hide: impl Fn(&str) -> String) -> Self {
        let verdict = match self.verdict {
            Verdict::Ok => Verdict::Ok,
            Verdict::Warning { remedy } => Verdict::Warning { remedy: hide(&remedy) },
            Verdict::Failed { remedy } => Verdict::Failed { remedy: hide(&remedy) },
        };
        Self { subject: self.subject, found: hide(&self.found), verdict }
    }
}
