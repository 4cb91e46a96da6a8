//! Strays and rechecks in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::damage::log_damaged;
use super::query::{Columns, change, change_one, first_readable, millis, readable, value};
use super::queue::{ended_strays, record_sighting, remove_stray};
use super::writer::{Lane, Tx};
use super::{SqliteStore, budgets};
use crate::error::{Error, Result};
use crate::model::{
    AccountId, Actor, JobId, MAX_RECHECK, Marker, OrgId, Owner, ProviderJobId, ProviderName,
    Recheck, RecheckId, RecheckedAttempt, Sighting, SightingOutcome, Stray, StrayOutcome, TeamId,
    UserId, after,
};
use crate::repo::{RecheckOutcome, StrayRepo, Unsettled, UnsettledCounts};

/// A query for strays: the columns in the order in which [`stray`] reads them.
macro_rules! select_strays {
    ($rest:literal) => {
        concat!(
            "SELECT provider_job_id, provider, account, job_id, attempt, user_id, team_id, org_id, \
             job_type, found_at, cancel_attempts, next_cancel_at FROM strays ",
            $rest
        )
    };
}

#[async_trait]
impl StrayRepo for SqliteStore {
    async fn record_sightings(
        &self,
        actor: &Actor,
        sightings: Vec<Sighting>,
    ) -> Result<Vec<Result<SightingOutcome>>> {
        let actor = actor.clone();
        self.writer
            .write(Lane::Worker, "record sightings", move |tx| {
                let mut results = Vec::with_capacity(sightings.len());
                for sighting in &sightings {
                    match record_sighting(tx, &actor, sighting) {
                        Err(error @ (Error::Refused(_) | Error::Damaged(_))) => {
                            results.push(Err(error));
                        }
                        Err(error) => return Err(error),
                        Ok(outcome) => results.push(Ok(outcome)),
                    }
                }
                Ok(results)
            })
            .await
    }

    async fn due_strays(&self, provider: &ProviderName, max: u32) -> Result<Vec<Stray>> {
        let (provider, now) = (provider.clone(), self.clock.now());
        self.readers
            .point("list strays", move |connection| {
                let (strays, damaged) = first_readable(
                    connection,
                    select_strays!(
                        "WHERE provider = ?1 AND next_cancel_at <= ?2 \
                         ORDER BY next_cancel_at, provider_job_id"
                    ),
                    params![provider.as_str(), now.as_millisecond()],
                    max,
                    stray,
                )?;
                log_damaged(&damaged);
                Ok(strays)
            })
            .await
    }

    async fn settle_stray(
        &self,
        provider: &ProviderName,
        id: &ProviderJobId,
        outcome: StrayOutcome,
    ) -> Result<()> {
        let (provider, id) = (provider.clone(), id.clone());
        self.writer
            .write(Lane::Worker, "settle a stray", move |tx| match outcome {
                StrayOutcome::Ended { cost } => {
                    // One that cannot be decoded belongs to nobody.
                    let known = find_stray(tx.connection, &provider, &id)?;
                    if let Some(stray) = known {
                        budgets::spend_on(tx, &stray, cost)?;
                    }
                    if remove_stray(tx.connection, &provider, &id)? {
                        ended_strays::remember(tx, &provider, &id)?;
                    }
                    Ok(())
                }
                StrayOutcome::Retry { after: wait } => {
                    let next = after(tx.now, wait.min(MAX_RECHECK));
                    change(
                        tx.connection,
                        "settle a stray",
                        "UPDATE strays SET cancel_attempts = cancel_attempts + 1, \
                         next_cancel_at = ?3 WHERE provider = ?1 AND provider_job_id = ?2",
                        params![provider.as_str(), id.as_str(), next.as_millisecond()],
                    )
                    .map(drop)
                }
            })
            .await
    }

