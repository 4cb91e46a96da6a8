//! Sends events to webhooks, as messages of Standard Webhooks.
//!
//! Each webhook has a position in the event log and gets what comes after it, in order. Each is served
//! beside the others, under a lease, by a delivery of its own: a receiver that is slow or away delays its
//! own events alone. What was sent is settled before the next is sent, so that a crash repeats one
//! message and loses none; the ID of a message is the same each time, by which its receiver recognizes it.
//!
//! The task is woken by new events while there is a webhook that is enabled, and by the next attempt that
//! is due. There is no circuit breaker for a host: it would let the receiver of one webhook hold back
//! those of others, and the pause of each webhook leaves its receiver alone all the same.

mod deliver;
mod figures;
mod message;
mod secret;
mod send;
mod sweep;
mod testing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use st_http::Client;
use st_log::{Logger, get_logger};
use st_store::{Event, Holder, Store, WebhookId};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::dispatch::Dispatcher;
use crate::task::{Cycle, RunSummary, Task, TaskError, TaskId, Timing};
use figures::Tally;
pub use figures::WebhookFigures;
pub use secret::{InvalidSecret, parse_secret, show_secret};
use sweep::Passed;
pub use testing::TestedWebhook;

const LOG: Logger = get_logger("simpletuner.cloud.webhooks");

const PERIOD: Duration = Duration::from_mins(1);
/// How often old messages are forgotten.
const FORGET_EVERY: Duration = Duration::from_hours(1);
/// How many are forgotten at a time.
const FORGOTTEN: u32 = 500;
/// How long events are collected before webhooks are looked at again.
pub(crate) const COLLECT: Duration = Duration::from_millis(50);

/// How webhooks are sent.
#[derive(Debug, Clone)]
pub struct WebhooksConfig {
    /// The client. Its policy decides where it may connect to, its deadlines how long a receiver may take.
    pub client: Client,
    /// An event as the interface shows it.
    pub show: fn(&Event) -> serde_json::Value,
}

/// The task `webhook_delivery`.
#[derive(Debug)]
pub struct WebhookDelivery {
    work: Arc<Work>,
    dispatcher: Arc<Dispatcher>,
}

#[derive(Debug)]
struct Work {
    store: Arc<dyn Store>,
    config: WebhooksConfig,
    holder: Holder,
    /// Whether leases of earlier processes were ended.
    begun: AtomicBool,
    /// The webhooks that are being served. Never locked across an await.
    serving: Mutex<BTreeSet<WebhookId>>,
    tally: Tally,
    /// The webhooks that cannot be read, as they were logged. Never locked across an await.
    reported: Mutex<BTreeSet<String>>,
    /// Up to where webhooks that are not being served want nothing. Never locked across an await.
    passed: Mutex<BTreeMap<WebhookId, Passed>>,
    /// Whether there is a webhook that is enabled.
    wanted: watch::Sender<bool>,
    /// Changes when the serving of a webhook ends.
    served: watch::Sender<()>,
    /// The jitter of pauses; locked for one number.
    random: Mutex<fastrand::Rng>,
    /// When old messages are forgotten next. Never locked across an await.
    forget_at: Mutex<Instant>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl WebhookDelivery {
    /// A task that delivers beside its runs, as long as `dispatcher` has not stopped. `seed` decides the
    /// jitter of pauses. Leases that other holders have in the store are ended: they must be dead.
    pub fn new(
        store: &Arc<dyn Store>,
        dispatcher: &Arc<Dispatcher>,
        config: WebhooksConfig,
        seed: u64,
    ) -> Self {
        let work = Work {
            store: Arc::clone(store),
            config,
            holder: Holder::new(fastrand::u128(..).to_le_bytes()),
            begun: AtomicBool::new(false),
            serving: Mutex::default(),
            tally: Tally::default(),
            reported: Mutex::default(),
            passed: Mutex::default(),
            wanted: watch::Sender::new(false),
            served: watch::Sender::new(()),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            forget_at: Mutex::new(Instant::now()),
        };
        Self { work: Arc::new(work), dispatcher: Arc::clone(dispatcher) }
    }

    /// Whether there is a webhook that is enabled: without one, no event is of interest.
    pub fn wanted(&self) -> watch::Receiver<bool> {
        self.work.wanted.subscribe()
    }

    /// What became of messages since the start, and what waits.
    pub fn figures(&self) -> WebhookFigures {
        self.work.tally.read()
    }

    /// Changes whenever the serving of a webhook ends: all that it wants is sent, or an attempt failed.
    pub fn served(&self) -> watch::Receiver<()> {
        self.work.served.subscribe()
    }
}

impl Work {
    /// Ends, once, what earlier processes had begun.
    async fn begin(&self) -> Result<(), st_store::Error> {
        if !self.begun.load(Ordering::SeqCst) {
            self.store.end_webhook_leases(self.holder).await?;
            self.begun.store(true, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Forgets old messages, from time to time.
    async fn forget(&self) -> Result<(), st_store::Error> {
        if Instant::now() < *lock(&self.forget_at) {
            return Ok(());
        }
        let forgotten = self.store.prune_deliveries(FORGOTTEN).await?;
        if forgotten < u64::from(FORGOTTEN) {
            *lock(&self.forget_at) = Instant::now() + FORGET_EVERY;
        }
        Ok(())
    }
}

#[async_trait]
impl Task for WebhookDelivery {
    fn id(&self) -> TaskId {
        TaskId::WebhookDelivery
    }

    fn timing(&self) -> Timing {
        Timing { period: PERIOD, deadline: Duration::from_mins(1) }
    }

    async fn run(&self, cycle: &Cycle) -> Result<RunSummary, TaskError> {
        const FAILED: &str = "Error in webhook delivery";
        let work = &self.work;
        work.begin().await.map_err(TaskError::because(FAILED))?;
        work.forget().await.map_err(TaskError::because(FAILED))?;
        let found = work.sweep().await.map_err(TaskError::because(FAILED))?;
        let mut begun = 0;
        for (id, from) in found.due {
            if lock(&work.serving).insert(id) {
                begun += 1;
                let (work, stopping) = (Arc::clone(work), cycle.stopping.clone());
                self.dispatcher
                    .spawn_finishing(async move { work.serve(id, from, &stopping).await });
            }
        }
        Ok(RunSummary { counts: vec![("begun", begun)], wake_in: found.later })
    }
}
