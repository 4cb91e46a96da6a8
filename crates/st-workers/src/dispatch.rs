//! From a claimed job to a job at its provider, exactly once.
//!
//! The claim is durable before the provider is called. One dispatch lives until its attempt is
//! resolved: submitted, certainly not arrived, or, when the outcome of the call is unknown,
//! reconciled by the provider's own list. An attempt is submitted at most once; what did not arrive
//! goes back to the queue and gets a new attempt with its next claim. Until then the job keeps its
//! slot, and its lease is renewed.

mod attempt;
mod cancel;
mod in_flight;
mod lease;
mod reconcile;
mod settle;
mod strays;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use jiff::SignedDuration;
use st_log::{InScope, Logger, get_logger};
use st_store::{
    Attempt, Caution, Claim, ClaimOptions, ClaimOrigin, Holder, JobId, JobRecord, Opening, Outcome,
    Serving, Store,
};
use tokio::sync::{RwLock, Semaphore};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backoff::Backoff;
use crate::driver::panic_message;
use crate::provider::Provider;
use crate::providers::Providers;
pub(crate) use cancel::report;
use in_flight::InFlight;
use lease::LEASE;

const LOG: Logger = get_logger("simpletuner.cloud.dispatch");

/// No call to a provider takes longer, whatever its deadlines are set to. It is shorter than a
/// lease, so that a call never outlives the claim that it is made under.
const LONGEST_CALL: Duration = Duration::from_secs(65);
/// The pause after a dispatch panicked.
const AFTER_PANIC: Duration = Duration::from_secs(10);
/// How many cancellations run at the same time beside the submissions.
const CANCELLATIONS: usize = 8;

/// Submits claimed jobs, reconciles them, and cancels jobs at their providers.
#[derive(Debug)]
pub struct Dispatcher {
    store: Arc<dyn Store>,
    providers: Providers,
    holder: Holder,
    backoff: Backoff,
    dispatches: TaskTracker,
    /// Renewals and cancellations: what no stop waits for.
    helpers: TaskTracker,
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
    next_cancels: Mutex<BTreeMap<JobId, Instant>>,
    cancellations: Semaphore,
    /// The providers whose strays are being cancelled, so that none is cancelled twice at a time.
    cancelling_strays: strays::Busy,
    /// The providers whose lost attempts are being searched for.
    rechecking: strays::Busy,
    /// Guards the generator of the jitter. Locked for one number.
    random: Mutex<fastrand::Rng>,
}

/// A claimed job on its way: what its dispatch needs.
#[derive(Debug)]
struct Assignment {
    provider: Arc<dyn Provider>,
    record: JobRecord,
    attempt: Attempt,
    origin: ClaimOrigin,
    caution: Caution,
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
    pub fn new(store: Arc<dyn Store>, providers: Providers, seed: u64) -> Self {
        Self {
            store,
            providers,
            // Never from the seed: two lives with one holder would not tell their claims apart.
            holder: Holder::new(fastrand::u128(..).to_le_bytes()),
            backoff: Backoff::default(),
            dispatches: TaskTracker::new(),
            helpers: TaskTracker::new(),
            stopping: CancellationToken::new(),
            aborting: CancellationToken::new(),
            in_flight: Mutex::new(InFlight::new()),
            submits: RwLock::new(()),
            next_cancels: Mutex::default(),
            cancellations: Semaphore::new(CANCELLATIONS),
            cancelling_strays: strays::Busy::default(),
            rechecking: strays::Busy::default(),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
        }
    }

    /// The holder of its claims: this life of this process.
    pub fn holder(&self) -> Holder {
        self.holder
    }

    /// How to claim at most `max` jobs for this dispatcher.
    pub fn claim_options(&self, max: u32) -> ClaimOptions {
        let serving = self.providers.iter().map(|provider| Serving {
            provider: provider.name().clone(),
            account: provider.account(),
            guarantee: provider.guarantee(),
            provider_time: provider.time(),
            may_arrive_for: signed(provider.may_arrive_for()),
            opening: Opening::Open,
        });
        ClaimOptions { holder: self.holder, serving: serving.collect(), max, lease: LEASE }
    }

