//! Futures that take their scope along.
//!
//! The scope is put in force when the future is polled and taken out after, so it follows the
//! future from thread to thread and touches nothing else that runs there. It is also in force while
//! the future is dropped, because destructors log too.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::context::{Fields, LogContext};
use crate::correlation::{self, CorrelationId};
use crate::scope::Scope;
use crate::scope::local::Active;

/// Gives a future a scope of its own.
pub trait InScope: Future + Sized {
    /// Every line of the future carries these fields, besides those of the scope it is polled in.
    ///
    /// The correlation ID stays that of the scope around, also when the future sets it.
    fn in_context(self, context: LogContext) -> Scoped<Self> {
        Scoped::new(self, Carried::Context(context), None)
    }

    /// Every line of the future carries this ID and the fields of the scope it is polled in.
    fn with_correlation_id(self, id: CorrelationId) -> Scoped<Self> {
        Scoped::new(self, Carried::Id, Some(id))
    }

    /// Every line of the future carries what a line would carry here and now, wherever it runs.
    fn in_current_scope(self) -> Scoped<Self> {
        let scope = Scope::capture();
        let mut scoped = Scoped::new(self, Carried::Scope, scope.id().cloned());
        scoped.scope.active.set_base(scope.fields().clone());
        scoped
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
    fn new(future: F, carried: Carried, id: Option<CorrelationId>) -> Self {
        let active = Active::new(Fields::NONE, id);
        Self { future: Some(future), scope: OwnScope { carried, active, begun: false } }
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

/// What a future brings; the rest comes from the scope in which it is first polled.
#[derive(Debug)]
enum Carried {
    Context(LogContext),
    Id,
    Scope,
}

#[derive(Debug)]
struct OwnScope {
    carried: Carried,
    active: Active,
    begun: bool,
}

impl OwnScope {
    fn run<R>(&mut self, work: impl FnOnce() -> R) -> R {
        self.begin();
        // Without an ID around, the task may have moved to a thread that does not know it yet.
        if self.shares_id()
            && let Some(around) = correlation::current_correlation_id()
        {
            self.active.id = Some(around);
        }
        let result = {
            let _running = self.active.enter();
            work()
        };
        if self.shares_id() {
            correlation::set_id(self.active.id.clone());
        }
        result
    }

    fn begin(&mut self) {
        if self.begun {
            return;
        }
        self.begun = true;
        match &self.carried {
            Carried::Context(context) => {
                let around = Scope::capture().with_inner(context.fields());
                self.active.set_base(around.fields().clone());
            }
            Carried::Id => self.active.set_base(Scope::capture().fields().clone()),
            Carried::Scope => {}
        }
    }

    /// An ID that is generated inside a context is the whole task's.
    fn shares_id(&self) -> bool {
        matches!(self.carried, Carried::Context(_))
    }
}
