//! Approvals.

use jiff::SignedDuration;
use st_store::{
    ApprovalId, ApprovalStatus, Condition, Decision, Error, JobStatus, NewJob, NewRule,
    QueueStatus, Refusal, RequestFilter, UserId, Verdict, Work,
};

use super::{Shared, at, claim, costs_more_than, id, job, numbers, submit};

fn dear(number: u8, seconds: i64) -> NewJob {
    let mut new = job(number, "ann");
    new.estimated_cost = 100.0;
    new.approval_ttl = SignedDuration::from_secs(seconds);
    new
}

fn decision(verdict: Verdict) -> Decision {
    Decision { verdict, by: UserId::new("lead"), notes: Some("because".to_owned()) }
}

async fn blocked(store: &Shared, number: u8, seconds: i64) -> ApprovalId {
    let work = submit(store, dear(number, seconds), 0).await;
    assert_eq!(work.entry.status, QueueStatus::Blocked);
    work.approval.unwrap().id
}

pub async fn a_rule_blocks_what_it_asks_about(store: &Shared) {
    let rule = store.add_rule(costs_more_than("50")).await.unwrap();
    let request = blocked(store, 1, 60).await;
    let cheap = submit(store, job(2, "ann"), 0).await;
    assert_eq!((cheap.entry.status, cheap.approval), (QueueStatus::Pending, None));
    assert_eq!(numbers(&claim(store, 1).await), [2], "what is blocked is not claimed");
    let work = store.find_request(request).await.unwrap().unwrap();
    let approval = work.approval.unwrap();
    assert_eq!((approval.rule_id, approval.expires_at), (rule.id, at(60)));
    assert_eq!(store.find_rule(rule.id).await.unwrap(), Some(rule));
    assert_eq!(store.next_expiry().await.unwrap(), Some(at(60)));
    let open = RequestFilter { status: Some(ApprovalStatus::Pending) };
    let listed = store.list_requests(open, st_store::PageRequest::default()).await.unwrap();
    assert_eq!((listed.items.len(), listed.total), (1, 1));
}

pub async fn the_first_matching_rule_decides(store: &Shared) {
    let with = |priority: i64, threshold: &str| NewRule { priority, ..costs_more_than(threshold) };
    store.add_rule(with(0, "1")).await.unwrap();
    let urgent = store.add_rule(with(9, "99")).await.unwrap();
    let off = NewRule { is_active: false, ..with(99, "0") };
    store.add_rule(off).await.unwrap();
    let first = NewRule { condition: Condition::FirstJob, ..with(5, "") };
    let first = store.add_rule(first).await.unwrap();
    let asked = |work: Work| work.approval.unwrap().rule_id;
    assert_eq!(asked(submit(store, dear(1, 60), 0).await), urgent.id);
    assert_eq!(asked(submit(store, job(2, "newcomer"), 0).await), first.id);
    assert_eq!(submit(store, job(3, "newcomer"), 0).await.approval, None);
    let daily = NewRule { condition: Condition::DailyJobsExceed, ..with(50, "1") };
    let daily = store.add_rule(daily).await.unwrap();
    assert_eq!(asked(submit(store, job(4, "newcomer"), 10).await), daily.id);
    let next_day = 24 * 3600 + 5;
    assert_eq!(submit(store, job(5, "newcomer"), next_day).await.approval, None);
}

pub async fn approval_opens_the_way_and_rejection_closes_it(store: &Shared) {
    store.add_rule(costs_more_than("50")).await.unwrap();
    let (yes, no) = (blocked(store, 1, 60).await, blocked(store, 2, 60).await);
    let approved = store.decide(yes, &decision(Verdict::Approve), at(1)).await.unwrap();
    assert_eq!(approved.entry.status, QueueStatus::Pending);
    let rejected = store.decide(no, &decision(Verdict::Reject), at(1)).await.unwrap();
    assert_eq!(rejected.entry.status, QueueStatus::Failed);
    assert_eq!(rejected.job.status, JobStatus::Cancelled);
    assert_eq!(rejected.job.error_message.as_deref(), Some("rejected by lead: because"));
    let again = store.decide(no, &decision(Verdict::Approve), at(2)).await.unwrap_err();
    let decided = Refusal::AlreadyDecided(ApprovalStatus::Rejected);
    assert!(matches!(again, Error::Refused(refusal) if refusal == decided));
    assert_eq!(numbers(&claim(store, 3).await), [1]);
    let nobody = store.decide(ApprovalId(99), &decision(Verdict::Approve), at(3)).await;
    assert!(matches!(nobody.unwrap_err(), Error::NotFound { .. }));
    store.cancel_job(id(1), at(4)).await.unwrap();
}

pub async fn nobody_decides_after_the_deadline(store: &Shared) {
    store.add_rule(costs_more_than("50")).await.unwrap();
    let request = blocked(store, 1, 60).await;
    let late = store.decide(request, &decision(Verdict::Approve), at(60)).await.unwrap_err();
    assert!(matches!(late, Error::Refused(Refusal::PastDeadline(_))), "{late}");
    let expiry = store.expire(10, at(59)).await.unwrap();
    assert!(expiry.expired.is_empty() && !expiry.more);
    let expired = store.expire(10, at(60)).await.unwrap().expired.remove(0);
    assert_eq!(expired.approval.unwrap().status, ApprovalStatus::Expired);
    assert_eq!(expired.entry.status, QueueStatus::Failed);
    assert_eq!(expired.job.status, JobStatus::Cancelled);
}

pub async fn requests_lapse_in_chunks(store: &Shared) {
    store.add_rule(costs_more_than("50")).await.unwrap();
    for number in 0..25 {
        blocked(store, number, 100 - i64::from(number)).await;
    }
    let mut seen = Vec::new();
    for more in [true, true, false] {
        let expiry = store.expire(10, at(100)).await.unwrap();
        assert_eq!(expiry.more, more);
        seen.extend(expiry.expired.into_iter().map(|work| work.approval.unwrap().expires_at));
    }
    assert!(seen.is_sorted() && seen.len() == 25, "the oldest deadline first: {seen:?}");
    assert_eq!(store.next_expiry().await.unwrap(), None);
}

pub async fn approving_and_expiring_have_one_winner(store: &Shared) {
    store.add_rule(costs_more_than("50")).await.unwrap();
    for number in 0..10 {
        let request = blocked(store, number, 60).await;
        let theirs = std::sync::Arc::clone(store);
        let approve = st_log::spawn(async move {
            theirs.decide(request, &decision(Verdict::Approve), at(59)).await.is_ok()
        });
        let expired = !store.expire(10, at(60)).await.unwrap().expired.is_empty();
        let approved = approve.await.unwrap();
        assert!(approved != expired, "approved {approved}, expired {expired}");
    }
}

pub async fn a_bad_rule_is_refused(store: &Shared) {
    let error = store.add_rule(costs_more_than("much")).await.unwrap_err();
    assert!(matches!(error, Error::InvalidRule(_)), "{error}");
    assert!(store.list_rules().await.unwrap().is_empty());
}
