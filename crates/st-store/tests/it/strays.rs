//! Strays and rechecks over restarts: a stray takes one slot of exactly its owner until the
//! provider confirms its end, and nothing that may still arrive is forgotten with its job.

use jiff::SignedDuration;
use st_store::{
    Actor, AtProvider, CancelOutcome, Cost, JobStatus, JobType, Limit, LimitsPatch, NewJob, OrgId,
    Outcome, Owner, ProviderName, RECHECKS, Recheck, RecheckId, RecheckOutcome, Searched, Settled,
    Sighting, SightingOutcome, Stage, StrayOutcome, TeamId, TransitionError,
};
use st_testkit::suite::strays::sighting;
use st_testkit::suite::{
    accepted, at, claiming, failed, fake, holder, id, job, numbers, provider_job, refusal,
    settlement, status, user,
};

use super::bench::Bench;

const NONE: [&str; 0] = [];
const NO_JOBS: [u8; 0] = [];

fn owner(user: &str, team: Option<&str>, org: Option<&str>) -> Owner {
    Owner { team: team.map(TeamId::new), org: org.map(OrgId::new), ..Owner::user(user) }
}

fn owned(number: u8, owner: &Owner, job_type: JobType) -> NewJob {
    NewJob { owner: owner.clone(), job_type, ..job(number, "") }
}

async fn limit(bench: &Bench, limit: Limit, value: u32) {
    let mut patch = LimitsPatch::default();
    for &each in Limit::ALL {
        patch.set(each, each.largest());
    }
    patch.set(limit, value);
    bench.store.patch_limits(patch, &Actor::Operator).await.unwrap();
}

/// Runs job 1 of this owner to its end, and finds it at the provider a second time, as `p-50`.
async fn stray_of(bench: &Bench, owner: &Owner, job_type: JobType) {
    bench.submit(owned(1, owner, job_type)).await;
    let record = bench.claim().await.remove(0).record;
    bench.settle(&record, accepted(1)).await.unwrap();
    let report = Outcome::Reported(status(1, JobStatus::Completed));
    bench.settle(&record, report).await.unwrap();
    let seen = sight(bench, sighting(1, 1, status(50, JobStatus::Running))).await;
    assert_eq!(seen, SightingOutcome::Stray);
}

async fn sight(bench: &Bench, sighting: Sighting) -> SightingOutcome {
    let seen = bench.store.record_sightings(&Actor::Poller, vec![sighting]).await.unwrap();
    *seen[0].as_ref().unwrap()
}

async fn settle_stray(bench: &Bench, outcome: StrayOutcome) {
    bench.store.settle_stray(&fake(), &provider_job(50), outcome).await.unwrap();
}

async fn due(bench: &Bench) -> Vec<String> {
    let strays = bench.store.due_strays(&fake(), 100).await.unwrap();
    strays.iter().map(|stray| stray.provider_job_id.to_string()).collect()
}

/// Of the jobs 2 to 7, those that wait while a stray of `ann` in team `t` of `o` has the only slot of
/// this limit.
const HELD: [(Limit, JobType, &[u8]); 6] = [
    (Limit::Global, JobType::Cloud, &[2, 3, 4, 5, 6, 7]),
    (Limit::User, JobType::Cloud, &[2, 3]),
    (Limit::Team, JobType::Cloud, &[2, 4]),
    (Limit::Org, JobType::Cloud, &[2, 5]),
    (Limit::Local, JobType::Local, &[7]),
    (Limit::Local, JobType::Cloud, &[]),
];

/// The jobs 2 to 7 that wait for a slot of this limit; nothing else holds any of them back.
async fn held(bench: &Bench, limit: Limit) -> Vec<u8> {
    let numbers: Vec<u8> = (2..=7).collect();
    let jobs: Vec<_> = numbers.iter().map(|&number| id(number)).collect();
    let standings = bench.store.standings(&jobs).await.unwrap().of;
    let held_by = |standing: &Option<st_store::Standing>| standing.unwrap().held_by;
    assert!(standings.iter().filter_map(held_by).all(|by| by == limit.into()), "{standings:?}");
    let held = numbers.into_iter().zip(&standings).filter(|(_, it)| held_by(it).is_some());
    held.map(|(number, _)| number).collect()
}

