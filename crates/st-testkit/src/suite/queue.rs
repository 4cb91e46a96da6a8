//! The queue: claims under the limits, lists and numbers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use st_store::{
    AccountId, Actor, AttemptFailure, Caution, Claim, ClaimOptions, ClaimOrigin, Due, Group, JobId,
    JobRecord, JobStatus, JobType, Limit, LimitUse, Limits, LimitsPatch, NewJob, Opening, OrgId,
    Outcome, PageRequest, Position, Priority, ProviderJobId, ProviderName, ProviderStatus,
    QueueFilter, QueueStatus, Refused, Serving, Stage, Standing, TeamId, Waiting,
};

use super::{
    Harness, accepted, at, claiming, fake, holder, id, job, number, numbers, serving, settlement,
    status,
};

fn patch(values: &[(Limit, u32)]) -> LimitsPatch {
    let mut patch = LimitsPatch::default();
    for &(limit, value) in values {
        patch.set(limit, value);
    }
    patch
}

async fn limit(harness: &Harness, values: &[(Limit, u32)]) -> Limits {
    harness.store.patch_limits(patch(values), &Actor::Operator).await.unwrap()
}

fn with_priority(number: u8, priority: i64) -> NewJob {
    NewJob { priority_override: Some(Priority::new(priority).unwrap()), ..job(number, "ann") }
}

pub async fn every_limit_is_kept(harness: &Harness) {
    let values = [
        (Limit::Global, 6),
        (Limit::User, 2),
        (Limit::Team, 3),
        (Limit::Org, 4),
        (Limit::Local, 1),
    ];
    limit(harness, &values).await;
    for number in 0..20 {
        let mut new = job(number, &format!("user-{}", number % 5));
        new.owner.team = (number % 2 == 0).then(|| TeamId::new("team"));
        new.owner.org = (number % 3 == 0).then(|| OrgId::new("org"));
        new.job_type = if number % 4 == 0 { JobType::Local } else { JobType::Cloud };
        harness.submit(new).await;
    }
    let claims = harness.claim().await;
    let count =
        |of: &dyn Fn(&JobRecord) -> bool| claims.iter().filter(|claim| of(&claim.record)).count();
    assert_eq!(claims.len(), 6, "no more than in all");
    for user in 0..5 {
        let user = format!("user-{user}");
        assert!(count(&|record| record.job().owner.user.as_str() == user) <= 2, "{user}");
    }
    assert!(count(&|record| record.job().owner.team.is_some()) <= 3);
    assert!(count(&|record| record.job().owner.org.is_some()) <= 4);
    assert!(count(&|record| record.job().job_type == JobType::Local) <= 1);
    assert!(harness.claim().await.is_empty(), "there is no slot left");
}

pub async fn a_lowered_limit_ends_nothing(harness: &Harness) {
    for number in 0..4 {
        harness.submit(job(number, &format!("user-{number}"))).await;
    }
    assert_eq!(harness.store.claim(&claiming(3)).await.unwrap().claims.len(), 3);
    limit(harness, &[(Limit::Global, 1)]).await;
    let stats = harness.store.queue_stats().await.unwrap();
    assert_eq!((stats.count(QueueStatus::Ready), stats.limits.global), (3, 1));
    assert!(harness.claim().await.is_empty());
    limit(harness, &[(Limit::Global, 4)]).await;
    assert_eq!(numbers(&harness.claim().await), [3]);
}

pub async fn simultaneous_claims_never_exceed_a_limit(harness: &Harness) {
    for number in 0..20 {
        harness.submit(job(number, &format!("user-{}", number % 4))).await;
    }
    let claims = (0..8).map(|_| {
        let store = Arc::clone(&harness.store);
        st_log::spawn(async move { store.claim(&claiming(3)).await.unwrap().claims })
    });
    let mut claimed = Vec::new();
    for claims in claims.collect::<Vec<_>>() {
        claimed.extend(numbers(&claims.await.unwrap()));
    }
    assert_eq!(claimed.len(), 5, "five in all, whichever claim got them");
    claimed.sort_unstable();
    claimed.dedup();
    assert_eq!(claimed.len(), 5, "none twice");
}