    async fn due_rechecks(&self, provider: &ProviderName, max: u32) -> Result<Vec<Recheck>> {
        let (provider, now) = (provider.clone(), self.clock.now());
        self.readers
            .point("list rechecks", move |connection| {
                let (rechecks, damaged) = first_readable(
                    connection,
                    "SELECT job_id, attempt, provider, account, claimed_at, provider_time, \
                     ended_at, provider_ended_at, done, due_at FROM rechecks WHERE provider = ?1 AND due_at <= ?2 \
                     ORDER BY due_at, job_id, attempt",
                    params![provider.as_str(), now.as_millisecond()],
                    max,
                    recheck,
                )?;
                log_damaged(&damaged);
                Ok(rechecks)
            })
            .await
    }

    async fn settle_rechecks(&self, outcomes: Vec<RecheckOutcome>) -> Result<()> {
        self.writer
            .write(Lane::Worker, "settle rechecks", move |tx| {
                outcomes.iter().try_for_each(|outcome| settle_recheck(tx, outcome))
            })
            .await
    }

    async fn unsettled(&self) -> Result<Unsettled> {
        self.readers.point("count what is unsettled", unsettled).await
    }
}

fn unsettled(connection: &Connection) -> Result<Unsettled> {
    let mut unsettled = Unsettled::default();
    let mut count = |sql, set: fn(&mut UnsettledCounts, u64)| -> Result<()> {
        let (counted, _damaged) = readable(connection, sql, [], |row| {
            let mut columns = Columns::new(row, "queue_entries");
            let provider = columns.text("provider", ProviderName::new)?;
            Ok((provider, columns.number("count")?))
        })?;
        for (provider, rows) in counted {
            set(unsettled.providers.entry(provider).or_default(), rows);
        }
        Ok(())
    };
    count(
        "SELECT provider, COUNT(*) FROM queue_entries WHERE in_slot AND status = 'ready' \
         AND unresolved_since IS NOT NULL GROUP BY provider",
        |counts, rows| counts.unresolved = rows,
    )?;
    count("SELECT provider, COUNT(*) FROM strays GROUP BY provider", |counts, rows| {
        counts.strays = rows;
    })?;
    count("SELECT provider, COUNT(*) FROM rechecks GROUP BY provider", |counts, rows| {
        counts.rechecks = rows;
    })?;
    let damaged: Option<i64> =
        value(connection, "SELECT COUNT(*) FROM queue_entries WHERE held IS NOT NULL", [])?;
    unsettled.damaged = damaged.unwrap_or(0).unsigned_abs();
    Ok(unsettled)
}

/// The strays and the late searches of a job, as far as they can be read.
pub(super) fn of_job(connection: &Connection, job: JobId) -> Result<(Vec<Stray>, Vec<Recheck>)> {
    let job = job.to_string();
    let sql = select_strays!("WHERE job_id = ?1");
    let (strays, mut damaged) = readable(connection, sql, [&job], stray)?;
    let sql = "SELECT job_id, attempt, provider, account, claimed_at, provider_time, ended_at, \
               provider_ended_at, done, due_at FROM rechecks WHERE job_id = ?1";
    let (rechecks, others) = readable(connection, sql, [&job], recheck)?;
    damaged.extend(others);
    log_damaged(&damaged);
    Ok((strays, rechecks))
}

fn find_stray(
    connection: &Connection,
    provider: &ProviderName,
    id: &ProviderJobId,
) -> Result<Option<Stray>> {
    let sql = select_strays!("WHERE provider = ?1 AND provider_job_id = ?2");
    let (found, _damaged) = readable(connection, sql, [provider.as_str(), id.as_str()], stray)?;
    Ok(found.into_iter().next())
}

