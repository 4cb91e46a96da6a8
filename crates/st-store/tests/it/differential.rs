//! Random steps, done to SQLite and to the store in memory: they must agree at every one.

use std::sync::Arc;

use jiff::SignedDuration;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;
use st_store::{
    ApprovalId, AttemptToken, Decision, Failure, JobId, JobRef, JobStatus, JobType, Limits,
    MemoryStore, OrgId, Priority, ProviderJobId, Report, Source, TeamId, UserId, Verdict,
};
use st_testkit::dump::{check_invariants, dump};
use st_testkit::suite::{Shared, at, claiming, costs_more_than, id, job};

/// One step. Jobs and approvals are named by small numbers; whether there is one shows.
#[derive(Debug, Clone)]
enum Step {
    Wait(u16),
    Submit { user: u8, team: bool, org: bool, local: bool, priority: u8, dear: bool, delay: u8 },
    Limits { global: u8, per_user: u8, fair: bool },
    Claim(u8),
    Rescue(u8),
    Release,
    Hold { job: u8, stale: bool },
    Submitted { job: u8, as_job: u8, stale: bool, status: u8 },
    Report { job: u8, stale: bool, status: u8, cost: bool },
    GiveBack { job: u8, stale: bool, how: u8 },
    Cancel(u8),
    Decide { approval: u8, approve: bool },
    Expire(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let job = 0..12_u8;
    let flag = any::<bool>;
    prop_oneof![
        2 => (0..4000_u16).prop_map(Step::Wait),
        6 => (0..3_u8, flag(), flag(), flag(), 0..51_u8, prop::bool::weighted(0.3), 0..3_u8).prop_map(
            |(user, team, org, local, priority, dear, delay)| {
                Step::Submit { user, team, org, local, priority, dear, delay }
            }
        ),
        1 => (1..7_u8, 1..4_u8, flag())
            .prop_map(|(global, per_user, fair)| Step::Limits { global, per_user, fair }),
        4 => (1..4_u8).prop_map(Step::Claim),
        2 => (1..4_u8).prop_map(Step::Rescue),
        1 => Just(Step::Release),
        1 => (job.clone(), prop::bool::weighted(0.2)).prop_map(|(job, stale)| Step::Hold { job, stale }),
        4 => (job.clone(), prop::bool::weighted(0.1), 0..12_u8, prop::bool::weighted(0.1), 0..7_u8).prop_map(
            |(job, other, as_job, stale, status)| {
                let as_job = if other { as_job } else { job };
                Step::Submitted { job, as_job, stale, status }
            }
        ),
        4 => (job.clone(), prop::bool::weighted(0.1), 0..8_u8, flag())
            .prop_map(|(job, stale, status, cost)| Step::Report { job, stale, status, cost }),
        2 => (job.clone(), prop::bool::weighted(0.1), 0..3_u8)
            .prop_map(|(job, stale, how)| Step::GiveBack { job, stale, how }),
        1 => job.prop_map(Step::Cancel),
        2 => (1..6_u8, flag()).prop_map(|(approval, approve)| Step::Decide { approval, approve }),
        1 => (1..3_u8).prop_map(Step::Expire),
    ]
}

/// Two stores that are told the same.
struct Pair {
    stores: [Shared; 2],
    seconds: i64,
    jobs: u8,
}

impl Pair {
    async fn token(&self, store: &Shared, job: JobId, stale: bool) -> AttemptToken {
        let found = store.find_job(&JobRef::Id(job)).await.unwrap();
        let token = found.map_or(AttemptToken(0), |work| work.entry.token);
        if stale { AttemptToken(token.0 - 1) } else { token }
    }

