//! Deadlines of requests, by clocks that are confirmed and clocks that are not.

use super::*;
use crate::model::ApprovalOutcome;

#[test]
fn only_a_confirmed_clock_ends_the_time_for_a_decision() {
    let tick = SignedDuration::from_millis(1);
    let (before, deadline) = (at(DEADLINE) - tick, at(DEADLINE));
    let table = [
        (Timestamp::MIN, true, true),
        (before, true, true),
        (deadline, true, false),
        (deadline + tick, true, false),
        (Timestamp::MAX, true, false),
        (before, false, true),
        (deadline, false, true),
        (Timestamp::MAX, false, true),
    ];
    for (now, confirmed, decided) in table {
        for (verdict, queue, job) in [
            (Verdict::Approve, QueueStatus::Pending, JobStatus::Pending),
            (Verdict::Reject, QueueStatus::Failed, JobStatus::Cancelled),
        ] {
            let mut record = blocked();
            let result = record.decide(&decision(verdict), now, confirmed);
            let (expected, queue, job) = if decided {
                (Ok(()), queue, job)
            } else {
                let late = TransitionError::PastDeadline(deadline);
                (Err(late), QueueStatus::Blocked, JobStatus::Pending)
            };
            assert_eq!(result, expected, "{now}, confirmed {confirmed}");
            assert_eq!((record.queue_status(), record.status()), (queue, job));
        }
    }
}

#[test]
fn a_decision_says_who_made_it_and_why() {
    for (verdict, notes, said) in [
        (Verdict::Approve, None, "approved by lead"),
        (Verdict::Approve, Some("fine"), "approved by lead: fine"),
        (Verdict::Reject, None, "rejected by lead"),
        (Verdict::Reject, Some("too dear"), "rejected by lead: too dear"),
    ] {
        let decision = Decision { notes: notes.map(str::to_owned), ..decision(verdict) };
        let mut record = blocked();
        record.decide(&decision, at(9), true).unwrap();
        for event in record.take_events() {
            assert_eq!((event.change.message(), &event.actor), (Some(said), &user("lead")));
        }
        let review = record.approval().and_then(Approval::review).cloned().unwrap();
        assert_eq!((review.by, review.notes.as_deref()), (UserId::new("lead"), notes));
        assert_eq!(record.approval().and_then(Approval::settled_at), Some(at(9)));
        let rejected = (verdict == Verdict::Reject).then_some(said);
        assert_eq!(record.job().error_message.as_deref(), rejected);
    }
}

#[test]
fn a_reviewer_with_a_name_that_cannot_be_stored_decides_nothing() {
    let mut record = blocked();
    let decision = Decision { by: UserId::new("le\0ad"), ..decision(Verdict::Approve) };
    let refused = record.decide(&decision, at(9), true).unwrap_err();
    assert_eq!(refused.to_string(), "user contains NUL (U+0000), which cannot be stored");
    assert_eq!(record, blocked());
}

#[test]
fn an_expired_request_ends_as_expired_and_its_job_as_cancelled() {
    for now in [at(DEADLINE), at(DEADLINE + 1), Timestamp::MAX] {
        let mut record = blocked();
        record.expire(now).unwrap();
        let Some(Approval::Settled(settled)) = record.approval() else { panic!("{record:?}") };
        assert_eq!((&settled.outcome, settled.at), (&ApprovalOutcome::Expired, now));
        assert_eq!(settled.request.expires_at, at(DEADLINE));
        assert_eq!(record.approval().and_then(Approval::review), None);
        assert_eq!((record.status(), record.ended_at()), (JobStatus::Cancelled, Some(now)));
    }
}

#[test]
fn a_request_at_the_end_of_time_can_be_decided_and_expires_at_its_last_moment() {
    let new = NewJob { approval_ttl: SignedDuration::MAX, ..new_job() };
    let record = stored(submitted(&new, Some(&rule())));
    let Some(Approval::Open(request)) = record.approval() else { panic!("{record:?}") };
    let last = request.expires_at;
    assert_eq!(
        Timestamp::from_millisecond(last.as_millisecond()).ok(),
        Some(last),
        "as it is read"
    );
    let not_yet = Err(TransitionError::NotYetExpired(last));
    assert_eq!(record.clone().expire(last - SignedDuration::from_millis(1)), not_yet);
    assert_eq!(record.clone().expire(last), Ok(()));
}
