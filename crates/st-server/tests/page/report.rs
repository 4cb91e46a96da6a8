//! What the tests measured, for the report of `cargo xtask page`.

use std::fs::OpenOptions;
use std::io::Write;

/// Names the file that takes the measurements, one line each. Without it nothing is kept.
const FILE: &str = "ST_PAGE_REPORT";

/// Keeps a measurement: what was measured, and what came out.
pub(crate) fn note(what: &str, result: &str) {
    let Some(file) = std::env::var_os(FILE) else {
        return;
    };
    let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
    // One write, so that the lines of tests that run at the same time stay whole.
    file.write_all(format!("{what}\t{result}\n").as_bytes()).unwrap();
}
