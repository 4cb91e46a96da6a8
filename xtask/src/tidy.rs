//! The project's own checks: what the compiler and clippy cannot know about this code.
//!
//! Promises: every check reads the whole tree, reports all faults as `file:line: what to do`, and
//! has a test on a bad sample that it must refuse. Leaves out: anything that needs types; the
//! checks look at names as they are written, so a rename at an import can hide from them.
//!
//! This module is compiled for tests only: `cargo test -p xtask` is how the checks run.

mod crates;
mod documents;
mod messages;
mod source;
mod text;
mod tree;

use std::fmt;

/// One place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Fault {
    path: String,
    /// Counted from 1.
    line: usize,
    remedy: String,
}

impl Fault {
    fn new(path: &str, line: usize, remedy: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, remedy: remedy.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.remedy)
    }
}

/// Fails the calling test with every fault, not only the first.
fn refuse(faults: &[Fault]) {
    let lines: Vec<String> = faults.iter().map(Fault::to_string).collect();
    assert!(lines.is_empty(), "{} faults\n{}", lines.len(), lines.join("\n"));
}

/// The places of the faults, for tests on bad samples.
fn places(faults: &[Fault]) -> Vec<String> {
    faults.iter().map(|fault| format!("{}:{}", fault.path, fault.line)).collect()
}
