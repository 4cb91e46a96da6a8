//! The built program, seen from outside.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what helps tests fails as tests do"
)]

mod events;
mod input;
mod local;
mod main_job;
mod start;
mod support;
