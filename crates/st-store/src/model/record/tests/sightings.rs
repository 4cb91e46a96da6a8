//! Provider jobs that carry the job's marker.

use super::*;
use crate::model::SightingOutcome;

fn sight(record: &mut JobRecord, sighting: &Sighting) -> SightingOutcome {
    let step = |record: &mut JobRecord| Ok(record.sight(sighting, settling(&Actor::Poller, 9)));
    checked(record, (&Actor::Poller, 9), step).unwrap()
}

#[test]
fn a_sighting_is_adopted_only_by_the_attempt_it_belongs_to() {
    let mut table = String::new();
    for (stage, record) in every_stage() {
        let mut outcomes = Vec::new();
        for (id, attempt, status) in [
            ("p-1", 1, JobStatus::Queued),
            ("p-2", 1, JobStatus::Queued),
            ("p-2", 9, JobStatus::Queued),
            ("p-2", 9, JobStatus::Failed),
        ] {
            let mut after = record.clone();
            let outcome = sight(&mut after, &sighting(id, attempt, status));
            assert_eq!(outcome == SightingOutcome::Adopted, after != record, "{stage}");
            outcomes.push(format!("{outcome:?}"));
        }
        writeln!(table, "{stage}: {}", outcomes.join(" ")).unwrap();
    }
    assert_eq!(
        table,
        "blocked: Stray Stray Stray Over\n\
         waiting: Stray Stray Stray Over\n\
         paused: Stray Stray Stray Over\n\
         claimed: Adopted Adopted Stray Over\n\
         held: AlreadyAdopted Stray Stray Over\n\
         queued: AlreadyAdopted Stray Stray Over\n\
         running: AlreadyAdopted Stray Stray Over\n\
         completed: AlreadyAdopted Stray Stray Over\n\
         failed: AlreadyAdopted Stray Stray Over\n\
         cancelled: AlreadyAdopted Stray Stray Over\n\
         not approved: Stray Stray Stray Over\n"
    );
}

#[test]
fn an_adopted_job_is_as_the_provider_reports_it() {
    let mut record = claimed();
    record.cancel(&user("bob"), at(5)).unwrap();
    let mut seen = sighting("p-7", 1, JobStatus::Running);
    seen.account = Some(AccountId::new("seen-in", None, None));
    assert_eq!(sight(&mut record, &seen), SightingOutcome::Adopted);
    assert_eq!(
        (record.status(), record.queue_status()),
        (JobStatus::Running, QueueStatus::Running)
    );
    let remote =
        RemoteId { id: provider_job("p-7"), account: Some(AccountId::new("seen-in", None, None)) };
    assert_eq!(record.stage().remote(), Some(&remote));
    assert!(record.cancel_requested(), "a request outlives the adoption");
    let mut record = claimed();
    assert_eq!(
        sight(&mut record, &sighting("p-7", 1, JobStatus::Completed)),
        SightingOutcome::Adopted
    );
    assert_eq!(record.status(), JobStatus::Completed);
}

#[test]
fn a_restored_job_adopts_any_attempt() {
    let mut record = waiting();
    record.claim(&Grant { epoch: Epoch(2), ..grant() }, at(1)).unwrap();
    let mut record = stored(record);
    let settling = Settling { epoch: Epoch(2), ..settling(&Actor::Scheduler, 9) };
    let outcome = record.sight(&sighting("p-7", 5, JobStatus::Queued), settling);
    assert_eq!(outcome, SightingOutcome::Adopted);
    assert_eq!(record.entry().epoch, Epoch(2));
}

#[test]
fn another_providers_job_is_never_adopted() {
    for mut record in [claimed(), at_provider(JobStatus::Queued)] {
        let provider = ProviderName::new("other");
        let seen = Sighting { provider, ..sighting("p-1", 1, JobStatus::Queued) };
        assert_eq!(sight(&mut record, &seen), SightingOutcome::Stray);
    }
}
