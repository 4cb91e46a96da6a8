//! Jobs that end in a restored or copied database before a claim has searched for what the life that
//! is lost may have submitted.

use std::collections::BTreeSet;
use std::sync::Arc;

use st_store::{
    AccountId, Actor, JobStatus, MemoryStore, NewJob, Recheck, RecheckId, RecheckOutcome,
    RecheckedAttempt, Searched, SightingOutcome, Verdict,
};
use st_testkit::suite::strays::sighting;
use st_testkit::suite::{
    Harness, accepted, at, claiming, costs_more_than, decision, failed, fake, id, job, status, user,
};

use super::bench::{Bench, expensive};

/// What waits in a database that is copied: 1, 6 and 7 for a slot, of which 7 failed suspiciously,
/// and 2 to 5 for approval.
async fn before_the_copy(harness: &Harness) {
    harness.at_provider(8).await;
    let failing = NewJob { max_attempts: 1, ..job(7, "user-7") };
    harness.submit(failing).await;
    let failing = harness.claim().await.remove(0).record;
    harness.settle(&failing, failed(600)).await.unwrap();
    harness.submit(job(1, "ann")).await;
    harness.submit(job(6, "eve")).await;
    harness.store.add_rule(costs_more_than("50")).await.unwrap();
    for number in 2..=5 {
        harness.submit(expensive(number, 60)).await;
    }
}

/// A life that is lost may have submitted what ends in this one unclaimed.
async fn ends_unclaimed_after_the_copy(harness: &Harness) {
    let (store, ann) = (&harness.store, user("ann"));
    let request = async |number| harness.found(number).await.approval().unwrap().request().id;
    let decide = async |number, verdict| {
        store.decide(request(number).await, &decision(verdict)).await.unwrap();
    };
    let searched = async || {
        let due = store.due_rechecks(&fake(), 100).await.unwrap();
        due.iter().map(Recheck::id).collect::<Vec<_>>()
    };
    let any = |number: &u8| RecheckId { job: id(*number), attempt: None };
    assert_eq!(searched().await, []);
    store.cancel_job(id(1), &ann).await.unwrap();
    decide(2, Verdict::Reject).await;
    store.cancel_job(id(3), &ann).await.unwrap();
    decide(4, Verdict::Approve).await;
    assert_eq!(searched().await, [1, 2, 3].iter().map(any).collect::<Vec<_>>());
    let recheck = store.due_rechecks(&fake(), 1).await.unwrap().remove(0);
    assert_eq!(recheck.attempt, RecheckedAttempt::Any { queued_at: at(0) });
    assert_eq!((recheck.ended_at, recheck.due_at, recheck.account), (at(0), at(0), None));
    harness.submit(job(9, "bob")).await;
    // The provider is used with another account now.
    let mut options = claiming(100);
    options.serving[0].account = Some(AccountId::new("other", None, None));
    let claims = store.claim(&options).await.unwrap().claims;
    let claim_of = |number| claims.iter().find(|claim| claim.record.id() == id(number)).unwrap();
    let account_of = |number| {
        let claimed = claim_of(number).record.stage().claimed().unwrap();
        claimed.attempt.account.as_ref().unwrap().base_url().to_owned()
    };
    assert_eq!(account_of(6), "account", "which accepted job 8 before the copy");
    assert_eq!(account_of(9), "other", "nothing was submitted of it");
    let new = claim_of(9);
    harness.settle(&new.record, accepted(9)).await.unwrap();
    assert_eq!(harness.found(7).await.status(), JobStatus::Failed);
    harness.go_to(60);
    assert_eq!(store.expire(9).await.unwrap().expired.len(), 1);
    let own = RecheckId { job: id(7), attempt: Some(1) };
    let found = searched().await.into_iter().filter(|it| *it != own).collect::<BTreeSet<_>>();
    assert_eq!(found, [1, 2, 3, 5, 7].iter().map(any).collect::<BTreeSet<_>>());
    let seen = vec![
        sighting(1, 4, status(41, JobStatus::Running)),
        sighting(2, 1, status(42, JobStatus::Completed)),
    ];
    let seen = store.record_sightings(&Actor::Poller, seen).await.unwrap();
    let seen: Vec<_> = seen.into_iter().map(Result::unwrap).collect();
    assert_eq!(seen, [SightingOutcome::Stray, SightingOutcome::Over]);
    let done = RecheckOutcome { recheck: any(&1), searched: Searched::Complete };
    store.settle_rechecks(vec![done]).await.unwrap();
    assert!(searched().await.contains(&any(&1)), "a minute after its end it is due again");
    store.settle_rechecks(vec![done]).await.unwrap();
    assert!(!searched().await.contains(&any(&1)));
    assert_eq!(store.unsettled().await.unwrap().total().rechecks, 6);
}

#[tokio::test]
async fn what_ends_unclaimed_after_a_copy_is_searched_for() {
    let bench = Bench::new().await;
    before_the_copy(&bench).await;
    let kept = bench.closed().await;
    let (path, copy) = (kept.path().join("cloud.db"), kept.path().join("copy.db"));
    std::fs::copy(&path, &copy).unwrap();
    std::fs::rename(&copy, &path).unwrap();
    let bench = Bench::open_in(kept, at(0)).await;
    ends_unclaimed_after_the_copy(&bench).await;
}

#[tokio::test]
async fn what_ends_unclaimed_after_a_raised_epoch_is_searched_for_in_memory() {
    let clock = st_testkit::suite::clock();
    let memory = Arc::new(MemoryStore::with_clock(clock.clone()));
    let harness = Harness { store: memory.clone(), clock };
    before_the_copy(&harness).await;
    memory.raise_epoch();
    ends_unclaimed_after_the_copy(&harness).await;
}
