//! Values that `tracing` cannot carry, and how they get to our layer all the same.
//!
//! An event's values are of the types that `tracing` knows; the only one that can be recognized on
//! the other side is an error. So a value of another type travels as an error. Other subscribers
//! print it, as JSON.

use std::error::Error;
use std::fmt;

use serde::Serialize;

use crate::json::push_float;
use crate::redact::Redaction;
use crate::value::{Json, ToValue, Value};

/// Anything that serde can say, nested as deep as it is, as the value of a field.
///
/// ```
/// # #[derive(serde::Serialize)]
/// # struct Settings { steps: u32 }
/// # let settings = Settings { steps: 10 };
/// st_log::info!(settings = st_log::json(&settings), "Starting");
/// let context = st_log::LogContext::new().field("settings", st_log::json(&settings));
/// ```
pub fn json<T: Serialize + ?Sized>(value: &T) -> Json {
    Json::of(value)
}

/// A value on its way.
#[derive(Debug)]
pub struct Carried(Kept);

#[derive(Debug)]
enum Kept {
    Null,
    F32(f32),
    Json(Vec<u8>),
}

impl Carried {
    fn new(value: &Value<'_>) -> Self {
        match value {
            Value::Null => Self(Kept::Null),
            Value::F32(it) => Self(Kept::F32(*it)),
            Value::Bool(_)
            | Value::I64(_)
            | Value::U64(_)
            | Value::I128(_)
            | Value::U128(_)
            | Value::F64(_)
            | Value::String(_)
            | Value::Json(_) => {
                let mut text = Vec::new();
                value.push(&mut text);
                Self(Kept::Json(text))
            }
        }
    }

    pub(crate) fn push(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Kept::Null => out.extend_from_slice(b"null"),
            Kept::F32(it) => push_float(out, *it),
            Kept::Json(text) => out.extend_from_slice(text),
        }
    }

    /// Without the secrets inside.
    pub(crate) fn push_redacted(&self, out: &mut Vec<u8>, redaction: &Redaction) {
        match &self.0 {
            Kept::Json(text) => redaction.push_value(out, text),
            Kept::Null | Kept::F32(_) => self.push(out),
        }
    }
}

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.push(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl Error for Carried {}

/// A value as it was given to a macro. Which of the traits below carries it is decided by how many
/// references the compiler has to take off: the first that fits.
#[derive(Debug)]
pub struct Given<'a, T: ?Sized>(pub &'a T);

/// What `tracing` would carry, but not as it is.
pub trait CarriedAlways {
    /// How it travels.
    type Way;

    /// The value on its way.
    fn __carry(&self) -> Self::Way;
}

impl CarriedAlways for &&&Given<'_, f32> {
    type Way = Carried;

    fn __carry(&self) -> Carried {
        Carried::new(&self.0.to_value())
    }
}

// As `tracing` carries it. Beside the one for `f32` it keeps the compiler from taking every
// literal with a decimal point for an `f32`.
impl<'a> CarriedAlways for &&&Given<'a, f64> {
    type Way = &'a f64;

    fn __carry(&self) -> &'a f64 {
        self.0
    }
}

impl CarriedAlways for &&&Given<'_, &f32> {
    type Way = Carried;

    fn __carry(&self) -> Carried {
        Carried::new(&self.0.to_value())
    }
}

impl<'a> CarriedAlways for &&&Given<'a, &f64> {
    type Way = &'a f64;

    fn __carry(&self) -> &'a f64 {
        self.0
    }
}

impl<T: ToValue> CarriedAlways for &&&Given<'_, Option<T>> {
    type Way = Carried;

    fn __carry(&self) -> Carried {
        Carried::new(&self.0.to_value())
    }
}

impl<T: ToValue> CarriedAlways for &&&Given<'_, &Option<T>> {
    type Way = Carried;

    fn __carry(&self) -> Carried {
        Carried::new(&self.0.to_value())
    }
}

/// What `tracing` carries as it is.
pub trait CarriedByTracing<'a, T: ?Sized> {
    /// The value itself.
    fn __carry(&self) -> &'a T;
}

impl<'a, T: tracing::Value + ?Sized> CarriedByTracing<'a, T> for &&Given<'a, T> {
    fn __carry(&self) -> &'a T {
        self.0
    }
}

/// What only this crate knows.
pub trait CarriedAsValue {
    /// The value on its way.
    fn __carry(&self) -> Carried;
}

impl<T: ToValue + ?Sized> CarriedAsValue for &Given<'_, T> {
    fn __carry(&self) -> Carried {
        Carried::new(&self.0.to_value())
    }
}

/// Errors, without a cast.
pub trait CarriedAsError<'a> {
    /// The error itself.
    fn __carry(&self) -> &'a (dyn Error + 'static);
}

impl<'a, E: Error + 'static> CarriedAsError<'a> for Given<'a, E> {
    fn __carry(&self) -> &'a (dyn Error + 'static) {
        self.0
    }
}

/// What goes into the event.
pub trait AsField {
    /// A type that `tracing` knows.
    type Field: tracing::Value + ?Sized;

    /// A reference to it.
    fn __as_field(&self) -> &Self::Field;
}

impl<T: tracing::Value + ?Sized> AsField for &T {
    type Field = T;

    fn __as_field(&self) -> &T {
        self
    }
}

impl AsField for Carried {
    type Field = dyn Error + 'static;

    fn __as_field(&self) -> &(dyn Error + 'static) {
        self
    }
}

/// What goes into the event. A function, because the type of a literal may not be known yet where a
/// method is called.
pub fn as_field<T: AsField>(carried: &T) -> &T::Field {
    carried.__as_field()
}

/// The path of the function in which an item was declared.
pub fn function_around<T>(item: &T) -> &'static str {
    let _ = item;
    let path = std::any::type_name::<T>();
    path.strip_suffix("::here").unwrap_or(path)
}

/// The function's own name, at the end of its path.
pub(crate) fn function_name(path: &str) -> &str {
    let mut segments = path.rsplit("::").filter(|it| !it.starts_with("{{"));
    segments.next().unwrap_or(path)
}
