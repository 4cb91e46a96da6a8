//! What budgets leave for claims.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{BudgetLimit, BudgetUse, NewBudget, scopes};
use crate::model::{BudgetId, Cost, Group, Scope};

/// Less than what costs nothing needs.
const NOTHING: Cost = Cost::from_micros(-1);

/// What a budget leaves for claims when no job has a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Cost(Cost),
    Slots(u32),
}

/// What may still be spent by claims, for the budgets that hold them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpendingRoom {
    scopes: BTreeMap<Scope, ScopeRoom>,
    /// The scope of each budget.
    budgets: BTreeMap<BudgetId, Scope>,
    /// When the first period of them is over; later, all of it must be read again.
    valid_until: Option<Timestamp>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct ScopeRoom {
    /// What the jobs in slots are estimated to cost.
    committed: Cost,
    /// How many there are.
    slots: u32,
    /// What each budget leaves without them.
    left: BTreeMap<BudgetId, Left>,
}

impl SpendingRoom {
    /// The room that these budgets leave when no job has a slot.
    pub fn new(budgets: impl IntoIterator<Item = BudgetUse>) -> Self {
        let mut room = Self::default();
        for BudgetUse { budget, spent, resets_at, .. } in budgets {
            let NewBudget { scope, limit, action } = budget.budget;
            if !action.blocks() {
                continue;
            }
            let left = match limit {
                // An amount of nothing admits not even what costs nothing.
                BudgetLimit::Cost { amount: Cost::ZERO, .. } => Left::Cost(NOTHING),
                BudgetLimit::Cost { amount, .. } => Left::Cost(amount.minus(spent)),
                BudgetLimit::ConcurrentJobs(jobs) => Left::Slots(jobs),
                // It was taken at the submission.
                BudgetLimit::DailyJobs(_) => continue,
            };
            room.budgets.insert(budget.id, scope.clone());
            room.scopes.entry(scope).or_default().left.insert(budget.id, left);
            room.valid_until = [room.valid_until, resets_at].into_iter().flatten().min();
        }
        room
    }

    /// Whether no budget holds claims, so that no cost has to be added.
    pub fn is_unlimited(&self) -> bool {
        self.scopes.is_empty()
    }

    /// Whether a period was over before this time.
    pub fn is_outdated(&self, now: Timestamp) -> bool {
        self.valid_until.is_some_and(|until| until <= now)
    }

    /// A job in a slot.
    pub fn commit(&mut self, group: &Group, cost: Cost) {
        self.change(group, |room| {
            room.committed = room.committed.plus(cost);
            room.slots = room.slots.saturating_add(1);
        });
    }

    /// A slot that was given back.
    pub(in crate::model) fn release(&mut self, group: &Group, cost: Cost) {
        self.change(group, |room| {
            room.committed = room.committed.minus(cost);
            room.slots = room.slots.saturating_sub(1);
        });
    }

    fn change(&mut self, group: &Group, change: impl Fn(&mut ScopeRoom)) {
        if self.scopes.is_empty() {
            return;
        }
        for scope in scopes(group) {
            if let Some(room) = self.scopes.get_mut(&scope) {
                change(room);
            }
        }
    }

    /// The budgets that leave no room for a job of this cost, in the order of their IDs.
    pub(in crate::model) fn holding(&self, group: &Group, cost: Cost) -> BTreeSet<BudgetId> {
        if self.scopes.is_empty() {
            return BTreeSet::new();
        }
        let rooms = scopes(group).filter_map(|scope| self.scopes.get(&scope));
        let budgets =
            rooms.flat_map(|room| room.left.iter().map(move |(id, left)| (*id, *left, room)));
        budgets.filter(|(_, left, room)| room.is_too_much(*left, cost)).map(|(id, ..)| id).collect()
    }

    /// Whether this budget leaves room for a job of this cost; one that holds no claims always does.
    #[cfg(feature = "sqlite")]
    pub(in crate::model) fn admits(&self, id: BudgetId, cost: Cost) -> bool {
        let room = self.budgets.get(&id).and_then(|scope| self.scopes.get(scope));
        let left = room.and_then(|room| Some((room, *room.left.get(&id)?)));
        left.is_none_or(|(room, left)| !room.is_too_much(left, cost))
    }
}

impl ScopeRoom {
    fn is_too_much(&self, left: Left, cost: Cost) -> bool {
        match left {
            Left::Cost(left) => left < Cost::ZERO || self.committed.plus(cost) > left,
            Left::Slots(most) => self.slots >= most,
        }
    }
}