pub async fn earlier_deadlines_go_first(harness: &Harness) {
    limit(harness, &[(Limit::Global, 50), (Limit::User, 20)]).await;
    // Six minutes a point: the last one is a point more urgent than the first and waits since five
    // minutes later.
    for (seconds, number, priority) in
        [(0, 1, 10), (60, 2, 10), (120, 3, 30), (180, 4, 50), (300, 5, 11)]
    {
        harness.go_to(seconds);
        harness.submit(with_priority(number, priority)).await;
    }
    let first = harness.store.claim(&claiming(2)).await.unwrap();
    assert_eq!((numbers(&first.claims), first.more), (vec![4, 3], true));
    let rest = harness.store.claim(&claiming(9)).await.unwrap();
    assert_eq!((numbers(&rest.claims), rest.more), (vec![5, 1, 2], false));
}

pub async fn an_owner_at_its_limit_blocks_nobody_else(harness: &Harness) {
    for number in 0..30 {
        harness.submit(job(number, "greedy")).await;
    }
    harness.go_to(100);
    harness.submit(job(100, "modest")).await;
    assert_eq!(numbers(&harness.claim().await), [0, 1, 100]);
}

pub async fn fair_share_serves_who_has_less(harness: &Harness) {
    let fair =
        LimitsPatch { fair_share: Some(true), ..patch(&[(Limit::Global, 4), (Limit::User, 4)]) };
    harness.store.patch_limits(fair, &Actor::Operator).await.unwrap();
    for number in 0..4 {
        harness.submit(job(number, "first")).await;
    }
    harness.go_to(50);
    for number in 10..12 {
        harness.submit(job(number, "second")).await;
    }
    assert_eq!(numbers(&harness.claim().await), [0, 10, 1, 11]);
}

/// Turns fair share on, with so many slots, two of them for each user.
pub(super) async fn share_fairly(harness: &Harness, slots: u32) {
    let limits = patch(&[(Limit::Global, slots), (Limit::User, 2)]);
    let fair = LimitsPatch { fair_share: Some(true), ..limits };
    harness.store.patch_limits(fair, &Actor::Operator).await.unwrap();
}

/// Ends a job that is claimed, so that its slot is free, and claims what is next.
pub(super) async fn claimed_after(harness: &Harness, done: u8) -> Vec<u8> {
    let report = Outcome::Submitted(status(done, JobStatus::Completed));
    harness.settle(&harness.found(done).await, report).await.unwrap();
    numbers(&harness.claim().await)
}

pub async fn an_owner_that_was_granted_nothing_for_an_hour_goes_first_once(harness: &Harness) {
    share_fairly(harness, 2).await;
    harness.submit(job(0, "ann")).await;
    harness.submit(job(1, "bob")).await;
    assert_eq!(numbers(&harness.claim().await), [0, 1]);
    harness.go_to(10);
    harness.submit(job(2, "ann")).await;
    harness.submit(job(3, "ann")).await;
    harness.go_to(3000);
    for (number, user) in [(4, "eve"), (5, "kim"), (6, "zoe")] {
        harness.submit(job(number, user)).await;
    }
    harness.go_to(3609);
    assert_eq!(
        claimed_after(harness, 1).await,
        [4],
        "her first job is at work, and hers waits less"
    );
    harness.go_to(3610);
    assert_eq!(claimed_after(harness, 4).await, [2], "an hour after her next job began to wait");
    assert_eq!(claimed_after(harness, 2).await, [5], "once");
    harness.go_to(6600);
    assert_eq!(claimed_after(harness, 5).await, [6], "an hour, and less than that since her grant");
    harness.submit(job(7, "new")).await;
    harness.go_to(7210);
    assert_eq!(claimed_after(harness, 6).await, [3], "an hour after her last grant");
    assert_eq!(claimed_after(harness, 3).await, [7]);
}

/// What a probe of one provider was granted counts where another one is claimed from.
pub async fn a_user_whom_a_probe_served_is_not_first_again(harness: &Harness) {
    share_fairly(harness, 3).await;
    let at_other =
        |number, user: &str| NewJob { provider: ProviderName::new("other"), ..job(number, user) };
    harness.submit(job(0, "ann")).await;
    harness.submit(at_other(1, "ann")).await;
    harness.submit(at_other(2, "ann")).await;
    harness.go_to(1800);
    harness.submit(at_other(3, "bob")).await;
    let claim = async |fake: Opening, other: Opening| {
        let serving = vec![
            Serving { opening: fake, ..serving("fake") },
            Serving { opening: other, ..serving("other") },
        ];
        let options = ClaimOptions { serving, ..claiming(1) };
        numbers(&harness.store.claim(&options).await.unwrap().claims)
    };
    assert_eq!(claim(Opening::Closed, Opening::Closed).await, [] as [u8; 0]);
    harness.go_to(7300);
    let probing = limited(1, &Refused::default());
    assert_eq!(claim(probing, Opening::Closed).await, [0]);
    assert_eq!(claim(Opening::Open, Opening::Open).await, [3], "ann was granted one just now");
}