#[tokio::test]
async fn a_stray_takes_one_slot_of_its_owner_against_each_limit_until_it_ends() {
    let ann = owner("ann", Some("t"), Some("o"));
    for (limited, job_type, expected) in HELD {
        let what = format!("{limited} with a {job_type} stray");
        let bench = Bench::new().await;
        limit(&bench, limited, 1).await;
        stray_of(&bench, &ann, job_type).await;
        for new in [
            owned(2, &ann, JobType::Cloud),
            owned(3, &owner("ann", Some("u"), None), JobType::Cloud),
            owned(4, &owner("bob", Some("t"), None), JobType::Cloud),
            owned(5, &owner("bob", None, Some("o")), JobType::Cloud),
            owned(6, &owner("eve", None, None), JobType::Cloud),
            owned(7, &owner("eve", None, None), JobType::Local),
        ] {
            bench.submit(new).await;
        }
        assert_eq!(held(&bench, limited).await, expected, "{what}");
        for seconds in [0, 60, 999_999_999] {
            let after = SignedDuration::from_secs(seconds);
            settle_stray(&bench, StrayOutcome::Retry { after }).await;
            assert_eq!(held(&bench, limited).await, expected, "{what}, asked again");
        }
        let bench = bench.reopened(at(10)).await;
        assert_eq!(held(&bench, limited).await, expected, "{what}, after a restart");
        let claimed = numbers(&bench.store.claim(&claiming(100)).await.unwrap().claims);
        assert!(!claimed.iter().any(|number| expected.contains(number)), "{what}: {claimed:?}");
        settle_stray(&bench, StrayOutcome::Ended { cost: Cost::ZERO }).await;
        let rest = numbers(&bench.store.claim(&claiming(100)).await.unwrap().claims);
        let freed = usize::from(!expected.is_empty());
        assert_eq!(rest.len(), freed, "{what}: its end frees one slot, {rest:?}");
        assert!(rest.iter().all(|number| expected.contains(number)), "{what}: {rest:?}");
        let bench = bench.reopened(at(20)).await;
        assert_eq!(bench.store.unsettled().await.unwrap().total().strays, 0, "{what}");
    }
}

#[tokio::test]
async fn each_stray_takes_a_slot_of_its_own_and_one_seen_twice_takes_one() {
    let bench = Bench::new().await;
    let ann = owner("ann", None, None);
    limit(&bench, Limit::User, 3).await;
    stray_of(&bench, &ann, JobType::Cloud).await;
    for number in [50, 51, 51, 50] {
        let seen = sight(&bench, sighting(1, 1, status(number, JobStatus::Queued))).await;
        assert_eq!(seen, SightingOutcome::Stray);
    }
    // The same identifier at another provider is another job.
    let other = ProviderName::new("other");
    let elsewhere =
        Sighting { provider: other.clone(), ..sighting(1, 1, status(50, JobStatus::Queued)) };
    sight(&bench, elsewhere).await;
    bench.submit(owned(2, &ann, JobType::Cloud)).await;
    let bench = bench.reopened(at(1)).await;
    assert_eq!(numbers(&bench.claim().await), NO_JOBS, "three strays, three slots");
    settle_stray(&bench, StrayOutcome::Ended { cost: Cost::ZERO }).await;
    let there = bench.store.due_strays(&other, 9).await.unwrap();
    assert_eq!(there[0].provider_job_id, provider_job(50), "it ended at one of the providers");
    assert_eq!(there[0].owner, Some(ann));
    assert_eq!(numbers(&bench.claim().await), [2]);
}

#[tokio::test]
async fn a_stray_is_the_same_after_a_restart() {
    let bench = Bench::new().await;
    stray_of(&bench, &owner("ann", Some("t"), Some("o")), JobType::Local).await;
    let after = SignedDuration::from_secs(100);
    settle_stray(&bench, StrayOutcome::Retry { after }).await;
    settle_stray(&bench, StrayOutcome::Retry { after }).await;
    bench.go_to(100);
    let before = bench.store.due_strays(&fake(), 9).await.unwrap();
    assert_eq!((before.len(), before[0].cancel_attempts), (1, 2));
    assert_eq!((before[0].found_at, before[0].next_cancel_at), (at(0), at(100)));
    let bench = bench.reopened(at(99)).await;
    assert_eq!(due(&bench).await, NONE, "it waits as long as it was to");
    bench.go_to(1);
    assert_eq!(bench.store.due_strays(&fake(), 9).await.unwrap(), before);
}

