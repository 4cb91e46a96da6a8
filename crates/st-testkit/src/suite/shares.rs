//! Fair share: weights, usage that decays, charges and refunds.

use jiff::{SignedDuration, Timestamp};
use st_store::{
    Actor, AttemptFailure, Error, EventId, JobRecord, JobStatus, Limit, LimitsPatch, NewJob, OrgId,
    Outcome, Owner, ShareScope, ShareTime, TeamId, UserId, Weight,
};

use super::{
    Harness, accepted, at, claiming, failed, id, job, number, numbers, status, submitted, user,
};

const HOUR: u64 = 3600;

/// Fair share with so many slots, in which nobody starves, and so many hours of half-life.
async fn share(harness: &Harness, slots: u32, half_life: u32) {
    let mut patch = LimitsPatch { fair_share: Some(true), ..LimitsPatch::default() };
    for limit in [Limit::Global, Limit::User, Limit::Team, Limit::Org] {
        patch.set(limit, slots);
    }
    patch.set_time(ShareTime::Starvation, 7 * 24 * 3600);
    patch.set_time(ShareTime::HalfLife, half_life);
    harness.store.patch_limits(patch, &Actor::Operator).await.unwrap();
}

async fn weigh(harness: &Harness, scope: ShareScope, weight: f64) {
    let weight = Some(Weight::new(weight).unwrap());
    harness.store.set_weight(&scope, weight, &Actor::Operator).await.unwrap();
}

fn of(name: &str) -> ShareScope {
    ShareScope::User(UserId::new(name))
}

/// Ends a job that has a slot, as the provider reports it.
async fn end(harness: &Harness, number: u8) {
    let over = Outcome::Submitted(status(number, JobStatus::Completed));
    harness.settle(&harness.found(number).await, over).await.unwrap();
}

/// The only job that is claimed now.
async fn claimed(harness: &Harness) -> JobRecord {
    let mut claims = harness.store.claim(&claiming(1)).await.unwrap().claims;
    claims.remove(0).record
}

/// What is left of what everyone used, in thousandths of a slot-hour.
async fn used(harness: &Harness) -> Vec<(String, f64)> {
    let half_life = harness.store.limits().await.unwrap().usage_half_life();
    let usage = harness.store.share_usage().await.unwrap();
    let now = harness.store.now();
    let shown = |hours: f64| (hours * 1000.0).round() / 1000.0;
    usage.iter().map(|(scope, it)| (scope.to_string(), shown(it.left(now, half_life)))).collect()
}

fn expected(usage: &[(&str, f64)]) -> Vec<(String, f64)> {
    usage.iter().map(|(scope, hours)| ((*scope).to_owned(), *hours)).collect()
}

pub async fn a_fourfold_weight_is_served_four_times_as_often(harness: &Harness) {
    share(harness, 1, 168).await;
    weigh(harness, of("bob"), 4.0).await;
    for number in 0..60 {
        let name = if number % 2 == 0 { "ann" } else { "bob" };
        harness.submit(job(number, name)).await;
    }
    let (mut ann, mut bob) = (0, 0);
    for turn in 1..=35 {
        let record = claimed(harness).await;
        if record.job().owner.user.as_str() == "ann" {
            ann += 1;
        } else {
            bob += 1;
        }
        let one_job_off = (ann - 1) * 4 <= bob && bob <= (ann + 1) * 4;
        assert!(one_job_off, "ann {ann}, bob {bob}");
        // Jobs that take longer or shorter than expected count for what they are.
        harness.go_to(turn * HOUR * 2);
        end(harness, number(&record)).await;
    }
    assert_eq!((ann, bob), (7, 28));
}

pub async fn an_organization_of_many_has_the_share_of_one(harness: &Harness) {
    share(harness, 1, 168).await;
    let of_org = |number, name: &str, team: Option<&str>, org: &str| {
        let (team, org) = (team.map(TeamId::new), Some(OrgId::new(org)));
        NewJob { owner: Owner { team, org, ..Owner::user(name) }, ..job(number, name) }
    };
    // A crowd of two teams, of which one has four users, beside one person.
    for number in 0..4 {
        harness.submit(of_org(number, &format!("user-{number}"), Some("large"), "crowd")).await;
    }
    for number in 4..8 {
        harness.submit(of_org(number, "small", Some("small"), "crowd")).await;
    }
    for number in 10..18 {
        harness.submit(of_org(number, "solo", None, "solo")).await;
    }
    let mut order = Vec::new();
    for turn in 1..=16 {
        let record = claimed(harness).await;
        order.push(number(&record));
        harness.go_to(turn * HOUR);
        end(harness, number(&record)).await;
    }
    assert_eq!(order, [0, 10, 4, 11, 1, 12, 5, 13, 2, 14, 6, 15, 3, 16, 7, 17]);
}

