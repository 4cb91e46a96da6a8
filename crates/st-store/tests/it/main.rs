//! The stores, seen from outside: the same suite against each, and both against each other.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what helps tests fails as tests do"
)]

mod damage;
mod differential;
mod durability;
mod memory;
mod power_cut;
mod sqlite;
