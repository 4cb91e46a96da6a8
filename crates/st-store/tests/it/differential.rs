//! Random steps of every kind, made in SQLite and in the store in memory: they must agree after
//! each one.

pub(crate) mod calls;
pub(crate) mod steps;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;
use st_log::{CorrelationId, InScope};
use st_store::{
    Actor, ApprovalId, BudgetId, Clock, ClockEvidence, Error, JobId, LimitsPatch, ManualClock,
    MemoryStore, NewJob, Opening, Preview, Priority, RecheckId, RecheckOutcome, Resolution, RuleId,
    Settlement, Sighting, SqliteConfig, SqliteStore, Submitted, UserId, Verdict,
};
use st_testkit::dump::{check_invariants, check_records, dump};
use st_testkit::suite::{Shared, at, costs_more_than, decision, holder, id, provider_job};

use tempfile::TempDir;

use calls::{in_flight, new_job, options, provider};
use steps::{Step, Submit, fair_step, step};

/// Two stores on one clock, in which the same steps are made.
struct Pair {
    stores: [Shared; 2],
    clock: Arc<ManualClock>,
    /// How many jobs were submitted; the next one has this number.
    jobs: u8,
}

/// The arguments of a step that depend on what is stored and on the time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prepared {
    pub(crate) submission: Option<NewJob>,
    pub(crate) settlements: Vec<Settlement>,
    pub(crate) sightings: Vec<Sighting>,
    pub(crate) resolution: Option<(JobId, Resolution)>,
    pub(crate) opening: Opening,
}

impl Prepared {
    /// Finds out what a step means at this moment. `next`: the number of the next new job.
    pub(crate) async fn of(step: &Step, store: &Shared, next: u8, now: Timestamp) -> Self {
        let mut prepared = Self::default();
        if let Step::Submit(submit) = step {
            prepared.submission = Some(new_job(submit, next, now));
        }
        if let Step::Settle(settles) = step {
            for settle in settles {
                prepared.settlements.push(calls::settlement(store, settle).await);
            }
        }
        if let Step::Sight(sights) = step {
            for seen in sights {
                prepared.sightings.push(calls::sighting(store, seen).await);
            }
        }
        if let Step::Claim { opening, .. } = step {
            prepared.opening = calls::opening(store, *opening).await;
        }
        if let Step::Resolve { job, to } = step {
            prepared.resolution = Some(calls::resolution(store, *job, to).await);
        }
        prepared
    }
}

