//! The log fields of a job: the same on every line about it, from any worker.

use st_log::LogContext;

use crate::model::JobRecord;

impl JobRecord {
    /// The fields that every log line about this job carries: `job_id`, `provider`, and `attempt`
    /// once there was one.
    pub fn log_context(&self) -> LogContext {
        let context = LogContext::new()
            .field("job_id", self.id().to_string())
            .field("provider", self.job().provider.as_str());
        match self.entry().attempt {
            0 => context,
            attempt => context.field("attempt", attempt),
        }
    }

    /// Runs `log` in the scope of this job: with its correlation ID and its fields.
    pub fn in_log_scope<T>(&self, log: impl FnOnce() -> T) -> T {
        st_log::with_correlation_id(self.job().correlation_id.clone(), || {
            let _in_context = self.log_context().enter();
            log()
        })
    }
}
