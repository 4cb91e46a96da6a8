//! The jobs that the provider in memory accepted, and its list of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use st_store::{AccountId, JobStatus, Marker, ProviderJobId, ProviderStatus};
use st_workers::provider::{ListPage, ListQuery, ListedJob, Trace};

/// How many jobs a page of the list has.
const PAGE: usize = 100;

/// A job in the ledger.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerJob {
    /// Its place in the order of arrival, from 1.
    pub number: u64,
    /// The attempt that it came from.
    pub marker: Marker,
    /// What the provider reports about it.
    pub status: ProviderStatus,
    /// The correlation ID under which it was submitted.
    pub correlation_id: String,
    /// When it arrived, by the provider's clock.
    pub created_at: Timestamp,
    /// The account that submitted it; every account sees it when it is `None`.
    pub account: Option<AccountId>,
    /// Whether a person made it.
    pub by_hand: bool,
    /// How much of it the provider still shows.
    pub kept: Kept,
}

/// How much of a job the provider still shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// All of it.
    Whole,
    /// All but its input, and the marker in it.
    WithoutInput,
    /// Nothing: neither the list nor a question shows it.
    Nothing,
}

impl LedgerJob {
    /// Whether it is not over, and so costs money.
    pub fn is_live(&self) -> bool {
        self.status.status.is_some_and(JobStatus::is_active)
    }

    pub(super) fn is_visible_to(&self, account: Option<&AccountId>) -> bool {
        self.kept != Kept::Nothing && (self.account.is_none() || self.account.as_ref() == account)
    }

    fn listed(&self) -> ListedJob {
        let trace = match self.kept {
            Kept::Whole => Trace::Marker { marker: self.marker, by_hand: self.by_hand },
            Kept::WithoutInput | Kept::Nothing => Trace::Deleted,
        };
        ListedJob { status: self.status.clone(), created_at: Some(self.created_at), trace }
    }
}

/// All jobs that arrived, by their place in the order of arrival.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    jobs: BTreeMap<u64, LedgerJob>,
}

impl Ledger {
    pub(super) fn accept(
        &mut self,
        marker: Marker,
        correlation_id: String,
        account: Option<AccountId>,
        created_at: Timestamp,
    ) -> ProviderStatus {
        let number = self.jobs.len() as u64 + 1;
        let id = ProviderJobId::new(format!("p{number}"));
        let status = ProviderStatus::new(id, JobStatus::Queued);
        let job = LedgerJob {
            number,
            marker,
            status: status.clone(),
            correlation_id,
            created_at,
            account,
            by_hand: false,
            kept: Kept::Whole,
        };
        self.jobs.insert(number, job);
        status
    }

    pub(super) fn jobs(&self) -> Vec<LedgerJob> {
        self.jobs.values().cloned().collect()
    }

    pub(super) fn find(&self, id: &ProviderJobId) -> Option<&LedgerJob> {
        self.jobs.values().find(|job| job.status.provider_job_id == *id)
    }

    pub(super) fn change(&mut self, id: &ProviderJobId, change: impl FnOnce(&mut LedgerJob)) {
        if let Some(job) = self.jobs.values_mut().find(|job| job.status.provider_job_id == *id) {
            change(job);
        }
    }

    /// A page of the account's list, newest first. The cursor is the number of the last row of the
    /// page before.
    pub(super) fn page(&self, query: &ListQuery, account: Option<&AccountId>) -> ListPage {
        let before = query.cursor.as_ref().and_then(|cursor| cursor.parse().ok());
        let mut rows = self.jobs.range(..before.unwrap_or(u64::MAX)).rev().map(|(_, job)| job);
        let mut rows = rows.by_ref().filter(|job| {
            job.is_visible_to(account)
                && query.since.is_none_or(|since| job.created_at >= since)
                && query.until.is_none_or(|until| job.created_at <= until)
        });
        let page: Vec<&LedgerJob> = rows.by_ref().take(PAGE).collect();
        let more = rows.next().is_some();
        ListPage {
            jobs: page.iter().map(|job| job.listed()).collect(),
            rows: page.len(),
            unreadable: 0,
            newest: page.iter().map(|job| job.created_at).max(),
            next: page.last().filter(|_| more).map(|job| job.number.to_string()),
        }
    }
}
