//! What a claim costs, however much waits: `cargo bench -p st-store --bench claims`.
//!
//! Durable, with limits and events, on a real file. A claim that grants is a commit, so the time of a
//! commit of one row is printed first.

#![expect(clippy::print_stdout, reason = "it talks to the person who ran it")]
#![expect(clippy::disallowed_methods, reason = "it measures real time")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

mod queue;

use std::time::{Duration, Instant};

use st_store::{Actor, LimitsPatch, Owner, SettingsRepo as _, TeamId};

use queue::{Bench, owner};

const WAITING: u32 = 10_000;
const TURNS: usize = 51;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap()
}

fn line(what: &str, time: Duration, must: &str) {
    println!("{what:<66} {:>10.3} ms   {must}", time.as_secs_f64() * 1000.0);
}

/// Of all groups, four fifths belong to an organization that is at its limit.
async fn held_back(groups: u32, fair_share: bool) {
    let patch = LimitsPatch {
        fair_share: Some(fair_share),
        global: Some(100),
        per_user: Some(20),
        per_org: Some(1),
        ..LimitsPatch::default()
    };
    let mut bench = Bench::new(patch).await;
    let owners = (0..WAITING).map(|number| number % groups);
    bench.queue(owners.map(|user| owner(user, (user % 5 != 0).then_some(1)))).await;
    // One of the organization takes its only slot, and the first claim reads all of the groups.
    let (first, _) = bench.claim(100).await;
    let (of_org, others): (Vec<_>, Vec<_>) =
        first.into_iter().partition(|claim| claim.record.job().owner.org.is_some());
    assert_eq!(of_org.len(), 1);
    bench.end(&others).await;
    let mut times = Vec::new();
    for _ in 0..TURNS {
        let (claims, time) = bench.claim(1).await;
        assert_eq!(claims.len(), 1);
        times.push(time);
        bench.end(&claims).await;
    }
    line(
        &format!(
            "claim of one, {WAITING} waiting in {groups} groups, 80 % held{}",
            if fair_share { ", fair" } else { "" }
        ),
        median(times),
        "must 1",
    );
    // Now nobody may have another slot.
    let (rest, _) = bench.claim(100).await;
    let mut times = Vec::new();
    for _ in 0..TURNS {
        let (claims, time) = bench.claim(1).await;
        assert!(claims.is_empty());
        times.push(time);
    }
    line(
        &format!("  one that finds nothing, {} in slots", rest.len() + 1),
        median(times),
        "must 0.1",
    );
}

async fn many_teams(teams: u32) {
    let patch = LimitsPatch { per_user: Some(1), ..LimitsPatch::default() };
    let mut bench = Bench::new(patch).await;
    let team = |number| Owner { team: Some(TeamId::new(format!("t{number}"))), ..owner(0, None) };
    bench.queue((0..teams).map(team)).await;
    bench.queue((1..200).map(|user| owner(user, None))).await;
    let (first, _) = bench.claim(1).await;
    assert!(first.iter().all(|claim| claim.record.job().owner.user.as_str() == "u0"));
    let mut times = Vec::new();
    for _ in 0..TURNS {
        let (claims, time) = bench.claim(1).await;
        times.push(time);
        bench.end(&claims).await;
    }
    line(&format!("claim of one beside a user at the limit with {teams} teams"), median(times), "");
}

async fn throughput(max: u32) {
    let patch = LimitsPatch { global: Some(100), per_user: Some(20), ..LimitsPatch::default() };
    let mut bench = Bench::new(patch).await;
    bench.queue((0..WAITING).map(|number| owner(number % 1000, Some(number % 100)))).await;
    let (mut claimed, mut claiming, began) = (0, Duration::ZERO, Instant::now());
    while claimed < WAITING {
        let (claims, time) = bench.claim(max).await;
        claimed += u32::try_from(claims.len()).unwrap();
        claiming += time;
        bench.end(&claims).await;
        if max == 1 && claimed >= 1000 {
            break;
        }
    }
    let rate = |time: Duration| f64::from(claimed) / time.as_secs_f64();
    println!(
        "claims, {max} at a time, 1000 users, 100 organizations {:>25.0}/s   (with submission and end {:.0}/s)",
        rate(claiming),
        rate(began.elapsed())
    );
}

async fn commit() {
    let bench = Bench::new(LimitsPatch::default()).await;
    let mut times = Vec::new();
    for turn in 0..TURNS {
        let patch = LimitsPatch {
            global: Some(5 + u32::try_from(turn % 2).unwrap()),
            ..LimitsPatch::default()
        };
        let began = Instant::now();
        bench.store.patch_limits(patch, &Actor::Operator).await.unwrap();
        times.push(began.elapsed());
    }
    line("a commit of one row and one event", median(times), "");
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        commit().await;
        for groups in [10, 1000, 10_000] {
            held_back(groups, false).await;
            held_back(groups, true).await;
        }
        many_teams(2000).await;
        many_teams(20_000).await;
        throughput(100).await;
        throughput(1).await;
    });
}
