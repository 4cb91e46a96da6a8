//! Records to rows. A new record is one row of each table; after a step the columns that changed are
//! written, in one statement for each table in which one did: an index or a trigger that a step has
//! nothing to do with costs nothing.

use std::fmt::Write as _;

use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, ToSql, params};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::model::{
    AccountId, Actor, Approval, Due, Group, JobRecord, OrgId, Priority, ProviderJobId,
    QueueEntryId, RequiredBy, ResultsState, Stage, TeamId, UserId,
};
use crate::sqlite::query::{change_one, duration_millis, integer, millis, owned, real, text};
use crate::sqlite::shares::settle_charge;
use crate::sqlite::{budgets, events, results, totals};

/// Writes a new job with its input, and its events.
pub(in crate::sqlite) fn insert(
    connection: &Connection,
    record: &mut JobRecord,
    input: &Value,
) -> Result<()> {
    insert_job(connection, record)?;
    change_one(
        connection,
        "store a job's input",
        "INSERT INTO job_inputs (entry_id, input) VALUES (?1, ?2)",
        params![record.entry().id.0, input.to_string()],
    )?;
    insert_entry(connection, record)?;
    if let Some(approval) = record.approval() {
        insert_approval(connection, record, approval)?;
    }
    totals::note(connection, None, record)?;
    budgets::post(connection, &Group::of(record), &record.take_postings())?;
    events::append_of(connection, record)
}

/// The row numbers itself, as [`JobRecord::submit`] was given the next number: of a row with a number of
/// its own that has triggers, SQLite first copies all pages that it writes.
fn insert_job(connection: &Connection, record: &JobRecord) -> Result<()> {
    let job = record.job();
    change_one(
        connection,
        "store a job",
        "INSERT OR FAIL INTO jobs (job_id, job_type, provider, status, config_name, user_id, team_id, \
         org_id, correlation_id, created_at, hardware_type, metadata) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            job.id.to_string(),
            job.job_type.as_str(),
            job.provider.as_str(),
            record.status().as_str(),
            job.config_name,
            job.owner.user.as_str(),
            job.owner.team.as_ref().map(TeamId::as_str),
            job.owner.org.as_ref().map(OrgId::as_str),
            job.correlation_id.as_str(),
            job.created_at.as_millisecond(),
            job.hardware_type,
            Value::Object(job.metadata.clone()).to_string(),
        ],
    )?;
    if connection.last_insert_rowid() == record.entry().id.0 {
        return Ok(());
    }
    Err(Error::Database { operation: "store a job", source: "it got another number".into() })
}

/// The row numbers itself, for the same reason. It gets the job's number unless the last jobs before it were
/// deleted, which is then set right.
fn insert_entry(connection: &Connection, record: &JobRecord) -> Result<()> {
    let (job, entry) = (record.job(), record.entry());
    let (not_before, kind) = due(record.stage());
    change_one(
        connection,
        "store a queue entry",
        "INSERT OR FAIL INTO queue_entries (user_id, team_id, org_id, job_type, \
         provider, status, priority, priority_override, deadline, queued_at, run_after, \
         waits_since, epoch, estimated_cost, attempt, failed_attempts, max_attempts, token, \
         not_before, not_before_kind) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, \
         ?19, ?20)",
        params![
            job.owner.user.as_str(),
            job.owner.team.as_ref().map_or("", TeamId::as_str),
            job.owner.org.as_ref().map_or("", OrgId::as_str),
            job.job_type.as_str(),
            job.provider.as_str(),
            record.queue_status().as_str(),
            entry.priority.get(),
            entry.priority_override.map(Priority::get),
            entry.deadline().as_millisecond(),
            entry.queued_at.as_millisecond(),
            millis(entry.run_after),
            entry.waits_since.as_millisecond(),
            entry.epoch.0,
            entry.estimated_cost,
            entry.attempt,
            entry.failed_attempts,
            entry.max_attempts,
            entry.token.to_number(),
            millis(not_before),
            kind,
        ],
    )?;
    let inserted = connection.last_insert_rowid();
    if inserted == entry.id.0 {
        return Ok(());
    }
    change_one(
        connection,
        "number a queue entry",
        "UPDATE queue_entries SET entry_id = ?1 WHERE entry_id = ?2",
        [entry.id.0, inserted],
    )
}

