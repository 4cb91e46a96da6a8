//! Scopes and values during drops and panics, and with leaked guards.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use serde_json::{Value, json};
use st_log::{ContextGuard, CorrelationId, Format, InScope as _, LogContext, Scope, Settings};

use crate::capture::{only, parsed, records_of, text_of};

const LOG: st_log::Logger = st_log::get_logger("simpletuner.cloud.test");

fn id(text: &str) -> CorrelationId {
    text.parse().unwrap()
}

fn context(key: &str) -> LogContext {
    LogContext::new().field(key, 1)
}

fn fields() -> Value {
    let records = records_of(|| st_log::info!(logger: LOG, "x"));
    only(records).get("extra").cloned().unwrap_or_else(|| json!({}))
}

fn current() -> Option<String> {
    st_log::current_correlation_id().map(|it| it.to_string())
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Logs when it is dropped.
struct SaysWhere(&'static str);

impl Drop for SaysWhere {
    fn drop(&mut self) {
        st_log::info!(logger: LOG, "{}", self.0);
    }
}

#[test]
fn a_guard_dropped_while_its_future_is_suspended_ends_its_fields() {
    let kept: Rc<RefCell<Option<ContextGuard>>> = Rc::default();
    let keep = Rc::clone(&kept);
    let mut first = true;
    let work = std::future::poll_fn(move |_| {
        if std::mem::take(&mut first) {
            *keep.borrow_mut() = Some(context("guarded").enter());
            return Poll::Pending;
        }
        Poll::Ready(fields())
    });
    let mut work = pin!(work.in_context(context("own")));
    assert!(poll(work.as_mut()).is_pending());
    drop(kept.take());
    assert_eq!(poll(work), Poll::Ready(json!({"own": 1})));
}

#[test]
fn an_id_of_one_scope_does_not_come_out_in_another() {
    let mut work = pin!(std::future::pending::<()>().in_context(context("own")));
    let poll_here = |work: Pin<&mut _>| assert!(poll(work).is_pending());
    st_log::with_correlation_id(id("first"), || poll_here(work.as_mut()));
    poll_here(work.as_mut());
    assert_eq!(current(), None);
    st_log::with_correlation_id(id("second"), || {
        poll_here(work.as_mut());
        st_log::clear_correlation_id();
        poll_here(work.as_mut());
        assert_eq!(current(), None);
    });
}

#[test]
fn a_forgotten_guard_ends_with_its_scope() {
    Scope::root().in_scope(|| {
        std::mem::forget(context("forgotten").enter());
        assert_eq!(fields(), json!({"forgotten": 1}));
    });
    assert_eq!(fields(), json!({}));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let look = async { fields() };
    let seen = runtime.block_on(async {
        let forgets = async { std::mem::forget(context("forgotten").enter()) };
        st_log::spawn(forgets).await.unwrap();
        st_log::spawn(look).await.unwrap()
    });
    assert_eq!((seen, fields()), (json!({}), json!({})));
}

#[test]
fn a_guard_may_be_moved_into_another_scope_and_ends_its_own() {
    let guard = context("outer").enter();
    let mut work = pin!(
        async move {
            let seen = fields();
            drop(guard);
            (seen, fields())
        }
        .in_scope(Scope::root().with_context(context("other")))
    );
    assert_eq!(fields(), json!({"outer": 1}));
    let other = json!({"other": 1});
    assert_eq!(poll(work.as_mut()), Poll::Ready((other.clone(), other)));
    assert_eq!(fields(), json!({}));
}

#[test]
fn what_is_dropped_with_a_future_logs_in_its_scope_at_every_stage() {
    let records = records_of(|| {
        let unpolled = {
            let last = SaysWhere("unpolled");
            async move { drop(last) }.in_context(context("unpolled"))
        };
        drop(unpolled);
        let last = SaysWhere("suspended");
        let mut suspended = Box::pin(
            async move {
                let _last = last;
                std::future::pending::<()>().await;
            }
            .in_context(context("suspended")),
        );
        assert!(poll(suspended.as_mut()).is_pending());
        drop(suspended);
        let last = SaysWhere("finished");
        let mut finished = Box::pin(
            std::future::poll_fn(move |_| {
                let _held = &last;
                Poll::Ready(())
            })
            .in_context(context("finished")),
        );
        assert!(poll(finished.as_mut()).is_ready());
        drop(finished);
        let last = SaysWhere("panicked");
        let mut panicked = Box::pin(
            std::future::poll_fn(move |_| -> Poll<()> {
                let _held = &last;
                panic!("on purpose")
            })
            .in_context(context("panicked")),
        );
        catch_unwind(AssertUnwindSafe(|| poll(panicked.as_mut()))).unwrap_err();
        drop(panicked);
        st_log::info!(logger: LOG, "outside");
    });
    let stages = ["unpolled", "suspended", "finished", "panicked"];
    assert_eq!(records.len(), stages.len() + 1);
    for (record, stage) in records.iter().zip(stages) {
        assert_eq!(record["message"], stage);
        assert_eq!(record["extra"], json!({stage: 1}));
    }
    assert_eq!(records[4].get("extra"), None);
}

struct PanicsLast;

impl Drop for PanicsLast {
    fn drop(&mut self) {
        let _fields = context("inside drop").enter();
        st_log::set_correlation_id(id("inside-drop"));
        panic!("on purpose");
    }
}

#[test]
fn a_panic_in_a_drop_restores_the_scope_around() {
    let _outer = context("outer").enter();
    let last = PanicsLast;
    let work = Box::pin(
        async move {
            let _last = last;
            std::future::pending::<()>().await;
        }
        .with_correlation_id(id("inner")),
    );
    catch_unwind(AssertUnwindSafe(|| drop(work))).unwrap_err();
    assert_eq!((current(), fields()), (None, json!({"outer": 1})));
    let in_scope = || Scope::root().in_scope(|| drop(PanicsLast));
    catch_unwind(in_scope).unwrap_err();
    assert_eq!((current(), fields()), (None, json!({"outer": 1})));
}

/// An error whose methods may panic or fail.
#[derive(Clone, Copy, PartialEq)]
enum Bad {
    DisplayFails,
    DisplayPanics,
    DebugPanics,
    SourcePanics,
    IsItsOwnSource,
    /// A well-behaved error with a faulty source.
    Wraps(&'static Self),
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("begun")?;
        match self {
            Self::DisplayFails => Err(fmt::Error),
            Self::DisplayPanics => panic!("on purpose"),
            Self::DebugPanics | Self::SourcePanics | Self::IsItsOwnSource | Self::Wraps(_) => {
                f.write_str(" and done")
            }
        }
    }
}

impl fmt::Debug for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bad")?;
        assert!(*self != Self::DebugPanics, "on purpose");
        Ok(())
    }
}

