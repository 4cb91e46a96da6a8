//! A whole store as text, and what must be true of it at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use st_store::{
    ApprovalStatus, AuditFilter, Change, ClaimOptions, Event, EventId, Group, JobFilter, JobId,
    JobRecord, JobRef, JobStatus, Limit, PageRequest, ProviderName, QueueFilter, QueueStatus,
    RequestFilter, Standings, Store, Usage,
};

use crate::suite::{claiming, provider_job, serving};

/// The providers whose lists and settings are part of a dump.
const PROVIDERS: [&str; 2] = ["fake", "other"];

/// Everything that can be asked of a store, one object a line: two stores with the same dump cannot
/// be distinguished.
///
/// # Panics
/// When a call on the store fails: then the test has failed.
#[expect(clippy::unwrap_used, reason = "a test double reports by panicking")]
pub async fn dump(store: &dyn Store) -> String {
    let mut text = String::new();
    let jobs = all_jobs(store).await;
    let ids: Vec<JobId> = jobs.iter().map(JobRecord::id).collect();
    let Standings { of, holds, budgets, pace } = store.standings(&ids).await.unwrap();
    writeln!(text, "held by {holds:?} {budgets:?}, pace {pace:?}").unwrap();
    for (record, standing) in jobs.iter().zip(of) {
        let input = store.input(record.id()).await.unwrap();
        writeln!(text, "{record:?} {standing:?} {input}").unwrap();
    }
    for event in all_events(store).await {
        writeln!(text, "{event:?}").unwrap();
    }
    let filter = QueueFilter { include_completed: true, ..QueueFilter::default() };
    let entries = store.list_entries(filter, everything()).await.unwrap();
    let entries: Vec<i64> = entries.items.iter().map(|record| record.entry().id.0).collect();
    writeln!(text, "entries {entries:?}").unwrap();
    let requests = store.list_requests(RequestFilter::default(), everything()).await.unwrap();
    let requests: Vec<JobId> = requests.items.iter().map(JobRecord::id).collect();
    writeln!(text, "requests {requests:?}").unwrap();
    for &status in JobStatus::ALL {
        let filter = JobFilter { status: Some(status), ..JobFilter::default() };
        let page = store.list_jobs(&filter, PageRequest { limit: 2, offset: 0 }).await.unwrap();
        writeln!(text, "{status} {:?} of {}", page.next, page.total).unwrap();
    }
    for budget in store.budgets().await.unwrap() {
        writeln!(text, "{budget:?}").unwrap();
    }
    writeln!(text, "polling {:?}", store.polling_preference().await.unwrap()).unwrap();
    text += &queues(store).await;
    text += &accounts(store).await;
    text += &webhooks(store).await;
    writeln!(text, "rules {:?}", store.list_rules().await.unwrap()).unwrap();
    writeln!(text, "stats {:?}", store.queue_stats().await.unwrap()).unwrap();
    let provider_jobs: Vec<_> = (0..20).map(provider_job).collect();
    for provider in PROVIDERS.map(ProviderName::new) {
        let there = store.list_at_provider(&provider, None, 1000).await.unwrap();
        let there: Vec<String> = there.iter().map(|record| record.id().to_string()).collect();
        writeln!(text, "{provider} has {there:?}").unwrap();
        let settings = store.provider_settings(&provider).await.unwrap();
        writeln!(text, "{provider} {settings:?}").unwrap();
        let known = store.known_provider_jobs(&provider, &provider_jobs).await.unwrap();
        writeln!(text, "{provider} knows {known:?}").unwrap();
        for stray in store.due_strays(&provider, 1000).await.unwrap() {
            writeln!(text, "{stray:?}").unwrap();
        }
        for recheck in store.due_rechecks(&provider, 1000).await.unwrap() {
            writeln!(text, "{recheck:?}").unwrap();
        }
        for due in store.due_results(&provider, &BTreeSet::new(), 1000).await.unwrap() {
            writeln!(text, "{due:?}").unwrap();
        }
    }
    writeln!(text, "{:?}", store.unsettled().await.unwrap()).unwrap();
    writeln!(text, "results {:?}", store.results_waiting(&BTreeSet::new()).await.unwrap()).unwrap();
    writeln!(text, "deleted {:?}", store.deleted_jobs(1000).await.unwrap()).unwrap();
    writeln!(text, "totals {:?}", store.daily_totals().await.unwrap()).unwrap();
    let position = store.events_after(EventId(0), 1).await.unwrap();
    writeln!(text, "all events are there: {}", !position.resync).unwrap();
    writeln!(text, "in use {:?}", store.providers_in_use().await.unwrap()).unwrap();
    let serving = PROVIDERS.map(serving).into();
    let options = ClaimOptions { serving, ..claiming(1) };
    let due = store.next_due(&options, &BTreeSet::new()).await.unwrap();
    writeln!(text, "due in {due:?}").unwrap();
    writeln!(text, "expiry in {:?}", store.next_expiry().await.unwrap()).unwrap();
    let last = *store.last_event().borrow();
    writeln!(text, "epoch {} last event {last} now {}", store.epoch(), store.now()).unwrap();
    text
}

