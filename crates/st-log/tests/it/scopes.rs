//! Scopes belong to the work, not to the thread.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use serde_json::{Value, json};
use st_log::{CorrelationId, InScope as _, LogContext, Scope};
use tokio::sync::oneshot;
use tokio::task::yield_now;

use crate::capture::{only, records_of, records_of_async};

const LOG: st_log::Logger = st_log::get_logger("simpletuner.cloud.test");

fn id(text: &str) -> CorrelationId {
    CorrelationId::parse(text).unwrap()
}

fn current() -> Option<String> {
    st_log::current_correlation_id().map(|it| it.to_string())
}

/// The fields of a line that is logged in the current scope.
fn fields() -> Value {
    let records = records_of(|| st_log::info!(logger: LOG, "x"));
    only(records).get("extra").cloned().unwrap_or(Value::Null)
}

fn context(key: &'static str) -> LogContext {
    LogContext::new().field(key, 1)
}

#[expect(clippy::disallowed_methods, reason = "what happens without the scope is what is tested")]
fn spawn_bare<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future)
}

#[test]
fn contexts_nest_and_end() {
    let outer = context("outer").enter();
    {
        let _inner = context("inner").enter();
        assert_eq!(fields(), json!({"outer": 1, "inner": 1}));
    }
    assert_eq!(fields(), json!({"outer": 1}));
    drop(outer);
    assert_eq!(fields(), Value::Null);
}

#[test]
fn guards_may_be_dropped_in_any_order() {
    let (a, b, c) = (context("a").enter(), context("b").enter(), context("c").enter());
    drop(a);
    assert_eq!(fields(), json!({"b": 1, "c": 1}));
    drop(c);
    assert_eq!(fields(), json!({"b": 1}));
    drop(b);
    assert_eq!(fields(), Value::Null);
}

#[test]
fn a_guard_dropped_within_another_scope_ends_its_own() {
    let outer = context("outer").enter();
    Scope::root().in_scope(|| {
        let _here = context("here").enter();
        drop(outer);
        assert_eq!(fields(), json!({"here": 1}));
    });
    assert_eq!(fields(), Value::Null);
    let left = Scope::root().in_scope(|| context("left").enter());
    assert_eq!(fields(), Value::Null);
    drop(left);
}

#[test]
fn an_id_is_generated_once_per_scope() {
    assert_eq!(current(), None);
    let generated = st_log::get_correlation_id();
    assert_eq!(st_log::get_correlation_id(), generated);
    st_log::with_correlation_id(id("inner"), || {
        assert_eq!(st_log::get_correlation_id(), id("inner"));
        st_log::set_correlation_id(id("changed"));
        assert_eq!(current().as_deref(), Some("changed"));
    });
    assert_eq!(st_log::get_correlation_id(), generated);
    st_log::clear_correlation_id();
    assert_eq!(current(), None);
}

#[test]
fn a_captured_scope_works_on_another_thread() {
    let _context = context("outer").enter();
    let scope = st_log::with_correlation_id(id("captured"), Scope::capture);
    let other = std::thread::spawn(move || {
        let before = current();
        let within = scope.in_scope(|| (current(), fields()));
        (before, within, current())
    });
    let expected = (None, (Some("captured".to_owned()), json!({"outer": 1})), None);
    assert_eq!(other.join().unwrap(), expected);
}

#[test]
fn a_panic_restores_the_scope_around() {
    let _outer = context("outer").enter();
    st_log::with_correlation_id(id("outer"), || {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            st_log::with_correlation_id(id("inner"), || {
                let _inner = context("inner").enter();
                panic!("on purpose");
            });
        }));
        panicked.unwrap_err();
        let mut future = pin!(async { panic!("on purpose") }.in_context(context("inner")));
        let poll = || future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        catch_unwind(AssertUnwindSafe(poll)).unwrap_err();
        assert_eq!((current().as_deref(), fields()), (Some("outer"), json!({"outer": 1})));
    });
}

#[test]
fn a_future_has_its_scope_in_every_poll_and_leaves_nothing_behind() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let (send, receive) = oneshot::channel::<()>();
    let note = Rc::clone(&seen);
    let look = move || note.borrow_mut().push((current(), fields()));
    let work = async move {
        look();
        st_log::set_correlation_id(id("changed"));
        receive.await.unwrap();
        look();
    };
    let mut work = pin!(work.in_context(context("mine")).with_correlation_id(id("first")));
    let mut poll = || work.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(poll(), Poll::Pending);
    assert_eq!((current(), fields()), (None, Value::Null));
    send.send(()).unwrap();
    let elsewhere = context("elsewhere").enter();
    assert_eq!(poll(), Poll::Ready(()));
    drop(elsewhere);
    assert_eq!((current(), fields()), (None, Value::Null));
    let expected = [
        (Some("first".to_owned()), json!({"mine": 1})),
        (Some("changed".to_owned()), json!({"mine": 1})),
    ];
    assert_eq!(*seen.borrow(), expected);
}

