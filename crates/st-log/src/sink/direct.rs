//! Each line is one write by the thread that logs it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::format::Formatter;
use crate::own;
use crate::sink::output::Output;

/// The outputs, which all get the same lines in the same order.
pub(crate) struct Direct {
    /// Held for the writes of a line, which keeps it whole; never while foreign code runs.
    outputs: Mutex<Vec<Output>>,
    formatter: Arc<Formatter>,
    dropped: AtomicU64,
}

impl Direct {
    pub(crate) fn new(outputs: Vec<Output>, formatter: Arc<Formatter>) -> Self {
        Self { outputs: Mutex::new(outputs), formatter, dropped: AtomicU64::new(0) }
    }

    pub(crate) fn write(&self, line: &[u8]) {
        for output in self.lock().iter_mut() {
            let lost = output.write(line);
            if lost > 0 {
                self.dropped.fetch_add(lost, Ordering::Relaxed);
            }
            output.report(|lost| own::dropped_line(&self.formatter, lost));
        }
    }

    pub(crate) fn flush(&self) -> bool {
        self.lock().iter_mut().all(Output::mend)
    }

    pub(crate) fn reopen(&self) {
        let mut outputs = self.lock();
        let failed: Vec<u8> = outputs
            .iter_mut()
            .filter_map(|output| match output.reopen() {
                Ok(lost) => {
                    self.dropped.fetch_add(lost, Ordering::Relaxed);
                    None
                }
                Err(error) => Some(own::not_reopened_line(&self.formatter, &error)),
            })
            .flatten()
            .collect();
        if !failed.is_empty() {
            for output in outputs.iter_mut() {
                let lost = output.write(&failed);
                self.dropped.fetch_add(lost, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Output>> {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
