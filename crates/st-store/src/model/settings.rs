//! Settings of a provider that are changed at run time.

use std::borrow::Cow;

use crate::model::text::has_nul;
use crate::model::{InvalidText, MOST_PROVIDER_SLOTS};

/// The name of the only setting that is a number.
const MAX_CONCURRENT: &str = "max_concurrent";

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
        }

        /// A change of some settings of a provider; the others stay.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct ProviderSettingsPatch {
            $($(#[$meta])* pub $field: SettingChange<String>,)+
            /// How many of its jobs may take a slot at the same time, 1 to 100,000.
            pub max_concurrent: SettingChange<u32>,
        }

        impl ProviderSettings {
            /// The names of the settings that are texts, as they are called in the API and in the
            /// database.
            pub const TEXTS: &'static [&'static str] = &[$(stringify!($field),)+];

            /// Each setting's name and value, as it is stored.
            pub fn entries(&self) -> impl Iterator<Item = (&'static str, Option<Cow<'_, str>>)> {
                let slots = self.max_concurrent.map(|slots| slots.to_string().into());
                [
                    $((stringify!($field), self.$field.as_deref().map(Cow::from)),)+
                    (MAX_CONCURRENT, slots),
                ].into_iter()
            }

            /// Sets the setting with this name as it is stored; `false` when there is none, or when
            /// it cannot have this value.
            pub fn set(&mut self, name: &str, value: Option<String>) -> bool {
                match name {
                    $(stringify!($field) => self.$field = value,)+
                    MAX_CONCURRENT => {
                        let slots = value.map(|text| text.parse());
                        let Ok(slots) = slots.transpose() else { return false };
                        self.max_concurrent = slots;
                    }
                    _ => return false,
                }
                true
            }

            /// Applies a patch.
            pub fn apply(&mut self, patch: ProviderSettingsPatch) {
                $(patch.$field.apply(&mut self.$field);)+
                patch.max_concurrent.apply(&mut self.max_concurrent);
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
                match self.max_concurrent {
                    SettingChange::Set(found) if !(1..=MOST_PROVIDER_SLOTS).contains(&found) => {
                        Err(InvalidSetting::Slots { found })
                    }
                    SettingChange::Set(_) | SettingChange::Clear | SettingChange::Keep => Ok(()),
                }
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