pub async fn what_was_used_long_ago_counts_no_more(harness: &Harness) {
    share(harness, 1, 1).await;
    harness.submit(job(1, "ann")).await;
    claimed(harness).await;
    harness.go_to(8 * HOUR);
    end(harness, 1).await;
    let before = used(harness).await;
    harness.submit(job(2, "bob")).await;
    assert_eq!(numbers(&harness.claim().await), [2]);
    harness.go_to(8 * HOUR + 1800);
    end(harness, 2).await;
    for number in [3, 4] {
        harness.submit(job(number, if number == 3 { "ann" } else { "bob" })).await;
    }
    assert_eq!(number(&claimed(harness).await), 4, "ann used more, of which little is left");
    harness.settle(&harness.found(4).await, failed(0)).await.unwrap();
    // Six half-lives later there is still something; what bob used is new by then.
    harness.go_to(14 * HOUR);
    let (left, expected_left) = (used(harness).await[0].1, before[0].1 / 64.0);
    assert!((left - expected_left).abs() < 0.001, "{left}, not {expected_left}");
    assert_eq!(number(&claimed(harness).await), 4);
    harness.go_to(15 * HOUR);
    end(harness, 4).await;
    harness.submit(job(5, "bob")).await;
    assert_eq!(number(&claimed(harness).await), 3, "now bob has used more");
    harness.go_to(16 * HOUR);
    end(harness, 3).await;
    harness.go_to(60 * HOUR);
    assert_eq!(number(&claimed(harness).await), 5);
    assert_eq!(used(harness).await, expected(&[("user bob", 1.0)]), "the rest is forgotten");
}

pub async fn a_job_counts_for_the_time_that_it_took(harness: &Harness) {
    share(harness, 9, 8).await;
    let (team, org) = (Some(TeamId::new("vision")), Some(OrgId::new("acme")));
    let owner = Owner { team, org, ..Owner::user("ann") };
    harness.submit(NewJob { owner, ..job(1, "ann") }).await;
    harness.submit(job(2, "bob")).await;
    let all = |ann: f64, bob: f64| {
        let of_ann = [("user ann", ann), ("team vision", ann), ("organization acme", ann)];
        let [user, team, org] = of_ann;
        expected(&[user, ("user bob", bob), team, org])
    };
    harness.claim().await;
    assert_eq!(used(harness).await, all(1.0, 1.0));
    harness.settle(&harness.found(1).await, accepted(1)).await.unwrap();
    harness.go_to(HOUR / 4);
    end(harness, 2).await;
    // A quarter of an hour, of which the first minutes have decayed a little.
    assert_eq!(used(harness).await[1], ("user bob".to_owned(), 0.247));
    harness.go_to(8 * HOUR);
    let over = Outcome::Reported(status(1, JobStatus::Failed));
    harness.settle(&harness.found(1).await, over).await.unwrap();
    // Eight hours, which on the average are worth 72 % after this half-life.
    assert_eq!(used(harness).await, all(5.771, 0.126));
}

pub async fn what_never_ran_is_refunded(harness: &Harness) {
    let store = &harness.store;
    share(harness, 9, 8).await;
    let not_sent = |retry_in| {
        let retry_in = SignedDuration::from_secs(retry_in);
        Outcome::NotArrived(AttemptFailure::NotSent { reason: "closed".to_owned(), retry_in })
    };
    let rejected =
        Outcome::NotArrived(AttemptFailure::Rejected { error: "no such model".to_owned() });
    for (number, outcome) in [(1, failed(60)), (2, not_sent(60)), (3, rejected)] {
        harness.submit(job(number, "ann")).await;
        let record = claimed(harness).await;
        assert_eq!(used(harness).await, expected(&[("user ann", 1.0)]));
        harness.go_to(u64::from(number) * 600);
        harness.settle(&record, outcome).await.unwrap();
        assert_eq!(store.share_usage().await.unwrap(), [], "{number}");
        if number < 3 {
            store.cancel_job(id(number), &user("ann")).await.unwrap();
        }
    }
    harness.submit(job(4, "ann")).await;
    harness.submit(job(5, "ann")).await;
    assert_eq!(numbers(&harness.claim().await), [4, 5]);
    let refunded = store.cancel_job(id(4), &user("ann")).await.unwrap().1;
    assert_eq!(used(harness).await, expected(&[("user ann", 2.0)]), "its submission is in flight");
    harness.settle(&refunded, not_sent(60)).await.unwrap();
    assert_eq!(used(harness).await, expected(&[("user ann", 1.0)]));
    // A claim that another process takes over is the same one.
    harness.go_to(4 * HOUR);
    assert_eq!(numbers(&harness.reclaim().await), [5]);
    assert_eq!(used(harness).await, expected(&[("user ann", 0.738)]));
    let ended = harness.found(5).await;
    store.settle(&Actor::Scheduler, vec![submitted(&ended, "p-5")]).await.unwrap();
    assert_eq!(used(harness).await, expected(&[("user ann", 0.738)]), "it is at its provider");
}

