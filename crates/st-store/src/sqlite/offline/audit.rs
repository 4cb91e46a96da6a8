//! Whether a database is sound, and whether what is in it can be true.
//!
//! The rules of the tables are SQLite's to check; here are those of the domain. Nothing is changed,
//! and what is found is named so that a person finds the row.

use std::fmt;
use std::path::Path;

use rusqlite::{Connection, Row, params};

use super::open_beside;
use crate::error::{Error, Result};
use crate::model::{Approval, ApprovalStatus, Change, Event, JobRecord, JobStatus, QueueStatus};
use crate::sqlite::counters::first_wrong_in;
use crate::sqlite::events::{EVENTS_OF_JOB, event};
use crate::sqlite::failed;
use crate::sqlite::migrate::{self, MigrationPlan};
use crate::sqlite::query::all;
use crate::sqlite::records::{list, select_records};

/// How many jobs are read at a time.
const PAGE: u32 = 100;
/// How many findings of SQLite are listed.
const MOST: usize = 100;

/// What a check came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// How many jobs were checked.
    pub jobs: u64,
    /// How many events were checked.
    pub events: u64,
    /// What is not as it must be.
    pub findings: Vec<Finding>,
}

/// One thing that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing it is about: `file`, `table`, `job`, `events`, `held` or `counts`.
    pub kind: &'static str,
    /// Which one: a job's identifier, where it is about a job.
    pub subject: String,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, subject, problem } = self;
        if subject.is_empty() {
            write!(f, "{kind}: {problem}")
        } else {
            write!(f, "{kind} {subject}: {problem}")
        }
    }
}

/// Checks the whole database as it is at one moment. A server may have it open.
pub fn audit(database: &Path) -> Result<Audit> {
    let connection = open_beside(database)?;
    let transaction = connection.unchecked_transaction().map_err(failed("check the database"))?;
    let mut audit = Audit::default();
    if !audit.file(&transaction)? {
        // The rest would say the same in other words.
        return Ok(audit);
    }
    let MigrationPlan { schema, pending } = migrate::plan(&transaction, database)?;
    if !pending.is_empty() {
        let finding =
            format!("its schema is {schema}; start the server once to bring it up to date");
        return Err(Error::NoDatabase { path: database.to_owned(), finding });
    }
    audit.counts(&transaction)?;
    audit.held(&transaction)?;
    audit.entries(&transaction)?;
    audit.results(&transaction)?;
    audit.records(&transaction)?;
    Ok(audit)
}

impl Audit {
    fn add(&mut self, kind: &'static str, subject: impl Into<String>, problem: impl Into<String>) {
        let (subject, problem) = (subject.into(), problem.into());
        self.findings.push(Finding { kind, subject, problem });
    }

