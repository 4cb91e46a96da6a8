//! `cargo xtask test` and `integration`, and the tests of `ci`.
//!
//! Promises: `ci` runs each test once: the tidy checks in `lint`, all others in one run with the
//! slow ones switched on, so neither is repeated by `integration`. Leaves out: which tests are
//! slow; a test asks the environment for `ST_SLOW=1` and says so when it skips itself. The tests that need a
//! browser are left out by `.config/nextest.toml` and run by `page`.

use xshell::{Shell, cmd};

use crate::step::{Failure, Tools, step};

/// Switches the slow tests on.
const SLOW: (&str, &str) = ("ST_SLOW", "1");

/// The store's tests run apart: the failures that they plan are compiled in for them alone, so that
/// every other test runs the product as it is shipped.
const STORE_TESTS: [&str; 4] = ["--package", "st-store", "--features", "failpoints"];

/// All tests of the workspace but the slow ones.
pub(crate) fn fast(sh: &Shell, tools: &Tools) -> Result<(), Failure> {
    tools.need(sh, "nextest", "cargo-nextest")?;
    step("tests", &cmd!(sh, "cargo nextest run --workspace --exclude st-store"))?;
    step(
        "tests of the store, with failures on demand",
        &cmd!(sh, "cargo nextest run {STORE_TESTS...}"),
    )?;
    doc_tests(sh)
}

/// The server's own tests against its real binary, the slow ones too.
pub(crate) fn integration(sh: &Shell, tools: &Tools) -> Result<(), Failure> {
    tools.need(sh, "nextest", "cargo-nextest")?;
    step("build st-server", &cmd!(sh, "cargo build --package st-server"))?;
    let (name, value) = SLOW;
    step("end-to-end tests", &cmd!(sh, "cargo nextest run --package st-server").env(name, value))
}

/// Programs of others that some tests run for real, where they are there.
const PROGRAMS: [&str; 2] = ["jq", "logrotate"];

/// Every test once, the slow ones too, except this crate's: `lint` has run those.
pub(crate) fn everything_once(sh: &Shell, tools: &Tools) -> Result<(), Failure> {
    tools.need(sh, "nextest", "cargo-nextest")?;
    for program in PROGRAMS {
        tools.want(sh, program);
    }
    let (name, value) = SLOW;
    step(
        "tests, the slow ones too",
        &cmd!(sh, "cargo nextest run --workspace --exclude xtask --exclude st-store")
            .env(name, value),
    )?;
    step(
        "tests of the store, with failures on demand",
        &cmd!(sh, "cargo nextest run {STORE_TESTS...}").env(name, value),
    )?;
    doc_tests(sh)
}

fn doc_tests(sh: &Shell) -> Result<(), Failure> {
    step("doc-tests", &cmd!(sh, "cargo test --workspace --doc"))
}
