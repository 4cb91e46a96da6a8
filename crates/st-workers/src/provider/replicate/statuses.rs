//! The statuses of many jobs: through pages of the list as far as that is cheaper, then by single
//! calls. Whatever goes wrong with one page or one call, the other jobs get their answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use jiff::SignedDuration;
use st_log::InScope;
use st_store::ProviderStatus;
use tokio::time::timeout;

use super::Replicate;
use super::answer::Answer;
use super::classify::{repeated, unreadable};
use super::page::Page;
use super::row::Row;
use crate::provider::{Cause, ListQuery, PolledJob, QueryError, RemoteJob, Unavailable};

/// Up to this many jobs are queried singly; more of them through the list.
const FEW: usize = 2;
/// How many calls for single jobs are made at the same time.
const PARALLEL: usize = 8;
/// How many jobs a page of the list has.
const PAGE: usize = 100;
/// Pages beyond those that our jobs alone would fill, for the jobs of others between them.
const MORE_PAGES: usize = 3;
/// A job may be older at the provider than its claim says, by a window that costs pages only.
const MARGIN: SignedDuration = SignedDuration::from_mins(15);
/// The timeout of one call; one that hangs delays only its own answer.
const DEADLINE: Duration = Duration::from_secs(20);

/// One answer for each job, in any order, each as soon as it is known.
pub(super) fn statuses<'a>(
    provider: &'a Replicate,
    jobs: &'a [RemoteJob],
) -> BoxStream<'a, PolledJob> {
    if jobs.len() <= FEW {
        return one_by_one(provider, jobs.iter().collect());
    }
    let walk = Walk::new(provider, jobs);
    let steps = stream::unfold(Some(walk), |walk| async move { Some(walk?.step().await) });
    steps.flatten().boxed()
}

/// A walk through the list, page by page.
struct Walk<'a> {
    provider: &'a Replicate,
    /// The jobs without an answer, by the provider's ID: two of ours may claim the same one.
    open: BTreeMap<&'a str, Vec<&'a RemoteJob>>,
    query: ListQuery,
    /// Cursors that were followed: a list whose `next` leads back is left.
    seen: BTreeSet<String>,
    pages_left: usize,
}

impl<'a> Walk<'a> {
    fn new(provider: &'a Replicate, jobs: &'a [RemoteJob]) -> Self {
        let mut open: BTreeMap<&str, Vec<&RemoteJob>> = BTreeMap::new();
        for job in jobs {
            open.entry(job.provider_job_id.as_str()).or_default().push(job);
        }
        let oldest = jobs.iter().map(|job| job.age).max().unwrap_or_default();
        let since = provider.time.now().and_then(|now| {
            let oldest = SignedDuration::try_from(oldest).ok()?;
            now.checked_sub(oldest).ok()?.checked_sub(MARGIN).ok()
        });
        let pages_left = open.len().div_ceil(PAGE) + MORE_PAGES;
        let query = ListQuery { since, ..ListQuery::default() };
        Self { provider, open, query, seen: BTreeSet::new(), pages_left }
    }

    /// Reads one page. Gives the answers that it has and the walk to go on with, or after the last
    /// page the answers of single calls.
    async fn step(mut self) -> (BoxStream<'a, PolledJob>, Option<Self>) {
        self.pages_left = self.pages_left.saturating_sub(1);
        let asked = timeout(DEADLINE, self.provider.list(&self.query)).await;
        let read = match asked {
            Ok(Ok(answer)) => self.read(&answer),
            Ok(Err(error)) => Err(error),
            Err(_elapsed) => Err(no_answer()),
        };
        let (answers, next) = match read {
            Ok(read) => read,
            Err(QueryError::Unavailable(failure)) if ends_all(&failure) => {
                let jobs = self.remaining().into_iter();
                let failed = jobs.map(move |job| (job.id, Err(repeated(&failure))));
                return (stream::iter(failed).boxed(), None);
            }
            Err(_other) => (Vec::new(), None),
        };
        let answers = stream::iter(answers);
        match next.filter(|next| self.pages_left > 0 && self.seen.insert(next.clone())) {
            Some(_) if self.open.is_empty() => (answers.boxed(), None),
            Some(next) => {
                self.query.cursor = Some(next);
                (answers.boxed(), Some(self))
            }
            None => {
                let single = one_by_one(self.provider, self.remaining());
                (answers.chain(single).boxed(), None)
            }
        }
    }

