//! The death of a process, at any call that it makes.
//!
//! Whatever the server does that can be seen from outside goes through a call of its store or of a
//! provider. From the instant of its death none of its calls begins, has an effect or returns.

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::Notify;

use crate::clocks::elapse;
use crate::draw::Draw;
use crate::plan::LifeEnd;
use crate::world::World;

/// What all calls of one life go through.
#[derive(Debug)]
pub(crate) struct KillSwitch {
    world: Arc<World>,
    dead: AtomicBool,
    died: Notify,
    /// The calls so far and the generator of their latencies. Locked for one draw.
    calls: Mutex<(u64, Rng)>,
    end: Option<LifeEnd>,
}

/// A call that has begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun(u64);

impl KillSwitch {
    /// That of a life that ends like this; `None`: never.
    pub(crate) fn new(world: &Arc<World>, end: Option<LifeEnd>) -> Arc<Self> {
        let random = world.draw(Rng::fork);
        Arc::new(Self {
            world: Arc::clone(world),
            dead: AtomicBool::new(false),
            died: Notify::new(),
            calls: Mutex::new((0, random)),
            end,
        })
    }

    /// The process dies now.
    pub(crate) fn die(&self, how: &str) {
        self.world.journal.note(format!("the server dies: {how}"));
        let now = self.world.now();
        self.world.state().deaths.push(now);
        self.dead.store(true, Ordering::SeqCst);
        self.died.notify_waiters();
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Returns when the process is dead.
    pub(crate) async fn died(&self) {
        while !self.is_dead() {
            self.died.notified().await;
        }
    }

    /// A call begins, `latency` of the time later than it was made. Never returns in a process
    /// that is dead.
    pub(crate) async fn begin(&self, what: &str, slow: f64) -> Begun {
        let (call, wait) = {
            let calls = &mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            calls.0 += 1;
            (calls.0, latency(&mut calls.1, slow))
        };
        self.wait(wait).await;
        self.perish(what, call, false).await;
        Begun(call)
    }

    /// A call has had its effect and returns.
    pub(crate) async fn end(&self, what: &str, begun: Begun, slow: f64) {
        self.perish(what, begun.0, true).await;
        let wait = {
            let calls = &mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            latency(&mut calls.1, slow)
        };
        self.wait(wait).await;
        if self.is_dead() {
            pending::<()>().await;
        }
    }

    async fn wait(&self, wait: Option<Duration>) {
        if let Some(wait) = wait {
            elapse(wait).await;
        }
    }

    async fn perish(&self, what: &str, this: u64, after: bool) {
        if let Some(LifeEnd::DiesAtCall { call, after_effect }) = self.end
            && call == this
            && after == after_effect
            && !self.is_dead()
        {
            let when = if after { "after" } else { "before" };
            self.die(&format!("{when} its call {call}, {what}"));
        }
        if self.is_dead() {
            pending::<()>().await;
        }
    }
}

fn latency(random: &mut Rng, slow: f64) -> Option<Duration> {
    if !random.chance(slow) {
        return None;
    }
    Some(match random.u16(0..1000) {
        0..900 => random.seconds(0.001..0.05),
        900..995 => random.seconds(0.05..3.0),
        _ => random.seconds(3.0..50.0),
    })
}
