//! The operator's page in a real browser: Chromium, driven through its driver.
//!
//! `cargo xtask page` installs what is missing and runs this; a plain `cargo nextest run` leaves it out, which
//! `.config/nextest.toml` says. Each test is a process of its own with a server, a driver and a browser.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what helps tests fails as tests do"
)]

mod axe;
mod browser;
mod cast;
mod cross_site;
mod driver;
mod focus;
mod hostile;
mod keyboard;
mod many;
mod report;
mod restart;
mod scene;
mod screens;
mod session;
mod sizes;
#[expect(dead_code, reason = "the end-to-end tests use the rest")]
#[path = "../it/support.rs"]
mod support;
mod viewer;
