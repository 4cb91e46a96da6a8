//! The administrators: they pause and resume, weigh owners, turn fair share on and off, and set
//! budgets that hold everything for a while. When the people are done, nothing of it is left.

use st_store::{
    Actor, Amount, BudgetAction, BudgetLimit, BudgetPatch, BudgetRepo, Cost, LimitsPatch,
    NewBudget, Period, Scope, SettingsRepo, ShareScope, UserId, Weight,
};

use crate::clients::Clients;
use crate::clocks::elapse;
use crate::draw::Draw;
use crate::users::USERS;

impl Clients {
    pub(crate) async fn administer(self) {
        while self.world.now() < self.world.plan.active_for {
            elapse(self.world.draw(|random| random.seconds(20.0..300.0))).await;
            match self.world.draw(|random| random.u8(0..4)) {
                0 => self.pause_for_a_while().await,
                1 => self.weigh().await,
                2 => self.share_fairly().await,
                _ => self.budget_for_a_while().await,
            }
        }
        // A restore brings back what was released.
        loop {
            self.release_all().await;
            elapse(self.world.draw(|random| random.seconds(20.0..60.0))).await;
        }
    }

    fn some_scope(&self) -> Scope {
        let user = self.world.draw(|random| *random.pick::<&str>(&USERS));
        match self.world.draw(|random| random.u8(0..3)) {
            0 => Scope::All,
            1 => Scope::User(UserId::new(user)),
            _ => {
                let providers = &self.world.plan.providers;
                let number = self.world.draw(|random| random.usize(0..providers.len()));
                Scope::Provider(st_store::ProviderName::new(providers[number].name))
            }
        }
    }

    async fn pause_for_a_while(&self) {
        let scope = &self.some_scope();
        self.world.count("pause");
        self.world.journal.note(format!("{scope} is paused"));
        let paused = self.insist(|life| async move {
            life.store.pause(scope.clone(), None, &Actor::Operator).await
        });
        paused.await.unwrap();
        elapse(self.world.draw(|random| random.seconds(5.0..90.0))).await;
        let resumed = self
            .insist(|life| async move { life.store.resume(scope, &Actor::Operator).await })
            .await;
        assert!(resumed.is_ok(), "{resumed:?}");
        self.world.journal.note(format!("{scope} is resumed"));
    }

    async fn weigh(&self) {
        let user = self.world.draw(|random| *random.pick::<&str>(&USERS));
        let scope = &ShareScope::User(UserId::new(user));
        let weight = Weight::new(self.world.draw(|random| f64::from(random.u8(1..9)))).ok();
        let answer = self.insist(|life| async move {
            life.store.set_weight(scope, weight, &Actor::Operator).await
        });
        answer.await.unwrap();
    }

    async fn share_fairly(&self) {
        self.world.count("change of fair share");
        let fair_share = Some(self.world.draw(fastrand::Rng::bool));
        let patch = LimitsPatch { fair_share, ..LimitsPatch::default() };
        let answer = self
            .insist(|life| async move { life.store.patch_limits(patch, &Actor::Operator).await })
            .await;
        assert!(answer.is_ok(), "{answer:?}");
    }

    /// A budget of nothing: what waits is held, and submissions are refused until it is gone.
    async fn budget_for_a_while(&self) {
        self.world.count("budget");
        let limit = BudgetLimit::Cost { period: Period::Daily, amount: Cost::from_usd(1.0) };
        let action = BudgetAction::Block;
        let budget = &NewBudget { scope: self.some_scope(), limit, action };
        self.world.journal.note(format!("a budget of {}", budget.scope));
        let added = self.insist(|life| async move {
            life.store.add_budget(budget.clone(), &Actor::Operator).await
        });
        let Ok(added) = added.await else { return };
        let id = added.budget.id;
        let lower =
            BudgetPatch { amount: Some(Amount::Cost(Cost::ZERO)), ..BudgetPatch::default() };
        // A restore may have undone it.
        let lowered = self.insist(|life| async move {
            life.store.patch_budget(id, lower, &Actor::Operator).await
        });
        drop(lowered.await);
        elapse(self.world.draw(|random| random.seconds(5.0..90.0))).await;
        let removed = self
            .insist(|life| async move { life.store.remove_budget(id, &Actor::Operator).await })
            .await;
        assert!(removed.is_ok(), "{removed:?}");
        self.world.journal.note(format!("no budget of {}", budget.scope));
    }

    async fn release_all(&self) {
        let holds = self.insist(|life| async move { life.store.holds().await });
        for hold in holds.await.unwrap_or_default() {
            let scope = &hold.scope;
            let resumed =
                self.insist(|life| async move { life.store.resume(scope, &Actor::Operator).await });
            resumed.await.unwrap();
        }
        let budgets = self.insist(|life| async move { life.store.budgets().await });
        for budget in budgets.await.unwrap_or_default() {
            let id = budget.budget.id;
            let removed = self
                .insist(|life| async move { life.store.remove_budget(id, &Actor::Operator).await });
            removed.await.unwrap();
        }
    }
}
