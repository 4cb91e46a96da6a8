//! Settings of a provider that are changed at run time.

use crate::model::InvalidText;
use crate::model::text::has_nul;

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
        pub struct ProviderSettings { $($(#[$meta])* pub $field: Option<String>,)+ }

        /// A change of some settings of a provider; the others stay.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct ProviderSettingsPatch { $($(#[$meta])* pub $field: SettingChange<String>,)+ }

        impl ProviderSettings {
            /// The names of all settings, as they are called in the API and in the database.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($field),)+];

            /// Each setting's name and value.
            pub fn entries(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
                [$((stringify!($field), self.$field.as_deref()),)+].into_iter()
            }

            /// Sets the setting with this name; `false` when there is none.
            pub fn set(&mut self, name: &str, value: Option<String>) -> bool {
                match name {
                    $(stringify!($field) => self.$field = value,)+
                    _ => return false,
                }
                true
            }

            /// Applies a patch.
            pub fn apply(&mut self, patch: ProviderSettingsPatch) {
                $(patch.$field.apply(&mut self.$field);)+
            }
        }

        impl ProviderSettingsPatch {
            /// Changes the setting with this name; `false` when there is none.
            pub fn change(&mut self, name: &str, change: SettingChange<String>) -> bool {
                match name {
                    $(stringify!($field) => self.$field = change,)+
                    _ => return false,
                }
                true
            }

            /// Refuses text that cannot be stored.
            pub fn check(&self) -> Result<(), InvalidText> {
                $(if let SettingChange::Set(text) = &self.$field && has_nul(text) {
                    return Err(InvalidText { field: stringify!($field) });
                })+
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
