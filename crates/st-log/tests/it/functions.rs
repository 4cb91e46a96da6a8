//! `source.function` is the function that contains the macro call.

use crate::capture::{foreign_span, records_of_async};

const LOG: st_log::Logger = st_log::get_logger("simpletuner.cloud.test");

struct Thing<T>(T);

trait Speaks {
    fn speaks(&self);
}

impl<T> Thing<T> {
    fn method(&self) {
        let Self(_) = self;
        st_log::info!(logger: LOG, expected = "method", "x");
    }
}

impl<T: std::fmt::Debug> Speaks for Thing<T> {
    fn speaks(&self) {
        let Self(inner) = self;
        st_log::info!(logger: LOG, ?inner, expected = "speaks", "x");
    }
}

fn free() {
    st_log::info!(logger: LOG, expected = "free", "x");
}

fn generic<T: Default>(_: T) {
    st_log::info!(logger: LOG, expected = "generic", "x");
}

async fn asynchronous() {
    tokio::task::yield_now().await;
    st_log::info!(logger: LOG, expected = "asynchronous", "x");
}

async fn async_block() {
    async { st_log::info!(logger: LOG, expected = "async_block", "x") }.await;
}

fn closure() {
    let speak = |text: &str| {
        let within = || st_log::info!(logger: LOG, expected = "closure", "{text}");
        within();
    };
    speak("x");
}

fn without_logger() {
    st_log::info!(expected = "without_logger", "x");
}

#[test]
fn every_kind_of_function_is_named() {
    let records = records_of_async(async {
        free();
        generic(vec![String::new()]);
        Thing(1).method();
        Thing(Thing::<Vec<u8>>(vec![]).0).speaks();
        closure();
        without_logger();
        asynchronous().await;
        async_block().await;
        async_block().await;
    });
    assert_eq!(records.len(), 9);
    for record in records {
        assert_eq!(record["source"]["function"], record["extra"]["expected"]);
        assert_eq!(record["extra"].get("code.function.name"), None);
        assert_eq!(record["source"]["file"], "functions.rs");
    }
}

#[test]
fn without_a_logger_the_module_is_the_logger() {
    let records = records_of_async(async { without_logger() });
    assert_eq!(records[0]["logger"], "it.functions");
}

#[test]
fn a_plain_event_has_the_name_of_its_span_or_else_of_its_module() {
    let records = records_of_async(async {
        tracing::info!("alone");
        tracing::info_span!("around").in_scope(|| tracing::info!("inside"));
        foreign_span().in_scope(|| tracing::info!(target: "a::b", "elsewhere"));
    });
    assert_eq!(records[0]["source"]["function"], "functions");
    assert_eq!(records[0]["logger"], "it.functions");
    assert_eq!(records[1]["source"]["function"], "around");
    assert_eq!(records[2]["source"]["function"], "functions");
    assert_eq!(records[2]["logger"], "a.b");
}
