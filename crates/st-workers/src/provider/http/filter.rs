//! What a template may do to a value: change its form, never compute.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::pointer::scalar;
use super::section::kind;

/// A form that a value can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    /// The value as JSON text.
    Json,
    /// A scalar as text.
    String,
    /// A whole number.
    Int,
    /// A text in base64.
    Base64,
    /// An object as a list of `NAME=value`.
    EnvList,
    /// An object as a list of `{name, value}`.
    NameValue,
    /// A time as RFC 3339.
    Rfc3339,
    /// A time as seconds since 1970.
    Epoch,
}

/// Why a value has no such form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FilterError {
    /// It is of another kind.
    #[error("expected {expected}, found {found}")]
    Kind {
        /// What the filter takes.
        expected: &'static str,
        /// What it got.
        found: &'static str,
    },
    /// It is no whole number.
    #[error("expected a whole number")]
    NotWhole,
    /// It is no time.
    #[error("expected a time such as 2026-11-26T10:00:00Z")]
    NoTime,
}

const FILTERS: [(&str, Filter); 8] = [
    ("json", Filter::Json),
    ("string", Filter::String),
    ("int", Filter::Int),
    ("base64", Filter::Base64),
    ("env_list", Filter::EnvList),
    ("name_value", Filter::NameValue),
    ("rfc3339", Filter::Rfc3339),
    ("epoch", Filter::Epoch),
];

impl Filter {
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        let known = FILTERS.iter().find(|(known, _)| *known == name);
        known.map(|(_, filter)| *filter).ok_or_else(|| {
            let names: Vec<&str> = FILTERS.iter().map(|(name, _)| *name).collect();
            format!("there is no filter {name:?}, expected one of {}", names.join(", "))
        })
    }

    pub(super) fn apply(self, value: &Value) -> Result<Value, FilterError> {
        let kind = |expected| FilterError::Kind { expected, found: kind(value) };
        let text = || scalar(value).ok_or_else(|| kind("text or a number"));
        match self {
            Self::Json => Ok(value.to_string().into()),
            Self::String => text().map(Value::from),
            Self::Int => {
                let text = text()?;
                let number: i64 =
                    text.trim().parse().map_err(|_not_whole| FilterError::NotWhole)?;
                Ok(number.into())
            }
            Self::Base64 => Ok(STANDARD.encode(text()?).into()),
            Self::EnvList | Self::NameValue => {
                let members = value.as_object().ok_or_else(|| kind("an object"))?;
                let pair = |(name, value): (&String, &Value)| {
                    // What has no text of its own goes as JSON.
                    let text = scalar(value).unwrap_or_else(|| value.to_string());
                    if self == Self::EnvList {
                        format!("{name}={text}").into()
                    } else {
                        json!({"name": name, "value": text})
                    }
                };
                Ok(members.iter().map(pair).collect())
            }
            Self::Rfc3339 => Ok(time(value)?.to_string().into()),
            Self::Epoch => Ok(time(value)?.as_second().into()),
        }
    }
}

fn time(value: &Value) -> Result<Timestamp, FilterError> {
    let text = value.as_str().ok_or(FilterError::NoTime)?;
    text.parse().map_err(|_no_time| FilterError::NoTime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_gives_its_form_or_says_what_it_takes() {
        let apply = |name: &str, value: &Value| Filter::parse(name).unwrap().apply(value);
        let object = json!({"A": "x", "B": 7, "C": [1]});
        for (name, value, form) in [
            ("json", json!({"a": [1.50]}), json!("{\"a\":[1.5]}")),
            ("string", json!(7), json!("7")),
            ("int", json!("86400"), json!(86400)),
            ("base64", json!("Aladdin:open"), json!("QWxhZGRpbjpvcGVu")),
            ("env_list", object.clone(), json!(["A=x", "B=7", "C=[1]"])),
            (
                "name_value",
                object,
                json!([{"name": "A", "value": "x"}, {"name": "B", "value": "7"},
                       {"name": "C", "value": "[1]"}]),
            ),
            ("rfc3339", json!("2026-11-26T10:00:00+01:00"), json!("2026-11-26T09:00:00Z")),
            ("epoch", json!("2026-11-26T09:00:00Z"), json!(1_795_683_600)),
        ] {
            assert_eq!(apply(name, &value), Ok(form), "{name}");
        }
        assert_eq!(apply("int", &json!("7.5")), Err(FilterError::NotWhole));
        assert_eq!(apply("epoch", &json!(7)), Err(FilterError::NoTime));
        let wrong = apply("env_list", &json!(["A=x"])).unwrap_err().to_string();
        assert_eq!(wrong, "expected an object, found a list");
        assert!(Filter::parse("upper").unwrap_err().contains("json, string, int"));
    }
}
