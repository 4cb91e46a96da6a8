//! Searching a provider's list for what came of our attempts.
//!
//! One walk through the list serves all who search at the same time. What is found is answered with
//! the page that shows it, unless a better answer may follow. Absence is answered at the end of a walk that read the whole window, with
//! the moment at which it began: a list that was read before an attempt could no longer arrive proves
//! nothing.

#[cfg(test)]
mod tests;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use st_store::{AccountId, JobId, JobStatus, ProviderJobId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::provider::{FoundJob, ListedJob, Trace};
pub(crate) use window::Window;

/// How many copies are remembered, so that each is logged once.
const MOST_COPIES: usize = 1000;

/// What is searched for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The job whose attempt it is.
    pub(crate) job: JobId,
    /// The number of the attempt; `None` for any attempt of the job.
    pub(crate) attempt: Option<u32>,
    /// The account that made the attempt, where it is known.
    pub(crate) account: Option<AccountId>,
    /// When it must have been created.
    pub(crate) window: Window,
    /// How much of the list is to be read.
    pub(crate) depth: Depth,
}

/// How much of the list a search reads when it finds something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// As far as the first page that answers it.
    Answer,
    /// The whole window: what is found may be known, and another copy be behind it.
    Window,
}

/// What a search came to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Finding {
    /// It is at the provider, perhaps more than once: the best answer first, and of equals the
    /// oldest; one for each provider job ID.
    Found {
        /// What was found.
        jobs: Vec<FoundJob>,
        /// Whether the list of the window was read to its end.
        complete: bool,
    },
    /// The list of the window was read to its end and does not show it.
    Absent {
        /// Before the first page was asked for.
        began: Instant,
        /// Rows of the window that the provider deleted the input of.
        deleted: Vec<ProviderJobId>,
    },
    /// The list could not be read to the end of the window, or not with the account.
    Unknown {
        /// Why, for the log and for people.
        reason: String,
    },
}

/// A row whose input is deleted, and when it was created by the provider's time.
pub(crate) type DeletedRow = (ProviderJobId, Option<Timestamp>);

/// What was found, by ID, because a list that changes while it is read shows a row twice; with the
/// time of its creation.
type Rows = BTreeMap<ProviderJobId, (Option<Timestamp>, FoundJob)>;

#[derive(Debug)]
struct Waiting {
    wanted: Wanted,
    /// What was found so far and is no answer yet.
    found: Rows,
    /// Whether the walk that goes on now began after this search did.
    from_first_page: bool,
    answer: oneshot::Sender<Finding>,
}

/// The searches at one provider.
#[derive(Debug, Default)]
pub(crate) struct Search {
    /// Guards the searches that wait, and which copies were logged.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Waiting>,
    walking: bool,
    /// Copies that were logged.
    copies: BTreeSet<ProviderJobId>,
}

/// The right to walk through the list. Dropped before the walk ended, by a panic for example, it lets
/// the searches go that wait, so that they begin anew.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    search: &'a Search,
    ended: bool,
}

impl Walk<'_> {
    /// Begins a walk for all who wait: the union of their windows. `None` when none does, and the
    /// right is over.
    pub(crate) fn begin(&mut self) -> Option<Window> {
        let window = self.search.begin_walk();
        self.ended = window.is_none();
        window
    }
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let mut state = self.search.lock();
            state.walking = false;
            state.waiting.clear();
        }
    }
}

impl Search {
    /// The right that [`Self::join`] spoke of.
    pub(crate) fn walk(&self) -> Walk<'_> {
        Walk { search: self, ended: false }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a search. Returns `true` when no walk is running: the caller must start one.
    pub(crate) fn join(&self, wanted: Wanted) -> (oneshot::Receiver<Finding>, bool) {
        let (answer, receiver) = oneshot::channel();
        let mut state = self.lock();
        let found = Rows::new();
        state.waiting.push(Waiting { wanted, found, from_first_page: false, answer });
        (receiver, !std::mem::replace(&mut state.walking, true))
    }

    fn begin_walk(&self) -> Option<Window> {
        let mut state = self.lock();
        state.waiting.retain(|waiting| !waiting.answer.is_closed());
        state.waiting.iter_mut().for_each(|waiting| waiting.from_first_page = true);
        let window =
            state.waiting.iter().map(|waiting| waiting.wanted.window).reduce(Window::union);
        state.walking = window.is_some();
        window
    }

    /// Whether every search of this walk was dropped.
    pub(crate) fn is_abandoned(&self) -> bool {
        let mut state = self.lock();
        state.waiting.retain(|waiting| !waiting.answer.is_closed());
        state.waiting.is_empty()
    }

    /// Answers those whose attempt is among these rows. `account`: whose list it is. Returns rows
    /// that carry a marker that is searched for and are not ours: copies that a person made.
    pub(crate) fn offer(&self, jobs: &[ListedJob], account: Option<&AccountId>) -> Vec<FoundJob> {
        let mut copies = Vec::new();
        let mut state = self.lock();
        let mut still = Vec::new();
        for mut waiting in std::mem::take(&mut state.waiting) {
            copies.extend(matching(&waiting.wanted, jobs, account, &mut waiting.found));
            if is_answer(&waiting.wanted, &waiting.found) {
                // A receiver that is gone asks again if it still needs to know.
                drop(waiting.answer.send(found(waiting.found, false)));
            } else {
                still.push(waiting);
            }
        }
        state.waiting = still;
        copies
    }

