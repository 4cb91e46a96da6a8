//! Budgets: how much the jobs of a scope may cost in a day, a week or a month, how many of them may
//! be submitted in a day, and how many may have slots at once.
//!
//! A job reserves its estimated cost when it is submitted, in the period of its submission. When it
//! ends, the reservation is released and what it cost is spent, in the period of its end. A budget
//! admits a submission while what is spent and reserved in the current period leaves room for it; a
//! claim is held while what is spent in the current period and what the jobs in slots are estimated
//! to cost leave none. The second never holds what the first admitted, unless a budget was lowered
//! or jobs cost more than they were estimated to.
//!
//! A limit of jobs a day is checked at the submission, and the count never decreases: a deleted job was
//! submitted as well. A limit of concurrent jobs holds claims back; a submission beyond it waits in the
//! queue, and what is taken are the slots. Where the budget warns or requires approval, the submission is judged by the number of jobs
//! that have not ended.

mod limit;
mod room;

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::model::text::text_enum;
use crate::model::{
    BudgetId, Change, Cost, Group, InvalidText, JobRecord, NewJob, Predecessor, Scope, ScopeLevel,
};

pub use limit::{Amount, BudgetLimit, Measure, Period, QuotaType};
pub use room::SpendingRoom;

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
    /// What is limited, and to how much.
    pub limit: BudgetLimit,
    /// What happens beyond that.
    pub action: BudgetAction,
}

impl NewBudget {
    /// Refuses what cannot be stored.
    pub fn check(&self) -> Result<(), InvalidBudget> {
        self.scope.check()?;
        match self.limit {
            BudgetLimit::Cost { amount, .. } if amount < Cost::ZERO => {
                Err(InvalidBudget::Amount(amount))
            }
            BudgetLimit::ConcurrentJobs(_) | BudgetLimit::DailyJobs(_)
                if self.action == BudgetAction::Stop =>
            {
                Err(InvalidBudget::StopsJobs(self.limit.measure()))
            }
            BudgetLimit::Cost { .. }
            | BudgetLimit::ConcurrentJobs(_)
            | BudgetLimit::DailyJobs(_) => Ok(()),
        }
    }

    /// How its kind is called in messages.
    fn kind(&self) -> &'static str {
        match self.limit {
            BudgetLimit::Cost { period, .. } => period.as_str(),
            BudgetLimit::ConcurrentJobs(_) | BudgetLimit::DailyJobs(_) => {
                self.limit.measure().as_str()
            }
        }
    }
}

/// A change of a budget; what it does not name stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BudgetPatch {
    /// Of [`NewBudget::limit`].
    pub amount: Option<Amount>,
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
    /// An amount of something else.
    #[error("the amount is not one of {0}")]
    OtherMeasure(Measure),
    /// A number of jobs that would cancel what runs.
    #[error("a quota of {0} cannot stop what runs: only one of cost can")]
    StopsJobs(Measure),
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
        after.budget.limit = self.budget.limit.resized(patch.amount)?;
        after.budget.action = patch.action.unwrap_or(self.budget.action);
        after.budget.check()?;
        let (id, NewBudget { scope, limit, action }) = (self.id, &after.budget);
        let message = format!("budget {id} of {scope} is {limit}, {action}");
        let change = (after != *self).then(|| scope.change(message));
        Ok((after, change))
    }

    /// The event of its creation.
    pub(crate) fn added(&self) -> Change {
        let (id, kind, NewBudget { scope, limit, action }) =
            (self.id, self.budget.kind(), &self.budget);
        scope.change(format!("{kind} budget {id} of {scope} is {limit}, {action}"))
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
    /// How many jobs are taken, of a budget that counts jobs: those of the day, those in slots where it
    /// blocks, or else those that are not over.
    pub jobs: u64,
    /// When the period is over; `None` where what is taken is given back by jobs that end.
    pub resets_at: Option<Timestamp>,
}

