//! What a database must be like in each of its lives: the store in memory, which is never restarted
//! but can be made anew as it was earlier.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use st_store::{Clock, ManualClock, MemoryStore};
use st_testkit::suite::{Shared, at};

use crate::differential::steps::Step;
use crate::differential::{Prepared, run};

/// The store in memory on a clock of its own, and all that was done with it: so it can be made
/// anew as it was at any time.
pub(super) struct Model {
    pub(super) store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    pub(super) script: Vec<Act>,
}

/// Something that was done.
#[derive(Debug, Clone)]
pub(super) enum Act {
    Step(Step, Box<Prepared>),
    RaiseEpoch,
    /// Time in which nothing was done.
    Pass(Duration),
}

impl Model {
    pub(super) fn new() -> Self {
        let clock = Arc::new(ManualClock::new(at(0)));
        let store = Arc::new(MemoryStore::with_clock(clock.clone()));
        Self { store, clock, script: Vec::new() }
    }

    pub(super) fn shared(&self) -> Shared {
        self.store.clone()
    }

    pub(super) async fn act(&mut self, act: Act) -> String {
        self.script.push(act.clone());
        match act {
            Act::Step(step, prepared) => {
                pass_time(&self.clock, &step);
                run(&self.shared(), &step, *prepared).await
            }
            Act::RaiseEpoch => {
                self.store.raise_epoch();
                String::new()
            }
            Act::Pass(time) => {
                self.clock.advance(time);
                String::new()
            }
        }
    }

    /// The model as it was when it had done only this, at the present time.
    pub(super) async fn rewound(&self, script: Vec<Act>) -> Self {
        let mut earlier = Self::new();
        for act in script {
            earlier.act(act).await;
        }
        let lost = self.clock.monotonic().saturating_sub(earlier.clock.monotonic());
        earlier.act(Act::Pass(lost)).await;
        assert_eq!(earlier.clock.wall(), self.clock.wall(), "no clock was set since");
        earlier
    }
}

pub(super) fn pass_time(clock: &ManualClock, step: &Step) {
    if let Step::Wait(millis) = step {
        clock.advance(Duration::from_millis(u64::from(*millis)));
    }
    if let Step::SetClock(minutes) = step {
        clock.step(SignedDuration::from_mins(i64::from(*minutes)));
    }
}
