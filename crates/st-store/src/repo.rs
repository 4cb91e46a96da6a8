//! What a store does, in the terms of the domain: five traits, and [`Store`], their sum.
//!
//! Each call is one whole step in one transaction. Every mutating call takes `now`; those of
//! workers also take the attempt token they claimed with and are refused when there is a newer one.

mod approvals;
mod events;
mod jobs;
mod queue;
mod settings;

pub use approvals::{ApprovalRepo, Expiry};
pub use events::EventLog;
pub use jobs::{JobRef, JobRepo, Submitted};
pub use queue::{Claim, Claiming, QueueRepo};
pub use settings::{ProviderConfig, SettingsRepo};

/// All of it. Implemented by every backend, and the type that workers and servers take.
pub trait Store:
    JobRepo + QueueRepo + ApprovalRepo + EventLog + SettingsRepo + std::fmt::Debug
{
}

impl<T> Store for T where
    T: JobRepo + QueueRepo + ApprovalRepo + EventLog + SettingsRepo + std::fmt::Debug
{
}
