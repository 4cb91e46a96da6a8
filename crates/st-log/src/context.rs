//! Fields for every line of a scope.
//!
//! A context is plain data until it is entered. What is entered never changes: an inner scope is a
//! new, merged list, so a line needs no look at the scopes around it.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::scope::local::{self, Frame};
use crate::value::Value;

/// Fields that every log line within a scope carries in `extra`.
///
/// Scopes nest: a key set again by an inner scope replaces the outer one for as long as the inner
/// scope lasts, and keeps its place.
#[derive(Debug, Clone, Default)]
pub struct LogContext {
    fields: Fields,
}

impl LogContext {
    /// Without fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one field more; a key given twice has its last value.
    #[must_use]
    pub fn field(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        let fields = self.fields.0.get_or_insert_default();
        put(Arc::make_mut(fields), key, value.into());
        self
    }

    /// Adds the fields to the current scope until the guard is dropped.
    ///
    /// For code that does not await; a future takes [`InScope::in_context`](crate::InScope).
    pub fn enter(self) -> ContextGuard {
        let entered = Arc::new(());
        local::push(Frame::new(Arc::downgrade(&entered), self.fields));
        ContextGuard { entered: Some(entered), stays_on_its_thread: PhantomData }
    }

    pub(crate) fn fields(&self) -> &Fields {
        &self.fields
    }
}

/// Ends the scope of [`LogContext::enter`] when it is dropped.
///
/// Guards may be dropped in any order: each takes exactly its own fields away.
#[derive(Debug)]
#[must_use = "the fields are taken away when the guard is dropped"]
pub struct ContextGuard {
    entered: Option<Arc<()>>,
    // A guard held across an await would put its fields on whatever task runs next on the thread,
    // so it keeps such a future from being spawned.
    stays_on_its_thread: PhantomData<*const ()>,
}

impl Drop for ContextGuard {
    fn drop(&mut self) {
        drop(self.entered.take());
        local::forget_left_frames();
    }
}

/// Merged fields: each key once, in the order of first insertion.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields(Option<Arc<Vec<(&'static str, Value)>>>);

impl Fields {
    pub(crate) const NONE: Self = Self(None);

    pub(crate) fn as_slice(&self) -> &[(&'static str, Value)] {
        self.0.as_ref().map_or(&[], |fields| fields.as_slice())
    }

    /// These, with those of an inner scope.
    pub(crate) fn merged(&self, inner: &Self) -> Self {
        let (Some(outer), Some(inner)) = (&self.0, &inner.0) else {
            return if inner.0.is_some() { inner.clone() } else { self.clone() };
        };
        let mut fields = Vec::with_capacity(outer.len() + inner.len());
        fields.extend_from_slice(outer);
        for (key, value) in inner.iter() {
            put(&mut fields, key, value.clone());
        }
        Self(Some(Arc::new(fields)))
    }
}

/// Sets a field that may be there already.
pub(crate) fn put(fields: &mut Vec<(&'static str, Value)>, key: &'static str, value: Value) {
    match fields.iter_mut().find(|(known, _)| *known == key) {
        Some((_, old)) => *old = value,
        None => fields.push((key, value)),
    }
}
