//! How carefully a job is dispatched after reclaims and panics, over several claims.

use super::*;
use crate::model::{Caution, ClaimOrigin};

/// Makes a step for each letter: claim, reclaim, panic, no answer, nothing sent, failed, held,
/// accepted.
fn after_steps(steps: &str) -> (Caution, Option<ClaimOrigin>) {
    let mut record = waiting();
    for (step, second) in steps.chars().zip(1..) {
        match step {
            'c' => record.claim(&grant(), at(second)).unwrap(),
            'r' => record.reclaim(lease(second + 90), Epoch::FIRST, at(second)).unwrap(),
            'p' => {
                let panics = record.entry().panics + 1;
                settle(&mut record, &unresolved(Some(panics)), second).unwrap();
            }
            'u' => drop(settle(&mut record, &unresolved(None), second).unwrap()),
            'n' => drop(settle(&mut record, &not_sent(0), second).unwrap()),
            'f' => drop(settle(&mut record, &failed(0), second).unwrap()),
            'h' => drop(settle(&mut record, &Outcome::Held(provider_job("p-1")), second).unwrap()),
            'a' => {
                let accepted = Outcome::Submitted(report(JobStatus::Queued));
                settle(&mut record, &accepted, second).unwrap();
            }
            other => panic!("no step {other}"),
        }
    }
    let origin = record.stage().claimed().map(|claimed| claimed.origin);
    (Caution::after(record.entry().reclaims, record.entry().panics), origin)
}

#[test]
fn reclaims_and_panics_add_up_until_an_attempt_ends_by_itself() {
    let alone = |seconds| Caution::Alone { pause: SignedDuration::from_secs(seconds) };
    let (new, reclaimed) = (Some(ClaimOrigin::New), Some(ClaimOrigin::Reclaimed));
    // Each is submitted, reclaimed, and found not to have arrived.
    let lost = |times: usize| "crf".repeat(times);
    let table = [
        ("c".to_owned(), Caution::None, new),
        ("cu".to_owned(), Caution::None, new),
        ("cr".to_owned(), Caution::None, reclaimed),
        // What is only searched for ends no process.
        ("crrrrurrrrrrrrrrr".to_owned(), Caution::None, reclaimed),
        ("crhrr".to_owned(), Caution::None, reclaimed),
        (lost(1) + "cr", Caution::None, reclaimed),
        (lost(2) + "cr", alone(30), reclaimed),
        (lost(3) + "cr", alone(60), reclaimed),
        (lost(3) + "crrr", alone(60), reclaimed),
        // A claim after a reclaim does not make it harmless: the next one may end the process too.
        (lost(3) + "c", alone(30), new),
        (lost(2) + "crnc", alone(30), new),
        // One that ends by itself does.
        (lost(3) + "cnc", Caution::None, new),
        (lost(3) + "cfc", Caution::None, new),
        (lost(3) + "ca", Caution::None, None),
        (lost(2) + "cra", Caution::None, None),
        ("cp".to_owned(), Caution::None, reclaimed),
        ("cpp".to_owned(), Caution::None, reclaimed),
        ("cppp".to_owned(), Caution::ReconcileOnly, reclaimed),
        ("cppnc".to_owned(), Caution::None, new),
        ("cppncp".to_owned(), Caution::ReconcileOnly, reclaimed),
        ("cppncncp".to_owned(), Caution::None, reclaimed),
        ("cpppa".to_owned(), Caution::None, None),
        ("crpr".to_owned(), Caution::None, reclaimed),
        (lost(8) + "cr", alone(600), reclaimed),
        (lost(9) + "cr", Caution::ReconcileOnly, reclaimed),
        (lost(10) + "c", Caution::ReconcileOnly, new),
    ];
    for (steps, caution, origin) in table {
        assert_eq!(after_steps(&steps), (caution, origin), "{steps}");
    }
}

#[test]
fn between_two_submissions_that_ended_the_process_is_a_pause() {
    let mut record = waiting();
    let mut pauses = Vec::new();
    for round in 0..9 {
        let now = round * 1000;
        record.claim(&grant(), at(now)).unwrap();
        record.reclaim(lease(now + 90), Epoch::FIRST, at(now)).unwrap();
        settle(&mut record, &failed(0), now + 1).unwrap();
        let Stage::Waiting(waiting) = record.stage() else { panic!("{record:?}") };
        pauses.push(waiting.due.at().map_or(0, |due| due.duration_since(at(now + 1)).as_secs()));
    }
    assert_eq!(pauses, [0, 0, 30, 60, 120, 240, 480, 600, 600]);
}

#[test]
fn caution_never_falls_with_more_reclaims_or_panics_and_has_no_end() {
    for panics in [0, 1, 2, 3, u32::MAX] {
        let cautions: Vec<_> = (0..50)
            .chain([u32::MAX - 1, u32::MAX])
            .map(|reclaims| Caution::after(reclaims, panics))
            .collect();
        assert!(cautions.is_sorted(), "{cautions:?}");
        assert_eq!(cautions.last(), Some(&Caution::ReconcileOnly));
        let harmless = cautions.iter().filter(|&&it| it == Caution::None).count();
        assert_eq!(harmless, if panics < 3 { 3 } else { 0 }, "after {panics} panics");
    }
}

#[test]
fn a_reclaimed_or_panicked_attempt_stays_to_be_reconciled() {
    let mut restored = waiting();
    restored.claim(&Grant { epoch: Epoch(2), ..grant() }, at(1)).unwrap();
    settle(&mut restored, &unresolved(Some(1)), 2).unwrap();
    let origin = restored.stage().claimed().map(|claimed| claimed.origin);
    assert_eq!(origin, Some(ClaimOrigin::Restored), "it is not less unknown than before");
    assert_eq!((restored.entry().panics, restored.entry().reclaims), (1, 0));
}
