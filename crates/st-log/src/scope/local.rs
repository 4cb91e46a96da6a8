//! Where the scope of the running code lies: a thread-local variable.
//!
//! It lies there only while its work runs on the thread; a future takes its scope away between
//! polls. A task that nobody wrapped sees no other task's scope, because what lies here is marked
//! with its owner. Nothing here runs foreign code while a scope is looked at, and nothing fails
//! where the variable is gone already, in a thread that ends: then there is no scope.
//!
//! Two cells instead of one `RefCell` because each poll of a scoped future puts its scope here and
//! takes it away: that is a swap of two words, with no flag to be checked and set in between.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use tokio::task;

use crate::correlation::CorrelationId;
use crate::members::Members;
use crate::scope::frame::Frame;
use crate::trace_context::TraceContext;

thread_local! {
    static LOCAL: Local = const {
        Local { owner: Cell::new(None), here: Cell::new(None), lodgers: RefCell::new(Vec::new()) }
    };
}

/// Tasks without a scope of their own whose IDs a thread remembers.
const LODGERS: usize = 64;

/// What this thread knows of scopes.
struct Local {
    /// The task whose scope lies here; none for code outside of any task.
    owner: Cell<Option<task::Id>>,
    /// Taken out while somebody looks at it.
    here: Cell<Option<Box<State>>>,
    /// Tasks that run here without a scope of their own: what they set is theirs alone.
    lodgers: RefCell<Vec<Active>>,
}

/// What a scope holds.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) id: Option<CorrelationId>,
    pub(crate) trace: Option<TraceContext>,
    top: Option<Arc<Frame>>,
    /// How many frames from the top were entered here; those below came along and stay.
    entered: u32,
}

impl Local {
    fn look<R>(&self, look: impl FnOnce(&State) -> R) -> Option<R> {
        let me = task::try_id();
        if self.owner.get() == me {
            let state = self.here.take();
            let seen = state.as_deref().map(look);
            self.here.set(state);
            return seen;
        }
        let lodgers = self.lodgers.try_borrow().ok()?;
        lodgers.iter().find(|it| it.owner == me)?.state.as_deref().map(look)
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> Option<R> {
        let me = task::try_id();
        if self.owner.get() == me {
            let mut state = self.here.take().unwrap_or_default();
            let result = change(&mut state);
            self.here.set(Some(state));
            return Some(result);
        }
        let mut lodgers = self.lodgers.try_borrow_mut().ok()?;
        let at = lodgers.iter().position(|it| it.owner == me).unwrap_or_else(|| {
            // Nobody says when a task ends. One that waits inside a context comes back for it; of
            // the others, those that came last are remembered.
            if lodgers.len() >= LODGERS {
                let is_over = |it: &Active| it.state.as_ref().is_none_or(|it| it.entered == 0);
                lodgers.iter().position(is_over).map(|at| lodgers.remove(at));
            }
            lodgers.push(Active { owner: me, state: None });
            lodgers.len() - 1
        });
        lodgers.get_mut(at).map(|it| change(it.state.get_or_insert_default()))
    }

    fn leave(&self, frame: &Arc<Frame>) -> bool {
        let mut state = self.here.take();
        let was_here = state.as_mut().is_some_and(|it| it.leave(frame));
        self.here.set(state);
        let mut leave = |it: &mut Active| it.state.as_mut().is_some_and(|it| it.leave(frame));
        was_here || self.lodgers.try_borrow_mut().is_ok_and(|mut it| it.iter_mut().any(&mut leave))
    }
}

/// Looks at the scope of the running code, where it has one.
pub(crate) fn read<R>(look: impl FnOnce(&State) -> R) -> Option<R> {
    LOCAL.try_with(|local| local.look(look)).ok().flatten()
}

/// Changes the scope of the running code.
pub(crate) fn write<R>(change: impl FnOnce(&mut State) -> R) -> Option<R> {
    LOCAL.try_with(|local| local.change(change)).ok().flatten()
}

/// Adds fields to the scope of the running code, if there are any and there is one.
pub(crate) fn enter(fields: Members) -> Option<Arc<Frame>> {
    if fields.as_bytes().is_empty() {
        return None;
    }
    write(|state| state.enter(fields))
}

/// Takes the fields away again, wherever they are.
pub(crate) fn leave(frame: &Arc<Frame>) {
    if LOCAL.try_with(|local| local.leave(frame)) == Ok(false) {
        // Their scope is not in force at the moment, and looks at this note when it is again.
        frame.leave();
    }
}

impl State {
    pub(crate) fn new(
        id: Option<CorrelationId>,
        trace: Option<TraceContext>,
        base: Option<Arc<Frame>>,
    ) -> Self {
        Self { id, trace, top: base, entered: 0 }
    }

    pub(crate) fn top(&self) -> Option<&Arc<Frame>> {
        self.top.as_ref()
    }

    fn enter(&mut self, fields: Members) -> Arc<Frame> {
        let frame = Arc::new(Frame::new(self.top.take(), fields));
        self.top = Some(Arc::clone(&frame));
        self.entered += 1;
        frame
    }

