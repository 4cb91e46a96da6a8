//! Walking through a provider's list, for all who search it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use st_log::Chain;
use st_store::AccountId;
use tokio::time::{Instant, sleep};

use super::{Dispatcher, LOG};
use crate::provider::{Arrivals, FoundJob, JobList, JobLookup, ListQuery, QueryError, Trace};
use crate::reminder::Reminder;
use crate::search::{DeletedRow, Finding, Wanted, Window, sort_by_rank};
use crate::served::ServedProvider;

/// The waits after a page that could not be read; the last one is repeated.
const WAITS: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(15),
];
/// After this many failures in a row the cursor may have expired: the walk begins anew.
const FAILURES: usize = 8;
/// A list of this many pages in a row without a row that has a time is not worth reading further.
const UNDATED: usize = 50;
/// How often a walk begins anew before it is given up: others wait for the next one.
const RESTARTS: usize = 2;
/// How a walk ended.
enum Walked {
    /// The window was read to its end.
    Complete { began: Instant, deleted: Vec<DeletedRow> },
    /// It was not, for this reason.
    Incomplete(String),
    /// Every search of it was dropped.
    Abandoned,
}

impl Dispatcher {
    /// Searches a provider for what came of an attempt.
    pub(super) async fn find(
        self: &Arc<Self>,
        served: &Arc<ServedProvider>,
        wanted: Wanted,
    ) -> Finding {
        match served.provider().arrivals() {
            Arrivals::LookedUp(lookup) | Arrivals::Repeated { lookup, .. } => {
                return look_up(served, lookup, &wanted).await;
            }
            Arrivals::Undecidable(_) => {
                return Finding::Absent { began: Instant::now(), deleted: Vec::new() };
            }
            Arrivals::Listed(_) => {}
        }
        served.learn_account().await;
        if let Some(reason) = served.other_account(wanted.account.as_ref()) {
            return Finding::Unknown { reason };
        }
        let (finding, begin) = served.search.join(wanted);
        if begin {
            let (this, served) = (Arc::clone(self), Arc::clone(served));
            self.spawn_helper(async move { this.walk(&served).await });
        }
        finding.await.unwrap_or_else(|_stopped| Finding::Unknown {
            reason: "the search was ended".to_owned(),
        })
    }

    /// Walks through the list until no search is open.
    async fn walk(&self, served: &ServedProvider) {
        let Arrivals::Listed(list) = served.provider().arrivals() else { return };
        let mut walk = served.search.walk();
        while let Some(window) = walk.begin() {
            let account = served.provider().account();
            match self.walk_once(served, list, &window, account.as_ref()).await {
                Walked::Complete { began, deleted } => {
                    served.search.read_until(None, began, &deleted, account.as_ref());
                }
                Walked::Incomplete(reason) => served.search.incomplete(&reason),
                Walked::Abandoned => {}
            }
        }
    }

    async fn walk_once(
        &self,
        served: &ServedProvider,
        list: &dyn JobList,
        window: &Window,
        account: Option<&AccountId>,
    ) -> Walked {
        let first = ListQuery { since: window.since, until: window.until, cursor: None };
        let mut query = first.clone();
        let (mut began, mut failures, mut restarts) = (Instant::now(), 0_usize, 0_usize);
        let (mut seen, mut deleted, mut undated) = (BTreeSet::new(), Vec::new(), 0_usize);
        let mut failing = Reminder::default();
        loop {
            if served.search.is_abandoned() {
                return Walked::Abandoned;
            }
            if query.cursor.is_none() {
                began = Instant::now();
            }
            let page = match served.page(list, &query).await {
                Ok(page) => page,
                Err(error) => {
                    log_failure(served, &error, &mut failing);
                    let wait = WAITS.get(failures).or(WAITS.last()).copied().unwrap_or_default();
                    failures += 1;
                    if failures >= FAILURES && query.cursor.is_some() {
                        if restarts >= RESTARTS {
                            return Walked::Incomplete(Chain(&error).to_string());
                        }
                        restarts += 1;
                        (query, failures) = (first.clone(), 0);
                        seen.clear();
                        deleted.clear();
                    }
                    sleep(wait.max(error.retry_after().unwrap_or_default())).await;
                    continue;
                }
            };
            failures = 0;
            if served.provider().account().as_ref() != account {
                return Walked::Incomplete("the provider's account was changed meanwhile".into());
            }
            log_copies(served, &served.search.offer(&page.jobs, account));
            deleted.extend(
                page.jobs
                    .into_iter()
                    .filter(|job| job.trace == Trace::Deleted)
                    .map(|job| (job.status.provider_job_id, job.created_at)),
            );
            undated = if page.newest.is_none() { undated + 1 } else { 0 };
            if undated >= UNDATED && page.next.is_some() {
                return Walked::Incomplete(format!(
                    "the list of {} goes on without a readable time",
                    served.name()
                ));
            }
            if page.newest.is_some() {
                served.search.read_until(page.newest, began, &deleted, account);
            }
            let is_older =
                page.newest.zip(window.since).is_some_and(|(newest, since)| newest < since);
            match page.next {
                Some(next) if !is_older => {
                    if !seen.insert(next.clone()) {
                        return Walked::Incomplete(format!(
                            "the list of {} leads back to a page that was read",
                            served.name()
                        ));
                    }
                    query.cursor = Some(next);
                }
                Some(_) | None => return Walked::Complete { began, deleted },
            }
        }
    }
}

async fn look_up(served: &ServedProvider, lookup: &dyn JobLookup, wanted: &Wanted) -> Finding {
    if let Some(reason) = served.other_account(wanted.account.as_ref()) {
        return Finding::Unknown { reason };
    }
    let began = Instant::now();
    match served.look_up(lookup, wanted.job, wanted.attempt).await {
        Ok(found) if found.is_empty() => Finding::Absent { began, deleted: Vec::new() },
        Ok(mut jobs) => {
            // Of one attempt the oldest is the job; of several, one that did not end badly.
            if wanted.attempt.is_none() {
                sort_by_rank(&mut jobs);
            }
            Finding::Found { jobs, complete: true }
        }
        Err(error) => Finding::Unknown { reason: Chain(&error).to_string() },
    }
}

fn log_failure(served: &ServedProvider, error: &QueryError, failing: &mut Reminder) {
    if failing.is_due() {
        st_log::warning!(
            logger: LOG, provider = served.name().as_str(), reason = Chain(error).to_string(),
            "Provider could not be asked about the submission, trying again"
        );
    }
}

/// A copy carries the marker of a job of ours, but was made by a person.
fn log_copies(served: &ServedProvider, copies: &[FoundJob]) {
    for copy in copies {
        let id = &copy.status.provider_job_id;
        if served.search.is_new_copy(id) {
            st_log::warning!(
                logger: LOG, provider = served.name().as_str(), provider_job_id = id.as_str(),
                job_id = copy.marker.job.to_string(),
                "Provider has a copy of the job that a person made, leaving it alone"
            );
        }
    }
}