fn stray(row: &Row<'_>) -> Result<Stray> {
    let mut columns = Columns::new(row, "strays");
    let provider_job_id = columns.text("provider_job_id", ProviderJobId::new)?;
    let provider = columns.text("provider", ProviderName::new)?;
    let account = columns.word_or_null("account")?;
    let marker = Marker { job: columns.word("job_id")?, attempt: columns.number("attempt")? };
    let user = columns.text_or_null("user_id", UserId::new)?;
    let team = columns.text_or_null("team_id", TeamId::new)?;
    let org = columns.text_or_null("org_id", OrgId::new)?;
    Ok(Stray {
        provider,
        provider_job_id,
        account,
        marker,
        owner: user.map(|user| Owner { user, team, org }),
        job_type: columns.word("job_type")?,
        found_at: columns.time("found_at")?,
        cancel_attempts: columns.number("cancel_attempts")?,
        next_cancel_at: columns.time("next_cancel_at")?,
    })
}

/// The value of the column `attempt` for a search of every attempt. Attempts are numbered from 1.
const ANY: u32 = 0;

fn recheck(row: &Row<'_>) -> Result<Recheck> {
    let mut columns = Columns::new(row, "rechecks");
    let (job, number) = (columns.word("job_id")?, columns.number("attempt")?);
    let provider = columns.text("provider", ProviderName::new)?;
    let account = columns.word_or_null("account")?;
    let claimed_at = columns.time("claimed_at")?;
    let provider_time = columns.time_or_null("provider_time")?;
    let attempt = match number {
        ANY => RecheckedAttempt::Any { queued_at: claimed_at },
        number => RecheckedAttempt::One { number, claimed_at, provider_time },
    };
    Ok(Recheck {
        job,
        attempt,
        provider,
        account,
        ended_at: columns.time("ended_at")?,
        provider_ended_at: columns.time_or_null("provider_ended_at")?,
        done: columns.number("done")?,
        due_at: columns.time("due_at")?,
    })
}

/// Searches for what an attempt may have left later again, because a list can be late.
pub(super) fn schedule(connection: &Connection, recheck: Option<&Recheck>) -> Result<()> {
    let Some(recheck) = recheck else { return Ok(()) };
    let (began_at, provider_time) = match recheck.attempt {
        RecheckedAttempt::One { claimed_at, provider_time, .. } => (claimed_at, provider_time),
        RecheckedAttempt::Any { queued_at } => (queued_at, None),
    };
    change_one(
        connection,
        "schedule a recheck",
        "INSERT OR REPLACE INTO rechecks (job_id, attempt, provider, account, claimed_at, \
         provider_time, ended_at, provider_ended_at, done, due_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            recheck.job.to_string(),
            recheck.id().attempt.unwrap_or(ANY),
            recheck.provider.as_str(),
            recheck.account.as_ref().map(AccountId::to_string),
            began_at.as_millisecond(),
            millis(provider_time),
            recheck.ended_at.as_millisecond(),
            millis(recheck.provider_ended_at),
            recheck.done,
            recheck.due_at.as_millisecond(),
        ],
    )
}

fn settle_recheck(tx: &Tx<'_>, outcome: &RecheckOutcome) -> Result<()> {
    let RecheckId { job, attempt } = outcome.recheck;
    let (job, attempt) = (job.to_string(), attempt.unwrap_or(ANY));
    // One that cannot be decoded is never due, and must not keep the others from being settled.
    let (found, _damaged) = readable(
        tx.connection,
        "SELECT job_id, attempt, provider, account, claimed_at, provider_time, ended_at, \
         provider_ended_at, done, due_at FROM rechecks WHERE job_id = ?1 AND attempt = ?2",
        params![job, attempt],
        recheck,
    )?;
    let Some(recheck) = found.into_iter().next() else { return Ok(()) };
    match recheck.settled(outcome.searched, tx.now) {
        Some(next) => change(
            tx.connection,
            "schedule a recheck",
            "UPDATE rechecks SET done = ?3, due_at = ?4 WHERE job_id = ?1 AND attempt = ?2",
            params![job, attempt, next.done, next.due_at.as_millisecond()],
        ),
        None => change(
            tx.connection,
            "forget a recheck",
            "DELETE FROM rechecks WHERE job_id = ?1 AND attempt = ?2",
            params![job, attempt],
        ),
    }
    .map(drop)
}
