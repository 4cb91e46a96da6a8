//! The background tasks, one each.

pub mod expirer;
pub mod poller;
pub mod retention;
pub mod scheduler;