fn insert_approval(
    connection: &Connection,
    record: &JobRecord,
    approval: Approval<'_>,
) -> Result<()> {
    let request = approval.request();
    let (rule, budget) = match request.required_by {
        RequiredBy::Rule(id) => (Some(id.0), None),
        RequiredBy::Budget(id) => (None, Some(id.0)),
    };
    change_one(
        connection,
        "store an approval request",
        "INSERT OR FAIL INTO approvals (approval_id, entry_id, rule_id, budget_id, status, reason, \
         required_role, created_at, expires_at, ttl_ms, user_id) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            request.id.0,
            record.entry().id.0,
            rule,
            budget,
            approval.status().as_str(),
            request.reason,
            request.required_role.as_str(),
            request.created_at.as_millisecond(),
            request.expires_at.as_millisecond(),
            duration_millis(request.ttl),
            record.job().owner.user.as_str(),
        ],
    )
}

/// Writes what a step changed of a job, and the step's events. `before`: as it was loaded.
pub(in crate::sqlite) fn save(
    connection: &Connection,
    before: &JobRecord,
    record: &mut JobRecord,
) -> Result<()> {
    let id = record.entry().id;
    let job = ("store a job", "jobs");
    update(connection, job, id, &job_columns(before), &job_columns(record))?;
    let entry = ("store a queue entry", "queue_entries");
    update(connection, entry, id, &entry_columns(before), &entry_columns(record))?;
    // What is open is open, and what is settled stays as it is.
    if let (Some(before), Some(approval)) = (before.approval(), record.approval())
        && before.status() != approval.status()
    {
        let review = approval.review();
        change_one(
            connection,
            "store an approval request",
            "UPDATE OR FAIL approvals SET status = ?2, reviewed_by = ?3, settled_at = ?4, \
             review_notes = ?5 WHERE approval_id = ?1",
            params![
                approval.request().id.0,
                approval.status().as_str(),
                review.map(|review| UserId::as_str(&review.by)),
                millis(approval.settled_at()),
                review.and_then(|review| review.notes.as_deref()),
            ],
        )?;
    }
    // What frees a slot is a change of status, and has an event.
    if before.queue_status().takes_slot()
        && !record.queue_status().takes_slot()
        && let Some(at) = record.last_event_at()
    {
        settle_charge(connection, record, at)?;
    }
    results::note(connection, before, record)?;
    totals::note(connection, Some(before), record)?;
    budgets::post(connection, &Group::of(record), &record.take_postings())?;
    events::append_of(connection, record)
}

/// A column that may change, and what is in it.
type Column<'r> = (&'static str, ToSqlOutput<'r>);

