//! Approvals.

use std::time::Duration;

use st_store::{
    ApprovalId, ApprovalStatus, Condition, Error, JobRecord, JobStatus, NewRule, QueueStatus,
    RequestFilter, RequiredBy, TransitionError, Verdict,
};

use super::{
    Harness, at, costs_more_than, decision, everything, id, job, number, numbers, refusal, user,
};

fn request(record: &JobRecord) -> &st_store::ApprovalRequest {
    record.approval().unwrap().request()
}

pub async fn a_rule_blocks_what_it_matches(harness: &Harness) {
    let store = &harness.store;
    let rule = store.add_rule(costs_more_than("50")).await.unwrap();
    assert_eq!(rule.created_at, at(0));
    let approval = harness.blocked(1, 60).await;
    let cheap = harness.submit(job(2, "ann")).await;
    assert_eq!((cheap.queue_status(), cheap.approval()), (QueueStatus::Pending, None));
    assert_eq!(numbers(&harness.claim().await), [2], "a blocked job is not claimed");
    let record = store.find_request(approval).await.unwrap().unwrap();
    assert_eq!(record, harness.found(1).await);
    assert_eq!(record.queue_status(), QueueStatus::Blocked);
    assert_eq!(
        (request(&record).required_by, request(&record).expires_at),
        (RequiredBy::Rule(rule.id), at(60))
    );
    assert_eq!(store.find_rule(rule.id).await.unwrap(), Some(rule));
    harness.go_to(20);
    assert_eq!(store.next_expiry().await.unwrap(), Some(Duration::from_secs(40)));
}

pub async fn the_first_matching_rule_decides(harness: &Harness) {
    let store = &harness.store;
    let with = |priority: i64, threshold: &str| NewRule { priority, ..costs_more_than(threshold) };
    let expensive = |number: u8, user: &str| {
        let mut new = job(number, user);
        new.estimated_cost = 100.0;
        new
    };
    store.add_rule(with(0, "1")).await.unwrap();
    let urgent = store.add_rule(with(9, "99")).await.unwrap();
    let equal = store.add_rule(with(9, "98")).await.unwrap();
    store.add_rule(NewRule { is_active: false, ..with(99, "0") }).await.unwrap();
    let first = NewRule { condition: Condition::FirstJob, ..with(5, "") };
    let first = store.add_rule(first).await.unwrap();
    let order: Vec<_> = store.list_rules().await.unwrap().iter().map(|rule| rule.id.0).collect();
    assert_eq!(order, [4, urgent.id.0, equal.id.0, first.id.0, 1]);
    let blocked_by = async |new| request(&harness.submit(new).await).required_by;
    assert_eq!(blocked_by(expensive(1, "ann")).await, RequiredBy::Rule(urgent.id));
    assert_eq!(blocked_by(job(2, "newcomer")).await, RequiredBy::Rule(first.id));
    assert_eq!(harness.submit(job(3, "newcomer")).await.approval(), None);
    let daily = NewRule { condition: Condition::DailyJobsExceed, ..with(50, "1") };
    let daily = store.add_rule(daily).await.unwrap();
    harness.go_to(10);
    assert_eq!(blocked_by(job(4, "newcomer")).await, RequiredBy::Rule(daily.id));
    harness.go_to(24 * 3600 + 5);
    let next_day = harness.submit(job(5, "newcomer")).await;
    assert_eq!(next_day.approval(), None, "only one job was made within the last day");
}

pub async fn approval_admits_the_job_and_rejection_ends_it(harness: &Harness) {
    let store = &harness.store;
    store.add_rule(costs_more_than("50")).await.unwrap();
    let (yes, no) = (harness.blocked(1, 60).await, harness.blocked(2, 60).await);
    harness.go_to(5);
    let approved = store.decide(yes, &decision(Verdict::Approve)).await.unwrap();
    assert_eq!(approved.queue_status(), QueueStatus::Pending);
    assert_eq!(approved.entry().waits_since, at(5));
    let review = approved.approval().unwrap().review().cloned().unwrap();
    assert_eq!((review.by.as_str(), review.notes.as_deref()), ("lead", Some("because")));
    let rejected = store.decide(no, &decision(Verdict::Reject)).await.unwrap();
    assert_eq!(rejected.queue_status(), QueueStatus::Failed);
    assert_eq!(rejected.status(), JobStatus::Cancelled);
    assert_eq!(rejected.job().error_message.as_deref(), Some("rejected by lead: because"));
    assert_eq!(harness.found(2).await, rejected);
    let decided = TransitionError::AlreadyDecided(ApprovalStatus::Rejected);
    assert_eq!(refusal(store.decide(no, &decision(Verdict::Approve)).await), decided);
    assert_eq!(numbers(&harness.claim().await), [1]);
    let missing = store.decide(ApprovalId(99), &decision(Verdict::Approve)).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })));
    let history = harness.history(2).await;
    assert!(history[3..].iter().all(|line| line.ends_with("by user lead")), "{history:?}");
}

