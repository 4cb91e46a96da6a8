//! The stores, seen from outside: the same suite against each, and both against each other.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what helps tests fails as tests do"
)]

mod bench;
mod clock_steps;
mod crash_random;
mod damage;
mod damage_elsewhere;
mod damaged_budgets;
mod damaged_settings;
mod differential;
mod durability;
mod files;
mod fixtures;
mod grants;
mod lives;
mod lost_life;
mod memory;
mod offline;
mod plans;
mod power_cut;
mod quiet;
mod rows;
mod schema;
mod shares;
mod sqlite;
mod strays;
mod stress;
mod wrong_start;
