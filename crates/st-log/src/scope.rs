//! The scope of the running code: the fields and the correlation ID that its lines carry.
//!
//! A scope belongs to a unit of work, not to a thread. Code that runs on another thread or in
//! another task has this scope only where it was taken along: by [`InScope`](crate::InScope), by
//! [`spawn`](crate::spawn) or as a [`Scope`].

pub(crate) mod local;

use crate::context::Fields;
use crate::correlation::CorrelationId;
use local::Active;

/// A snapshot of fields and correlation ID, to take along to another thread or task.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    fields: Fields,
    id: Option<CorrelationId>,
}

impl Scope {
    /// The empty scope, for work that must not look like its starter's.
    pub fn root() -> Self {
        Self::default()
    }

    /// The scope of the running code.
    pub fn capture() -> Self {
        local::read(|active| Self { fields: active.fields().clone(), id: active.id.clone() })
            .unwrap_or_default()
    }

    /// Runs `work` in this scope. What `work` changes is forgotten afterwards.
    pub fn in_scope<R>(&self, work: impl FnOnce() -> R) -> R {
        let mut active = Active::new(self.fields.clone(), self.id.clone());
        let _running = active.enter();
        work()
    }

    pub(crate) fn fields(&self) -> &Fields {
        &self.fields
    }

    pub(crate) fn id(&self) -> Option<&CorrelationId> {
        self.id.as_ref()
    }

    pub(crate) fn with_id(mut self, id: CorrelationId) -> Self {
        self.id = Some(id);
        self
    }

    pub(crate) fn with_inner(mut self, inner: &Fields) -> Self {
        self.fields = self.fields.merged(inner);
        self
    }
}
