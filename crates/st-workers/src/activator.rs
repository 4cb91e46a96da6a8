//! Wakes a task. Signals coalesce: after however many, one more run sees what they were about.

use std::sync::Arc;

use tokio::sync::Notify;

/// A handle that wakes one task.
#[derive(Debug, Clone, Default)]
pub(crate) struct Activator(Arc<Notify>);

impl Activator {
    /// Makes the task run now, or once more when it is running.
    pub(crate) fn activate(&self) {
        // A permit is kept while nothing waits for it, so a signal during a run is not lost.
        self.0.notify_one();
    }

    pub(crate) async fn activated(&self) {
        self.0.notified().await;
    }
}
