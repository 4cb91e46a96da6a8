#![doc = include_str!("../README.md")]
//!
//! Modules, in reading order: `config`, `builder`, `proxy` and `address` with `spelling` (what can be set), `client` (the
//! one send path), `request` with `body`, and `response` with `gunzip` (what goes out and comes back),
//! `send` with `retry` and `breaker` (what repeats and holds back a request), `connect` and `tls` (how a
//! connection is made), `phase`, `metrics`, `error`.

use std::sync::OnceLock;

mod address;
mod body;
mod breaker;
mod builder;
mod client;
mod config;
mod connect;
mod error;
mod gunzip;
mod metrics;
mod phase;
mod proxy;
mod request;
mod response;
mod retry;
mod retry_after;
mod send;
mod spelling;
mod target;
mod tls;
#[cfg(feature = "tower")]
pub mod tower;

pub use address::AddressPolicy;
pub use breaker::{BreakerConfig, Breakers, CallEnd, Permit};
pub use builder::Builder;
pub use bytes::Bytes;
pub use client::Client;
pub use config::{Config, DefaultHeaders, HttpVersions};
pub use connect::ConnectFault;
pub use error::{Error, Kind, Sent};
pub use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
pub use ipnet::IpNet;
pub use metrics::{HostMetrics, OTHER_HOSTS};
pub use phase::Phase;
pub use proxy::{Proxies, Proxy};
pub use request::Request;
pub use response::{Response, StreamingResponse};
pub use retry::{Retries, RetryConfig};
pub use retry_after::{delay_seconds, retry_after};

/// The logger that every line of this crate is written under.
pub(crate) const LOG: st_log::Logger = st_log::get_logger("simpletuner.cloud.http");

/// The process-wide client with the default [`Config`], made at the first call and shared by all. It has no
/// proxy and no `ca_bundle`; a program that needs them makes its own client and passes that on.
///
/// Fails as [`Client::new`] does; the next call then tries again.
pub fn get_async_client() -> Result<Client, Error> {
    static SHARED: OnceLock<Client> = OnceLock::new();
    if let Some(client) = SHARED.get() {
        return Ok(client.clone());
    }
    let client = Client::new(Config::default())?;
    Ok(SHARED.get_or_init(|| client).clone())
}
