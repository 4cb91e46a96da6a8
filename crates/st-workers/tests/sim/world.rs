//! The simulated world outside the server: the providers with what they have, the users' plans,
//! and what the judge found.
//!
//! A request that has reached a provider is the world's: it goes on whatever becomes of its caller.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use jiff::SignedDuration;
use st_store::{JobId, ProviderJobId};
use tokio::sync::Notify;

use crate::clocks::{MachineClock, true_time};
use crate::draw::Draw;
use crate::evidence::Evidence;
use crate::jobs::{Stranger, WantedJob};
use crate::journal::Journal;
use crate::ledger::{Acceptance, Call, Kind, Ledger};
use crate::plan::{Plan, Trouble};

/// The version of the model that the providers have.
pub(crate) const RIGHT_VERSION: &str = "v1";

/// What exists outside the server, and the judge's notes on it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) journal: Journal,
    pub(crate) machine: Arc<MachineClock>,
    pub(crate) strangers: Vec<Vec<Stranger>>,
    /// What changes. Locked for one step, never across an await.
    state: Mutex<State>,
    /// Wakes operators when a backup was put back.
    pub(crate) restored: Notify,
    /// Wakes the run when a violation was found.
    alarm: Notify,
}

/// What changes in the world.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) random: Rng,
    pub(crate) jobs: BTreeMap<JobId, WantedJob>,
    pub(crate) ledger: Ledger,
    /// How many requests may still arrive whose callers know nothing.
    pub(crate) on_their_way: BTreeMap<JobId, u32>,
    pub(crate) submit_calls: u64,
    pub(crate) grants: u64,
    /// When the newest backup that was put back had been made: what was claimed since is not known
    /// to the store.
    pub(crate) grants_lost_before: u64,
    /// When backups were put back.
    pub(crate) restores: Vec<Duration>,
    /// Whether each life opens the store anew, and reads dates that another clock wrote.
    pub(crate) reopens: bool,
    /// What was submitted since the newest backup that was put back had been made.
    pub(crate) lost: BTreeSet<JobId>,
    /// When lives began, and when they ended.
    pub(crate) lives: Vec<Duration>,
    pub(crate) deaths: Vec<Duration>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) evidence: Evidence,
    /// How often each fault was met, and how often each excuse was believed.
    /// How often each fault was met.
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

/// Something that must never happen, and the job that it happened to.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    pub(crate) what: String,
    pub(crate) job: Option<JobId>,
}

impl World {
    pub(crate) fn new(plan: Plan, mut random: Rng) -> Arc<Self> {
        let strangers = (0..plan.providers.len())
            .map(|provider| strangers(&mut random, &plan, provider))
            .collect();
        let state = State {
            random,
            jobs: BTreeMap::new(),
            ledger: Ledger::default(),
            on_their_way: BTreeMap::new(),
            submit_calls: 0,
            grants: 0,
            grants_lost_before: 0,
            restores: Vec::new(),
            reopens: false,
            lost: BTreeSet::new(),
            lives: Vec::new(),
            deaths: Vec::new(),
            violations: Vec::new(),
            evidence: Evidence::default(),
            counts: BTreeMap::new(),
        };
        let journal = Journal::new();
        for provider in &plan.providers {
            journal.note(format!("{} is to meet {:?}", provider.name, provider.phases));
            journal
                .note(format!("the clock of {} is {:?}", provider.name, provider.clock.wrong_by));
        }
        Arc::new(Self {
            plan,
            journal,
            machine: Arc::new(MachineClock::new()),
            strangers,
            state: Mutex::new(state),
            restored: Notify::new(),
            alarm: Notify::new(),
        })
    }

    pub(crate) fn now(&self) -> Duration {
        self.journal.now()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self, what: &'static str) {
        *self.state().counts.entry(what).or_default() += 1;
    }

    /// Whether everything works from now on.
    pub(crate) fn is_calm(&self) -> bool {
        self.now() >= self.plan.active_for
    }

    /// The short name of a job.
    pub(crate) fn name(&self, job: JobId) -> String {
        self.state().jobs.get(&job).map_or_else(|| job.to_string(), |job| job.name.clone())
    }

    pub(crate) fn violate(&self, job: Option<JobId>, what: impl Into<String>) {
        let what = what.into();
        self.journal.note(format!("VIOLATION: {what}"));
        self.state().violations.push(Violation { what, job });
        self.alarm();
    }

    pub(crate) fn alarm(&self) {
        self.alarm.notify_one();
    }

    /// Returns when a violation was found.
    pub(crate) async fn alarmed(&self) {
        while !self.has_violation() {
            self.alarm.notified().await;
        }
    }

