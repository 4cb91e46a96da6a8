//! Wakes a task. Signals coalesce: however many come, one more run sees what they were about.

use std::sync::Arc;

use tokio::sync::Notify;

/// A handle that wakes one task. It may exist, and be used, before the task does.
#[derive(Debug, Clone, Default)]
pub struct Activator(Arc<Notify>);

impl Activator {
    /// A handle for a task that is not registered yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the task run now, or once more when it is running.
    pub fn activate(&self) {
        // A permit is kept while nobody waits, so a signal during a run is not lost.
        self.0.notify_one();
    }

    pub(crate) async fn activated(&self) {
        self.0.notified().await;
    }
}
