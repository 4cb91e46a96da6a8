//! The `log` crate, and levels that change while the program runs.

use std::cell::Cell;
use std::fmt;
use std::path::Path;

use log::kv::ToValue as _;
use serde_json::{Value, json};
use st_log::{CorrelationId, Filter, Level, LogContext, Logger};

use super::{LOG, init, run, run_as, run_both};

struct Fails;

impl fmt::Display for Fails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("begun")?;
        Err(fmt::Error)
    }
}

#[derive(Debug)]
struct Shown;

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shown\n")
    }
}

impl std::error::Error for Shown {}

pub(super) fn speaks_by_the_log_crate(_: &Path) {
    let _log = init();
    assert_eq!(log::max_level(), log::LevelFilter::Trace);
    let _context = LogContext::new().field("job_id", "xyz789").field("text", "outer").enter();
    st_log::set_correlation_id("abc123".parse::<CorrelationId>().unwrap());
    log::info!(
        target: "shop::orders",
        null = None::<u8>, yes = true, i64 = i64::MIN, u64 = u64::MAX, i128 = i128::MIN,
        f64 = 0.5, nan = f64::NAN, text = "a\"b\n", character = 'c', shown:% = Shown,
        debugged:? = Shown, error:err = Shown, twice = 1, api_token = "hidden";
        "Order {} read", 4711
    );
    let pairs = [("twice", 1.to_value()), ("new\nline", 2.to_value()), ("twice", 3.to_value())];
    let record = |level, target, message| {
        log::logger().log(
            &log::Record::builder()
                .level(level)
                .target(target)
                .args(message)
                .key_values(&pairs)
                .build(),
        );
    };
    record(log::Level::Error, "by::hand", format_args!("{Fails}"));
    log::trace!("trace");
    log::warn!(target: "hyper::client", "shown");
    log::info!(target: "hyper::client", "hidden");
    assert!(log::log_enabled!(target: "shop", log::Level::Debug));
    assert!(!log::log_enabled!(target: "hyper", log::Level::Info));
    tracing::info_span!("around").in_scope(|| log::error!("in a span"));
}

#[test]
fn records_of_the_log_crate_come_out_with_all_that_they_have() {
    for ran in run_both("speaks_by_the_log_crate") {
        assert!(ran.output.status.success(), "{:?}", ran.output);
        let records = ran.records();
        assert_eq!(records.len(), 5);
        let first = &records[0];
        assert_eq!((&first["level"], &first["logger"]), (&json!("INFO"), &json!("shop.orders")));
        assert_eq!(first["message"], "Order 4711 read");
        assert_eq!(first["correlation_id"], "abc123");
        assert_eq!(first["source"]["file"], "interop.rs");
        assert!(first["source"]["line"].as_u64().unwrap() > 30);
        assert_eq!(first["source"]["function"], "interop");
        let mut extra = first["extra"].clone();
        assert!(extra.as_object_mut().unwrap().remove("i128").unwrap().is_number());
        let expected = json!({
            "job_id": "xyz789", "null": null, "yes": true, "i64": i64::MIN, "u64": u64::MAX,
            "f64": 0.5, "nan": null, "text": "a\"b\n", "character": "c", "shown": "shown\n",
            "debugged": "Shown", "error": "shown\n", "twice": 1, "api_token": "[REDACTED]",
        });
        assert_eq!(extra, expected);
        let by_hand = json!({"job_id": "xyz789", "text": "outer", "new\nline": 2, "twice": 3});
        assert_eq!(records[1]["extra"], by_hand);
        assert_eq!(records[1]["message"], "begun<fmt error>");
        let source = json!({"file": "unknown", "line": 0, "function": "hand"});
        assert_eq!(records[1]["source"], source);
        assert_eq!(
            (&records[2]["level"], &records[2]["message"]),
            (&json!("DEBUG"), &json!("trace"))
        );
        assert_eq!(
            (&records[3]["level"], &records[3]["logger"]),
            (&json!("WARNING"), &json!("hyper.client"))
        );
        assert_eq!(records[4]["source"]["function"], "around");
    }
}

