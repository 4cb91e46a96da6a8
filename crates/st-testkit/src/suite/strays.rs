//! Provider jobs that carry our markers and belong to no job, and those that may still appear.

use jiff::SignedDuration;
use st_store::{
    Actor, AtMostOnce, AttemptFailure, ClaimOptions, ClockEvidence, Cost, JobStatus, Limit,
    LimitsPatch, Marker, NewJob, OrgId, Outcome, ProviderName, ProviderStatus, RECHECKS, Recheck,
    RecheckId, RecheckOutcome, RecheckedAttempt, Searched, Serving, Settled, Settlement, Sighting,
    SightingOutcome, StrayOutcome, TeamId, TransitionError, Unsettled, UnsettledCounts,
};

use super::{
    Harness, accepted, at, claiming, failed, fake, id, job, numbers, provider_job, refusal,
    serving, settlement, status,
};

/// A sighting of a provider job that carries the marker of this attempt of a job.
pub fn sighting(number: u8, attempt: u32, status: ProviderStatus) -> Sighting {
    let marker = Marker { job: id(number), attempt };
    Sighting { marker, provider: fake(), account: None, status }
}

async fn sight(harness: &Harness, sighting: Sighting) -> SightingOutcome {
    let sightings = vec![sighting];
    let mut seen = harness.store.record_sightings(&Actor::Poller, sightings).await.unwrap();
    seen.pop().unwrap().unwrap()
}

async fn end(harness: &Harness, number: u8) {
    let outcome = StrayOutcome::Ended { cost: Cost::ZERO };
    harness.store.settle_stray(&fake(), &provider_job(number), outcome).await.unwrap();
}

async fn due(harness: &Harness) -> Vec<String> {
    let strays = harness.store.due_strays(&fake(), 100).await.unwrap();
    strays.iter().map(|stray| stray.provider_job_id.to_string()).collect()
}

async fn rechecks(harness: &Harness) -> Vec<RecheckId> {
    let due = harness.store.due_rechecks(&fake(), 100).await.unwrap();
    due.iter().map(Recheck::id).collect()
}

pub async fn strays_take_a_slot_until_they_end(harness: &Harness) {
    let mut patch = LimitsPatch::default();
    patch.set(Limit::Team, 2);
    harness.store.patch_limits(patch, &Actor::Operator).await.unwrap();
    let of_team = |number: u8, user: &str| {
        let mut new = job(number, user);
        new.owner.team = Some(TeamId::new("team"));
        new.owner.org = Some(OrgId::new("org"));
        new
    };
    harness.submit(of_team(1, "ann")).await;
    let record = harness.claim().await.remove(0).record;
    harness.settle(&record, accepted(1)).await.unwrap();
    let seen = sight(harness, sighting(1, 1, status(50, JobStatus::Running))).await;
    assert_eq!(seen, SightingOutcome::Stray);
    harness.submit(of_team(2, "ann")).await;
    harness.submit(of_team(3, "bob")).await;
    harness.submit(job(4, "eve")).await;
    assert_eq!(numbers(&harness.claim().await), [4], "the team has its two slots");
    let standing = harness.store.standings(&[id(2), id(3)]).await.unwrap().of;
    let held_by: Vec<_> = standing.iter().map(|standing| standing.unwrap().held_by).collect();
    assert_eq!(held_by, [Some(Limit::User.into()), Some(Limit::Team.into())]);
    end(harness, 50).await;
    assert_eq!(numbers(&harness.claim().await), [2]);
    // The owner of an unknown job is unknown, so its stray counts for no owner.
    let seen = sight(harness, sighting(99, 1, status(51, JobStatus::Running))).await;
    assert_eq!(seen, SightingOutcome::Stray);
    harness.submit(job(5, "zoe")).await;
    harness.submit(job(6, "max")).await;
    assert_eq!(numbers(&harness.claim().await), [5, 6]);
}