#[expect(clippy::unwrap_used, reason = "a test double reports by panicking")]
async fn accounts(store: &dyn Store) -> String {
    let (keys, trail) =
        (store.list_keys(None, 500).await, store.audit(&AuditFilter::default(), 500).await);
    format!("keys {:?}\n{:?}\n", keys.unwrap(), trail.unwrap())
}

#[expect(clippy::unwrap_used, reason = "a test double reports by panicking")]
async fn webhooks(store: &dyn Store) -> String {
    let (hooks, sent) = (store.webhooks().await, store.deliveries(None, everything()).await);
    format!("webhooks {:?}\n{:?}\n", hooks.unwrap(), sent.unwrap())
}

/// What users have in the queue, and what waits for a decision.
#[expect(clippy::unwrap_used, reason = "a test double reports by panicking")]
async fn queues(store: &dyn Store) -> String {
    let mut text = String::new();
    writeln!(text, "holds {:?}", store.holds().await.unwrap()).unwrap();
    writeln!(text, "weights {:?}", store.weights().await.unwrap()).unwrap();
    writeln!(text, "used {:?}", store.share_usage().await.unwrap()).unwrap();
    for user in ["ann", "user-0", "user-1", "user-2"].map(st_store::UserId::new) {
        let queue = store.user_queue(&user, 2).await.unwrap();
        let [next, in_slots] = [&queue.next, &queue.in_slots]
            .map(|records| records.iter().map(JobRecord::id).collect::<Vec<_>>());
        let counts = (queue.pending, queue.running, queue.blocked, queue.best_position);
        writeln!(text, "queue of {user}: {counts:?} {next:?} {in_slots:?}").unwrap();
    }
    writeln!(text, "open requests {}", store.pending_requests().await.unwrap()).unwrap();
    text
}

fn everything() -> PageRequest {
    PageRequest { limit: 500, offset: 0 }
}

#[expect(clippy::unwrap_used, reason = "a test double reports by panicking")]
async fn all_jobs(store: &dyn Store) -> Vec<JobRecord> {
    let page = store.list_jobs(&JobFilter::default(), everything()).await.unwrap();
    assert_eq!(page.items.len() as u64, page.total, "more jobs than fit on a page");
    assert_eq!(page.damaged, [], "nothing is damaged");
    page.items
}

#[expect(clippy::unwrap_used, reason = "a test double reports by panicking")]
async fn all_events(store: &dyn Store) -> Vec<Event> {
    let mut events = Vec::new();
    let mut after = EventId(0);
    loop {
        let page = store.events_after(after, 500).await.unwrap();
        assert_eq!(page.damaged, [], "nothing is damaged");
        events.extend(page.events);
        match page.next {
            Some(next) => after = next,
            None => return events,
        }
    }
}

