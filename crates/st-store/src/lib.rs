#![doc = include_str!("../README.md")]

mod clock;
mod error;
mod memory;
pub mod model;
mod repo;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{Error, Result};
pub use memory::MemoryStore;
pub use model::*;
pub use repo::{
    ApprovalRepo, Claim, Claiming, EventLog, Expiry, JobRef, JobRepo, ProviderConfig, QueueRepo,
    SettingsRepo, Store, Submitted,
};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteConfig, SqliteStore};