pub async fn strays_are_listed_when_they_are_due(harness: &Harness) {
    harness.at_provider(1).await;
    for number in [52, 50, 51] {
        sight(harness, sighting(1, 1, status(number, JobStatus::Queued))).await;
        sight(harness, sighting(1, 1, status(number, JobStatus::Running))).await;
    }
    assert_eq!(due(harness).await, ["p-50", "p-51", "p-52"], "each once");
    assert_eq!(harness.store.unsettled().await.unwrap().total().strays, 3);
    let none = harness.store.due_strays(&ProviderName::new("other"), 9).await.unwrap();
    assert_eq!(none, []);
    let retry = async |number, seconds| {
        let after = SignedDuration::from_secs(seconds);
        let outcome = StrayOutcome::Retry { after };
        harness.store.settle_stray(&fake(), &provider_job(number), outcome).await.unwrap();
    };
    retry(50, 30).await;
    retry(51, 20).await;
    retry(52, 999_999_999).await;
    retry(77, 1).await;
    assert!(due(harness).await.is_empty());
    harness.go_to(30);
    assert_eq!(due(harness).await, ["p-51", "p-50"]);
    let first = harness.store.due_strays(&fake(), 1).await.unwrap().remove(0);
    assert_eq!((first.cancel_attempts, first.found_at), (1, at(0)));
    assert_eq!(first.marker, Marker { job: id(1), attempt: 1 });
    end(harness, 50).await;
    end(harness, 51).await;
    harness.go_to(24 * 3600);
    assert_eq!(due(harness).await, ["p-52"], "no stray waits for more than a day");
    end(harness, 52).await;
    end(harness, 52).await;
    assert_eq!(harness.store.unsettled().await.unwrap().total().strays, 0);
}

pub async fn sightings_are_settled_by_what_is_known_of_the_job(harness: &Harness) {
    harness.at_provider(1).await;
    harness.claimed(2).await;
    let elsewhere = Sighting {
        provider: ProviderName::new("other"),
        ..sighting(2, 1, status(63, JobStatus::Queued))
    };
    let sightings = vec![
        sighting(1, 1, status(1, JobStatus::Running)),
        sighting(1, 1, status(60, JobStatus::Running)),
        sighting(1, 1, status(61, JobStatus::Completed)),
        sighting(2, 7, status(62, JobStatus::Queued)),
        elsewhere,
        sighting(2, 1, status(2, JobStatus::Running)),
        sighting(2, 1, status(2, JobStatus::Running)),
        sighting(99, 1, status(64, JobStatus::Running)),
        sighting(99, 1, status(65, JobStatus::Failed)),
    ];
    let seen = harness.store.record_sightings(&Actor::Poller, sightings).await.unwrap();
    let seen: Vec<_> = seen.into_iter().map(Result::unwrap).collect();
    assert_eq!(
        seen,
        [
            SightingOutcome::AlreadyAdopted,
            SightingOutcome::Stray,
            SightingOutcome::Over,
            SightingOutcome::Stray,
            SightingOutcome::Stray,
            SightingOutcome::Adopted,
            SightingOutcome::AlreadyAdopted,
            SightingOutcome::Stray,
            SightingOutcome::Over,
        ]
    );
    let adopted = harness.found(2).await;
    assert_eq!(adopted.provider_job_id(), Some(&provider_job(2)));
    assert_eq!(adopted.status(), JobStatus::Running);
    let last = harness.history(2).await;
    assert_eq!(last[4..], ["queue running by poller", "job running by poller"]);
    assert_eq!(due(harness).await, ["p-60", "p-62", "p-64"]);
    let owners = harness.store.due_strays(&fake(), 9).await.unwrap();
    let owners: Vec<_> =
        owners.iter().map(|it| it.owner.as_ref().map(|it| it.user.to_string())).collect();
    assert_eq!(owners, [Some("user-1".to_owned()), Some("user-2".to_owned()), None]);
}

pub async fn an_adopted_sighting_counts_as_an_acceptance(harness: &Harness) {
    harness.at_provider(1).await;
    let failing = harness.claimed(2).await;
    harness.settle(&failing, failed(0)).await.unwrap();
    harness.claimed(3).await;
    let seen = sight(harness, sighting(3, 1, status(3, JobStatus::Queued))).await;
    assert_eq!(seen, SightingOutcome::Adopted);
    assert_eq!(harness.found(2).await.entry().failed_attempts, 1);
}