impl BudgetUse {
    /// What is spent or reserved.
    pub const fn used(&self) -> Cost {
        self.spent.plus(self.reserved)
    }

    /// What one of cost leaves; less than nothing where more is used than there is.
    pub const fn remaining(&self) -> Option<Cost> {
        match self.budget.budget.limit {
            BudgetLimit::Cost { amount, .. } => Some(amount.minus(self.used())),
            BudgetLimit::ConcurrentJobs(_) | BudgetLimit::DailyJobs(_) => None,
        }
    }

    /// Whether more than the amount is spent with this.
    pub(crate) fn is_overspent_with(&self, running: Cost) -> bool {
        match self.budget.budget.limit {
            BudgetLimit::Cost { amount, .. } => self.spent.plus(running) > amount,
            BudgetLimit::ConcurrentJobs(_) | BudgetLimit::DailyJobs(_) => false,
        }
    }

    /// Whether one more job of this cost would be too much.
    pub fn is_exceeded_by(&self, cost: Cost) -> bool {
        match self.budget.budget.limit {
            BudgetLimit::Cost { amount, .. } => {
                self.used() >= amount || self.used().plus(cost) > amount
            }
            BudgetLimit::ConcurrentJobs(most) | BudgetLimit::DailyJobs(most) => {
                self.jobs >= u64::from(most)
            }
        }
    }

    /// The same as if a run that has ended, which is in its scope, were stored as over.
    pub(crate) fn after_end_of(mut self, ended: &JobRecord, cost: Cost, now: Timestamp) -> Self {
        let limit = self.budget.budget.limit;
        match limit.measure() {
            Measure::Cost => {
                if limit.start(ended.job().created_at) == limit.start(now) {
                    self.reserved = self.reserved.minus(ended.reservation());
                }
                self.spent = self.spent.plus(cost);
            }
            Measure::ConcurrentJobs => self.jobs = self.jobs.saturating_sub(1),
            Measure::DailyJobs => {}
        }
        self
    }

    /// The same with sums as they are kept.
    pub(crate) fn of(budget: Budget, posted: Posted, now: Timestamp) -> Self {
        let limit = budget.budget.limit;
        let Posted { spent, reserved, jobs } = posted;
        Self { budget, spent, reserved, jobs, resets_at: limit.period().map(|it| it.end(now)) }
    }
}

impl fmt::Display for BudgetUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { budget, spent, reserved, jobs, resets_at } = self;
        let NewBudget { scope, limit, .. } = &budget.budget;
        let (id, kind) = (budget.id, budget.budget.kind());
        write!(f, "the {kind} budget {id} of {scope} is {limit}: ")?;
        match limit {
            BudgetLimit::Cost { .. } => write!(f, "{spent} is spent and {reserved} reserved")?,
            BudgetLimit::ConcurrentJobs(_) if budget.budget.action.blocks() => {
                write!(f, "{jobs} in slots")?;
            }
            BudgetLimit::ConcurrentJobs(_) => write!(f, "{jobs} are not over")?,
            BudgetLimit::DailyJobs(_) => write!(f, "{jobs} were submitted")?,
        }
        resets_at.map_or(Ok(()), |at| write!(f, " until {at:.0}"))
    }
}

/// A budget that leaves no room for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exceeded {
    /// The budget and what is taken of it.
    pub budget: BudgetUse,
    /// What the job is estimated to cost.
    pub cost: Cost,
    /// When it was judged.
    pub at: Timestamp,
}

impl Exceeded {
    /// How long until a limit of jobs a day begins anew. What a budget of cost leaves grows earlier, where
    /// a job costs less than it was estimated to.
    pub fn admits_after(&self) -> Option<SignedDuration> {
        match self.budget.budget.budget.limit.measure() {
            Measure::DailyJobs => self.budget.resets_at.map(|end| end.duration_since(self.at)),
            Measure::Cost | Measure::ConcurrentJobs => None,
        }
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.budget)?;
        match self.budget.budget.budget.limit {
            BudgetLimit::Cost { .. } => {
                write!(f, ", and this job is estimated to cost {}", self.cost)
            }
            BudgetLimit::ConcurrentJobs(_) | BudgetLimit::DailyJobs(_) => Ok(()),
        }
    }
}