    /// The jobs that it works on.
    pub fn in_flight(&self) -> BTreeSet<JobId> {
        lock(&self.in_flight).jobs()
    }

    /// Dispatches a claimed job in the background, in the scope of the job. `claimed` is an instant
    /// before the call that claimed it.
    pub fn start(self: &Arc<Self>, claim: Claim, claimed: Instant) {
        let record = claim.record;
        let correlation_id = record.job().correlation_id.clone();
        let context = record.log_context();
        let name = record.job().provider.clone();
        let (Some(provider), Some(state)) = (self.providers.get(&name), record.stage().claimed())
        else {
            record.in_log_scope(|| {
                st_log::error!(logger: LOG, "Claimed job cannot be dispatched");
            });
            return;
        };
        let assignment = Assignment {
            provider,
            attempt: state.attempt.clone(),
            origin: state.origin,
            caution: claim.caution,
            claimed,
            usable_until: claimed + claim.usable_for,
            record,
        };
        let guard = self.enter_flight(&assignment, claim.usable_for);
        let this = Arc::clone(self);
        let dispatch = async move {
            let aborting = this.aborting.clone();
            tokio::select! {
                () = this.dispatch(assignment) => {}
                () = aborting.cancelled() => {}
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
        let drained = tokio::time::timeout(deadline, self.dispatches.wait()).await;
        let left = if drained.is_ok() { 0 } else { self.dispatches.len() };
        self.aborting.cancel();
        self.helpers.close();
        self.dispatches.wait().await;
        self.helpers.wait().await;
        left
    }

    /// Runs `help` in the background until it is done or the program stops.
    fn spawn_helper(&self, help: impl Future<Output = ()> + Send + 'static) {
        let aborting = self.aborting.clone();
        let help = self.helpers.track_future(async move {
            tokio::select! {
                () = help => {}
                () = aborting.cancelled() => {}
            }
        });
        drop(st_log::spawn(help));
    }

    /// One attempt until it is resolved. A panic does not end it: whether the provider was called
    /// is unknown then, so it is reconciled.
    async fn dispatch(self: &Arc<Self>, mut job: Assignment) {
        if let Caution::Alone { pause } = job.caution {
            st_log::warning!(
                logger: LOG, pause_seconds = pause.as_secs(),
                "Job was reclaimed again and again, dispatching it alone after a pause"
            );
            if self.stops_within(pause.unsigned_abs()).await {
                return;
            }
        }
        let certain = job.origin == ClaimOrigin::New && job.caution != Caution::ReconcileOnly;
        let mut unknown_since = if certain { None } else { Some(Instant::now()) };
        loop {
            let resolved = AssertUnwindSafe(self.resolve(&job, unknown_since)).catch_unwind().await;
            let Err(panic) = resolved else { return };
            unknown_since.get_or_insert_with(Instant::now);
            let message = panic_message(panic.as_ref());
            st_log::error!(
                logger: LOG, panic = message,
                "Dispatch panicked, whether it submitted the job is unknown"
            );
            let error = format!("the dispatch panicked: {message}");
            match self.settle(&job, Outcome::Unresolved { error, panicked: true }).await {
                Ok((_, record)) => {
                    let entry = record.entry();
                    job.caution = Caution::after(entry.reclaims, entry.panics);
                }
                Err(error) => return settle::log_unsettled(&error),
            }
            if self.stops_within(AFTER_PANIC).await {
                return;
            }
        }
    }

    /// Waits; returns early, with `true`, when the program stops.
    async fn stops_within(&self, wait: Duration) -> bool {
        tokio::select! {
            () = self.stopping.cancelled() => true,
            () = sleep(wait) => false,
        }
    }

    /// The pause before the next attempt at a job, at least `wish`.
    fn pause(&self, job: &Assignment, wish: Option<Duration>) -> SignedDuration {
        let draw = lock(&self.random).f64();
        let pause = self.backoff.delay(job.attempt.number, draw);
        signed(pause.max(wish.unwrap_or_default()))
    }
}
