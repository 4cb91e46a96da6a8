//! Where the scope of the running code lies: a thread-local variable.
//!
//! It lies there only while its work runs on the thread; a future takes its scope away between
//! polls. A task that nobody wrapped sees no other task's scope, because what lies here is marked
//! with its owner. Nothing here runs foreign code while the variable is borrowed, and nothing fails
//! where the variable is gone already, in a thread that ends: then there is no scope.

use std::cell::RefCell;
use std::mem;
use std::sync::Weak;

use tokio::task;

use crate::context::Fields;
use crate::correlation::CorrelationId;

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
    fn find(&self) -> Option<&Active> {
        let me = task::try_id();
        if self.here.owner == me {
            return Some(&self.here);
        }
        self.lodgers.iter().find(|it| it.owner == me)
    }

    fn find_or_add(&mut self) -> &mut Active {
        let me = task::try_id();
        if self.here.owner == me {
            return &mut self.here;
        }
        let at = self.lodgers.iter().position(|it| it.owner == me).unwrap_or_else(|| {
            // Nobody says when a task ends. One that waits inside a context comes back for it; the
            // others lose at most an ID that nobody gave them.
            self.lodgers.retain(|it| !it.frames.is_empty());
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
    with(|local| local.find().map(look)).flatten()
}

/// Changes the scope of the running code.
pub(crate) fn write<R>(change: impl FnOnce(&mut Active) -> R) -> Option<R> {
    with(|local| change(local.find_or_add()))
}

pub(crate) fn push(mut frame: Frame) {
    write(|active| {
        frame.merged = active.fields().merged(&frame.own);
        active.frames.push(frame);
    });
}

/// Ends every context here whose guard is gone.
pub(crate) fn forget_left_frames() {
    with(|local| {
        local.here.forget_left_frames();
        local.lodgers.iter_mut().for_each(Active::forget_left_frames);
    });
}

/// A scope that code runs in.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) id: Option<CorrelationId>,
    owner: Option<task::Id>,
    base: Fields,
    frames: Vec<Frame>,
}

/// One entered context, until its guard is gone.
#[derive(Debug)]
pub(crate) struct Frame {
    guard: Weak<()>,
    own: Fields,
    merged: Fields,
}

impl Frame {
    pub(crate) fn new(guard: Weak<()>, own: Fields) -> Self {
        Self { guard, own, merged: Fields::NONE }
    }
}

impl Active {
    pub(crate) fn new(base: Fields, id: Option<CorrelationId>) -> Self {
        Self { id, owner: None, base, frames: Vec::new() }
    }

    const fn root(owner: Option<task::Id>) -> Self {
        Self { id: None, owner, base: Fields::NONE, frames: Vec::new() }
    }

    pub(crate) fn fields(&self) -> &Fields {
        self.frames.last().map_or(&self.base, |frame| &frame.merged)
    }

    pub(crate) fn set_base(&mut self, base: Fields) {
        self.base = base;
    }

    /// Puts this scope in force until the guard is dropped, also by a panic.
    pub(crate) fn enter(&mut self) -> Running<'_> {
        self.owner = task::try_id();
        with(|local| mem::swap(&mut local.here, self));
        Running(self)
    }

    fn forget_left_frames(&mut self) {
        let before = self.frames.len();
        while self.frames.pop_if(|last| last.is_left()).is_some() {}
        self.frames.retain(|frame| !frame.is_left());
        if self.frames.len() == before {
            return;
        }
        let mut merged = self.base.clone();
        for frame in &mut self.frames {
            merged = merged.merged(&frame.own);
            frame.merged = merged.clone();
        }
    }
}

impl Frame {
    fn is_left(&self) -> bool {
        self.guard.strong_count() == 0
    }
}

/// While it lives, the scope it came from is in force, and that one's place holds the scope around.
#[must_use]
pub(crate) struct Running<'a>(&'a mut Active);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        with(|local| {
            mem::swap(&mut local.here, self.0);
            // A guard may have been dropped while its scope was not here.
            local.here.forget_left_frames();
        });
    }
}
