//! The workers, seen from outside: on a store in memory, a provider in memory and paused time.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what helps tests fails as tests do"
)]

mod arrival;
mod at_most_once;
mod deciding;
mod dispatch;
mod driver;
mod expirer;
mod http;
mod local;
mod outages;
mod poller;
mod provider_suite;
mod receiving;
mod replicate;
mod replicate_contract;
mod rerun;
mod results;
mod retention;
mod support;
mod syncing;
mod webhook_changes;
mod webhook_figures;
mod webhooks;
