//! Budgets: how much the jobs of a scope may cost in a day, a week or a month.
//!
//! A job reserves its estimated cost when it is submitted, in the period of its submission. When it
//! ends, the reservation is released and what it cost is spent, in the period of its end. A budget
//! admits a submission while what is spent and reserved in the current period leaves room for it; a
//! claim is held while what is spent in the current period and what the jobs in slots are estimated
//! to cost leave none. The second never holds what the first admitted, unless a budget was lowered
//! or jobs cost more than they were estimated to.

use std::collections::BTreeMap;
use std::fmt;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::Offset;
use jiff::{Timestamp, ToSpan};

use crate::model::text::text_enum;
use crate::model::{BudgetId, Change, Cost, Group, InvalidText, Scope, ScopeLevel};

text_enum! {
    /// How long one period of a budget is. Periods begin at midnight UTC; a week on Monday.
    Period, "period" {
        /// A day.
        Daily = "daily",
        /// A week.
        Weekly = "weekly",
        /// A month.
        Monthly = "monthly",
    }
}

impl Period {
    /// The first day of the period that this time is in.
    pub fn start(self, at: Timestamp) -> Date {
        self.start_of(Offset::UTC.to_datetime(at).date())
    }

    /// The first day of the period that this day is in.
    pub fn start_of(self, day: Date) -> Date {
        let first = match self {
            Self::Daily => Ok(day),
            Self::Weekly => {
                let behind = i32::from(day.weekday().since(Weekday::Monday));
                day.checked_sub(behind.days())
            }
            Self::Monthly => Ok(day.first_of_month()),
        };
        // Only the very first days of the calendar have none before them.
        first.unwrap_or(Date::MIN)
    }

    /// When the period that this time is in is over.
    pub fn end(self, at: Timestamp) -> Timestamp {
        let length = match self {
            Self::Daily => 1.day(),
            Self::Weekly => 1.week(),
            Self::Monthly => 1.month(),
        };
        let next = self.start(at).checked_add(length);
        let midnight =
            next.and_then(|day| Offset::UTC.to_timestamp(day.to_datetime(Time::midnight())));
        midnight.unwrap_or(Timestamp::MAX)
    }
}

text_enum! {
    /// What happens where a budget leaves no room.
    BudgetAction, "action" {
        /// The submitter is warned.
        Warn = "warn",
        /// Submissions are refused and claims held.
        Block = "block",
        /// Submissions need approval by an administrator.
        RequireApproval = "require_approval",
        /// Submissions are refused, claims held, and what has a slot is cancelled once more is spent
        /// than the amount.
        Stop = "stop",
    }
}

impl BudgetAction {
    /// Whether it refuses submissions and holds claims.
    pub const fn blocks(self) -> bool {
        match self {
            Self::Block | Self::Stop => true,
            Self::Warn | Self::RequireApproval => false,
        }
    }
}

/// A budget that is not stored yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBudget {
    /// The jobs that count.
    pub scope: Scope,
    /// Over which time.
    pub period: Period,
    /// How much they may cost in one period.
    pub amount: Cost,
    /// What happens beyond that.
    pub action: BudgetAction,
}

impl NewBudget {
    /// Refuses what cannot be stored.
    pub fn check(&self) -> Result<(), InvalidBudget> {
        self.scope.check()?;
        if self.amount < Cost::ZERO { Err(InvalidBudget::Amount(self.amount)) } else { Ok(()) }
    }
}

/// A change of a budget; what it does not name stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BudgetPatch {
    /// [`NewBudget::amount`]
    pub amount: Option<Cost>,
    /// [`NewBudget::action`]
    pub action: Option<BudgetAction>,
}

/// A budget that cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBudget {
    /// A text that cannot be stored.
    #[error(transparent)]
    Text(#[from] InvalidText),
    /// An amount below nothing.
    #[error("amount {0} is below 0")]
    Amount(Cost),
    /// A change of one that follows the settings of a provider.
    #[error(
        "it is the cost limit of provider {provider}, which the settings of the provider change"
    )]
    OfSettings {
        /// The provider.
        provider: String,
    },
}

/// A stored budget.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "its content is a budget as well")]
pub struct Budget {
    /// Assigned by the store.
    pub id: BudgetId,
    /// Its content.
    pub budget: NewBudget,
    /// When it was stored.
    pub created_at: Timestamp,
    /// Who changes and removes it.
    pub kept_by: BudgetKeeper,
}