pub async fn usage_counts_under_fair_share_only(harness: &Harness) {
    let store = &harness.store;
    harness.submit(job(1, "ann")).await;
    harness.claim().await;
    assert_eq!(store.share_usage().await.unwrap(), []);
    share(harness, 9, 8).await;
    end(harness, 1).await;
    assert_eq!(store.share_usage().await.unwrap(), [], "it was not charged");
    harness.submit(job(2, "ann")).await;
    harness.claim().await;
    let off = LimitsPatch { fair_share: Some(false), ..LimitsPatch::default() };
    store.patch_limits(off, &Actor::Operator).await.unwrap();
    harness.submit(job(3, "bob")).await;
    harness.claim().await;
    end(harness, 2).await;
    assert_eq!(store.share_usage().await.unwrap(), [], "what was charged is settled");
}

pub async fn the_time_to_starve_is_a_setting(harness: &Harness) {
    super::queue::share_fairly(harness, 1).await;
    let mut patch = LimitsPatch::default();
    patch.set_time(ShareTime::Starvation, 600);
    patch.set_time(ShareTime::HalfLife, 24);
    let limits = harness.store.patch_limits(patch, &user("ann")).await.unwrap();
    assert_eq!((limits.starvation_seconds, limits.usage_half_life_hours), (600, 24));
    assert_eq!(harness.store.limits().await.unwrap(), limits);
    let events = harness.store.events_after(EventId(0), 99).await.unwrap().events;
    let message = events.last().unwrap().event.change.message().map(str::to_owned);
    let expected = "starvation_seconds from 3600 to 600, usage_half_life_hours from 168 to 24";
    assert_eq!(message.as_deref(), Some(expected));
    patch.set_time(ShareTime::Starvation, 59);
    let refused = harness.store.patch_limits(patch, &user("ann")).await;
    assert!(matches!(refused, Err(Error::InvalidLimits(_))), "{refused:?}");

    harness.submit(job(1, "ann")).await;
    harness.claim().await;
    harness.submit(job(2, "ann")).await;
    for (seconds, ends, number, next) in [(599, 1, 3, 3), (600, 3, 4, 2)] {
        harness.go_to(seconds);
        harness.submit(job(number, &format!("new-{number}"))).await;
        assert_eq!(super::queue::claimed_after(harness, ends).await, [next]);
    }
}

pub async fn what_was_used_moves_with_the_clock(harness: &Harness) {
    share(harness, 9, 8).await;
    harness.submit(job(1, "ann")).await;
    harness.submit(job(2, "ann")).await;
    harness.claim().await;
    harness.go_to(HOUR);
    end(harness, 1).await;
    let before = used(harness).await;
    for hours in [48, -96] {
        harness.clock.step(SignedDuration::from_hours(hours));
        harness.store.claim(&claiming(0)).await.unwrap();
        assert_eq!(used(harness).await, before, "no time passed");
    }
    harness.go_to(3 * HOUR);
    harness.settle(&harness.found(2).await, failed(60)).await.unwrap();
    harness.go_to(9 * HOUR);
    let half_life = SignedDuration::from_hours(8);
    let (_, usage) = harness.store.share_usage().await.unwrap().remove(0);
    let began: Timestamp = at(0) - SignedDuration::from_hours(48);
    assert_eq!(usage.at(), began + SignedDuration::from_hours(3));
    let left = usage.left(harness.store.now(), half_life);
    assert!((left - 0.958 / 2.0).abs() < 0.001, "an hour, one half-life ago: {left}");
}

pub async fn weights_are_kept_and_their_changes_have_events(harness: &Harness) {
    let store = &harness.store;
    let [half, four, one] = [0.5, 4.0, 1.0].map(|weight| Weight::new(weight).unwrap());
    let acme = ShareScope::Org(OrgId::new("acme"));
    let vision = ShareScope::Team(TeamId::new("vision"));
    let ann = user("ann");
    assert_eq!(store.set_weight(&acme, Some(four), &ann).await.unwrap(), four);
    assert_eq!(store.set_weight(&vision, Some(half), &ann).await.unwrap(), half);
    assert_eq!(store.set_weight(&acme, Some(four), &ann).await.unwrap(), four);
    assert_eq!(store.weights().await.unwrap(), [(vision.clone(), half), (acme.clone(), four)]);
    assert_eq!(store.set_weight(&acme, None, &Actor::Operator).await.unwrap(), one);
    assert_eq!(store.set_weight(&vision, Some(one), &Actor::Operator).await.unwrap(), one);
    assert_eq!(store.set_weight(&of("ann"), None, &Actor::Operator).await.unwrap(), one);
    assert_eq!(store.weights().await.unwrap(), [], "what is the default needs no row");
    let nul = store.set_weight(&of("a\0b"), Some(four), &ann).await;
    assert!(matches!(nul, Err(Error::InvalidShare(_))), "{nul:?}");
    let expected = [
        "user ann limits_changed weight of organization acme from 1 to 4",
        "user ann limits_changed weight of team vision from 1 to 0.5",
        "operator limits_changed weight of organization acme from 4 to 1",
        "operator limits_changed weight of team vision from 0.5 to 1",
    ];
    assert_eq!(harness.messages().await, expected);
}
