//! What a setting can be, and its two forms: as the API shows it, and as it is stored. A text is stored
//! as it is, everything else as JSON.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Map, Number, Value};

use crate::model::text::has_nul;
use crate::model::{BudgetAction, Cost, Period};

/// A stored text that is no value of its setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

/// A type that a setting can have.
pub(super) trait SettingValue: Sized {
    /// Whether it is stored as the text that it is.
    const IS_TEXT: bool = false;

    /// As the API shows it.
    fn to_json(&self) -> Value;

    /// Reads it back.
    fn of_json(value: &Value) -> Option<Self>;

    /// Whether it has a character that not every backend can keep.
    fn has_nul(&self) -> bool {
        false
    }
}

/// As it is stored.
pub(super) fn stored(value: &impl SettingValue) -> String {
    let value = value.to_json();
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Reads what is stored.
pub(super) fn read<T: SettingValue>(text: String) -> Result<T, Unreadable> {
    let value = if T::IS_TEXT {
        Value::String(text)
    } else {
        serde_json::from_str(&text).map_err(|_no_json| Unreadable)?
    };
    T::of_json(&value).ok_or(Unreadable)
}

impl SettingValue for String {
    const IS_TEXT: bool = true;

    fn to_json(&self) -> Value {
        self.as_str().into()
    }

    fn of_json(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }

    fn has_nul(&self) -> bool {
        has_nul(self)
    }
}

impl SettingValue for bool {
    fn to_json(&self) -> Value {
        (*self).into()
    }

    fn of_json(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl SettingValue for u32 {
    fn to_json(&self) -> Value {
        (*self).into()
    }

    fn of_json(value: &Value) -> Option<Self> {
        value.as_u64().and_then(|number| Self::try_from(number).ok())
    }
}

impl SettingValue for Cost {
    fn to_json(&self) -> Value {
        self.to_usd().into()
    }

    fn of_json(value: &Value) -> Option<Self> {
        value.as_f64().map(Self::from_usd)
    }
}

impl SettingValue for Duration {
    fn to_json(&self) -> Value {
        if self.subsec_nanos() == 0 { self.as_secs().into() } else { self.as_secs_f64().into() }
    }

    fn of_json(value: &Value) -> Option<Self> {
        Self::try_from_secs_f64(value.as_f64()?).ok()
    }
}

impl SettingValue for Period {
    const IS_TEXT: bool = true;

    fn to_json(&self) -> Value {
        self.as_str().into()
    }

    fn of_json(value: &Value) -> Option<Self> {
        value.as_str()?.parse().ok()
    }
}

impl SettingValue for BudgetAction {
    const IS_TEXT: bool = true;

    fn to_json(&self) -> Value {
        self.as_str().into()
    }

    fn of_json(value: &Value) -> Option<Self> {
        value.as_str()?.parse().ok()
    }
}

impl SettingValue for Map<String, Value> {
    fn to_json(&self) -> Value {
        self.clone().into()
    }

    fn of_json(value: &Value) -> Option<Self> {
        value.as_object().cloned()
    }
}

impl SettingValue for Vec<IpNet> {
    /// A single address is shown without its length, as it was given.
    fn to_json(&self) -> Value {
        let text = |network: &IpNet| match network.addr() {
            address if network.prefix_len() == network.max_prefix_len() => address.to_string(),
            _ => network.to_string(),
        };
        self.iter().map(text).collect()
    }

    fn of_json(value: &Value) -> Option<Self> {
        let network = |item: &Value| {
            let text = item.as_str()?;
            text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
        };
        value.as_array()?.iter().map(network).collect()
    }
}

/// What becomes of the outputs of a provider's jobs; what is not set is as the configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutputsSetting {
    /// Whether they are downloaded.
    pub download: Option<bool>,
    /// The folder in which each job gets one.
    pub dir: Option<String>,
    /// How many bytes all outputs of a job may have together.
    pub max_bytes: Option<u64>,
}

impl SettingValue for OutputsSetting {
    fn to_json(&self) -> Value {
        let members = [
            ("download", self.download.map(Value::from)),
            ("dir", self.dir.as_deref().map(Value::from)),
            ("max_bytes", self.max_bytes.map(|bytes| Number::from(bytes).into())),
        ];
        let set = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Value::Object(set.collect())
    }

    fn of_json(value: &Value) -> Option<Self> {
        let object = value.as_object()?;
        Some(Self {
            download: object.get("download").and_then(Value::as_bool),
            dir: object.get("dir").and_then(Value::as_str).map(str::to_owned),
            max_bytes: object.get("max_bytes").and_then(Value::as_u64),
        })
    }

    fn has_nul(&self) -> bool {
        self.dir.as_deref().is_some_and(has_nul)
    }
}
