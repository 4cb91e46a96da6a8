//! What the crate promises, tested through its public interface.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the helpers of tests fail as tests do"
)]

mod capture;
#[cfg(feature = "tower")]
mod example;
mod functions;
mod hostile;
mod levels;
mod process;
mod random;
mod record;
mod scopes;