pub async fn a_stray_that_is_adopted_is_none(harness: &Harness) {
    harness.claimed(1).await;
    for (attempt, expected) in [(9, SightingOutcome::Stray), (1, SightingOutcome::Adopted)] {
        let seen = sight(harness, sighting(1, attempt, status(1, JobStatus::Queued))).await;
        assert_eq!(seen, expected);
    }
    assert!(due(harness).await.is_empty());
    let record = harness.claimed(2).await;
    sight(harness, sighting(2, 9, status(2, JobStatus::Queued))).await;
    harness.settle(&record, accepted(2)).await.unwrap();
    let record = harness.claimed(3).await;
    sight(harness, sighting(3, 9, status(3, JobStatus::Queued))).await;
    harness.settle(&record, Outcome::Held(provider_job(3))).await.unwrap();
    assert_eq!(harness.store.unsettled().await.unwrap().total().strays, 0);
}

/// Which of these provider jobs are known as ours, though no job has them.
async fn known(harness: &Harness, numbers: &[u8]) -> Vec<u8> {
    let ids: Vec<_> = numbers.iter().map(|&number| provider_job(number)).collect();
    let known = harness.store.known_provider_jobs(&fake(), &ids).await.unwrap();
    let is_known = |number: &&u8| known.get(&provider_job(**number)) == Some(&None);
    numbers.iter().filter(is_known).copied().collect()
}

pub async fn strays_that_ended_are_known_for_a_day(harness: &Harness) {
    harness.at_provider(1).await;
    for number in 50..=56 {
        sight(harness, sighting(1, 1, status(number, JobStatus::Running))).await;
        end(harness, number).await;
    }
    end(harness, 70).await;
    // What is over when it is seen is one as well, also where its job is not known any more.
    sight(harness, sighting(1, 1, status(57, JobStatus::Failed))).await;
    sight(harness, sighting(99, 1, status(58, JobStatus::Completed))).await;
    let all = [50, 51, 52, 53, 54, 55, 56, 57, 58];
    assert_eq!(known(harness, &all).await, all);
    assert_eq!(known(harness, &[70, 1]).await, [0; 0]);
    let total = harness.store.unsettled().await.unwrap().total();
    assert_eq!((total.strays, due(harness).await.len()), (0, 0));
    let other = ProviderName::new("other");
    let elsewhere = harness.store.known_provider_jobs(&other, &[provider_job(50)]).await.unwrap();
    assert!(elsewhere.is_empty());
    // The clock is set, and nothing confirms it: a day by it is none.
    harness.clock.step(SignedDuration::from_hours(48));
    harness.go_to(24 * 3600 - 1);
    sight(harness, sighting(1, 1, status(60, JobStatus::Failed))).await;
    assert_eq!(known(harness, &all).await, all);
    harness.store.confirm_clock(ClockEvidence::Operator);
    sight(harness, sighting(1, 1, status(61, JobStatus::Failed))).await;
    assert_eq!(known(harness, &all).await, all, "not yet");
    harness.go_to(24 * 3600);
    sight(harness, sighting(1, 1, status(62, JobStatus::Failed))).await;
    assert_eq!(known(harness, &all).await, [54, 55, 56, 57, 58], "a few at a time");
    for number in [63, 64] {
        sight(harness, sighting(1, 1, status(number, JobStatus::Failed))).await;
    }
    assert_eq!(known(harness, &all).await, [0; 0]);
    assert_eq!(known(harness, &[60, 61, 62, 63, 64]).await, [60, 61, 62, 63, 64]);
}

