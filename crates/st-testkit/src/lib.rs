//! Test doubles that several crates share: a provider in memory and several on the wire, a clock on
//! tokio's time, a store whose calls fail, the conformance suites of stores and of providers. Never published, and a dependency of tests only.

pub mod clock;
pub mod dump;
pub mod flaky_store;
pub mod fuzz;
pub mod http_world;
pub mod provider;
pub mod provider_suite;
pub mod receiver;
pub mod replicate;
pub mod suite;
