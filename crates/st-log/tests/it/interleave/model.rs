//! Random sequences of scope operations on one thread, compared with a simple model: a list of
//! fields and an ID for each scope.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use st_log::{ContextGuard, CorrelationId, InScope as _, LogContext, Scope, Settings};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt as _;

use super::LOG;

#[derive(Debug, Clone)]
enum Step {
    Enter(&'static str),
    /// Drops one of the remaining guards.
    Leave(usize),
    SetId,
    ClearId,
    GetId,
    Capture,
    InCaptured(usize, Vec<Self>),
    InRoot(Vec<Self>),
    WithId(Vec<Self>),
    Future(Kind),
    Poll(usize, Vec<Self>),
    DropFuture(usize),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    InContext(&'static str),
    WithId,
    InCurrentScope,
    InRoot,
}

/// The expected state of a scope.
#[derive(Debug, Clone, Default)]
struct Model {
    id: Option<String>,
    /// Outermost first, with the number of the guard that removes it.
    fields: Vec<(Option<usize>, &'static str, usize)>,
}

impl Model {
    /// A captured scope keeps its fields when their guards are dropped.
    fn taken_along(&self) -> Self {
        let fields = self.fields.iter().map(|(_, key, value)| (None, *key, *value)).collect();
        Self { id: self.id.clone(), fields }
    }

    fn with(mut self, guard: Option<usize>, key: &'static str, value: usize) -> Self {
        self.fields.push((guard, key, value));
        self
    }

    fn merged(&self) -> BTreeMap<&'static str, usize> {
        self.fields.iter().map(|(_, key, value)| (*key, *value)).collect()
    }
}

type Steps = Rc<RefCell<Vec<Step>>>;

struct Parked {
    kind: Kind,
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// The operations to run at the next poll.
    next: Steps,
    /// None until the first poll.
    model: Option<Model>,
    id: Option<String>,
    value: usize,
}

/// The model and the real scopes.
struct World {
    guards: RefCell<Vec<(usize, ContextGuard)>>,
    captured: RefCell<Vec<(Scope, Model)>>,
    futures: RefCell<Vec<Rc<RefCell<Parked>>>>,
    /// The active scopes, innermost last.
    stack: RefCell<Vec<Model>>,
    next: Cell<usize>,
    line: Arc<Mutex<Vec<u8>>>,
}

impl World {
    fn number(&self) -> usize {
        self.next.set(self.next.get() + 1);
        self.next.get()
    }

    fn id(&self) -> CorrelationId {
        let padding = if self.next.get().is_multiple_of(2) { "-too-long-to-be-inline" } else { "" };
        format!("id-{}{padding}", self.number()).parse().unwrap()
    }

    fn here<R>(&self, look: impl FnOnce(&mut Model) -> R) -> R {
        look(self.stack.borrow_mut().last_mut().unwrap())
    }

    fn within(&self, model: Model, work: impl FnOnce()) -> Model {
        self.stack.borrow_mut().push(model);
        work();
        self.stack.borrow_mut().pop().unwrap()
    }

    fn check(&self) {
        let record = {
            st_log::info!(logger: LOG, "x");
            let line = std::mem::take(&mut *self.line.lock().unwrap());
            serde_json::from_slice::<serde_json::Value>(&line).unwrap()
        };
        let expected = self.here(|it| it.clone());
        let fields = record.get("extra").cloned().unwrap_or(serde_json::json!({}));
        assert_eq!(fields, serde_json::json!(expected.merged()));
        let id = st_log::current_correlation_id().map(|it| it.to_string());
        assert_eq!(id, expected.id);
    }

    fn run(self: &Rc<Self>, steps: Vec<Step>) {
        self.check();
        for step in steps {
            self.step(step);
            self.check();
        }
    }

    fn step(self: &Rc<Self>, step: Step) {
        match step {
            Step::Enter(key) => {
                let (guard, value) = (self.number(), self.number());
                self.guards.borrow_mut().push((guard, LogContext::new().field(key, value).enter()));
                self.here(|it| it.fields.push((Some(guard), key, value)));
            }
            Step::Leave(at) => self.leave(at),
            Step::SetId => {
                let id = self.id();
                self.here(|it| it.id = Some(id.to_string()));
                st_log::set_correlation_id(id);
            }
            Step::ClearId => {
                self.here(|it| it.id = None);
                st_log::clear_correlation_id();
            }
            Step::GetId => {
                let id = st_log::get_correlation_id().to_string();
                self.here(|it| assert_eq!(*it.id.get_or_insert(id.clone()), id));
            }
            Step::Capture => {
                let model = self.here(|it| it.taken_along());
                self.captured.borrow_mut().push((Scope::capture(), model));
            }
            Step::InCaptured(at, steps) => {
                let captured = self.captured.borrow();
                let Some((scope, model)) = captured.get(at % captured.len().max(1)).cloned() else {
                    return;
                };
                drop(captured);
                self.within(model, || scope.in_scope(|| self.run(steps)));
            }
            Step::InRoot(steps) => {
                self.within(Model::default(), || Scope::root().in_scope(|| self.run(steps)));
            }
            Step::WithId(steps) => {
                let id = self.id();
                let around = self.here(|it| it.taken_along());
                let model = Model { id: Some(id.to_string()), ..around };
                self.within(model, || st_log::with_correlation_id(id, || self.run(steps)));
            }
            Step::Future(kind) => self.make(kind),
            Step::Poll(at, steps) => self.poll(at, steps),
            Step::DropFuture(at) => self.drop_future(at),
        }
    }

    fn leave(&self, at: usize) {
        let mut guards = self.guards.borrow_mut();
        if guards.is_empty() {
            return;
        }
        let at = at % guards.len();
        let (number, guard) = guards.remove(at);
        drop(guard);
        let forget = |it: &mut Model| it.fields.retain(|(guard, ..)| *guard != Some(number));
        self.stack.borrow_mut().iter_mut().for_each(forget);
        for parked in self.futures.borrow().iter() {
            // A future that is being polled is on the stack.
            if let Ok(mut parked) = parked.try_borrow_mut() {
                parked.model.iter_mut().for_each(forget);
            }
        }
    }

    fn make(self: &Rc<Self>, kind: Kind) {
        let next = Steps::default();
        let world = Rc::clone(self);
        let steps = Rc::clone(&next);
        let last = Last(Rc::clone(self));
        let work = poll_fn(move |_| {
            let _held = &last;
            world.run(steps.take());
            Poll::Pending
        });
        let (id, value) = (self.id(), self.number());
        let mut parked = Parked {
            kind,
            future: None,
            next,
            model: None,
            id: (kind == Kind::WithId).then(|| id.to_string()),
            value,
        };
        parked.future = Some(match kind {
            Kind::InContext(key) => Box::pin(work.in_context(LogContext::new().field(key, value))),
            Kind::WithId => Box::pin(work.with_correlation_id(id)),
            Kind::InCurrentScope => {
                parked.model = Some(self.here(|it| it.taken_along()));
                Box::pin(work.in_current_scope())
            }
            Kind::InRoot => {
                parked.model = Some(Model::default());
                Box::pin(work.in_scope(Scope::root()))
            }
        });
        self.futures.borrow_mut().push(Rc::new(RefCell::new(parked)));
    }

    fn poll(self: &Rc<Self>, at: usize, steps: Vec<Step>) {
        let futures = self.futures.borrow();
        let Some(parked) = futures.get(at % futures.len().max(1)).cloned() else { return };
        drop(futures);
        // A future that is being polled cannot poll itself.
        let Ok(mut parked) = parked.try_borrow_mut() else { return };
        parked.next.replace(steps);
        self.in_force(&mut parked, |future| {
            let mut cx = Context::from_waker(Waker::noop());
            assert!(future.as_mut().unwrap().as_mut().poll(&mut cx).is_pending());
        });
    }

    fn drop_future(self: &Rc<Self>, at: usize) {
        let mut futures = self.futures.borrow_mut();
        if futures.is_empty() {
            return;
        }
        let at = at % futures.len();
        if futures[at].try_borrow_mut().is_err() {
            return;
        }
        let parked = futures.remove(at);
        drop(futures);
        let mut parked = parked.borrow_mut();
        self.in_force(&mut parked, |future| *future = None);
    }

    /// Runs `work` with the future while its scope is active.
    fn in_force(
        &self,
        parked: &mut Parked,
        work: impl FnOnce(&mut Option<Pin<Box<dyn Future<Output = ()>>>>),
    ) {
        let around = self.here(|it| it.taken_along());
        let mut model = parked.model.take().unwrap_or_else(|| match parked.kind {
            Kind::InContext(key) => around.clone().with(None, key, parked.value),
            Kind::WithId => Model { id: parked.id.clone(), ..around.clone() },
            Kind::InCurrentScope | Kind::InRoot => panic!("these have one from the start"),
        });
        let shares = matches!(parked.kind, Kind::InContext(_));
        if shares {
            model.id = around.id;
        }
        let model = self.within(model, || work(&mut parked.future));
        if shares {
            self.here(|it| it.id.clone_from(&model.id));
        }
        parked.model = Some(model);
    }
}

/// Checks the scope when its future is dropped.
struct Last(Rc<World>);

impl Drop for Last {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.0.check();
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || prop::sample::select(&["a", "b", "c"][..]);
    let kind = prop_oneof![
        key().prop_map(Kind::InContext),
        Just(Kind::WithId),
        Just(Kind::InCurrentScope),
        Just(Kind::InRoot),
    ];
    let leaf = prop_oneof![
        4 => key().prop_map(Step::Enter),
        3 => (0..8_usize).prop_map(Step::Leave),
        1 => Just(Step::SetId),
        1 => Just(Step::ClearId),
        1 => Just(Step::GetId),
        1 => Just(Step::Capture),
        2 => kind.prop_map(Step::Future),
        1 => (0..8_usize).prop_map(Step::DropFuture),
    ];
    let tree = leaf.prop_recursive(4, 64, 6, |inner| {
        let inner = || prop::collection::vec(inner.clone(), 0..6);
        prop_oneof![
            1 => ((0..8_usize), inner()).prop_map(|(at, steps)| Step::InCaptured(at, steps)),
            1 => inner().prop_map(Step::InRoot),
            1 => inner().prop_map(Step::WithId),
            3 => ((0..8_usize), inner()).prop_map(|(at, steps)| Step::Poll(at, steps)),
        ]
    });
    prop::collection::vec(tree, 0..20)
}

fn beside_the_model(steps: Vec<Step>) {
    let line = Arc::new(Mutex::new(Vec::new()));
    let last = Arc::clone(&line);
    let layer = st_log::layer(&Settings::default(), move |line| {
        *last.lock().unwrap() = line.to_vec();
    });
    tracing::subscriber::with_default(Registry::default().with(layer), || {
        let world = Rc::new(World {
            guards: RefCell::default(),
            captured: RefCell::default(),
            futures: RefCell::default(),
            stack: RefCell::new(vec![Model::default()]),
            next: Cell::new(0),
            line,
        });
        world.run(steps);
        while !world.futures.borrow().is_empty() {
            world.drop_future(0);
        }
        while !world.guards.borrow().is_empty() {
            world.leave(0);
            world.check();
        }
    });
}

proptest! {
    #[test]
    fn scopes_are_what_the_model_says(steps in steps()) {
        // A new thread, whose thread-local state is still unused.
        let thread = std::thread::spawn(move || beside_the_model(steps));
        prop_assert!(thread.join().is_ok());
    }
}