    /// Whether the frame was entered here and is gone now.
    fn leave(&mut self, frame: &Arc<Frame>) -> bool {
        if self.entered == 0 {
            return false;
        }
        match &self.top {
            Some(top) if Arc::ptr_eq(top, frame) => {
                self.top = frame.outer().cloned();
                self.entered -= 1;
                true
            }
            _ => self.keep(|it| !it.is_same(frame)),
        }
    }

    /// Forgets the frames whose guards were dropped elsewhere.
    fn forget_left(&mut self) {
        self.keep(|it| !it.is_left());
    }

    /// Keeps those of the frames that were entered here. Returns whether there were others.
    fn keep(&mut self, keep: impl Fn(&Frame) -> bool) -> bool {
        let mut kept = Vec::new();
        let mut rest = self.top.as_ref();
        let mut all = true;
        for _ in 0..self.entered {
            let Some(frame) = rest else { break };
            if keep(frame) {
                kept.push(Arc::clone(frame));
            } else {
                all = false;
            }
            rest = frame.outer();
        }
        if all {
            return false;
        }
        let base = rest.cloned();
        self.entered = 0;
        self.top = base;
        for frame in kept.iter().rev() {
            self.top = Some(Arc::new(frame.on(self.top.take())));
            self.entered += 1;
        }
        true
    }

    /// Takes over what it does not have itself.
    fn fill_from(&mut self, around: Self) {
        let Self { id, trace, top, .. } = around;
        self.id = self.id.take().or(id);
        self.trace = self.trace.take().or(trace);
        self.top = self.top.take().or(top);
    }

    fn take_ids_of(&mut self, around: &Self) {
        if !self.has_ids_of(around) {
            self.id.clone_from(&around.id);
            self.trace.clone_from(&around.trace);
        }
    }

    /// The same, but keeps what there is none of around.
    fn adopt_ids_of(&mut self, around: &Self) {
        if around.id.is_some() && self.id != around.id {
            self.id.clone_from(&around.id);
        }
        if around.trace.is_some() && self.trace != around.trace {
            self.trace.clone_from(&around.trace);
        }
    }

    fn has_ids_of(&self, other: &Self) -> bool {
        self.id == other.id && self.trace == other.trace
    }
}

/// A scope that code runs in.
#[derive(Debug)]
pub(crate) struct Active {
    owner: Option<task::Id>,
    state: Option<Box<State>>,
}

impl Active {
    pub(crate) fn new(state: State) -> Self {
        Self { owner: None, state: Some(Box::new(state)) }
    }

    /// Takes over what it does not have itself.
    pub(crate) fn fill_from(&mut self, around: Self) {
        if let Some(around) = around.state {
            self.state.get_or_insert_default().fill_from(*around);
        }
    }

    /// Puts this scope in force until the guard is dropped, also by a panic.
    #[inline]
    pub(crate) fn run(&mut self) -> Running<'_> {
        self.forget_left();
        self.owner = task::try_id();
        self.swap();
        Running(self)
    }

    /// Guards may have been dropped while this scope was not in force.
    #[inline]
    fn forget_left(&mut self) {
        if let Some(state) = &mut self.state
            && state.entered > 0
        {
            state.forget_left();
        }
    }

    #[inline]
    fn swap(&mut self) {
        // Where the variable is gone, the work runs without a scope.
        let swapped = LOCAL.try_with(|local| {
            self.owner = local.owner.replace(self.owner);
            self.state = local.here.replace(self.state.take());
        });
        swapped.unwrap_or_default();
    }
}

/// While it lives, the scope it came from is in force, and that one's place holds the scope around.
#[must_use]
pub(crate) struct Running<'a>(&'a mut Active);

impl Drop for Running<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.forget_left();
        self.0.swap();
    }
}

/// Runs `work` in the scope of a future that adds fields to whatever scope it is polled in, and
/// shares the IDs of that scope: one that is generated inside is the whole task's.
pub(crate) fn run_sharing<R>(active: &mut Active, work: impl FnOnce() -> R) -> R {
    take_ids(active);
    let result = {
        let _running = active.run();
        work()
    };
    let own = active.state.get_or_insert_default();
    // Where there is no scope around, one comes into being only for an ID.
    let is_known = read(|around| around.has_ids_of(own));
    if is_known == Some(false) || (is_known.is_none() && own.id.is_some()) {
        write(|around| {
            around.id.clone_from(&own.id);
            around.trace.clone_from(&own.trace);
        });
    }
    result
}

/// Takes over the IDs of the scope around.
fn take_ids(active: &mut Active) {
    let me = task::try_id();
    let is_same_task = active.owner == me;
    let own = active.state.get_or_insert_default();
    let taken = LOCAL.try_with(|local| {
        if local.owner.get() != me && is_same_task {
            // A bare task may have moved to a thread that does not know its IDs yet, or no more:
            // what its future remembers still holds.
            local.look(|around| own.adopt_ids_of(around));
        } else if local.look(|around| own.take_ids_of(around)).is_none() {
            own.take_ids_of(&State::default());
        }
    });
    taken.unwrap_or_default();
}
