//! Synchronous output: the thread that logs writes each line with one system call per output.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::format::Formatter;
use crate::internal;
use crate::sink::output::Output;

/// Writes each line to all outputs, in the same order.
pub(crate) struct Direct {
    /// Locked while a line is written, so that lines do not interleave; never locked while code
    /// outside this crate runs.
    outputs: Mutex<Vec<Output>>,
    formatter: Arc<Formatter>,
}

impl Direct {
    pub(crate) fn new(outputs: Vec<Output>, formatter: Arc<Formatter>) -> Self {
        Self { outputs: Mutex::new(outputs), formatter }
    }

    pub(crate) fn write(&self, line: &[u8]) {
        for output in self.lock().iter_mut() {
            output.write(line);
            output.report_lost(|lost| internal::dropped_line(&self.formatter, lost));
        }
    }

    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let mut all = true;
        for output in self.lock().iter_mut() {
            all &= output.finish_torn_line(timeout);
        }
        all
    }

    /// Returns whether there is a file output and it was opened.
    pub(crate) fn reopen(&self) -> bool {
        let mut outputs = self.lock();
        let Reopened { any, failures } = reopen(&mut outputs, &self.formatter);
        if !failures.is_empty() {
            outputs.iter_mut().for_each(|output| output.write(&failures));
        }
        any
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.lock().iter().map(Output::lost).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Output>> {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The result of reopening the outputs.
pub(super) struct Reopened {
    /// Whether any file was opened.
    pub(super) any: bool,
    /// Records of the files that could not be opened.
    pub(super) failures: Vec<u8>,
}

pub(super) fn reopen(outputs: &mut [Output], formatter: &Formatter) -> Reopened {
    let mut reopened = Reopened { any: false, failures: Vec::new() };
    for output in outputs {
        match output.reopen() {
            Ok(is_file) => reopened.any |= is_file,
            Err(error) => reopened.failures.extend(internal::not_reopened_line(formatter, &error)),
        }
    }
    reopened
}
