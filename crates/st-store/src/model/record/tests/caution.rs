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
            'p' => drop(settle(&mut record, &unresolved(true), second).unwrap()),
            'u' => drop(settle(&mut record, &unresolved(false), second).unwrap()),
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
    let table = [
        ("c", Caution::None, new),
        ("cu", Caution::None, new),
        ("cr", Caution::None, reclaimed),
        ("crr", Caution::None, reclaimed),
        ("crrr", alone(30), reclaimed),
        ("crrrur", alone(60), reclaimed),
        ("crhrr", alone(30), reclaimed),
        // A claim after a reclaim does not make it harmless: the next one may end the process too.
        ("crrrnc", alone(30), new),
        ("crrrfc", alone(30), new),
        ("crrncr", alone(30), reclaimed),
        // One that ends by itself does.
        ("crrrncnc", Caution::None, new),
        ("crrrncfc", Caution::None, new),
        ("crrrnc", alone(30), new),
        ("crrra", Caution::None, None),
        ("cp", Caution::None, reclaimed),
        ("cpp", Caution::None, reclaimed),
        ("cppp", Caution::ReconcileOnly, reclaimed),
        ("cppnc", Caution::None, new),
        ("cppncp", Caution::ReconcileOnly, reclaimed),
        ("cppncncp", Caution::None, reclaimed),
        ("cpppa", Caution::None, None),
        ("crpr", Caution::None, reclaimed),
        ("crrrrrrrrr", alone(600), reclaimed),
        ("crrrrrrrrrr", Caution::ReconcileOnly, reclaimed),
        ("crrrrrrrrrrnc", Caution::ReconcileOnly, new),
    ];
    for (steps, caution, origin) in table {
        assert_eq!(after_steps(steps), (caution, origin), "{steps}");
    }
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
    settle(&mut restored, &unresolved(true), 2).unwrap();
    let origin = restored.stage().claimed().map(|claimed| claimed.origin);
    assert_eq!(origin, Some(ClaimOrigin::Restored), "it is not less unknown than before");
    assert_eq!((restored.entry().panics, restored.entry().reclaims), (1, 0));
}
