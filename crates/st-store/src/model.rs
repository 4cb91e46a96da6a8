//! The domain: what a job, its place in the queue and its approval are, and which steps they may take.
//!
//! Pure: no IO, no clock, no randomness. Everything that decides something about a job's state is
//! here once, so that every backend takes the same decision.

pub mod approval;
pub mod event;
pub mod ids;
pub mod input;
pub mod job;
pub mod limits;
pub mod owner;
pub mod page;
pub mod priority;
pub mod queue;
pub mod rule;
pub mod status;
pub mod step;
mod text;
pub mod work;

pub use approval::{APPROVAL_TTL, ApprovalRequest, Decision, Verdict};
pub use event::{Change, Event, NewEvent, Source};
pub use ids::{
    ApprovalId, AttemptToken, EventId, JobId, OrgId, ProviderJobId, ProviderName, QueueEntryId,
    RuleId, TeamId, UserId,
};
pub use input::{InputProblem, InvalidInput, MAX_BYTES, MAX_DEPTH, check_input};
pub use job::{Idempotency, Job, JobType, NewJob, Report};
pub use limits::{Admission, InvalidLimits, Limit, Limits, Usage};
pub use owner::{Owner, Role};
pub use page::{JobFilter, Page, PageRequest, QueueFilter, RequestFilter};
pub use priority::{InvalidPriority, Priority};
pub use queue::{Lease, QueueEntry, QueueStats};
pub use rule::{Condition, Facts, InvalidRule, NewRule, Rule};
pub use status::{ApprovalStatus, JobStatus, QueueStatus};
pub use step::{Cancelling, Failure, Refusal, Retried};
pub use text::UnknownText;
pub use work::Work;
