//! Records that the logger writes about itself and about panics. They bypass `tracing`, because an
//! event would re-enter the writer that just failed.

use std::io;
use std::panic::PanicHookInfo;
use std::path::Path;

use crate::callsite::Source;
use crate::format::Formatter;
use crate::json::{push_int, push_str};
use crate::level::Level;
use crate::logger::{Logger, get_logger};
use crate::record::{RecordBuilder, with_thread_state};
use crate::scope::Scope;

/// The logger of this crate's own records.
pub(crate) const LOG: Logger = get_logger("simpletuner.cloud.log");

/// The record of lost lines, written once writing works again.
pub(crate) fn dropped_line(formatter: &Formatter, lost: u64) -> Vec<u8> {
    warning(formatter, &format!("{lost} log lines were dropped"), line!(), |record| {
        if let Some(out) = record.field_named("dropped") {
            push_int(out, lost);
        }
    })
}

/// The record of a failed reopen; the old file stays in use.
pub(crate) fn not_reopened_line(formatter: &Formatter, error: &io::Error) -> Vec<u8> {
    warning(formatter, "Log file could not be reopened", line!(), |record| {
        if let Some(out) = record.field_named("reason") {
            push_str(out, &error.to_string());
        }
    })
}

fn warning(
    formatter: &Formatter,
    message: &str,
    at: u32,
    fields: impl FnOnce(&mut RecordBuilder<'_>),
) -> Vec<u8> {
    // The scope of the code that happens to log now is unrelated to the failure.
    Scope::root().in_scope(|| {
        with_thread_state(|state| {
            let mut record =
                RecordBuilder::begin(formatter, &mut state.buffers, Level::Warning, LOG.name());
            record.message(message);
            record.source(&Source::new(Some(file!()), Some(at)), "warning");
            fields(&mut record);
            record.finish(None).to_vec()
        })
    })
}

/// The record of a panic, with the fields of the current scope.
pub(crate) fn panic_line(formatter: &Formatter, panic: &PanicHookInfo<'_>) -> Vec<u8> {
    let thread = std::thread::current();
    let place = panic.location();
    let file = place.map(std::panic::Location::file);
    // The function that panicked is unknown; its module is the closest substitute.
    let module = file.and_then(|it| Path::new(it).file_stem()?.to_str()).unwrap_or_default();
    with_thread_state(|state| {
        let mut record =
            RecordBuilder::begin(formatter, &mut state.buffers, Level::Critical, LOG.name());
        record.message_of(format_args!(
            "Panicked: {}",
            panic.payload_as_str().unwrap_or("no message")
        ));
        record.source(&Source::new(file, place.map(std::panic::Location::line)), module);
        if let Some(out) = record.field_named("thread") {
            push_str(out, thread.name().unwrap_or("unnamed"));
        }
        record.finish(None).to_vec()
    })
}
