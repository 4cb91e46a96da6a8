//! The calls about budgets.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use st_log::CorrelationId;

use super::posting::take_up;
use super::{
    Tx, Undecodable, all_budgets, budgets_of, find, key, readable_all, readable_uses, stopping,
    use_of,
};
use crate::error::{Error, Result};
use crate::model::{
    Actor, Amount, Budget, BudgetId, BudgetKeeper, BudgetLimit, BudgetPatch, BudgetUse, Cost,
    Group, JobRecord, NewBudget, Period,
};
use crate::repo::BudgetRepo;
use crate::sqlite::SqliteStore;
use crate::sqlite::query::{all, change, change_one, value};
use crate::sqlite::records::{record, select_records, step_loaded};
use crate::sqlite::settings::record_change;
use crate::sqlite::writer::Lane;

#[async_trait]
impl BudgetRepo for SqliteStore {
    async fn budgets(&self) -> Result<Vec<BudgetUse>> {
        let now = self.clock.now();
        self.readers.list("list budgets", move |connection| readable_all(connection, now)).await
    }

    async fn budgets_of(&self, group: &Group) -> Result<Vec<BudgetUse>> {
        let (now, group) = (self.clock.now(), group.clone());
        self.readers
            .point("read budgets", move |connection| {
                let budgets = budgets_of(connection, &group, Undecodable::LeftOut)?;
                readable_uses(connection, budgets, now)
            })
            .await
    }

    async fn add_budget(&self, budget: NewBudget, by: &Actor) -> Result<BudgetUse> {
        budget.check()?;
        let (by, request) = (by.clone(), st_log::get_correlation_id());
        self.writer
            .write(Lane::Interactive, "store a budget", move |tx| add(tx, &budget, (&by, &request)))
            .await
    }

    async fn patch_budget(
        &self,
        id: BudgetId,
        patch: BudgetPatch,
        by: &Actor,
    ) -> Result<BudgetUse> {
        let (by, request) = (by.clone(), st_log::get_correlation_id());
        self.writer
            .write(Lane::Interactive, "change a budget", move |tx| {
                let known = find(tx.connection, id)?.of_people()?;
                let (after, changed) = known.patched(patch)?;
                if let Some(changed) = changed {
                    update(tx, id, &after.budget)?;
                    record_change(tx, &by, &request, changed)?;
                }
                use_of(tx.connection, after, tx.now)
            })
            .await
    }

    async fn remove_budget(&self, id: BudgetId, by: &Actor) -> Result<bool> {
        let (by, request) = (by.clone(), st_log::get_correlation_id());
        self.writer
            .write(Lane::Interactive, "remove a budget", move |tx| {
                let known = all_budgets(tx.connection)?.into_iter().find(|it| it.id == id);
                let known = known.map(Budget::of_people).transpose()?;
                let sql = "DELETE FROM budgets WHERE budget_id = ?1";
                let removed = change(tx.connection, "remove a budget", sql, [id.0])? > 0;
                if let Some(known) = known {
                    record_change(tx, &by, &request, known.removed())?;
                }
                Ok(removed)
            })
            .await
    }

    async fn stop_over_budget(&self, max: u32) -> Result<Vec<(JobRecord, BudgetUse)>> {
        // Asked each time something may be claimed, mostly where no budget stops anything.
        if self.readers.point("read budgets", stopping).await?.is_empty() {
            return Ok(Vec::new());
        }
        self.writer
            .write(Lane::Worker, "stop jobs over budget", move |tx| {
                let mut stopped = Vec::new();
                let stopping = stopping(tx.connection)?;
                for budget in readable_uses(tx.connection, stopping, tx.now)? {
                    let left = max.saturating_sub(u32::try_from(stopped.len()).unwrap_or(max));
                    for mut record in over(tx.connection, &budget, left)? {
                        step_loaded(tx, &mut record, |it| {
                            Ok(it.cancel(&Actor::Scheduler, tx.now)?)
                        })?;
                        stopped.push((record, budget.clone()));
                    }
                }
                Ok(stopped)
            })
            .await
    }
}

fn add(tx: &Tx<'_>, new: &NewBudget, (by, request): (&Actor, &CorrelationId)) -> Result<BudgetUse> {
    let budget = insert(tx, new, BudgetKeeper::People)?;
    record_change(tx, by, request, budget.added())?;
    use_of(tx.connection, budget, tx.now)
}

