//! The statuses of many jobs: through pages of the list as far as that is cheaper, windows of it side
//! by side, then by single calls. Whatever goes wrong with one page or one call, the other jobs get their answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use st_log::InScope;
use st_store::ProviderStatus;
use tokio::time::timeout;

use super::Replicate;
use super::answer::Answer;
use super::classify::{repeated, unreadable};
use super::page::Page;
use super::price::Prices;
use super::row::Row;
use crate::provider::rate::Purpose;
use crate::provider::{Cause, ListQuery, PolledJob, QueryError, RemoteJob, Unavailable};

/// Up to this many jobs are queried singly; more of them through the list.
const FEW: usize = 2;
/// How many calls for single jobs are made at the same time.
const PARALLEL: usize = 8;
/// How many jobs a page of the list has.
const PAGE: usize = 100;
/// How many windows of the list are walked through at the same time.
const WALKS: usize = 8;
/// How many jobs make another window worth it.
const WINDOW: usize = 500;
/// By how much two windows overlap.
const OVERLAP: SignedDuration = SignedDuration::from_millis(1);
/// Pages beyond those that our jobs alone would fill, for the jobs of others between them; for each
/// window.
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
    let windows = windows(jobs, provider.time.now());
    let open = Arc::new(Open::new(jobs, windows.len()));
    let walks = windows.into_iter().map(|window| {
        let walk = Walk { provider, open: Arc::clone(&open), query: window, seen: BTreeSet::new() };
        stream::unfold(Some(walk), |walk| async move { walk?.step().await })
            .flat_map(stream::iter)
            .boxed()
    });
    let listed = stream::select_all(walks);
    listed.chain(stream::once(async move { open.rest(provider) }).flatten()).boxed()
}

/// The jobs without an answer, which all walks share: where a job's row is, is known from its claim
/// only, and it may be in the window of another walk.
struct Open<'a> {
    /// By the provider's ID: two of ours may claim the same one.
    jobs: Mutex<BTreeMap<&'a str, Vec<&'a RemoteJob>>>,
    /// How many pages are worth reading, in all windows together: in which of them a job's row is may
    /// be unlike what its claim says.
    pages_left: AtomicUsize,
    /// What every other call would end with as well.
    failure: OnceLock<Unavailable>,
}