#[tokio::test]
async fn an_adoption_frees_the_slot_of_the_stray() {
    // Seen under another attempt's marker first, and only then known to be the job's own.
    for how in ["submitted", "held", "sighted"] {
        let bench = Bench::new().await;
        limit(&bench, Limit::User, 2).await;
        let ann = owner("ann", None, None);
        bench.submit(owned(1, &ann, JobType::Cloud)).await;
        let record = bench.claim().await.remove(0).record;
        sight(&bench, sighting(1, 9, status(1, JobStatus::Queued))).await;
        bench.submit(owned(2, &ann, JobType::Cloud)).await;
        let bench = bench.reopened(at(1)).await;
        assert_eq!(numbers(&bench.claim().await), NO_JOBS, "{how}: the claim and the stray");
        match how {
            "submitted" => drop(bench.settle(&record, accepted(1)).await.unwrap()),
            "held" => drop(bench.settle(&record, Outcome::Held(provider_job(1))).await.unwrap()),
            _ => {
                let seen = sight(&bench, sighting(1, 1, status(1, JobStatus::Queued))).await;
                assert_eq!(seen, SightingOutcome::Adopted);
            }
        }
        assert_eq!(due(&bench).await, NONE, "{how}");
        assert_eq!(numbers(&bench.claim().await), [2], "{how}");
        assert_eq!(bench.found(1).await.provider_job_id(), Some(&provider_job(1)), "{how}");
    }
}

async fn rechecks(bench: &Bench) -> Vec<RecheckId> {
    let due = bench.store.due_rechecks(&fake(), 100).await.unwrap();
    due.iter().map(Recheck::id).collect()
}

#[tokio::test]
async fn a_recheck_outlives_its_job_and_every_restart() {
    let mut bench = Bench::new().await;
    let record = bench.claimed(1).await;
    let (asked, _) = bench.store.cancel_job(id(1), &user("ann")).await.unwrap();
    assert_eq!(asked, CancelOutcome::InFlight);
    let (settled, _) = bench.settle(&record, failed(0)).await.unwrap();
    assert_eq!(settled, Settled::Ended(JobStatus::Cancelled));
    let marker = RecheckId { job: id(1), attempt: Some(1) };
    for wait in RECHECKS {
        let due = at(0) + wait;
        bench = bench.reopened(due - SignedDuration::from_millis(1)).await;
        assert_eq!(rechecks(&bench).await, vec![], "not before {wait}");
        bench.clock.advance(std::time::Duration::from_millis(1));
        assert_eq!(rechecks(&bench).await, [marker], "after {wait}");
        bench = bench.reopened(due).await;
        let outcomes = vec![RecheckOutcome { recheck: marker, searched: Searched::Complete }];
        bench.store.settle_rechecks(outcomes).await.unwrap();
    }
    assert_eq!(bench.store.unsettled().await.unwrap().total().rechecks, 0);
}

#[tokio::test]
async fn what_a_recheck_finds_takes_a_slot_of_whom_the_job_was_for() {
    let bench = Bench::new().await;
    limit(&bench, Limit::User, 1).await;
    let ann = owner("ann", None, None);
    bench.submit(owned(1, &ann, JobType::Cloud)).await;
    let record = bench.claim().await.remove(0).record;
    bench.settle(&record, failed(0)).await.unwrap();
    bench.store.cancel_job(id(1), &user("ann")).await.unwrap();
    bench.submit(owned(2, &ann, JobType::Cloud)).await;
    let seen = sight(&bench, sighting(1, 1, status(1, JobStatus::Running))).await;
    assert_eq!(seen, SightingOutcome::Stray, "a job that is over adopts nothing");
    let bench = bench.reopened(at(1)).await;
    assert_eq!(numbers(&bench.claim().await), NO_JOBS);
    assert_eq!(due(&bench).await, ["p-1"]);
    assert_eq!(bench.found(1).await.status(), JobStatus::Cancelled);
}