/// Stores a new budget, with what its current period has cost already.
pub(super) fn insert(tx: &Tx<'_>, new: &NewBudget, kept_by: BudgetKeeper) -> Result<Budget> {
    let (level, name) = key(&new.scope);
    let number = match kept_by {
        BudgetKeeper::People => None,
        BudgetKeeper::Settings => Some(settings_number(tx)?),
    };
    change_one(
        tx.connection,
        "store a budget",
        "INSERT INTO budgets (budget_id, scope, scope_id, period, amount, action, created_at, \
         of_settings, measure) VALUES (?9, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            level,
            name,
            // What has no period is not summed up by one.
            new.limit.period().unwrap_or(Period::Daily).as_str(),
            amount(new.limit),
            new.action.as_str(),
            tx.now.as_millisecond(),
            kept_by == BudgetKeeper::Settings,
            new.limit.measure().as_str(),
            number,
        ],
    )?;
    let id = BudgetId(tx.connection.last_insert_rowid());
    let budget = Budget { id, ..find(tx.connection, id)? };
    take_up(tx, &budget)?;
    Ok(budget)
}

/// A number for a budget that follows settings. It is never given out again: an event or a request may
/// name it.
fn settings_number(tx: &Tx<'_>) -> Result<i64> {
    change_one(
        tx.connection,
        "number a cost limit",
        "INSERT INTO settings_budget_numbers (id, latest) \
         SELECT 1, MIN(0, IFNULL(MIN(budget_id), 0)) - 1 FROM budgets WHERE true \
         ON CONFLICT (id) DO UPDATE SET latest = latest - 1",
        [],
    )?;
    let sql = "SELECT latest FROM settings_budget_numbers";
    value(tx.connection, sql, [])?.ok_or_else(|| Error::Database {
        operation: "number a cost limit",
        source: "the number is not there".into(),
    })
}

/// The amount as it is stored.
fn amount(limit: BudgetLimit) -> i64 {
    match limit.amount() {
        Amount::Cost(cost) => cost.to_micros(),
        Amount::Jobs(jobs) => jobs.into(),
    }
}

/// Stores another amount and another action.
pub(super) fn update(tx: &Tx<'_>, id: BudgetId, after: &NewBudget) -> Result<()> {
    change_one(
        tx.connection,
        "change a budget",
        "UPDATE budgets SET amount = ?2, action = ?3 WHERE budget_id = ?1",
        params![id.0, amount(after.limit), after.action.as_str()],
    )
}

/// The first jobs in slots under this budget that are not being cancelled, if more is spent of it than
/// there is. What cannot be decoded is set aside elsewhere.
fn over(connection: &Connection, budget: &BudgetUse, max: u32) -> Result<Vec<JobRecord>> {
    let (level, name) = key(&budget.budget.budget.scope);
    let so_far = all(
        connection,
        "SELECT j.cost_usd FROM queue_entries q JOIN jobs j ON j.entry_id = q.entry_id \
         WHERE q.in_slot AND j.cost_usd IS NOT NULL AND (?1 = 'all' \
         OR (?1 = 'user' AND q.user_id = ?2) OR (?1 = 'team' AND q.team_id = ?2) \
         OR (?1 = 'org' AND q.org_id = ?2) OR (?1 = 'provider' AND q.provider = ?2))",
        [level, name],
        |row| Ok(Cost::from_usd(row.get(0).unwrap_or_default())),
    )?;
    if !budget.is_overspent_with(so_far.into_iter().sum()) {
        return Ok(Vec::new());
    }
    let over = all(
        connection,
        select_records!(
            "WHERE q.in_slot AND q.cancel_requested_at IS NULL AND (?1 = 'all' \
             OR (?1 = 'user' AND q.user_id = ?2) OR (?1 = 'team' AND q.team_id = ?2) \
             OR (?1 = 'org' AND q.org_id = ?2) OR (?1 = 'provider' AND q.provider = ?2)) \
             ORDER BY +q.entry_id LIMIT ?3"
        ),
        params![level, name, max],
        |row| Ok(record(row).ok()),
    )?;
    Ok(over.into_iter().flatten().collect())
}
