//! What jobs reserve, release and spend, written in the transaction of the step that does it.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jiff::civil::Date;
use rusqlite::{Connection, params};

use super::{Tx, Undecodable, budgets_of, key, posted, submissions};
use crate::error::Result;
use crate::model::{
    Budget, BudgetLimit, Cost, Group, Measure, OrgId, Owner, Period, Posted, Posting, PostingKind,
    Scope, Stray, TeamId,
};
use crate::sqlite::damage::log_damaged;
use crate::sqlite::query::{Columns, change_one, readable};

/// Writes what a step of a job of this group does to budgets.
pub(in crate::sqlite) fn post(
    connection: &Connection,
    group: &Group,
    postings: &[Posting],
) -> Result<()> {
    if postings.is_empty() {
        return Ok(());
    }
    // A submission was judged by all of them already. Of what ends, a damaged budget keeps nothing from
    // being stored: until its row is mended, nothing more is admitted under it.
    let budgets = budgets_of(connection, group, Undecodable::LeftOut)?;
    for posting in postings {
        match posting.kind {
            PostingKind::Spend => spend(connection, group, posting)?,
            PostingKind::Reserve => submissions::add(connection, group, posting.at)?,
            PostingKind::ReserveAgain | PostingKind::Release => {}
        }
        for budget in &budgets {
            let limit = budget.budget.limit;
            let start = limit.start(posting.at).to_string();
            let before = match posted(connection, budget.id, &start) {
                Ok(before) => before,
                Err(error) => {
                    // Written over, it would look as if nothing had been taken before.
                    log_damaged(&[error.into_damaged()?]);
                    continue;
                }
            };
            let after = before.with(limit.measure(), posting);
            if after != before {
                put(connection, budget, &start, after)?;
            }
        }
    }
    Ok(())
}

/// What a stray cost belongs to the job that it came from.
pub(in crate::sqlite) fn spend_on(tx: &Tx<'_>, stray: &Stray, cost: Cost) -> Result<()> {
    if cost == Cost::ZERO {
        return Ok(());
    }
    // Of a job that is no longer known, only the provider is.
    let owner = stray.owner.clone().unwrap_or_else(|| Owner::user(""));
    let group = Group { owner, job_type: stray.job_type, provider: stray.provider.clone() };
    post(tx.connection, &group, &[Posting { kind: PostingKind::Spend, cost, at: tx.now }])
}

fn put(connection: &Connection, budget: &Budget, start: &str, sums: Posted) -> Result<()> {
    change_one(
        connection,
        "store what is taken of a budget",
        "INSERT INTO budget_periods (budget_id, start, spent, reserved, jobs) \
         VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (budget_id, start) DO UPDATE SET \
         spent = excluded.spent, reserved = excluded.reserved, jobs = excluded.jobs",
        params![
            budget.id.0,
            start,
            sums.spent.to_micros(),
            sums.reserved.to_micros(),
            i64::try_from(sums.jobs).unwrap_or(i64::MAX),
        ],
    )
}

fn spend(connection: &Connection, group: &Group, posting: &Posting) -> Result<()> {
    let Group { owner, provider, .. } = group;
    let day = Period::Daily.start(posting.at).to_string();
    let row = (
        &day,
        provider.as_str(),
        owner.user.as_str(),
        owner.team.as_ref().map_or("", TeamId::as_str),
        owner.org.as_ref().map_or("", OrgId::as_str),
    );
    let (before, damaged) = readable(
        connection,
        "SELECT spent FROM spending WHERE day = ?1 AND provider = ?2 AND user_id = ?3 \
         AND team_id = ?4 AND org_id = ?5",
        row,
        |row| Ok(Cost::from_micros(Columns::new(row, "spending").plain("spent")?)),
    )?;
    log_damaged(&damaged);
    let spent = before.into_iter().sum::<Cost>().plus(posting.cost);
    let (day, provider, user, team, org) = row;
    change_one(
        connection,
        "store what was spent",
        "INSERT INTO spending (day, provider, user_id, team_id, org_id, spent) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
         ON CONFLICT (day, provider, user_id, team_id, org_id) DO UPDATE SET spent = excluded.spent",
        params![day, provider, user, team, org, spent.to_micros()],
    )
}

