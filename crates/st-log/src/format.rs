//! The settings that determine how events are formatted.

use std::backtrace::Backtrace;

use crate::callsite::Callsites;
use crate::level::Level;
use crate::redact::Redaction;
use crate::settings::{Format, Settings};

/// Even a record without fields may need this much if its names are long.
const MIN_RECORD_BYTES: usize = 1024;

/// The settings and callsites that all records of a layer share.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub(crate) struct Formatter {
    pub(crate) format: Format,
    pub(crate) color: bool,
    pub(crate) max_bytes: usize,
    pub(crate) trace_context: bool,
    pub(crate) redaction: Redaction,
    pub(crate) callsites: Callsites,
    include_stack_info: bool,
}

impl Formatter {
    pub(crate) fn new(settings: &Settings, color: bool) -> Self {
        Self {
            format: settings.format,
            color,
            max_bytes: settings.max_record_bytes.max(MIN_RECORD_BYTES),
            trace_context: settings.trace_context,
            redaction: settings.redaction.clone(),
            callsites: Callsites::default(),
            include_stack_info: settings.include_stack_info,
        }
    }

    pub(crate) fn backtrace_for(&self, level: Level) -> Option<String> {
        let wanted = self.include_stack_info && level >= Level::Error;
        wanted.then(|| Backtrace::force_capture().to_string())
    }
}
