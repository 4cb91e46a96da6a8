//! Settings of a provider that are changed at run time.

use std::borrow::Cow;

use crate::model::text::has_nul;
use crate::model::{InvalidText, MOST_PROVIDER_SLOTS};

/// The most minutes that a provider may be set to let a job run: 30 days.
pub const MOST_RUNTIME_MINUTES: u32 = 30 * 24 * 60;

/// The names of the settings that are numbers.
const MAX_CONCURRENT: &str = "max_concurrent";
const MAX_RUNTIME_MINUTES: &str = "max_runtime_minutes";

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
    fn apply(self, setting: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Clear => *setting = None,
            Self::Set(value) => *setting = Some(value),
        }
    }
}

macro_rules! provider_settings {
    ($($(#[$meta:meta])* $field:ident,)+) => {
        /// The settings of a provider. What is not set is up to the provider.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct ProviderSettings {
            $($(#[$meta])* pub $field: Option<String>,)+
            /// How many of its jobs may take a slot at the same time, 1 to 100,000.
            pub max_concurrent: Option<u32>,
            /// How long a job may run before the provider ends it, 1 to 43,200.
            pub max_runtime_minutes: Option<u32>,
        }

        /// A change of some settings of a provider; the others stay.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct ProviderSettingsPatch {
            $($(#[$meta])* pub $field: SettingChange<String>,)+
            /// How many of its jobs may take a slot at the same time, 1 to 100,000.
            pub max_concurrent: SettingChange<u32>,
            /// How long a job may run before the provider ends it, 1 to 43,200.
            pub max_runtime_minutes: SettingChange<u32>,
        }

        impl ProviderSettings {
            /// The names of the settings that are texts, as they are called in the API and in the
            /// database.
            pub const TEXTS: &'static [&'static str] = &[$(stringify!($field),)+];

            /// Each setting's name and value, as it is stored.
            pub fn entries(&self) -> impl Iterator<Item = (&'static str, Option<Cow<'_, str>>)> {
                let number = |number: Option<u32>| number.map(|it| it.to_string().into());
                [
                    $((stringify!($field), self.$field.as_deref().map(Cow::from)),)+
                    (MAX_CONCURRENT, number(self.max_concurrent)),
                    (MAX_RUNTIME_MINUTES, number(self.max_runtime_minutes)),
                ].into_iter()
            }

            /// Sets the setting with this name as it is stored; `false` when there is none, or when
            /// it cannot have this value.
            pub fn set(&mut self, name: &str, value: Option<String>) -> bool {
                let number = match name {
                    $(stringify!($field) => {
                        self.$field = value;
                        return true;
                    })+
                    MAX_CONCURRENT => &mut self.max_concurrent,
                    MAX_RUNTIME_MINUTES => &mut self.max_runtime_minutes,
                    _ => return false,
                };
                let Ok(found) = value.map(|text| text.parse()).transpose() else { return false };
                *number = found;
                true
            }

            /// Applies a patch.
            pub fn apply(&mut self, patch: ProviderSettingsPatch) {
                $(patch.$field.apply(&mut self.$field);)+
                patch.max_concurrent.apply(&mut self.max_concurrent);
                patch.max_runtime_minutes.apply(&mut self.max_runtime_minutes);
            }
        }

        impl ProviderSettingsPatch {
            /// Changes the text with this name; `false` when there is none.
            pub fn change(&mut self, name: &str, change: SettingChange<String>) -> bool {
                match name {
                    $(stringify!($field) => self.$field = change,)+
                    _ => return false,
                }
                true
            }

            /// Refuses what cannot be stored.
            pub fn check(&self) -> Result<(), InvalidSetting> {
                $(if let SettingChange::Set(text) = &self.$field && has_nul(text) {
                    return Err(InvalidText { field: stringify!($field) }.into());
                })+
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
                Ok(())
            }
        }
    };
}

provider_settings! {
    /// Where the provider is to send its webhooks; while it is set, the provider is polled rarely.
    webhook_url,
    /// The version of the model that runs, instead of the newest.
    version_override,
    /// The hardware that a job gets when it asks for none.
    hardware_profile,
}

#[cfg(test)]
mod tests;