#[tokio::test]
async fn what_the_holder_of_an_old_token_knows_is_settled_as_a_sighting() {
    // One attempt under two tokens: the old holder's submission is this attempt's own.
    let bench = Bench::new().await;
    let old = bench.claimed(1).await;
    bench.go_to(91);
    let new = bench.reclaim().await.remove(0).record;
    let (settled, record) = bench.settle(&old, accepted(1)).await.unwrap();
    assert_eq!(settled, Settled::Sighted(SightingOutcome::Adopted));
    assert!(matches!(record.stage(), Stage::AtProvider(AtProvider { .. })));
    // The new holder finds the same job, or submitted another one.
    let (settled, _) = bench.settle(&new, accepted(1)).await.unwrap();
    assert_eq!(settled, Settled::Unchanged);
    let (settled, _) = bench.settle(&new, accepted(2)).await.unwrap();
    assert_eq!(settled, Settled::Sighted(SightingOutcome::Stray));
    assert_eq!(due(&bench).await, ["p-2"]);

    // The old holder's attempt was given up, and another one is under way.
    let old = bench.claimed(3).await;
    bench.settle(&old, failed(0)).await.unwrap();
    let new = bench.claim().await.remove(0).record;
    let (settled, _) = bench.settle(&old, accepted(3)).await.unwrap();
    assert_eq!(settled, Settled::Sighted(SightingOutcome::Stray), "another attempt's");
    let over = Outcome::Submitted(status(4, JobStatus::Completed));
    let (settled, _) = bench.settle(&old, over).await.unwrap();
    assert_eq!(settled, Settled::Sighted(SightingOutcome::Over), "it needs no cancelling");
    let before = bench.found(3).await;
    for outcome in [failed(0), Outcome::Held(provider_job(9)), report(9)] {
        let refused = refusal(bench.settle(&old, outcome.clone()).await);
        let stale = TransitionError::StaleAttempt { held: old.token(), current: new.token() };
        assert_eq!(refused, stale, "{outcome:?} says nothing about a job there");
    }
    assert_eq!(bench.found(3).await, before);
    let bench = bench.reopened(at(200)).await;
    assert_eq!(due(&bench).await, ["p-2", "p-3"]);
    let (settled, _) = bench.settle(&new, accepted(5)).await.unwrap();
    assert_eq!(settled, Settled::Changed);
}

fn report(number: u8) -> Outcome {
    Outcome::Reported(status(number, JobStatus::Running))
}

#[tokio::test]
async fn another_jobs_provider_job_is_never_taken_over() {
    let bench = Bench::new().await;
    bench.at_provider(1).await;
    let record = bench.claimed(2).await;
    let theirs = TransitionError::BelongsToOtherJob(provider_job(1));
    for outcome in [accepted(1), Outcome::Held(provider_job(1))] {
        assert_eq!(refusal(bench.settle(&record, outcome).await), theirs);
    }
    bench.go_to(91);
    bench
        .store
        .reclaim(&st_store::ClaimOptions { holder: holder(2), ..claiming(9) }, &[].into())
        .await
        .unwrap();
    assert_eq!(refusal(bench.settle(&record, accepted(1)).await), theirs, "nor by an old token");
    let both = vec![
        sighting(2, 1, status(1, JobStatus::Running)),
        sighting(2, 1, status(2, JobStatus::Running)),
    ];
    let mut seen = bench.store.record_sightings(&Actor::Poller, both).await.unwrap();
    assert_eq!(*seen[1].as_ref().unwrap(), SightingOutcome::Adopted, "the next one counts");
    assert_eq!(refusal(seen.remove(0)), theirs);
    assert_eq!(due(&bench).await, NONE);
    let repeated = vec![settlement(&bench.found(1).await, report(1))];
    let settled = bench.store.settle(&Actor::Poller, repeated).await.unwrap().remove(0);
    assert_eq!(settled.unwrap().0, Settled::Changed);
}
