//! Providers that jobs wait for and that are not configured: their jobs wait, visibly.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use st_store::{ProviderName, Store};
use tokio::time::Instant;

use super::{FAILED, LOG};
use crate::dispatch::Dispatcher;
use crate::reminder::Reminder;
use crate::task::TaskError;

/// How often that is checked.
const EVERY: Duration = Duration::from_mins(1);

/// What was logged about absent providers.
#[derive(Debug, Default)]
pub(super) struct AbsentProviders {
    /// Guards when they were checked and logged.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    checked_at: Option<Instant>,
    reminders: BTreeMap<ProviderName, Reminder>,
}

impl AbsentProviders {
    /// Logs the providers that have jobs and are not configured: when that is seen, and every hour.
    pub(super) async fn report(
        &self,
        store: &dyn Store,
        dispatcher: &Dispatcher,
    ) -> Result<(), TaskError> {
        if !self.is_due() {
            return Ok(());
        }
        let mut in_use = store.providers_in_use().await.map_err(TaskError::because(FAILED))?;
        let unsettled = store.unsettled().await.map_err(TaskError::because(FAILED))?;
        in_use.extend(unsettled.providers.into_keys());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reminders = std::mem::take(&mut state.reminders);
        for provider in
            in_use.into_iter().filter(|provider| dispatcher.providers().get(provider).is_none())
        {
            let mut reminder = reminders.remove(&provider).unwrap_or_default();
            if reminder.is_due() {
                st_log::warning!(
                    logger: LOG, provider = provider.as_str(),
                    "Provider is not configured: its waiting jobs wait, its running ones keep their \
                     slots"
                );
            }
            state.reminders.insert(provider, reminder);
        }
        Ok(())
    }

    fn is_due(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let due = state.checked_at.is_none_or(|at| at.elapsed() >= EVERY);
        if due {
            state.checked_at = Some(Instant::now());
        }
        due
    }
}
