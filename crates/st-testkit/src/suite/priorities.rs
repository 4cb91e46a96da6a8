//! Changing the priority of a job.

use st_store::{Actor, EventId, JobStatus, Priority, PriorityChange, TransitionError};

use super::{Harness, accepted, id, job, number, numbers, refusal, user};

fn priority(number: i64) -> Priority {
    Priority::new(number).unwrap()
}

async fn set(harness: &Harness, number: u8, to: Option<i64>) -> st_store::Result<PriorityChange> {
    let changed = harness.store.set_priority(id(number), to.map(priority), &user("lea")).await;
    changed.map(|(change, record)| {
        assert_eq!(record.entry().priority_override, to.map(priority));
        change
    })
}

async fn position(harness: &Harness, number: u8) -> Option<u64> {
    harness.store.standings(&[id(number)]).await.unwrap().of[0].map(|standing| standing.position)
}

pub async fn a_waiting_job_moves_with_its_priority(harness: &Harness) {
    for number in 1..=3 {
        harness.submit(job(number, "ann")).await;
    }
    assert_eq!(position(harness, 3).await, Some(3));
    let change = set(harness, 3, Some(35)).await.unwrap();
    let role = priority(10);
    let expected = PriorityChange {
        previous: role,
        effective: priority(35),
        priority_override: Some(priority(35)),
    };
    assert_eq!(change, expected);
    assert_eq!(position(harness, 3).await, Some(1));
    set(harness, 1, Some(0)).await.unwrap();
    assert_eq!(position(harness, 1).await, Some(3));
    // Without the override the role's priority counts again.
    let change = set(harness, 1, None).await.unwrap();
    let back = PriorityChange { previous: priority(0), effective: role, priority_override: None };
    assert_eq!(change, back);
    assert_eq!(numbers(&harness.claim().await), [3, 1], "as many as one user may have");
}

pub async fn a_change_of_a_priority_has_an_event_and_the_same_again_has_none(harness: &Harness) {
    harness.submit(job(1, "ann")).await;
    set(harness, 1, Some(35)).await.unwrap();
    let last = *harness.store.last_event().borrow();
    set(harness, 1, Some(35)).await.unwrap();
    assert_eq!(*harness.store.last_event().borrow(), last);
    let messages = harness.messages().await;
    assert_eq!(messages.last().unwrap(), "user lea queue_changed priority from 10 to 35");
    let page = harness.store.job_events(id(1), EventId(0), 10).await.unwrap();
    assert_eq!(page.events.len(), 3, "it is part of the job's history");
}

pub async fn what_has_a_slot_keeps_it_and_what_is_over_has_no_priority(harness: &Harness) {
    let record = harness.claimed(1).await;
    let before = record.stage().clone();
    set(harness, 1, Some(0)).await.unwrap();
    let record = harness.found(1).await;
    assert_eq!(*record.stage(), before);
    harness.settle(&record, accepted(1)).await.unwrap();
    harness.submit(job(2, "bob")).await;
    harness.store.cancel_job(id(2), &Actor::Operator).await.unwrap();
    let refused = refusal(set(harness, 2, Some(50)).await);
    assert_eq!(refused, TransitionError::AlreadyOver(JobStatus::Cancelled));
    assert_eq!(number(&harness.found(2).await), 2);
}

pub async fn a_job_that_awaits_approval_comes_in_with_its_new_priority(harness: &Harness) {
    harness.store.add_rule(super::costs_more_than("50")).await.unwrap();
    let request = harness.blocked(1, 600).await;
    harness.submit(job(2, "ann")).await;
    set(harness, 1, Some(50)).await.unwrap();
    assert_eq!(position(harness, 1).await, None);
    let decision = super::decision(st_store::Verdict::Approve);
    harness.store.decide(request, &decision).await.unwrap();
    assert_eq!(numbers(&harness.claim().await), [1, 2]);
}
