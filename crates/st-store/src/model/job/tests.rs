//! Submissions that are refused, and what a provider's report does to a job.

use serde_json::json;

use super::*;
use crate::model::{
    Actor, ApprovalId, Epoch, InputProblem, JobRecord, MAX_APPROVAL_TTL, MAX_BYTES, MAX_DEPTH,
    QueueEntryId, UserId,
};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_767_225_600_000 + millis).unwrap()
}

fn new_job() -> NewJob {
    let mut new = NewJob::new(
        JobId::new(at(0), [1; 10]),
        (JobType::Cloud, ProviderName::new("fake")),
        Owner::user("ann"),
        Role::Researcher,
        CorrelationId::parse("c-1").unwrap(),
    );
    new.idempotency = Some(Idempotency { key: "k".to_owned(), digest: "d".to_owned() });
    new
}

/// The submission after a change.
fn checked(change: impl FnOnce(&mut NewJob)) -> Result<(), InvalidJob> {
    let mut new = new_job();
    change(&mut new);
    new.check()
}

#[test]
fn nul_is_refused_in_each_text_by_its_name() {
    type Set = fn(&mut NewJob, String);
    let table: [(&str, Set); 8] = [
        ("provider", |new, text| new.provider = ProviderName::new(text)),
        ("config_name", |new, text| new.config_name = Some(text)),
        ("user_id", |new, text| new.owner.user = UserId::new(text)),
        ("team_id", |new, text| new.owner.team = Some(TeamId::new(text))),
        ("org_id", |new, text| new.owner.org = Some(OrgId::new(text))),
        ("hardware_type", |new, text| new.hardware_type = Some(text)),
        ("idempotency_key", |new, text| new.idempotency.as_mut().unwrap().key = text),
        ("idempotency_digest", |new, text| new.idempotency.as_mut().unwrap().digest = text),
    ];
    for (field, set) in table {
        for text in ["\0", "\0a", "a\0", "a\0b"] {
            let refused = checked(|new| set(new, text.to_owned()));
            assert_eq!(refused, Err(InvalidJob::Text(InvalidText { field })), "{text:?}");
        }
        for text in ["", "\u{1}\u{7f}\n", "\\0", "\u{fffd}", "ünïcode ☃ 𝄞"] {
            assert_eq!(checked(|new| set(new, text.to_owned())), Ok(()), "{field} {text:?}");
        }
    }
    let refused = checked(|new| new.config_name = Some("\0".to_owned())).unwrap_err();
    assert_eq!(refused.to_string(), "config_name contains NUL (U+0000), which cannot be stored");
}

#[test]
fn input_and_metadata_are_refused_under_the_place_of_the_fault() {
    let deep = (0..=MAX_DEPTH).fold(json!(1), |inner, _| json!([inner]));
    let bytes = MAX_BYTES + 1 + r#"{"x":""}"#.len();
    let table = [
        (json!({"a": ["\0"]}), "/a/0", InputProblem::Nul),
        (json!({"x": deep}), "/x/", InputProblem::TooDeep),
        (json!({"x": "y".repeat(MAX_BYTES + 1)}), "", InputProblem::TooLarge { bytes }),
    ];
    for (value, place, expected) in table {
        let Value::Object(members) = value.clone() else { panic!("{value}") };
        let input = checked(|new| new.input = value);
        let metadata = checked(|new| new.metadata = members);
        for (refused, name) in [(input, "input"), (metadata, "metadata")] {
            let Err(InvalidJob::Json { field, source }) = refused else { panic!("{refused:?}") };
            assert_eq!((field, source.problem), (name, expected));
            assert!(source.pointer.starts_with(place), "{}", source.pointer);
        }
    }
}

#[test]
fn a_cost_is_a_finite_amount_of_at_least_nothing() {
    for cost in [0.0, -0.0, f64::MIN_POSITIVE, 0.01, 1e300, f64::MAX] {
        assert_eq!(checked(|new| new.estimated_cost = cost), Ok(()), "{cost}");
    }
    for cost in [-f64::MIN_POSITIVE, -0.01, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(checked(|new| new.estimated_cost = cost), Err(InvalidJob::Cost(cost)));
    }
    let refused = checked(|new| new.estimated_cost = f64::NAN).unwrap_err();
    assert_eq!(refused.to_string(), "estimated_cost NaN is not a finite amount of at least 0");
}

