//! `cargo xtask lint`: everything that judges the code without running the product.
//!
//! Promises: warnings are errors here and only here, so that unfinished work still compiles; the
//! check of known vulnerabilities is either done or loudly reported as not done. Leaves out: tests
//! of the crates; only this crate's own tests run here, because they are the tidy checks.

use xshell::{Shell, cmd};

use crate::step::{Failure, Tools, answers, heading, step};

const ADD_COMPONENTS: &str = "rustup component add rustfmt clippy";

/// All lint steps, cheapest first.
pub(crate) fn all(sh: &Shell, tools: &Tools) -> Result<(), Failure> {
    for tool in ["fmt", "clippy"] {
        if !answers(sh, tool) {
            return Err(Failure::Missing { tool, remedy: ADD_COMPONENTS });
        }
    }
    step("format", &cmd!(sh, "cargo fmt --all --check"))?;
    // This crate's tests are the tidy checks: they read the tree and run in milliseconds.
    step("tidy", &cmd!(sh, "cargo test --quiet --package xtask"))?;
    step(
        "clippy",
        &cmd!(
            sh,
            "cargo clippy --workspace --all-targets --features st-store/failpoints -- -D warnings"
        ),
    )?;
    step(
        "clippy: st-store as it is shipped",
        &cmd!(sh, "cargo clippy --package st-store -- -D warnings"),
    )?;
    step(
        "clippy: st-store without SQLite",
        &cmd!(sh, "cargo clippy --package st-store --no-default-features -- -D warnings"),
    )?;
    step(
        "clippy: st-log without its features",
        &cmd!(sh, "cargo clippy --package st-log -- -D warnings"),
    )?;
    step(
        "documentation",
        &cmd!(sh, "cargo doc --no-deps --workspace").env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    tools.need(sh, "deny", "cargo-deny")?;
    step("dependency rules", &cmd!(sh, "cargo deny check bans licenses sources"))?;
    advisories(sh)
}

/// Checks the dependencies against the advisory database where that can be fetched. Without a
/// network this is no reason to fail, nor one to keep quiet: the last known good answer is stale.
fn advisories(sh: &Shell) -> Result<(), Failure> {
    heading("advisories: fetch the database");
    let fetch = cmd!(sh, "timeout 60 cargo deny fetch db").quiet().ignore_status();
    println!("$ {fetch}");
    let why_not = match fetch.output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(why_not) = why_not {
        println!(
            "{why_not}\n\
             !! NOT CHECKED: known vulnerabilities. The advisory database could not be fetched.\n\
             !! Run `cargo deny check advisories` where the network allows it."
        );
        return Ok(());
    }
    step("advisories", &cmd!(sh, "cargo deny check advisories"))
}
