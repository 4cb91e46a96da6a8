//! Fields of `tracing` spans, and other layers in the same subscriber.

use std::fmt;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use st_log::{Format, Level, LogContext, Settings};
use tracing::field::Empty;
use tracing::{Event, Subscriber, debug_span, error_span, info_span, trace_span};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::{Layer, Registry};

use crate::capture::{Captured, parsed, text_of};

const LOG: st_log::Logger = st_log::get_logger("simpletuner.cloud.test");

fn settings() -> Settings {
    Settings { include_span_fields: true, ..Settings::default() }
}

/// The `extra` of each record that `work` logs.
fn extras_of(work: impl FnOnce()) -> Vec<Value> {
    let records = parsed(&text_of(&settings(), work));
    records.iter().map(|it| it.get("extra").cloned().unwrap_or(Value::Null)).collect()
}

fn say() {
    st_log::info!(logger: LOG, "x");
}

#[test]
fn spans_nest_and_the_inner_one_wins() {
    let extras = extras_of(|| {
        let outer = info_span!("outer", a = 1, b = "outer", plain = %"shown");
        let entered = outer.enter();
        say();
        info_span!("inner", b = "inner", c = ?Some(1)).in_scope(say);
        info_span!("bare").in_scope(say);
        drop(entered);
        say();
    });
    let outer = json!({"a": 1, "b": "outer", "plain": "shown"});
    let inner = json!({"a": 1, "b": "inner", "plain": "shown", "c": "Some(1)"});
    assert_eq!(extras, [outer.clone(), inner, outer, Value::Null]);
}

#[test]
fn the_event_wins_over_the_context_and_that_over_the_span() {
    let text = text_of(&settings(), || {
        let _context = LogContext::new().field("b", "context").field("c", "context").enter();
        info_span!("span", a = "span", b = "span", c = "span").in_scope(|| {
            st_log::info!(logger: LOG, c = "event", "x");
        });
    });
    let (_, extra) = text.split_once("\"extra\": ").unwrap();
    assert_eq!(extra, "{\"a\": \"span\", \"b\": \"context\", \"c\": \"event\"}}\n");
    let settings = Settings { format: Format::Text, ..settings() };
    let text = text_of(&settings, || {
        info_span!("span", a = "span", b = 1).in_scope(|| st_log::info!(logger: LOG, b = 2, "x"));
    });
    assert!(text.ends_with("): x a=span b=2\n"), "{text}");
}

#[test]
fn values_recorded_later_are_there_from_then_on() {
    let extras = extras_of(|| {
        let span = info_span!("span", a = 1, later = Empty, again = 1);
        let _span = span.enter();
        say();
        span.record("later", "now").record("again", 2);
        say();
        span.record("again", 3.5);
        info_span!("inner").in_scope(say);
    });
    assert_eq!(
        extras,
        [
            json!({"a": 1, "again": 1}),
            json!({"a": 1, "later": "now", "again": 2}),
            json!({"a": 1, "later": "now", "again": 3.5}),
        ]
    );
}

#[test]
fn an_explicit_parent_counts_and_not_what_is_around() {
    let extras = extras_of(|| {
        let elsewhere = info_span!("elsewhere", elsewhere = 1);
        let _around = info_span!("around", around = 1).entered();
        tracing::info!(parent: &elsewhere, "x");
        tracing::info!(parent: None, "x");
        info_span!(parent: &elsewhere, "inner", inner = 1).in_scope(say);
        info_span!(parent: None, "root", root = 1).in_scope(say);
        say();
    });
    assert_eq!(
        extras,
        [
            json!({"elsewhere": 1}),
            Value::Null,
            json!({"elsewhere": 1, "inner": 1}),
            json!({"root": 1}),
            json!({"around": 1}),
        ]
    );
}

#[test]
fn secrets_of_spans_are_not_printed() {
    let text = text_of(&settings(), || {
        let span = info_span!("span", api_token = "hidden", password = Empty, user = "ada");
        span.record("password", tracing::field::display("hidden"));
        span.in_scope(say);
    });
    assert!(!text.contains("hidden"), "{text}");
    let expected = json!({"api_token": "[REDACTED]", "password": "[REDACTED]", "user": "ada"});
    assert_eq!(parsed(&text)[0]["extra"], expected);
}

#[test]
fn spans_of_info_and_above_are_kept_whatever_the_level_is() {
    for level in [Level::Warning, Level::Critical] {
        let settings = Settings { level: level.into(), ..settings() };
        let text = text_of(&settings, || {
            let _error = error_span!("error", error = 1).entered();
            let _info = info_span!("info", info = 1).entered();
            let _debug = debug_span!("debug", debug = 1).entered();
            let _trace = trace_span!("trace", trace = 1).entered();
            st_log::info!(logger: LOG, "hidden");
            st_log::critical!(logger: LOG, "shown");
        });
        let records = parsed(&text);
        assert_eq!(records.len(), 1);
        assert_eq!(records[0]["extra"], json!({"error": 1, "info": 1}));
    }
}

#[test]
fn without_the_setting_spans_show_nothing() {
    let text = text_of(&Settings::default(), || info_span!("span", a = 1).in_scope(say));
    assert_eq!(parsed(&text)[0].get("extra"), None);
}

#[test]
fn a_value_of_a_span_may_log_and_fail() {
    struct Bad;
    impl fmt::Display for Bad {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            say();
            f.write_str("begun")?;
            panic!("on purpose")
        }
    }
    let extras = extras_of(|| {
        // A callsite that is first reached while a scoped subscriber is busy stays disabled.
        say();
        let span = info_span!("span", bad = %Bad, later = Empty);
        span.record("later", tracing::field::display(Bad));
        span.in_scope(say);
    });
    assert_eq!(
        *extras.last().unwrap(),
        json!({"bad": "begun<panicked>", "later": "begun<panicked>"})
    );
}

/// A layer that collects what it receives.
#[derive(Clone, Default)]
struct Beside(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Beside {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.lock().unwrap().push(format!("{} event", event.metadata().level()));
    }

    fn on_new_span(
        &self,
        attributes: &tracing::span::Attributes<'_>,
        _: &tracing::Id,
        _: Context<'_, S>,
    ) {
        self.0.lock().unwrap().push(format!("{} span", attributes.metadata().level()));
    }
}

fn seen_beside(change: impl Fn(st_log::LogLayer) -> st_log::LogLayer) -> (Vec<String>, usize) {
    let settings = Settings { level: Level::Warning.into(), ..Settings::default() };
    let (captured, beside) = (Captured::default(), Beside::default());
    let layer = change(captured.layer(&settings));
    let subscriber = Registry::default().with(layer).with(beside.clone());
    tracing::subscriber::with_default(subscriber, || {
        let _span = debug_span!("span").entered();
        tracing::trace!("trace");
        st_log::debug!(logger: LOG, "debug");
        st_log::info!(logger: LOG, "info");
        st_log::warning!(logger: LOG, "warning");
    });
    let seen = beside.0.lock().unwrap().clone();
    (seen, parsed(&captured.text()).len())
}

#[test]
fn a_layer_beside_ours_sees_what_we_hide_only_where_it_was_asked_for() {
    let all = ["DEBUG span", "TRACE event", "DEBUG event", "INFO event", "WARN event"];
    assert_eq!(seen_beside(st_log::LogLayer::beside_others), (all.map(String::from).to_vec(), 1));
    assert_eq!(seen_beside(|layer| layer), (vec!["WARN event".to_owned()], 1));
}