/// Makes one step in one store; its result as text.
#[expect(clippy::too_many_lines, reason = "one call for each kind of step")]
pub(crate) async fn run(store: &Shared, step: &Step, prepared: Prepared) -> String {
    match step {
        Step::Wait(_) | Step::SetClock(_) => {
            // The first write after the clock was set notices it.
            text(store.renew(holder(99), Duration::ZERO, &BTreeSet::new()).await)
        }
        Step::ConfirmClock => {
            store.confirm_clock(ClockEvidence::Operator);
            String::new()
        }
        Step::Submit(_) => {
            let new = prepared.submission.unwrap();
            let previewed = store.preview(&new).await;
            let submitted = store.submit(new).await;
            check_preview(&previewed, &submitted);
            text(previewed) + &text(submitted)
        }
        Step::Rule(threshold) => {
            text(store.add_rule(costs_more_than(&threshold.to_string())).await)
        }
        Step::PatchRule { rule, threshold, active } => {
            let (id, patch) = (RuleId(i64::from(*rule)), calls::rule_patch(*threshold, *active));
            text(store.patch_rule(id, patch, &Actor::Operator).await)
        }
        Step::DeleteRule(rule) => {
            text(store.delete_rule(RuleId(i64::from(*rule)), &Actor::Operator).await)
        }
        Step::DecideMany { approvals, approve } => {
            let verdict = if *approve { Verdict::Approve } else { Verdict::Reject };
            let ids: Vec<_> = approvals.iter().map(|&it| ApprovalId(i64::from(it))).collect();
            let results = store.decide_many(&ids, &decision(verdict)).await;
            results.unwrap().into_iter().map(text).collect()
        }
        Step::CancelRequest(approval) => {
            let by = Actor::User(UserId::new("ann"));
            text(store.cancel_request(ApprovalId(i64::from(*approval)), &by).await)
        }
        Step::Limits { global, per_user, fair } => {
            let patch = calls::limits(*global, *per_user, *fair);
            text(store.patch_limits(patch, &Actor::Operator).await)
        }
        Step::ShareTimes { starvation, half_life } => {
            let patch = calls::share_times(*starvation, *half_life);
            text(store.patch_limits(patch, &Actor::Operator).await)
        }
        Step::Weigh { owner, weight } => {
            let (scope, weight) = calls::weight(*owner, *weight);
            text(store.set_weight(&scope, weight, &Actor::Operator).await)
        }
        Step::Pause(number) => {
            let reason = (*number > 2).then_some("why");
            text(store.pause(calls::scope(*number), reason, &Actor::Operator).await)
        }
        Step::Resume(number) => text(store.resume(&calls::scope(*number), &Actor::Operator).await),
        Step::AddBudget { scope, period, amount, action } => {
            let budget = calls::new_budget(*scope, *period, *amount, *action);
            text(store.add_budget(budget, &Actor::Operator).await)
        }
        Step::PatchBudget { budget, amount, action } => {
            let (id, patch) = (BudgetId(i64::from(*budget)), calls::budget_patch(*amount, *action));
            text(store.patch_budget(id, patch, &Actor::Operator).await)
        }
        Step::RemoveBudget(budget) => {
            text(store.remove_budget(BudgetId(i64::from(*budget)), &Actor::Operator).await)
        }
        Step::StopOverBudget(max) => text(store.stop_over_budget(u32::from(*max)).await),
        Step::Setting { other_provider, value, slots } => {
            let (provider, patch) = (provider(*other_provider), calls::setting(*value, *slots));
            text(store.patch_provider_settings(&provider, patch, &Actor::Operator).await)
        }
        Step::Claim { holder, max, both, .. } => {
            let mut options = options(*holder, *max, *both);
            options.serving[0].opening = prepared.opening;
            text(store.claim(&options).await)
        }
        Step::Reclaim { holder, max, flying } => {
            let options = options(*holder, *max, true);
            text(store.reclaim(&options, &in_flight(*flying)).await)
        }
        Step::Renew { holder: number, flying } => {
            let lease = Duration::from_mins(5);
            text(store.renew(holder(*number), lease, &in_flight(*flying)).await)
        }
        Step::ExpireDead(number) => text(store.expire_dead_holders(holder(*number)).await),
        Step::Settle(_) => {
            let results = store.settle(&Actor::Scheduler, prepared.settlements).await;
            results.unwrap().into_iter().map(text).collect()
        }
        Step::Sight(_) => {
            let results = store.record_sightings(&Actor::Poller, prepared.sightings).await;
            results.unwrap().into_iter().map(text).collect()
        }
        Step::Stray { other_provider, provider_job: number, retry_in } => {
            let (provider, outcome) = (provider(*other_provider), calls::stray(*retry_in));
            text(store.settle_stray(&provider, &provider_job(*number), outcome).await)
        }
        Step::Recheck { job, attempt, searched } => {
            let attempt = Some(u32::from(*attempt)).filter(|&attempt| attempt > 0);
            let recheck = RecheckId { job: id(*job), attempt };
            let outcome = RecheckOutcome { recheck, searched: calls::searched(*searched) };
            text(store.settle_rechecks(vec![outcome]).await)
        }
        Step::Results { job, outcome } => match calls::results(*outcome) {
            Some(outcome) => text(store.settle_results(id(*job), &outcome).await),
            None => text(store.give_up_results(id(*job), "x").await),
        },
        Step::Cancel(job) => {
            text(store.cancel_job(id(*job), &Actor::User(UserId::new("ann"))).await)
        }
        Step::Resolve { to, .. } => {
            let (job, resolution) = prepared.resolution.unwrap();
            let note = to.cost.then_some("seen");
            text(store.resolve(job, &resolution, note, &Actor::User(UserId::new("ann"))).await)
        }
        Step::Decide { approval, approve } => {
            let verdict = if *approve { Verdict::Approve } else { Verdict::Reject };
            text(store.decide(ApprovalId(i64::from(*approval)), &decision(verdict)).await)
        }
        Step::Expire(max) => text(store.expire(u32::from(*max)).await),
        Step::Delete(job) => {
            text(store.delete_job(id(*job), &Actor::User(UserId::new("ann"))).await)
        }
        Step::ForgetDeleted(jobs) => {
            let jobs: Vec<JobId> = in_flight(*jobs).into_iter().collect();
            text(store.forget_deleted(&jobs).await)
        }
        Step::Priority { job, to } => {
            let to = to.and_then(|to| Priority::new(i64::from(to)).ok());
            text(store.set_priority(id(*job), to, &Actor::User(UserId::new("lea"))).await)
        }
        Step::Prune { max, minutes } => text(calls::prune(store, *max, *minutes).await),
    }
}

impl Pair {
    /// Checks one of the stores. Lowered limits end nothing that runs, so then there may be more
    /// than they allow.
    async fn check(&self, which: usize, lowered: bool) {
        let store = self.stores[which].as_ref();
        if lowered {
            check_records(store).await;
        } else {
            check_invariants(store).await;
        }
    }

