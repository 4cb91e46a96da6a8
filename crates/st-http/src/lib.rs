#![doc = include_str!("../README.md")]
//!
//! Modules, in reading order: `config` (what can be set), `client` (the one send path), `request` and
//! `response` (what goes out and comes back), `connect` and `tls` (how a connection is made), `error`.

use std::sync::OnceLock;

mod client;
mod config;
mod connect;
mod error;
mod request;
mod response;
mod tls;

pub use client::Client;
pub use config::Config;
pub use error::{Error, Kind, Sent};
pub use request::Request;
pub use response::{Response, StreamingResponse};

/// The logger that every line of this crate is written under.
pub(crate) const LOG: st_log::Logger = st_log::get_logger("simpletuner.cloud.http");

/// The process-wide client with the default [`Config`], made at the first call and shared by all.
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