#[test]
fn a_job_has_at_least_one_attempt_and_a_request_stays_open_for_a_month_at_most() {
    let out_of_range = |field, legal| Err(InvalidJob::OutOfRange { field, legal });
    let attempts = |attempts| checked(|new| new.max_attempts = attempts);
    assert_eq!(attempts(0), out_of_range("max_attempts", "at least 1"));
    assert_eq!((attempts(1), attempts(u32::MAX)), (Ok(()), Ok(())));
    let ttl = |ttl| checked(|new| new.approval_ttl = ttl);
    let tick = SignedDuration::from_nanos(1);
    for legal in [tick, APPROVAL_TTL, MAX_APPROVAL_TTL] {
        assert_eq!(ttl(legal), Ok(()), "{legal}");
    }
    for bad in [
        SignedDuration::MIN,
        -tick,
        SignedDuration::ZERO,
        MAX_APPROVAL_TTL + tick,
        SignedDuration::MAX,
    ] {
        let legal = "more than 0 and at most 30 days";
        assert_eq!(ttl(bad), out_of_range("approval_ttl", legal), "{bad}");
    }
}

fn job() -> Job {
    let ids = (QueueEntryId(1), ApprovalId(1));
    JobRecord::submit(&new_job(), None, ids, (at(0), Epoch::FIRST)).job().clone()
}

fn report() -> ProviderStatus {
    ProviderStatus::new(ProviderJobId::new("p-1"), JobStatus::Running)
}

fn full_report() -> ProviderStatus {
    ProviderStatus {
        started_at: Some(at(10)),
        completed_at: Some(at(20)),
        cost_usd: Some(1.5),
        error_message: Some("out of memory".to_owned()),
        output_url: Some("https://out".to_owned()),
        ..report()
    }
}

/// Sets a field of a report, and the same of the job that it makes.
type SetBoth = fn(&mut ProviderStatus, &mut Job);

fn merged(mut job: Job, report: &ProviderStatus) -> Job {
    job.merge(report);
    job
}

#[test]
fn a_report_sets_what_it_contains_and_erases_nothing() {
    let full = merged(job(), &full_report());
    let expected = Job {
        started_at: Some(at(10)),
        completed_at: Some(at(20)),
        cost_usd: Some(1.5),
        error_message: Some("out of memory".to_owned()),
        output_url: Some("https://out".to_owned()),
        ..job()
    };
    assert_eq!(full, expected);
    assert_eq!(merged(full.clone(), &report()), full, "an empty report");
    assert_eq!(merged(full.clone(), &full_report()), full, "the same again");
    let one_field: [SetBoth; 5] = [
        |report, job| (report.started_at, job.started_at) = (Some(at(11)), Some(at(11))),
        |report, job| (report.completed_at, job.completed_at) = (Some(at(21)), Some(at(21))),
        |report, job| (report.cost_usd, job.cost_usd) = (Some(0.0), Some(0.0)),
        |report, job| {
            (report.error_message, job.error_message) = (Some(String::new()), Some(String::new()));
        },
        |report, job| {
            (report.output_url, job.output_url) = (Some("b".to_owned()), Some("b".to_owned()));
        },
    ];
    for set in one_field {
        let (mut report, mut expected) = (report(), full.clone());
        set(&mut report, &mut expected);
        assert_eq!(merged(full.clone(), &report), expected, "{report:?}");
    }
}

#[test]
fn what_cannot_be_stored_of_a_report_is_replaced_or_ignored() {
    let nul = ProviderStatus {
        error_message: Some("\0a\0".to_owned()),
        output_url: Some("https://\0".to_owned()),
        ..report()
    };
    let merged_nul = merged(job(), &nul);
    assert_eq!(merged_nul.error_message.as_deref(), Some("\u{fffd}a\u{fffd}"));
    assert_eq!(merged_nul.output_url.as_deref(), Some("https://\u{fffd}"));
    for cost in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.01, -f64::MIN_POSITIVE] {
        let report = ProviderStatus { cost_usd: Some(cost), ..report() };
        assert_eq!(merged(job(), &report).cost_usd, None, "{cost}");
        assert_eq!(merged(merged(job(), &full_report()), &report).cost_usd, Some(1.5), "{cost}");
    }
}

