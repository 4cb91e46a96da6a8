//! Every step of a job from every stage: which are allowed, what they change, and one event for
//! each status that they changed. Leaves out what a backend adds: storage and limits.

mod approving;
mod attempts;
mod blaming;
mod caution;
mod checking;
mod deciding;
mod reports;
mod resolving;
mod sighting_table;
mod sightings;
mod walk;

use std::fmt::Write;

use jiff::SignedDuration;
use st_log::CorrelationId;

use super::*;
use crate::model::Rule;
use crate::model::{
    AccountId, AtMostOnce, AttemptFailure, Condition, Decision, Grant, Holder, JobType, Lease,
    Marker, NewRule, Outcome, Owner, Phase, ProviderName, ProviderStatus, Role, RuleId, Settled,
    Settling, Sighting, UserId, Verdict,
};

const DEADLINE: i64 = 100;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

fn user(name: &str) -> Actor {
    Actor::User(UserId::new(name))
}

fn new_job() -> NewJob {
    let mut new = NewJob::new(
        JobId::new(at(0), [1; 10]),
        (JobType::Cloud, ProviderName::new("fake")),
        Owner::user("ann"),
        Role::Researcher,
        CorrelationId::parse("c-1").unwrap(),
    );
    new.approval_ttl = SignedDuration::from_secs(DEADLINE);
    new
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
    };
    Rule { id: RuleId(1), rule, created_at: at(0) }
}

fn submitted(new: &NewJob, rule: Option<&Rule>) -> JobRecord {
    let requirement = rule.map(Requirement::from);
    JobRecord::submit(new, requirement, (QueueEntryId(1), ApprovalId(1)), (at(0), Epoch::FIRST))
}

/// The same job as it comes out of a store: without events that are not stored yet.
fn stored(mut record: JobRecord) -> JobRecord {
    record.take_events();
    record
}

fn holder(number: u8) -> Holder {
    Holder::new([number; 16])
}

fn lease(until: i64) -> Lease {
    Lease { holder: holder(1), until: at(until) }
}

fn grant() -> Grant {
    Grant {
        lease: lease(90),
        account: Some(AccountId::new("acc", None, None)),
        last_account: None,
        provider_time: Some(at(7)),
        guarantee: AtMostOnce::ListedMarker,
        may_arrive_for: SignedDuration::from_secs(120),
        epoch: Epoch::FIRST,
    }
}

fn provider_job(id: &str) -> ProviderJobId {
    ProviderJobId::new(id)
}

fn report(status: JobStatus) -> ProviderStatus {
    ProviderStatus::new(provider_job("p-1"), status)
}

fn failed(retry_in: i64) -> Outcome {
    let retry_in = SignedDuration::from_secs(retry_in);
    Outcome::NotArrived(AttemptFailure::Failed { error: "flaky".to_owned(), retry_in })
}

fn not_sent(retry_in: i64) -> Outcome {
    let retry_in = SignedDuration::from_secs(retry_in);
    Outcome::NotArrived(AttemptFailure::NotSent { reason: "no token".to_owned(), retry_in })
}

fn rejected() -> Outcome {
    Outcome::NotArrived(AttemptFailure::Rejected { error: "bad input".to_owned() })
}

fn final_failure() -> Outcome {
    Outcome::NotArrived(AttemptFailure::Final { error: "may have run".to_owned() })
}

fn unresolved(panics: Option<u32>) -> Outcome {
    Outcome::Unresolved { error: "no answer".to_owned(), panics }
}

fn decision(verdict: Verdict) -> Decision {
    Decision { verdict, by: UserId::new("lead"), notes: None }
}

/// A sighting of the provider job `id` with the marker of this attempt.
fn sighting(id: &str, attempt: u32, status: JobStatus) -> Sighting {
    let status = ProviderStatus::new(provider_job(id), status);
    let marker = Marker { job: new_job().id, attempt };
    Sighting { marker, provider: ProviderName::new("fake"), account: None, status }
}

fn settling(actor: &Actor, seconds: i64) -> Settling<'_> {
    Settling { actor, now: at(seconds), epoch: Epoch::FIRST, suspect: false }
}

/// Settles an outcome as the scheduler, with the current token.
fn settle(
    record: &mut JobRecord,
    outcome: &Outcome,
    seconds: i64,
) -> Result<Settled, TransitionError> {
    record.settle(record.token(), outcome, settling(&Actor::Scheduler, seconds))
}

fn blocked() -> JobRecord {
    stored(submitted(&new_job(), Some(&rule())))
}

fn waiting() -> JobRecord {
    stored(submitted(&new_job(), None))
}

fn claimed() -> JobRecord {
    let mut record = waiting();
    record.claim(&grant(), at(1)).unwrap();
    stored(record)
}

fn paused() -> JobRecord {
    let mut record = claimed();
    settle(&mut record, &failed(5), 2).unwrap();
    stored(record)
}

