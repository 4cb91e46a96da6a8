//! Lists, totals and positions: each is compared with what plain counting over all records gives.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use st_store::{
    ApprovalStatus, Due, JobFilter, JobId, JobRecord, JobStatus, JobType, LimitsPatch, NewJob,
    Page, PageRequest, Priority, ProviderName, QueueFilter, QueueStatus, RequestFilter, Stage,
    UserId, Verdict,
};

use super::{
    Harness, accepted, at, claiming, costs_more_than, decision, everything, failed, id, job,
    serving, settlement, status, user,
};

/// Few rows, so that a list has many pages.
const FEW: PageRequest = PageRequest { limit: 3, offset: 0 };

/// Reads a list page by page to its end, each behind the one before.
async fn read_all<K: Copy>(
    list: impl AsyncFn(Option<K>) -> Page<JobRecord, K>,
    meanwhile: impl AsyncFn(),
) -> Vec<JobId> {
    let (mut seen, mut behind) = (Vec::new(), None);
    loop {
        let page = list(behind).await;
        assert!(page.damaged.is_empty());
        seen.extend(page.items.iter().map(JobRecord::id));
        behind = page.next;
        if behind.is_none() {
            return seen;
        }
        assert_eq!(page.items.len(), 3, "only the last page is not full");
        meanwhile().await;
    }
}

/// Checks that nothing came twice, and everything that was there all the time.
fn check_read(seen: &[JobId], there_before: &[JobId], what: &str) {
    let distinct: BTreeSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len(), "{what}: nothing comes twice");
    let missing: Vec<_> = there_before.iter().filter(|job| !distinct.contains(job)).collect();
    assert!(missing.is_empty(), "{what}: {missing:?} were left out");
}

/// A job of one of two users, providers and types each.
fn varied(number: u8) -> NewJob {
    let mut new = job(number, if number.is_multiple_of(3) { "ann" } else { "bob" });
    if number.is_multiple_of(4) {
        new.provider = ProviderName::new("other");
    }
    if number.is_multiple_of(5) {
        new.job_type = JobType::Local;
    }
    new
}

pub async fn pages_of_jobs_leave_nothing_out_and_repeat_nothing(harness: &Harness) {
    let (ann, other) = (Some(UserId::new("ann")), Some(ProviderName::new("other")));
    let filters = [
        JobFilter::default(),
        JobFilter { user: ann.clone(), ..JobFilter::default() },
        JobFilter { provider: other.clone(), ..JobFilter::default() },
        JobFilter { job_type: Some(JobType::Cloud), ..JobFilter::default() },
        JobFilter { status: Some(JobStatus::Pending), user: ann, ..JobFilter::default() },
        JobFilter { status: Some(JobStatus::Pending), provider: other, ..JobFilter::default() },
    ];
    for number in (2..120).step_by(2) {
        harness.submit(varied(number)).await;
    }
    // New ones come before and behind where the list is being read.
    let added = std::sync::atomic::AtomicU8::new(1);
    for filter in filters {
        let list = async |before, page| {
            let filter = JobFilter { before, ..filter.clone() };
            harness.store.list_jobs(&filter, page).await.unwrap()
        };
        let before: Vec<_> = list(None, everything()).await.items;
        let before: Vec<_> = before.iter().map(JobRecord::id).collect();
        let add = async || {
            let number = added.fetch_add(2, std::sync::atomic::Ordering::Relaxed);
            if number < 120 {
                harness.submit(varied(number.wrapping_mul(7) | 1)).await;
            }
        };
        let seen = read_all(async |behind| list(behind, FEW).await, add).await;
        check_read(&seen, &before, &format!("{filter:?}"));
        assert!(seen.is_sorted_by(|newer, older| newer > older), "the newest comes first");
    }
}

pub async fn pages_of_entries_leave_nothing_out_while_they_move(harness: &Harness) {
    for number in 1..=20 {
        harness.submit(job(number, &format!("user-{number}"))).await;
    }
    let all = QueueFilter { include_completed: true, ..QueueFilter::default() };
    let pending = QueueFilter { status: Some(QueueStatus::Pending), ..QueueFilter::default() };
    for (round, filter) in (0..).zip([QueueFilter::default(), all, pending]) {
        let list = async |after, page| {
            harness.store.list_entries(QueueFilter { after, ..filter }, page).await.unwrap()
        };
        let before = list(None, everything()).await.items;
        let claim = async || {
            harness.store.claim(&claiming(1)).await.unwrap();
            let total = list(None, FEW).await.total;
            harness.submit(job(21 + round * 70 + u8::try_from(total).unwrap(), "ann")).await;
        };
        let seen = read_all(async |behind| list(behind, FEW).await, claim).await;
        // What was claimed meanwhile has left the list of what waits.
        let stays = async |record: &JobRecord| {
            filter.status.is_none()
                || harness.store.find_job(&st_store::JobRef::Id(record.id())).await.unwrap()
                    == Some(record.clone())
        };
        let mut stayed = Vec::new();
        for record in &before {
            if stays(record).await {
                stayed.push(record.id());
            }
        }
        check_read(&seen, &stayed, &format!("{filter:?}"));
    }
}