#[test]
fn times_of_a_report_are_cut_to_the_millisecond() {
    let nanos = SignedDuration::from_nanos(999_999);
    // Not all of the last second can be read back from its milliseconds.
    let last = Timestamp::from_second(Timestamp::MAX.as_second()).unwrap();
    for (exact, cut) in [
        (at(10) + nanos, at(10)),
        (at(10), at(10)),
        (Timestamp::from_nanosecond(-1).unwrap(), Timestamp::UNIX_EPOCH),
        (Timestamp::MAX, last),
        (Timestamp::MIN, Timestamp::MIN),
    ] {
        let report =
            ProviderStatus { started_at: Some(exact), completed_at: Some(exact), ..report() };
        let job = merged(job(), &report);
        assert_eq!((job.started_at, job.completed_at), (Some(cut), Some(cut)), "{exact}");
        let stored = Timestamp::from_millisecond(cut.as_millisecond()).unwrap();
        assert_eq!(stored, cut, "it is read back as it was");
    }
}

#[test]
fn a_duration_is_never_negative_and_ends_with_the_job() {
    let ran = |started: Option<Timestamp>, completed: Option<Timestamp>, now| {
        Job { started_at: started, completed_at: completed, ..job() }.duration_seconds(now)
    };
    assert_eq!(ran(None, None, at(9)), None);
    assert_eq!(ran(None, Some(at(9)), at(9)), None, "it never began");
    assert_eq!(ran(Some(at(0)), None, at(2500)), Some(2.5));
    assert_eq!(ran(Some(at(0)), Some(at(1250)), at(99_000)), Some(1.25));
    assert_eq!(ran(Some(at(10)), Some(at(0)), at(20)), Some(0.0), "clocks that disagree");
    assert_eq!(ran(Some(at(10)), None, at(0)), Some(0.0));
    let longest = ran(Some(Timestamp::MIN), Some(Timestamp::MAX), at(0)).unwrap();
    assert!(longest.is_finite() && longest > 6e11, "{longest}");
    assert_eq!(ran(Some(Timestamp::MAX), Some(Timestamp::MIN), at(0)), Some(0.0));
}

#[test]
fn a_time_after_another_is_at_most_the_last_that_there_is() {
    let last = to_millis(Timestamp::MAX);
    assert_eq!(after(at(0), SignedDuration::from_millis(7)), at(7));
    assert_eq!(after(at(0), SignedDuration::from_micros(7_900)), at(7), "to the millisecond");
    assert_eq!(after(at(0), SignedDuration::MAX), last);
    assert_eq!(after(Timestamp::MAX, SignedDuration::from_millis(1)), last);
    assert!(after(Timestamp::MIN, SignedDuration::ZERO) < Timestamp::UNIX_EPOCH);
    assert!(after(at(0), SignedDuration::from_millis(-7)) < at(0));
}

#[test]
fn a_submission_becomes_a_job_as_it_is() {
    let mut new = new_job();
    new.config_name = Some("lora".to_owned());
    new.owner =
        Owner { team: Some(TeamId::new("t")), org: Some(OrgId::new("o")), ..Owner::user("ann") };
    new.hardware_type = Some("h100".to_owned());
    new.metadata = Map::from_iter([("a".to_owned(), json!({"b": [1, null]}))]);
    new.estimated_cost = 12.5;
    new.priority_override = Some(Priority::MAX);
    let ids = (QueueEntryId(7), ApprovalId(1));
    let mut record = JobRecord::submit(&new, None, ids, (at(5), Epoch(3)));
    let job = record.job();
    assert_eq!((job.id, &job.provider, job.job_type), (new.id, &new.provider, new.job_type));
    assert_eq!((&job.owner, &job.config_name), (&new.owner, &new.config_name));
    assert_eq!((&job.hardware_type, &job.metadata), (&new.hardware_type, &new.metadata));
    assert_eq!((job.created_at, &job.correlation_id), (at(5), &new.correlation_id));
    let entry = record.entry();
    assert_eq!((entry.id, entry.epoch, entry.queued_at), (QueueEntryId(7), Epoch(3), at(5)));
    assert_eq!((entry.estimated_cost, entry.max_attempts), (12.5, 3));
    assert_eq!((entry.priority.get(), entry.effective_priority()), (10, Priority::MAX));
    let actor = Actor::User(UserId::new("ann"));
    assert!(record.take_events().iter().all(|event| event.actor == actor));
}
