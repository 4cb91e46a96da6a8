//! Budgets in SQLite.
//!
//! What is taken of a budget is kept for each of its periods and changed in the transaction that
//! submits or ends a job. What was spent is kept by day for each owner and provider, so that a new budget
//! knows what its current period has cost already.

/// A query for budgets: the columns in the order in which [`budget`] reads them.
macro_rules! select_budgets {
    ($rest:literal) => {
        concat!(
            "SELECT budget_id, scope, scope_id, measure, period, amount, action, created_at, of_settings \
             FROM budgets ",
            $rest
        )
    };
}

mod cost_limit;
mod posting;
mod repo;
pub(super) mod submissions;

use rusqlite::{Connection, Params, Row, params};

use super::damage::log_damaged;
use super::query::{Columns, readable};
use super::writer::Tx;
use crate::error::{Error, Result};
use crate::model::budget::Judgement;
use crate::model::{
    Budget, BudgetAction, BudgetId, BudgetKeeper, BudgetLimit, BudgetUse, Cost, Group, Measure,
    NewBudget, NewJob, Posted, ProviderName, Scope, ScopeLevel,
};

pub(super) use cost_limit::follow;
pub(super) use posting::{post, spend_on};

fn budget(row: &Row<'_>) -> Result<Budget> {
    let mut columns = Columns::new(row, "budgets");
    let id = BudgetId(columns.plain("budget_id")?);
    let level = columns.word::<ScopeLevel>("scope")?;
    let name = columns.plain::<String>("scope_id")?;
    let name = (level != ScopeLevel::All).then_some(name.as_str());
    let scope = columns.require("scope_id", Scope::from_parts(level, name))?;
    let measure = columns.word("measure")?;
    let period = columns.word("period")?;
    let limit = match measure {
        Measure::Cost => {
            BudgetLimit::Cost { period, amount: Cost::from_micros(columns.plain("amount")?) }
        }
        Measure::ConcurrentJobs => BudgetLimit::ConcurrentJobs(columns.number("amount")?),
        Measure::DailyJobs => BudgetLimit::DailyJobs(columns.number("amount")?),
    };
    let action = columns.word("action")?;
    let budget = NewBudget { scope, limit, action };
    let created_at = columns.time("created_at")?;
    let of_settings: bool = columns.plain("of_settings")?;
    let kept_by = if of_settings { BudgetKeeper::Settings } else { BudgetKeeper::People };
    Ok(Budget { id, budget, created_at, kept_by })
}

/// The scope as it is stored.
fn key(scope: &Scope) -> (&'static str, &str) {
    (scope.level().as_str(), scope.id().unwrap_or_default())
}

/// Budgets that a query selects, in the order in which they were made; those that cannot be decoded are logged.
fn read(connection: &Connection, sql: &str, bound: impl Params) -> Result<Vec<Budget>> {
    let (mut found, damaged) = readable(connection, sql, bound, budget)?;
    log_damaged(&damaged);
    found.sort_unstable_by_key(|budget| budget.id);
    Ok(found)
}

fn all_budgets(connection: &Connection) -> Result<Vec<Budget>> {
    read(connection, select_budgets!(""), [])
}

/// The budgets whose scope the jobs of a group are in.
fn budgets_of(connection: &Connection, group: &Group) -> Result<Vec<Budget>> {
    let name = |level| Scope::of(level, group).and_then(|scope| scope.id().map(str::to_owned));
    // NULL, where the group has no team or organization, is equal to nothing.
    read(
        connection,
        select_budgets!(
            "WHERE scope = 'all' OR (scope = 'user' AND scope_id = ?1) \
             OR (scope = 'team' AND scope_id = ?2) OR (scope = 'org' AND scope_id = ?3) \
             OR (scope = 'provider' AND scope_id = ?4)"
        ),
        params![
            name(ScopeLevel::User),
            name(ScopeLevel::Team),
            name(ScopeLevel::Org),
            name(ScopeLevel::Provider)
        ],
    )
}

/// What is taken of a budget in its period that begins on this day.
fn posted(connection: &Connection, budget: BudgetId, start: &str) -> Result<Posted> {
    let (found, damaged) = readable(
        connection,
        "SELECT budget_id, spent, reserved, jobs FROM budget_periods WHERE budget_id = ?1 AND start = ?2",
        params![budget.0, start],
        |row| {
            let mut columns = Columns::new(row, "budget_periods");
            columns.plain::<i64>("budget_id")?;
            let spent = Cost::from_micros(columns.plain("spent")?);
            let reserved = Cost::from_micros(columns.plain("reserved")?);
            Ok(Posted { spent, reserved, jobs: columns.number("jobs")? })
        },
    )?;
    log_damaged(&damaged);
    Ok(found.into_iter().next().unwrap_or_default())
}

fn use_of(connection: &Connection, budget: Budget, now: jiff::Timestamp) -> Result<BudgetUse> {
    let start = budget.budget.limit.start(now).to_string();
    let posted = posted(connection, budget.id, &start)?;
    Ok(BudgetUse::of(budget, posted, now))
}

/// What the budgets make of a submission.
pub(super) fn judge(tx: &Tx<'_>, new: &NewJob) -> Result<Judgement> {
    let budgets = budgets_of(tx.connection, &Group::of_new(new))?;
    let uses = budgets.into_iter().map(|budget| use_of(tx.connection, budget, tx.now));
    let uses: Vec<BudgetUse> = uses.collect::<Result<_>>()?;
    Ok(Judgement::of(uses, Cost::from_usd(new.estimated_cost), new.asks_beyond_budget))
}

/// The budgets that hold claims, with what is taken of them.
pub(super) fn blocking(connection: &Connection, now: jiff::Timestamp) -> Result<Vec<BudgetUse>> {
    let blocking = all_budgets(connection)?.into_iter().filter(|it| it.budget.action.blocks());
    blocking.map(|budget| use_of(connection, budget, now)).collect()
}

/// The cost limit of a provider, if there is one.
fn of_settings(connection: &Connection, provider: &ProviderName) -> Result<Vec<Budget>> {
    let sql = select_budgets!("WHERE scope = 'provider' AND scope_id = ?1 AND of_settings");
    read(connection, sql, [provider.as_str()])
}

/// The budget, which must exist.
fn find(connection: &Connection, id: BudgetId) -> Result<Budget> {
    let found = read(connection, select_budgets!("WHERE budget_id = ?1"), [id.0])?;
    let missing = || Error::NotFound { what: "budget", id: id.to_string() };
    found.into_iter().next().ok_or_else(missing)
}

/// Those that stop what runs.
fn stopping(connection: &Connection) -> Result<Vec<Budget>> {
    let budgets = all_budgets(connection)?.into_iter();
    Ok(budgets.filter(|it| it.budget.action == BudgetAction::Stop).collect())
}
