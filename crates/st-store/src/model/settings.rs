//! Settings of a provider that are changed at run time.

mod cost_limit;
mod value;
mod webhook_source;

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Map, Value};

use crate::model::{BudgetAction, Cost, InvalidText, MOST_PROVIDER_SLOTS, Period};
pub use cost_limit::CostLimit;
pub(crate) use cost_limit::CostLimitStep;
pub use value::OutputsSetting;
use value::SettingValue;
pub use webhook_source::WebhookSource;

/// The most minutes that a provider may be set to let a job run: 30 days.
pub const MOST_RUNTIME_MINUTES: u32 = 30 * 24 * 60;
/// The longest that a call to a provider may be set to take: the lease of a claim counts on it.
pub const LONGEST_HTTP_TIMEOUT: Duration = Duration::from_mins(1);
/// The shortest: what is shorter fails every call.
pub const SHORTEST_HTTP_TIMEOUT: Duration = Duration::from_millis(100);

/// A setting that cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSetting {
    /// Text that cannot be stored.
    #[error(transparent)]
    Text(#[from] InvalidText),
    /// A number of slots that no provider can have.
    #[error("max_concurrent {found} is outside 1 to {MOST_PROVIDER_SLOTS}")]
    Slots {
        /// The number.
        found: u32,
    },
    /// A time that no job can be given.
    #[error("max_runtime_minutes {found} is outside 1 to {MOST_RUNTIME_MINUTES}")]
    Runtime {
        /// The number.
        found: u32,
    },
    /// An amount below nothing.
    #[error("cost_limit_amount {found} is below 0")]
    Amount {
        /// The amount.
        found: Cost,
    },
    /// A time that no call can be given.
    #[error(
        "http_timeout {found:?} is outside {SHORTEST_HTTP_TIMEOUT:?} to {LONGEST_HTTP_TIMEOUT:?}"
    )]
    Timeout {
        /// The time.
        found: Duration,
    },
}

/// A change of one setting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SettingChange<T> {
    /// Leave it as it is.
    #[default]
    Keep,
    /// Remove it, so that the default applies.
    Clear,
    /// Set it.
    Set(T),
}

