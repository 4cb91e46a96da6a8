//! The synchronization that a person asks for: every job at a provider is polled now, and the newest part of
//! the provider's list is read for jobs of which it is not known whether they arrived.
//!
//! Rows that carry no marker of ours are other people's, and those whose job does not wait for them are left
//! to the search for late arrivals.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::SignedDuration;
use st_log::Chain;
use st_store::{Actor, Error, JobRef, ProviderName};
use tokio::time::timeout;

use super::{FAILED, IntakeError, LOG, Occasion, Poll, Poller, Tally};
use crate::provider::{Arrivals, ListQuery, ListedJob, Trace};

/// How many pages of a list are read: of the largest that is known, a thousand rows.
const PAGES: usize = 10;
/// Older rows are not read, by the provider's time.
const NEWEST: SignedDuration = SignedDuration::from_hours(24);
/// How long a person waits for it. What has begun goes on afterwards.
const PATIENCE: Duration = Duration::from_mins(1);

/// What was found at the providers, and what changed here because of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Synced {
    /// Jobs that were found at their provider although it was not known whether they had arrived.
    pub found: u64,
    /// Jobs whose status was read.
    pub polled: u64,
    /// Those of them that had changed.
    pub updated: u64,
    /// Jobs whose status could not be read.
    pub failed: u64,
    /// Jobs that were not asked about, because they belong to another account of their provider.
    pub skipped: u64,
    /// Jobs whose status was read, and what was read could not be stored.
    pub unsettled: u64,
    /// Providers whose list could not be read for jobs of which it is not known whether they arrived.
    pub lists_unread: u64,
    /// Why the last of those that could not be asked could not be.
    pub reason: Option<String>,
    /// Providers that had not answered when the wait was over.
    pub unfinished: u64,
}

impl Synced {
    fn add(&mut self, tally: Tally) {
        self.found += tally.found;
        self.polled += tally.synced;
        self.updated += tally.changed;
        self.failed += tally.failed;
        self.skipped += tally.skipped;
        self.unsettled += tally.unsettled;
        self.lists_unread += u64::from(tally.list_unread.is_some());
        self.reason = tally.unreachable.or(tally.list_unread).or(self.reason.take());
    }

    /// Jobs whose provider was asked.
    pub const fn asked(&self) -> u64 {
        self.polled.saturating_add(self.failed)
    }
}

/// Why nothing was synchronized.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// There is no such provider.
    #[error("there is no provider {0}")]
    NoProvider(ProviderName),
    /// There is no credential that the provider could be asked with.
    #[error("provider {0} has no credential, so it cannot be asked")]
    NotConfigured(ProviderName),
    /// None of the providers answered anything.
    #[error("no provider could be asked: {reason}")]
    Unreachable {
        /// Why one of them could not be.
        reason: String,
    },
    /// Another one has not ended.
    #[error("jobs are being synchronized already")]
    Running,
    /// The store could not be read or written.
    #[error("{FAILED}")]
    Store(#[from] Error),
}

impl Poller {
    pub(crate) async fn sync(&self, only: Option<&ProviderName>) -> Result<Synced, SyncError> {
        if let Some(only) = only {
            let poll = self.polls.get(only).ok_or_else(|| SyncError::NoProvider(only.clone()))?;
            if !poll.served.provider().is_configured() {
                return Err(SyncError::NotConfigured(only.clone()));
            }
        }
        let _running = self.syncing.try_lock().map_err(|_held| SyncError::Running)?;
        let polls = self.polls.values().filter(|poll| {
            let is_meant = only.is_none_or(|only| poll.served.name() == only);
            is_meant && poll.served.provider().is_configured()
        });
        let polls = polls.map(|poll| timeout(PATIENCE, Arc::clone(poll).run(Occasion::Asked)));
        let mut synced = Synced::default();
        let mut answered = false;
        for polled in join_all(polls).await {
            // Else it goes on, or the program stops.
            if let Ok(Some(tally)) = polled {
                let tally = tally?;
                answered |= tally.is_answered();
                synced.add(tally);
            } else {
                answered = true;
                synced.unfinished += 1;
            }
        }
        match synced.reason.take_if(|_| !answered) {
            Some(reason) => Err(SyncError::Unreachable { reason }),
            None => Ok(synced),
        }
    }
}

impl Tally {
    /// Whether the provider answered anything, or was not asked.
    const fn is_answered(&self) -> bool {
        self.synced > 0 || (self.unreachable.is_none() && self.list_unread.is_none())
    }
}

impl Poll {
    /// How many jobs were found of which it was not known whether they had arrived, and why the list could
    /// not be read as far as it was to be.
    pub(super) async fn find_missing(&self) -> (u64, Option<String>) {
        let Arrivals::Listed(list) = self.served.provider().arrivals() else { return (0, None) };
        let since = self.served.observe_time().and_then(|now| now.saturating_sub(NEWEST).ok());
        let mut query = ListQuery { since, until: None, cursor: None };
        let mut found = 0;
        for _ in 0..PAGES {
            let page = match self.served.page(list, &query).await {
                Ok(page) => page,
                Err(error) => return (found, Some(self.log_unread_list(&error))),
            };
            match self.adopt_listed(page.jobs).await {
                Ok(adopted) => found += adopted,
                Err(error) => return (found, Some(self.log_unread_list(&error))),
            }
            let Some(next) = page.next else { break };
            query.cursor = Some(next);
        }
        (found, None)
    }

    fn log_unread_list(&self, error: &dyn std::error::Error) -> String {
        let reason = Chain(error).to_string();
        st_log::debug!(
            logger: LOG, provider = self.served.name().as_str(), reason = reason.as_str(),
            "List of the provider could not be read for missing jobs"
        );
        reason
    }

    async fn adopt_listed(&self, listed: Vec<ListedJob>) -> Result<u64, IntakeError> {
        let ids: Vec<_> = listed.iter().map(|it| it.status.provider_job_id.clone()).collect();
        let known = self.store.known_provider_jobs(self.served.name(), &ids).await?;
        let mut found = 0;
        for ListedJob { status, trace, created_at: _ } in listed {
            let Trace::Marker { marker, by_hand: false } = trace else { continue };
            if known.contains_key(&status.provider_job_id) {
                continue;
            }
            let Some(record) = self.store.find_job(&JobRef::Id(marker.job)).await? else {
                continue;
            };
            let adopted = self.adopt(&Actor::Poller, &record, marker, status).await?;
            found += u64::from(adopted.is_some());
        }
        Ok(found)
    }
}