pub async fn no_owner_starves_under_fair_share(harness: &Harness) {
    share_fairly(harness, 3).await;
    let submit = async |number: u16, user: &str| {
        let [high, low] = number.to_be_bytes();
        let id = JobId::new(at(0), [0, 0, 0, 0, 0, 0, 0, 0, high, low]);
        harness.submit(NewJob { id, ..job(0, user) }).await.id()
    };
    // One of ann's jobs takes a month, and one waits. Newcomers have nothing in slots.
    let long = submit(0, "ann").await;
    harness.claim().await;
    let waiting = submit(1, "ann").await;
    let (mut submitted, mut waited, mut ran) = (2, None, 0);
    for hours in (0..24 * 30).step_by(8) {
        harness.go_to(hours * 3600);
        for _ in 0..2 {
            submit(submitted, &format!("user-{submitted}")).await;
            submitted += 1;
        }
        let running = harness.claim().await;
        if running.iter().any(|claim| claim.record.id() == waiting) {
            waited.get_or_insert(hours);
        }
        ran += running.len();
        let done = running.iter().filter(|claim| claim.record.id() != long).map(|claim| {
            let provider_job = ProviderJobId::new(claim.record.id().to_string());
            let status = ProviderStatus::new(provider_job, JobStatus::Completed);
            settlement(&claim.record, Outcome::Submitted(status))
        });
        let settled = harness.store.settle(&Actor::Scheduler, done.collect()).await.unwrap();
        assert!(settled.iter().all(Result::is_ok));
    }
    assert_eq!((waited, submitted, ran), (Some(8), 182, 180), "and nothing stops for her");
}

pub async fn a_job_waits_for_its_date_and_then_runs(harness: &Harness) {
    harness.submit(NewJob { run_after: Some(at(100)), ..job(1, "ann") }).await;
    harness.go_to(99);
    assert!(harness.claim().await.is_empty());
    assert_eq!(harness.next_due().await, Some(Duration::from_secs(1)));
    assert_eq!(harness.store.queue_stats().await.unwrap().oldest_claimable_at, None);
    assert_eq!(harness.store.standings(&[id(1)]).await.unwrap().of, [None]);
    harness.go_to(110);
    assert_eq!(harness.next_due().await, Some(Duration::ZERO));
    assert!(harness.store.claim(&claiming(0)).await.unwrap().claims.is_empty());
    let woken = harness.found(1).await;
    assert_eq!(woken.stage(), &Stage::Waiting(Waiting { due: Due::Now }));
    assert_eq!(woken.entry().waits_since, at(100));
    let oldest = harness.store.queue_stats().await.unwrap().oldest_claimable_at;
    assert_eq!(oldest, Some(at(100)), "it did not wait for a slot before its date");
    assert_eq!(numbers(&harness.claim().await), [1]);
    assert_eq!(harness.history(1).await.len(), 4, "that it was due is no event of its own");
}

pub async fn providers_that_are_not_served_wait(harness: &Harness) {
    let other = ProviderName::new("other");
    harness.submit(NewJob { provider: other, ..job(1, "ann") }).await;
    harness.submit(job(2, "ann")).await;
    assert_eq!(numbers(&harness.claim().await), [2]);
    let elsewhere = ClaimOptions { serving: vec![serving("other")], ..claiming(9) };
    let claims = harness.store.claim(&elsewhere).await.unwrap().claims;
    assert_eq!(numbers(&claims), [1]);
    harness.go_to(1000);
    assert_eq!(numbers(&harness.reclaim().await), [2]);
    assert_eq!(harness.next_due().await, Some(Duration::from_secs(90)));
    let nothing = ClaimOptions { serving: Vec::new(), ..claiming(9) };
    let due = harness.store.next_due(&nothing, &BTreeSet::new()).await.unwrap();
    assert_eq!(due, None, "a lease that it would not reclaim");
}

