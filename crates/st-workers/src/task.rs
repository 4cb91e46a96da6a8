//! What a background task is.
//!
//! A task is a reconciler: it gets no input, reads the state and moves it on. Running it once too
//! often is harmless, running it late is only late.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

/// The name of a task: the key of its section in the configuration, and its name in the API, in
/// metrics and in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskId {
    /// The poller.
    JobStatusPolling,
    /// The scheduler.
    QueueProcessing,
    /// The expirer.
    ApprovalExpiration,
    /// The retention.
    JobRetention,
    /// The fetching of results before their providers delete them.
    ResultFetching,
    /// The delivery of events to webhooks.
    WebhookDelivery,
}

impl TaskId {
    /// All tasks.
    pub const ALL: &'static [Self] = &[
        Self::JobStatusPolling,
        Self::QueueProcessing,
        Self::ApprovalExpiration,
        Self::JobRetention,
        Self::ResultFetching,
        Self::WebhookDelivery,
    ];

    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JobStatusPolling => "job_status_polling",
            Self::QueueProcessing => "queue_processing",
            Self::ApprovalExpiration => "approval_expiration",
            Self::JobRetention => "job_retention",
            Self::ResultFetching => "result_fetching",
            Self::WebhookDelivery => "webhook_delivery",
        }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a run began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The driver started.
    Start,
    /// Its period was over, or the wait that it had asked for.
    Timer,
    /// A request, or a change of what it works on.
    Signal,
}

impl Reason {
    /// The word for it in the API and in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Timer => "timer",
            Self::Signal => "signal",
        }
    }
}

/// One run, as the task sees it.
#[derive(Debug, Clone)]
pub struct Cycle {
    /// Why it began.
    pub reason: Reason,
    /// Cancelled when the program stops: begin nothing new.
    pub stopping: CancellationToken,
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunSummary {
    /// How many objects of each kind it handled; the names are those of the log messages.
    pub counts: Vec<(&'static str, u64)>,
    /// How long until it should run again, where that is sooner than the period.
    pub wake_in: Option<Duration>,
}

/// A run that failed as a whole.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct TaskError {
    /// The message of the log line.
    pub message: &'static str,
    /// The cause.
    #[source]
    pub source: Box<dyn StdError + Send + Sync>,
}

impl TaskError {
    /// For `map_err`: keeps the cause under the message.
    pub fn because<E: StdError + Send + Sync + 'static>(
        message: &'static str,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self { message, source: Box::new(source) }
    }
}

/// How often a task runs, and for how long at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// From the end of a run to the next one, when nothing wakes it sooner.
    pub period: Duration,
    /// After this a run is ended; what it had committed stays.
    pub deadline: Duration,
}

/// A background task.
#[async_trait]
pub trait Task: fmt::Debug + Send + Sync {
    /// The task's name.
    fn id(&self) -> TaskId;

    /// How often it runs, and for how long at most.
    fn timing(&self) -> Timing;

    /// Runs once.
    async fn run(&self, cycle: &Cycle) -> Result<RunSummary, TaskError>;
}