/// Who changes and removes a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetKeeper {
    /// People, by its ID.
    People,
    /// The settings of the provider whose cost limit it is.
    Settings,
}

impl Budget {
    /// Refuses to change one by its ID that follows the settings of a provider.
    pub(crate) fn of_people(self) -> Result<Self, InvalidBudget> {
        match self.kept_by {
            BudgetKeeper::People => Ok(self),
            BudgetKeeper::Settings => {
                let provider = self.budget.scope.id().unwrap_or_default().to_owned();
                Err(InvalidBudget::OfSettings { provider })
            }
        }
    }

    /// The budget after a change, and the event of it; `None` where nothing changes.
    pub(crate) fn patched(
        &self,
        patch: BudgetPatch,
    ) -> Result<(Self, Option<Change>), InvalidBudget> {
        let mut after = self.clone();
        after.budget.amount = patch.amount.unwrap_or(self.budget.amount);
        after.budget.action = patch.action.unwrap_or(self.budget.action);
        after.budget.check()?;
        let (id, NewBudget { scope, amount, action, .. }) = (self.id, &after.budget);
        let message = format!("budget {id} of {scope} is {amount}, {action}");
        let change = (after != *self).then(|| scope.change(message));
        Ok((after, change))
    }

    /// The event of its creation.
    pub(crate) fn added(&self) -> Change {
        let (id, NewBudget { scope, period, amount, action }) = (self.id, &self.budget);
        scope.change(format!("{period} budget {id} of {scope} is {amount}, {action}"))
    }

    /// The event of its removal.
    pub(crate) fn removed(&self) -> Change {
        self.budget.scope.change(format!("budget {} of {} is removed", self.id, self.budget.scope))
    }
}

/// A budget with what is taken of it in the current period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetUse {
    /// The budget.
    pub budget: Budget,
    /// What jobs that ended in this period cost.
    pub spent: Cost,
    /// What jobs that were submitted in this period and are not over are estimated to cost.
    pub reserved: Cost,
    /// When the period is over.
    pub resets_at: Timestamp,
}

impl BudgetUse {
    /// What is spent or reserved.
    pub const fn used(&self) -> Cost {
        self.spent.plus(self.reserved)
    }

    /// What is left; less than nothing where more is used than there is.
    pub const fn remaining(&self) -> Cost {
        self.budget.budget.amount.minus(self.used())
    }

    /// Whether a job of this cost would be too much.
    pub fn is_exceeded_by(&self, cost: Cost) -> bool {
        let amount = self.budget.budget.amount;
        self.used() >= amount || self.used().plus(cost) > amount
    }
}

impl fmt::Display for BudgetUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { budget, spent, reserved, resets_at } = self;
        let NewBudget { scope, period, amount, .. } = &budget.budget;
        write!(
            f,
            "the {period} budget {} of {scope} is {amount}: {spent} is spent and {reserved} reserved \
             until {resets_at:.0}",
            budget.id
        )
    }
}

/// A budget that leaves no room for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exceeded {
    /// The budget and what is taken of it.
    pub budget: BudgetUse,
    /// What the job is estimated to cost.
    pub cost: Cost,
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, and this job is estimated to cost {}", self.budget, self.cost)
    }
}

/// What the budgets that apply to a submission make of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// The first that refuses it.
    pub(crate) refused_by: Option<Exceeded>,
    /// The first that requires approval.
    pub(crate) approval_by: Option<Exceeded>,
    /// Those that warn.
    pub(crate) warnings: Vec<Exceeded>,
}

impl Judgement {
    /// `budgets`: those whose scope the job is in, in the order of their IDs. `asks`: whether the job
    /// waits for approval where it would be refused.
    pub(crate) fn of(budgets: impl IntoIterator<Item = BudgetUse>, cost: Cost, asks: bool) -> Self {
        let mut judgement = Self::default();
        for budget in budgets.into_iter().filter(|budget| budget.is_exceeded_by(cost)) {
            let action = budget.budget.budget.action;
            let exceeded = Exceeded { budget, cost };
            match action {
                BudgetAction::Warn => judgement.warnings.push(exceeded),
                BudgetAction::Block | BudgetAction::Stop if !asks => {
                    judgement.refused_by.get_or_insert(exceeded);
                }
                BudgetAction::RequireApproval | BudgetAction::Block | BudgetAction::Stop => {
                    judgement.approval_by.get_or_insert(exceeded);
                }
            }
        }
        judgement
    }
}

