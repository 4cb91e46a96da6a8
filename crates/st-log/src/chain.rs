//! An error with its causes on one line.

use std::any::Any;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};

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

/// The same for an error whose code is not to be trusted; ends with None where asking panicked.
pub(crate) fn causes_caught<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = Option<&'a (dyn Error + 'static)>> {
    let mut last = Some(error);
    let next = move || match catch_unwind(AssertUnwindSafe(|| last?.source())) {
        Ok(source) => {
            last = source;
            source.map(Some)
        }
        Err(panic) => {
            forget(panic);
            last = None;
            Some(None)
        }
    };
    std::iter::from_fn(next).take(DEEPEST)
}

/// Drops what a panic left behind, which may panic in turn.
pub(crate) fn forget(panic: Box<dyn Any + Send>) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        // Whoever does that twice may keep its memory.
        std::mem::forget(panic);
    }
}

/// The name of an error's type, as far as `Debug` gives it away: an error behind `dyn` has no other
/// way to tell. For an enum that is the variant.
pub(crate) fn kind(error: &(dyn Error + 'static)) -> String {
    if error.is::<std::io::Error>() {
        return "io::Error".to_owned();
    }
    let mut printed = Start(String::new());
    // The end of the printing is an error of `Start`'s own making.
    let ended = catch_unwind(AssertUnwindSafe(|| write!(printed, "{error:?}")));
    if let Err(panic) = ended {
        forget(panic);
    }
    let is_name = |it: char| it.is_ascii_alphanumeric() || it == '_';
    let rest = printed.0.trim_start_matches(is_name);
    let name = printed.0.strip_suffix(rest).unwrap_or_default();
    let derived = rest.is_empty() || rest.starts_with('(') || rest.starts_with(" {");
    if derived && name.starts_with(|it: char| it.is_ascii_uppercase()) {
        name.to_owned()
    } else {
        "Error".to_owned()
    }
}

/// Takes the start of a text and refuses the rest, so that a huge value costs nothing.
struct Start(String);

impl fmt::Write for Start {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        const ENOUGH: usize = 100;
        self.0.extend(text.chars().take(ENOUGH.saturating_sub(self.0.len())));
        if self.0.len() < ENOUGH { Ok(()) } else { Err(fmt::Error) }
    }
}