    /// What SQLite finds; whether the rest can be read.
    fn file(&mut self, connection: &Connection) -> Result<bool> {
        let fail = failed("check the database");
        let said = connection.prepare("PRAGMA integrity_check(100)").and_then(|mut statement| {
            statement.query_map([], |row| row.get::<_, String>(0))?.collect()
        });
        let said: Vec<String> = match said {
            Ok(said) => said,
            Err(error)
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt) =>
            {
                vec![error.to_string()]
            }
            Err(error) => return Err(fail(error)),
        };
        for finding in said.into_iter().filter(|finding| finding != "ok").take(MOST) {
            self.add("file", "", finding);
        }
        if !self.findings.is_empty() {
            return Ok(false);
        }
        let broken = all(connection, "PRAGMA foreign_key_check", [], |row| {
            let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(2)?));
            let (table, parent): (String, String) =
                read(row).map_err(failed("check the database"))?;
            Ok((table, parent))
        })?;
        for (table, parent) in broken.into_iter().take(MOST) {
            self.add("table", table, format!("a row belongs to one of {parent} that is not there"));
        }
        Ok(true)
    }

    /// The counters beside what they count.
    fn counts(&mut self, connection: &Connection) -> Result<()> {
        let wrong = all(
            connection,
            "SELECT status, SUM(counted), SUM(there) FROM ( \
             SELECT status, entries AS counted, 0 AS there FROM queue_counts \
             UNION ALL SELECT status, 0, 1 FROM queue_entries) \
             GROUP BY status HAVING SUM(counted) <> SUM(there)",
            [],
            |row| {
                let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
                read(row).map_err(failed("check the counters"))
            },
        )?;
        for (status, counted, there) in wrong {
            let (status, counted, there): (String, i64, i64) = (status, counted, there);
            self.add("counts", status, format!("{counted} entries are counted, {there} are there"));
        }
        if self.findings.iter().all(|finding| finding.kind != "counts") {
            let wrong = first_wrong_in(connection).map_err(failed("check the counters"))?;
            self.findings.extend(wrong.map(|problem| Finding {
                kind: "counts",
                subject: String::new(),
                problem,
            }));
        }
        Ok(())
    }

    fn held(&mut self, connection: &Connection) -> Result<()> {
        let held = text_pairs(
            connection,
            "SELECT COALESCE(job_id, entry_id), COALESCE(held_reason, held) FROM queue_entries \
             LEFT JOIN jobs USING (entry_id) WHERE held IS NOT NULL",
        )?;
        for (job, reason) in held {
            self.add("held", job, format!("set aside: {reason}"));
        }
        Ok(())
    }

    /// One entry for each job, with the job's own owner.
    fn entries(&mut self, connection: &Connection) -> Result<()> {
        let alone = text_pairs(
            connection,
            "SELECT job_id, 'it has no queue entry' FROM jobs \
             WHERE entry_id NOT IN (SELECT entry_id FROM queue_entries) \
             UNION ALL \
             SELECT job_id, 'it has no input' FROM jobs \
             WHERE entry_id NOT IN (SELECT entry_id FROM job_inputs) \
             UNION ALL \
             SELECT j.job_id, 'its queue entry names another owner, type or provider' \
             FROM queue_entries q JOIN jobs j ON j.entry_id = q.entry_id \
             WHERE q.user_id <> j.user_id OR q.team_id <> COALESCE(j.team_id, '') \
             OR q.org_id <> COALESCE(j.org_id, '') OR q.job_type <> j.job_type \
             OR q.provider <> j.provider",
        )?;
        for (job, problem) in alone {
            self.add("job", job, problem);
        }
        Ok(())
    }

    /// What is due to be fetched has one row that says so, with the job's own deadline.
    fn results(&mut self, connection: &Connection) -> Result<()> {
        let wrong = text_pairs(
            connection,
            "SELECT job_id, 'its results are due, and nothing fetches them' FROM jobs \
             WHERE results = 'due' AND entry_id NOT IN (SELECT entry_id FROM results_due) \
             UNION ALL \
             SELECT j.job_id, 'its results are fetched although they are not due' \
             FROM results_due r JOIN jobs j ON j.entry_id = r.entry_id \
             WHERE j.results IS NOT 'due' \
             UNION ALL \
             SELECT j.job_id, 'its results are fetched from another provider or until another time' \
             FROM results_due r JOIN jobs j ON j.entry_id = r.entry_id \
             WHERE j.provider <> r.provider OR j.output_expires_at IS NOT r.expires_at",
        )?;
        for (job, problem) in wrong {
            self.add("job", job, problem);
        }
        Ok(())
    }

    /// Every job by itself, and whether its events add up to it.
    fn records(&mut self, connection: &Connection) -> Result<()> {
        let mut after = String::new();
        loop {
            let sql = select_records!("WHERE j.job_id > ?1 ORDER BY j.job_id LIMIT ?2");
            let ids = text_pairs_of(
                connection,
                "SELECT j.job_id, '' FROM jobs j JOIN queue_entries q ON q.entry_id = j.entry_id \
                 WHERE j.job_id > ?1 ORDER BY j.job_id LIMIT ?2",
                params![after, PAGE],
            )?;
            let Some((last, _)) = ids.last() else { return Ok(()) };
            let listed = list(connection, sql, params![after, PAGE])?;
            // What is set aside already is listed as that.
            for row in listed.fresh {
                self.add("job", row.key, format!("{}: {}", row.table, row.problem));
            }
            for record in &listed.records {
                self.events_of(connection, record)?;
            }
            self.jobs += ids.len() as u64;
            after.clone_from(last);
        }
    }

    fn events_of(&mut self, connection: &Connection, record: &JobRecord) -> Result<()> {
        let job = record.id().to_string();
        let bound = params![job, 0, i64::MAX];
        let events = all(connection, EVENTS_OF_JOB, bound, |row| match event(row) {
            Err(Error::Damaged(row)) => Ok(Err(row)),
            read => read.map(Ok),
        })?;
        self.events += events.len() as u64;
        let mut replayed = Replayed::default();
        for event in events {
            let broken = match event {
                Ok(event) => replayed.apply(&event),
                Err(row) => Some(row.to_string()),
            };
            if let Some(problem) = broken {
                // What follows from one gap is no finding of its own.
                self.add("events", job, problem);
                return Ok(());
            }
        }
        if let Some(problem) = replayed.differs_from(record) {
            self.add("events", job, problem);
        }
        Ok(())
    }
}

/// The statuses that the events of a job add up to.
#[derive(Debug, Default)]
struct Replayed {
    job: Option<JobStatus>,
    queue: Option<QueueStatus>,
    approval: Option<ApprovalStatus>,
}

impl Replayed {
    /// Takes one event; what is wrong with it, if it does not follow the one before.
    fn apply(&mut self, event: &Event) -> Option<String> {
        let (before, from, to) = match &event.event.change {
            Change::Job { from, to, .. } => {
                (words(self.job.replace(*to)), words(*from), to.as_str())
            }
            Change::Queue { from, to, .. } => {
                (words(self.queue.replace(*to)), words(*from), to.as_str())
            }
            Change::Approval { from, to, .. } => {
                (words(self.approval.replace(*to)), words(*from), to.as_str())
            }
            Change::Priority { .. }
            | Change::Deleted { .. }
            | Change::Provider { .. }
            | Change::Limits { .. } => return None,
        };
        (before != from).then(|| {
            format!(
                "event {} goes from {from} to {to}, but the one before led to {before}",
                event.id
            )
        })
    }

    fn differs_from(&self, record: &JobRecord) -> Option<String> {
        let stored = [
            ("job", words(self.job), words(Some(record.status()))),
            ("queue entry", words(self.queue), words(Some(record.queue_status()))),
            ("approval", words(self.approval), words(record.approval().map(Approval::status))),
        ];
        stored.into_iter().find(|(_, events, row)| events != row).map(|(what, events, row)| {
            format!("its events end with the {what} as {events}, but it is {row}")
        })
    }
}

fn words(status: Option<impl fmt::Display>) -> String {
    status.map_or_else(|| "nothing".to_owned(), |status| status.to_string())
}

fn text_pairs(connection: &Connection, sql: &str) -> Result<Vec<(String, String)>> {
    text_pairs_of(connection, sql, [])
}

fn text_pairs_of(
    connection: &Connection,
    sql: &str,
    bound: impl rusqlite::Params,
) -> Result<Vec<(String, String)>> {
    all(connection, sql, bound, |row| {
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        read(row).map_err(failed("check the rows"))
    })
}
