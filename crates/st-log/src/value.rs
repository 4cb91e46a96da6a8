//! The value of a field, with the type it has in JSON.

use std::borrow::Cow;

/// What a field holds; it keeps its JSON type in the record.
///
/// Floats that are not finite print as `null`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    I64(i64),
    /// A whole number above `i64::MAX`; many readers lose digits beyond 2^53.
    U64(u64),
    /// A whole number of up to 128 bits.
    I128(i128),
    /// A whole number above `i128::MAX`.
    U128(u128),
    /// A fraction; printed as short as it reads back the same.
    F64(f64),
    /// A text.
    String(Cow<'static, str>),
    /// Anything that JSON can say, nested as deep as it is.
    Json(serde_json::Value),
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

macro_rules! from_integers {
    ($($from:ty => $variant:ident),+ $(,)?) => {
        $(impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        })+
    };
}

from_integers! {
    i8 => I64, i16 => I64, i32 => I64, i64 => I64, i128 => I128,
    u8 => U64, u16 => U64, u32 => U64, u64 => U64, u128 => U128,
    f64 => F64,
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        u64::try_from(value).map_or(Self::Null, Self::U64)
    }
}

impl From<isize> for Value {
    fn from(value: isize) -> Self {
        i64::try_from(value).map_or(Self::Null, Self::I64)
    }
}

impl From<f32> for Value {
    /// As the decimal it stands for: 0.1 and not 0.10000000149011612.
    fn from(value: f32) -> Self {
        Self::F64(value.to_string().parse().unwrap_or_else(|_| value.into()))
    }
}

impl From<char> for Value {
    fn from(value: char) -> Self {
        Self::String(value.to_string().into())
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned().into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::String(value.into())
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Self {
        value.as_str().into()
    }
}

impl From<Cow<'static, str>> for Value {
    fn from(value: Cow<'static, str>) -> Self {
        Self::String(value)
    }
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        Self::Json(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
