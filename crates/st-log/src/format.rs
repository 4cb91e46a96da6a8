//! How events become lines: what is configured of it.

use std::backtrace::Backtrace;

use crate::level::Level;
use crate::redact::Redaction;
use crate::settings::{Format, Settings};
use crate::site::Sites;

/// Below this, not even an empty record with long names would fit.
const SMALLEST: usize = 1024;

/// What all lines of a layer have in common.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub(crate) struct Formatter {
    pub(crate) format: Format,
    pub(crate) color: bool,
    pub(crate) max_bytes: usize,
    pub(crate) trace_context: bool,
    pub(crate) redaction: Redaction,
    pub(crate) sites: Sites,
    include_stack_info: bool,
}

impl Formatter {
    pub(crate) fn new(settings: &Settings, color: bool) -> Self {
        Self {
            format: settings.format,
            color,
            max_bytes: settings.max_record_bytes.max(SMALLEST),
            trace_context: settings.trace_context,
            redaction: settings.redaction.clone(),
            sites: Sites::default(),
            include_stack_info: settings.include_stack_info,
        }
    }

    pub(crate) fn stack_of(&self, level: Level) -> Option<String> {
        let wanted = self.include_stack_info && level >= Level::Error;
        wanted.then(|| Backtrace::force_capture().to_string())
    }
}
