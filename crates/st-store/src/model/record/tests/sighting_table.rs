//! Sightings of every claim: by origin, attempt, provider, identifier and status.

use super::*;
use crate::model::{ClaimOrigin, SightingOutcome};

/// Claims of a job's second attempt.
fn claims() -> Vec<(&'static str, JobRecord)> {
    let second = |epoch| {
        let mut record = claimed();
        settle(&mut record, &failed(0), 2).unwrap();
        record.claim(&Grant { epoch, ..grant() }, at(3)).unwrap();
        stored(record)
    };
    let reclaimed = |mut record: JobRecord, epoch| {
        record.reclaim(lease(200), epoch, at(9)).unwrap();
        record
    };
    let held = |mut record: JobRecord| {
        settle(&mut record, &Outcome::Held(provider_job("p-1")), 4).unwrap();
        record
    };
    let (new, restored) = (second(Epoch::FIRST), second(Epoch(2)));
    vec![
        ("new", new.clone()),
        ("reclaimed", reclaimed(new.clone(), Epoch::FIRST)),
        ("reclaimed after a restore", reclaimed(new.clone(), Epoch(2))),
        ("restored", restored.clone()),
        ("restored, reclaimed", reclaimed(restored.clone(), Epoch(2))),
        ("held", held(new.clone())),
        ("held, reclaimed", reclaimed(held(new), Epoch::FIRST)),
        ("held, restored", held(restored)),
    ]
}

fn seen(record: &JobRecord, sighting: &Sighting) -> (SightingOutcome, JobRecord) {
    let mut after = record.clone();
    let settling = Settling { epoch: Epoch(2), ..settling(&Actor::Poller, 9) };
    let outcome = after.sight(sighting, settling);
    assert_eq!(after.check(), Ok(()));
    (outcome, after)
}

#[test]
fn a_claim_adopts_its_own_attempt_and_a_restored_one_any_that_did_not_end_badly() {
    let mut table = String::new();
    for (name, record) in claims() {
        let mut outcomes = Vec::new();
        for provider in ["fake", "other"] {
            for (id, attempt) in [("p-1", 2), ("p-2", 2), ("p-2", 1), ("p-2", 3)] {
                let provider = ProviderName::new(provider);
                let of = |status| Sighting {
                    provider: provider.clone(),
                    ..sighting(id, attempt, status)
                };
                let (outcome, after) = seen(&record, &of(JobStatus::Running));
                assert_eq!(outcome == SightingOutcome::Adopted, after != record, "{name}");
                outcomes.push(format!("{outcome:?}"));
                for &status in JobStatus::ALL {
                    let of_lost_life = outcome == SightingOutcome::Adopted
                        && record
                            .stage()
                            .claimed()
                            .is_some_and(|it| it.origin == ClaimOrigin::Restored);
                    // One that ended badly may have been followed by one that is alive.
                    let ended_badly = matches!(status, JobStatus::Cancelled | JobStatus::Failed);
                    let ended = (outcome == SightingOutcome::Stray && status.is_terminal())
                        || (of_lost_life && ended_badly);
                    let expected = if ended { SightingOutcome::Over } else { outcome };
                    assert_eq!(seen(&record, &of(status)).0, expected, "{name} {id} {status}");
                }
            }
        }
        writeln!(table, "{name}: {}", outcomes.join(" ")).unwrap();
    }
    assert_eq!(table, TABLE);
}

/// Each claim of attempt 2: what comes of `p-1` of attempt 2, and of `p-2` of attempts 2, 1 and 3;
/// then the same at another provider.
const TABLE: &str = "\
new: Adopted Adopted Stray Stray Stray Stray Stray Stray
reclaimed: Adopted Adopted Stray Stray Stray Stray Stray Stray
reclaimed after a restore: Adopted Adopted Adopted Adopted Stray Stray Stray Stray
restored: Adopted Adopted Adopted Adopted Stray Stray Stray Stray
restored, reclaimed: Adopted Adopted Adopted Adopted Stray Stray Stray Stray
held: AlreadyAdopted Stray Stray Stray Stray Stray Stray Stray
held, reclaimed: AlreadyAdopted Stray Stray Stray Stray Stray Stray Stray
held, restored: AlreadyAdopted Stray Stray Stray Stray Stray Stray Stray
";

#[test]
fn what_was_adopted_is_known_and_another_is_a_stray_from_then_on() {
    for &status in JobStatus::ALL {
        let record = claimed();
        let (outcome, adopted) = seen(&record, &sighting("p-7", 1, status));
        assert_eq!(outcome, SightingOutcome::Adopted, "{status}");
        assert_eq!(adopted.token(), record.token(), "its holder keeps its token");
        let arrived = status.max(JobStatus::Queued);
        assert_eq!(adopted.status(), arrived);
        let again = seen(&adopted, &sighting("p-7", 1, status)).0;
        assert_eq!(again, SightingOutcome::AlreadyAdopted);
        let other = seen(&adopted, &sighting("p-8", 1, JobStatus::Queued)).0;
        assert_eq!(other, SightingOutcome::Stray, "{status}");
    }
}

#[test]
fn a_held_submission_is_not_replaced_by_another_one() {
    for (name, mut record) in claims().into_iter().skip(5) {
        let other = ProviderStatus::new(provider_job("p-2"), JobStatus::Queued);
        let (known, reported) = (provider_job("p-1"), provider_job("p-2"));
        let refused = Err(TransitionError::OtherProviderJob { known, reported });
        let before = record.clone();
        assert_eq!(settle(&mut record, &Outcome::Submitted(other), 9), refused, "{name}");
        assert_eq!(record, before, "the one that is held can still be released");
    }
}

#[test]
fn a_waiting_job_of_an_earlier_life_expects_its_provider_job() {
    let later = Settling { epoch: Epoch(2), ..settling(&Actor::Poller, 9) };
    let same_life = settling(&Actor::Poller, 9);
    let own = sighting("p-1", 1, JobStatus::Running);
    let foreign = Sighting { provider: ProviderName::new("elsewhere"), ..own.clone() };
    for (seen, settling, expected) in [
        (&own, later, SightingOutcome::Expected),
        (&foreign, later, SightingOutcome::Stray),
        (&own, same_life, SightingOutcome::Stray),
    ] {
        let mut record = waiting();
        let before = record.clone();
        assert_eq!(record.sight(seen, settling), expected);
        assert_eq!(record, before, "nothing of it is stored in the job");
    }
}
