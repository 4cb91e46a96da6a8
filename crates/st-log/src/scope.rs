//! Scopes: the fields and the correlation ID that every line of a unit of work carries.
//!
//! A scope belongs to a unit of work, not to a thread. It reaches code on another thread or in
//! another task only if it is passed on: by [`InScope`](crate::InScope), by
//! [`spawn`](crate::spawn()) or as a [`Scope`].

pub(crate) mod frame;
pub(crate) mod local;

use std::fmt;
use std::sync::Arc;

use crate::context::LogContext;
use crate::correlation::CorrelationId;
use crate::json_members::{Members, members};
use crate::trace_context::TraceContext;
use frame::Frame;
use local::{Active, State};

/// A snapshot of the fields and IDs of a scope, to pass to another thread or task, or to store in a
/// queue with the work and restore when the work is taken out.
#[derive(Clone, Default)]
pub struct Scope {
    id: Option<CorrelationId>,
    trace: Option<TraceContext>,
    top: Option<Arc<Frame>>,
}

impl Scope {
    /// The empty scope, for work that must not carry the fields and IDs of the code that starts it.
    pub fn root() -> Self {
        Self::default()
    }

    /// Captures the current scope.
    pub fn capture() -> Self {
        local::read(|active| Self {
            id: active.id.clone(),
            trace: active.trace.clone(),
            top: active.top().cloned(),
        })
        .unwrap_or_default()
    }

    /// Replaces the correlation ID.
    #[must_use]
    pub fn with_correlation_id(self, id: CorrelationId) -> Self {
        Self { id: Some(id), ..self }
    }

    /// Replaces the trace context.
    #[must_use]
    pub fn with_trace_context(self, trace: TraceContext) -> Self {
        Self { trace: Some(trace), ..self }
    }

    /// Adds fields; they replace existing ones with the same key.
    #[must_use]
    pub fn with_context(self, context: LogContext) -> Self {
        self.with_members(context.into_members())
    }

    pub(crate) fn with_members(self, fields: Members) -> Self {
        if fields.as_bytes().is_empty() {
            return self;
        }
        Self { top: Some(Arc::new(Frame::flat(self.top, fields))), ..self }
    }

    /// The correlation ID, if there is one. A queue on disk has to store it.
    pub fn correlation_id(&self) -> Option<&CorrelationId> {
        self.id.as_ref()
    }

    /// Runs `work` in this scope. Changes that `work` makes to it are discarded. For a future, use
    /// [`InScope::in_scope`](crate::InScope::in_scope).
    pub fn in_scope<R>(&self, work: impl FnOnce() -> R) -> R {
        let mut active = self.clone().into_active();
        let _running = active.run();
        work()
    }

    pub(crate) fn into_active(self) -> Active {
        Active::new(State::new(self.id, self.trace, self.top))
    }
}

impl fmt::Debug for Scope {
    /// The keys of the fields only: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.top.as_ref().map_or(&[][..], |it| it.members().as_bytes());
        let keys: Vec<_> = members(fields).map(|it| String::from_utf8_lossy(it.key)).collect();
        f.debug_struct("Scope")
            .field("correlation_id", &self.id)
            .field("trace_context", &self.trace)
            .field("fields", &keys)
            .finish()
    }
}
