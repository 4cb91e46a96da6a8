//! The current scope, in a thread-local variable.
//!
//! A scope is stored here only while its code runs on the thread; a scoped future removes its scope
//! between polls. The stored scope is tagged with its task, so that a task spawned without a scope
//! does not see another task's. No code outside this crate runs while a scope is borrowed. After
//! the variable is destroyed, when the thread exits, there is no scope and nothing fails.
//!
//! Two cells instead of one `RefCell`, because each poll of a scoped future swaps its scope in and
//! out: a swap of two words, without a borrow flag to check and set.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use tokio::task;

use crate::correlation::CorrelationId;
use crate::json_members::Members;
use crate::scope::frame::Frame;
use crate::trace_context::TraceContext;

thread_local! {
    static LOCAL: Local = const {
        Local {
            owner: Cell::new(None),
            current: Cell::new(None),
            unscoped: RefCell::new(Vec::new()),
        }
    };
}

/// The number of unscoped tasks whose state a thread keeps.
const MAX_UNSCOPED: usize = 64;

/// The scopes that this thread stores.
struct Local {
    /// The task to which `current` belongs; None for code outside of any task.
    owner: Cell<Option<task::Id>>,
    /// The current scope. Taken out while it is read or written.
    current: Cell<Option<Box<State>>>,
    /// State of tasks that were spawned without a scope, kept per task so that they cannot see each
    /// other's IDs.
    unscoped: RefCell<Vec<Active>>,
}

/// The contents of a scope.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) id: Option<CorrelationId>,
    pub(crate) trace: Option<TraceContext>,
    top: Option<Arc<Frame>>,
    /// How many frames from the top were entered in this scope; those below were inherited.
    entered: u32,
}

impl Local {
    fn read<R>(&self, read: impl FnOnce(&State) -> R) -> Option<R> {
        let task_id = task::try_id();
        if self.owner.get() == task_id {
            let state = self.current.take();
            let seen = state.as_deref().map(read);
            self.current.set(state);
            return seen;
        }
        let unscoped = self.unscoped.try_borrow().ok()?;
        unscoped.iter().find(|it| it.owner == task_id)?.state.as_deref().map(read)
    }

    fn write<R>(&self, write: impl FnOnce(&mut State) -> R) -> Option<R> {
        let task_id = task::try_id();
        if self.owner.get() == task_id {
            let mut state = self.current.take().unwrap_or_default();
            let result = write(&mut state);
            self.current.set(Some(state));
            return Some(result);
        }
        let mut unscoped = self.unscoped.try_borrow_mut().ok()?;
        let at = unscoped.iter().position(|it| it.owner == task_id).unwrap_or_else(|| {
            // The end of a task is not observable, so the oldest entry is evicted. Tasks inside a
            // context are kept, because their guards still refer to it.
            if unscoped.len() >= MAX_UNSCOPED {
                let is_evictable = |it: &Active| it.state.as_ref().is_none_or(|it| it.entered == 0);
                unscoped.iter().position(is_evictable).map(|at| unscoped.remove(at));
            }
            unscoped.push(Active { owner: task_id, state: None });
            unscoped.len() - 1
        });
        unscoped.get_mut(at).map(|it| write(it.state.get_or_insert_default()))
    }

    fn exit(&self, frame: &Arc<Frame>) -> bool {
        let mut state = self.current.take();
        let was_current = state.as_mut().is_some_and(|it| it.exit(frame));
        self.current.set(state);
        let mut exit = |it: &mut Active| it.state.as_mut().is_some_and(|it| it.exit(frame));
        was_current
            || self.unscoped.try_borrow_mut().is_ok_and(|mut it| it.iter_mut().any(&mut exit))
    }
}

/// Reads the current scope; None if there is none.
pub(crate) fn read<R>(read: impl FnOnce(&State) -> R) -> Option<R> {
    LOCAL.try_with(|local| local.read(read)).ok().flatten()
}

/// Changes the current scope, which is created if there is none; None if the thread is exiting.
pub(crate) fn write<R>(write: impl FnOnce(&mut State) -> R) -> Option<R> {
    LOCAL.try_with(|local| local.write(write)).ok().flatten()
}

/// Adds fields to the current scope; None if there are no fields or the thread is exiting.
pub(crate) fn enter(fields: Members) -> Option<Arc<Frame>> {
    if fields.as_bytes().is_empty() {
        return None;
    }
    write(|state| state.enter(fields))
}