pub async fn rechecks_follow_their_schedule(harness: &Harness) {
    let record = harness.claimed(1).await;
    harness.go_to(10);
    let settled = Settlement { provider_time: Some(at(15)), ..settlement(&record, failed(999)) };
    harness.store.settle(&Actor::Scheduler, vec![settled]).await.unwrap().remove(0).unwrap();
    let marker = Marker { job: id(1), attempt: 1 };
    let settle = async |searched| {
        let outcomes = vec![RecheckOutcome { recheck: marker.into(), searched }];
        harness.store.settle_rechecks(outcomes).await.unwrap();
    };
    for (done, wait) in (0..).zip(RECHECKS) {
        let wait = u64::try_from(wait.as_secs()).unwrap();
        harness.go_to(10 + wait - 1);
        assert_eq!(rechecks(harness).await, [], "not yet after {done}");
        harness.go_to(10 + wait);
        let due = harness.store.due_rechecks(&fake(), 9).await.unwrap().remove(0);
        let attempt =
            RecheckedAttempt::One { number: 1, claimed_at: at(0), provider_time: Some(at(5)) };
        assert_eq!(
            (due.id(), due.done, &due.attempt, due.ended_at, due.provider_ended_at),
            (marker.into(), done, &attempt, at(10), Some(at(15)))
        );
        if done == 4 {
            // A tenth of the age of six hours, then an hour.
            for (searched, again) in [(Searched::Incomplete, 2160), (Searched::OtherAccount, 5760)]
            {
                settle(searched).await;
                assert_eq!(rechecks(harness).await, [], "{searched:?}");
                harness.go_to(10 + wait + again);
                assert_eq!(rechecks(harness).await, [marker.into()]);
            }
        }
        settle(Searched::Complete).await;
    }
    assert_eq!(harness.store.unsettled().await.unwrap().total().rechecks, 0);
    settle(Searched::Complete).await;
    harness.go_to(1_000_000);
    assert_eq!(rechecks(harness).await, []);
}

pub async fn only_what_may_still_arrive_is_rechecked(harness: &Harness) {
    let rejected = AttemptFailure::Rejected { error: "x".to_owned() };
    let last = AttemptFailure::Final { error: "x".to_owned() };
    let damaged = AttemptFailure::Unsendable { error: "x".to_owned() };
    let retry_in = SignedDuration::from_secs(999_999);
    let not_sent = AttemptFailure::NotSent { reason: "x".to_owned(), retry_in };
    let failed = AttemptFailure::Failed { error: "x".to_owned(), retry_in };
    for (number, failure) in
        [(1, rejected), (2, not_sent), (3, last), (4, failed.clone()), (7, damaged)]
    {
        let record = harness.claimed(number).await;
        harness.settle(&record, Outcome::NotArrived(failure)).await.unwrap();
    }
    let cancelled = harness.claimed(5).await;
    harness.store.cancel_job(id(5), &Actor::Operator).await.unwrap();
    let (settled, _) =
        harness.settle(&cancelled, Outcome::NotArrived(failed.clone())).await.unwrap();
    assert_eq!(settled, Settled::Ended(JobStatus::Cancelled));
    // Where the provider deduplicates, nothing can arrive twice.
    let by_key = Serving { guarantee: AtMostOnce::IdempotencyKey, ..serving("other") };
    let provider = ProviderName::new("other");
    harness.submit(NewJob { provider: provider.clone(), ..job(6, "zoe") }).await;
    let options = ClaimOptions { serving: vec![by_key], ..claiming(9) };
    let record = harness.store.claim(&options).await.unwrap().claims.remove(0).record;
    harness.settle(&record, Outcome::NotArrived(failed)).await.unwrap();
    harness.go_to(60);
    let expected = [1, 3, 4, 5].map(first_attempt);
    assert_eq!(rechecks(harness).await, expected);
    assert_eq!(harness.store.due_rechecks(&provider, 9).await.unwrap(), []);
    assert_eq!(harness.store.due_rechecks(&fake(), 2).await.unwrap().len(), 2);
}

fn first_attempt(number: u8) -> RecheckId {
    RecheckId { job: id(number), attempt: Some(1) }
}

/// What a search found for the job with this number.
fn found(number: u8) -> Outcome {
    Outcome::Found(status(number, JobStatus::Queued))
}

