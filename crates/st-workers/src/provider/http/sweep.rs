//! Removing what is left of finished jobs at a provider that keeps them until they are deleted.
//!
//! A marker does not show whose job it is: another installation may use the same place. Removed is only
//! what this process has submitted or polled; what ended before it began stays.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use st_log::{Chain, Logger, get_logger};
use st_store::{JobStatus, ProviderJobId};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::answers::Operation;
use super::described::HttpProvider;
use super::values::{Values, parse_marker};
use crate::provider::rate::Purpose;
use crate::provider::{ListQuery, RemoteJob};

const LOG: Logger = get_logger("simpletuner.cloud.http_provider");

/// How often the list is read for this.
const PERIOD: Duration = Duration::from_mins(10);
/// A list of more pages is not read to its end for this.
const MOST_PAGES: usize = 1000;
/// How many are removed at a time.
const MOST: usize = 20;

/// Since when each job of ours is seen to be over.
#[derive(Debug, Default)]
pub(super) struct Sweeper {
    /// Held during a sweep, so that none overlaps another.
    state: Mutex<State>,
    /// The jobs of this process. Locked for one read or change.
    ours: std::sync::Mutex<BTreeSet<ProviderJobId>>,
}

#[derive(Debug, Default)]
struct State {
    next_at: Option<Instant>,
    over: BTreeMap<ProviderJobId, Instant>,
}

impl Sweeper {
    fn ours(&self) -> MutexGuard<'_, BTreeSet<ProviderJobId>> {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These jobs are ours.
    pub(super) fn note<'j>(&self, jobs: impl IntoIterator<Item = &'j ProviderJobId>) {
        let mut ours = self.ours();
        for job in jobs {
            if !ours.contains(job) {
                ours.insert(job.clone());
            }
        }
    }

    /// Removes some of what was over for long enough, if that is due. What this process did not see
    /// for that time stays: nothing is removed before its end was read.
    pub(super) async fn sweep(&self, provider: &HttpProvider) {
        let description = &provider.description;
        let (Some(sweep), Some(list)) = (&description.sweep, &description.list) else { return };
        let Ok(mut state) = self.state.try_lock() else { return };
        if state.next_at.is_some_and(|at| at > Instant::now()) {
            return;
        }
        state.next_at = Some(Instant::now() + PERIOD);
        let values = Values::new(&description.vars).with_window(&ListQuery::default());
        let (mut seen, mut listed, mut cursor) = (BTreeMap::new(), BTreeSet::new(), None);
        for _ in 0..MOST_PAGES {
            let page = provider
                .read_page((Operation::List, Purpose::Other), list, &values, cursor.as_ref())
                .await;
            let page = match page {
                Ok(page) => page,
                Err(error) => return log_failure(provider, &Chain(&error).to_string()),
            };
            for row in &page.rows {
                let marker = list.marker.as_ref().and_then(|at| at.text(row));
                let marker = marker.as_deref().and_then(parse_marker);
                let is_over = provider.shape().status(row).is_some_and(JobStatus::is_terminal);
                let Some(id) = provider.shape().id(row).map(ProviderJobId::new) else { continue };
                if !self.ours().contains(&id) {
                    continue;
                }
                if let Some(marker) = marker.filter(|_| is_over) {
                    seen.insert(id.clone(), marker.job);
                }
                listed.insert(id);
            }
            match page.next {
                Ok(Some(next)) if Some(&next) != cursor.as_ref() => cursor = Some(next),
                Ok(None) => {
                    // What the list does not have any more needs no removal.
                    self.ours().retain(|id| listed.contains(id));
                    break;
                }
                Ok(Some(_)) | Err(_) => break,
            }
        }
        state.over.retain(|id, _| seen.contains_key(id));
        let mut due = Vec::new();
        for (id, job) in seen {
            let since = *state.over.entry(id.clone()).or_insert_with(Instant::now);
            if since.elapsed() >= sweep.after && due.len() < MOST {
                due.push((id, job));
            }
        }
        for (id, job) in due {
            let job = RemoteJob {
                id: job,
                provider_job_id: id.clone(),
                account: None,
                correlation_id: st_log::get_correlation_id(),
                age: Duration::ZERO,
                hardware_type: None,
            };
            match provider.remove(&sweep.call, &job).await {
                Ok(()) => drop(state.over.remove(&id)),
                Err(error) => log_failure(provider, &Chain(&error).to_string()),
            }
        }
    }
}

fn log_failure(provider: &HttpProvider, reason: &str) {
    st_log::debug!(
        logger: LOG, provider = provider.name.as_str(), reason,
        "What is left of finished jobs could not be removed at the provider"
    );
}