thread_local! {
    static EVALUATED: Cell<u32> = const { Cell::new(0) };
}

fn evaluated() -> u32 {
    EVALUATED.set(EVALUATED.get() + 1);
    EVALUATED.get()
}

/// Logs through the same callsites in each round, so that their cached state is tested.
fn says_all(round: u32) -> u32 {
    let before = EVALUATED.get();
    st_log::debug!(logger: LOG, round, at = evaluated(), "debug");
    tracing::info!(target: "shop.orders", round, at = evaluated(), "info");
    let dynamic = Logger::named("plugins.a");
    st_log::info!(dynamic_logger: dynamic, round, at = evaluated(), "dynamic");
    st_log::error!(logger: LOG, round, at = evaluated(), "error");
    st_log::critical!(logger: LOG, round, at = evaluated(), "critical");
    log::debug!(round = round, at = evaluated(); "log");
    EVALUATED.get() - before
}

pub(super) fn changes_its_level(_: &Path) {
    let log = init();
    let filters = ["DEBUG", "CRITICAL", "ERROR,shop=INFO", "WARNING,plugins=INFO", "DEBUG"];
    let mut counts = Vec::new();
    for (round, text) in (0..).zip(filters) {
        let filter: Filter = text.parse().unwrap();
        log.handle().set_level(filter.clone());
        assert_eq!(log.level(), filter);
        counts.push(says_all(round));
        // The cached state of the callsite agrees.
        counts.push(says_all(round));
        let expected = match text {
            "DEBUG" => log::LevelFilter::Trace,
            "CRITICAL" => log::LevelFilter::Off,
            _ => log::LevelFilter::Info,
        };
        assert_eq!(log::max_level(), expected, "{text}");
        assert_eq!(
            tracing::enabled!(target: "simpletuner.cloud.test", tracing::Level::DEBUG),
            text == "DEBUG"
        );
    }
    // The arguments of disabled events were not evaluated, except for dynamic loggers once one of
    // them is enabled.
    assert_eq!(counts, [6, 6, 1, 1, 3 + 1, 3 + 1, 3, 3, 6, 6]);
    log.set_level(Level::Critical);
    assert_eq!(says_all(9), 1);
}

#[test]
fn the_level_may_change_while_the_program_runs() {
    let ran = run("changes_its_level");
    assert!(ran.output.status.success(), "{}", String::from_utf8_lossy(&ran.output.stderr));
    let said = |round: u32| -> Vec<Value> {
        let of_round: Vec<_> =
            ran.records().into_iter().filter(|it| it["extra"]["round"] == round).collect();
        let (first, second) = of_round.split_at(of_round.len() / 2);
        let messages = |records: &[Value]| -> Vec<Value> {
            records.iter().map(|it| it["message"].clone()).collect()
        };
        assert_eq!(messages(first), messages(second));
        messages(first)
    };
    let all = ["debug", "info", "dynamic", "error", "critical", "log"];
    assert_eq!(said(0), all);
    assert_eq!(said(1), ["critical"]);
    assert_eq!(said(2), ["info", "error", "critical"]);
    assert_eq!(said(3), ["dynamic", "error", "critical"]);
    assert_eq!(said(4), all);
}

/// Another logger that was installed first.
struct Other;

impl log::Log for Other {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, _: &log::Record<'_>) {}

    fn flush(&self) {}
}

pub(super) fn has_a_logger_already(_: &Path) {
    log::set_boxed_logger(Box::new(Other)).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let log = init();
    assert!(!log.take_log_records());
    log::error!("not ours");
    st_log::info!(logger: LOG, "ours");
    // The maximum level of the other logger is left alone.
    log.set_level(Level::Debug);
    assert_eq!(log::max_level(), log::LevelFilter::Warn);
}

#[test]
fn another_logger_of_the_log_crate_keeps_its_records_and_its_level() {
    let ran = run_as("has_a_logger_already", |_| {});
    assert!(ran.output.status.success(), "{}", String::from_utf8_lossy(&ran.output.stderr));
    let records = ran.records();
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["message"], "ours");
}
