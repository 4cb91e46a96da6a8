//! One entered context: the fields of a scope with those of all scopes around it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::members::Members;
use crate::redact::Redaction;

/// Immutable but for two notes, so scopes share it freely.
#[derive(Debug)]
pub(crate) struct Frame {
    /// The frame that was in force before.
    outer: Option<Arc<Self>>,
    merged: Members,
    /// Where in the merged text its own fields begin.
    own_at: usize,
    own_mask: u64,
    /// The frame that the guard knows, where this is the same context on top of others.
    original: Option<Arc<Self>>,
    /// Its guard was dropped while another scope was in force: to be left out from now on.
    left: AtomicBool,
    /// The redaction that found no secret here; looking again would cost every line.
    clean_for: AtomicU32,
}

impl Frame {
    pub(crate) fn new(outer: Option<Arc<Self>>, own: Members) -> Self {
        let own_mask = own.mask();
        let (merged, own_at) = match &outer {
            None => (own, 0),
            Some(outer) => outer.merged.with_inner(own.as_bytes(), own_mask),
        };
        Self {
            outer,
            merged,
            own_at,
            own_mask,
            original: None,
            left: AtomicBool::new(false),
            clean_for: AtomicU32::new(0),
        }
    }

    /// Without a way back to what was in force before, for a scope that nobody leaves step by step:
    /// however deep such scopes are, each stands for itself.
    pub(crate) fn flat(outer: Option<Arc<Self>>, own: Members) -> Self {
        Self { outer: None, ..Self::new(outer, own) }
    }

    pub(crate) fn outer(&self) -> Option<&Arc<Self>> {
        self.outer.as_ref()
    }

    pub(crate) fn members(&self) -> &Members {
        &self.merged
    }

    pub(crate) fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_left(&self) -> bool {
        self.original().left.load(Ordering::Relaxed)
    }

    /// Whether this is the context that the other one was entered as.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        std::ptr::eq(self.original(), other.original())
    }

    fn original(&self) -> &Self {
        self.original.as_deref().unwrap_or(self)
    }

    /// The same context on top of others.
    pub(crate) fn on(self: &Arc<Self>, outer: Option<Arc<Self>>) -> Self {
        let own = self.merged.as_bytes().get(self.own_at..).unwrap_or_default();
        let (own, _) = Members::default().with_inner(own, self.own_mask);
        let original = self.original.as_ref().unwrap_or(self);
        Self { original: Some(Arc::clone(original)), ..Self::new(outer, own) }
    }

    pub(crate) fn is_clean(&self, redaction: &Redaction) -> bool {
        if self.clean_for.load(Ordering::Relaxed) == redaction.id() {
            return true;
        }
        let clean = redaction.is_clean(self.merged.as_bytes());
        if clean {
            self.clean_for.store(redaction.id(), Ordering::Relaxed);
        }
        clean
    }
}