pub async fn what_was_found_is_searched_for_again(harness: &Harness) {
    let claimed = harness.claimed(1).await;
    sight(harness, sighting(1, 9, status(1, JobStatus::Queued))).await;
    let (settled, record) = harness.settle(&claimed, found(1)).await.unwrap();
    assert_eq!((settled, record.status()), (Settled::Changed, JobStatus::Queued));
    assert_eq!(due(harness).await, [""; 0], "it is no stray any more");
    harness.claimed(2).await;
    let seen = sight(harness, sighting(2, 1, status(2, JobStatus::Queued))).await;
    assert_eq!(seen, SightingOutcome::Adopted);
    harness.at_provider(3).await;
    let by_key = Serving { guarantee: AtMostOnce::IdempotencyKey, ..serving("fake") };
    harness.submit(job(4, "zoe")).await;
    let options = ClaimOptions { serving: vec![by_key], ..claiming(9) };
    let record = harness.store.claim(&options).await.unwrap().claims.remove(0).record;
    harness.settle(&record, found(4)).await.unwrap();
    harness.go_to(59);
    assert_eq!(rechecks(harness).await, []);
    harness.go_to(60);
    let expected = [1, 2].map(first_attempt);
    assert_eq!(rechecks(harness).await, expected);
    let (settled, _) = harness.settle(&claimed, found(1)).await.unwrap();
    assert_eq!(settled, Settled::Unchanged, "settling it again schedules nothing");
    let again = harness.store.due_rechecks(&fake(), 9).await.unwrap();
    assert_eq!(again[0].ended_at, at(0));
}

pub async fn what_was_found_is_refused_like_a_submission(harness: &Harness) {
    let first = harness.claimed(1).await;
    harness.settle(&first, failed(0)).await.unwrap();
    let second = harness.claim().await.remove(0).record;
    let (settled, _) = harness.settle(&first, found(7)).await.unwrap();
    assert_eq!(settled, Settled::Sighted(SightingOutcome::Stray), "of an attempt before");
    harness.settle(&second, found(1)).await.unwrap();
    let (settled, record) = harness.settle(&second, found(8)).await.unwrap();
    assert_eq!(settled, Settled::Sighted(SightingOutcome::Stray), "the job has another one");
    assert_eq!(record.provider_job_id(), Some(&provider_job(1)));
    assert_eq!(due(harness).await, ["p-7", "p-8"]);
    let other = harness.claimed(2).await;
    let taken = TransitionError::BelongsToOtherJob(provider_job(1));
    assert_eq!(refusal(harness.settle(&other, found(1)).await), taken);
}

pub async fn what_is_unsettled_is_counted_by_provider(harness: &Harness) {
    let unsettled = async || harness.store.unsettled().await.unwrap();
    assert_eq!(unsettled().await, Unsettled::default());
    let unresolved = || Outcome::Unresolved { error: "silence".to_owned(), panics: None };
    let other = ProviderName::new("other");
    harness.submit(NewJob { provider: other.clone(), ..job(1, "ann") }).await;
    let options = ClaimOptions { serving: vec![serving("other")], ..claiming(9) };
    let there = harness.store.claim(&options).await.unwrap().claims.remove(0).record;
    let first = harness.claimed(2).await;
    let second = harness.claimed(3).await;
    assert_eq!(unsettled().await, Unsettled::default(), "their submission is in flight");
    for record in [&there, &first, &second, &second] {
        harness.settle(record, unresolved()).await.unwrap();
    }
    harness.settle(&first, failed(999)).await.unwrap();
    for number in [60, 61] {
        sight(harness, sighting(2, 1, status(number, JobStatus::Running))).await;
    }
    harness.claimed(4).await;
    harness.go_to(100);
    let in_flight = [id(1), id(3)].into();
    let reclaimed = harness.store.reclaim(&claiming(9), &in_flight).await.unwrap().claims;
    assert_eq!(numbers(&reclaimed), [4]);
    let counts = |unresolved, strays, rechecks| UnsettledCounts { unresolved, strays, rechecks };
    let found = unsettled().await;
    let expected = [(fake(), counts(2, 2, 1)), (other.clone(), counts(1, 0, 0))];
    assert_eq!(found, Unsettled { providers: expected.into(), damaged: 0 });
    assert_eq!(found.total(), counts(3, 2, 1));
    harness.settle(&there, accepted(1)).await.unwrap();
    harness.settle(&second, Outcome::Held(provider_job(3))).await.unwrap();
    let expected = [(fake(), counts(2, 2, 1))];
    assert_eq!(unsettled().await.providers, expected.into(), "held, but not yet released");
}
