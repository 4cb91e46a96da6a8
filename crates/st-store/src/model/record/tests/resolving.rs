//! What a person may decide about a job of each stage, and what comes of it.

use super::*;
use crate::model::{ClaimOrigin, InvalidText, Recheck, Resolution, SightingOutcome};

fn at_provider_as(id: &str) -> Resolution {
    Resolution::AtProvider { id: provider_job(id), account: None }
}

fn resolutions() -> [(&'static str, Resolution); 4] {
    [
        ("there as p-1", at_provider_as("p-1")),
        ("there as p-2", at_provider_as("p-2")),
        ("absent", Resolution::Absent),
        ("abandon", Resolution::Abandon),
    ]
}

fn doubtful(mut record: JobRecord) -> JobRecord {
    settle(&mut record, &unresolved(None), 5).unwrap();
    stored(record)
}

fn cancelling(mut record: JobRecord) -> JobRecord {
    record.cancel(&user("bob"), at(6)).unwrap();
    stored(record)
}

/// Each stage, also those of which the outcome is unknown.
fn stages() -> Vec<(&'static str, JobRecord)> {
    let mut stages = every_stage().to_vec();
    let mut spent = doubtful(claimed());
    spent.entry.failed_attempts = spent.entry.attempt;
    spent.entry.max_attempts = spent.entry.attempt;
    stages.extend([
        ("unresolved", doubtful(claimed())),
        ("unresolved, to be cancelled", cancelling(doubtful(claimed()))),
        ("unresolved, out of attempts", spent),
        ("held, unresolved", doubtful(held())),
        ("held, unresolved, to be cancelled", cancelling(doubtful(held()))),
        ("queued, to be cancelled", cancelling(at_provider(JobStatus::Queued))),
    ]);
    stages
}

fn resolve(
    record: &mut JobRecord,
    resolution: &Resolution,
    note: Option<&str>,
) -> Result<Option<Recheck>, TransitionError> {
    record.resolve(resolution, note, &user("ann"), (at(9), Epoch::FIRST))
}

/// What a resolution comes to: why it is refused, or the statuses of entry and job after it, the
/// provider job that the job has, and its error.
fn result_of(record: &JobRecord, resolution: &Resolution) -> String {
    let mut after = record.clone();
    let result = resolve(&mut after, resolution, None);
    assert_eq!(after.check(), Ok(()));
    match result {
        Err(refusal) => {
            assert_eq!(after, *record, "{refusal}");
            refusal.to_string()
        }
        Ok(_) if after == *record => "nothing".to_owned(),
        Ok(_) => {
            let there = after.provider_job_id().map_or("none", ProviderJobId::as_str);
            let error = after.job().error_message.as_deref().unwrap_or("no error");
            format!("{} {}, {there}, {error}", after.queue_status(), after.status())
        }
    }
}

#[test]
fn a_resolution_leads_where_the_table_says() {
    let mut table = String::new();
    for (stage, record) in stages() {
        let results =
            resolutions().map(|(name, resolution)| (name, result_of(&record, &resolution)));
        if results.iter().all(|(_, result)| *result == results[0].1) {
            writeln!(table, "{stage}: {}", results[0].1).unwrap();
            continue;
        }
        writeln!(table, "{stage}:").unwrap();
        for (name, result) in results {
            writeln!(table, "  {name}: {result}").unwrap();
        }
    }
    assert_eq!(table, TABLE);
}

/// Each stage, then each resolution; only one line where all come to the same.
const TABLE: &str = "\
blocked: nothing is to be resolved: it awaits approval
waiting: nothing is to be resolved: nothing of it is at the provider, it waits
paused: nothing is to be resolved: nothing of it is at the provider, it waits
claimed: nothing is to be resolved: its submission is in flight
held: nothing is to be resolved: its submission is in flight
queued:
  there as p-1: nothing
  there as p-2: the job is p-1 at the provider, not p-2
  absent: failed failed, p-1, it is not at the provider
  abandon: failed failed, p-1, abandoned by ann
running:
  there as p-1: nothing
  there as p-2: the job is p-1 at the provider, not p-2
  absent: failed failed, p-1, it is not at the provider
  abandon: failed failed, p-1, abandoned by ann
completed: nothing is to be resolved: it is over
failed: nothing is to be resolved: it is over
cancelled: nothing is to be resolved: it is over
not approved: nothing is to be resolved: it is over
unresolved:
  there as p-1: running queued, p-1, no error
  there as p-2: running queued, p-2, no error
  absent: pending uploading, none, no error
  abandon: failed failed, none, abandoned by ann
unresolved, to be cancelled:
  there as p-1: running queued, p-1, no error
  there as p-2: running queued, p-2, no error
  absent: cancelled cancelled, none, cancelled before it was submitted
  abandon: failed failed, none, abandoned by ann
unresolved, out of attempts:
  there as p-1: running queued, p-1, no error
  there as p-2: running queued, p-2, no error
  absent: failed failed, none, failed 1 times while submissions of other jobs were accepted: resolved as absent by ann
  abandon: failed failed, none, abandoned by ann
held, unresolved:
  there as p-1: running queued, p-1, no error
  there as p-2: the job is p-1 at the provider, not p-2
  absent: pending uploading, none, no error
  abandon: failed failed, none, abandoned by ann
held, unresolved, to be cancelled:
  there as p-1: running queued, p-1, no error
  there as p-2: the job is p-1 at the provider, not p-2
  absent: cancelled cancelled, none, cancelled before it was submitted
  abandon: failed failed, none, abandoned by ann
queued, to be cancelled:
  there as p-1: nothing
  there as p-2: the job is p-1 at the provider, not p-2
  absent: failed failed, p-1, it is not at the provider
  abandon: failed failed, p-1, abandoned by ann
";

#[test]
fn a_resolved_claim_is_over_for_whoever_worked_on_it_and_is_searched_for() {
    for before in [doubtful(claimed()), doubtful(held()), cancelling(doubtful(claimed()))] {
        for resolution in [at_provider_as("p-1"), Resolution::Absent, Resolution::Abandon] {
            let mut record = before.clone();
            let recheck = resolve(&mut record, &resolution, None).unwrap();
            assert_eq!(recheck, before.recheck((at(9), Epoch::FIRST)));
            assert_eq!(recheck.unwrap().ended_at, at(9));
            assert_eq!(record.token(), before.token().next(Epoch::FIRST));
            assert_eq!(record.entry().attempt, before.entry().attempt);
            let late = record.settle(
                before.token(),
                &Outcome::Submitted(report(JobStatus::Queued)),
                settling(&Actor::Scheduler, 10),
            );
            let (held, current) = (before.token(), record.token());
            assert_eq!(late, Err(TransitionError::StaleAttempt { held, current }));
            let seen = sighting("p-9", 1, JobStatus::Running);
            let seen = record.sight(&seen, settling(&Actor::Poller, 11));
            assert_eq!(seen, SightingOutcome::Stray, "{resolution:?}");
        }
    }
    let mut there = at_provider(JobStatus::Running);
    let token = there.token();
    assert_eq!(resolve(&mut there, &Resolution::Abandon, None), Ok(None));
    assert_eq!(there.token(), token, "there is no claim whose holder must be kept out");
    let mut by_key = waiting();
    let guarantee = AtMostOnce::IdempotencyKey;
    by_key.claim(&Grant { guarantee, ..grant() }, at(1)).unwrap();
    let mut by_key = doubtful(by_key);
    assert_eq!(resolve(&mut by_key, &Resolution::Absent, None), Ok(None), "it cannot arrive twice");
}

#[test]
fn what_is_resolved_as_at_the_provider_is_queued_there() {
    let mut record = doubtful(claimed());
    record.reclaim(lease(200), Epoch(2), at(8)).unwrap();
    record.resolve(&at_provider_as("p-7"), None, &user("ann"), (at(9), Epoch(2))).unwrap();
    let Stage::AtProvider(there) = record.stage() else { panic!("not there: {record:?}") };
    assert_eq!((&there.remote.id, there.phase), (&provider_job("p-7"), Phase::Queued));
    assert_eq!(there.cancellation, None);
    let entry = record.entry();
    assert_eq!((entry.epoch, entry.reclaims, &entry.error_message), (Epoch(2), 0, &None));
    let mut asked = cancelling(doubtful(claimed()));
    resolve(&mut asked, &at_provider_as("p-7"), None).unwrap();
    assert!(asked.cancel_requested(), "it is cancelled there");
}

#[test]
fn what_is_resolved_as_absent_is_submitted_by_its_next_claim() {
    let mut record = waiting();
    record.claim(&Grant { epoch: Epoch(2), ..grant() }, at(1)).unwrap();
    for second in 2..14 {
        record.reclaim(lease(200), Epoch(2), at(second)).unwrap();
        let panics = Some(record.entry().panics + 1);
        settle(&mut record, &unresolved(panics), second).unwrap();
    }
    record.resolve(&Resolution::Absent, None, &user("ann"), (at(20), Epoch(2))).unwrap();
    assert_eq!(record.stage(), &Stage::Waiting(Waiting { due: Due::Now }));
    let entry = record.entry();
    assert_eq!((entry.reclaims, entry.panics, entry.epoch), (0, 0, Epoch(2)));
    assert_eq!(entry.error_message.as_deref(), Some("resolved as absent by ann"));
    record.claim(&Grant { epoch: Epoch(2), ..grant() }, at(21)).unwrap();
    let claimed = record.stage().claimed().unwrap();
    assert_eq!((claimed.origin, claimed.attempt.number), (ClaimOrigin::New, 2));
    assert_eq!(claimed.unresolved_since, None);
}

#[test]
fn a_resolution_says_who_decided_what_and_why() {
    let said = [
        (
            at_provider_as("p-7"),
            Some("seen there"),
            "resolved as p-7 at the provider by ann: seen there",
        ),
        (Resolution::Absent, None, "resolved as absent by ann"),
        (Resolution::Abandon, Some("too old"), "abandoned by ann: too old"),
    ];
    for before in
        [doubtful(claimed()), cancelling(doubtful(claimed())), at_provider(JobStatus::Running)]
    {
        for (resolution, note, message) in &said {
            let mut record = before.clone();
            if resolve(&mut record, resolution, *note).is_err() {
                continue;
            }
            let events = record.take_events();
            assert!(!events.is_empty());
            for event in events {
                assert_eq!((event.change.message(), &event.actor), (Some(*message), &user("ann")));
                assert_eq!(event.at, at(9));
            }
        }
    }
    let mut by_operator = doubtful(claimed());
    by_operator
        .resolve(&Resolution::Abandon, None, &Actor::Operator, (at(9), Epoch::FIRST))
        .unwrap();
    assert_eq!(by_operator.job().error_message.as_deref(), Some("abandoned by operator"));
}

#[test]
fn a_text_that_cannot_be_stored_is_refused() {
    let nul = |field| Err(TransitionError::InvalidText(InvalidText { field }));
    let mut record = doubtful(claimed());
    let before = record.clone();
    assert_eq!(resolve(&mut record, &Resolution::Absent, Some("a\0b")), nul("note"));
    assert_eq!(resolve(&mut record, &at_provider_as("p\0"), None), nul("provider_job_id"));
    let refused = record.resolve(&Resolution::Absent, None, &user("\0"), (at(9), Epoch::FIRST));
    assert_eq!(refused, nul("user"));
    assert_eq!(record, before);
}

#[test]
fn the_account_of_a_job_that_a_person_found_is_the_one_that_serves() {
    let ours = AccountId::new("ours", None, None);
    let found =
        |account: Option<AccountId>| Resolution::AtProvider { id: provider_job("p-1"), account };
    let account = |record: &JobRecord| record.stage().remote().unwrap().account.clone();
    for serving in [Some(ours.clone()), None] {
        let mut record = doubtful(claimed());
        resolve(&mut record, &found(serving.clone()), None).unwrap();
        assert_eq!(account(&record), serving, "not that of the attempt");
    }
    let mut record = at_provider(JobStatus::Running);
    let (before, attempts) = (record.status(), account(&record));
    assert_eq!(attempts, grant().account);
    for (serving, expected) in [(None, attempts), (Some(ours.clone()), Some(ours))] {
        resolve(&mut record, &found(serving), None).unwrap();
        assert_eq!((record.status(), account(&record)), (before, expected));
        assert!(record.take_events().is_empty());
    }
}
