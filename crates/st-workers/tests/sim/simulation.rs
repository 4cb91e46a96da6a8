//! One run: a world from a seed, from its beginning to its end.

use std::collections::BTreeMap;
use std::panic;
use std::sync::{Arc, Once};
use std::time::Duration;

use fastrand::Rng;

use crate::clients::{self, Clients};
use crate::clocks::elapse;
use crate::lasting;
use crate::life::{self, Endpoint, Life};
use crate::plan::Plan;
use crate::storage::{Backend, Storage};
use crate::store::with_time_held;
use crate::users;
use crate::verdict;
use crate::world::World;

/// How long everything may need to come to its end once everything works.
const PROPER: Duration = Duration::from_hours(36);
const WILD: Duration = Duration::from_hours(60);
/// How long the last requests may be on their way.
const ON_THEIR_WAY: Duration = Duration::from_mins(15);
const ON_THEIR_WAY_WILD: Duration = Duration::from_mins(75);
/// How many jobs are submitted, at most, only to show that others are at fault.
const CANARIES: u64 = 300;

/// What was met in a run that found nothing.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) jobs: usize,
    pub(crate) lives: usize,
    pub(crate) accepted: usize,
    pub(crate) simulated: Duration,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    /// Every step, in order.
    pub(crate) journal: String,
}

/// Runs the world of a seed; the text of a failure says what was violated and what led to it.
pub(crate) fn run(seed: u64, backend: Backend) -> Result<Summary, String> {
    silence_simulated_panics();
    // What the product draws itself; nothing of it decides anything.
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .map_err(|error| error.to_string())?;
    let (summary, violations, journal) = runtime.block_on(world_of(seed, backend));
    if violations.is_empty() {
        return Ok(summary);
    }
    Err(format!(
        "seed {seed} on {backend}: {}\n{journal}\nto reproduce it:\n  \
         cargo xtask simulate --seed {seed} --store {backend}\n",
        violations.join("; ")
    ))
}

async fn world_of(seed: u64, backend: Backend) -> (Summary, Vec<String>, String) {
    let mut random = Rng::with_seed(seed);
    let mut plan = Plan::draw(&mut random.fork());
    if lasting::is_met_by(seed) {
        lasting::draw(&mut Rng::with_seed(seed), &mut plan);
    }
    let plans = users::draw(&mut random.fork(), &plan);
    let limits = users::limits(&mut random.fork(), &plan);
    let world = World::new(plan, random.fork());
    let mut storage = Storage::new(&world, backend);
    let data = storage.open().await;
    with_time_held(clients::set_up(&world, data.as_ref())).await;
    storage.close(data.as_ref()).await;
    drop(data);
    let endpoint = Arc::new(Endpoint::default());
    let clients = Clients::new(&world, &endpoint);
    clients.start(plans, limits);
    if let Some(mut life) = life::live(&world, &mut storage, &endpoint).await {
        let mut canaries = 0;
        loop {
            tokio::select! {
                biased;
                () = world.alarmed() => break,
                () = life.kill_switch.died() => {
                    life = life::again(&world, &storage, (&endpoint, &life)).await;
                }
                () = come_to_an_end(&world, (&clients, &mut canaries), &life) => break,
            }
        }
        if !world.has_violation() {
            verdict::judge(&world, &life).await;
        }
        life::stop(&world, &storage, &life).await;
    }
    if let Some(path) = crate::variable("ST_SIM_JOURNAL") {
        std::fs::write(path, world.journal.whole()).unwrap();
    }
    let job = world.state().violations.first().and_then(|violation| violation.job);
    let name = job.map(|job| world.name(job));
    let state = world.state();
    let summary = Summary {
        jobs: state.jobs.len(),
        lives: state.lives.len(),
        accepted: state.ledger.jobs.len(),
        simulated: world.now(),
        counts: state.counts.clone(),
        journal: world.journal.whole(),
    };
    let violations = state.violations.iter().map(|violation| violation.what.clone()).collect();
    (summary, violations, world.journal.tail(name.as_deref()))
}

/// Lets time pass until nothing happens any more.
async fn come_to_an_end(
    world: &Arc<World>,
    (clients, canaries): (&Clients, &mut u64),
    life: &Life,
) {
    let (within, on_their_way) =
        if world.plan.wild { (WILD, ON_THEIR_WAY_WILD) } else { (PROPER, ON_THEIR_WAY) };
    elapse((world.plan.active_for + on_their_way).saturating_sub(world.now())).await;
    loop {
        let data = life.data.as_ref();
        let unfinished = life.store.run(verdict::unfinished(world, data)).await;
        let Some(waits) = unfinished else { return };
        if world.now() > world.plan.active_for + within {
            world.violate(None, format!("{within:?} after all faults: {waits}"));
            return;
        }
        let records = life.store.run(verdict::records(data)).await;
        clients.resolve_of_other_account(&records).await;
        if *canaries < CANARIES && verdict::needs_canaries(world, &records) {
            clients.send_canaries(canaries).await;
        }
        elapse(Duration::from_mins(3)).await;
    }
}

/// The planned panics of a provider's code say nothing.
fn silence_simulated_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            let text = panicked.payload_as_str().unwrap_or_default();
            if !text.starts_with("simulated:") {
                others(panicked);
            }
        }));
    });
}
