//! Formats errors with their causes, and guards against faulty error types.

use std::any::Any;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The maximum number of causes, so that an error that is its own cause cannot hang the program.
const MAX_CAUSES: usize = 64;

/// Displays an error and all its causes, joined by `": "`.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        causes(self.0).try_for_each(|cause| write!(f, ": {cause}"))
    }
}

/// Iterates over the causes of an error, nearest first.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'a),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |&it| it.source()).take(MAX_CAUSES)
}

/// Like [`causes`], but catches panics in [`Error::source`]. Ends with None after a panic.
pub(crate) fn causes_catching_panics<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = Option<&'a (dyn Error + 'static)>> {
    let mut last = Some(error);
    let next = move || match catch_unwind(AssertUnwindSafe(|| last?.source())) {
        Ok(source) => {
            last = source;
            source.map(Some)
        }
        Err(panic) => {
            drop_payload(panic);
            last = None;
            Some(None)
        }
    };
    std::iter::from_fn(next).take(MAX_CAUSES)
}

/// Drops the payload of a panic, whose destructor may panic as well.
pub(crate) fn drop_payload(panic: Box<dyn Any + Send>) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        // The payload of the second panic is leaked, because dropping it might panic again.
        std::mem::forget(panic);
    }
}

/// The name of an error's type, taken from its `Debug` output, because `dyn Error` does not provide
/// it. For an enum, this is the name of the variant.
pub(crate) fn kind(error: &(dyn Error + 'static)) -> String {
    if error.is::<std::io::Error>() {
        return "io::Error".to_owned();
    }
    let mut printed = Prefix(String::new());
    // `Prefix` returns an error once it is full, so the result means nothing.
    let ended = catch_unwind(AssertUnwindSafe(|| write!(printed, "{error:?}")));
    if let Err(panic) = ended {
        drop_payload(panic);
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

/// Keeps the start of a text and then returns an error, so that a huge value is not formatted.
struct Prefix(String);

impl fmt::Write for Prefix {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        /// Enough for a name, which is ASCII.
        const ENOUGH_BYTES: usize = 100;
        self.0.extend(text.chars().take(ENOUGH_BYTES.saturating_sub(self.0.len())));
        if self.0.len() < ENOUGH_BYTES { Ok(()) } else { Err(fmt::Error) }
    }
}
