//! Fields for every line of a scope.
//!
//! A context is written down as JSON when it is built, not when a line is logged: a line only
//! copies it. What is entered never changes; an inner scope is a new, merged text, so a line needs
//! no look at the scopes around it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::members::{Members, members};
use crate::scope::frame::Frame;
use crate::scope::local;
use crate::value::ToValue;

/// Fields that every log line within a scope carries in `extra`.
///
/// Scopes nest: a key set again by an inner scope replaces the outer one for as long as the inner
/// scope lasts. The order in a line is outer before inner.
#[derive(Clone, Default)]
pub struct LogContext {
    members: Members,
}

impl LogContext {
    /// Without fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one field more; a key given twice has its last value.
    #[must_use]
    pub fn field(mut self, key: &str, value: impl ToValue) -> Self {
        self.members.put(key, &value.to_value());
        self
    }

    /// Adds the fields to the current scope until the guard is dropped.
    ///
    /// For code that does not await; a future takes [`InScope::in_context`](crate::InScope).
    pub fn enter(self) -> ContextGuard {
        ContextGuard { entered: local::enter(self.members), stays_on_its_thread: PhantomData }
    }

    pub(crate) fn into_members(self) -> Members {
        self.members
    }
}

impl fmt::Debug for LogContext {
    /// The keys only: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = members(self.members.as_bytes()).map(|it| String::from_utf8_lossy(it.key));
        f.write_str("LogContext ")?;
        f.debug_list().entries(keys).finish()
    }
}

/// Ends the scope of [`LogContext::enter`] when it is dropped.
///
/// Guards may be dropped in any order: each takes exactly its own fields away. One that is held
/// across an `.await` would put its fields on whatever else runs on the thread meanwhile, so the
/// future that does it cannot be spawned:
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
    /// None where there was nothing to enter: no field, or a thread at its very end.
    entered: Option<Arc<Frame>>,
    stays_on_its_thread: PhantomData<*const ()>,
}

impl Drop for ContextGuard {
    fn drop(&mut self) {
        if let Some(frame) = self.entered.take() {
            local::leave(&frame);
        }
    }
}