    /// Whether a copy is seen for the first time.
    pub(crate) fn is_new_copy(&self, id: &ProviderJobId) -> bool {
        let copies = &mut self.lock().copies;
        if copies.len() >= MOST_COPIES {
            copies.clear();
        }
        copies.insert(id.clone())
    }

    /// The walk has read everything that is newer than `until`; with `None`, to its end. Those whose
    /// window that covers are answered, whatever the others still wait for.
    pub(crate) fn read_until(
        &self,
        until: Option<Timestamp>,
        began: Instant,
        deleted: &[DeletedRow],
        account: Option<&AccountId>,
    ) {
        let covered = |wanted: &Wanted| {
            until.is_none_or(|until| wanted.window.since.is_some_and(|since| until < since))
        };
        self.answer_walk(true, covered, |wanted| {
            if !same_account(wanted, account) {
                let reason = "the provider's account was changed meanwhile".to_owned();
                return Finding::Unknown { reason };
            }
            let deleted = deleted.iter().filter(|(_, at)| wanted.window.may_be_lost(*at));
            Finding::Absent { began, deleted: deleted.map(|(id, _)| id.clone()).collect() }
        });
    }

    /// The end of a walk that did not.
    pub(crate) fn incomplete(&self, reason: &str) {
        self.answer_walk(
            false,
            |_wanted| true,
            |_wanted| Finding::Unknown { reason: reason.to_owned() },
        );
    }

    /// Answers those who waited since the first page, where `is_due`.
    fn answer_walk(
        &self,
        complete: bool,
        is_due: impl Fn(&Wanted) -> bool,
        answer: impl Fn(&Wanted) -> Finding,
    ) {
        let mut state = self.lock();
        let (done, still): (Vec<Waiting>, Vec<Waiting>) = std::mem::take(&mut state.waiting)
            .into_iter()
            .partition(|waiting| waiting.from_first_page && is_due(&waiting.wanted));
        state.waiting = still;
        for waiting in done {
            let finding = if waiting.found.is_empty() {
                answer(&waiting.wanted)
            } else {
                found(waiting.found, complete)
            };
            drop(waiting.answer.send(finding));
        }
    }
}

/// How good an answer a job is that was found, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// It may end well, or has.
    Good,
    Failed,
    /// It was a stray before the database was restored, or a person ended it.
    Cancelled,
}

impl Rank {
    fn of(found: &FoundJob) -> Self {
        match found.status.status {
            Some(JobStatus::Failed) => Self::Failed,
            Some(JobStatus::Cancelled) => Self::Cancelled,
            None
            | Some(
                JobStatus::Pending
                | JobStatus::Uploading
                | JobStatus::Queued
                | JobStatus::Running
                | JobStatus::Completed,
            ) => Self::Good,
        }
    }
}

/// Whether what was found can be acted on before the rest of the list is read. Of several attempts
/// that another life of the database made, one that did not end well may have been followed by one
/// that is alive.
fn is_answer(wanted: &Wanted, found: &Rows) -> bool {
    let is_answer = |found| wanted.attempt.is_some() || Rank::of(found) == Rank::Good;
    wanted.depth == Depth::Answer && found.values().any(|(_, found)| is_answer(found))
}

/// The best first, and of equals the oldest.
fn found(rows: Rows, complete: bool) -> Finding {
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by_key(|(id, (created_at, found))| (Rank::of(found), *created_at, id.clone()));
    let jobs = rows.into_iter().map(|(_, (_, found))| found).collect();
    Finding::Found { jobs, complete }
}

/// The best first; of equals, the order stays.
pub(crate) fn sort_by_rank(jobs: &mut [FoundJob]) {
    jobs.sort_by_key(Rank::of);
}

/// Adds what is wanted to `found`. Returns rows that carry the marker and are copies.
fn matching(
    wanted: &Wanted,
    jobs: &[ListedJob],
    account: Option<&AccountId>,
    found: &mut Rows,
) -> Vec<FoundJob> {
    let mut copies = Vec::new();
    if !same_account(wanted, account) {
        return copies;
    }
    for job in jobs {
        let Trace::Marker { marker, by_hand } = job.trace else { continue };
        let is_wanted = marker.job == wanted.job
            && wanted.attempt.is_none_or(|attempt| attempt == marker.attempt);
        if !is_wanted {
            continue;
        }
        let row = FoundJob { marker, status: job.status.clone() };
        if by_hand || !wanted.window.is_ours(job.created_at) {
            copies.push(row);
        } else {
            found.insert(job.status.provider_job_id.clone(), (job.created_at, row));
        }
    }
    copies
}

fn same_account(wanted: &Wanted, account: Option<&AccountId>) -> bool {
    AccountId::may_be_same(wanted.account.as_ref(), account)
}
