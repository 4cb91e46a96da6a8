//! The stores, seen from outside: the same suite against each, and both against each other.

mod differential;
mod durability;
mod memory;
mod sqlite;
