#![doc = include_str!("../README.md")]

mod clock;
mod error;
#[cfg(feature = "sqlite")]
pub mod failpoint;
mod figures;
mod health;
mod log_context;
mod memory;
mod model;
mod repo;
#[cfg(feature = "sqlite")]
mod sqlite;
mod timings;

pub use clock::{Clock, ClockEvidence, ManualClock, SystemClock};
pub use error::{Error, Result};
pub use figures::{Figures, WaitReason, WriteTimings};
pub use health::{Integrity, StoreHealth, Waiting as WaitingWrites};
pub use memory::{MemorySnapshot, MemoryStore};
pub use model::*;
pub use repo::{
    ApprovalRepo, AuditRepo, BudgetRepo, Claim, ClaimOptions, Claims, EventLog, EventPage, Expiry,
    HistoryRepo, JobRef, JobRepo, KeyRepo, PrefixMatch, Pruned, QueueRepo, ReceivedRepo,
    RecheckOutcome, ResultRepo, Serving, SettingsRepo, Settlement, Store, StoreStatus, StrayRepo,
    Submitted, Unsettled, UnsettledCounts, WebhookRepo,
};
#[cfg(feature = "sqlite")]
pub use sqlite::{EventGap, Life, MigrationPlan, SqliteConfig, SqliteStore, offline};
/// The ID that every line and call about a job carries; part of the interface of a submission.
pub use st_log::CorrelationId;
pub use timings::{Scale, TimingCounts, Timings};
