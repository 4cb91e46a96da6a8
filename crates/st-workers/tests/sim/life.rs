//! The lives of the server, one after another on the same data.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use st_store::{Clock, Store};
use st_workers::provider::Provider;
use st_workers::tasks::poller::{self, PollerConfig};
use st_workers::{
    BackgroundConfig, BackgroundTasks, Providers, start_background_tasks, stop_background_tasks,
};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::clocks::elapse;
use crate::kill_switch::KillSwitch;
use crate::plan::{LifeEnd, LifePlan};
use crate::provider::SimProvider;
use crate::storage::Storage;
use crate::store::LifeStore;
use crate::world::World;

/// How long a graceful stop waits.
const DRAIN: Duration = Duration::from_secs(10);
/// How long it takes to start the server again after it died.
const AGAIN: Duration = Duration::from_secs(3);

/// One life of the server.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) kill_switch: Arc<KillSwitch>,
    /// The store as this life sees it.
    pub(crate) store: Arc<LifeStore>,
    /// The store behind it.
    pub(crate) data: Arc<dyn Store>,
    pub(crate) tasks: BackgroundTasks,
}

/// Where clients find the server. Those who wait for it are woken in the order in which they came:
/// a `watch` wakes them in any order, and one seed would not be one run.
#[derive(Debug, Default)]
pub(crate) struct Endpoint {
    /// `None` while it is down. Locked for one read or change.
    life: Mutex<Option<Arc<Life>>>,
    changed: Notify,
}

impl Endpoint {
    fn show(&self, life: Option<Arc<Life>>) {
        *self.life.lock().unwrap_or_else(PoisonError::into_inner) = life;
        self.changed.notify_waiters();
    }

    /// The server, once it is up.
    pub(crate) async fn find(&self) -> Arc<Life> {
        loop {
            let life = self.life.lock().unwrap_or_else(PoisonError::into_inner).clone();
            match life.filter(|life| !life.kill_switch.is_dead()) {
                Some(life) => return life,
                None => self.changed.notified().await,
            }
        }
    }
}

impl Life {
    async fn begin(world: &Arc<World>, storage: &Storage, end: Option<LifeEnd>) -> Arc<Self> {
        let data = storage.open().await;
        let kill_switch = KillSwitch::new(world, end);
        let store = LifeStore::new(world, &kill_switch, &data, storage.is_threaded());
        let store = Arc::new(store);
        let providers: Providers = (0..world.plan.providers.len())
            .map(|index| {
                Arc::new(SimProvider::new(world, index, &kill_switch)) as Arc<dyn Provider>
            })
            .collect();
        let config = BackgroundConfig {
            polling: PollerConfig { enabled: false, period: poller::PERIOD },
            seed: world.draw(|random| random.u64(..)),
            // The judge accounts for every job at the end.
            keep_jobs_for: None,
            ..BackgroundConfig::default()
        };
        let number = {
            let mut state = world.state();
            let now = world.now();
            state.lives.push(now);
            for provider in 0..world.plan.providers.len() {
                state.evidence.end_series(provider);
            }
            state.lives.len()
        };
        world.journal.note(format!("life {number} begins, {end:?}"));
        let clock = Arc::clone(&world.machine) as Arc<dyn Clock>;
        let shown = Arc::clone(&store) as Arc<dyn Store>;
        let tasks = start_background_tasks(config, &shown, &providers, &clock);
        Arc::new(Self { kill_switch, store, data, tasks })
    }

    /// Ends it: gracefully, unless it is dead already or dies now. Returns how many dispatches a
    /// graceful end left over.
    async fn end(&self, world: &World, storage: &Storage, gracefully: bool) -> usize {
        let drain = if gracefully && !self.kill_switch.is_dead() {
            world.journal.note("the server is stopped");
            DRAIN
        } else {
            if !self.kill_switch.is_dead() {
                self.kill_switch.die("at some moment");
            }
            Duration::ZERO
        };
        let stopped = stop_background_tasks(&self.tasks, drain);
        let unfinished = timeout(DRAIN * 6, stopped).await;
        let is_dead = self.kill_switch.is_dead();
        if unfinished.is_err() && !is_dead {
            world.violate(None, "stopping the background tasks does not end");
        }
        if !self.kill_switch.is_dead() {
            self.kill_switch.die("after it was stopped");
        }
        self.store.detach();
        storage.close(self.data.as_ref()).await;
        unfinished.map_or(0, |it| if is_dead { 0 } else { it.submissions })
    }
}

/// Runs all lives that are planned, and one more that lasts. Returns that one, at the time when
/// faults end; `None` when a violation was found before.
pub(crate) async fn live(
    world: &Arc<World>,
    storage: &mut Storage,
    endpoint: &Endpoint,
) -> Option<Arc<Life>> {
    let calm = tokio::time::Instant::now() + world.plan.active_for;
    for plan in &world.plan.lives {
        if world.is_calm() {
            break;
        }
        let life = Life::begin(world, storage, Some(plan.end)).await;
        endpoint.show(Some(Arc::clone(&life)));
        let step = st_log::spawn(step_clock(Arc::clone(world), plan.step));
        tokio::select! {
            biased;
            () = world.alarmed() => return None,
            () = life.kill_switch.died() => {}
            () = elapse(plan.at_most) => {}
            () = tokio::time::sleep_until(calm) => {}
        }
        endpoint.show(None);
        step.abort();
        life.end(world, storage, matches!(plan.end, LifeEnd::Stops)).await;
        drop(life);
        between_lives(world, storage, plan).await;
    }
    let mut life = Life::begin(world, storage, None).await;
    endpoint.show(Some(Arc::clone(&life)));
    loop {
        tokio::select! {
            biased;
            () = world.alarmed() => return None,
            () = tokio::time::sleep_until(calm) => break,
            () = life.kill_switch.died() => life = again(world, storage, (endpoint, &life)).await,
        }
    }
    world.journal.note("everything works from now on");
    if world.machine.wrong_by() != SignedDuration::ZERO {
        world.machine.set(SignedDuration::ZERO);
    }
    Some(life)
}

/// Ends the last life.
pub(crate) async fn stop(world: &Arc<World>, storage: &Storage, life: &Life) {
    let left = life.end(world, storage, true).await;
    if left > 0 && !world.has_violation() {
        world.violate(None, format!("{left} dispatches go on though every job is over"));
    }
}

/// Begins another life after one that died though nothing was planned.
pub(crate) async fn again(
    world: &Arc<World>,
    storage: &Storage,
    (endpoint, life): (&Endpoint, &Life),
) -> Arc<Life> {
    endpoint.show(None);
    life.end(world, storage, false).await;
    elapse(AGAIN).await;
    let life = Life::begin(world, storage, None).await;
    endpoint.show(Some(Arc::clone(&life)));
    life
}

async fn step_clock(world: Arc<World>, step: Option<(Duration, SignedDuration)>) {
    if let Some((after, wrong_by)) = step {
        elapse(after).await;
        world.journal.note(format!("the machine's clock is set, now wrong by {wrong_by:#}"));
        world.count("clock set while running");
        world.machine.set(wrong_by);
    }
}

async fn between_lives(world: &Arc<World>, storage: &mut Storage, plan: &LifePlan) {
    storage.between_lives(plan.database);
    elapse(plan.pause).await;
    if let Some(wrong_by) = plan.clock_after {
        world.journal.note(format!("the machine's clock is set, now wrong by {wrong_by:#}"));
        world.count("clock set while down");
        world.machine.set(wrong_by);
    }
}
