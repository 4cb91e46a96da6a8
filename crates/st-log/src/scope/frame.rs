//! One entered context: its fields merged with those of all enclosing scopes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::json_members::Members;
use crate::redact::Redaction;

/// Immutable except for two atomics, so that scopes can share it.
#[derive(Debug)]
pub(crate) struct Frame {
    /// The frame that becomes the top when this one is exited.
    outer: Option<Arc<Self>>,
    merged: Members,
    /// The offset of its own fields in the merged text.
    own_start: usize,
    own_mask: u64,
    /// The frame that the guard refers to, if this one is a copy on top of other frames.
    original: Option<Arc<Self>>,
    /// The guard was dropped while another scope was current, so this frame is to be removed.
    exited: AtomicBool,
    /// The ID of the redaction that found no secret here, so that it need not search at every line.
    clean_for: AtomicU32,
}

impl Frame {
    pub(crate) fn new(outer: Option<Arc<Self>>, own: Members) -> Self {
        let own_mask = own.mask();
        let (merged, own_start) = match &outer {
            None => (own, 0),
            Some(outer) => outer.merged.with_inner(own.as_bytes(), own_mask),
        };
        Self {
            outer,
            merged,
            own_start,
            own_mask,
            original: None,
            exited: AtomicBool::new(false),
            clean_for: AtomicU32::new(0),
        }
    }

    /// Creates a frame that does not retain the outer one, for a scope that is never exited frame
    /// by frame. Deeply nested scopes then do not form a chain.
    pub(crate) fn flat(outer: Option<Arc<Self>>, own: Members) -> Self {
        Self { outer: None, ..Self::new(outer, own) }
    }

    pub(crate) fn outer(&self) -> Option<&Arc<Self>> {
        self.outer.as_ref()
    }

    pub(crate) fn members(&self) -> &Members {
        &self.merged
    }

    pub(crate) fn exit(&self) {
        self.exited.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_exited(&self) -> bool {
        self.original().exited.load(Ordering::Relaxed)
    }

    /// Whether both frames were created by entering the same context.
    pub(crate) fn is_same_context(&self, other: &Self) -> bool {
        std::ptr::eq(self.original(), other.original())
    }

    fn original(&self) -> &Self {
        self.original.as_deref().unwrap_or(self)
    }

    /// Creates a copy of this context on top of other frames.
    pub(crate) fn rebased_on(self: &Arc<Self>, outer: Option<Arc<Self>>) -> Self {
        let own = self.merged.as_bytes().get(self.own_start..).unwrap_or_default();
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
