//! Scopes of tasks on several threads.

use std::collections::BTreeMap;
use std::path::Path;

use st_log::{CorrelationId, InScope as _, LogContext, Scope};
use tokio::task::yield_now;

use super::{LOG, init, run};

const TASKS: usize = 400;
const ROUNDS: usize = 20;

pub(super) fn mixes_tasks(_: &Path) {
    let _log = init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..TASKS).map(|task| start(task, task % 2 == 0)).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// Half of the tasks have a scope with their number; the others are unscoped.
#[expect(clippy::disallowed_methods, reason = "what happens without the scope is what is tested")]
fn start(task: usize, wrapped: bool) -> tokio::task::JoinHandle<()> {
    if !wrapped {
        return tokio::spawn(async move {
            for _ in 0..ROUNDS {
                st_log::info!(logger: LOG, task, "bare");
                yield_now().await;
            }
        });
    }
    let id = CorrelationId::parse(&format!("task-{task}")).unwrap();
    let rounds = async move {
        for round in 0..ROUNDS {
            st_log::info!(logger: LOG, round, "outer");
            async {
                st_log::info!(logger: LOG, round, "inner");
                yield_now().await;
                st_log::info!(logger: LOG, round, "inner");
            }
            .in_context(LogContext::new().field("inner", task))
            .await;
            yield_now().await;
        }
    };
    let context = LogContext::new().field("task", task);
    st_log::spawn(rounds.in_context(context).with_correlation_id(id))
}

#[test]
fn hundreds_of_tasks_on_several_threads_never_mix() {
    let ran = run("mixes_tasks");
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut process = None;
    for record in ran.records() {
        let (extra, id) = (&record["extra"], record["correlation_id"].as_str().unwrap());
        let message = record["message"].as_str().unwrap();
        if message == "bare" {
            assert_eq!(*process.get_or_insert_with(|| id.to_owned()), id);
            assert_eq!(extra.as_object().unwrap().len(), 1, "{record}");
        } else {
            assert_eq!(id, format!("task-{}", extra["task"]));
            let inner = extra.get("inner").unwrap_or(&extra["task"]);
            assert_eq!(*inner, extra["task"], "{record}");
            assert_eq!(extra.get("inner").is_some(), message == "inner");
        }
        let task = extra["task"].to_string();
        *counts.entry((task, message.to_owned())).or_default() += 1;
    }
    assert_eq!(counts.len(), TASKS / 2 * 3);
    for ((_, message), count) in counts {
        assert_eq!(count, if message == "inner" { ROUNDS * 2 } else { ROUNDS });
    }
}

pub(super) fn carries_into_blocking_calls(_: &Path) {
    let _log = init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let id = CorrelationId::parse("abc123").unwrap();
    let work = async {
        let say = || st_log::info!(logger: LOG, "blocking");
        st_log::spawn_blocking(say).await.unwrap();
        Scope::root().in_scope(|| st_log::spawn_blocking(say)).await.unwrap();
    };
    runtime.block_on(work.with_correlation_id(id));
}

#[test]
fn a_blocking_call_carries_the_scope_and_the_root_does_not() {
    let records = run("carries_into_blocking_calls").records();
    assert_eq!(records[0]["correlation_id"], "abc123");
    assert_ne!(records[1]["correlation_id"], "abc123");
}

pub(super) fn makes_an_id(_: &Path) {
    let _log = init();
    // Simulates two processes that started at the same moment.
    fastrand::seed(4711);
    st_log::get_correlation_id();
    st_log::info!(logger: LOG, "mine");
}

#[test]
fn processes_that_start_together_make_ids_of_their_own() {
    let [first, second] = super::run_both("makes_an_id").map(|ran| ran.records());
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first[0]["correlation_id"], second[0]["correlation_id"]);
}