impl<T> SettingChange<T> {
    pub(crate) fn apply(self, setting: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Clear => *setting = None,
            Self::Set(value) => *setting = Some(value),
        }
    }

    /// The value that is to be set, if one is.
    pub const fn value(&self) -> Option<&T> {
        match self {
            Self::Keep | Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}

macro_rules! provider_settings {
    ($($(#[$meta:meta])* $field:ident: $type:ty,)+) => {
        /// The settings of a provider. What is not set is up to the provider.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct ProviderSettings {
            $($(#[$meta])* pub $field: Option<$type>,)+
            /// Settings that are stored and cannot be read. They look as if they were not set, and what
            /// protects something must not take them for that.
            pub unreadable: BTreeSet<&'static str>,
        }

        /// A change of some settings of a provider; the others stay.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct ProviderSettingsPatch {
            $($(#[$meta])* pub $field: SettingChange<$type>,)+
        }

        impl ProviderSettings {
            /// The names of the settings, as they are called in the API and in the database.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($field),)+];

            /// Each setting's name and value, as the API shows it.
            pub fn values(&self) -> impl Iterator<Item = (&'static str, Option<Value>)> {
                [$((stringify!($field), self.$field.as_ref().map(SettingValue::to_json)),)+]
                    .into_iter()
            }

            /// Each setting's name and value, as it is stored.
            pub fn entries(&self) -> impl Iterator<Item = (&'static str, Option<String>)> {
                [$((stringify!($field), self.$field.as_ref().map(value::stored)),)+].into_iter()
            }

            /// Sets the setting with this name as it is stored; `false` when there is none, or when
            /// it cannot have this value.
            pub fn set(&mut self, name: &str, value: Option<String>) -> bool {
                match name {
                    $(stringify!($field) => match value.map(value::read).transpose() {
                        Ok(found) => self.$field = found,
                        Err(value::Unreadable) => return false,
                    },)+
                    _ => return false,
                }
                true
            }

            /// Applies a patch.
            pub fn apply(&mut self, patch: ProviderSettingsPatch) {
                $(if patch.$field != SettingChange::Keep {
                    self.unreadable.remove(stringify!($field));
                })+
                $(patch.$field.apply(&mut self.$field);)+
            }

            /// Notes that the setting with this name is stored and cannot be read; `false` when there is
            /// none.
            pub fn note_unreadable(&mut self, name: &str) -> bool {
                let known = Self::NAMES.iter().find(|known| **known == name);
                known.is_some_and(|known| {
                    self.unreadable.insert(known);
                    true
                })
            }

            /// Whether the setting with this name is stored and cannot be read.
            pub fn is_unreadable(&self, name: &str) -> bool {
                self.unreadable.contains(name)
            }
        }

        impl ProviderSettingsPatch {
            /// Refuses what cannot be stored.
            pub fn check(&self) -> Result<(), InvalidSetting> {
                $(if let SettingChange::Set(value) = &self.$field && value.has_nul() {
                    return Err(InvalidText { field: stringify!($field) }.into());
                })+
                self.check_ranges()
            }
        }
    };
}

provider_settings! {
    /// Where the provider is to send its webhooks; while it is set, the provider is polled rarely.
    webhook_url: String,
    /// Whether webhooks without a valid signature are refused; they are where it is not set.
    webhook_require_signature: bool,
    /// The networks that webhooks may come from; any where it is not set or empty.
    webhook_allowed_ips: Vec<IpNet>,
    /// Whether the cost limit applies.
    cost_limit_enabled: bool,
    /// How much all jobs of the provider may cost in one period.
    cost_limit_amount: Cost,
    /// The period of the cost limit; monthly where it is not set.
    cost_limit_period: Period,
    /// What happens beyond the cost limit; a warning where it is not set.
    cost_limit_action: BudgetAction,
    /// What clients keep about the provider's hardware.
    hardware_info: Map<String, Value>,
    /// The hardware that a job gets when it asks for none.
    hardware_profile: String,
    /// The version of the model that runs, instead of the newest.
    version_override: String,
    /// Whether the certificate of the provider is checked.
    ssl_verify: bool,
    /// A PEM file with root certificates that are trusted beside those of the system.
    ssl_ca_bundle: String,
    /// The proxy that calls to the provider go through.
    proxy_url: String,
    /// How long a call to the provider may take, 0.1 to 60 seconds.
    http_timeout: Duration,
    /// How long a job may run before the provider ends it, 1 to 43,200.
    max_runtime_minutes: u32,
    /// How many of its jobs may take a slot at the same time, 1 to 100,000.
    max_concurrent: u32,
    /// What becomes of the outputs of its jobs.
    outputs: OutputsSetting,
    /// What clients keep about how they show the provider.
    preferences: Map<String, Value>,
}

impl ProviderSettingsPatch {
    fn check_ranges(&self) -> Result<(), InvalidSetting> {
        if let SettingChange::Set(found) = self.max_concurrent
            && !(1..=MOST_PROVIDER_SLOTS).contains(&found)
        {
            return Err(InvalidSetting::Slots { found });
        }
        if let SettingChange::Set(found) = self.max_runtime_minutes
            && !(1..=MOST_RUNTIME_MINUTES).contains(&found)
        {
            return Err(InvalidSetting::Runtime { found });
        }
        if let SettingChange::Set(found) = self.cost_limit_amount
            && found < Cost::ZERO
        {
            return Err(InvalidSetting::Amount { found });
        }
        if let SettingChange::Set(found) = self.http_timeout
            && !(SHORTEST_HTTP_TIMEOUT..=LONGEST_HTTP_TIMEOUT).contains(&found)
        {
            return Err(InvalidSetting::Timeout { found });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
