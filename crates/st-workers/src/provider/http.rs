//! Any provider that is described in the configuration instead of in Rust.
//!
//! A [`Description`] says which requests are made, where in the answers things are, and how a
//! submission takes effect at most once. Nothing in it is a program: templates copy values, rules are
//! read from the top, and what an answer holds is never read as a description.

mod answers;
mod base;
mod call;
mod check;
mod client;
mod connection;
mod described;
mod description;
mod filter;
mod job;
mod json;
mod judge;
mod list;
mod log;
mod logs;
mod once;
mod pointer;
mod reading;
mod rule;
mod search;
mod secret;
mod section;
mod statuses;
mod sweep;
mod template;
mod units;
mod unknown_words;
mod values;
mod wait;

pub use check::{NotJudged, SavedAnswer, ShownRequest};
pub use client::SharedClient;
pub use described::{Credentials, HttpProvider};
pub use description::Description;
pub use section::DescriptionFault;
pub use units::parse_size;

#[cfg(test)]
mod tests;