    async fn agree(&mut self, step: &Step) {
        if let Step::Wait(millis) = step {
            self.clock.advance(Duration::from_millis(u64::from(*millis)));
        }
        if let Step::SetClock(minutes) = step {
            self.clock.step(SignedDuration::from_mins(i64::from(*minutes)));
        }
        let [one, two] = &self.stores;
        let prepared = Prepared::of(step, two, self.jobs, self.clock.wall()).await;
        let results = (run(one, step, prepared.clone()).await, run(two, step, prepared).await);
        assert_eq!(results.0, results.1, "{step:?}");
        if matches!(step, Step::Submit(Submit { again: None, .. })) {
            self.jobs += 1;
        }
        let [one, two] = &self.stores;
        let (one, two) = (dump(one.as_ref()).await, dump(two.as_ref()).await);
        let differ = one.lines().zip(two.lines()).find(|(one, two)| one != two);
        assert_eq!(differ, None, "after {step:?}");
        assert_eq!(one.len(), two.len(), "after {step:?}");
    }
}

/// A result as text.
/// What a preview said is what was then decided.
#[expect(clippy::panic, reason = "what helps tests fails as tests do")]
fn check_preview(previewed: &st_store::Result<Preview>, submitted: &st_store::Result<Submitted>) {
    match (previewed, submitted) {
        (Ok(preview), Ok(Submitted { record, repeated, warnings, position: _ })) => {
            assert_eq!(preview.earlier, repeated.then(|| record.id()));
            assert_eq!((&preview.ruling.refused_by, &preview.ruling.warnings), (&vec![], warnings));
            let asks = preview.ruling.requirement.is_some();
            assert!(*repeated || asks == record.approval().is_some());
        }
        (Ok(preview), Err(Error::OverBudget(exceeded))) => {
            assert_eq!(preview.ruling.refused_by.first(), Some(&**exceeded));
        }
        (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string()),
        (one, other) => panic!("{one:?} but {other:?}"),
    }
}

fn text<T: std::fmt::Debug>(result: st_store::Result<T>) -> String {
    match result {
        Ok(value) => format!("{value:?}\n"),
        Err(error) => format!("{error}\n"),
    }
}

/// A folder in memory where there is one: what a disk keeps is not compared here, and waiting for
/// it is most of the time.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

async fn compare(steps: Vec<Step>, fair_share: bool) {
    let dir = folder();
    let clock = Arc::new(ManualClock::new(at(0)));
    let config = SqliteConfig {
        clock: clock.clone(),
        // A probe would notice a set clock at another moment than the store in memory does.
        probe_period: Duration::from_hours(1),
        ..SqliteConfig::new(dir.path().join("cloud.db"))
    };
    let sqlite: Shared = Arc::new(SqliteStore::open(config).await.unwrap());
    let memory: Shared = Arc::new(MemoryStore::with_clock(clock.clone()));
    for store in [&sqlite, &memory] {
        store.add_rule(costs_more_than("50")).await.unwrap();
        let fair_share = Some(fair_share);
        let many = LimitsPatch {
            global: Some(20),
            per_user: Some(5),
            fair_share,
            ..LimitsPatch::default()
        };
        store.patch_limits(many, &Actor::Operator).await.unwrap();
    }
    let lowered = steps.iter().any(|step| matches!(step, Step::Limits { .. }));
    let mut pair = Pair { stores: [sqlite, memory], clock, jobs: 0 };
    for step in &steps {
        pair.agree(step).await;
        pair.check(1, lowered).await;
    }
    pair.check(0, lowered).await;
    let audit = st_store::offline::audit(&dir.path().join("cloud.db")).unwrap();
    assert_eq!(audit.findings, [], "its numbers and events are those of its rows");
}

/// Compares the stores after random sequences of these steps.
fn compare_random(
    cases: u32,
    step: impl Strategy<Value = Step>,
    fair_share: impl Strategy<Value = bool>,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let cases = if std::env::var_os("ST_SLOW").is_some() { 2 * cases } else { cases };
    let config = Config {
        cases,
        max_shrink_iters: 500,
        // A failing case is printed whole before the test is ended for its time, so no file keeps it.
        max_shrink_time: 30_000,
        failure_persistence: None,
        ..Config::default()
    };
    proptest!(config, |(steps in vec(step, 20..60), fair in fair_share)| {
        // One correlation ID for both stores: changes of settings carry the caller's.
        let id = CorrelationId::parse("c-case").unwrap();
        runtime.block_on(compare(steps, fair).with_correlation_id(id));
    });
}

#[test]
fn sqlite_and_memory_agree_on_random_steps() {
    compare_random(40, step(), any::<bool>());
}

#[test]
fn sqlite_and_memory_agree_on_who_goes_first() {
    compare_random(20, fair_step(), Just(true));
}
