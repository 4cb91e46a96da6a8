//! The calls about settings, holds and budgets.

use async_trait::async_trait;
use st_store::{
    Actor, BudgetId, BudgetPatch, BudgetRepo, BudgetUse, Group, Hold, JobRecord, Limits,
    LimitsPatch, NewBudget, ProviderName, ProviderSettings, ProviderSettingsPatch, Result, Scope,
    SettingsRepo, ShareScope, ShareUsage, Weight,
};

use super::LifeStore;

#[async_trait]
impl SettingsRepo for LifeStore {
    async fn limits(&self) -> Result<Limits> {
        self.call("limits", |it| async move { it.limits().await }).await
    }

    async fn patch_limits(&self, patch: LimitsPatch, by: &Actor) -> Result<Limits> {
        self.call("patch limits", |it| async move { it.patch_limits(patch, by).await }).await
    }

    async fn holds(&self) -> Result<Vec<Hold>> {
        self.call("holds", |it| async move { it.holds().await }).await
    }

    async fn pause(&self, scope: Scope, reason: Option<&str>, by: &Actor) -> Result<Hold> {
        self.call("pause", |it| async move { it.pause(scope, reason, by).await }).await
    }

    async fn resume(&self, scope: &Scope, by: &Actor) -> Result<Option<Hold>> {
        self.call("resume", |it| async move { it.resume(scope, by).await }).await
    }

    async fn provider_settings(&self, provider: &ProviderName) -> Result<ProviderSettings> {
        self.call("settings", |it| async move { it.provider_settings(provider).await }).await
    }

    async fn patch_provider_settings(
        &self,
        provider: &ProviderName,
        patch: ProviderSettingsPatch,
        by: &Actor,
    ) -> Result<ProviderSettings> {
        self.call("patch settings", |it| async move {
            it.patch_provider_settings(provider, patch, by).await
        })
        .await
    }

    async fn polling_preference(&self) -> Result<Option<bool>> {
        self.call("polling", |it| async move { it.polling_preference().await }).await
    }

    async fn set_polling_preference(
        &self,
        preference: Option<bool>,
        by: &Actor,
    ) -> Result<Option<bool>> {
        self.call(
            "set polling",
            |it| async move { it.set_polling_preference(preference, by).await },
        )
        .await
    }

    async fn weights(&self) -> Result<Vec<(ShareScope, Weight)>> {
        self.call("weights", |it| async move { it.weights().await }).await
    }

    async fn set_weight(
        &self,
        scope: &ShareScope,
        weight: Option<Weight>,
        by: &Actor,
    ) -> Result<Weight> {
        self.call("set a weight", |it| async move { it.set_weight(scope, weight, by).await }).await
    }

    async fn share_usage(&self) -> Result<Vec<(ShareScope, ShareUsage)>> {
        self.call("share usage", |it| async move { it.share_usage().await }).await
    }
}

#[async_trait]
impl BudgetRepo for LifeStore {
    async fn budgets(&self) -> Result<Vec<BudgetUse>> {
        self.call("budgets", |it| async move { it.budgets().await }).await
    }

    async fn budgets_of(&self, group: &Group) -> Result<Vec<BudgetUse>> {
        self.call("budgets of", |it| async move { it.budgets_of(group).await }).await
    }

    async fn add_budget(&self, budget: NewBudget, by: &Actor) -> Result<BudgetUse> {
        self.call("add a budget", |it| async move { it.add_budget(budget, by).await }).await
    }

    async fn patch_budget(
        &self,
        id: BudgetId,
        patch: BudgetPatch,
        by: &Actor,
    ) -> Result<BudgetUse> {
        self.call("patch a budget", |it| async move { it.patch_budget(id, patch, by).await }).await
    }

    async fn remove_budget(&self, id: BudgetId, by: &Actor) -> Result<bool> {
        self.call("remove a budget", |it| async move { it.remove_budget(id, by).await }).await
    }

    async fn stop_over_budget(&self, max: u32) -> Result<Vec<(JobRecord, BudgetUse)>> {
        self.call("stop over budget", |it| async move { it.stop_over_budget(max).await }).await
    }
}
