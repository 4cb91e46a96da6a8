//! Lets approval requests lapse that nobody decided in time.
//!
//! Runs every 5 minutes, and at the next deadline. Each request lapses with its queue entry, its
//! job and their events in one transaction; chunks keep the store free for others in between.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use st_log::{LogContext, Logger, get_logger};
use st_store::{Clock, Store, Work};

use crate::task::{Cycle, Report, Task, TaskError, TaskId, Timing};

const LOG: Logger = get_logger("simpletuner.cloud.approvals");

/// The usual interval.
pub const PERIOD: Duration = Duration::from_mins(5);
/// How many requests lapse in one transaction at most.
const CHUNK: u32 = 100;

/// The task `approval_expiration`.
#[derive(Debug)]
pub struct Expirer {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    period: Duration,
}

impl Expirer {
    /// An expirer that looks every `period` at the latest.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, period: Duration) -> Self {
        Self { store, clock, period }
    }
}

#[async_trait]
impl Task for Expirer {
    fn id(&self) -> TaskId {
        TaskId::ApprovalExpiration
    }

    fn timing(&self) -> Timing {
        Timing { period: self.period, deadline: Duration::from_mins(2) }
    }

    async fn run(&self, cycle: &Cycle) -> Result<Report, TaskError> {
        const FAILED: &str = "Error in approval expiration";
        let mut expired = 0;
        while !cycle.stopping.is_cancelled() {
            let now = self.clock.now();
            let lapsed = self.store.expire(CHUNK, now).await.map_err(TaskError::because(FAILED))?;
            expired += lapsed.expired.len() as u64;
            lapsed.expired.iter().for_each(tell);
            if !lapsed.more {
                break;
            }
        }
        if expired > 0 {
            st_log::info!(logger: LOG, "Expired {expired} approval requests");
        }
        let wake_at = self.store.next_expiry().await.map_err(TaskError::because(FAILED))?;
        Ok(Report { counts: vec![("expired", expired)], wake_at })
    }
}

/// Says it in the scope of the job.
fn tell(work: &Work) {
    st_log::with_correlation_id(work.job.correlation_id.clone(), || {
        let context = LogContext::new().field("job_id", work.job.id.to_string());
        let _in_context = context.enter();
        let approval = work.approval.as_ref().map(|request| request.id.0);
        st_log::warning!(
            logger: LOG, approval_id = approval,
            "Approval request expired, job cancelled"
        );
    });
}