    /// The answers in a page, and where the next one is. A row of ours that cannot be read leaves its
    /// job open.
    fn read(&mut self, answer: &Answer) -> Result<(Vec<PolledJob>, Option<String>), QueryError> {
        let page = Page::read(answer.text()).map_err(unreadable)?;
        let mut answers = Vec::new();
        for json in &page.rows {
            let Some(row) = Row::read(json.get()) else { continue };
            let known = row.id().and_then(|id| self.open.remove_entry(id.as_str()));
            let Some((id, jobs)) = known else { continue };
            for job in jobs {
                match status(row, job) {
                    Some(status) => answers.push((job.id, Ok(status))),
                    None => self.open.entry(id).or_default().push(job),
                }
            }
        }
        // A link that cannot be followed ends the list; the jobs beyond it are asked about singly.
        let next = page.next.and_then(|next| self.provider.address.cursor(&next));
        Ok((answers, next))
    }

    fn remaining(&mut self) -> Vec<&'a RemoteJob> {
        std::mem::take(&mut self.open).into_values().flatten().collect()
    }
}

/// `None` when the row has no status in words.
fn status(row: Row<'_>, job: &RemoteJob) -> Option<ProviderStatus> {
    row.word()?;
    row.to_status(job.hardware_type.as_deref())
}

/// After such an answer every other call would get the same one, or make it worse.
fn ends_all(failure: &Unavailable) -> bool {
    match failure.cause {
        Cause::Unreachable | Cause::Credentials | Cause::Throttled => true,
        Cause::Account | Cause::Trouble => false,
    }
}

fn no_answer() -> QueryError {
    QueryError::trouble(format!("replicate did not answer within {DEADLINE:?}"))
}

/// Asks about each job by itself.
fn one_by_one<'a>(provider: &'a Replicate, jobs: Vec<&'a RemoteJob>) -> BoxStream<'a, PolledJob> {
    let outage = Arc::new(Outage::default());
    let calls = stream::iter(jobs).map(move |job| {
        let outage = Arc::clone(&outage);
        async move {
            if let Some(error) = outage.error() {
                return (job.id, Err(error));
            }
            let call = provider.job_status(job).with_correlation_id(job.correlation_id.clone());
            let answer = match timeout(DEADLINE, call).await {
                Ok(answer) => {
                    outage.note(&answer);
                    answer
                }
                Err(_elapsed) => {
                    outage.note_silence();
                    Err(no_answer())
                }
            };
            (job.id, answer)
        }
    });
    calls.buffer_unordered(PARALLEL).boxed()
}

/// What the calls of one poll learn from each other, so that a provider that is away or wants to be
/// left alone is not called once for each of thousands of jobs.
#[derive(Default)]
struct Outage {
    failure: OnceLock<Unavailable>,
    /// Calls in a row that ran into their deadline.
    silent: AtomicUsize,
}

impl Outage {
    /// What a call that is not made any more ends with.
    fn error(&self) -> Option<QueryError> {
        if let Some(failure) = self.failure.get() {
            return Some(repeated(failure));
        }
        (self.silent.load(Ordering::Relaxed) >= PARALLEL).then(no_answer)
    }

    fn note(&self, answer: &Result<ProviderStatus, QueryError>) {
        self.silent.store(0, Ordering::Relaxed);
        if let Err(QueryError::Unavailable(failure)) = answer
            && ends_all(failure)
        {
            let Unavailable { cause, reason, retry_after, source: _ } = failure;
            let copy = Unavailable::new(*cause, reason.clone());
            self.failure.get_or_init(|| Unavailable { retry_after: *retry_after, ..copy });
        }
    }

    fn note_silence(&self) {
        self.silent.fetch_add(1, Ordering::Relaxed);
    }
}