    pub(crate) fn has_violation(&self) -> bool {
        !self.state().violations.is_empty()
    }

    /// How a provider behaves now, apart from single requests.
    pub(crate) fn troubles(&self, provider: usize) -> impl Iterator<Item = Trouble> {
        let now = self.now();
        let phases = self.plan.providers[provider].phases.iter();
        phases.filter(move |phase| phase.span.contains(now)).map(|phase| phase.trouble)
    }

    /// Whether the credentials are those of another account now.
    pub(crate) fn is_other_account(&self, provider: usize) -> bool {
        self.troubles(provider).any(|trouble| matches!(trouble, Trouble::OtherAccount))
    }

    /// A draw about one request: this often, or more often in a storm.
    pub(crate) fn happens(&self, provider: usize, rate: f64) -> bool {
        if rate == 0.0 || self.is_calm() {
            return false;
        }
        let storm = self.troubles(provider).any(|trouble| matches!(trouble, Trouble::Storm));
        let rate = if storm { (rate * 3.0).min(0.7) } else { rate };
        self.state().random.chance(rate)
    }

    pub(crate) fn draw<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.state().random)
    }

    /// The provider accepts a call now, in addition to what it has.
    pub(crate) fn accept(&self, call: Call, kind: Kind) -> Option<ProviderJobId> {
        let now = self.now();
        let plan = &self.plan.providers[call.provider];
        let state = &mut *self.state();
        let wanted = state.jobs.get(&call.marker.job)?.clone();
        let lag = if plan.list_lag.is_zero() || now >= self.plan.active_for {
            Duration::ZERO
        } else {
            state.random.seconds(0.0..plan.list_lag.as_secs_f64())
        };
        let forgotten = now < self.plan.active_for && state.random.chance(plan.rates.forgotten);
        let created_at = plan.clock.at(now);
        let how = Acceptance { at: now, created_at, listed_from: now + lag, kind };
        let accepted = state.ledger.accept(call, how, &wanted);
        if forgotten {
            let after = state.random.minutes(1.0..60.0);
            accepted.forgotten_at = Some(accepted.listed_from + after);
        }
        let id = accepted.id.clone();
        self.journal.note(format!(
            "{} accepts {} attempt {} as {id}, {kind:?}, runs until {}",
            plan.name,
            wanted.name,
            call.marker.attempt,
            crate::journal::clock(accepted.ends_at),
        ));
        self.judge_acceptance(state, &id);
        Some(id)
    }

    /// The provider ends a job's run because it was asked to.
    pub(crate) fn cancel(&self, id: &ProviderJobId) {
        let now = self.now();
        let state = &mut *self.state();
        let Some(job) = state.ledger.find(id) else { return };
        if job.cancel(now) {
            self.journal.note(format!("{id} is cancelled at the provider"));
            self.judge_cancellation(state, id);
        }
    }

    /// A person copies a job by hand, with its marker.
    pub(crate) fn copy_by_hand(&self, provider: usize) {
        let now = self.now();
        let steady = self.plan.providers[provider].clock.is_steady() && !self.plan.restores();
        let (call, marked) = {
            let state = &mut *self.state();
            let ours: Vec<_> = state
                .ledger
                .jobs
                .iter()
                .filter(|job| job.call.provider == provider && job.kind == Kind::Submitted)
                .map(|job| (job.call, job.answered && job.at + Duration::from_mins(75) < now))
                .collect();
            if ours.is_empty() {
                return;
            }
            let (call, old) = ours[state.random.usize(..ours.len())];
            (call, !(old && steady) || state.random.bool())
        };
        self.accept(call, Kind::Copy { marked });
    }
}

/// The jobs of strangers that a provider's list shows.
fn strangers(random: &mut Rng, plan: &Plan, provider: usize) -> Vec<Stranger> {
    let plan_of_provider = &plan.providers[provider];
    let span = plan.active_for.as_secs_f64();
    let mut strangers: Vec<Stranger> = (0..plan_of_provider.strangers)
        .map(|_| {
            let begins = random.f64() * (span + 48.0 * 3600.0) - 48.0 * 3600.0;
            let lasts = random.f64() * 900.0;
            let at = |seconds: f64| Duration::from_secs_f64(seconds.max(0.0));
            let before = SignedDuration::from_secs_f64(begins.min(0.0));
            let shown = plan_of_provider.clock.at(at(begins));
            Stranger {
                created_at: shown.saturating_add(before).unwrap_or(true_time(Duration::ZERO)),
                appears_at: at(begins),
                ends_at: at(begins + lasts),
                readable: !random.chance(0.02),
            }
        })
        .collect();
    strangers.sort_by_key(|stranger| std::cmp::Reverse(stranger.created_at));
    strangers
}
