//! The random programs that the tasks run.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;

use fastrand::Rng;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use st_log::{ContextGuard, InScope as _, Scope, SpawnInScope as _};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::{JoinSet, LocalSet, yield_now};

use super::{Expected, context, random_fields, random_id};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pub(super) fn run(seed: u64, tasks: u64) {
    let runtime = Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    runtime.block_on(async {
        let mut rng = Rng::with_seed(seed);
        let mut all = JoinSet::new();
        for task in 0..tasks {
            let task = Task {
                rng: rng.fork(),
                expected: Expected { path: task.to_string(), ..Expected::default() },
                owns_its_id: true,
                depth: 0,
            };
            all.spawn(task.act().in_scope(Scope::root()));
            // Limit the number of running tasks, so that some finish while others begin.
            while all.len() > 500 {
                all.join_next().await.unwrap().unwrap();
            }
        }
        while let Some(done) = all.join_next().await {
            done.unwrap();
        }
    });
}

/// A random program, with the expected contents of its scope.
struct Task {
    rng: Rng,
    expected: Expected,
    /// Whether an ID that the task sets is still there later. An unscoped task loses it on another
    /// thread, and futures that share the ID may replace it.
    owns_its_id: bool,
    depth: u8,
}

/// Logs when it is dropped.
struct SaysLast(Expected);

impl Drop for SaysLast {
    fn drop(&mut self) {
        self.0.say();
    }
}

impl Task {
    /// Creates another task with this scope.
    fn child(&mut self, step: &str) -> Self {
        Self {
            rng: self.rng.fork(),
            expected: self.expected.at(step),
            owns_its_id: self.owns_its_id,
            depth: self.depth + 1,
        }
    }

    /// Returns the ID that the scope has at the end.
    fn act(mut self) -> Boxed<Option<String>> {
        Box::pin(async move {
            let steps = if self.depth > 1 { 1 } else { self.rng.u8(1..4) };
            for _ in 0..steps {
                self.expected.say();
                self.step().await;
                self.expected.say();
            }
            self.expected.id.take()
        })
    }

    async fn step(&mut self) {
        let kind = if self.depth > 1 { self.rng.u8(0..4) } else { self.rng.u8(0..15) };
        match kind {
            0 => yield_now().await,
            1 | 2 => self.act_without_waiting(),
            3 => self.change_id(),
            4 => self.within_context().await,
            5 => {
                let (child, id) = self.with_id("id");
                child.act().with_correlation_id(id).await;
            }
            6 => {
                let (child, scope) = self.elsewhere();
                child.act().in_scope(scope).await;
            }
            7 => self.spawned().await,
            8 => self.blocking().await,
            9 => self.bare().await,
            10 => self.dropped_half_way().await,
            11 => self.beside_each_other().await,
            12 => self.local().await,
            13 => self.panics().await,
            _ => self.on_a_thread().await,
        }
    }

    async fn within_context(&mut self) {
        let fields = random_fields(&mut self.rng);
        let mut child = self.child("context");
        child.expected = child.expected.with(&fields);
        let id = child.act().in_context(context(&fields)).await;
        // It shares the ID of the enclosing scope.
        self.expected.id = id;
    }

    fn with_id(&mut self, step: &str) -> (Self, st_log::CorrelationId) {
        let id = random_id(&mut self.rng);
        let mut child = self.child(step);
        child.expected.id = Some(id.to_string());
        child.owns_its_id = true;
        (child, id)
    }

    /// A scope that is unrelated to the current one, or extends it.
    fn elsewhere(&mut self) -> (Self, Scope) {
        let mut child = self.child("scope");
        child.owns_its_id = true;
        let mut scope = Scope::capture();
        if self.rng.bool() {
            scope = Scope::root();
            child.expected = Expected { path: child.expected.path, ..Expected::default() };
        }
        let fields = random_fields(&mut self.rng);
        child.expected = child.expected.with(&fields);
        (child, scope.with_context(context(&fields)))
    }

    async fn spawned(&mut self) {
        let mut children = JoinSet::new();
        for at in 0..self.rng.u8(1..4) {
            let mut child = self.child("spawn");
            child.owns_its_id = true;
            match at {
                0 => drop(st_log::spawn(child.act()).await.unwrap()),
                1 => drop(children.spawn_blocking_in_scope(move || child.act_on_a_thread())),
                _ => drop(children.spawn_in_scope(async { drop(child.act().await) })),
            }
        }
        while let Some(done) = children.join_next().await {
            done.unwrap();
        }
    }

    async fn blocking(&mut self) {
        let mut child = self.child("blocking");
        child.owns_its_id = true;
        st_log::spawn_blocking(move || child.act_on_a_thread()).await.unwrap();
    }

    async fn on_a_thread(&mut self) {
        let mut child = self.child("thread");
        child.owns_its_id = true;
        let (done, wait) = oneshot::channel();
        st_log::spawn_thread(move || {
            child.act_on_a_thread();
            // The receiver is gone if the parent was dropped.
            let _nobody_waits = done.send(()).is_err();
        });
        wait.await.unwrap();
    }

