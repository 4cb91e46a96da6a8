//! Futures that carry a scope.
//!
//! The scope is current only while the future is polled, so it follows the future from thread to
//! thread and does not affect other code there. It is also current while the future is dropped,
//! because destructors may log.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::context::LogContext;
use crate::correlation::CorrelationId;
use crate::json_members::Members;
use crate::scope::Scope;
use crate::scope::local::{self, Active};
use crate::trace_context::TraceContext;

/// Runs a future in a scope of its own.
pub trait InScope: Future + Sized {
    /// Adds these fields to every line of the future, on top of those of the scope it is
    /// first polled in.
    ///
    /// The correlation ID is shared with the enclosing scope: one that the future sets applies to
    /// both.
    fn in_context(self, context: LogContext) -> Scoped<Self> {
        Scoped::new(self, Supplied::Fields(context.into_members()), Scope::root())
    }

    /// Gives every line of the future this ID, and the fields of the scope it is first polled in.
    fn with_correlation_id(self, id: CorrelationId) -> Scoped<Self> {
        Scoped::new(self, Supplied::Ids, Scope::root().with_correlation_id(id))
    }

    /// Gives every line of the future this trace context; fields and correlation ID come from the
    /// scope it is first polled in.
    fn with_trace_context(self, trace: TraceContext) -> Scoped<Self> {
        Scoped::new(self, Supplied::Ids, Scope::root().with_trace_context(trace))
    }

    /// Runs the future in a snapshot of the current scope, on whatever thread it is polled.
    fn in_current_scope(self) -> Scoped<Self> {
        self.in_scope(Scope::capture())
    }

    /// Runs the future in this scope, on whatever thread it is polled.
    fn in_scope(self, scope: Scope) -> Scoped<Self> {
        Scoped::new(self, Supplied::Everything, scope)
    }
}

impl<F: Future> InScope for F {}

pin_project! {
    /// A future that runs in a scope of its own; see [`InScope`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Scoped<F> {
        // None only during the drop, so that the future's values are dropped within its scope.
        #[pin]
        future: Option<F>,
        scope: FutureScope,
    }

    impl<F> PinnedDrop for Scoped<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            this.scope.run(|| this.future.set(None));
        }
    }
}

impl<F> Scoped<F> {
    fn new(future: F, supplied: Supplied, scope: Scope) -> Self {
        let scope = FutureScope { supplied, active: scope.into_active() };
        Self { future: Some(future), scope }
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(future) = this.future.as_pin_mut() else { return Poll::Pending };
        this.scope.run(|| future.poll(cx))
    }
}

#[derive(Debug)]
struct FutureScope {
    supplied: Supplied,
    active: Active,
}

/// What the future itself supplies; the rest comes from the scope in which it is first polled.
#[derive(Debug)]
enum Supplied {
    /// Fields that are not yet merged with those of the enclosing scope.
    Fields(Members),
    /// Fields that are merged already; the IDs are shared with the enclosing scope.
    MergedFields,
    /// IDs; the fields of the enclosing scope are not yet inherited.
    Ids,
    /// Everything; nothing is inherited any more.
    Everything,
}

impl FutureScope {
    fn run<R>(&mut self, work: impl FnOnce() -> R) -> R {
        match self.supplied {
            Supplied::Everything => {
                let _running = self.active.run();
                work()
            }
            Supplied::MergedFields => local::run_sharing_ids(&mut self.active, work),
            Supplied::Fields(_) | Supplied::Ids => {
                self.begin();
                self.run(work)
            }
        }
    }

    fn begin(&mut self) {
        let enclosing = Scope::capture();
        match mem::replace(&mut self.supplied, Supplied::Everything) {
            Supplied::Fields(fields) => {
                self.active = enclosing.with_members(fields).into_active();
                self.supplied = Supplied::MergedFields;
            }
            Supplied::Ids => self.active.fill_from(enclosing.into_active()),
            Supplied::MergedFields | Supplied::Everything => {}
        }
    }
}
