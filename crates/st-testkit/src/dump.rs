//! A whole store as text, and what must be true of it at any time.

use std::collections::BTreeMap;
use std::fmt::Write;

use st_store::{
    ApprovalStatus, Change, Event, EventId, JobFilter, JobId, JobStatus, Limit, PageRequest,
    ProviderName, QueueFilter, QueueStatus, Store, Usage, Work,
};

/// Everything that can be asked of a store, one thing a line: two stores with the same dump cannot
/// be told apart.
///
/// # Panics
/// When the store fails: the test that asks has failed then.
#[expect(clippy::unwrap_used, reason = "a test double says what is wrong by panicking")]
pub async fn dump(store: &dyn Store) -> String {
    let mut text = String::new();
    for work in all_jobs(store).await {
        let position = store.position(work.job.id).await.unwrap();
        writeln!(text, "{work:?} position {position:?}").unwrap();
    }
    for event in all_events(store).await {
        writeln!(text, "{event:?}").unwrap();
    }
    let filter = QueueFilter { status: None, include_completed: true };
    let entries = store.list_entries(filter, everything()).await.unwrap();
    let entries: Vec<i64> = entries.items.iter().map(|work| work.entry.id.0).collect();
    writeln!(text, "entries {entries:?}").unwrap();
    writeln!(text, "rules {:?}", store.list_rules().await.unwrap()).unwrap();
    writeln!(text, "stats {:?}", store.queue_stats().await.unwrap()).unwrap();
    writeln!(text, "providers {:?}", store.active_providers().await.unwrap()).unwrap();
    let active = store.list_active(&ProviderName::new("fake"), None, 1000).await.unwrap();
    let active: Vec<String> = active.iter().map(|work| work.job.id.to_string()).collect();
    writeln!(text, "active {active:?}").unwrap();
    writeln!(text, "due {:?}", store.next_due().await.unwrap()).unwrap();
    writeln!(text, "expiry {:?}", store.next_expiry().await.unwrap()).unwrap();
    writeln!(text, "last event {:?}", *store.last_event().borrow()).unwrap();
    text
}

fn everything() -> PageRequest {
    PageRequest { limit: 100_000, offset: 0 }
}

#[expect(clippy::unwrap_used, reason = "a test double says what is wrong by panicking")]
async fn all_jobs(store: &dyn Store) -> Vec<Work> {
    store.list_jobs(&JobFilter::default(), everything()).await.unwrap().items
}

#[expect(clippy::unwrap_used, reason = "a test double says what is wrong by panicking")]
async fn all_events(store: &dyn Store) -> Vec<Event> {
    store.events_after(EventId(0), u32::MAX).await.unwrap()
}

/// What the events of one job add up to.
#[derive(Debug, Default, PartialEq)]
struct Replayed {
    job: Option<JobStatus>,
    queue: Option<QueueStatus>,
    approval: Option<ApprovalStatus>,
}

/// Checks what must be true at any time, whatever happened: the events add up to what is stored, the
/// three statuses of a job fit each other, and no limit is exceeded.
///
/// # Panics
/// When something is not as it must be.
#[expect(clippy::unwrap_used, reason = "a test double says what is wrong by panicking")]
pub async fn check_invariants(store: &dyn Store) {
    let mut replayed: BTreeMap<JobId, Replayed> = BTreeMap::new();
    let mut last = EventId(0);
    for event in all_events(store).await {
        assert!(event.id > last, "event IDs rise");
        last = event.id;
        let state = replayed.entry(event.event.job_id).or_default();
        match event.event.change {
            Change::Job { from, to } => {
                assert_eq!(state.job, from, "a job's events are without a gap");
                assert!(from.is_none_or(|from| from.may_become(to)), "{from:?} to {to}");
                state.job = Some(to);
            }
            Change::Queue { from, to } => {
                assert_eq!(state.queue, from, "an entry's events are without a gap");
                assert!(from.is_none_or(|from| from.may_become(to)), "{from:?} to {to}");
                state.queue = Some(to);
            }
            Change::Approval { from, to, .. } => {
                assert_eq!(state.approval, from, "a request's events are without a gap");
                state.approval = Some(to);
            }
        }
    }
    let mut usage = Usage::default();
    let works = all_jobs(store).await;
    for work in &works {
        let stored = Replayed {
            job: Some(work.job.status),
            queue: Some(work.entry.status),
            approval: work.approval.as_ref().map(|request| request.status),
        };
        let events = replayed.remove(&work.job.id).unwrap_or_default();
        assert_eq!(events, stored, "the events of {} add up", work.job.id);
        fit_each_other(work);
        if work.entry.status.takes_slot() {
            usage.add(&work.job.owner, work.job.job_type, 1);
        }
    }
    assert!(replayed.is_empty(), "every event has its job");
    let limits = store.limits().await.unwrap();
    for work in works.iter().filter(|work| work.entry.status.takes_slot()) {
        for &limit in Limit::ALL {
            let used = usage.of(limit, &work.job.owner);
            assert!(used <= limits.get(limit).max(1), "{limit}: {used}");
        }
    }
}

fn fit_each_other(work: &Work) {
    let (job, entry) = (work.job.status, work.entry.status);
    let fits = match entry {
        QueueStatus::Blocked => job == JobStatus::Pending,
        QueueStatus::Pending => matches!(job, JobStatus::Pending | JobStatus::Uploading),
        QueueStatus::Ready => job == JobStatus::Uploading,
        QueueStatus::Running => matches!(job, JobStatus::Queued | JobStatus::Running),
        QueueStatus::Completed => job == JobStatus::Completed,
        QueueStatus::Failed => matches!(job, JobStatus::Failed | JobStatus::Cancelled),
        QueueStatus::Cancelled => job == JobStatus::Cancelled,
    };
    assert!(fits, "job {job}, entry {entry}");
    assert_eq!(work.entry.lease.is_some(), entry == QueueStatus::Ready, "a lease is for ready");
    let undecided =
        work.approval.as_ref().is_some_and(|request| request.status == ApprovalStatus::Pending);
    assert_eq!(undecided, entry == QueueStatus::Blocked, "blocked is waiting for approval");
    if entry == QueueStatus::Running {
        assert!(work.job.provider_job_id.is_some(), "the provider has what runs");
    }
}
