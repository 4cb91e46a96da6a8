//! Approval requests: many decisions at once, and cancelling one.

use st_store::{
    ApprovalId, ApprovalStatus, Error, JobStatus, QueueStatus, TransitionError, Verdict,
};

use super::{Harness, costs_more_than, decision, refusal, user};

pub async fn each_of_many_decisions_is_made_by_itself(harness: &Harness) {
    let store = &harness.store;
    store.add_rule(costs_more_than("50")).await.unwrap();
    let [first, second, late] = [
        harness.blocked(1, 900).await,
        harness.blocked(2, 900).await,
        harness.blocked(3, 10).await,
    ];
    store.decide(second, &decision(Verdict::Reject)).await.unwrap();
    harness.go_to(60);
    assert_eq!(store.pending_requests().await.unwrap(), 2);
    let ids = [second, ApprovalId(99), late, first];
    let results = store.decide_many(&ids, &decision(Verdict::Approve)).await.unwrap();
    let [decided, missing, past, approved] = <[_; 4]>::try_from(results).unwrap();
    let already = TransitionError::AlreadyDecided(ApprovalStatus::Rejected);
    assert_eq!(refusal(decided), already);
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
    assert!(matches!(refusal(past), TransitionError::PastDeadline(_)));
    assert_eq!(approved.unwrap().queue_status(), QueueStatus::Pending);
    assert_eq!(store.pending_requests().await.unwrap(), 1);
}

pub async fn a_cancelled_request_cancels_its_job(harness: &Harness) {
    let store = &harness.store;
    store.add_rule(costs_more_than("50")).await.unwrap();
    let request = harness.blocked(1, 900).await;
    assert_eq!(store.pending_requests().await.unwrap(), 1);
    let record = store.cancel_request(request, &user("ann")).await.unwrap();
    assert_eq!(
        (record.status(), record.queue_status()),
        (JobStatus::Cancelled, QueueStatus::Cancelled)
    );
    assert_eq!(record.approval().unwrap().status(), ApprovalStatus::Cancelled);
    assert_eq!(store.pending_requests().await.unwrap(), 0);
    let again = refusal(store.cancel_request(request, &user("ann")).await);
    assert_eq!(again, TransitionError::AlreadyDecided(ApprovalStatus::Cancelled));
    // A job that was let in is not cancelled by way of its request.
    let request = harness.blocked(2, 900).await;
    store.decide(request, &decision(Verdict::Approve)).await.unwrap();
    let refused = refusal(store.cancel_request(request, &user("ann")).await);
    assert_eq!(refused, TransitionError::AlreadyDecided(ApprovalStatus::Approved));
    assert_eq!(harness.found(2).await.status(), JobStatus::Pending);
}
