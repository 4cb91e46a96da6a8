//! What the users of one world want: drawn before anything happens.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use jiff::SignedDuration;
use st_store::{JobId, Verdict};

use crate::clocks::true_time;
use crate::draw::Draw;
use crate::jobs::{Poison, RunEnd, WantedJob};
use crate::plan::Plan;

pub(crate) const USERS: [&str; 3] = ["ann", "bob", "eve"];
/// Who submits many jobs that a provider rejects, and who waits behind them.
pub(crate) const SWEEPER: &str = "sue";
pub(crate) const BEHIND_A_SWEEP: &str = "gil";

/// A job, and what its user and reviewers do about it.
#[derive(Debug)]
pub(crate) struct UserPlan {
    pub(crate) at: Duration,
    pub(crate) job: WantedJob,
    /// How long after the submission it is cancelled.
    pub(crate) cancel_after: Option<Duration>,
    /// How long after the submission it is decided about, and how.
    pub(crate) decision: Option<(Duration, Verdict)>,
    /// How long after the submission an operator checks whether it is to be resolved.
    pub(crate) resolve_after: Option<Duration>,
    /// Whether the user gives up when it is unknown whether the submission was stored.
    pub(crate) gives_up: bool,
}

/// What is done to the limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LimitsPlan {
    pub(crate) at: Duration,
    pub(crate) global: u32,
    pub(crate) per_user: u32,
}

pub(crate) fn draw(random: &mut Rng, plan: &Plan) -> Vec<UserPlan> {
    let count = random.usize(5..40);
    let poisoned = random.rate(0.15);
    let approvals = random.rate(0.3);
    let cancelled = random.rate(0.3);
    let resolved = random.rate(0.4);
    let mut plans = Vec::new();
    for number in 1..=count {
        let provider = random.usize(0..plan.providers.len());
        // Many in a burst, so that there is always something in flight.
        let most = if random.bool() { plan.active_for } else { plan.active_for / 8 };
        let at = random.seconds(0.0..most.as_secs_f64());
        let mut job = wanted(random, format!("j{number}"), (provider, at));
        job.user = *random.pick::<&str>(&USERS);
        if random.chance(poisoned) {
            let poisons = [Poison::Rejected, Poison::Forbidden, Poison::Lost, Poison::Panics];
            job.poison = Some(*random.pick(&poisons));
        }
        if number == 1 && random.chance(0.1) {
            job.poison = Some(Poison::Kills);
        }
        job.priority = random.chance(0.2).then(|| random.i64(0..=50));
        job.run_after = random.chance(0.1).then(|| random.minutes(1.0..60.0));
        job.approval = random.chance(approvals).then(|| random.minutes(5.0..180.0));
        let decision = job.approval.and_then(|ttl| {
            let verdict = if random.chance(0.7) { Verdict::Approve } else { Verdict::Reject };
            let after = random.seconds(0.0..1.2 * ttl.as_secs_f64());
            random.chance(0.8).then_some((after, verdict))
        });
        let cancel_after = random.chance(cancelled).then(|| {
            if random.bool() { random.seconds(0.0..20.0) } else { random.minutes(0.0..60.0) }
        });
        let resolve_after = random.chance(resolved).then(|| random.minutes(0.0..10.0));
        let gives_up = random.chance(0.1);
        plans.push(UserPlan { at, job, cancel_after, decision, resolve_after, gives_up });
    }
    if random.chance(0.05) {
        plans.extend(sweep(random, plan));
    }
    plans
}

/// A user's many jobs that the provider all rejects, and another's good one behind them.
fn sweep(random: &mut Rng, plan: &Plan) -> Vec<UserPlan> {
    let provider = random.usize(0..plan.providers.len());
    let at = random.seconds(0.0..plan.active_for.as_secs_f64() / 2.0);
    let count = random.usize(34..50);
    let mut plans = Vec::new();
    for number in 0..=count {
        let (name, user, poison) = if number == count {
            ("good".to_owned(), BEHIND_A_SWEEP, None)
        } else {
            (format!("s{number}"), SWEEPER, Some(Poison::Rejected))
        };
        let at = at + Duration::from_millis(100 * number as u64);
        let job = WantedJob { user, poison, ..wanted(random, name, (provider, at)) };
        let (cancel_after, decision, resolve_after) = (None, None, None);
        plans.push(UserPlan { at, job, cancel_after, decision, resolve_after, gives_up: false });
    }
    plans
}

/// A job with nothing special.
pub(crate) fn wanted(
    random: &mut Rng,
    name: String,
    (provider, at): (usize, Duration),
) -> WantedJob {
    let bytes: [u8; 10] = std::array::from_fn(|_| random.u8(..));
    let runs_for = match random.u8(0..10) {
        0..4 => random.seconds(1.0..120.0),
        4..8 => random.minutes(2.0..30.0),
        _ => random.minutes(30.0..400.0),
    };
    let ends = match random.u8(0..20) {
        0..17 => RunEnd::Succeeds,
        17 | 18 => RunEnd::Fails,
        _ => RunEnd::Stopped,
    };
    WantedJob {
        id: JobId::new(true_time(at), bytes),
        name,
        user: USERS[0],
        provider,
        poison: None,
        starts_after: random.seconds(0.0..60.0),
        runs_for,
        ends,
        priority: None,
        run_after: None,
        approval: None,
        sent_at: None,
        clock_wrong_by: SignedDuration::ZERO,
        acknowledged_at: None,
        cancel_asked_at: None,
        ended_by: BTreeSet::new(),
        ended_at: None,
        kept: None,
        grant: None,
    }
}

/// A short job that shows whether a provider accepts anything at all.
pub(crate) fn canary(
    random: &mut Rng,
    number: u64,
    (provider, at): (usize, Duration),
) -> WantedJob {
    WantedJob {
        user: "canary",
        runs_for: Duration::from_secs(5),
        ends: RunEnd::Succeeds,
        ..wanted(random, format!("c{number}"), (provider, at))
    }
}

pub(crate) fn limits(random: &mut Rng, plan: &Plan) -> Vec<LimitsPlan> {
    let count = random.usize(0..5);
    let mut plans: Vec<LimitsPlan> = (0..count)
        .map(|_| LimitsPlan {
            at: random.seconds(0.0..plan.active_for.as_secs_f64()),
            global: random.u32(1..=12),
            per_user: random.u32(1..=6),
        })
        .collect();
    plans.sort_by_key(|plan| plan.at);
    plans
}