pub async fn pages_of_requests_leave_nothing_out_while_they_are_decided(harness: &Harness) {
    harness.store.add_rule(costs_more_than("50")).await.unwrap();
    let mut requests = Vec::new();
    for number in 1..=14 {
        requests.push(harness.blocked(number, 600).await);
    }
    let list = async |status, before| {
        let filter = RequestFilter { status, user: None, before };
        harness.store.list_requests(filter, FEW).await.unwrap()
    };
    let all: Vec<_> = (1..=14).rev().map(id).collect();
    let decided = std::sync::Mutex::new(requests.clone());
    let decide = async || {
        let next = decided.lock().unwrap().pop();
        let Some(next) = next else { return };
        harness.store.decide(next, &decision(Verdict::Approve)).await.unwrap();
    };
    let seen = read_all(async |before| list(None, before).await, decide).await;
    assert_eq!(seen, all, "whatever became of them");
    let pending = Some(ApprovalStatus::Pending);
    let open = read_all(async |before| list(pending, before).await, async || {}).await;
    let approved = Some(ApprovalStatus::Approved);
    let over = read_all(async |before| list(approved, before).await, async || {}).await;
    assert_eq!([over.clone(), open].concat(), all, "the newest were decided first");
    assert_eq!(list(approved, None).await.total, over.len() as u64);
}

/// Each filter of a list of jobs that can be made of what there is.
fn filters() -> Vec<JobFilter> {
    let mut filters = Vec::new();
    let statuses = || std::iter::once(None).chain(JobStatus::ALL.iter().copied().map(Some));
    for status in statuses() {
        for provider in [None, Some("fake"), Some("other"), Some("none")] {
            for job_type in [None, Some(JobType::Local), Some(JobType::Cloud)] {
                for user in [None, Some("ann"), Some("none")] {
                    let provider = provider.map(ProviderName::new);
                    let user = user.map(UserId::new);
                    filters.push(JobFilter { job_type, status, provider, user, before: None });
                }
            }
        }
    }
    filters
}

fn matches(filter: &JobFilter, record: &JobRecord) -> bool {
    let job = record.job();
    filter.job_type.is_none_or(|it| it == job.job_type)
        && filter.status.is_none_or(|it| it == record.status())
        && filter.provider.as_ref().is_none_or(|it| *it == job.provider)
        && filter.user.as_ref().is_none_or(|it| *it == job.owner.user)
}

/// Compares every list and its total with the records.
async fn check_lists(harness: &Harness) {
    let all = harness.store.list_jobs(&JobFilter::default(), everything()).await.unwrap().items;
    for filter in filters() {
        let expected: Vec<JobId> =
            all.iter().filter(|it| matches(&filter, it)).map(JobRecord::id).collect();
        let skip = PageRequest { limit: 2, offset: 1 };
        let page = harness.store.list_jobs(&filter, skip).await.unwrap();
        let listed: Vec<JobId> = page.items.iter().map(JobRecord::id).collect();
        assert_eq!(page.total, expected.len() as u64, "{filter:?}");
        assert_eq!(listed, expected.into_iter().skip(1).take(2).collect::<Vec<_>>(), "{filter:?}");
    }
    for &status in QueueStatus::ALL {
        let expected = all.iter().filter(|it| it.queue_status() == status).count();
        let filter = QueueFilter { status: Some(status), ..QueueFilter::default() };
        let page = harness.store.list_entries(filter, everything()).await.unwrap();
        assert_eq!((page.total, page.items.len()), (expected as u64, expected), "{status}");
    }
    for status in std::iter::once(None).chain(ApprovalStatus::ALL.iter().copied().map(Some)) {
        let requested = all.iter().filter_map(JobRecord::approval);
        let expected = requested.filter(|it| status.is_none_or(|status| it.status() == status));
        let filter = RequestFilter { status, ..RequestFilter::default() };
        let page = harness.store.list_requests(filter, everything()).await.unwrap();
        assert_eq!(page.total, expected.count() as u64, "{status:?}");
        assert_eq!(page.items.len() as u64, page.total, "{status:?}");
        for user in ["ann", "bob"].map(UserId::new) {
            let own = page.items.iter().filter(|it| it.job().owner.user == user);
            let own: Vec<JobId> = own.map(JobRecord::id).collect();
            let filter = RequestFilter { status, user: Some(user), before: None };
            let page = harness.store.list_requests(filter, everything()).await.unwrap();
            let listed: Vec<JobId> = page.items.iter().map(JobRecord::id).collect();
            assert_eq!((page.total, listed), (own.len() as u64, own), "{status:?}");
        }
    }
}

