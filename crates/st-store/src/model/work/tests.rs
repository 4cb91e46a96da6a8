//! Every step of a job from every place where it may be: which are allowed, what they change, and
//! one event for each status that they changed. Leaves out what a backend adds: storage and limits.

use std::fmt::Write;

use jiff::SignedDuration;
use serde_json::{Map, Value};
use st_log::CorrelationId;

use super::*;
use crate::model::{
    Condition, JobId, JobType, NewRule, Owner, ProviderJobId, ProviderName, Role, RuleId, UserId,
};

const DEADLINE: i64 = 100;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

fn new_job() -> NewJob {
    NewJob {
        id: JobId::new(at(0), [1; 10]),
        job_type: JobType::Cloud,
        provider: ProviderName::new("fake"),
        config_name: None,
        owner: Owner::user("ann"),
        role: Role::Researcher,
        correlation_id: CorrelationId::parse("c-1").unwrap(),
        priority_override: None,
        estimated_cost: 0.0,
        max_attempts: 3,
        hardware_type: None,
        not_before: None,
        metadata: Map::new(),
        input: Value::Null,
        idempotency: None,
        approval_ttl: SignedDuration::from_secs(DEADLINE),
    }
}

fn rule() -> Rule {
    let rule = NewRule {
        name: "all".to_owned(),
        description: String::new(),
        condition: Condition::CostExceeds,
        threshold: "0".to_owned(),
        is_active: true,
        priority: 0,
        applies_to_provider: None,
        applies_to_level: None,
        exempt_levels: Vec::new(),
        required_approver_level: Role::Lead,
        created_by: UserId::new("admin"),
        created_at: at(0),
    };
    Rule { id: RuleId(1), rule }
}

fn submitted(new: &NewJob, rule: Option<&Rule>) -> Work {
    Work::submit(new, rule, (QueueEntryId(1), ApprovalId(1)), at(0))
}

/// The same job as it comes out of a store: nothing left to tell.
fn stored(mut work: Work) -> Work {
    work.take_events();
    work
}

fn blocked() -> Work {
    stored(submitted(&new_job(), Some(&rule())))
}

fn waiting() -> Work {
    stored(submitted(&new_job(), None))
}

fn ready() -> Work {
    let mut work = waiting();
    work.claim(at(90), at(30), at(1)).unwrap();
    stored(work)
}

fn at_provider(status: JobStatus) -> Work {
    let mut work = ready();
    work.submitted(work.entry.token, &report(status), at(2)).unwrap();
    stored(work)
}

fn at_every_place() -> Vec<Work> {
    let works = vec![
        blocked(),
        waiting(),
        ready(),
        at_provider(JobStatus::Queued),
        at_provider(JobStatus::Completed),
        at_provider(JobStatus::Failed),
        at_provider(JobStatus::Cancelled),
    ];
    let places: Vec<_> = works.iter().map(|work| work.entry.status).collect();
    assert_eq!(places, QueueStatus::ALL);
    works
}

fn report(status: JobStatus) -> Report {
    Report::of(ProviderJobId::new("p-1"), status)
}

fn decision(verdict: Verdict) -> Decision {
    Decision { verdict, by: UserId::new("lead"), notes: None }
}

fn passing(retry_at: i64) -> Failure {
    Failure::Passing { error: "flaky".to_owned(), retry_at: at(retry_at) }
}

fn final_failure() -> Failure {
    Failure::Final { error: "bad input".to_owned() }
}

/// What must have been told when `before` became `after`.
fn changes(before: &Work, after: &Work) -> Vec<Change> {
    let mut changes = Vec::new();
    let (from, to) = (before.job.status, after.job.status);
    changes.extend((from != to).then_some(Change::Job { from: Some(from), to }));
    let (from, to) = (before.entry.status, after.entry.status);
    changes.extend((from != to).then_some(Change::Queue { from: Some(from), to }));
    if let (Some(before), Some(after)) = (&before.approval, &after.approval) {
        let (from, to) = (before.status, after.status);
        let message = String::new();
        let change = Change::Approval { id: after.id, from: Some(from), to, message };
        changes.extend((from != to).then_some(change));
    }
    changes
}

