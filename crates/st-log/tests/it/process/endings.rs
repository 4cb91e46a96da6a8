//! Logging while a value is logged, and during the exit of threads and processes.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::panic::{self, catch_unwind};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Waker};

use serde_json::{Value, json};
use st_log::{CorrelationId, InScope as _, LogContext, Scope};

use super::{LOG, init, run, run_as, run_both};

fn id(text: &str) -> CorrelationId {
    text.parse().unwrap()
}

fn messages(records: &[Value]) -> Vec<&str> {
    records.iter().map(|it| it["message"].as_str().unwrap()).collect()
}

/// When printed, logs a line whose value is one of a lower depth, in a scope of its own.
struct Deep(u32);

impl fmt::Display for Deep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(depth) = *self;
        write!(f, "<{depth}")?;
        if depth > 0 {
            let _context = LogContext::new().field(&format!("depth_{depth}"), depth).enter();
            st_log::with_correlation_id(id(&format!("at-{depth}")), || {
                st_log::info!(logger: LOG, value = %Self(depth - 1), "deep {}", Self(depth - 1));
            });
        }
        f.write_str(">")
    }
}

pub(super) fn logs_three_deep(_: &Path) {
    let _log = init();
    Scope::root().with_correlation_id(id("outside")).in_scope(|| {
        st_log::info!(logger: LOG, value = %Deep(3), "outside");
    });
    st_log::info!(logger: LOG, "after");
}

#[test]
fn values_that_log_values_that_log_lose_no_line_and_mix_no_scope() {
    let records = run("logs_three_deep").records();
    // Each value is printed twice: in the message and as a field.
    assert_eq!(records.len(), 4 + 2 + 1 + 2);
    let of_depth = |depth: u32| {
        records.iter().filter(move |it| it["message"] == format!("deep <{}>", depth - 1))
    };
    for (depth, times) in [(1, 4), (2, 2), (3, 1)] {
        assert_eq!(of_depth(depth).count(), times, "{depth}");
        for record in of_depth(depth) {
            let mut expected = json!({"value": format!("<{}>", depth - 1)});
            for outer in depth..=3 {
                expected[format!("depth_{outer}")] = outer.into();
            }
            assert_eq!(record["extra"], expected);
            assert_eq!(record["correlation_id"], format!("at-{depth}"));
        }
    }
    assert_eq!(messages(&records[7..]), ["outside", "after"]);
    assert_eq!(records[7]["correlation_id"], "outside");
    assert_eq!(records[7]["extra"], json!({"value": "<3>"}));
}

type Parked = Option<Pin<Box<dyn Future<Output = ()>>>>;

struct LogsLast(&'static str);

impl Drop for LogsLast {
    fn drop(&mut self) {
        let _context = LogContext::new().field("inside", 1).enter();
        Scope::root().in_scope(|| st_log::info!(logger: LOG, "{}", self.0));
        st_log::info!(logger: LOG, value = %Deep(1), "{}", self.0);
        st_log::set_correlation_id(id("late"));
        st_log::get_correlation_id();
        st_log::clear_correlation_id();
    }
}

thread_local! {
    static PARKED: RefCell<Parked> = const { RefCell::new(None) };
    static LAST: LogsLast = const { LogsLast("thread-local dropped") };
}

pub(super) fn ends_a_thread_with_scopes(_: &Path) {
    let _log = init();
    let thread = std::thread::spawn(|| {
        LAST.with(|_| {});
        let last = LogsLast("future dropped");
        let work = async move {
            let _last = last;
            std::future::pending::<()>().await;
        };
        let context = LogContext::new().field("job_id", "xyz789");
        let mut work: Pin<Box<dyn Future<Output = ()>>> =
            Box::pin(work.in_context(context).with_correlation_id(id("scoped")));
        assert!(work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        PARKED.with(|parked| *parked.borrow_mut() = Some(work));
        // Initialized after the others, so destroyed before them.
        st_log::set_correlation_id(id("thread"));
        st_log::info!(logger: LOG, "first");
    });
    thread.join().unwrap();
}

#[test]
fn scopes_and_scoped_futures_may_be_dropped_with_a_thread_s_variables() {
    let ran = run("ends_a_thread_with_scopes");
    assert!(ran.output.status.success(), "{:?}", ran.output);
    let records = ran.records();
    let count = |message: &str| records.iter().filter(|it| it["message"] == message).count();
    // Including the lines that their values log.
    assert_eq!(records.len(), 1 + 2 * 3, "{records:?}");
    assert_eq!((count("thread-local dropped"), count("future dropped")), (2, 2));
}

pub(super) fn logs_in_the_panic_hook(_: &Path) {
    let _log = init();
    let next = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        st_log::error!(logger: LOG, value = %Deep(1), "in the hook");
        next(info);
    }));
    st_log::with_correlation_id(id("abc123"), || {
        catch_unwind(|| panic!("on purpose")).unwrap_err();
        st_log::info!(logger: LOG, "after");
    });
}

#[test]
fn a_panic_hook_may_log() {
    for ran in run_both("logs_in_the_panic_hook") {
        assert!(ran.output.status.success());
        let records = ran.records();
        assert_eq!(
            messages(&records),
            ["deep <0>", "in the hook", "Panicked: on purpose", "after"]
        );
        assert!(records[1..].iter().all(|it| it["correlation_id"] == "abc123"));
    }
}

fn says_a_thousand_lines() {
    for number in 0..1000 {
        st_log::info!(logger: LOG, number, "Line");
    }
}

#[expect(clippy::exit, reason = "what is lost by it is what is tested")]
pub(super) fn exits(_: &Path) {
    let _log = init();
    says_a_thousand_lines();
    std::process::exit(7);
}

pub(super) fn aborts(_: &Path) {
    let _log = init();
    says_a_thousand_lines();
    std::process::abort();
}

#[test]
fn written_directly_no_line_is_lost_however_the_process_ends() {
    for program in ["exits", "aborts"] {
        let ran = run_as(program, |_| {});
        assert!(!ran.output.status.success());
        let numbers: Vec<_> =
            ran.records().iter().map(|it| it["extra"]["number"].as_u64().unwrap()).collect();
        assert!(numbers.into_iter().eq(0..1000), "{program}");
        assert_eq!(ran.stdout(), ran.file, "{program}");
    }
}
