#![doc = include_str!("../README.md")]

mod api;
mod app;
mod auth;
pub mod cli;
pub mod config;
mod http;
mod init;
mod shutdown;

pub use app::{App, StartError};
pub use config::get_enterprise_config;
pub use shutdown::Shutdown;
