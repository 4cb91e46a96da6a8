//! What the world knows of the jobs that users submitted: what they want, and what was said to them.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use st_store::{JobId, Limits, ProviderJobId};

/// How a job's run at the provider ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunEnd {
    Succeeds,
    Fails,
    /// The provider ends it, because of a time limit.
    Stopped,
}

/// What is wrong with a job, whenever it is submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Poison {
    /// The provider rejects it.
    Rejected,
    /// The provider answers 403.
    Forbidden,
    /// The provider drops the request and says nothing.
    Lost,
    /// The provider's code panics.
    Panics,
    /// The server's process dies.
    Kills,
}

/// What ends a job that does not run to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EndedBy {
    /// A person rejected it.
    Rejection,
    /// Its approval expired, as the store reported.
    Expiry,
    /// An operator gave it up.
    Operator,
}

/// A job that a user wanted.
#[derive(Debug, Clone)]
pub(crate) struct WantedJob {
    /// Short, for the journal.
    pub(crate) name: String,
    pub(crate) id: JobId,
    pub(crate) user: &'static str,
    /// The index of the provider.
    pub(crate) provider: usize,
    pub(crate) poison: Option<Poison>,
    pub(crate) starts_after: Duration,
    pub(crate) runs_for: Duration,
    pub(crate) ends: RunEnd,
    pub(crate) priority: Option<i64>,
    /// How long it is delayed by its submitter.
    pub(crate) run_after: Option<Duration>,
    /// How long its request for approval stays open, if it needs one.
    pub(crate) approval: Option<Duration>,
    /// When its submission was sent first.
    pub(crate) sent_at: Option<Duration>,
    /// How wrong the machine's clock was then.
    pub(crate) clock_wrong_by: SignedDuration,
    /// When its submission was acknowledged.
    pub(crate) acknowledged_at: Option<Duration>,
    /// When a person first asked to cancel it, whether or not that was acknowledged.
    pub(crate) cancel_asked_at: Option<Duration>,
    /// What people or the store did that ends it, apart from its run.
    pub(crate) ended_by: BTreeSet<EndedBy>,
    /// When the store said that it is over.
    pub(crate) ended_at: Option<Duration>,
    /// As what a person said that it is at its provider.
    pub(crate) kept: Option<ProviderJobId>,
    /// The last claim on it, in the order of claims.
    pub(crate) grant: Option<Grant>,
}

/// A claim that was granted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grant {
    /// Its place in the order of all claims.
    pub(crate) number: u64,
    pub(crate) at: Duration,
    /// The limits that applied.
    pub(crate) limits: Limits,
}

/// The marker-free part of a foreign job in a provider's list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stranger {
    pub(crate) created_at: Timestamp,
    /// When it is to be seen, and when it ends.
    pub(crate) appears_at: Duration,
    pub(crate) ends_at: Duration,
    /// Whether its row can be read.
    pub(crate) readable: bool,
}
