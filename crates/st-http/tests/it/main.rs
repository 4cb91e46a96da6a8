//! The client against small servers in this process, through the public API alone.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod correlation;
mod deadlines;
mod log;
mod refused;
mod response;
mod sent;
mod server;
mod tls;