    /// Does one step to one store; what came of it, as text.
    async fn take(&self, store: &Shared, step: &Step) -> String {
        let now = at(self.seconds);
        let provider_job = |job: &u8| ProviderJobId::new(format!("p-{job}"));
        match step {
            Step::Wait(_) => String::new(),
            Step::Submit { user, team, org, local, priority, dear, delay } => {
                let mut new = job(self.jobs, &format!("user-{user}"));
                new.owner.team = team.then(|| TeamId::new("team"));
                new.owner.org = org.then(|| OrgId::new("org"));
                new.job_type = if *local { JobType::Local } else { JobType::Cloud };
                new.priority_override = Priority::new(i64::from(*priority)).ok();
                new.estimated_cost = if *dear { 100.0 } else { 1.0 };
                new.not_before = Some(now + SignedDuration::from_secs(i64::from(*delay) * 600));
                new.approval_ttl = SignedDuration::from_secs(3600);
                said(store.submit(new, now).await)
            }
            Step::Limits { global, per_user, fair } => {
                let limits = Limits {
                    global: u32::from(*global),
                    per_user: u32::from(*per_user),
                    fair_share: *fair,
                    ..Limits::default()
                };
                said(store.set_limits(limits, now).await)
            }
            Step::Claim(max) => said(store.claim(claiming(u32::from(*max)), now).await),
            Step::Rescue(max) => said(store.rescue(claiming(u32::from(*max)), now).await),
            Step::Release => said(store.release_leases(now).await),
            Step::Hold { job, stale } => {
                let token = self.token(store, id(*job), *stale).await;
                let until = now + SignedDuration::from_secs(30);
                said(store.hold(id(*job), token, until, until).await)
            }
            Step::Submitted { job, as_job, stale, status } => {
                let token = self.token(store, id(*job), *stale).await;
                let status = JobStatus::ALL[usize::from(*status)];
                let report = Report::of(provider_job(as_job), status);
                said(store.record_submitted(id(*job), token, &report, now).await)
            }
            Step::Report { job, stale, status, cost } => {
                let token = self.token(store, id(*job), *stale).await;
                let mut report = Report::of(provider_job(job), JobStatus::Queued);
                report.status = JobStatus::ALL.get(usize::from(*status)).copied();
                report.cost_usd = cost.then_some(2.5);
                said(
                    store.record_statuses(vec![(id(*job), token, report)], Source::Poll, now).await,
                )
            }
            Step::GiveBack { job, stale, how } => {
                let token = self.token(store, id(*job), *stale).await;
                let error = "x".to_owned();
                let failure = match how {
                    0 => Failure::Passing { error, retry_at: now + SignedDuration::from_mins(1) },
                    1 => Failure::Final { error },
                    _ => Failure::Cancelled,
                };
                said(store.give_back(id(*job), token, failure, now).await)
            }
            Step::Cancel(job) => said(store.cancel_job(id(*job), now).await),
            Step::Decide { approval, approve } => {
                let verdict = if *approve { Verdict::Approve } else { Verdict::Reject };
                let decision = Decision { verdict, by: UserId::new("lead"), notes: None };
                said(store.decide(ApprovalId(i64::from(*approval)), &decision, now).await)
            }
            Step::Expire(max) => said(store.expire(u32::from(*max), now).await),
        }
    }

    async fn agree(&mut self, step: &Step) {
        if let Step::Wait(seconds) = step {
            self.seconds += i64::from(*seconds);
        }
        let [one, two] = &self.stores;
        assert_eq!(self.take(one, step).await, self.take(two, step).await, "{step:?}");
        if matches!(step, Step::Submit { .. }) {
            self.jobs += 1;
        }
        let [one, two] = &self.stores;
        let (one, two) = (dump(one.as_ref()).await, dump(two.as_ref()).await);
        let differ = one.lines().zip(two.lines()).find(|(one, two)| one != two);
        assert_eq!(differ, None, "after {step:?}");
        assert_eq!(one.len(), two.len(), "after {step:?}");
    }
}

fn said<T: std::fmt::Debug>(result: st_store::Result<T>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => error.to_string(),
    }
}

async fn compare(steps: Vec<Step>) {
    let (sqlite, _dir) = crate::sqlite::empty().await;
    let memory: Shared = Arc::new(MemoryStore::new());
    for store in [&sqlite, &memory] {
        store.add_rule(costs_more_than("50")).await.unwrap();
    }
    let limited = steps.iter().any(|step| matches!(step, Step::Limits { .. }));
    let mut pair = Pair { stores: [sqlite, memory], seconds: 0, jobs: 0 };
    for step in &steps {
        pair.agree(step).await;
        // Lowered limits stop nothing that runs, so then there may be more than they say.
        if !limited {
            check_invariants(pair.stores[0].as_ref()).await;
        }
    }
}

#[test]
fn sqlite_and_memory_agree_on_random_steps() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let cases = if std::env::var_os("ST_SLOW").is_some() { 150 } else { 48 };
    // A failing case is printed whole, so no file keeps it.
    let config =
        Config { cases, max_shrink_iters: 500, failure_persistence: None, ..Config::default() };
    proptest!(config, |(steps in vec(step(), 1..60))| {
        runtime.block_on(compare(steps));
    });
}