/// The statuses that the events of one job add up to.
#[derive(Debug, Default, PartialEq)]
struct Replayed {
    job: Option<JobStatus>,
    queue: Option<QueueStatus>,
    approval: Option<ApprovalStatus>,
}

impl Replayed {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Job { from, to, .. } => {
                assert_eq!(self.job, *from, "a job's events are without a gap");
                assert!(from.is_none_or(|from| from.may_become(*to)), "{from:?} to {to}");
                self.job = Some(*to);
            }
            Change::Queue { from, to, .. } => {
                assert_eq!(self.queue, *from, "an entry's events are without a gap");
                assert!(from.is_none_or(|from| from.may_become(*to)), "{from:?} to {to}");
                self.queue = Some(*to);
            }
            Change::Approval { from, to, .. } => {
                assert_eq!(self.approval, *from, "a request's events are without a gap");
                assert!(from.is_none_or(|from| from.may_become(*to)), "{from:?} to {to}");
                self.approval = Some(*to);
            }
            Change::Priority { .. }
            | Change::Deleted { .. }
            | Change::Provider { .. }
            | Change::Limits { .. } => {}
        }
    }
}

/// Checks what must be true at any time, also while limits are lower than what runs: see
/// [`check_records`]; and that no limit is exceeded.
///
/// # Panics
/// When something is not as it must be.
#[expect(clippy::unwrap_used, reason = "a test double reports by panicking")]
pub async fn check_invariants(store: &dyn Store) {
    check_records(store).await;
    let mut usage = Usage::default();
    let jobs = all_jobs(store).await;
    let running = || jobs.iter().filter(|record| record.queue_status().takes_slot());
    for record in running() {
        usage.add(&Group::of(record), 1);
    }
    let limits = store.limits().await.unwrap();
    for record in running() {
        for &limit in Limit::ALL {
            let used = usage.of(limit, &record.job().owner);
            assert!(used <= limits.get(limit), "{limit}: {used}");
        }
    }
}

/// Checks each record by itself, that the events add up to the stored statuses, and that no two
/// jobs have one provider job.
///
/// # Panics
/// When something is not as it must be.
#[expect(clippy::unwrap_used, reason = "a test double reports by panicking")]
pub async fn check_records(store: &dyn Store) {
    let mut replayed: BTreeMap<JobId, Replayed> = BTreeMap::new();
    let mut last = EventId(0);
    for event in all_events(store).await {
        assert!(event.id > last, "event IDs rise");
        last = event.id;
        if matches!(event.event.change, Change::Deleted { .. }) {
            continue;
        }
        if let Some(job) = event.event.change.job() {
            replayed.entry(job).or_default().apply(&event.event.change);
        }
    }
    let mut at_providers = BTreeSet::new();
    let mut due = BTreeSet::new();
    for record in all_jobs(store).await {
        assert_eq!(record.check(), Ok(()), "{record:?}");
        let stored = Replayed {
            job: Some(record.status()),
            queue: Some(record.queue_status()),
            approval: record.approval().map(st_store::Approval::status),
        };
        let events = replayed.remove(&record.id()).unwrap_or_default();
        assert_eq!(events, stored, "the events of {} add up", record.id());
        if record.job().has_due_results() {
            due.insert(record.job().provider.clone());
        }
        if let Some(id) = record.provider_job_id() {
            let provider = record.job().provider.clone();
            assert!(at_providers.insert((provider.clone(), id.clone())), "{id} has two jobs");
            let found = JobRef::Provider { provider, id: id.clone() };
            assert_eq!(store.find_job(&found).await.unwrap().as_ref(), Some(&record));
        }
    }
    assert!(replayed.is_empty(), "every event has its job");
    let waiting = store.results_waiting(&BTreeSet::new()).await.unwrap();
    let waiting: BTreeSet<ProviderName> = waiting.into_iter().map(|(name, _)| name).collect();
    assert_eq!(waiting, due, "what is due is fetched, and nothing else");
}
