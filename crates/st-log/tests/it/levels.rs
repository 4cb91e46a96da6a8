//! Which events pass the filter.

use std::cell::Cell;
use std::sync::{Arc, Mutex};

use st_log::{Filter, Level, LogContext, Settings};
use tracing::field::Field;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::{Layer, Registry};

use crate::capture::{Captured, parsed, records_at, records_of, text_of};

const LOG: st_log::Logger = st_log::get_logger("simpletuner.cloud.test");

fn one_of_each() {
    tracing::trace!(target: "simpletuner.cloud.test", "x");
    st_log::debug!(logger: LOG, "x");
    st_log::info!(logger: LOG, "x");
    st_log::warning!(logger: LOG, "x");
    st_log::error!(logger: LOG, "x");
    st_log::critical!(logger: LOG, "x");
}

fn levels(records: &[serde_json::Value]) -> Vec<&str> {
    records.iter().map(|it| it["level"].as_str().unwrap()).collect()
}

#[test]
fn levels_have_the_names_of_the_contract() {
    let records = records_of(one_of_each);
    assert_eq!(levels(&records), ["DEBUG", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]);
}

#[test]
fn a_threshold_hides_what_is_below_it() {
    for (at, level) in Level::ALL.into_iter().enumerate() {
        let records = records_at(level, one_of_each);
        let expected: Vec<_> = Level::ALL.iter().skip(at).map(|it| it.as_str()).collect();
        let mut shown = levels(&records);
        shown.dedup();
        assert_eq!(shown, expected);
    }
}

#[test]
fn the_longest_rule_decides() {
    let level: Filter = "shop.cart=debug,shop=INFO,ERROR".parse().unwrap();
    let text = text_of(&Settings { level, ..Settings::default() }, || {
        tracing::debug!(target: "shop.cart", "1");
        tracing::debug!(target: "shop::cart::item", "2");
        tracing::info!(target: "shop.orders", "3");
        tracing::debug!(target: "shop.orders", "hidden");
        tracing::debug!(target: "shop.cartoon", "hidden");
        tracing::warn!(target: "shopping", "hidden");
    });
    let messages: Vec<_> = parsed(&text).into_iter().map(|it| it["message"].clone()).collect();
    assert_eq!(messages, ["1", "2", "3"]);
}

#[test]
fn chatty_foreign_crates_are_held_until_they_are_named() {
    let chatter = || {
        tracing::info!(target: "hyper::client", "hidden");
        tracing::warn!(target: "hyper::client", "shown");
        tracing::info!(target: "hyperion", "shown");
    };
    assert_eq!(records_at(Level::Debug, chatter).len(), 2);
    assert_eq!(Filter::new(Level::Error).level_of("hyper::client"), Level::Error);
    let level = Filter::new(Level::Debug).with("hyper", Level::Debug);
    let text = text_of(&Settings { level, ..Settings::default() }, chatter);
    assert_eq!(parsed(&text).len(), 3);
}

#[test]
fn context_does_not_vanish_with_the_level() {
    let records = records_at(Level::Warning, || {
        let _context = LogContext::new().field("job_id", "j1").enter();
        st_log::info!(logger: LOG, "hidden");
        st_log::warning!(logger: LOG, "shown");
    });
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["extra"]["job_id"], "j1");
}

#[test]
fn a_hidden_event_evaluates_nothing() {
    let evaluated = Cell::new(0);
    let count = || {
        evaluated.set(evaluated.get() + 1);
        1
    };
    let records = records_at(Level::Error, || {
        st_log::info!(logger: LOG, value = count(), "{}", count());
    });
    assert_eq!((records.len(), evaluated.get()), (0, 0));
}

#[test]
fn tracing_learns_the_most_verbose_level_in_advance() {
    let hint = |filter: &str| {
        let settings = Settings { level: filter.parse().unwrap(), ..Settings::default() };
        let layer = Captured::default().layer(&settings);
        Layer::<Registry>::max_level_hint(&layer).unwrap()
    };
    assert_eq!(hint("INFO"), LevelFilter::INFO);
    assert_eq!(hint("CRITICAL"), LevelFilter::ERROR);
    assert_eq!(hint("ERROR,a.b=DEBUG"), LevelFilter::TRACE);
    assert_eq!(hint("a.b=WARNING"), LevelFilter::INFO);
}

#[test]
fn tracing_asks_once_per_callsite() {
    let settings = Settings { level: Level::Critical.into(), ..Settings::default() };
    let layer = Captured::default().layer(&settings);
    let seen = Asked::default();
    let asked = Arc::clone(&seen.0);
    tracing::subscriber::with_default(Registry::default().with(seen).with(layer), one_of_each);
    // Only CRITICAL is left, which `tracing` sees as an ERROR; plain errors have another name.
    assert_eq!(*asked.lock().unwrap(), ["simpletuner.cloud.test ERROR message code.function.name"]);
}

/// Another layer, to check which events it receives.
#[derive(Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Asked {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let fields: Vec<&str> = metadata.fields().iter().map(|it: Field| it.name()).collect();
        let seen = format!("{} {} {}", metadata.target(), metadata.level(), fields.join(" "));
        self.0.lock().unwrap().push(seen);
    }
}
