//! The settings of providers, as they were last read. Each submission and each attempt needs them, and
//! they change a few times in the life of a server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::{ProviderName, ProviderSettings};

/// How long after a change by another program, or after damage, what was read before may be given out.
const KNOWN_FOR: Duration = Duration::from_secs(1);
/// More providers than anybody configures: a name that is asked for need not be one of them.
const MOST: usize = 64;

/// What was read, until the writer changes it.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownSettings(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// How many changes there were: what was read before one of them is not kept after it.
    changes: u64,
    settings: HashMap<ProviderName, (Duration, ProviderSettings)>,
}

/// The settings are not known, and must be read.
#[derive(Debug)]
pub(super) struct Unknown {
    changes: u64,
}

/// Forgets all settings when it is dropped. It must be held while they are changed.
#[derive(Debug)]
pub(super) struct Changing(KnownSettings);

impl KnownSettings {
    /// The settings of a provider. `now`: monotonic.
    pub(super) fn get(
        &self,
        provider: &ProviderName,
        now: Duration,
    ) -> Result<ProviderSettings, Unknown> {
        let known = self.lock();
        match known.settings.get(provider) {
            Some((read_at, settings)) if now.saturating_sub(*read_at) < KNOWN_FOR => {
                Ok(settings.clone())
            }
            Some(_) | None => Err(Unknown { changes: known.changes }),
        }
    }

    /// Keeps what was read because it was unknown. `read_at`: monotonic, from before it was read.
    pub(super) fn keep(
        &self,
        provider: ProviderName,
        settings: &ProviderSettings,
        (unknown, read_at): (Unknown, Duration),
    ) {
        let mut known = self.lock();
        if known.changes != unknown.changes {
            return;
        }
        if known.settings.len() >= MOST {
            known.settings.clear();
        }
        known.settings.insert(provider, (read_at, settings.clone()));
    }

    /// Announces a change. Both the operation that writes it and the call that waits for it hold one: the
    /// caller reads what it wrote, and a caller that has gone away leaves nothing that is outdated.
    pub(super) fn changing(&self) -> Changing {
        Changing(self.clone())
    }

    /// Forgets all that was read, also what is being read.
    pub(super) fn forget(&self) {
        let mut known = self.lock();
        known.changes += 1;
        known.settings.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        self.0.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn named(profile: &str) -> ProviderSettings {
        ProviderSettings {
            hardware_profile: Some(profile.to_owned()),
            ..ProviderSettings::default()
        }
    }

    #[test]
    fn what_was_read_is_known_for_a_second() {
        let (known, provider) = (KnownSettings::default(), ProviderName::new("fake"));
        let unknown = known.get(&provider, SECOND).unwrap_err();
        known.keep(provider.clone(), &named("l40s"), (unknown, SECOND));
        let almost = Duration::from_millis(1999);
        assert_eq!(known.get(&provider, almost).unwrap(), named("l40s"));
        known.get(&ProviderName::new("other"), almost).unwrap_err();
        known.get(&provider, SECOND * 2).unwrap_err();
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept_after_it() {
        let (known, provider) = (KnownSettings::default(), ProviderName::new("fake"));
        let before = known.get(&provider, SECOND).unwrap_err();
        let changing = known.changing();
        let during = known.get(&provider, SECOND).unwrap_err();
        known.keep(provider.clone(), &named("old"), (during, SECOND));
        assert_eq!(known.get(&provider, SECOND).unwrap(), named("old"), "it is not stored yet");
        drop(changing);
        let after = known.get(&provider, SECOND).unwrap_err();
        known.keep(provider.clone(), &named("old"), (before, SECOND));
        known.get(&provider, SECOND).unwrap_err();
        known.keep(provider.clone(), &named("new"), (after, SECOND));
        assert_eq!(known.get(&provider, SECOND).unwrap(), named("new"));
    }

    #[test]
    fn names_that_are_asked_for_do_not_add_up() {
        let known = KnownSettings::default();
        for number in 0..10 * MOST {
            let provider = ProviderName::new(format!("p{number}"));
            let unknown = known.get(&provider, SECOND).unwrap_err();
            known.keep(provider, &named("x"), (unknown, SECOND));
            assert!(known.lock().settings.len() <= MOST);
        }
    }
}
