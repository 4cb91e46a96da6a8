//! The client against small servers in this process, through the public API alone.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod addresses;
mod breaker;
mod correlation;
mod deadlines;
mod fault;
mod http2;
mod log;
mod metrics;
mod proxy;
mod refused;
mod request;
mod response;
mod retry;
mod sent;
mod server;
mod tls;
#[cfg(feature = "tower")]
mod tower;