    #[expect(clippy::disallowed_methods, reason = "what bare tasks do is what is tested")]
    async fn bare(&mut self) {
        let mut child = self.child("bare");
        child.expected = Expected { path: child.expected.path, ..Expected::default() };
        child.owns_its_id = false;
        tokio::spawn(child.act()).await.unwrap();
    }

    async fn dropped_half_way(&mut self) {
        let (mut child, id) = self.with_id("dropped");
        let fields = random_fields(&mut self.rng);
        child.expected = child.expected.with(&fields);
        child.owns_its_id = false;
        let polls = self.rng.u8(0..4);
        let last = SaysLast(child.expected.clone());
        let work = async move {
            let _last = last;
            child.act().await;
            std::future::pending::<()>().await;
        };
        let enough = async {
            for _ in 0..polls {
                yield_now().await;
            }
        };
        tokio::select! {
            biased;
            () = work.in_context(context(&fields)).with_correlation_id(id) => {}
            () = enough => {}
        }
    }

    async fn beside_each_other(&mut self) {
        let all = FuturesUnordered::new();
        for _ in 0..self.rng.u8(2..5) {
            let fields = random_fields(&mut self.rng);
            if self.rng.bool() {
                let (mut child, id) = self.with_id("beside, with an ID");
                child.expected = child.expected.with(&fields);
                let work = child.act().in_context(context(&fields)).with_correlation_id(id);
                all.push(Box::pin(work) as Boxed<_>);
            } else {
                let mut child = self.child("beside, in a context");
                child.expected = child.expected.with(&fields);
                // The other futures share the ID.
                child.owns_its_id = false;
                all.push(Box::pin(child.act().in_context(context(&fields))));
            }
        }
        all.collect::<Vec<_>>().await;
    }

    /// Tasks on a `LocalSet`, with guards that are held across awaits.
    async fn local(&mut self) {
        let mut children: Vec<Self> = (0..3).map(|_| self.child("local")).collect();
        let work = move || {
            let local = LocalSet::new();
            let all = async move {
                let mut tasks = Vec::new();
                for mut child in children.drain(..) {
                    child.owns_its_id = true;
                    let fields = random_fields(&mut child.rng);
                    tasks.push(st_log::spawn_local(async move {
                        let _guard = context(&fields).enter();
                        child.expected = child.expected.with(&fields);
                        child.act().await
                    }));
                }
                for task in tasks {
                    task.await.unwrap();
                }
            };
            Handle::current().block_on(local.run_until(all));
        };
        st_log::spawn_blocking(work).await.unwrap();
    }

    async fn panics(&mut self) {
        let (mut child, id) = self.with_id("panics");
        child.owns_its_id = false;
        let (last, expected) = (SaysLast(child.expected.clone()), child.expected.clone());
        let work = async move {
            let _last = last;
            child.act().await;
            expected.say();
            panic!("on purpose");
        };
        let fields = Vec::new();
        let task = st_log::spawn(work.in_context(context(&fields)).with_correlation_id(id));
        assert!(task.await.unwrap_err().is_panic());
    }

    fn change_id(&mut self) {
        if !self.owns_its_id {
            return;
        }
        match self.rng.u8(0..3) {
            0 => {
                let id = random_id(&mut self.rng);
                self.expected.id = Some(id.to_string());
                st_log::set_correlation_id(id);
            }
            1 => {
                st_log::clear_correlation_id();
                self.expected.id = None;
            }
            _ => self.expected.id = Some(st_log::get_correlation_id().to_string()),
        }
    }

    fn act_on_a_thread(&mut self) {
        for _ in 0..self.rng.u8(1..4) {
            self.change_id();
            self.act_without_waiting();
        }
    }

    /// Guards that are dropped in any order, and panics.
    fn act_without_waiting(&mut self) {
        let mut guards: Vec<(Vec<(String, u64)>, ContextGuard)> = Vec::new();
        for _ in 0..self.rng.u8(1..6) {
            if guards.is_empty() || self.rng.u8(0..3) > 0 {
                let fields = random_fields(&mut self.rng);
                guards.push((fields.clone(), context(&fields).enter()));
            } else {
                drop(guards.remove(self.rng.usize(0..guards.len())));
            }
            let all = guards.iter().flat_map(|(fields, _)| fields.clone()).collect::<Vec<_>>();
            self.expected.with(&all).at("guards").say();
        }
        let all = guards.iter().flat_map(|(fields, _)| fields.clone()).collect::<Vec<_>>();
        let within = self.expected.with(&all).at("id");
        let id = random_id(&mut self.rng);
        let fails = self.rng.u8(0..4) == 0;
        let result = catch_unwind(AssertUnwindSafe(|| {
            let inner = Expected { id: Some(id.to_string()), ..within.clone() };
            st_log::with_correlation_id(id, || {
                let _last = SaysLast(inner);
                assert!(!fails, "on purpose");
            });
        }));
        assert_eq!(result.is_err(), fails);
        within.say();
    }
}