impl Error for Bad {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::SourcePanics => panic!("on purpose"),
            Self::IsItsOwnSource => Some(self),
            Self::Wraps(cause) => Some(*cause),
            Self::DisplayFails | Self::DisplayPanics | Self::DebugPanics => None,
        }
    }
}

fn exception_of(error: &Bad) -> Value {
    let record = only(records_of(|| {
        st_log::error!(logger: LOG, error = error as &(dyn Error + 'static), kept = 1, "said");
    }));
    assert_eq!((&record["message"], &record["extra"]["kept"]), (&json!("said"), &json!(1)));
    record["exception"].clone()
}

#[test]
fn an_error_that_fails_or_panics_in_any_part_keeps_its_line() {
    let exception =
        |message: &str, chain: &[&str]| json!({"type": "Bad", "message": message, "chain": chain});
    assert_eq!(exception_of(&Bad::DisplayFails), exception("begun<fmt error>", &[]));
    assert_eq!(exception_of(&Bad::DisplayPanics), exception("begun<panicked>", &[]));
    assert_eq!(exception_of(&Bad::DebugPanics), exception("begun and done", &[]));
    assert_eq!(
        exception_of(&Bad::Wraps(&Bad::DisplayFails)),
        exception("begun and done", &["begun<fmt error>"])
    );
    assert_eq!(
        exception_of(&Bad::Wraps(&Bad::DisplayPanics)),
        exception("begun and done", &["begun<panicked>"])
    );
    assert_eq!(exception_of(&Bad::SourcePanics), exception("begun and done", &["<panicked>"]));
    assert_eq!(
        exception_of(&Bad::Wraps(&Bad::SourcePanics)),
        exception("begun and done", &["begun and done", "<panicked>"])
    );
    let cyclic = exception_of(&Bad::IsItsOwnSource);
    assert_eq!(cyclic["chain"], json!(vec!["begun and done"; 64]));
}

#[test]
fn a_second_error_and_the_text_format_are_as_safe() {
    let wraps = Bad::Wraps(&Bad::SourcePanics);
    let say = || {
        let error = &wraps as &(dyn Error + 'static);
        st_log::error!(logger: LOG, first = error, second = error, "said");
    };
    let record = only(records_of(say));
    assert_eq!(record["extra"]["second"], "begun and done<panicked>");
    let text = text_of(&Settings { format: Format::Text, ..Settings::default() }, say);
    let expected = "said exception=\"Bad: begun and done<panicked>\" \
                    second=\"begun and done<panicked>\"\n";
    assert!(text.ends_with(expected), "{text}");
}

#[test]
fn values_that_fail_or_panic_do_so_in_a_message_and_in_a_field_of_log_records() {
    let bad = [(Bad::DisplayFails, "begun<fmt error>"), (Bad::DisplayPanics, "begun<panicked>")];
    for (value, shown) in bad {
        let record = only(records_of(|| {
            st_log::info!(logger: LOG, %value, again = %value, "{value}");
        }));
        assert_eq!(record["message"], shown);
        assert_eq!(record["extra"], json!({"value": shown, "again": shown}));
    }
}

/// The payload of a panic, which logs when it is dropped.
struct Payload;

impl Drop for Payload {
    fn drop(&mut self) {
        st_log::info!(logger: LOG, "payload dropped");
    }
}

struct PanicsWith;

impl fmt::Display for PanicsWith {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic_any(Payload)
    }
}

#[test]
fn a_panic_that_logs_when_it_is_dropped_keeps_the_line() {
    let records = records_of(|| {
        st_log::info!(logger: LOG, value = %PanicsWith, kept = 1, "outside");
        st_log::info!(logger: LOG, "after");
    });
    let outside = records.iter().find(|it| it["message"] == "outside").unwrap();
    assert_eq!(outside["extra"], json!({"value": "<panicked>", "kept": 1}));
    assert_eq!(records.last().unwrap()["message"], "after");
}

#[test]
fn a_value_may_change_the_scope_while_it_is_printed() {
    struct Opens;
    impl fmt::Display for Opens {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let _inner = context("inner").enter();
            Scope::root().in_scope(|| st_log::set_correlation_id(id("elsewhere")));
            std::mem::forget(context("left").enter());
            f.write_str("printed")
        }
    }
    let settings = Settings::default();
    let text = Scope::root().in_scope(|| {
        text_of(&settings, || {
            st_log::with_correlation_id(id("mine"), || {
                let _outer = context("outer").enter();
                st_log::info!(logger: LOG, "{Opens}");
            });
        })
    });
    let record = only(parsed(&text));
    assert_eq!(record["message"], "printed");
    assert_eq!(record["correlation_id"], "mine");
    // The scope is read once, after all values are formatted.
    assert_eq!(record["extra"], json!({"outer": 1, "left": 1}));
}
