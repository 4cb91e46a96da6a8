//! Futures that take their scope along.
//!
//! The scope is put in force when the future is polled and taken out after, so it follows the
//! future from thread to thread and touches nothing else that runs there. It is also in force while
//! the future is dropped, because destructors log too.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::context::LogContext;
use crate::correlation::CorrelationId;
use crate::members::Members;
use crate::scope::Scope;
use crate::scope::local::{self, Active};
use crate::trace_context::TraceContext;

/// Gives a future a scope of its own.
pub trait InScope: Future + Sized {
    /// Every line of the future carries these fields, besides those of the scope it is polled in.
    ///
    /// The correlation ID stays that of the scope around, also when the future sets it.
    fn in_context(self, context: LogContext) -> Scoped<Self> {
        Scoped::new(self, Carried::Fields(context.into_members()), Scope::root())
    }

    /// Every line of the future carries this ID and the fields of the scope it is polled in.
    fn with_correlation_id(self, id: CorrelationId) -> Scoped<Self> {
        Scoped::new(self, Carried::Ids, Scope::root().with_correlation_id(id))
    }

    /// Every line of the future belongs to this trace; the rest is that of the scope it is polled
    /// in.
    fn with_trace_context(self, trace: TraceContext) -> Scoped<Self> {
        Scoped::new(self, Carried::Ids, Scope::root().with_trace_context(trace))
    }

    /// Every line of the future carries what a line would carry here and now, wherever it runs.
    fn in_current_scope(self) -> Scoped<Self> {
        self.in_scope(Scope::capture())
    }

    /// Every line of the future carries what this scope carries, wherever it runs.
    fn in_scope(self, scope: Scope) -> Scoped<Self> {
        Scoped::new(self, Carried::Everything, scope)
    }
}

impl<F: Future> InScope for F {}

pin_project! {
    /// A future in a scope of its own; see [`InScope`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Scoped<F> {
        // Only a drop empties it: what the future holds is dropped within its scope.
        #[pin]
        future: Option<F>,
        scope: OwnScope,
    }

    impl<F> PinnedDrop for Scoped<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            this.scope.run(|| this.future.set(None));
        }
    }
}

impl<F> Scoped<F> {
    fn new(future: F, carried: Carried, scope: Scope) -> Self {
        let scope = OwnScope { carried, active: scope.into_active() };
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
struct OwnScope {
    carried: Carried,
    active: Active,
}

/// What a future brings; the rest comes from the scope in which it is first polled.
#[derive(Debug)]
enum Carried {
    /// These fields, not yet put on top of those around.
    Fields(Members),
    /// Fields that are in the scope already, and whatever IDs there are around.
    FieldsInScope,
    /// IDs, and the fields around have not been taken over yet.
    Ids,
    /// All that there is; nothing comes from around any more.
    Everything,
}

impl OwnScope {
    fn run<R>(&mut self, work: impl FnOnce() -> R) -> R {
        match self.carried {
            Carried::Everything => {
                let _running = self.active.run();
                work()
            }
            Carried::FieldsInScope => local::run_sharing(&mut self.active, work),
            Carried::Fields(_) | Carried::Ids => {
                self.begin();
                self.run(work)
            }
        }
    }

    fn begin(&mut self) {
        let around = Scope::capture();
        match mem::replace(&mut self.carried, Carried::Everything) {
            Carried::Fields(fields) => {
                self.active = around.with_members(fields).into_active();
                self.carried = Carried::FieldsInScope;
            }
            Carried::Ids => self.active.fill_from(around.into_active()),
            Carried::FieldsInScope | Carried::Everything => {}
        }
    }
}