impl<'a> Open<'a> {
    fn new(polled: &'a [RemoteJob], windows: usize) -> Self {
        let mut jobs: BTreeMap<&str, Vec<&RemoteJob>> = BTreeMap::new();
        for job in polled {
            jobs.entry(job.provider_job_id.as_str()).or_default().push(job);
        }
        let pages_left = (jobs.len().div_ceil(PAGE) + windows * MORE_PAGES).into();
        Self { jobs: Mutex::new(jobs), pages_left, failure: OnceLock::new() }
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<&'a str, Vec<&'a RemoteJob>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether more jobs are open than a page has.
    fn has_many(&self) -> bool {
        self.jobs().len() > PAGE
    }

    /// Whether another page is to be read.
    fn begin_page(&self) -> bool {
        if self.failure.get().is_some() || self.jobs().is_empty() {
            return false;
        }
        let one_less = |left: usize| left.checked_sub(1);
        self.pages_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }

    /// The answers in the rows of a page. A row of ours that cannot be read leaves its job open.
    fn read(&self, page: &Page<'_>, prices: &Prices, now: Option<Timestamp>) -> Vec<PolledJob> {
        let mut open = self.jobs();
        let mut answers = Vec::new();
        for json in &page.rows {
            let Some(row) = Row::read(json.get()) else { continue };
            let known = row.id().and_then(|id| open.remove_entry(id.as_str()));
            let Some((id, jobs)) = known else { continue };
            for job in jobs {
                match status(row, prices, now) {
                    Some(status) => answers.push((job.id, Ok(status))),
                    None => open.entry(id).or_default().push(job),
                }
            }
        }
        answers
    }

    /// The answers about the jobs that no walk has found.
    fn rest(&self, provider: &'a Replicate) -> BoxStream<'a, PolledJob> {
        let jobs: Vec<_> = std::mem::take(&mut *self.jobs()).into_values().flatten().collect();
        let Some(failure) = self.failure.get() else { return one_by_one(provider, jobs) };
        let failed = jobs.into_iter().map(|job| (job.id, Err(repeated(failure))));
        stream::iter(failed.collect::<Vec<_>>()).boxed()
    }
}

/// The windows of the list in which the jobs are, of about as many jobs each. Together they leave
/// nothing out since the oldest job; without the provider's time the whole list is one. In a window
/// that is closed nothing moves from page to page while it is read.
fn windows(jobs: &[RemoteJob], now: Option<Timestamp>) -> Vec<ListQuery> {
    let mut ages: Vec<Duration> = jobs.iter().map(|job| job.age).collect();
    ages.sort_unstable_by(|one, other| other.cmp(one));
    let began = |age: Duration| now?.checked_sub(SignedDuration::try_from(age).ok()?).ok();
    let each = ages.len().div_ceil(WALKS).max(WINDOW);
    let mut starts: Vec<_> =
        ages.chunks(each).map(|ages| ages.first().copied().and_then(began)).collect();
    // Jobs of the same moment are not taken apart.
    starts.dedup();
    let ends = starts.iter().skip(1).copied().chain([None]);
    let mut windows: Vec<ListQuery> = starts
        .iter()
        .zip(ends)
        .map(|(&since, until)| {
            // Whether a limit is part of a window is not documented.
            let until = until.and_then(|until| until.checked_add(OVERLAP).ok());
            ListQuery { since, until, ..ListQuery::default() }
        })
        .collect();
    if let Some(first) = windows.first_mut() {
        first.since = first.since.and_then(|since| since.checked_sub(MARGIN).ok());
    }
    windows
}

/// A walk through a window of the list, page by page.
struct Walk<'a> {
    provider: &'a Replicate,
    open: Arc<Open<'a>>,
    query: ListQuery,
    /// Cursors that were followed: a list whose `next` leads back is left.
    seen: BTreeSet<String>,
}

impl Walk<'_> {
    /// Reads one page and gives the answers that it has; `None` after the last one.
    async fn step(mut self) -> Option<(Vec<PolledJob>, Option<Self>)> {
        if !self.open.begin_page() {
            return None;
        }
        let read = match self.page().await {
            // Without this page its jobs would cost a call each.
            Err(error) if !is_of_all(&error) && self.open.has_many() => self.page().await,
            read => read,
        };
        let (answers, next) = match read {
            Ok(read) => read,
            Err(QueryError::Unavailable(failure)) if ends_all(&failure) => {
                // Another walk may have met the same one.
                self.open.failure.set(failure).unwrap_or_default();
                return None;
            }
            Err(_other) => return None,
        };
        let next = next.filter(|next| self.seen.insert(next.clone()));
        Some((
            answers,
            next.map(|next| {
                self.query.cursor = Some(next);
                self
            }),
        ))
    }

    async fn page(&self) -> Result<(Vec<PolledJob>, Option<String>), QueryError> {
        self.provider.others.turn(Purpose::Poll).await;
        match timeout(DEADLINE, self.provider.list(&self.query)).await {
            Ok(answer) => self.read(&answer?),
            Err(_elapsed) => Err(no_answer()),
        }
    }

    /// The answers in a page, and where the next one is.
    fn read(&self, answer: &Answer) -> Result<(Vec<PolledJob>, Option<String>), QueryError> {
        let page = Page::read(answer.text()).map_err(unreadable)?;
        let answers = self.open.read(&page, &self.provider.prices, self.provider.time.now());
        // A link that cannot be followed ends the list; the jobs beyond it are asked about singly.
        let next = page.next.and_then(|next| self.provider.address.cursor(&next));
        Ok((answers, next))
    }
}

/// `None` when the row has no status in words.
fn status(row: Row<'_>, prices: &Prices, now: Option<Timestamp>) -> Option<ProviderStatus> {
    row.word()?;
    row.to_status(prices, now)
}

/// After such an answer every other call would get the same one, or make it worse.
fn ends_all(failure: &Unavailable) -> bool {
    match failure.cause {
        Cause::Unreachable | Cause::Credentials | Cause::Throttled => true,
        Cause::Account | Cause::Trouble => false,
    }
}

fn is_of_all(error: &QueryError) -> bool {
    matches!(error, QueryError::Unavailable(failure) if ends_all(failure))
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
            // Nothing is waited for where nothing would be called.
            if let Some(error) = outage.error() {
                return (job.id, Err(error));
            }
            provider.others.turn(Purpose::Poll).await;
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
