//! Contexts: sets of fields that every line of a scope carries.
//!
//! A context is encoded as JSON when it is built, so that a line only copies the text. Entered
//! fields are immutable; entering an inner context creates a new, merged text, so that a line does
//! not have to walk the enclosing scopes.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::json_members::{Members, members};
use crate::scope::frame::Frame;
use crate::scope::local;
use crate::value::ToValue;

/// Fields that every log line within a scope carries in `extra`.
///
/// Scopes nest: while an inner scope lasts, its fields replace outer ones with the same key. In a
/// line, outer fields come before inner ones.
#[derive(Clone, Default)]
pub struct LogContext {
    members: Members,
}

impl LogContext {
    /// Creates a context without fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field; it replaces an earlier one with the same key.
    #[must_use]
    pub fn field(mut self, key: &str, value: impl ToValue) -> Self {
        self.members.put(key, &value.to_value());
        self
    }

    /// Adds the fields to the current scope until the guard is dropped.
    ///
    /// For code that does not await; for a future, use [`InScope::in_context`](crate::InScope).
    pub fn enter(self) -> ContextGuard {
        ContextGuard { entered: local::enter(self.members), not_send: PhantomData }
    }

    pub(crate) fn into_members(self) -> Members {
        self.members
    }
}

impl fmt::Debug for LogContext {
    /// Prints the keys only, because values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = members(self.members.as_bytes()).map(|it| String::from_utf8_lossy(it.key));
        f.write_str("LogContext ")?;
        f.debug_list().entries(keys).finish()
    }
}

/// Ends the scope of [`LogContext::enter`] when it is dropped.
///
/// Guards may be dropped in any order: each removes exactly its own fields. A guard held across an
/// `.await` would add its fields to lines of other tasks on the thread, so it is not [`Send`], and
/// a future that holds one cannot be spawned:
///
/// ```compile_fail
/// st_log::spawn(async {
///     let _fields = st_log::LogContext::new().field("job_id", "xyz789").enter();
///     tokio::task::yield_now().await;
/// });
/// ```
#[derive(Debug)]
#[must_use = "the fields are taken away when the guard is dropped"]
pub struct ContextGuard {
    /// None if nothing was entered, because there are no fields or the thread is exiting.
    entered: Option<Arc<Frame>>,
    not_send: PhantomData<*const ()>,
}

impl Drop for ContextGuard {
    fn drop(&mut self) {
        if let Some(frame) = self.entered.take() {
            local::exit(&frame);
        }
    }
}
