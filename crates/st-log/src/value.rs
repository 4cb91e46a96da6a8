//! Values of fields, which keep their type in JSON.

use std::borrow::Cow;
use std::num::NonZero;
use std::rc::Rc;
use std::sync::Arc;

use serde::Serialize;

use crate::json;

/// The value of a field. It keeps its JSON type in the record.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer of up to 64 bits.
    I64(i64),
    /// An unsigned integer of up to 64 bits. Many JSON readers lose digits beyond 2^53.
    U64(u64),
    /// An integer of up to 128 bits.
    I128(i128),
    /// An unsigned integer of up to 128 bits.
    U128(u128),
    /// A 32-bit float, printed as the shortest decimal that parses to it; `null` if not finite.
    F32(f32),
    /// A 64-bit float, printed as the shortest decimal that parses to it; `null` if not finite.
    F64(f64),
    /// A string.
    String(Cow<'a, str>),
    /// Any other JSON, such as an object or an array; see [`json`](crate::json()).
    Json(Json),
}

/// A value of any depth, encoded as JSON. Created by [`json`](crate::json()).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json(Vec<u8>);

impl Json {
    pub(crate) fn from_serialize(value: &(impl Serialize + ?Sized)) -> Self {
        Self(json::to_vec(value))
    }

    /// Takes text that is JSON with the record's separators.
    pub(crate) fn from_text(text: Vec<u8>) -> Self {
        Self(text)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Types that can be the value of a field.
pub trait ToValue {
    /// Converts the value. The result is encoded immediately, so it can borrow from `self`.
    fn to_value(&self) -> Value<'_>;
}

impl Value<'_> {
    /// Appends the value as JSON.
    #[inline]
    pub(crate) fn push(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::I64(it) => json::push_int(out, *it),
            Self::U64(it) => json::push_int(out, *it),
            Self::I128(it) => json::push_int(out, *it),
            Self::U128(it) => json::push_int(out, *it),
            Self::F32(it) => json::push_float(out, *it),
            Self::F64(it) => json::push_float(out, *it),
            Self::String(it) => json::push_str(out, it),
            Self::Json(it) => out.extend_from_slice(it.as_bytes()),
        }
    }
}

macro_rules! numbers {
    ($($from:ty => $variant:ident),+ $(,)?) => {
        $(impl ToValue for $from {
            fn to_value(&self) -> Value<'_> {
                Value::$variant((*self).into())
            }
        })+
    };
}

numbers! {
    bool => Bool,
    i8 => I64, i16 => I64, i32 => I64, i64 => I64, i128 => I128,
    u8 => U64, u16 => U64, u32 => U64, u64 => U64, u128 => U128,
    f32 => F32, f64 => F64,
}

macro_rules! non_zero_numbers {
    ($($from:ty => $variant:ident),+ $(,)?) => {
        $(impl ToValue for NonZero<$from> {
            fn to_value(&self) -> Value<'_> {
                Value::$variant(self.get().into())
            }
        })+
    };
}

non_zero_numbers! {
    i8 => I64, i16 => I64, i32 => I64, i64 => I64, i128 => I128,
    u8 => U64, u16 => U64, u32 => U64, u64 => U64, u128 => U128,
}

impl ToValue for usize {
    fn to_value(&self) -> Value<'_> {
        u64::try_from(*self).map_or(Value::Null, Value::U64)
    }
}

impl ToValue for isize {
    fn to_value(&self) -> Value<'_> {
        i64::try_from(*self).map_or(Value::Null, Value::I64)
    }
}

impl ToValue for NonZero<usize> {
    fn to_value(&self) -> Value<'_> {
        u64::try_from(self.get()).map_or(Value::Null, Value::U64)
    }
}

impl ToValue for str {
    fn to_value(&self) -> Value<'_> {
        Value::String(self.into())
    }
}

impl ToValue for String {
    fn to_value(&self) -> Value<'_> {
        self.as_str().to_value()
    }
}

impl ToValue for char {
    fn to_value(&self) -> Value<'_> {
        Value::String(self.to_string().into())
    }
}

impl ToValue for [u8] {
    /// Converts to a string; invalid UTF-8 becomes U+FFFD.
    fn to_value(&self) -> Value<'_> {
        Value::String(String::from_utf8_lossy(self))
    }
}

impl<const N: usize> ToValue for [u8; N] {
    fn to_value(&self) -> Value<'_> {
        self.as_slice().to_value()
    }
}

impl ToValue for Vec<u8> {
    fn to_value(&self) -> Value<'_> {
        self.as_slice().to_value()
    }
}

impl ToValue for serde_json::Value {
    fn to_value(&self) -> Value<'_> {
        Value::Json(Json::from_serialize(self))
    }
}

impl ToValue for Json {
    fn to_value(&self) -> Value<'_> {
        Value::Json(self.clone())
    }
}

impl ToValue for Value<'_> {
    fn to_value(&self) -> Value<'_> {
        self.clone()
    }
}

impl<T: ToValue> ToValue for Option<T> {
    /// `null` for `None`.
    fn to_value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, T::to_value)
    }
}

impl<T: ToValue + ToOwned + ?Sized> ToValue for Cow<'_, T> {
    fn to_value(&self) -> Value<'_> {
        self.as_ref().to_value()
    }
}

macro_rules! pointers {
    ($($pointer:ty),+ $(,)?) => {
        $(impl<T: ToValue + ?Sized> ToValue for $pointer {
            fn to_value(&self) -> Value<'_> {
                (**self).to_value()
            }
        })+
    };
}

pointers!(&T, Box<T>, Rc<T>, Arc<T>);