/// Takes a step of which every allowed taking must tell of exactly the statuses that it changed.
fn take<T>(
    work: &mut Work,
    now: Timestamp,
    step: impl FnOnce(&mut Work) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let before = work.clone();
    let came = step(work)?;
    let mut told = work.take_events();
    for event in &mut told {
        assert_eq!((event.job_id, event.at), (work.job.id, now));
        assert_eq!(event.correlation_id, work.job.correlation_id);
        if let Change::Approval { message, .. } = &mut event.change {
            assert!(!message.is_empty(), "a person is told why");
            message.clear();
        }
    }
    let mut expected = changes(&before, work);
    assert_eq!(told.len(), expected.len(), "one event for each change: {told:?}");
    for event in told {
        expected.retain(|change| *change != event.change);
    }
    assert_eq!(expected, [], "a change that nobody was told of");
    Ok(came)
}

/// A step, and at which second it is taken.
type Named = (&'static str, i64, fn(&mut Work, Timestamp) -> Result<(), Refusal>);

const STEPS: [Named; 11] = [
    ("claim", 9, |work, now| work.claim(at(90), at(30), now)),
    ("rescue", 9, |work, _now| work.rescue(at(200))),
    ("hold", 9, |work, _now| work.hold(work.entry.token, at(200), at(200))),
    ("submitted", 9, |work, now| work.submitted(work.entry.token, &report(JobStatus::Queued), now)),
    ("retry", 9, |work, now| work.give_back(work.entry.token, &passing(50), now).map(drop)),
    ("fail", 9, |work, now| work.give_back(work.entry.token, &final_failure(), now).map(drop)),
    ("drop", 9, |work, now| work.give_back(work.entry.token, &Failure::Cancelled, now).map(drop)),
    ("absorb", 9, |work, now| {
        let running = report(JobStatus::Running);
        work.absorb(work.entry.token, &running, Source::Poll, now).map(drop)
    }),
    ("cancel", 9, |work, now| work.cancel(now).map(drop)),
    ("decide", 9, |work, now| work.decide(&decision(Verdict::Approve), now)),
    ("expire", DEADLINE, |work, now| work.expire(now)),
];

#[test]
fn a_submission_tells_of_everything_that_came_into_being() {
    let told = |mut work: Work| -> Vec<String> {
        let events = work.take_events().into_iter();
        events.map(|event| format!("{} {:?}", event.change.event_type(), event.source)).collect()
    };
    let both = ["job_status_changed User", "queue_changed User"];
    assert_eq!(told(submitted(&new_job(), None)), both);
    let asked = told(submitted(&new_job(), Some(&rule())));
    assert_eq!(asked, [both[0], both[1], "approval_required User"]);
    let request = blocked().approval.unwrap();
    assert_eq!((request.status, request.expires_at), (ApprovalStatus::Pending, at(DEADLINE)));
    assert!(request.reason.starts_with("all: the estimated cost"), "{}", request.reason);
}

#[test]
fn a_submission_is_delayed_only_into_the_future_and_tried_at_least_once() {
    let with = |not_before: i64, max_attempts: u32| {
        let new = NewJob { not_before: Some(at(not_before)), max_attempts, ..new_job() };
        submitted(&new, None).entry
    };
    assert_eq!(with(1, 3).not_before, Some(at(1)));
    assert_eq!((with(0, 0).not_before, with(0, 0).max_attempts), (None, 1));
}

#[test]
fn each_step_starts_from_its_own_places_and_tells_what_it_changed() {
    let mut table = String::new();
    for work in at_every_place() {
        let may = STEPS.iter().filter(|(_, seconds, step)| {
            let now = at(*seconds);
            take(&mut work.clone(), now, |work| step(work, now)).is_ok()
        });
        let may: Vec<_> = may.map(|(name, ..)| *name).collect();
        writeln!(table, "{}: {}", work.entry.status, may.join(" ")).unwrap();
    }
    assert_eq!(
        table,
        "blocked: cancel decide expire\n\
         pending: claim cancel\n\
         ready: rescue hold submitted retry fail drop cancel\n\
         running: absorb cancel\n\
         completed: absorb\nfailed: absorb\ncancelled: absorb\n"
    );
}

#[test]
fn every_step_of_a_worker_needs_exactly_the_current_token() {
    for mut work in at_every_place() {
        let current = work.entry.token;
        for held in [AttemptToken(current.0 - 1), current.next()] {
            let stale = Err(Refusal::StaleAttempt { held, current });
            let told = report(JobStatus::Running);
            assert_eq!(work.hold(held, at(9), at(9)), stale);
            assert_eq!(work.submitted(held, &told, at(9)), stale);
            assert_eq!(work.absorb(held, &told, Source::Poll, at(9)).map(drop), stale);
            for failure in [passing(50), final_failure(), Failure::Cancelled] {
                assert_eq!(work.give_back(held, &failure, at(9)).map(drop), stale);
            }
        }
    }
}

#[test]
fn a_claim_is_a_fresh_right_and_a_rescue_another() {
    let mut work = waiting();
    let before = work.entry.token;
    take(&mut work, at(5), |work| work.claim(at(95), at(35), at(5))).unwrap();
    assert_eq!(work.entry.token, before.next());
    assert_eq!(work.entry.started_at, Some(at(5)));
    let lease = Lease { until: at(95), since: at(5), resubmit_after: at(35) };
    assert_eq!(work.entry.lease, Some(lease));
    take(&mut work, at(95), |work| work.rescue(at(185))).unwrap();
    assert_eq!(work.entry.token, before.next().next());
    assert_eq!((work.entry.attempt, work.entry.started_at), (1, Some(at(5))));
    assert_eq!(work.entry.lease, Some(Lease { until: at(185), ..lease }));
    take(&mut work, at(96), |work| work.hold(work.entry.token, at(300), at(250))).unwrap();
    assert_eq!(work.entry.lease, Some(Lease { until: at(300), resubmit_after: at(250), ..lease }));
}

#[test]
fn a_submission_arrives_in_whatever_state_the_provider_says() {
    let arrived = |said: Option<JobStatus>| {
        let mut work = ready();
        let report = Report { status: said, ..report(JobStatus::Queued) };
        take(&mut work, at(9), |work| work.submitted(work.entry.token, &report, at(9))).unwrap();
        assert_eq!(work.entry.lease, None);
        assert_eq!(work.job.provider_job_id, Some(ProviderJobId::new("p-1")));
        assert_eq!(work.job.completed_at.is_some(), work.job.status.is_terminal());
        assert_eq!(work.entry.completed_at, work.job.completed_at);
        format!("{} {} {:?}", work.entry.status, work.job.status, work.job.started_at.is_some())
    };
    assert_eq!(arrived(None), "running queued false");
    let all = JobStatus::ALL.iter().map(|&status| arrived(Some(status)));
    let expected = [
        "running queued false",
        "running queued false",
        "running queued false",
        "running running true",
        "completed completed false",
        "failed failed false",
        "cancelled cancelled false",
    ];
    assert_eq!(all.collect::<Vec<_>>(), expected);
}

#[test]
fn a_late_report_changes_nothing_and_an_end_is_final() {
    let mut table = String::new();
    let places = JobStatus::ALL.iter().copied().filter(|&status| status >= JobStatus::Queued);
    for place in places {
        let work = at_provider(place);
        for &said in JobStatus::ALL {
            let mut after = work.clone();
            let report = Report { cost_usd: Some(9.0), ..report(said) };
            let absorb =
                |work: &mut Work| work.absorb(work.entry.token, &report, Source::Poll, at(9));
            let changed = take(&mut after, at(9), absorb).unwrap();
            assert_eq!(changed, after != work, "{place}, {said}");
            assert_eq!(changed, after.job.cost_usd.is_some(), "{place}, {said}");
            if changed {
                writeln!(table, "{place}: {said} -> {}", after.job.status).unwrap();
            }
        }
    }
    assert_eq!(
        table,
        "queued: queued -> queued\nqueued: running -> running\nqueued: completed -> completed\n\
         queued: failed -> failed\nqueued: cancelled -> cancelled\n\
         running: running -> running\nrunning: completed -> completed\n\
         running: failed -> failed\nrunning: cancelled -> cancelled\n"
    );
}

#[test]
fn a_report_adds_what_it_says_and_leaves_what_it_does_not() {
    let mut work = at_provider(JobStatus::Queued);
    let mut absorb = |report: Report, seconds: i64| {
        let now = at(seconds);
        let step = |work: &mut Work| work.absorb(work.entry.token, &report, Source::Webhook, now);
        let changed = take(&mut work, now, step).unwrap();
        (changed, work.job.clone())
    };
    let unknown_word = Report { status: None, cost_usd: Some(1.5), ..report(JobStatus::Queued) };
    let (changed, job) = absorb(unknown_word.clone(), 10);
    assert_eq!((changed, job.status, job.cost_usd), (true, JobStatus::Queued, Some(1.5)));
    assert!(!absorb(unknown_word, 11).0, "it said so before");
    let (_, job) = absorb(report(JobStatus::Running), 12);
    assert_eq!((job.started_at, job.cost_usd), (Some(at(12)), Some(1.5)));
    let not_a_number = Report { cost_usd: Some(f64::NAN), ..report(JobStatus::Running) };
    assert!(!absorb(not_a_number, 13).0);
    let ended = Report { completed_at: Some(at(14)), ..report(JobStatus::Failed) };
    let (_, job) = absorb(ended, 15);
    assert_eq!((job.completed_at, job.started_at), (Some(at(14)), Some(at(12))));
}

#[test]
fn a_report_about_another_job_of_the_provider_is_refused() {
    let mut work = at_provider(JobStatus::Queued);
    let (known, reported) = (ProviderJobId::new("p-1"), ProviderJobId::new("p-2"));
    let other = Report::of(reported.clone(), JobStatus::Running);
    let refused = work.absorb(work.entry.token, &other, Source::Poll, at(9)).unwrap_err();
    assert_eq!(refused, Refusal::OtherProviderJob { known, reported });
}

#[test]
fn cancelling_says_who_has_to_do_what() {
    let mut table = String::new();
    for mut work in at_every_place() {
        let place = work.entry.status;
        let came = take(&mut work, at(9), |work| work.cancel(at(9)));
        let noted = work.entry.cancel_requested_at == Some(at(9));
        assert_eq!(noted, came.is_ok(), "{place}");
        let approval = work.approval.map_or("none", |request| request.status.as_str());
        let (entry, job) = (work.entry.status, work.job.status);
        let line = match came {
            Ok(came) => format!("{place}: {came:?}, {entry} {job} {approval}\n"),
            Err(refusal) => format!("{place}: {refusal}\n"),
        };
        table.push_str(&line);
    }
    assert_eq!(
        table,
        "blocked: Done, cancelled cancelled cancelled\n\
         pending: Done, cancelled cancelled none\n\
         ready: UnderWay, ready uploading none\n\
         running: AtProvider, running queued none\n\
         completed: the job is already completed\n\
         failed: the job is already failed\n\
         cancelled: the job is already cancelled\n"
    );
}

#[test]
fn a_request_is_decided_before_its_deadline_and_lapses_from_it_on() {
    let last = at(DEADLINE) - SignedDuration::from_millis(1);
    for verdict in [Verdict::Approve, Verdict::Reject] {
        let mut work = blocked();
        assert_eq!(work.expire(last), Err(Refusal::NotYetExpired(at(DEADLINE))));
        let late = work.clone().decide(&decision(verdict), at(DEADLINE));
        assert_eq!(late, Err(Refusal::PastDeadline(at(DEADLINE))));
        take(&mut work, last, |work| work.decide(&decision(verdict), last)).unwrap();
        let decided = work.approval.clone().unwrap();
        let status = match verdict {
            Verdict::Approve => ApprovalStatus::Approved,
            Verdict::Reject => ApprovalStatus::Rejected,
        };
        assert_eq!((decided.status, decided.reviewed_at), (status, Some(last)));
        assert_eq!(decided.reviewed_by, Some(UserId::new("lead")));
        assert_eq!(work.expire(at(DEADLINE)), Err(Refusal::AlreadyDecided(status)));
        let again = work.decide(&decision(Verdict::Approve), last);
        assert_eq!(again, Err(Refusal::AlreadyDecided(status)));
    }
    let mut work = blocked();
    take(&mut work, at(DEADLINE), |work| work.expire(at(DEADLINE))).unwrap();
    let expired = Err(Refusal::AlreadyDecided(ApprovalStatus::Expired));
    assert_eq!(work.decide(&decision(Verdict::Approve), last), expired);
}

#[test]
fn a_job_that_may_not_run_is_cancelled_and_its_entry_failed() {
    let mut rejected = blocked();
    rejected.decide(&decision(Verdict::Reject), at(9)).unwrap();
    let mut expired = blocked();
    expired.expire(at(DEADLINE)).unwrap();
    for (work, ended_at, why) in [
        (rejected, at(9), "rejected by lead"),
        (expired, at(DEADLINE), "approval was not given by 2026-01-01T00:01:40.000Z"),
    ] {
        let (job, entry) = (&work.job, &work.entry);
        assert_eq!((job.status, entry.status), (JobStatus::Cancelled, QueueStatus::Failed));
        assert_eq!((job.completed_at, entry.completed_at), (Some(ended_at), Some(ended_at)));
        assert_eq!(job.error_message.as_deref(), Some(why));
        assert_eq!(entry.error_message.as_deref(), Some(why));
    }
}

#[test]
fn passing_failures_are_tried_again_until_attempts_run_out() {
    let mut work = waiting();
    for attempt in 1..=3 {
        let now = at(i64::from(attempt) * 100);
        take(&mut work, now, |work| work.claim(now, now, now)).unwrap();
        let failure = passing(i64::from(attempt) * 100 + 50);
        let token = work.entry.token;
        let retried = take(&mut work, now, |work| work.give_back(token, &failure, now)).unwrap();
        assert_eq!(work.entry.error_message.as_deref(), Some("flaky"));
        assert_eq!(work.entry.lease, None);
        if attempt < 3 {
            assert_eq!(retried, Retried::Waiting(attempt + 1));
            assert_eq!(work.entry.not_before, Some(at(i64::from(attempt) * 100 + 50)));
            assert_eq!(work.job.status, JobStatus::Uploading, "it never goes backwards");
        } else {
            assert_eq!(retried, Retried::Exhausted);
            let (job, entry) = (work.job.status, work.entry.status);
            assert_eq!((job, entry), (JobStatus::Failed, QueueStatus::Failed));
            assert_eq!(work.job.error_message.as_deref(), Some("flaky"));
        }
    }
}

#[test]
fn a_retry_that_is_due_already_waits_for_nothing() {
    let mut work = ready();
    work.give_back(work.entry.token, &passing(9), at(9)).unwrap();
    assert_eq!((work.entry.status, work.entry.not_before), (QueueStatus::Pending, None));
}

#[test]
fn whoever_was_cancelled_is_not_tried_again() {
    let mut work = ready();
    work.cancel(at(5)).unwrap();
    let give_back = |work: &mut Work| work.give_back(work.entry.token, &passing(50), at(9));
    assert_eq!(take(&mut work, at(9), give_back), Ok(Retried::Cancelled));
    assert_eq!(work.job.status, JobStatus::Cancelled);
    let mut work = ready();
    let give_back = |work: &mut Work| work.give_back(work.entry.token, &final_failure(), at(9));
    assert_eq!(take(&mut work, at(9), give_back), Ok(Retried::Exhausted));
    assert_eq!(work.job.error_message.as_deref(), Some("bad input"));
    let mut work = ready();
    let give_back = |work: &mut Work| work.give_back(work.entry.token, &Failure::Cancelled, at(9));
    assert_eq!(take(&mut work, at(9), give_back), Ok(Retried::Cancelled));
    assert_eq!((work.job.status, work.entry.lease), (JobStatus::Cancelled, None));
}
