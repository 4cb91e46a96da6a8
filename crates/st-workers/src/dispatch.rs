//! From a claimed job to a job at its provider, exactly once.
//!
//! The claim is durable before the provider is called. One dispatch lives until its attempt is
//! resolved: submitted, certainly not arrived, or, when the outcome of the call is unknown,
//! reconciled by the provider's own list. An attempt is submitted at most once; what did not arrive
//! goes back to the queue and gets a new attempt with its next claim. Until then the job keeps its
//! slot, and its lease is renewed.

mod attempt;
mod cancel;
mod held;
mod in_flight;
mod lease;
mod meter;
mod poison;
mod rechecks;
mod reconcile;
mod repeat;
mod settle;
mod strays;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use jiff::SignedDuration;
use st_log::{InScope, Logger, get_logger};
use st_store::{
    Actor, Attempt, Caution, Claim, ClaimOptions, ClaimOrigin, Error, Holder, JobId, JobRecord,
    JobRef, Opening, Outcome, Resolution, Serving, Store,
};
use tokio::sync::{RwLock, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backoff::Backoff;
use crate::driver::panic_message;
use crate::gate::Pass;
use crate::providers::Providers;
use crate::served::{ServedProvider, ServedProviders};
pub(crate) use cancel::report;
use in_flight::InFlight;
use lease::LEASE;
use meter::DispatchMeter;
pub use meter::DispatchTimings;

const LOG: Logger = get_logger("simpletuner.cloud.dispatch");

/// The pause after a dispatch panicked.
const AFTER_PANIC: Backoff =
    Backoff { first: Duration::from_secs(10), max: Duration::from_mins(10), jitter: 0.25 };

/// Submits claimed jobs, reconciles them, and cancels jobs at their providers.
#[derive(Debug)]
pub struct Dispatcher {
    store: Arc<dyn Store>,
    providers: ServedProviders,
    holder: Holder,
    /// Taken before the first claim. The store is this process's alone, so every earlier process had
    /// ended by then.
    started_at: Instant,
    backoff: Backoff,
    dispatches: TaskTracker,
    /// Renewals and cancellations: what no stop waits for.
    helpers: TaskTracker,
    /// What a stop waits for as long as it may: it ends by itself when the program stops.
    finishing: TaskTracker,
    /// Cancelled when the program stops: reconciling is left to the next start.
    stopping: CancellationToken,
    /// Cancelled when a stop has waited long enough.
    aborting: CancellationToken,
    /// Guards the jobs that this process works on, with the state of their leases, so that none is
    /// reclaimed while its dispatch lives. Locked for one read or change, never across an await.
    in_flight: Mutex<InFlight>,
    /// Shared by the calls that submit; a job that may be what ends the process has it alone.
    submits: RwLock<()>,
    /// Guards when each job may next be cancelled at its provider, so that tries keep their
    /// distance. Locked for one read or change.
    next_cancels: Mutex<BTreeMap<JobId, cancel::NextCancel>>,
    /// The providers whose open cancellations are being repeated.
    cancelling_jobs: strays::Busy,
    /// The providers whose strays are being cancelled, so that none is cancelled twice at a time.
    cancelling_strays: strays::Busy,
    /// The providers whose lost attempts are being searched for.
    rechecking: strays::Busy,
    /// Changes when results may be due to be fetched.
    results: watch::Sender<()>,
    meter: DispatchMeter,
    /// Guards the generator of the jitter. Locked for one number.
    random: Mutex<fastrand::Rng>,
}

/// A claimed job on its way: what its dispatch needs.
#[derive(Debug)]
struct Assignment {
    served: Arc<ServedProvider>,
    record: JobRecord,
    attempt: Attempt,
    origin: ClaimOrigin,
    caution: Caution,
    /// How often in a row its dispatches have panicked.
    panics: u32,
    /// An instant before the claim was made.
    claimed: Instant,
    /// Until when the claim may be relied on if it is not renewed.
    usable_until: Instant,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

impl Dispatcher {
    /// A dispatcher that claims as a holder of its own; `seed` decides the jitter of its retries.
    pub fn new(store: Arc<dyn Store>, providers: &Providers, seed: u64) -> Self {
        Self {
            store,
            providers: ServedProviders::new(providers, seed),
            started_at: Instant::now(),
            // Never from the seed: two lives with one holder would not tell their claims apart.
            holder: Holder::new(fastrand::u128(..).to_le_bytes()),
            backoff: Backoff::default(),
            dispatches: TaskTracker::new(),
            helpers: TaskTracker::new(),
            finishing: TaskTracker::new(),
            stopping: CancellationToken::new(),
            aborting: CancellationToken::new(),
            in_flight: Mutex::new(InFlight::new()),
            submits: RwLock::new(()),
            next_cancels: Mutex::default(),
            cancelling_jobs: strays::Busy::default(),
            cancelling_strays: strays::Busy::default(),
            rechecking: strays::Busy::default(),
            results: watch::Sender::new(()),
            meter: DispatchMeter::default(),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
        }
    }

    /// The holder of its claims: this life of this process.
    pub fn holder(&self) -> Holder {
        self.holder
    }

    /// An instant before the first claim and after the end of every earlier process.
    pub(crate) fn started_at(&self) -> Instant {
        self.started_at
    }

    /// How to claim at most `max` jobs for this dispatcher: no more than can be submitted now, so that
    /// what waits can still be put on hold, and be overtaken.
    pub fn claim_options(&self, max: u32) -> ClaimOptions {
        let mut most = max;
        let serving = self.providers.iter().map(|served| {
            let room = u32::try_from(served.room_to_submit()).unwrap_or(u32::MAX);
            let opening = if room == 0 { Opening::Closed } else { served.gate.opening() };
            if opening != Opening::Closed {
                most = most.min(room);
            }
            Serving {
                provider: served.name().clone(),
                account: served.provider().account(),
                guarantee: served.provider().guarantee(),
                provider_time: served.observe_time(),
                may_arrive_for: signed(served.provider().may_arrive_for()),
                opening,
            }
        });
        let serving = serving.collect();
        ClaimOptions { holder: self.holder, serving, max: most, lease: LEASE }
    }

    /// The configured providers.
    pub(crate) fn providers(&self) -> &ServedProviders {
        &self.providers
    }

    /// Does what a person decided about a job. That it is at its provider means: where the account
    /// that serves now has it.
    pub(crate) async fn resolve(
        &self,
        job: JobId,
        resolution: Resolution,
        note: Option<&str>,
        by: &Actor,
    ) -> Result<JobRecord, Error> {
        let resolution = match resolution {
            Resolution::AtProvider { id, account: _ } => {
                let record = self.store.find_job(&JobRef::Id(job)).await?;
                let served = record.and_then(|it| self.providers.get(&it.job().provider));
                let account = match served {
                    Some(served) => {
                        served.learn_account().await;
                        served.provider().account()
                    }
                    None => None,
                };
                Resolution::AtProvider { id, account }
            }
            Resolution::Absent | Resolution::Abandon => resolution,
        };
        self.store.resolve(job, &resolution, note, by).await
    }

    /// Probes the providers that are given no submissions, where that is due, in the background.
    pub(crate) fn probe_gates(self: &Arc<Self>) {
        for served in self.providers.iter() {
            served.gate.remind();
            if served.gate.next_probe_in().is_some_and(|wait| wait.is_zero()) {
                let (this, served) = (Arc::clone(self), Arc::clone(served));
                self.spawn_helper(async move { served.probe_gate(this.store.as_ref()).await });
            }
        }
    }

    /// How long jobs waited to be claimed, and how long it took from then until they were accepted.
    pub fn timings(&self) -> DispatchTimings {
        self.meter.read()
    }

    /// The jobs whose attempts are in flight.
    pub fn in_flight(&self) -> BTreeSet<JobId> {
        lock(&self.in_flight).jobs()
    }

    /// Dispatches a claimed job in the background, in the scope of the job. `claimed` is an instant
    /// before the call that claimed it; `sent_before` is an upper bound for when an earlier holder
    /// sent its submission.
    pub fn start(self: &Arc<Self>, claim: Claim, claimed: Instant, sent_before: Instant) {
        let record = claim.record;
        let correlation_id = record.job().correlation_id.clone();
        let context = record.log_context();
        let served = self.providers.get(&record.job().provider);
        let (Some(served), Some(state)) = (served, record.stage().claimed()) else {
            record.in_log_scope(|| {
                st_log::error!(logger: LOG, "Claimed job cannot be dispatched");
            });
            return;
        };
        self.meter.claimed(&record);
        let certain = state.origin == ClaimOrigin::New && claim.caution != Caution::ReconcileOnly;
        let next = if certain {
            Next::Submit(served.gate.grant(&record))
        } else {
            Next::Reconcile { sent_before }
        };
        let assignment = Assignment {
            served: Arc::clone(served),
            attempt: state.attempt.clone(),
            origin: state.origin,
            caution: claim.caution,
            panics: record.entry().panics,
            claimed,
            usable_until: claimed + claim.usable_for,
            record,
        };
        let guard = self.enter_flight(&assignment, claim.usable_for);
        let this = Arc::clone(self);
        let dispatch = async move {
            let aborting = this.aborting.clone();
            tokio::select! {
                biased;
                () = aborting.cancelled() => {}
                () = this.dispatch(assignment, next) => {}
            }
            drop(guard);
        }
        .in_context(context)
        .with_correlation_id(correlation_id);
        drop(st_log::spawn(self.dispatches.track_future(dispatch)));
    }

    /// Waits until nothing is in flight; after `deadline` the rest is cut off and left to its
    /// lease. Returns how many submissions those were.
    pub async fn drain(&self, deadline: Duration) -> usize {
        self.stopping.cancel();
        self.dispatches.close();
        self.finishing.close();
        let until = Instant::now() + deadline;
        let drained = tokio::time::timeout_at(until, self.dispatches.wait()).await;
        // What has not finished then is repeated by the next start.
        drop(tokio::time::timeout_at(until, self.finishing.wait()).await);
        let left = if drained.is_ok() { 0 } else { self.dispatches.len() };
        self.aborting.cancel();
        self.helpers.close();
        self.dispatches.wait().await;
        self.helpers.wait().await;
        self.finishing.wait().await;
        left
    }

    /// Changes when results may be due to be fetched, and when an attempt to fetch some was settled.
    pub fn results(&self) -> watch::Receiver<()> {
        self.results.subscribe()
    }

    /// Makes it known that the results of a job that was settled are due, where they are.
    pub(crate) fn note_results(&self, record: &JobRecord) {
        if record.job().has_due_results() {
            self.wake_results();
        }
    }

    pub(crate) fn wake_results(&self) {
        self.results.send_replace(());
    }

    /// Runs `help` in the background until it is done or the program stops.
    pub(crate) fn spawn_helper(&self, help: impl Future<Output = ()> + Send + 'static) {
        self.spawn_in(&self.helpers, help);
    }

    /// Runs `work` in the background; a stop lets it finish within its deadline. It must begin nothing new
    /// once the program stops.
    pub(crate) fn spawn_finishing(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.spawn_in(&self.finishing, work);
    }

    fn spawn_in(&self, tracker: &TaskTracker, work: impl Future<Output = ()> + Send + 'static) {
        let aborting = self.aborting.clone();
        let work = tracker.track_future(async move {
            tokio::select! {
                biased;
                () = aborting.cancelled() => {}
                () = work => {}
            }
        });
        drop(st_log::spawn(work));
    }

    /// One attempt until it is resolved. A panic does not end it: whether the provider was called
    /// is unknown then, so it is reconciled.
    async fn dispatch(self: &Arc<Self>, mut job: Assignment, mut next: Next) {
        loop {
            let ended = AssertUnwindSafe(self.run_attempt(&job, next)).catch_unwind().await;
            let Err(panic) = ended else { return };
            next = Next::Reconcile { sent_before: Instant::now() };
            let message = panic_message(panic.as_ref());
            st_log::error!(
                logger: LOG, panic = message,
                "Dispatch panicked, whether it submitted the job is unknown"
            );
            let error = format!("the dispatch panicked: {message}");
            job.panics = job.panics.saturating_add(1);
            let unresolved = Outcome::Unresolved { error, panics: Some(job.panics) };
            match self.settle(&job, unresolved).await {
                Ok((_, record)) => {
                    let entry = record.entry();
                    job.caution = Caution::after(entry.reclaims, entry.panics);
                    // It may say by now that the provider holds the job, and under which ID.
                    job.record = record;
                }
                Err(error) => return settle::log_unsettled(&error),
            }
            let pause = AFTER_PANIC.delay(job.panics, lock(&self.random).f64());
            if self.stops_within(pause).await {
                return;
            }
        }
    }

    /// Waits; returns early, with `true`, when the program stops.
    async fn stops_within(&self, wait: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => true,
            () = sleep(wait) => false,
        }
    }

    /// The pause before a job is claimed again whose submission could not be prepared here.
    fn pause(&self, job: &Assignment) -> SignedDuration {
        let draw = lock(&self.random).f64();
        signed(self.backoff.delay(job.attempt.number, draw))
    }
}

/// What a dispatch begins with.
#[derive(Debug)]
enum Next {
    /// The submission: certainly nothing of this attempt was sent.
    Submit(Pass),
    /// The search: something may have been sent, before this.
    Reconcile { sent_before: Instant },
}