/// What the budgets that apply to a submission make of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// Those that refuse it, oldest first.
    pub(crate) refused_by: Vec<Exceeded>,
    /// The first that requires approval.
    pub(crate) approval_by: Option<Exceeded>,
    /// Those that warn.
    pub(crate) warnings: Vec<Exceeded>,
}

impl Judgement {
    /// `budgets`: those whose scope the job is in, oldest first. `follows`: the record of the run that a
    /// run without a submission follows, if it is still here.
    pub(crate) fn of(
        new: &NewJob,
        budgets: impl IntoIterator<Item = BudgetUse>,
        follows: Option<&JobRecord>,
        now: Timestamp,
    ) -> Self {
        let cost = Cost::from_usd(new.estimated_cost);
        let asks = new.asks_beyond_budget;
        let mut judgement = Self::default();
        for budget in budgets {
            let NewBudget { limit, action, .. } = budget.budget.budget;
            if new.follows.is_some() && limit.measure() == Measure::DailyJobs {
                continue;
            }
            let budget = match (new.follows, follows) {
                (Some(Predecessor { cost, .. }), Some(ended)) if ended.ended_at().is_none() => {
                    budget.after_end_of(ended, cost, now)
                }
                (Some(_) | None, Some(_) | None) => budget,
            };
            if !budget.is_exceeded_by(cost) {
                continue;
            }
            // What waits for a slot has not taken one: it is the claim that is held.
            if limit.measure() == Measure::ConcurrentJobs && action.blocks() {
                continue;
            }
            let exceeded = Exceeded { budget, cost, at: now };
            match action {
                BudgetAction::Warn => judgement.warnings.push(exceeded),
                BudgetAction::Block | BudgetAction::Stop if !asks => {
                    judgement.refused_by.push(exceeded);
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
    /// The estimated cost of a job that was submitted is reserved.
    Reserve,
    /// The same of a run that follows another by itself, which is no submission of the day.
    ReserveAgain,
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
    /// How many jobs are taken of a number of them.
    pub jobs: u64,
}

impl Posted {
    /// The sums of a budget that counts this after a posting.
    #[must_use]
    pub const fn with(self, measure: Measure, posting: &Posting) -> Self {
        let Self { spent, reserved, jobs } = self;
        match (measure, posting.kind) {
            (Measure::Cost, PostingKind::Reserve | PostingKind::ReserveAgain) => {
                Self { reserved: reserved.plus(posting.cost), ..self }
            }
            (Measure::Cost, PostingKind::Release) => {
                Self { reserved: reserved.minus(posting.cost), ..self }
            }
            (Measure::Cost, PostingKind::Spend) => Self { spent: spent.plus(posting.cost), ..self },
            (Measure::ConcurrentJobs | Measure::DailyJobs, PostingKind::Reserve)
            | (Measure::ConcurrentJobs, PostingKind::ReserveAgain) => {
                Self { jobs: jobs.saturating_add(1), ..self }
            }
            (Measure::ConcurrentJobs, PostingKind::Release) => {
                Self { jobs: jobs.saturating_sub(1), ..self }
            }
            (Measure::DailyJobs, PostingKind::ReserveAgain | PostingKind::Release)
            | (Measure::ConcurrentJobs | Measure::DailyJobs, PostingKind::Spend) => self,
        }
    }
}

/// The scopes that the jobs of a group are in.
pub(crate) fn scopes(group: &Group) -> impl Iterator<Item = Scope> + use<'_> {
    ScopeLevel::ALL.iter().filter_map(|&level| Scope::of(level, group))
}

#[cfg(test)]
mod tests;