/// Up to `max` jobs of the fake provider, as far as this is open.
fn opened(max: u32, opening: Opening) -> ClaimOptions {
    ClaimOptions { serving: vec![Serving { opening, ..serving("fake") }], ..claiming(max) }
}

fn limited(submissions: u32, refused: &Refused) -> Opening {
    Opening::Limited { submissions, refused: refused.clone() }
}

/// The numbers of the jobs that probe the fake provider, one after the other; each is refused and
/// waits again.
async fn probe(harness: &Harness, refused: &mut Refused, times: usize) -> Vec<u8> {
    let mut probes = Vec::new();
    for _ in 0..times {
        let options = opened(9, limited(1, refused));
        let claims = harness.store.claim(&options).await.unwrap();
        assert!(!claims.more, "one at a time");
        let [claim] = claims.claims.as_slice() else { break };
        refused.add_probe(&Group::of(&claim.record), Position::of(&claim.record));
        let failure = AttemptFailure::NotSent {
            reason: "refused".to_owned(),
            retry_in: SignedDuration::ZERO,
        };
        harness.settle(&claim.record, Outcome::NotArrived(failure)).await.unwrap();
        probes.push(number(&claim.record));
    }
    probes
}

pub async fn a_provider_is_given_no_more_than_it_is_open_for(harness: &Harness) {
    limit(harness, &[(Limit::Global, 20), (Limit::User, 10)]).await;
    for number in 0..6 {
        harness.submit(job(number, if number % 2 == 0 { "ann" } else { "bob" })).await;
    }
    let other = ProviderName::new("other");
    harness.submit(NewJob { provider: other, ..job(6, "ann") }).await;
    harness.go_to(1);
    let claim = async |options: &ClaimOptions| {
        let claims = harness.store.claim(options).await.unwrap();
        (numbers(&claims.claims), claims.more)
    };
    let none = Refused::default();
    assert_eq!(claim(&opened(9, Opening::Closed)).await, (vec![], false));
    assert_eq!(claim(&opened(9, limited(0, &none))).await, (vec![], false));
    assert_eq!(claim(&opened(9, limited(2, &none))).await, (vec![0, 1], false));
    assert_eq!(claim(&opened(1, limited(1, &none))).await, (vec![2], false), "its limit ended it");
    assert_eq!(claim(&opened(1, limited(2, &none))).await, (vec![3], true));
    let mut both = opened(9, limited(1, &none));
    both.serving.push(serving("other"));
    assert_eq!(claim(&both).await, (vec![4, 6], false), "another provider has its own opening");
    assert_eq!(claim(&opened(1, Opening::Open)).await, (vec![5], false), "nothing is left");
}

pub async fn each_probe_of_a_provider_is_another_job(harness: &Harness) {
    limit(harness, &[(Limit::Global, 20), (Limit::User, 20)]).await;
    for number in 0..8 {
        harness.submit(job(number, "ann")).await;
    }
    harness.submit(job(8, "bob")).await;
    let of_team = {
        let mut new = job(9, "ann");
        new.owner.team = Some(TeamId::new("team"));
        new
    };
    harness.submit(of_team).await;
    let mut refused = Refused::default();
    let probes = probe(harness, &mut refused, 10).await;
    assert_eq!(probes, [0, 8, 9, 1, 2, 3, 4, 5, 6, 7], "a sweep keeps no other owner waiting");
    assert_eq!(probe(harness, &mut refused, 4).await, [8, 9, 0, 1], "they begin again");
    harness.submit(with_priority(10, 50)).await;
    harness.submit(job(11, "eve")).await;
    harness.go_to(1);
    assert_eq!(probe(harness, &mut refused, 3).await, [11, 10, 11], "an urgent one does not wait");

    let opening = limited(3, &refused);
    let claims = harness.store.claim(&opened(2, opening)).await.unwrap();
    assert_eq!((numbers(&claims.claims), claims.more), (vec![2, 3], true));
    let claims = harness.store.claim(&opened(20, Opening::Open)).await.unwrap();
    assert_eq!(numbers(&claims.claims), [10, 0, 1, 4, 5, 6, 7, 8, 9, 11], "as if nothing had been");
}

