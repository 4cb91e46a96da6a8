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
use super::query::{Columns, all, readable, value};
use super::writer::Tx;
use crate::error::{Error, Result};
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

/// What becomes of a row that cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Undecodable {
    /// It is logged and left out: what is only shown or recorded goes on without it.
    LeftOut,
    /// It is the error: a budget that cannot be read must admit nothing.
    Refused,
}

/// Budgets that a query selects, oldest first.
fn read(
    connection: &Connection,
    sql: &str,
    bound: impl Params,
    undecodable: Undecodable,
) -> Result<Vec<Budget>> {
    let (mut found, damaged) = readable(connection, sql, bound, budget)?;
    match (undecodable, damaged.first()) {
        (Undecodable::Refused, Some(row)) => return Err(Error::Damaged(row.clone())),
        (Undecodable::Refused, None) => {}
        (Undecodable::LeftOut, _) => log_damaged(&damaged),
    }
    found.sort_unstable_by_key(|budget| (budget.created_at, budget.id));
    Ok(found)
}

fn all_budgets(connection: &Connection) -> Result<Vec<Budget>> {
    read(connection, select_budgets!(""), [], Undecodable::LeftOut)
}

/// All budgets that can be decoded, with what is taken of them.
pub(super) fn readable_all(
    connection: &Connection,
    now: jiff::Timestamp,
) -> Result<Vec<BudgetUse>> {
    readable_uses(connection, all_budgets(connection)?, now)
}

/// The budgets whose scope the jobs of a group are in.
fn budgets_of(
    connection: &Connection,
    group: &Group,
    undecodable: Undecodable,
) -> Result<Vec<Budget>> {
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
        undecodable,
    )
}

/// What is taken of a budget in its period that begins on this day. A row that cannot be decoded is the
/// error: nothing taken would admit everything.
fn posted(connection: &Connection, budget: BudgetId, start: &str) -> Result<Posted> {
    let found = all(
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
    Ok(found.into_iter().next().unwrap_or_default())
}

fn use_of(connection: &Connection, budget: Budget, now: jiff::Timestamp) -> Result<BudgetUse> {
    let start = budget.budget.limit.start(now).to_string();
    let mut posted = posted(connection, budget.id, &start)?;
    let NewBudget { scope, limit, action } = &budget.budget;
    if limit.measure() == Measure::ConcurrentJobs && action.blocks() {
        posted.jobs = in_slots(connection, scope)?;
    }
    Ok(BudgetUse::of(budget, posted, now))
}

/// How many jobs of a scope have slots, strays among them.
fn in_slots(connection: &Connection, scope: &Scope) -> Result<u64> {
    let (level, name) = key(scope);
    let counted: Option<i64> = value(
        connection,
        "SELECT COUNT(*) FROM (SELECT user_id, team_id, org_id, provider FROM queue_entries \
         WHERE in_slot UNION ALL SELECT user_id, COALESCE(team_id, ''), COALESCE(org_id, ''), provider \
         FROM strays WHERE user_id IS NOT NULL) \
         WHERE ?1 = 'all' OR (?1 = 'user' AND user_id = ?2) OR (?1 = 'team' AND team_id = ?2) \
         OR (?1 = 'org' AND org_id = ?2) OR (?1 = 'provider' AND provider = ?2)",
        [level, name],
    )?;
    Ok(counted.unwrap_or(0).unsigned_abs())
}

/// The budgets with what is taken of them, apart from those of which that cannot be decoded, which are
/// logged.
fn readable_uses(
    connection: &Connection,
    budgets: Vec<Budget>,
    now: jiff::Timestamp,
) -> Result<Vec<BudgetUse>> {
    let mut uses = Vec::with_capacity(budgets.len());
    for budget in budgets {
        match use_of(connection, budget, now) {
            Ok(it) => uses.push(it),
            Err(error) => log_damaged(&[error.into_damaged()?]),
        }
    }
    Ok(uses)
}

/// The budgets that a submission is judged by.
pub(super) fn budgets_for(
    connection: &Connection,
    new: &NewJob,
    now: jiff::Timestamp,
) -> Result<Vec<BudgetUse>> {
    let budgets = budgets_of(connection, &Group::of_new(new), Undecodable::Refused)?;
    budgets.into_iter().map(|budget| use_of(connection, budget, now)).collect()
}

/// Those that certainly hold nothing are left out, so that the others may be damaged: a word that is not
/// known may have been one that blocks.
const BLOCKING: &str = select_budgets!("WHERE action NOT IN ('warn', 'require_approval')");

/// The budgets that hold claims, with what is taken of them.
pub(super) fn blocking(connection: &Connection, now: jiff::Timestamp) -> Result<Vec<BudgetUse>> {
    let blocking = read(connection, BLOCKING, [], Undecodable::Refused)?.into_iter();
    blocking.map(|budget| use_of(connection, budget, now)).collect()
}

/// Those of them that can be decoded: what is only shown does not fail for a budget of other jobs.
pub(super) fn readable_blocking(
    connection: &Connection,
    now: jiff::Timestamp,
) -> Result<Vec<BudgetUse>> {
    let blocking = read(connection, BLOCKING, [], Undecodable::LeftOut)?;
    readable_uses(connection, blocking, now)
}

/// The cost limit of a provider, if there is one.
fn of_settings(connection: &Connection, provider: &ProviderName) -> Result<Vec<Budget>> {
    let sql = select_budgets!("WHERE scope = 'provider' AND scope_id = ?1 AND of_settings");
    // One that cannot be decoded is replaced.
    read(connection, sql, [provider.as_str()], Undecodable::LeftOut)
}

/// The budget, which must exist.
fn find(connection: &Connection, id: BudgetId) -> Result<Budget> {
    let sql = select_budgets!("WHERE budget_id = ?1");
    let found = read(connection, sql, [id.0], Undecodable::Refused)?;
    let missing = || Error::NotFound { what: "budget", id: id.to_string() };
    found.into_iter().next().ok_or_else(missing)
}

/// Those that stop what runs.
fn stopping(connection: &Connection) -> Result<Vec<Budget>> {
    let budgets = all_budgets(connection)?.into_iter();
    Ok(budgets.filter(|it| it.budget.action == BudgetAction::Stop).collect())
}
