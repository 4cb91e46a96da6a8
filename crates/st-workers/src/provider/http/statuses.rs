//! The statuses of many jobs: by pages of the list where that takes fewer calls, else by single calls,
//! many at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use st_log::InScope;
use tokio::time::timeout;

use super::answers::Operation;
use super::described::HttpProvider;
use super::list::{Cursor, List};
use super::values::Values;
use crate::provider::rate::Purpose;
use crate::provider::{Cause, ListQuery, PolledJob, QueryError, RemoteJob, Unavailable};

/// Up to this many jobs are asked about singly.
const FEW: usize = 2;
/// How many single calls are made at the same time, where the description allows no other number. Each
/// takes a connection: a process with the usual 1,024 files has 256 for calls.
const PARALLEL: usize = 192;
/// Pages without an answer of ours after which the rest is asked about singly.
const FRUITLESS: usize = 5;
/// The timeout of one call; one that hangs delays only its own answer.
const DEADLINE: Duration = Duration::from_secs(20);

/// One answer for each job, in any order, each as soon as it is known.
pub(super) fn statuses<'a>(
    provider: &'a HttpProvider,
    jobs: &'a [RemoteJob],
) -> BoxStream<'a, PolledJob> {
    let Some(list) = provider.description.list.as_ref().filter(|_| jobs.len() > FEW) else {
        return one_by_one(provider, jobs.iter().collect());
    };
    let walk = Walk { provider, list, open: by_id(jobs), cursor: None, fruitless: 0 };
    let steps = stream::unfold(Some(walk), |walk| async move { Some(walk?.step().await) });
    steps.flatten().boxed()
}

/// Two of our jobs may claim the same job of the provider.
fn by_id(jobs: &[RemoteJob]) -> BTreeMap<&str, Vec<&RemoteJob>> {
    let mut by_id: BTreeMap<&str, Vec<&RemoteJob>> = BTreeMap::new();
    for job in jobs {
        by_id.entry(job.provider_job_id.as_str()).or_default().push(job);
    }
    by_id
}

fn one_by_one<'a>(
    provider: &'a HttpProvider,
    jobs: Vec<&'a RemoteJob>,
) -> BoxStream<'a, PolledJob> {
    let in_flight = provider.description.limits.in_flight;
    // What submits shares the limit with what polls, and must not wait behind it.
    let parallel = in_flight.map_or(PARALLEL, |most| (most * 3 / 4).max(1));
    let ask = move |job: &'a RemoteJob| async move {
        let asked = timeout(DEADLINE, provider.job_status(job, Purpose::Poll));
        let answer = asked.with_correlation_id(job.correlation_id.clone()).await;
        (job.id, answer.unwrap_or_else(|_elapsed| Err(no_answer(provider))))
    };
    stream::iter(jobs).map(ask).buffer_unordered(parallel).boxed()
}

fn no_answer(provider: &HttpProvider) -> QueryError {
    QueryError::trouble(format!("{} did not answer within {DEADLINE:?}", provider.name))
}

/// A walk through the list, page by page.
struct Walk<'a> {
    provider: &'a HttpProvider,
    list: &'a List,
    /// The jobs without an answer, by the provider's ID.
    open: BTreeMap<&'a str, Vec<&'a RemoteJob>>,
    cursor: Option<Cursor>,
    fruitless: usize,
}

impl<'a> Walk<'a> {
    /// Reads one page: its answers, and the walk to go on with; at its end single calls.
    async fn step(mut self) -> (BoxStream<'a, PolledJob>, Option<Self>) {
        let provider = self.provider;
        let values = Values::new(&provider.description.vars).with_window(&ListQuery::default());
        let asked = provider.read_page(
            (Operation::List, Purpose::Poll),
            self.list,
            &values,
            self.cursor.as_ref(),
        );
        let page = match timeout(DEADLINE, asked).await {
            Ok(Ok(page)) => page,
            // After such an answer every other call would get the same one.
            Ok(Err(QueryError::Unavailable(failure))) if ends_all(&failure) => {
                let failed = self.remaining().into_iter();
                let failed = failed.map(move |job| (job.id, Err(repeated(&failure))));
                return (stream::iter(failed).boxed(), None);
            }
            Ok(Err(_)) | Err(_) => return (one_by_one(provider, self.remaining()), None),
        };
        let mut answers = Vec::new();
        for row in &page.rows {
            let id = provider.shape().id(row);
            // A row of another form than the answer about one job says nothing about its status.
            let is_known = provider.shape().status(row).is_some()
                && provider.shape().shows_owner(row, self.list.marker.as_ref());
            let Some(jobs) = id.filter(|_| is_known).and_then(|id| self.open.remove(id.as_str()))
            else {
                continue;
            };
            answers.extend(
                jobs.into_iter().map(|job| (job.id, provider.job_in_row(self.list, row, job))),
            );
        }
        self.fruitless = if answers.is_empty() { self.fruitless + 1 } else { 0 };
        let answers = stream::iter(answers);
        let next = page.next.ok().flatten();
        let next = next.filter(|next| Some(next) != self.cursor.as_ref());
        match next {
            _ if self.open.is_empty() => (answers.boxed(), None),
            Some(next) if self.fruitless < FRUITLESS => {
                self.cursor = Some(next);
                (answers.boxed(), Some(self))
            }
            Some(_) | None => {
                let single = one_by_one(provider, self.remaining());
                (answers.chain(single).boxed(), None)
            }
        }
    }

    fn remaining(&mut self) -> Vec<&'a RemoteJob> {
        std::mem::take(&mut self.open).into_values().flatten().collect()
    }
}

impl HttpProvider {
    /// The job in a row of the list, which has its ID.
    fn job_in_row(
        &self,
        list: &List,
        row: &serde_json::Value,
        job: &RemoteJob,
    ) -> Result<st_store::ProviderStatus, QueryError> {
        self.check_owner(row, list.marker.as_ref(), job)?;
        Ok(self.report(row, job.provider_job_id.as_str(), job.hardware_type.as_deref()))
    }
}

fn ends_all(failure: &Unavailable) -> bool {
    match failure.cause {
        Cause::Unreachable | Cause::Credentials | Cause::Throttled => true,
        Cause::Account | Cause::Trouble => false,
    }
}

/// The same failure for another question that was not asked.
fn repeated(failure: &Unavailable) -> QueryError {
    let Unavailable { cause, reason, retry_after, source: _ } = failure;
    Unavailable { retry_after: *retry_after, ..Unavailable::new(*cause, reason.clone()) }.into()
}
