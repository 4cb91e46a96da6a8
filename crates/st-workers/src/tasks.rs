//! The background tasks, one each.

pub mod expirer;
pub mod poller;
pub mod results;
pub mod retention;
pub mod scheduler;
pub mod webhooks;
