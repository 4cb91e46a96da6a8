//! Results that are to be fetched, in SQLite: an outbox that is written in the transaction that ends a
//! job.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::SqliteStore;
use super::damage::log_damaged;
use super::query::{Columns, change, change_one, first_readable, readable};
use super::queue::id_list;
use super::records::{load, save};
use super::writer::{Lane, Tx};
use crate::error::Result;
use crate::model::results::{Next, lost_reason};
use crate::model::{DueResults, JobId, JobRecord, ProviderName, ResultsOutcome};
use crate::repo::ResultRepo;

/// Names the operation in errors of the database.
const SETTLE: &str = "settle the results of a job";

#[async_trait]
impl ResultRepo for SqliteStore {
    async fn results_waiting(
        &self,
        except: &BTreeSet<JobId>,
    ) -> Result<Vec<(ProviderName, Duration)>> {
        let except = id_list(except);
        let waiting = self
            .readers
            .point("list the providers with due results", move |connection| {
                let sql = "SELECT provider, MIN(next_at) FROM results_due \
                     WHERE entry_id NOT IN \
                     (SELECT entry_id FROM json_each(?1) JOIN jobs ON job_id = value) \
                     GROUP BY provider";
                let (waiting, damaged) = readable(connection, sql, [except], |row| {
                    let mut columns = Columns::new(row, "results_due");
                    Ok((columns.text("provider", ProviderName::new)?, columns.time("next_at")?))
                })?;
                log_damaged(&damaged);
                Ok(waiting)
            })
            .await?;
        Ok(waiting.into_iter().map(|(provider, at)| (provider, self.until(at))).collect())
    }

    async fn due_results(
        &self,
        provider: &ProviderName,
        except: &BTreeSet<JobId>,
        max: u32,
    ) -> Result<Vec<DueResults>> {
        let (provider, now, except) = (provider.clone(), self.clock.now(), id_list(except));
        self.readers
            .point("list due results", move |connection| {
                // In the order of the deadlines, whatever is due when: there are few of them.
                let (due, damaged) = first_readable(
                    connection,
                    "SELECT j.job_id, r.provider, r.expires_at, r.attempts FROM results_due r \
                     JOIN jobs j ON j.entry_id = r.entry_id \
                     WHERE r.provider = ?1 AND +r.next_at <= ?2 AND r.entry_id NOT IN \
                     (SELECT entry_id FROM json_each(?3) JOIN jobs ON job_id = value) \
                     ORDER BY r.expires_at, r.entry_id",
                    params![provider.as_str(), now.as_millisecond(), except],
                    max,
                    due,
                )?;
                log_damaged(&damaged);
                Ok(due)
            })
            .await
    }

    async fn settle_results(&self, job: JobId, outcome: &ResultsOutcome) -> Result<JobRecord> {
        let outcome = outcome.clone();
        self.writer.write(Lane::Worker, SETTLE, move |tx| settle(tx, job, &outcome)).await
    }

    async fn give_up_results(&self, job: JobId, reason: &str) -> Result<bool> {
        let reason = lost_reason(reason);
        self.writer.write(Lane::Worker, SETTLE, move |tx| give_up(tx, job, &reason)).await
    }
}

fn settle(tx: &Tx<'_>, job: JobId, outcome: &ResultsOutcome) -> Result<JobRecord> {
    let mut record = load(tx.connection, job)?;
    let entry = record.entry().id.0;
    let (found, _damaged) = readable(
        tx.connection,
        "SELECT j.job_id, r.provider, r.expires_at, r.attempts FROM results_due r \
         JOIN jobs j ON j.entry_id = r.entry_id WHERE r.entry_id = ?1",
        [entry],
        due,
    )?;
    let Some(due) = found.into_iter().next() else { return Ok(record) };
    let before = record.clone();
    match record.settle_results(&due, outcome.clone(), tx.now) {
        Next::Again { at, attempts } => change_one(
            tx.connection,
            SETTLE,
            "UPDATE results_due SET next_at = ?2, attempts = ?3 WHERE entry_id = ?1",
            params![entry, at.as_millisecond(), attempts],
        )?,
        Next::Settled => {
            let sql = "DELETE FROM results_due WHERE entry_id = ?1";
            change_one(tx.connection, SETTLE, sql, [entry])?;
            save(tx.connection, &before, &mut record)?;
        }
    }
    Ok(record)
}

fn give_up(tx: &Tx<'_>, job: JobId, reason: &str) -> Result<bool> {
    let of_job = "DELETE FROM results_due WHERE entry_id = \
                  (SELECT entry_id FROM jobs WHERE job_id = ?1)";
    let was_due = change(tx.connection, SETTLE, of_job, [job.to_string()])? > 0;
    if was_due {
        change_one(
            tx.connection,
            SETTLE,
            "UPDATE jobs SET results = 'lost', results_lost = ?2, output_path = NULL \
             WHERE job_id = ?1",
            params![job.to_string(), reason],
        )?;
    }
    Ok(was_due)
}

fn due(row: &Row<'_>) -> Result<DueResults> {
    let mut columns = Columns::new(row, "results_due");
    Ok(DueResults {
        job: columns.word("job_id")?,
        provider: columns.text("provider", ProviderName::new)?,
        expires_at: columns.time("expires_at")?,
        attempts: columns.number("attempts")?,
    })
}

/// Remembers that the results of a job are due, if they are since this step.
pub(super) fn note(connection: &Connection, before: &JobRecord, record: &JobRecord) -> Result<()> {
    let Some(results) = &record.job().results else { return Ok(()) };
    let Some(ended_at) = record.ended_at() else { return Ok(()) };
    if before.job().has_due_results() || !record.job().has_due_results() {
        return Ok(());
    }
    change_one(
        connection,
        "remember that results are due",
        "INSERT INTO results_due (entry_id, provider, expires_at, next_at, attempts) \
         VALUES (?1, ?2, ?3, ?4, 0)",
        params![
            record.entry().id.0,
            record.job().provider.as_str(),
            results.expires_at.as_millisecond(),
            ended_at.as_millisecond(),
        ],
    )
}
