//! The built program, seen from outside.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what helps tests fails as tests do"
)]

mod access;
mod auth;
mod container;
mod correlation;
mod damage;
mod database;
mod doctor;
mod events;
mod following;
mod hangup;
mod input;
mod local;
mod log_level;
mod logging_docs;
mod logs;
mod main_job;
mod provider;
mod received_webhooks;
mod reference;
mod results;
mod schemathesis;
mod secrets;
mod service_manager;
mod start;
mod stored;
mod submitting;
mod support;
mod troubleshooting;
mod webhooks;