/// What a step of a job does to the budgets that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posting {
    /// What is done.
    pub kind: PostingKind,
    /// How much.
    pub cost: Cost,
    /// In the periods that this time is in.
    pub at: Timestamp,
}

/// What is done to a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostingKind {
    /// The estimated cost of a new job is reserved.
    Reserve,
    /// The job is over, and its reservation with it.
    Release,
    /// Something was spent.
    Spend,
}

/// What is spent and reserved in one period of a budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Posted {
    /// What jobs that ended in it cost.
    pub spent: Cost,
    /// What jobs that were submitted in it and are not over are estimated to cost.
    pub reserved: Cost,
}

impl Posted {
    /// The sums after a posting.
    #[must_use]
    pub const fn with(self, posting: &Posting) -> Self {
        let Self { spent, reserved } = self;
        match posting.kind {
            PostingKind::Reserve => Self { spent, reserved: reserved.plus(posting.cost) },
            PostingKind::Release => Self { spent, reserved: reserved.minus(posting.cost) },
            PostingKind::Spend => Self { spent: spent.plus(posting.cost), reserved },
        }
    }
}

/// Less than what costs nothing needs.
const NOTHING: Cost = Cost::from_micros(-1);

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
    /// What each budget leaves without them.
    left: BTreeMap<BudgetId, Cost>,
}

impl SpendingRoom {
    /// The room that these budgets leave when no job has a slot.
    pub fn new(budgets: impl IntoIterator<Item = BudgetUse>) -> Self {
        let mut room = Self::default();
        for BudgetUse { budget, spent, resets_at, .. } in budgets {
            let NewBudget { scope, amount, action, .. } = budget.budget;
            if !action.blocks() {
                continue;
            }
            // An amount of nothing admits not even what costs nothing.
            let left = if amount == Cost::ZERO { NOTHING } else { amount.minus(spent) };
            room.budgets.insert(budget.id, scope.clone());
            room.scopes.entry(scope).or_default().left.insert(budget.id, left);
            room.valid_until =
                Some(room.valid_until.map_or(resets_at, |until| until.min(resets_at)));
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

    /// A job in a slot, or several that cost this together.
    pub fn commit(&mut self, group: &Group, cost: Cost) {
        self.change(group, |committed| committed.plus(cost));
    }

    /// A slot that was given back.
    pub(super) fn release(&mut self, group: &Group, cost: Cost) {
        self.change(group, |committed| committed.minus(cost));
    }

    fn change(&mut self, group: &Group, change: impl Fn(Cost) -> Cost) {
        if self.scopes.is_empty() {
            return;
        }
        for scope in scopes(group) {
            if let Some(room) = self.scopes.get_mut(&scope) {
                room.committed = change(room.committed);
            }
        }
    }

    /// The first budget that leaves no room for a job of this cost.
    pub(super) fn held_by(&self, group: &Group, cost: Cost) -> Option<BudgetId> {
        if self.scopes.is_empty() {
            return None;
        }
        let rooms = scopes(group).filter_map(|scope| self.scopes.get(&scope));
        let budgets =
            rooms.flat_map(|room| room.left.iter().map(move |(id, left)| (*id, *left, room)));
        budgets.filter(|(_, left, room)| room.is_too_much(*left, cost)).map(|(id, ..)| id).min()
    }

    /// Whether this budget leaves room for a job of this cost; one that holds no claims always does.
    #[cfg(feature = "sqlite")]
    pub(super) fn admits(&self, id: BudgetId, cost: Cost) -> bool {
        let room = self.budgets.get(&id).and_then(|scope| self.scopes.get(scope));
        let left = room.and_then(|room| Some((room, *room.left.get(&id)?)));
        left.is_none_or(|(room, left)| !room.is_too_much(left, cost))
    }
}

impl ScopeRoom {
    fn is_too_much(&self, left: Cost, cost: Cost) -> bool {
        left < Cost::ZERO || self.committed.plus(cost) > left
    }
}

/// The scopes that the jobs of a group are in.
pub(crate) fn scopes(group: &Group) -> impl Iterator<Item = Scope> + use<'_> {
    ScopeLevel::ALL.iter().filter_map(|&level| Scope::of(level, group))
}

#[cfg(test)]
mod tests;