pub async fn totals_are_right_after_every_transition(harness: &Harness) {
    harness.store.add_rule(costs_more_than("50")).await.unwrap();
    check_lists(harness).await;
    for number in 1..=12 {
        harness.submit(varied(number)).await;
    }
    let (approved, rejected) = (harness.blocked(20, 60).await, harness.blocked(21, 60).await);
    harness.blocked(22, 60).await;
    harness.submit(NewJob { estimated_cost: 100.0, ..job(23, "bob") }).await;
    check_lists(harness).await;
    harness.store.decide(approved, &decision(Verdict::Approve)).await.unwrap();
    harness.store.decide(rejected, &decision(Verdict::Reject)).await.unwrap();
    check_lists(harness).await;
    harness.go_to(120);
    harness.store.confirm_clock(st_store::ClockEvidence::Operator);
    assert_eq!(harness.store.expire(9).await.unwrap().expired.len(), 1);
    check_lists(harness).await;
    let mut options = claiming(5);
    options.serving.push(serving("other"));
    let claims = harness.store.claim(&options).await.unwrap().claims;
    check_lists(harness).await;
    assert!(claims.len() >= 3, "the rest needs three");
    let there = harness.settle(&claims[0].record, accepted(1)).await.unwrap().1;
    harness.settle(&claims[1].record, failed(60)).await.unwrap();
    check_lists(harness).await;
    for to in [JobStatus::Running, JobStatus::Completed] {
        let report = st_store::Outcome::Reported(status(1, to));
        harness.settle_as(&st_store::Actor::Poller, settlement(&there, report)).await.unwrap();
        check_lists(harness).await;
    }
    for number in 1..=12 {
        // Refused where the job is over.
        let cancelled = harness.store.cancel_job(id(number), &user("ann")).await;
        assert_eq!(cancelled.is_err(), number == super::number(&there), "{cancelled:?}");
    }
    check_lists(harness).await;
}

/// The positions of jobs as they are counted: each before which it is claimed counts.
fn counted(records: &[JobRecord]) -> Vec<Option<u64>> {
    let key = |record: &JobRecord| (record.entry().deadline(), record.entry().id);
    let is_claimable = |record: &JobRecord| matches!(record.stage(), Stage::Waiting(waiting) if waiting.due == Due::Now);
    let waiting: Vec<_> = records.iter().filter(|it| is_claimable(it)).map(key).collect();
    let position = |record| waiting.iter().filter(|&&other| other <= key(record)).count() as u64;
    records.iter().map(|it| is_claimable(it).then(|| position(it))).collect()
}

pub async fn positions_are_what_counting_gives(harness: &Harness) {
    let many = LimitsPatch { global: Some(100), per_user: Some(20), ..LimitsPatch::default() };
    harness.store.patch_limits(many, &st_store::Actor::Operator).await.unwrap();
    let (mut random, mut now) = (fastrand::Rng::with_seed(7), 0);
    for number in 1..=100 {
        // Some come at one moment, some far apart.
        now += [0, 0, 1, 30, 900][random.usize(..5)];
        harness.go_to(now);
        let mut new = job(number, ["ann", "bob", "eve"][random.usize(..3)]);
        new.priority_override = Priority::new([0, 25, 25, 50][random.usize(..4)]).ok();
        if random.u8(..6) == 0 {
            new.run_after = Some(at(i64::try_from(now).unwrap() + random.i64(1..2000)));
        }
        harness.submit(new).await;
        match random.u8(..8) {
            0 => {
                let claims = harness.store.claim(&claiming(2)).await.unwrap().claims;
                for claim in claims {
                    harness.settle(&claim.record, failed(random.i64(1..600))).await.unwrap();
                }
            }
            1 => {
                // Refused where it is over already.
                let _either =
                    harness.store.cancel_job(id(random.u8(1..=number)), &user("ann")).await;
            }
            2 => {
                let by = SignedDuration::from_mins(random.i64(-300..300));
                harness.clock.step(by);
            }
            _ => {}
        }
        let page = harness.store.list_jobs(&JobFilter::default(), everything()).await.unwrap();
        let jobs: Vec<JobId> = page.items.iter().map(JobRecord::id).collect();
        let standings = harness.store.standings(&jobs).await.unwrap().of;
        let found: Vec<_> = standings.iter().map(|it| it.map(|it| it.position)).collect();
        assert_eq!(found, counted(&page.items), "after {number}");
    }
}

pub async fn the_pace_counts_the_jobs_that_are_due_and_no_others(harness: &Harness) {
    harness.submit(job(1, "ann")).await;
    harness.claim().await;
    for number in 2..=4 {
        harness.submit(job(number, "ann")).await;
    }
    for number in 5..=9 {
        let run_after = Some(at(3600));
        harness.submit(NewJob { run_after, ..job(number, "ann") }).await;
    }
    let pace = harness.store.standings(&[id(2)]).await.unwrap().pace.unwrap();
    assert_eq!(pace.claimable, 3);
    assert_eq!(harness.store.queue_stats().await.unwrap().pace(), pace);
    assert_eq!(harness.store.queue_stats().await.unwrap().count(QueueStatus::Pending), 8);
}
