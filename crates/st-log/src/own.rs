//! Lines that are about the log itself, and about panics. They come from no event, because an event
//! would have to be written while writing is what fails.

use std::io;
use std::panic::PanicHookInfo;
use std::path::Path;

use crate::draft::{Draft, with_buffers};
use crate::format::Formatter;
use crate::json::{push_int, push_str};
use crate::level::Level;
use crate::logger::{Logger, get_logger};
use crate::scope::Scope;
use crate::site::Source;

/// Under which name this crate speaks for itself.
pub(crate) const LOG: Logger = get_logger("simpletuner.cloud.log");

/// So many lines were lost, and now writing works again.
pub(crate) fn dropped_line(formatter: &Formatter, lost: u64) -> Vec<u8> {
    warning(formatter, &format!("{lost} log lines were dropped"), line!(), |draft| {
        if let Some(out) = draft.field_named("dropped") {
            push_int(out, lost);
        }
    })
}

/// The file that is open is still in use.
pub(crate) fn not_reopened_line(formatter: &Formatter, error: &io::Error) -> Vec<u8> {
    warning(formatter, "Log file could not be reopened", line!(), |draft| {
        if let Some(out) = draft.field_named("reason") {
            push_str(out, &error.to_string());
        }
    })
}

fn warning(
    formatter: &Formatter,
    message: &str,
    at: u32,
    fields: impl FnOnce(&mut Draft<'_>),
) -> Vec<u8> {
    // Whoever happens to write when it works again has nothing to do with what was lost.
    Scope::root().in_scope(|| {
        with_buffers(|buffers| {
            let mut draft = Draft::begin(formatter, &mut buffers.parts, Level::Warning, LOG.name());
            draft.message(message);
            draft.source(&Source::new(Some(file!()), Some(at)), "warning");
            fields(&mut draft);
            draft.finish(None).to_vec()
        })
    })
}

/// The line about a panic, with the fields of the scope that it happens in.
pub(crate) fn panic_line(formatter: &Formatter, panic: &PanicHookInfo<'_>) -> Vec<u8> {
    let thread = std::thread::current();
    let place = panic.location();
    let file = place.map(std::panic::Location::file);
    // A panic does not say in which function it was; its module comes nearest.
    let module = file.and_then(|it| Path::new(it).file_stem()?.to_str()).unwrap_or_default();
    with_buffers(|buffers| {
        let mut draft = Draft::begin(formatter, &mut buffers.parts, Level::Critical, LOG.name());
        draft.message_of(format_args!(
            "Panicked: {}",
            panic.payload_as_str().unwrap_or("no message")
        ));
        draft.source(&Source::new(file, place.map(std::panic::Location::line)), module);
        if let Some(out) = draft.field_named("thread") {
            push_str(out, thread.name().unwrap_or("unnamed"));
        }
        draft.finish(None).to_vec()
    })
}