/// Writes the columns that differ. A failure is undone with the whole operation: that the statement
/// need not be able to undo itself saves a copy of every page that it writes.
fn update(
    connection: &Connection,
    (operation, table): (&'static str, &str),
    id: QueueEntryId,
    before: &[Column<'_>],
    after: &[Column<'_>],
) -> Result<()> {
    let mut set = String::new();
    let mut bound: Vec<&dyn ToSql> = vec![&id.0];
    for ((name, value), (_, old)) in after.iter().zip(before) {
        if value != old {
            bound.push(value);
            let comma = if set.is_empty() { "" } else { ", " };
            // Writing to a string does not fail.
            write!(set, "{comma}{name} = ?{}", bound.len()).unwrap_or_default();
        }
    }
    if set.is_empty() {
        return Ok(());
    }
    let sql = format!("UPDATE OR FAIL {table} SET {set} WHERE entry_id = ?1");
    change_one(connection, operation, &sql, &*bound)
}

fn job_columns(record: &JobRecord) -> [Column<'_>; 12] {
    let (job, remote) = (record.job(), record.stage().remote());
    let account = remote.and_then(|remote| remote.account.as_ref()).map(AccountId::to_string);
    let results = job.results.as_ref();
    let (state, path, lost) = match results.map(|results| &results.state) {
        None => (None, None, None),
        Some(ResultsState::Due) => (Some("due"), None, None),
        Some(ResultsState::Kept { output_path }) => (Some("kept"), output_path.as_deref(), None),
        Some(ResultsState::Lost { reason, output_path }) => {
            (Some("lost"), output_path.as_deref(), Some(reason.as_str()))
        }
    };
    [
        ("status", text(record.status().as_str())),
        ("started_at", integer(millis(job.started_at))),
        ("completed_at", integer(millis(job.completed_at))),
        ("cost_usd", real(job.cost_usd)),
        ("error_message", text(job.error_message.as_deref())),
        ("output_url", text(job.output_url.as_deref())),
        ("provider_job_id", text(remote.map(|remote| ProviderJobId::as_str(&remote.id)))),
        ("provider_account", owned(account)),
        ("results", text(state)),
        ("output_expires_at", integer(millis(results.map(|results| results.expires_at)))),
        ("output_path", text(path)),
        ("results_lost", text(lost)),
    ]
}

fn entry_columns(record: &JobRecord) -> [Column<'_>; 28] {
    let (entry, stage) = (record.entry(), record.stage());
    let (not_before, kind) = due(stage);
    let cancellation = stage.cancellation();
    // The columns of a claim exist only while the job is claimed.
    let claimed = stage.claimed();
    let attempt = claimed.map(|claimed| &claimed.attempt);
    let account = attempt.and_then(|attempt| attempt.account.as_ref()).map(AccountId::to_string);
    let lease = claimed.map(|claimed| &claimed.lease);
    [
        ("status", text(record.queue_status().as_str())),
        ("priority_override", integer(entry.priority_override.map(|it| i64::from(it.get())))),
        ("deadline", integer(entry.deadline().as_millisecond())),
        ("waits_since", integer(entry.waits_since.as_millisecond())),
        ("epoch", integer(i64::from(entry.epoch.0))),
        ("started_at", integer(millis(entry.started_at))),
        ("completed_at", integer(millis(record.ended_at()))),
        ("attempt", integer(i64::from(entry.attempt))),
        ("failed_attempts", integer(i64::from(entry.failed_attempts))),
        ("suspect_since", integer(millis(entry.suspect_since))),
        ("error_message", text(entry.error_message.as_deref())),
        ("token", integer(entry.token.to_number())),
        ("not_before", integer(millis(not_before))),
        ("not_before_kind", text(kind)),
        ("cancel_requested_at", integer(millis(cancellation.map(|it| it.at)))),
        ("cancel_actor", text(cancellation.map(|it| it.by.kind().as_str()))),
        ("cancel_actor_name", text(cancellation.and_then(|it| Actor::name(&it.by)))),
        ("reclaims", integer(i64::from(entry.reclaims))),
        ("panics", integer(i64::from(entry.panics))),
        ("claimed_at", integer(attempt.map(|attempt| attempt.claimed_at.as_millisecond()))),
        ("claim_provider_time", integer(millis(attempt.and_then(|attempt| attempt.provider_time)))),
        ("claim_account", owned(account)),
        ("claim_guarantee", text(attempt.map(|attempt| attempt.guarantee.as_str()))),
        (
            "claim_may_arrive_ms",
            integer(attempt.map(|attempt| duration_millis(attempt.may_arrive_for))),
        ),
        ("claim_origin", text(claimed.map(|claimed| claimed.origin.as_str()))),
        ("lease_holder", owned(lease.map(|lease| lease.holder.to_string()))),
        ("lease_until", integer(lease.map(|lease| lease.until.as_millisecond()))),
        ("unresolved_since", integer(millis(claimed.and_then(|it| it.unresolved_since)))),
    ]
}

/// Until when a waiting job is not claimed, and why.
fn due(stage: &Stage) -> (Option<jiff::Timestamp>, Option<&'static str>) {
    let due = match stage {
        Stage::Waiting(waiting) => waiting.due,
        Stage::Blocked(_)
        | Stage::Claimed(_)
        | Stage::Held(_)
        | Stage::AtProvider(_)
        | Stage::Finished(_) => Due::Now,
    };
    let kind = match due {
        Due::Now => None,
        Due::Date(_) => Some("date"),
        Due::Pause(_) => Some("pause"),
    };
    (due.at(), kind)
}
