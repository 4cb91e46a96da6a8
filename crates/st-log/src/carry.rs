//! Passes values of types that `tracing` does not support through to the layer, so that they keep
//! their JSON types.
//!
//! Of the types that `tracing` supports, only `dyn Error` can be downcast by the layer. So a value
//! of another type is passed as an error. Other subscribers print it as JSON.

use std::error::Error;
use std::fmt;

use serde::Serialize;

use crate::json::push_float;
use crate::redact::Redaction;
use crate::value::{Json, ToValue, Value};

/// Serializes a value of any depth with serde, as the value of a field. A value that cannot be
/// serialized becomes a text with the error.
///
/// ```
/// # #[derive(serde::Serialize)]
/// # struct Settings { steps: u32 }
/// # let settings = Settings { steps: 10 };
/// st_log::info!(settings = st_log::json(&settings), "Starting");
/// let context = st_log::LogContext::new().field("settings", st_log::json(&settings));
/// ```
pub fn json<T: Serialize + ?Sized>(value: &T) -> Json {
    Json::from_serialize(value)
}

/// A value that is passed as an error.
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

    /// Appends the value with its secrets redacted.
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

/// A value that was given to a macro. Autoref specialization selects how it is passed: the traits
/// below are implemented for different numbers of references, and the compiler takes the first that
/// matches.
#[derive(Debug)]
pub struct Given<'a, T: ?Sized>(pub &'a T);

/// Selects types that `tracing` supports, but would change.
pub trait CarriedAlways {
    /// The type as which the value is passed.
    type Way;

    /// Converts the value.
    fn __carry(&self) -> Self::Way;
}

impl CarriedAlways for &&&Given<'_, f32> {
    type Way = Carried;

    fn __carry(&self) -> Carried {
        Carried::new(&self.0.to_value())
    }
}

// Passed unchanged. Without this implementation, the one for `f32` would make the compiler infer
// `f32` for every literal with a decimal point.
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

/// Selects types that `tracing` supports, which are passed unchanged.
pub trait CarriedByTracing<'a, T: ?Sized> {
    /// Returns the value itself.
    fn __carry(&self) -> &'a T;
}

impl<'a, T: tracing::Value + ?Sized> CarriedByTracing<'a, T> for &&Given<'a, T> {
    fn __carry(&self) -> &'a T {
        self.0
    }
}

/// Selects types that only this crate supports.
pub trait CarriedAsValue {
    /// Converts the value.
    fn __carry(&self) -> Carried;
}

impl<T: ToValue + ?Sized> CarriedAsValue for &Given<'_, T> {
    fn __carry(&self) -> Carried {
        Carried::new(&self.0.to_value())
    }
}

/// Selects errors, which then need no cast to `dyn Error`.
pub trait CarriedAsError<'a> {
    /// Returns the error itself.
    fn __carry(&self) -> &'a (dyn Error + 'static);
}

impl<'a, E: Error + 'static> CarriedAsError<'a> for Given<'a, E> {
    fn __carry(&self) -> &'a (dyn Error + 'static) {
        self.0
    }
}

/// Converts a passed value to a field of the event.
pub trait AsField {
    /// A type that `tracing` supports.
    type Field: tracing::Value + ?Sized;

    /// Borrows the value as that type.
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

/// Converts a passed value to a field of the event. A function, because a method cannot be called
/// on a literal whose type is not yet inferred.
pub fn as_field<T: AsField>(carried: &T) -> &T::Field {
    carried.__as_field()
}

/// The path of the function that contains the item `here`.
pub fn function_around<T>(item: &T) -> &'static str {
    let _ = item;
    let path = std::any::type_name::<T>();
    path.strip_suffix("::here").unwrap_or(path)
}

/// The name of the function, without its path and closures.
pub(crate) fn function_name(path: &str) -> &str {
    let mut segments = path.rsplit("::").filter(|it| !it.starts_with("{{"));
    segments.next().unwrap_or(path)
}
