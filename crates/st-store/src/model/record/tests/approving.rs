//! Approvals: the request of a new job, decisions, and deadlines.

use super::*;
use crate::model::{ApprovalOutcome, RequiredBy, Review, text::has_nul};

fn events_of(record: &JobRecord) -> Vec<String> {
    let mut record = record.clone();
    let events = record.take_events().into_iter();
    events.map(|event| format!("{} by {}", event.change.event_type(), event.actor)).collect()
}

#[test]
fn a_submission_has_an_event_for_everything_that_came_into_being() {
    let both = ["job_status_changed by user ann", "queue_changed by user ann"];
    assert_eq!(events_of(&submitted(&new_job(), None)), both);
    let record = submitted(&new_job(), Some(&rule()));
    assert_eq!(events_of(&record), [both[0], both[1], "approval_required by user ann"]);
    let Some(Approval::Open(request)) = record.approval() else { panic!("{record:?}") };
    assert_eq!(
        (request.id, request.required_by, request.ttl.as_secs()),
        (ApprovalId(1), RequiredBy::Rule(RuleId(1)), 100)
    );
    assert_eq!(request.expires_at, at(DEADLINE));
    assert!(request.reason.starts_with("all: the estimated cost"), "{}", request.reason);
}

#[test]
fn a_submission_waits_for_a_future_date_and_for_no_other() {
    let with = |run_after: i64| {
        let record = submitted(&NewJob { run_after: Some(at(run_after)), ..new_job() }, None);
        (record.stage().clone(), record.entry().run_after, record.entry().waits_since)
    };
    let date = Stage::Waiting(Waiting { due: Due::Date(at(60)) });
    assert_eq!(with(60), (date, Some(at(60)), at(60)));
    let now = Stage::Waiting(Waiting { due: Due::Now });
    assert_eq!(with(0), (now, None, at(0)));
}

#[test]
fn a_request_is_decided_before_its_deadline_and_expires_from_it_on() {
    let last = at(DEADLINE) - SignedDuration::from_millis(1);
    for verdict in [Verdict::Approve, Verdict::Reject] {
        let mut record = blocked();
        assert_eq!(record.expire(last), Err(TransitionError::NotYetExpired(at(DEADLINE))));
        let late = record.clone().decide(&decision(verdict), at(DEADLINE), true);
        assert_eq!(late, Err(TransitionError::PastDeadline(at(DEADLINE))));
        record.decide(&decision(verdict), last, true).unwrap();
        let review = Review { by: UserId::new("lead"), notes: None };
        let outcome = match verdict {
            Verdict::Approve => ApprovalOutcome::Approved(review),
            Verdict::Reject => ApprovalOutcome::Rejected(review),
        };
        let Some(Approval::Settled(settled)) = record.approval() else { panic!("{record:?}") };
        assert_eq!((&settled.outcome, settled.at), (&outcome, last));
        let again = Err(TransitionError::AlreadyDecided(settled.status()));
        assert_eq!(record.clone().expire(at(DEADLINE)), again);
        assert_eq!(record.decide(&decision(Verdict::Approve), last, true), again);
    }
    let mut record = blocked();
    record.expire(at(DEADLINE)).unwrap();
    let expired = Err(TransitionError::AlreadyDecided(ApprovalStatus::Expired));
    assert_eq!(record.decide(&decision(Verdict::Approve), last, true), expired);
    let none = Err(TransitionError::NoApproval);
    assert_eq!(waiting().decide(&decision(Verdict::Approve), last, true), none);
}

#[test]
fn a_decision_after_the_deadline_of_an_unconfirmed_clock_counts() {
    let mut record = blocked();
    let step = |record: &mut JobRecord| {
        record.decide(&decision(Verdict::Approve), at(DEADLINE + 9), false)
    };
    checked(&mut record, (&user("lead"), DEADLINE + 9), step).unwrap();
    assert_eq!(record.queue_status(), QueueStatus::Pending);
}

#[test]
fn an_approved_job_waits_from_the_approval_or_from_its_date() {
    let approved = |run_after: i64| {
        let new = NewJob { run_after: Some(at(run_after)), ..new_job() };
        let mut record = stored(submitted(&new, Some(&rule())));
        record.decide(&decision(Verdict::Approve), at(40), true).unwrap();
        (record.stage().clone(), record.entry().waits_since)
    };
    let due = |due| Stage::Waiting(Waiting { due });
    assert_eq!(approved(60), (due(Due::Date(at(60))), at(60)));
    assert_eq!(approved(30), (due(Due::Now), at(40)));
}

#[test]
fn a_job_that_may_not_run_is_cancelled_and_its_entry_failed() {
    let mut expired = blocked();
    expired.expire(at(DEADLINE)).unwrap();
    for (record, ended_at, why) in [
        (not_approved(), at(2), "rejected by lead"),
        (expired, at(DEADLINE), "approval was not given by 2026-01-01T00:01:40.000Z"),
    ] {
        let statuses = (record.status(), record.queue_status());
        assert_eq!(statuses, (JobStatus::Cancelled, QueueStatus::Failed));
        assert_eq!(
            (record.job().completed_at, record.ended_at()),
            (Some(ended_at), Some(ended_at))
        );
        assert_eq!(record.job().error_message.as_deref(), Some(why));
        assert_eq!(record.entry().error_message.as_deref(), Some(why));
    }
}

#[test]
fn a_reviewer_whose_words_cannot_be_stored_is_refused() {
    let mut record = blocked();
    let notes = Some("a\0b".to_owned());
    assert!(notes.as_deref().is_some_and(has_nul));
    let decision = Decision { notes, ..decision(Verdict::Approve) };
    let refused = checked(&mut record, (&user("lead"), 9), |it| it.decide(&decision, at(9), true));
    assert!(matches!(refused, Err(TransitionError::InvalidText(_))), "{refused:?}");
}
