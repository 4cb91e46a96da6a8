//! Leases: renewing them, and reclaiming what they expired for.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::SignedDuration;
use st_store::{Caution, ClaimOptions, ClaimOrigin};

use super::{Harness, at, claiming, failed, holder, id, job, numbers};

pub async fn a_reclaim_issues_a_fresh_token(harness: &Harness) {
    let claimed = harness.claimed(1).await;
    harness.go_to(89);
    assert!(harness.reclaim().await.is_empty(), "the lease has not ended");
    harness.go_to(91);
    let second = ClaimOptions { holder: holder(2), ..claiming(10) };
    let reclaimed = harness.store.reclaim(&second, &BTreeSet::new()).await.unwrap();
    assert!(!reclaimed.more);
    let reclaimed = &reclaimed.claims[0].record;
    assert_eq!(reclaimed.token(), claimed.token().next(harness.store.epoch()));
    let (before, after) =
        (claimed.stage().claimed().unwrap(), reclaimed.stage().claimed().unwrap());
    assert_eq!(after.attempt.claimed_at, before.attempt.claimed_at);
    assert_eq!((after.lease.holder, after.lease.until), (holder(2), at(91 + 90)));
    assert_eq!((after.origin, reclaimed.entry().reclaims), (ClaimOrigin::Reclaimed, 1));
    assert_eq!(reclaimed.entry().attempt, 1, "a reclaim is no attempt");
    assert_eq!(harness.found(1).await, *reclaimed);
    assert_eq!(harness.history(1).await.len(), 4, "its status is the same");
}

pub async fn jobs_in_flight_are_not_reclaimed(harness: &Harness) {
    for number in 1..=3 {
        harness.submit(job(number, &format!("user-{number}"))).await;
    }
    harness.claim().await;
    harness.go_to(100);
    let in_flight = BTreeSet::from([id(1), id(3)]);
    let due = harness.store.next_due(&claiming(1), &in_flight).await.unwrap();
    assert_eq!(due, Some(Duration::ZERO));
    let reclaimed = harness.store.reclaim(&claiming(9), &in_flight).await.unwrap();
    assert_eq!(numbers(&reclaimed.claims), [2]);
    let due = harness.store.next_due(&claiming(1), &in_flight).await.unwrap();
    assert_eq!(due, Some(Duration::from_secs(90)), "the lease that has just begun");
    assert_eq!(numbers(&harness.reclaim().await), [1, 3]);
}

pub async fn leases_are_renewed_for_their_own_holder(harness: &Harness) {
    for number in 1..=3 {
        harness.submit(job(number, &format!("user-{number}"))).await;
    }
    harness.store.claim(&claiming(2)).await.unwrap();
    let other = ClaimOptions { holder: holder(2), ..claiming(9) };
    assert_eq!(numbers(&harness.store.claim(&other).await.unwrap().claims), [3]);
    harness.go_to(80);
    let renew = async |number, in_flight: &[u8]| {
        let in_flight = in_flight.iter().map(|&number| id(number)).collect();
        harness.store.renew(holder(number), Duration::from_mins(1), &in_flight).await.unwrap()
    };
    assert_eq!(renew(1, &[1, 3, 9]).await, 1, "only its own, and only those it works on");
    let open = harness.store.unsettled().await.unwrap().total();
    assert_eq!(open.unresolved, 0, "what is worked on is not in doubt");
    harness.go_to(139);
    assert_eq!(numbers(&harness.reclaim().await), [2, 3]);
    harness.go_to(140);
    assert_eq!(numbers(&harness.reclaim().await), [1]);
    assert_eq!(renew(2, &[1, 2, 3]).await, 0, "they were reclaimed");
}

pub async fn leases_of_dead_holders_end(harness: &Harness) {
    for number in 1..=3 {
        harness.submit(job(number, &format!("user-{number}"))).await;
    }
    harness.store.claim(&claiming(2)).await.unwrap();
    let alive = ClaimOptions { holder: holder(2), ..claiming(9) };
    harness.store.claim(&alive).await.unwrap();
    let events = *harness.store.last_event().borrow();
    assert_eq!(harness.store.expire_dead_holders(holder(2)).await.unwrap(), 2);
    let open = harness.store.unsettled().await.unwrap();
    let unresolved: u64 = open.providers.values().map(|of| of.unresolved).sum();
    assert_eq!(unresolved, 2, "what they sent is unknown, whether or not it can be reclaimed");
    let reclaimed = harness.store.reclaim(&alive, &BTreeSet::new()).await.unwrap().claims;
    assert_eq!(numbers(&reclaimed), [1, 2]);
    assert_eq!(*harness.store.last_event().borrow(), events, "no status changed");
}

pub async fn what_is_reclaimed_often_is_handled_with_care(harness: &Harness) {
    harness.claimed(1).await;
    let mut cautions = Vec::new();
    for round in 1..=10 {
        harness.go_to(round * 1000);
        let claim = harness.reclaim().await.remove(0);
        cautions.push(claim.caution);
        harness.go_to(round * 1000 + 100);
        let again = harness.reclaim().await.remove(0);
        assert_eq!(again.caution, claim.caution, "it was only searched for");
        harness.settle(&again.record, failed(0)).await.unwrap();
        harness.go_to(round * 1000 + 800);
        assert_eq!(harness.claim().await.len(), 1);
    }
    let alone = |seconds| Caution::Alone { pause: SignedDuration::from_secs(seconds) };
    assert_eq!(cautions[..4], [Caution::None, Caution::None, alone(30), alone(60)]);
    assert_eq!(cautions[8..], [alone(600), Caution::ReconcileOnly]);
    harness.go_to(11_000);
    let again = harness.reclaim().await.remove(0);
    assert_eq!(again.caution, Caution::ReconcileOnly, "a new claim does not make it harmless");
}