pub async fn a_probed_provider_shares_the_limits_in_the_usual_order(harness: &Harness) {
    limit(harness, &[(Limit::Global, 3), (Limit::User, 3)]).await;
    for (number, provider) in [(0, "fake"), (1, "other"), (2, "fake"), (3, "other")] {
        let user = format!("user-{number}");
        let provider = ProviderName::new(provider);
        harness.submit(NewJob { provider, ..job(number, &user) }).await;
    }
    let mut refused = Refused::default();
    assert_eq!(probe(harness, &mut refused, 1).await, [0]);
    let mut both = opened(9, limited(9, &refused));
    both.serving.push(serving("other"));
    let claims = harness.store.claim(&both).await.unwrap();
    assert_eq!(numbers(&claims.claims), [1, 2, 0]);
}

pub async fn a_closed_provider_is_still_reclaimed(harness: &Harness) {
    harness.claimed(1).await;
    let closed = opened(9, Opening::Closed);
    let due = harness.store.next_due(&closed, &BTreeSet::new()).await.unwrap();
    assert_eq!(due, Some(Duration::from_secs(90)));
    harness.go_to(100);
    let reclaimed = harness.store.reclaim(&closed, &BTreeSet::new()).await.unwrap();
    assert_eq!((numbers(&reclaimed.claims), reclaimed.more), (vec![1], false));
    harness.go_to(300);
    let mut refused = Refused::default();
    let record = &reclaimed.claims[0].record;
    refused.add_probe(&Group::of(record), Position::of(record));
    let probed = opened(9, limited(0, &refused));
    let reclaimed = harness.store.reclaim(&probed, &BTreeSet::new()).await.unwrap();
    assert_eq!(numbers(&reclaimed.claims), [1]);
}