pub async fn a_request_is_not_decided_after_its_deadline(harness: &Harness) {
    let store = &harness.store;
    store.add_rule(costs_more_than("50")).await.unwrap();
    let approval = harness.blocked(1, 60).await;
    harness.go_to(59);
    let early = store.expire(10).await.unwrap();
    assert!(early.expired.is_empty() && !early.more && !early.clock_unconfirmed);
    harness.go_to(60);
    assert_eq!(store.next_expiry().await.unwrap(), Some(Duration::ZERO));
    let late = refusal(store.decide(approval, &decision(Verdict::Approve)).await);
    assert_eq!(late, TransitionError::PastDeadline(at(60)));
    let expired = store.expire(10).await.unwrap().expired.remove(0);
    assert_eq!(expired.approval().unwrap().status(), ApprovalStatus::Expired);
    assert_eq!(expired.queue_status(), QueueStatus::Failed);
    assert_eq!(expired.status(), JobStatus::Cancelled);
    assert_eq!(store.next_expiry().await.unwrap(), None);
    let history = harness.history(1).await;
    assert!(history[3..].iter().all(|line| line.ends_with("by expirer")), "{history:?}");
}

pub async fn requests_expire_in_chunks(harness: &Harness) {
    harness.store.add_rule(costs_more_than("50")).await.unwrap();
    for number in 0..25 {
        harness.blocked(number, 100 - i64::from(number)).await;
    }
    harness.go_to(100);
    let mut seen = Vec::new();
    for more in [true, true, false] {
        let expiry = harness.store.expire(10).await.unwrap();
        assert_eq!(expiry.more, more);
        seen.extend(expiry.expired.iter().map(|record| request(record).expires_at));
    }
    assert!(seen.is_sorted() && seen.len() == 25, "the oldest deadline first: {seen:?}");
}

pub async fn approving_and_expiring_have_one_winner(harness: &Harness) {
    harness.store.add_rule(costs_more_than("50")).await.unwrap();
    for number in 0..10_u8 {
        let begin = u64::from(number) * 100;
        harness.go_to(begin);
        let approval = harness.blocked(number, 60).await;
        let theirs = harness.clone();
        let approve = st_log::spawn(async move {
            theirs.store.decide(approval, &decision(Verdict::Approve)).await.is_ok()
        });
        harness.go_to(begin + 60);
        let expired = !harness.store.expire(10).await.unwrap().expired.is_empty();
        let approved = approve.await.unwrap();
        assert!(approved != expired, "approved {approved}, expired {expired}");
    }
}

pub async fn a_bad_rule_is_refused(harness: &Harness) {
    let nul = NewRule { name: "a\0b".to_owned(), ..costs_more_than("1") };
    for rule in [costs_more_than("much"), nul] {
        let refused = harness.store.add_rule(rule).await;
        assert!(matches!(refused, Err(Error::InvalidRule(_))), "{refused:?}");
    }
    assert!(harness.store.list_rules().await.unwrap().is_empty());
}

pub async fn requests_are_listed_newest_first(harness: &Harness) {
    let store = &harness.store;
    store.add_rule(costs_more_than("50")).await.unwrap();
    for number in 1..=4 {
        harness.blocked(number, 60).await;
    }
    store.decide(ApprovalId(2), &decision(Verdict::Approve)).await.unwrap();
    store.cancel_job(id(3), &user("ann")).await.unwrap();
    let list = async |status| {
        let filter = RequestFilter { status, ..RequestFilter::default() };
        let page = store.list_requests(filter, everything()).await.unwrap();
        assert_eq!(page.total, page.items.len() as u64);
        page.items.iter().map(number).collect::<Vec<_>>()
    };
    assert_eq!(list(None).await, [4, 3, 2, 1]);
    assert_eq!(list(Some(ApprovalStatus::Pending)).await, [4, 1]);
    assert_eq!(list(Some(ApprovalStatus::Approved)).await, [2]);
    assert_eq!(list(Some(ApprovalStatus::Cancelled)).await, [3]);
    assert_eq!(list(Some(ApprovalStatus::Expired)).await, [] as [u8; 0]);
    let page = st_store::PageRequest { limit: 1, offset: 2 };
    let page = store.list_requests(RequestFilter::default(), page).await.unwrap();
    assert_eq!((number(&page.items[0]), page.total), (2, 4));
}
