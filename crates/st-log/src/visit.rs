//! Reading an event's fields.
//!
//! `Display` and `Debug` of what is logged are foreign code: they may fail, panic or log something
//! themselves. None of that loses the line: what came out so far is kept, with a mark.

use std::error::Error;
use std::fmt::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tracing::field::{Field, Visit};

use crate::chain::{self, Chain};
use crate::context::{Fields, put};
use crate::record::Exception;
use crate::value::Value;

/// The field in which this crate's macros hand over the function's name. It is the name that
/// OpenTelemetry has for it, for subscribers that show all fields.
const FUNCTION: &str = "code.function.name";

/// What the fields of an event amount to.
#[derive(Debug)]
pub(crate) struct Visited {
    pub(crate) message: String,
    pub(crate) function: Option<String>,
    pub(crate) exception: Option<Exception>,
    /// The scope's fields and the event's, each key once.
    pub(crate) extra: Vec<(&'static str, Value)>,
}

impl Visited {
    pub(crate) fn new(scope: &Fields) -> Self {
        Self {
            message: String::new(),
            function: None,
            exception: None,
            extra: scope.as_slice().to_vec(),
        }
    }

    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        put(&mut self.extra, field.name(), value.into());
    }
}

impl Visit for Visited {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = rendered(format_args!("{value:?}"));
        if field.name() == "message" {
            self.message = text;
        } else {
            self.put(field, text);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            FUNCTION => self.function = Some(value.to_owned()),
            _ => self.put(field, value),
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        if self.exception.is_some() {
            return self.put(field, rendered(format_args!("{}", Chain(value))));
        }
        self.exception = Some(Exception {
            kind: kind(value),
            message: rendered(format_args!("{value}")),
            chain: chain::causes(value).map(|it| rendered(format_args!("{it}"))).collect(),
        });
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.put(field, String::from_utf8_lossy(value).into_owned());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.put(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }
}

/// What foreign code prints, whatever else it does.
fn rendered(value: fmt::Arguments<'_>) -> String {
    let mut text = String::new();
    match catch_unwind(AssertUnwindSafe(|| text.write_fmt(value))) {
        Ok(Ok(())) => {}
        Ok(Err(fmt::Error)) => text.push_str("<fmt error>"),
        Err(_panic) => text.push_str("<panicked>"),
    }
    text
}

/// The name of an error's type, as far as `Debug` gives it away: an error behind `dyn` has no other
/// way to tell. For an enum that is the variant.
fn kind(error: &(dyn Error + 'static)) -> String {
    if error.is::<std::io::Error>() {
        return "io::Error".to_owned();
    }
    let mut printed = Start(String::new());
    // The end of the printing is an error of `Start`'s own making.
    let _ended = catch_unwind(AssertUnwindSafe(|| write!(printed, "{error:?}")));
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

impl Write for Start {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        const ENOUGH: usize = 100;
        self.0.extend(text.chars().take(ENOUGH.saturating_sub(self.0.len())));
        if self.0.len() < ENOUGH { Ok(()) } else { Err(fmt::Error) }
    }
}
