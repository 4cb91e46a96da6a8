//! Each line is one write by the thread that logs it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::format::Formatter;
use crate::own;
use crate::sink::output::Output;

/// The outputs, which all get the same lines in the same order.
pub(crate) struct Direct {
    /// Held for the writes of a line, which keeps it whole; never while foreign code runs.
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
            output.report(|lost| own::dropped_line(&self.formatter, lost));
        }
    }

    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let mut all = true;
        for output in self.lock().iter_mut() {
            all &= output.mend(timeout);
        }
        all
    }

    /// Whether there is a file and it was opened.
    pub(crate) fn reopen(&self) -> bool {
        let mut outputs = self.lock();
        let Reopened { any, failed } = reopen(&mut outputs, &self.formatter);
        if !failed.is_empty() {
            outputs.iter_mut().for_each(|output| output.write(&failed));
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

/// What came of opening files again.
pub(super) struct Reopened {
    pub(super) any: bool,
    /// The lines that tell what could not be opened.
    pub(super) failed: Vec<u8>,
}

pub(super) fn reopen(outputs: &mut [Output], formatter: &Formatter) -> Reopened {
    let mut reopened = Reopened { any: false, failed: Vec::new() };
    for output in outputs {
        match output.reopen() {
            Ok(is_file) => reopened.any |= is_file,
            Err(error) => reopened.failed.extend(own::not_reopened_line(formatter, &error)),
        }
    }
    reopened
}
