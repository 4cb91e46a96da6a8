//! Why a call to a provider failed, by what follows from it.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use st_log::Chain;

/// A provider that asks to be left alone for longer is asked again after this time.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);

/// Why a provider does not serve us at the moment. It is no fault of the job that met it.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Unavailable {
    /// What follows from it.
    pub cause: Cause,
    /// What the provider said, or what went wrong; names the provider.
    pub reason: String,
    /// How long the provider wants to be left alone, where it says so.
    pub retry_after: Option<Duration>,
    /// The error of the layer below, where there is one.
    #[source]
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kinds of [`Unavailable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// There was no connection; nothing was written.
    Unreachable,
    /// It does not accept our credentials (401, 407), or there are none.
    Credentials,
    /// It does not allow the account what was asked for (402, 403).
    Account,
    /// It wants to be asked less often (429).
    Throttled,
    /// Anything else: an error of its own, a redirect, an answer that cannot be read, silence. For
    /// a question, also one that had to be answered before the submission; a submission that itself
    /// ends like this is [`SubmitError::Unknown`].
    Trouble,
}

impl Unavailable {
    /// Without a time to wait and without a source.
    pub fn new(cause: Cause, reason: impl Into<String>) -> Self {
        Self { cause, reason: reason.into(), retry_after: None, source: None }
    }

    /// The whole of it in one line.
    pub fn chain(&self) -> String {
        Chain(self).to_string()
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unreachable => "unreachable",
            Self::Credentials => "credentials",
            Self::Account => "account",
            Self::Throttled => "throttled",
            Self::Trouble => "trouble",
        })
    }
}

/// Why a submission was not accepted, above all whether it may have arrived.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The provider refused what this job asks for (400, 404, 413, 422 in its own words). It did not
    /// arrive, and the same request would be refused again.
    #[error("{reason}")]
    Rejected {
        /// What the provider said; names the provider.
        reason: String,
    },
    /// Nothing was sent: a setting that this job needs is missing or wrong here.
    #[error("{reason}")]
    MissingSetting {
        /// Which, and how to set it.
        reason: String,
    },
    /// It certainly did not arrive, for a reason that any other job would have met as well.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// It may or may not have arrived. Never to be repeated before that is known.
    #[error("{reason}")]
    Unknown {
        /// What went wrong; names the provider.
        reason: String,
        /// How long after the end of the call it may still arrive.
        may_arrive_for: Duration,
        /// The error of the layer below, where there is one.
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
}

/// Why a question was not answered: about a status, a list, a log, or a request to cancel. It says
/// nothing about the job.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The provider itself says, in its own words, that it has no such job. Only worth believing for
    /// the account that submitted it, over some time, and while the same account reads other jobs.
    #[error("the provider does not know the job")]
    NotFound,
    /// There was no answer that can be used.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl QueryError {
    /// An unanswered query with no more specific cause.
    pub fn trouble(reason: impl Into<String>) -> Self {
        Self::Unavailable(Unavailable::new(Cause::Trouble, reason))
    }

    /// How long to leave the provider alone, where it asks for that; at most
    /// [`LONGEST_RETRY_AFTER`].
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NotFound => None,
            Self::Unavailable(unavailable) => {
                unavailable.retry_after.map(|wait| wait.min(LONGEST_RETRY_AFTER))
            }
        }
    }
}