#[test]
fn wrapped_futures_nest_like_scopes() {
    let records = records_of_async(async {
        let inner = async { st_log::info!(logger: LOG, "x") }.in_context(context("inner"));
        inner.in_context(context("outer")).await;
    });
    assert_eq!(records[0]["extra"], json!({"outer": 1, "inner": 1}));
}

#[test]
fn an_id_made_inside_a_context_is_the_whole_task_s() {
    let _records = records_of_async(async {
        let inside = async { st_log::get_correlation_id() }.in_context(context("a")).await;
        assert_eq!(st_log::get_correlation_id(), inside);
        let task = async {
            let first = st_log::get_correlation_id();
            yield_now().await;
            (first, st_log::get_correlation_id())
        };
        let (first, second) = spawn_bare(task.in_context(context("a"))).await.unwrap();
        assert_eq!(first, second);
        assert_ne!(first, inside);
    });
}

#[test]
fn a_future_dropped_before_its_end_logs_with_its_scope() {
    struct Drops;
    impl Drop for Drops {
        fn drop(&mut self) {
            st_log::info!(logger: LOG, "dropped");
        }
    }
    let records = records_of_async(async {
        let drops = Drops;
        let never = async move {
            let _drops = drops;
            std::future::pending::<()>().await;
        };
        let scoped = never.in_context(context("mine")).with_correlation_id(id("mine"));
        let task = st_log::spawn(scoped);
        yield_now().await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        let unpolled = async move { drop(Drops) };
        drop(unpolled);
    });
    let record = only(records);
    assert_eq!(
        (&record["correlation_id"], &record["extra"]),
        (&json!("mine"), &json!({"mine": 1}))
    );
}

#[test]
fn spawned_work_carries_the_scope() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let _context = context("mine").enter();
    let look = || (current(), fields());
    let expected = (Some("mine".to_owned()), json!({"mine": 1}));
    st_log::with_correlation_id(id("mine"), || {
        runtime.block_on(async {
            let task = st_log::spawn(async move {
                yield_now().await;
                look()
            });
            assert_eq!(task.await.unwrap(), expected);
            assert_eq!(st_log::spawn_blocking(look).await.unwrap(), expected);
        });
    });
}

#[test]
fn a_bare_task_never_sees_a_foreign_scope() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let root = (None, Value::Null);
    let look = || (current(), fields());
    runtime.block_on(async {
        // The guard and the ID stay on the thread while the unscoped task runs on it.
        let _context = context("main").enter();
        st_log::set_correlation_id(id("main"));
        assert_eq!(spawn_bare(async move { look() }).await.unwrap(), root);
        assert_eq!(st_log::current_correlation_id(), Some(id("main")));
        // An ID that a task sets outside any scope applies to that task only.
        let sets = spawn_bare(async move {
            st_log::set_correlation_id(id("bare"));
            yield_now().await;
            look()
        });
        yield_now().await;
        assert_eq!(spawn_bare(async move { look() }).await.unwrap(), root);
        assert_eq!(sets.await.unwrap(), (Some("bare".to_owned()), Value::Null));
        assert_eq!(look(), (Some("main".to_owned()), json!({"main": 1})));
    });
}

#[test]
fn bare_local_tasks_keep_their_guards_apart() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let holds = |key: &'static str| async move {
        let _context = context(key).enter();
        for _ in 0..10 {
            assert_eq!(fields(), json!({ key: 1 }));
            yield_now().await;
        }
    };
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let _context = context("main").enter();
        let (a, b) = (tokio::task::spawn_local(holds("a")), tokio::task::spawn_local(holds("b")));
        a.await.unwrap();
        b.await.unwrap();
        assert_eq!(fields(), json!({"main": 1}));
    });
}

#[test]
fn bare_tasks_keep_the_ids_they_set() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let sets = |name: &'static str| async move {
            st_log::set_correlation_id(id(name));
            yield_now().await;
            current()
        };
        let (a, b) = (spawn_bare(sets("a")), spawn_bare(sets("b")));
        assert_eq!(a.await.unwrap().as_deref(), Some("a"));
        assert_eq!(b.await.unwrap().as_deref(), Some("b"));
    });
}

#[test]
fn scopes_within_scopes_end_without_recursion() {
    let mut scope = Scope::root();
    for attempt in 0..200_000 {
        scope = scope.with_context(LogContext::new().field("attempt", attempt));
    }
    scope.in_scope(|| assert_eq!(fields(), json!({"attempt": 199_999})));
}
