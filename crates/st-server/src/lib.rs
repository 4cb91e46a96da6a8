#![doc = include_str!("../README.md")]

mod access;
mod api;
mod app;
mod auth;
pub mod cli;
pub mod config;
mod http;
mod init;
mod metrics;
mod reload;
mod service_manager;
mod shutdown;

pub use app::{App, StartError};
pub use config::get_enterprise_config;
pub use http::listen::tls::TlsError;
pub use shutdown::Shutdown;