/// How far back a clock may still be set after a budget was made, so that the periods that it returns to
/// are known with all that was taken of them.
const CLOCK_AHEAD_BY: SignedDuration = SignedDuration::from_hours(31 * 24);

/// Stores what was taken of a budget before there was one: what was spent in its current period and, as
/// the clock may have been wrong either way, in those around it, and what each job that is not over
/// reserves in the period of its submission, where it is released.
pub(super) fn take_up(tx: &Tx<'_>, budget: &Budget) -> Result<()> {
    let (scope, limit) = (&budget.budget.scope, budget.budget.limit);
    let start = limit.start(tx.now);
    let since = limit.start(tx.now.checked_sub(CLOCK_AHEAD_BY).unwrap_or(tx.now));
    let mut sums = BTreeMap::<Date, Posted>::new();
    match limit.measure() {
        Measure::Cost => {
            sums = reserved_by_period(tx.connection, scope, limit)?;
            for (day, spent) in spent_since(tx.connection, scope, since)? {
                let of_period = sums.entry(limit.start_of(day)).or_default();
                of_period.spent = of_period.spent.plus(spent);
            }
        }
        Measure::ConcurrentJobs => sums = reserved_by_period(tx.connection, scope, limit)?,
        Measure::DailyJobs => {
            for (day, jobs) in submissions::since(tx.connection, scope, since)? {
                let of_day = sums.entry(day).or_default();
                of_day.jobs = of_day.jobs.saturating_add(jobs);
            }
        }
    }
    sums.entry(start).or_default();
    for (start, sums) in sums {
        put(tx.connection, budget, &start.to_string(), sums)?;
    }
    Ok(())
}

/// What was spent in a scope from a day on, by day.
fn spent_since(connection: &Connection, scope: &Scope, start: Date) -> Result<Vec<(Date, Cost)>> {
    let (level, name) = key(scope);
    let (found, damaged) = readable(
        connection,
        "SELECT day, spent FROM spending WHERE day >= ?1 AND (?2 = 'all' \
         OR (?2 = 'user' AND user_id = ?3) OR (?2 = 'team' AND team_id = ?3) \
         OR (?2 = 'org' AND org_id = ?3) OR (?2 = 'provider' AND provider = ?3))",
        params![start.to_string(), level, name],
        |row| {
            let mut columns = Columns::new(row, "spending");
            Ok((columns.word("day")?, Cost::from_micros(columns.plain("spent")?)))
        },
    )?;
    log_damaged(&damaged);
    Ok(found)
}

/// What jobs of a scope that are not over take, by the period of their submission.
fn reserved_by_period(
    connection: &Connection,
    scope: &Scope,
    limit: BudgetLimit,
) -> Result<BTreeMap<Date, Posted>> {
    let (level, name) = key(scope);
    // What cannot be decoded is set aside when it is met.
    let (reserved, _damaged) = readable(
        connection,
        "SELECT q.entry_id, q.estimated_cost, j.created_at FROM queue_entries q \
         JOIN jobs j ON j.entry_id = q.entry_id \
         WHERE q.status <> '' AND q.status IN ('blocked', 'pending', 'ready', 'running') \
         AND (?1 = 'all' OR (?1 = 'user' AND q.user_id = ?2) OR (?1 = 'team' AND q.team_id = ?2) \
         OR (?1 = 'org' AND q.org_id = ?2) OR (?1 = 'provider' AND q.provider = ?2))",
        params![level, name],
        |row| {
            let mut columns = Columns::new(row, "queue_entries");
            columns.plain::<i64>("entry_id")?;
            let cost = Cost::from_usd(columns.plain("estimated_cost")?);
            Ok((cost, columns.time("created_at")?))
        },
    )?;
    let mut by_period = BTreeMap::<Date, Posted>::new();
    for (cost, at) in reserved {
        let sums = by_period.entry(limit.start(at)).or_default();
        *sums = sums.with(limit.measure(), &Posting { kind: PostingKind::Reserve, cost, at });
    }
    Ok(by_period)
}
