//! An error with its causes on one line.

use std::error::Error;
use std::fmt;

/// Causes that are followed at most; an error that is its own cause must not hang the program.
const DEEPEST: usize = 64;

/// Displays an error and all its causes, joined by `": "`.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        causes(self.0).try_for_each(|cause| write!(f, ": {cause}"))
    }
}

/// What caused the error, nearest first.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'a),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |&it| it.source()).take(DEEPEST)
}
