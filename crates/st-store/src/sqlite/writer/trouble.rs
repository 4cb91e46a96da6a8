//! Why nothing can be written now, and since when. What begins and ends is logged once.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::error::Error;
use crate::health::StoreHealth;
use crate::sqlite::LOG;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Another program has the database locked. The next write finds out whether it still has.
    Locked,
    /// A file is no longer at its path.
    Detached(PathBuf),
    /// A commit failed, or could not begin. The write-ahead log must be rewritten before anything
    /// is acknowledged: it may hold a commit that was reported as unknown, or lack a page that the
    /// disk reported as written.
    Failing,
}

#[derive(Debug)]
struct Trouble {
    kind: Kind,
    reason: String,
    since: Duration,
    retry_at: Duration,
}

/// Whether the database can be written, for the thread and for the health report.
#[derive(Debug)]
pub(super) struct Condition {
    trouble: Option<Trouble>,
    health: watch::Sender<StoreHealth>,
    /// How long to wait between attempts to recover.
    retry: Duration,
}

impl Condition {
    pub(super) fn new(health: watch::Sender<StoreHealth>, retry: Duration) -> Self {
        Self { trouble: None, health, retry }
    }

    pub(super) fn kind(&self) -> Option<&Kind> {
        self.trouble.as_ref().map(|trouble| &trouble.kind)
    }

    pub(super) fn is_failing(&self) -> bool {
        self.kind() == Some(&Kind::Failing)
    }

    pub(super) fn is_detached(&self) -> bool {
        matches!(self.kind(), Some(Kind::Detached(_)))
    }

    /// When to try again; `None` while all is well.
    pub(super) fn retry_at(&self) -> Option<Duration> {
        self.trouble.as_ref().map(|trouble| trouble.retry_at)
    }

    /// What a caller who cannot wait is answered.
    pub(super) fn refusal(&self) -> Error {
        match &self.trouble {
            Some(Trouble { kind: Kind::Detached(path), .. }) => {
                Error::Detached { path: path.clone() }
            }
            Some(Trouble { kind: Kind::Failing, reason, .. }) => {
                Error::Unavailable { reason: reason.clone() }
            }
            Some(Trouble { kind: Kind::Locked, .. }) | None => Error::Busy,
        }
    }

    /// Commits fail.
    pub(super) fn fail(&mut self, error: &Error, monotonic: Duration, now: Timestamp) {
        let reason = st_log::Chain(error).to_string();
        if !self.is_failing() {
            st_log::error!(logger: LOG, reason, "Database cannot be written");
        }
        self.begin(Kind::Failing, reason, monotonic, now);
    }

    pub(super) fn lock(&mut self, monotonic: Duration, now: Timestamp) {
        if self.kind() != Some(&Kind::Locked) {
            st_log::warning!(logger: LOG, "Another program has the database locked, writes wait for it");
        }
        let reason = "another program has the database locked".to_owned();
        self.begin(Kind::Locked, reason, monotonic, now);
    }

    pub(super) fn detach(
        &mut self,
        path: PathBuf,
        readable_at: &str,
        monotonic: Duration,
        now: Timestamp,
    ) {
        if !self.is_detached() {
            st_log::critical!(logger: LOG,
                path = %path.display(), readable_at,
                "Database file was moved, replaced or deleted while in use, nothing is accepted \
                 any more"
            );
        }
        let error = Error::Detached { path: path.clone() };
        self.begin(Kind::Detached(path), error.to_string(), monotonic, now);
    }

    fn begin(&mut self, kind: Kind, reason: String, monotonic: Duration, now: Timestamp) {
        let same = self.trouble.as_ref().filter(|trouble| trouble.kind == kind);
        let since = same.map_or(monotonic, |trouble| trouble.since);
        let detached = matches!(kind, Kind::Detached(_));
        self.health.send_modify(|health| {
            health.failing_since = health.failing_since.or(Some(now));
            health.writable = Err(reason.clone());
            health.detached = detached;
        });
        let retry_at = monotonic.saturating_add(self.retry);
        self.trouble = Some(Trouble { kind, reason, since, retry_at });
    }

    /// Lets the next attempt wait.
    pub(super) fn postpone(&mut self, monotonic: Duration) {
        if let Some(trouble) = &mut self.trouble {
            trouble.retry_at = monotonic.saturating_add(self.retry);
        }
    }

    /// Writes succeed again, or still.
    pub(super) fn recover(&mut self, monotonic: Duration) {
        let Some(trouble) = self.trouble.take() else { return };
        let seconds = monotonic.saturating_sub(trouble.since).as_secs_f64();
        match trouble.kind {
            Kind::Detached(_) => {
                st_log::info!(logger: LOG, seconds, "Database file is at its place again, writes are accepted");
            }
            Kind::Failing => st_log::info!(logger: LOG, seconds, "Database can be written again"),
            Kind::Locked => {
                st_log::info!(logger: LOG, seconds, "Database is no longer locked by another program");
            }
        }
        self.health.send_modify(|health| {
            health.writable = Ok(());
            health.failing_since = None;
            health.detached = false;
        });
    }

    /// Notes a commit that reached the disk.
    pub(super) fn committed(&self, now: Timestamp) {
        self.health.send_modify(|health| health.last_commit_at = Some(now));
    }

    /// Notes whether the write-ahead log could be copied into the database.
    pub(super) fn checkpointed(&self, result: Result<(), &Error>) {
        let result = result.map_err(|error| st_log::Chain(error).to_string());
        let failed_before = self.health.borrow().checkpoint.is_err();
        match &result {
            Err(reason) if !failed_before => st_log::warning!(logger: LOG,
                reason,
                "Write-ahead log cannot be copied into the database and grows"
            ),
            Ok(()) if failed_before => {
                st_log::info!(logger: LOG, "Write-ahead log can be copied into the database again");
            }
            Ok(()) | Err(_) => {}
        }
        self.health.send_if_modified(|health| {
            let changed = health.checkpoint != result;
            health.checkpoint = result;
            changed
        });
    }
}
