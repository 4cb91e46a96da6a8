#![doc = include_str!("../README.md")]
#![expect(
    clippy::struct_field_names,
    clippy::struct_excessive_bools,
    reason = "members are named and typed as the interface has them"
)]

pub mod accounts;
pub mod approvals;
pub mod configs;
pub mod events;
pub mod input;
pub mod jobs;
pub mod local;
pub mod metrics;
pub mod names;
mod openapi;
pub mod operation;
mod page;
pub mod polling;
pub mod problem;
pub mod providers;
pub mod queue;
pub mod quotas;
pub mod received;
pub mod schema;
pub mod system;
pub mod webhooks;

pub use openapi::{document, reference};
