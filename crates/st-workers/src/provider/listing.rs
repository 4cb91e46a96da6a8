//! How it is found out whether a submission arrived.
//!
//! Most providers show it only in the list of the account's jobs, where each job's input carries our
//! marker. What may be concluded from a list, and from absence in it, is decided by the caller; a
//! provider reads one page.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use st_store::{JobId, Marker, ProviderStatus};

use super::QueryError;

/// How it is found out whether a submission arrived.
#[derive(Debug, Clone, Copy)]
pub enum Arrivals<'a> {
    /// By the list of the account's jobs. That it does not show a job proves little by itself.
    Listed(&'a dyn JobList),
    /// By asking for the attempt. The answer is certain.
    LookedUp(&'a dyn JobLookup),
    /// By submitting it again with the same marker: the provider recognizes it by its key or its name,
    /// so that nothing is done twice.
    Repeated {
        /// For how long after the claim it is recognized. Later it is only looked up.
        within: Duration,
        /// Finds what arrived, where that is possible: under its name, or any attempt of a job.
        lookup: &'a dyn JobLookup,
    },
    /// Not at all. What a person accepted decides, once it can no longer arrive.
    Undecidable(Undecided),
}

/// What becomes of a job of which it cannot be found out whether it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undecided {
    /// It fails.
    Fails,
    /// Its first attempt is followed by another, and it may run twice; a later attempt fails.
    IsRepeated,
}

/// A provider whose list shows what arrived.
#[async_trait]
pub trait JobList: fmt::Debug + Send + Sync {
    /// One page of the account's jobs, newest first. Rows that cannot be read are skipped and
    /// counted; a page that cannot be read is an error.
    async fn page(&self, query: &ListQuery) -> Result<ListPage, QueryError>;
}

/// A provider that knows for certain whether it has an attempt, once it can no longer arrive.
#[async_trait]
pub trait JobLookup: fmt::Debug + Send + Sync {
    /// The jobs that came from this attempt of a job, or from any attempt when `attempt` is `None`,
    /// oldest first. An attempt that is not found when it can no longer arrive will never begin.
    async fn find(&self, job: JobId, attempt: Option<u32>) -> Result<Vec<FoundJob>, QueryError>;
}

/// A job at the provider that came from one of our attempts.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundJob {
    /// The attempt that it came from.
    pub marker: Marker,
    /// What the provider reports about it.
    pub status: ProviderStatus,
}

/// Which page of the list to read. Times are the provider's; a provider may ignore them, which costs
/// pages and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Leave out what was created before this.
    pub since: Option<Timestamp>,
    /// Leave out what was created after this.
    pub until: Option<Timestamp>,
    /// [`ListPage::next`] of the page before; `None` for the first.
    pub cursor: Option<String>,
}

/// A page of the list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ListPage {
    /// The rows that may be ours. Rows that are certainly not ours are left out.
    pub jobs: Vec<ListedJob>,
    /// How many rows the page has, whatever they are.
    pub rows: usize,
    /// How many of them could not be read.
    pub unreadable: usize,
    /// The newest creation among its rows, by the provider's time; `None` when the page is empty or
    /// the time of a row cannot be read.
    pub newest: Option<Timestamp>,
    /// The next page; `None` when this is the last one.
    pub next: Option<String>,
}

/// A row of the list that may be ours.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedJob {
    /// What the provider reports about it.
    pub status: ProviderStatus,
    /// When it was created, by the provider's time, where that can be read.
    pub created_at: Option<Timestamp>,
    /// What its input shows.
    pub trace: Trace,
}

/// What the input of a listed job shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// It carries our marker.
    Marker {
        /// The marker.
        marker: Marker,
        /// Whether the provider says that a person made it by hand, such as a copy of a job.
        by_hand: bool,
    },
    /// The provider has deleted it, and a marker with it.
    Deleted,
}