fn held() -> JobRecord {
    let mut record = claimed();
    settle(&mut record, &Outcome::Held(provider_job("p-1")), 2).unwrap();
    stored(record)
}

fn at_provider(status: JobStatus) -> JobRecord {
    let mut record = claimed();
    settle(&mut record, &Outcome::Submitted(report(status)), 2).unwrap();
    stored(record)
}

fn not_approved() -> JobRecord {
    let mut record = blocked();
    record.decide(&decision(Verdict::Reject), at(2), true).unwrap();
    stored(record)
}

fn every_stage() -> [(&'static str, JobRecord); 11] {
    [
        ("blocked", blocked()),
        ("waiting", waiting()),
        ("paused", paused()),
        ("claimed", claimed()),
        ("held", held()),
        ("queued", at_provider(JobStatus::Queued)),
        ("running", at_provider(JobStatus::Running)),
        ("completed", at_provider(JobStatus::Completed)),
        ("failed", at_provider(JobStatus::Failed)),
        ("cancelled", at_provider(JobStatus::Cancelled)),
        ("not approved", not_approved()),
    ]
}

/// The changes that must be recorded when `before` became `after`.
fn changes(before: &JobRecord, after: &JobRecord) -> Vec<Change> {
    let job = before.id();
    let mut changes = Vec::new();
    let (from, to) = (before.queue_status(), after.queue_status());
    let queue = Change::Queue { job, from: Some(from), to, message: None };
    changes.extend((from != to).then_some(queue));
    let (from, to) = (before.status(), after.status());
    let status = Change::Job { job, from: Some(from), to, message: None };
    changes.extend((from != to).then_some(status));
    if let (Some(before), Some(after)) = (before.approval(), after.approval()) {
        let (from, to, id) = (before.status(), after.status(), after.request().id);
        let message = String::new();
        let approval = Change::Approval { job, id, from: Some(from), to, message };
        changes.extend((from != to).then_some(approval));
    }
    changes
}

fn without_message(mut change: Change) -> Change {
    match &mut change {
        Change::Job { message, .. } | Change::Queue { message, .. } => *message = None,
        Change::Approval { message, .. } => {
            assert!(!message.is_empty(), "an approval's event says why");
            message.clear();
        }
        Change::Priority { .. }
        | Change::Deleted { .. }
        | Change::Provider { .. }
        | Change::Limits { .. } => panic!("no change of a status: {change:?}"),
    }
    change
}

/// Makes a step and checks what must be true of every step: a refused one changes nothing; another
/// leaves a record that fits together, and records exactly one event, by `actor`, for each status
/// that it changed.
fn checked<T>(
    record: &mut JobRecord,
    (actor, seconds): (&Actor, i64),
    step: impl FnOnce(&mut JobRecord) -> Result<T, TransitionError>,
) -> Result<T, TransitionError> {
    let before = record.clone();
    let result = step(record);
    if result.is_err() {
        assert_eq!(*record, before, "a refused step changes nothing");
        return result;
    }
    assert_eq!(record.check(), Ok(()));
    let events = record.take_events();
    for event in &events {
        assert_eq!((&event.actor, event.at), (actor, at(seconds)), "{event:?}");
        assert_eq!(event.correlation_id, record.job().correlation_id);
    }
    let mut expected = changes(&before, record);
    assert_eq!(events.len(), expected.len(), "one event for each change: {events:?}");
    for event in events {
        let change = without_message(event.change);
        expected.retain(|each| *each != change);
    }
    assert_eq!(expected, [], "a change without an event");
    result
}

/// The name of a step, who makes it at which second, and the step: what it came to, as text.
type Named = (&'static str, Actor, i64, fn(&mut JobRecord) -> Result<String, TransitionError>);

fn settled(record: &mut JobRecord, outcome: &Outcome) -> Result<String, TransitionError> {
    Ok(format!("{:?}", settle(record, outcome, 9)?))
}

fn decided(record: &mut JobRecord, verdict: Verdict) -> Result<String, TransitionError> {
    record.decide(&decision(verdict), at(9), true).map(|()| "done".to_owned())
}

fn steps() -> Vec<Named> {
    let worker = || Actor::Scheduler;
    vec![
        ("wake", worker(), 9, |record| Ok(record.wake(at(9)).to_string())),
        ("claim", worker(), 9, |record| record.claim(&grant(), at(9)).map(|()| "done".into())),
        ("reclaim", worker(), 9, |record| {
            record.reclaim(lease(200), Epoch::FIRST, at(9)).map(|()| "done".into())
        }),
        ("extend", worker(), 9, |record| {
            record.extend_lease(record.token(), at(200)).map(|()| "done".into())
        }),
        ("submitted", worker(), 9, |record| {
            settled(record, &Outcome::Submitted(report(JobStatus::Queued)))
        }),
        ("held", worker(), 9, |record| settled(record, &Outcome::Held(provider_job("p-1")))),
        ("failed", worker(), 9, |record| settled(record, &failed(50))),
        ("not sent", worker(), 9, |record| settled(record, &not_sent(50))),
        ("rejected", worker(), 9, |record| settled(record, &rejected())),
        ("final", worker(), 9, |record| settled(record, &final_failure())),
        ("unresolved", worker(), 9, |record| settled(record, &unresolved(None))),
        ("reported", worker(), 9, |record| {
            settled(record, &Outcome::Reported(report(JobStatus::Running)))
        }),
        ("sight", worker(), 9, |record| {
            let seen = sighting("p-1", 1, JobStatus::Queued);
            Ok(format!("{:?}", record.sight(&seen, settling(&Actor::Scheduler, 9))))
        }),
        ("blame", worker(), 9, |record| Ok(record.blame(at(9)).to_string())),
        ("cancel", user("bob"), 9, |record| {
            Ok(format!("{:?}", record.cancel(&user("bob"), at(9))?))
        }),
        ("approve", user("lead"), 9, |record| decided(record, Verdict::Approve)),
        ("reject", user("lead"), 9, |record| decided(record, Verdict::Reject)),
        ("expire", Actor::Expirer, DEADLINE, |record| {
            record.expire(at(DEADLINE)).map(|()| "done".into())
        }),
    ]
}

#[test]
fn each_step_starts_from_its_own_stages_and_leads_where_the_table_says() {
    let mut table = String::new();
    for (stage, record) in every_stage() {
        let mut harmless = Vec::new();
        writeln!(table, "{stage} ({} {}):", record.queue_status(), record.status()).unwrap();
        for (name, actor, seconds, step) in steps() {
            let mut after = record.clone();
            let Ok(result) = checked(&mut after, (&actor, seconds), step) else { continue };
            if after == record {
                harmless.push(format!("{name} {result}"));
                continue;
            }
            let (queue, job) = (after.queue_status(), after.status());
            writeln!(table, "  {name}: {result}, {queue} {job}").unwrap();
        }
        writeln!(table, "  nothing: {}", harmless.join(", ")).unwrap();
    }
    assert_eq!(table, TABLE);
}

/// Each stage, then each step that changes it: what the step comes to, and the statuses of entry and
/// job after it. Last, the steps that are allowed and change nothing.
const TABLE: &str = "\
blocked (blocked pending):
  cancel: Done, cancelled cancelled
  approve: done, pending pending
  reject: done, failed cancelled
  expire: done, failed cancelled
  nothing: wake false, sight Stray, blame false
waiting (pending pending):
  claim: done, ready uploading
  cancel: Done, cancelled cancelled
  nothing: wake false, failed Unchanged, not sent Unchanged, rejected Unchanged, final Unchanged, sight Stray, blame false
paused (pending uploading):
  wake: true, pending uploading
  claim: done, ready uploading
  cancel: Done, cancelled cancelled
  nothing: failed Unchanged, not sent Unchanged, rejected Unchanged, final Unchanged, sight Stray, blame false
claimed (ready uploading):
  reclaim: done, ready uploading
  extend: done, ready uploading
  submitted: Changed, running queued
  held: Changed, ready uploading
  failed: Requeued, pending uploading
  not sent: Requeued, pending uploading
  rejected: Ended(Failed), failed failed
  final: Ended(Failed), failed failed
  unresolved: Changed, ready uploading
  sight: Adopted, running queued
  cancel: InFlight, ready uploading
  nothing: wake false, blame false
held (ready uploading):
  reclaim: done, ready uploading
  extend: done, ready uploading
  submitted: Changed, running queued
  failed: Requeued, pending uploading
  not sent: Requeued, pending uploading
  rejected: Ended(Failed), failed failed
  final: Ended(Failed), failed failed
  unresolved: Changed, ready uploading
  cancel: InFlight, ready uploading
  nothing: wake false, held Unchanged, sight AlreadyAdopted, blame false
queued (running queued):
  reported: Changed, running running
  cancel: AtProvider, running queued
  nothing: wake false, submitted Unchanged, sight AlreadyAdopted, blame false
running (running running):
  cancel: AtProvider, running running
  nothing: wake false, submitted Unchanged, reported Unchanged, sight AlreadyAdopted, blame false
completed (completed completed):
  nothing: wake false, submitted Unchanged, reported Unchanged, sight AlreadyAdopted, blame false
failed (failed failed):
  nothing: wake false, submitted Unchanged, reported Unchanged, sight AlreadyAdopted, blame false
cancelled (cancelled cancelled):
  nothing: wake false, submitted Unchanged, reported Unchanged, sight AlreadyAdopted, blame false
not approved (failed cancelled):
  nothing: wake false, failed Unchanged, not sent Unchanged, rejected Unchanged, final Unchanged, reported Unchanged, sight Stray, blame false
";
