//! What a store does, in the terms of the domain: one trait for each topic, and [`Store`], their
//! sum.
//!
//! Each call is one whole step in one transaction. No call takes a time: the clock is the store's.
//! Every call that changes something names its actor, and from a worker the attempt token; a write
//! with an older token than the newest is refused. Nothing assumes that this process is the only
//! one.

mod approvals;
mod audit;
mod budgets;
mod events;
mod history;
mod jobs;
mod keys;
mod queue;
mod received;
mod results;
mod settings;
mod status;
mod strays;
mod webhooks;

pub use approvals::{ApprovalRepo, Expiry};
pub use audit::AuditRepo;
pub use budgets::BudgetRepo;
pub use events::{EventLog, EventPage};
pub use history::{HistoryRepo, Pruned};
pub(crate) use jobs::first_matches;
pub use jobs::{JobRef, JobRepo, PrefixMatch, Submitted};
pub use keys::KeyRepo;
pub use queue::{Claim, ClaimOptions, Claims, QueueRepo, Serving, Settlement};
pub use received::ReceivedRepo;
pub use results::ResultRepo;
pub use settings::SettingsRepo;
pub use status::StoreStatus;
pub(crate) use status::until;
pub use strays::{RecheckOutcome, StrayRepo, Unsettled, UnsettledCounts};
pub use webhooks::WebhookRepo;

/// All of it. Implemented by every backend, and the type that workers and servers take.
pub trait Store:
    JobRepo
    + QueueRepo
    + ApprovalRepo
    + BudgetRepo
    + StrayRepo
    + EventLog
    + HistoryRepo
    + KeyRepo
    + AuditRepo
    + ReceivedRepo
    + ResultRepo
    + SettingsRepo
    + WebhookRepo
    + StoreStatus
    + std::fmt::Debug
{
}

impl<T> Store for T where
    T: JobRepo
        + QueueRepo
        + ApprovalRepo
        + BudgetRepo
        + StrayRepo
        + EventLog
        + HistoryRepo
        + KeyRepo
        + AuditRepo
        + ReceivedRepo
        + ResultRepo
        + SettingsRepo
        + WebhookRepo
        + StoreStatus
        + std::fmt::Debug
{
}