pub async fn providers_are_in_use_while_a_job_is_not_over(harness: &Harness) {
    let in_use = async || {
        let found = harness.store.providers_in_use().await.unwrap();
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(in_use().await, [""; 0]);
    harness.store.add_rule(super::costs_more_than("50")).await.unwrap();
    let of = |number, provider: &str| NewJob {
        provider: ProviderName::new(provider),
        ..job(number, &format!("user-{number}"))
    };
    for (number, provider) in (1..).zip(["fake", "b", "other", "fake", "a"]) {
        harness.submit(of(number, provider)).await;
    }
    harness.submit(NewJob { estimated_cost: 99.0, ..of(6, "blocked") }).await;
    harness.submit(NewJob { run_after: Some(at(600)), ..of(7, "dated") }).await;
    assert_eq!(in_use().await, ["a", "b", "blocked", "dated", "fake", "other"]);
    harness.store.cancel_job(id(2), &Actor::Operator).await.unwrap();
    harness.store.cancel_job(id(6), &Actor::Operator).await.unwrap();
    for claim in harness.claim().await {
        harness.settle(&claim.record, accepted(number(&claim.record))).await.unwrap();
    }
    assert_eq!(in_use().await, ["a", "dated", "fake", "other"]);
    for done in [1, 4] {
        let report = Outcome::Reported(status(done, JobStatus::Completed));
        harness.settle(&harness.found(done).await, report).await.unwrap();
    }
    assert_eq!(in_use().await, ["a", "dated", "other"]);
}

pub async fn a_claim_carries_what_is_known_of_the_provider(harness: &Harness) {
    harness.submit(job(1, "ann")).await;
    harness.go_to(10);
    let Claim { record, usable_for, caution } = harness.claim().await.remove(0);
    assert_eq!((usable_for, caution), (Duration::from_secs(90), Caution::None));
    let claimed = record.stage().claimed().unwrap().clone();
    assert_eq!((claimed.lease.holder, claimed.lease.until), (holder(1), at(100)));
    assert_eq!(claimed.origin, ClaimOrigin::New);
    let attempt = &claimed.attempt;
    assert_eq!((attempt.number, attempt.token, attempt.claimed_at), (1, record.token(), at(10)));
    assert_eq!(attempt.account, Some(AccountId::new("account", None, None)));
    assert_eq!(attempt.provider_time, Some(at(5)));
    assert_eq!(attempt.may_arrive_for, SignedDuration::from_secs(120));
    assert_eq!(record.entry().started_at, Some(at(10)));
    assert_eq!(harness.found(1).await, record, "the intent to submit is stored");

    harness.submit(job(2, "bob")).await;
    let long = ClaimOptions { lease: Duration::from_secs(999_999), ..claiming(9) };
    let claim = harness.store.claim(&long).await.unwrap().claims.remove(0);
    assert_eq!(claim.usable_for, Duration::from_mins(30), "the longest lease there is");
}

pub async fn an_account_is_kept_as_far_as_it_is_known(harness: &Harness) {
    let url = "https://api.example.com/v1";
    let accounts = [
        None,
        Some(AccountId::new(url, None, None)),
        Some(AccountId::new(url, Some("ann {\"name\": 'x'} \0 é"), None)),
        Some(AccountId::new(url, None, Some("ab12"))),
        Some(AccountId::new(url, Some("ann"), Some("ab12"))),
    ];
    for (number, account) in (1..).zip(&accounts) {
        harness.submit(job(number, &format!("user-{number}"))).await;
        let serving = Serving { account: account.clone(), ..serving("fake") };
        let options = ClaimOptions { serving: vec![serving], ..claiming(1) };
        let claimed = harness.store.claim(&options).await.unwrap().claims.remove(0).record;
        let found = harness.found(number).await;
        assert_eq!(found, claimed);
        assert_eq!(found.stage().claimed().unwrap().attempt.account, *account);
        harness.settle(&claimed, accepted(number)).await.unwrap();
        let there = harness.found(number).await;
        assert_eq!(there.stage().remote().unwrap().account, *account);
        harness
            .settle(&claimed, Outcome::Reported(status(number, JobStatus::Completed)))
            .await
            .unwrap();
    }
}

pub async fn positions_and_numbers_are_right(harness: &Harness) {
    for number in 0..5 {
        harness.go_to(u64::from(number));
        harness.submit(job(number, "ann")).await;
    }
    harness.submit(with_priority(5, 50)).await;
    harness.submit(job(6, "bob")).await;
    harness.go_to(10);
    let claims = harness.store.claim(&claiming(2)).await.unwrap().claims;
    let jobs: Vec<_> = (0..8).map(id).collect();
    let standings = harness.store.standings(&jobs).await.unwrap().of;
    let held_by = Some(Limit::User.into());
    let limit = Some(LimitUse { limit: Limit::User.into(), used: 2, max: 2 });
    let expected = [
        None,
        Some(Standing { position: 1, held_by, limit }),
        Some(Standing { position: 2, held_by, limit }),
        Some(Standing { position: 3, held_by, limit }),
        Some(Standing { position: 4, held_by, limit }),
        None,
        Some(Standing { position: 5, held_by: None, limit: None }),
        None,
    ];
    assert_eq!(standings, expected);
    let stats = harness.store.queue_stats().await.unwrap();
    assert_eq!((stats.count(QueueStatus::Pending), stats.count(QueueStatus::Ready)), (5, 2));
    assert_eq!(stats.by_user.values().copied().collect::<Vec<_>>(), [6, 1]);
    assert_eq!(stats.avg_wait_seconds, Some(8.0), "10 and 6 seconds");
    assert_eq!(stats.oldest_claimable_at, Some(at(1)));
    let page = PageRequest { limit: 2, offset: 1 };
    let filter = QueueFilter { include_completed: true, ..QueueFilter::default() };
    let listed = harness.store.list_entries(filter, page).await.unwrap();
    let listed = (listed.items.iter().map(number).collect::<Vec<_>>(), listed.total);
    assert_eq!(listed, (vec![1, 2], 7), "in the order in which they were queued");
    assert_eq!(harness.next_due().await, Some(Duration::from_secs(90)));
    let there = async || harness.store.queue_stats().await.unwrap().at_providers.remove(&fake());
    assert_eq!(there().await, None, "a claim is not an arrival");
    for (claim, is) in claims.iter().zip([JobStatus::Queued, JobStatus::Running]) {
        let report = status(number(&claim.record), is);
        harness.settle(&claim.record, Outcome::Submitted(report)).await.unwrap();
    }
    assert_eq!(there().await, Some(2));
    let over = status(number(&claims[0].record), JobStatus::Completed);
    harness.settle(&claims[0].record, Outcome::Reported(over)).await.unwrap();
    assert_eq!(there().await, Some(1));
}
