//! Where the scope of the running code lies: a thread-local variable.
//!
//! It lies there only while its work runs on the thread; a future takes its scope away between
//! polls. A task that nobody wrapped sees no other task's scope, because what lies here is marked
//! with its owner. Nothing here runs foreign code while the variable is borrowed, and nothing fails
//! where the variable is gone already, in a thread that ends: then there is no scope.

use std::cell::RefCell;
use std::mem;
use std::sync::Arc;

use tokio::task;

use crate::correlation::CorrelationId;
use crate::members::Members;
use crate::scope::Scope;
use crate::scope::frame::Frame;
use crate::trace_context::TraceContext;

thread_local! {
    static LOCAL: RefCell<Local> =
        const { RefCell::new(Local { here: Active::root(None), lodgers: Vec::new() }) };
}

/// What this thread knows of scopes.
struct Local {
    here: Active,
    /// Tasks that run here without a scope of their own: what they set is theirs alone.
    lodgers: Vec<Active>,
}

impl Local {
    fn find(&self, me: Option<task::Id>) -> Option<&Active> {
        if self.here.owner == me {
            return Some(&self.here);
        }
        self.lodgers.iter().find(|it| it.owner == me)
    }

    fn find_or_add(&mut self, me: Option<task::Id>) -> &mut Active {
        if self.here.owner == me {
            return &mut self.here;
        }
        let at = self.lodgers.iter().position(|it| it.owner == me).unwrap_or_else(|| {
            // Nobody says when a task ends. One that waits inside a context comes back for it; the
            // others lose at most an ID that nobody gave them.
            self.lodgers.retain(|it| it.entered > 0);
            self.lodgers.push(Active::root(me));
            self.lodgers.len() - 1
        });
        self.lodgers.get_mut(at).unwrap_or(&mut self.here)
    }
}

fn with<R>(look: impl FnOnce(&mut Local) -> R) -> Option<R> {
    LOCAL.try_with(|local| local.try_borrow_mut().ok().map(|mut it| look(&mut it))).ok().flatten()
}

/// Looks at the scope of the running code, where it has one.
pub(crate) fn read<R>(look: impl FnOnce(&Active) -> R) -> Option<R> {
    with(|local| local.find(task::try_id()).map(look)).flatten()
}

/// Changes the scope of the running code.
pub(crate) fn write<R>(change: impl FnOnce(&mut Active) -> R) -> Option<R> {
    with(|local| change(local.find_or_add(task::try_id())))
}

/// Adds fields to the scope of the running code, if there are any and there is one.
pub(crate) fn enter(fields: Members) -> Option<Arc<Frame>> {
    if fields.as_bytes().is_empty() {
        return None;
    }
    write(|active| active.enter_frame(fields))
}

/// Takes the fields away again, wherever they are.
pub(crate) fn leave(frame: &Arc<Frame>) {
    with(|local| {
        let found = local.here.leave(frame) || local.lodgers.iter_mut().any(|it| it.leave(frame));
        if !found {
            // Its scope is not in force at the moment, and looks at this note when it is again.
            frame.leave();
        }
    });
}

/// A scope that code runs in.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) id: Option<CorrelationId>,
    pub(crate) trace: Option<TraceContext>,
    owner: Option<task::Id>,
    top: Option<Arc<Frame>>,
    /// How many frames from the top were entered here; those below came along and stay.
    entered: u32,
}

impl Active {
    pub(crate) const fn new(
        id: Option<CorrelationId>,
        trace: Option<TraceContext>,
        base: Option<Arc<Frame>>,
    ) -> Self {
        Self { id, trace, owner: None, top: base, entered: 0 }
    }

    const fn root(owner: Option<task::Id>) -> Self {
        Self { id: None, trace: None, owner, top: None, entered: 0 }
    }

    pub(crate) fn top(&self) -> Option<&Arc<Frame>> {
        self.top.as_ref()
    }

    fn enter_frame(&mut self, fields: Members) -> Arc<Frame> {
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

    /// Puts this scope in force until the guard is dropped, also by a panic.
    pub(crate) fn run(&mut self) -> Running<'_> {
        with(|local| {
            self.owner = task::try_id();
            mem::swap(&mut local.here, self);
        });
        Running(self)
    }
}

/// While it lives, the scope it came from is in force, and that one's place holds the scope around.
#[must_use]
pub(crate) struct Running<'a>(&'a mut Active);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        with(|local| {
            mem::swap(&mut local.here, self.0);
            if local.here.entered > 0 {
                local.here.forget_left();
            }
        });
    }
}

/// The scope of a future that adds fields to whatever scope it is polled in, and shares the IDs of
/// that scope: one that is generated inside is the whole task's.
pub(crate) fn run_sharing<R>(active: &mut Active, work: impl FnOnce() -> R) -> R {
    with(|local| {
        // Without an ID around, the task may have moved to a thread that does not know it yet.
        if let Some(around) = local.find(task::try_id()) {
            active.adopt_ids(around);
        }
    });
    let result = {
        let _running = active.run();
        work()
    };
    with(|local| {
        let me = task::try_id();
        let known = local.find(me).is_some_and(|it| it.has_ids_of(active));
        if !known && (active.id.is_some() || local.find(me).is_some()) {
            let around = local.find_or_add(me);
            around.id.clone_from(&active.id);
            around.trace.clone_from(&active.trace);
        }
    });
    result
}

impl Active {
    /// Takes over what it does not have itself.
    pub(crate) fn fill_from(&mut self, around: Scope) {
        let Self { id, trace, top, .. } = around.into_active();
        self.id = self.id.take().or(id);
        self.trace = self.trace.take().or(trace);
        self.top = self.top.take().or(top);
    }

    fn adopt_ids(&mut self, around: &Self) {
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