/// Removes the fields from the scope in which they were entered.
pub(crate) fn exit(frame: &Arc<Frame>) {
    if LOCAL.try_with(|local| local.exit(frame)) == Ok(false) {
        // Their scope is not current on this thread; it removes exited frames when it next runs.
        frame.exit();
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

    /// Removes the frame. Returns whether it was entered in this scope.
    fn exit(&mut self, frame: &Arc<Frame>) -> bool {
        if self.entered == 0 {
            return false;
        }
        match &self.top {
            Some(top) if Arc::ptr_eq(top, frame) => {
                self.top = frame.outer().cloned();
                self.entered -= 1;
                true
            }
            _ => self.retain(|it| !it.is_same_context(frame)),
        }
    }

    /// Removes the frames whose guards were dropped while another scope was current.
    fn remove_exited(&mut self) {
        self.retain(|it| !it.is_exited());
    }

    /// Of the frames entered in this scope, retains those that `keep` accepts. Returns whether any
    /// was removed.
    fn retain(&mut self, keep: impl Fn(&Frame) -> bool) -> bool {
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
            self.top = Some(Arc::new(frame.rebased_on(self.top.take())));
            self.entered += 1;
        }
        true
    }

    /// Inherits what it does not have itself.
    fn fill_from(&mut self, enclosing: Self) {
        let Self { id, trace, top, .. } = enclosing;
        self.id = self.id.take().or(id);
        self.trace = self.trace.take().or(trace);
        self.top = self.top.take().or(top);
    }

    fn copy_ids_from(&mut self, enclosing: &Self) {
        if !self.has_same_ids(enclosing) {
            self.id.clone_from(&enclosing.id);
            self.trace.clone_from(&enclosing.trace);
        }
    }

    /// Like `copy_ids_from`, but keeps an ID that the enclosing scope lacks.
    fn merge_ids_from(&mut self, enclosing: &Self) {
        if enclosing.id.is_some() && self.id != enclosing.id {
            self.id.clone_from(&enclosing.id);
        }
        if enclosing.trace.is_some() && self.trace != enclosing.trace {
            self.trace.clone_from(&enclosing.trace);
        }
    }

    fn has_same_ids(&self, other: &Self) -> bool {
        self.id == other.id && self.trace == other.trace
    }
}

/// A scope in which code can run, with the task that last ran in it.
#[derive(Debug)]
pub(crate) struct Active {
    owner: Option<task::Id>,
    state: Option<Box<State>>,
}

impl Active {
    pub(crate) fn new(state: State) -> Self {
        Self { owner: None, state: Some(Box::new(state)) }
    }

    /// Inherits what it does not have itself.
    pub(crate) fn fill_from(&mut self, enclosing: Self) {
        if let Some(enclosing) = enclosing.state {
            self.state.get_or_insert_default().fill_from(*enclosing);
        }
    }

    /// Makes this the current scope until the guard is dropped, also by a panic.
    #[inline]
    pub(crate) fn run(&mut self) -> Running<'_> {
        self.remove_exited();
        self.owner = task::try_id();
        self.swap();
        Running(self)
    }

    /// Guards may have been dropped while this scope was not current.
    #[inline]
    fn remove_exited(&mut self) {
        if let Some(state) = &mut self.state
            && state.entered > 0
        {
            state.remove_exited();
        }
    }

    #[inline]
    fn swap(&mut self) {
        // If the variable is already destroyed, the code runs without a scope.
        let swapped = LOCAL.try_with(|local| {
            self.owner = local.owner.replace(self.owner);
            self.state = local.current.replace(self.state.take());
        });
        swapped.unwrap_or_default();
    }
}

/// Restores the previous scope when dropped. Meanwhile, the [`Active`] holds that scope.
#[must_use]
pub(crate) struct Running<'a>(&'a mut Active);

impl Drop for Running<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.remove_exited();
        self.0.swap();
    }
}

/// Runs `work` in the scope of a future that adds fields to the enclosing scope and shares its IDs:
/// an ID that is generated inside also applies to the enclosing scope.
pub(crate) fn run_sharing_ids<R>(active: &mut Active, work: impl FnOnce() -> R) -> R {
    inherit_ids(active);
    let result = {
        let _running = active.run();
        work()
    };
    let own = active.state.get_or_insert_default();
    // If there is no enclosing scope, create one only to hold an ID.
    let is_known = read(|enclosing| enclosing.has_same_ids(own));
    if is_known == Some(false) || (is_known.is_none() && own.id.is_some()) {
        write(|enclosing| {
            enclosing.id.clone_from(&own.id);
            enclosing.trace.clone_from(&own.trace);
        });
    }
    result
}

/// Copies the IDs of the enclosing scope.
fn inherit_ids(active: &mut Active) {
    let task_id = task::try_id();
    let is_same_task = active.owner == task_id;
    let own = active.state.get_or_insert_default();
    let taken = LOCAL.try_with(|local| {
        if local.owner.get() != task_id && is_same_task {
            // An unscoped task may have moved to a thread that has no state for it, so the IDs that
            // its future holds remain valid.
            local.read(|enclosing| own.merge_ids_from(enclosing));
        } else if local.read(|enclosing| own.copy_ids_from(enclosing)).is_none() {
            own.copy_ids_from(&State::default());
        }
    });
    taken.unwrap_or_default();
}
