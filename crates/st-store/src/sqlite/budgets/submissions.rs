//! How many jobs were submitted on a day, by whom and for which provider. Deleting a job changes none of it:
//! what was submitted was submitted.

use jiff::Timestamp;
use jiff::civil::Date;
use rusqlite::{Connection, params};

use super::key;
use crate::error::Result;
use crate::model::{Group, OrgId, Period, Scope, TeamId, UserId};
use crate::sqlite::damage::log_damaged;
use crate::sqlite::query::{Columns, change, change_one, readable, value};

/// Counts a job that is submitted now.
pub(super) fn add(connection: &Connection, group: &Group, at: Timestamp) -> Result<()> {
    let Group { owner, provider, .. } = group;
    change_one(
        connection,
        "count a submission",
        "INSERT INTO daily_submissions (day, user_id, team_id, org_id, provider, jobs) \
         VALUES (?1, ?2, ?3, ?4, ?5, 1) ON CONFLICT (day, user_id, team_id, org_id, provider) \
         DO UPDATE SET jobs = jobs + 1",
        params![
            Period::Daily.start(at).to_string(),
            owner.user.as_str(),
            owner.team.as_ref().map_or("", TeamId::as_str),
            owner.org.as_ref().map_or("", OrgId::as_str),
            provider.as_str(),
        ],
    )
}

/// How many jobs a user submitted on the day that this time is in.
pub(in crate::sqlite) fn of_user(
    connection: &Connection,
    user: &UserId,
    now: Timestamp,
) -> Result<u64> {
    let sql = "SELECT SUM(jobs) FROM daily_submissions WHERE day = ?1 AND user_id = ?2";
    let day = Period::Daily.start(now).to_string();
    let jobs: Option<Option<i64>> = value(connection, sql, [day.as_str(), user.as_str()])?;
    Ok(jobs.flatten().unwrap_or(0).unsigned_abs())
}

/// How many jobs of a scope were submitted from a day on, by day.
pub(super) fn since(
    connection: &Connection,
    scope: &Scope,
    start: Date,
) -> Result<Vec<(Date, u64)>> {
    let (level, name) = key(scope);
    let (found, damaged) = readable(
        connection,
        "SELECT day, jobs FROM daily_submissions WHERE day >= ?1 AND (?2 = 'all' \
         OR (?2 = 'user' AND user_id = ?3) OR (?2 = 'team' AND team_id = ?3) \
         OR (?2 = 'org' AND org_id = ?3) OR (?2 = 'provider' AND provider = ?3))",
        params![start.to_string(), level, name],
        |row| {
            let mut columns = Columns::new(row, "daily_submissions");
            Ok((columns.word("day")?, columns.number("jobs")?))
        },
    )?;
    log_damaged(&damaged);
    Ok(found)
}

/// Forgets the days before this one, which no question is about any more.
pub(in crate::sqlite) fn forget_before(connection: &Connection, day: Date) -> Result<()> {
    let sql = "DELETE FROM daily_submissions WHERE day < ?1";
    change(connection, "forget old submissions", sql, [day.to_string()]).map(drop)
}
