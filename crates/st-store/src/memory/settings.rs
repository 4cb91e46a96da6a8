//! Settings in memory.

use async_trait::async_trait;
use st_log::CorrelationId;

use super::{MemoryStore, Moment};
use crate::error::{Error, Result};
use crate::model::{
    Actor, Change, Hold, Limits, LimitsPatch, NewEvent, ProviderName, ProviderSettings,
    ProviderSettingsPatch, Scope, ShareScope, ShareUsage, Weight,
};
use crate::repo::SettingsRepo;

fn event(moment: Moment, by: &Actor, correlation_id: CorrelationId, change: Change) -> NewEvent {
    NewEvent { at: moment.now, actor: by.clone(), correlation_id, change }
}

/// The names of the settings that differ; `None` when none does.
fn difference(before: &ProviderSettings, after: &ProviderSettings) -> Option<String> {
    let pairs = before.entries().zip(after.entries());
    let changed: Vec<&str> =
        pairs.filter(|(one, two)| one != two).map(|((name, _), _)| name).collect();
    if changed.is_empty() { None } else { Some(changed.join(", ")) }
}

#[async_trait]
impl SettingsRepo for MemoryStore {
    async fn limits(&self) -> Result<Limits> {
        Ok(self.read()?.limits)
    }

    async fn patch_limits(&self, patch: LimitsPatch, by: &Actor) -> Result<Limits> {
        let correlation_id = st_log::get_correlation_id();
        self.write(|state, moment| {
            let limits = state.limits.patched(&patch)?;
            if let Some(message) = limits.difference(&state.limits) {
                state.limits = limits;
                let change = Change::Limits { message };
                state.append(vec![event(moment, by, correlation_id, change)]);
            }
            Ok(limits)
        })
    }

    async fn provider_settings(&self, provider: &ProviderName) -> Result<ProviderSettings> {
        Ok(self.read()?.providers.get(provider).cloned().unwrap_or_default())
    }

    async fn patch_provider_settings(
        &self,
        provider: &ProviderName,
        patch: ProviderSettingsPatch,
        by: &Actor,
    ) -> Result<ProviderSettings> {
        patch.check()?;
        let correlation_id = st_log::get_correlation_id();
        self.write(|state, moment| {
            let before = state.providers.get(provider).cloned().unwrap_or_default();
            let mut settings = before.clone();
            settings.apply(patch);
            if let Some(message) = difference(&before, &settings) {
                state.follow_cost_limit(provider, (&before, &settings), moment.now);
                state.providers.insert(provider.clone(), settings.clone());
                let change = Change::Provider { provider: provider.clone(), message };
                state.append(vec![event(moment, by, correlation_id, change)]);
            }
            Ok(settings)
        })
    }

    async fn polling_preference(&self) -> Result<Option<bool>> {
        Ok(self.read()?.polling)
    }

    async fn set_polling_preference(
        &self,
        preference: Option<bool>,
        by: &Actor,
    ) -> Result<Option<bool>> {
        let correlation_id = st_log::get_correlation_id();
        self.write(|state, moment| {
            if state.polling != preference {
                state.polling = preference;
                let change = Change::polling(preference);
                state.append(vec![event(moment, by, correlation_id, change)]);
            }
            Ok(preference)
        })
    }

    async fn weights(&self) -> Result<Vec<(ShareScope, Weight)>> {
        let state = self.read()?;
        Ok(state.shared.weights.iter().map(|(scope, weight)| (scope.clone(), *weight)).collect())
    }

    async fn set_weight(
        &self,
        scope: &ShareScope,
        weight: Option<Weight>,
        by: &Actor,
    ) -> Result<Weight> {
        scope.check().map_err(Error::InvalidShare)?;
        let correlation_id = st_log::get_correlation_id();
        self.write(|state, moment| {
            let (weight, changed) = state.set_weight(scope, weight);
            if let Some(change) = changed {
                state.append(vec![event(moment, by, correlation_id, change)]);
            }
            Ok(weight)
        })
    }

    async fn share_usage(&self) -> Result<Vec<(ShareScope, ShareUsage)>> {
        let state = self.read()?;
        Ok(state.shared.usage.iter().map(|(scope, usage)| (scope.clone(), *usage)).collect())
    }

    async fn holds(&self) -> Result<Vec<Hold>> {
        Ok(self.read()?.holds.values().cloned().collect())
    }

    async fn pause(&self, scope: Scope, reason: Option<&str>, by: &Actor) -> Result<Hold> {
        Hold::check(&scope, reason).map_err(Error::InvalidHold)?;
        let correlation_id = st_log::get_correlation_id();
        self.write(|state, moment| {
            let (hold, changed) =
                Hold::paused(state.holds.get(&scope), &scope, reason, (by, moment.now));
            if let Some(change) = changed {
                state.holds.insert(scope, hold.clone());
                state.append(vec![event(moment, by, correlation_id, change)]);
            }
            Ok(hold)
        })
    }

    async fn resume(&self, scope: &Scope, by: &Actor) -> Result<Option<Hold>> {
        let correlation_id = st_log::get_correlation_id();
        self.write(|state, moment| {
            let released = state.holds.remove(scope);
            if released.is_some() {
                state.append(vec![event(moment, by, correlation_id, scope.resumed())]);
            }
            Ok(released)
        })
    }
}
