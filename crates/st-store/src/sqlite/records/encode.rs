//! Records to rows: one statement for each table, all columns that may change.

use rusqlite::{Connection, params};
use serde_json::Value;

use crate::error::Result;
use crate::model::{
    AccountId, Actor, Approval, Claimed, Due, Job, JobRecord, OrgId, Priority, ProviderJobId,
    Stage, TeamId, UserId,
};
use crate::sqlite::events;
use crate::sqlite::query::{change, change_one, duration_millis, millis};
use crate::sqlite::shares::settle_charge;

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
        "INSERT INTO job_inputs (job_id, input) VALUES (?1, ?2)",
        params![record.id().to_string(), input.to_string()],
    )?;
    insert_entry(connection, record)?;
    if let Some(approval) = record.approval() {
        insert_approval(connection, record, approval)?;
    }
    events::append(connection, record.take_events())
}

fn insert_job(connection: &Connection, record: &JobRecord) -> Result<()> {
    let job = record.job();
    change_one(
        connection,
        "store a job",
        "INSERT INTO jobs (job_id, job_type, provider, status, config_name, user_id, team_id, \
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
    )
}

fn insert_entry(connection: &Connection, record: &JobRecord) -> Result<()> {
    let (job, entry) = (record.job(), record.entry());
    let (not_before, kind) = due(record.stage());
    change_one(
        connection,
        "store a queue entry",
        "INSERT INTO queue_entries (entry_id, job_id, user_id, team_id, org_id, job_type, \
         provider, status, priority, priority_override, deadline, queued_at, run_after, \
         waits_since, epoch, estimated_cost, attempt, failed_attempts, max_attempts, token, \
         not_before, not_before_kind) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, \
         ?19, ?20, ?21, ?22)",
        params![
            entry.id.0,
            job.id.to_string(),
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
    )
}

fn insert_approval(
    connection: &Connection,
    record: &JobRecord,
    approval: Approval<'_>,
) -> Result<()> {
    let request = approval.request();
    change_one(
        connection,
        "store an approval request",
        "INSERT INTO approvals (approval_id, job_id, rule_id, status, reason, required_role, \
         created_at, expires_at, ttl_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            request.id.0,
            record.id().to_string(),
            request.rule_id.0,
            approval.status().as_str(),
            request.reason,
            request.required_role.as_str(),
            request.created_at.as_millisecond(),
            request.expires_at.as_millisecond(),
            duration_millis(request.ttl),
        ],
    )
}

/// Writes a job after a step, and the step's events.
pub(in crate::sqlite) fn save(connection: &Connection, record: &mut JobRecord) -> Result<()> {
    let id = record.id().to_string();
    save_job(connection, record.job(), record, &id)?;
    save_entry(connection, record, &id)?;
    if let Some(approval) = record.approval() {
        let review = approval.review();
        change(
            connection,
            "store an approval request",
            "UPDATE approvals SET status = ?2, reviewed_by = ?3, settled_at = ?4, \
             review_notes = ?5 WHERE approval_id = ?1 AND status <> ?2",
            params![
                approval.request().id.0,
                approval.status().as_str(),
                review.map(|review| UserId::as_str(&review.by)),
                millis(approval.settled_at()),
                review.and_then(|review| review.notes.as_deref()),
            ],
        )?;
    }
    let events = record.take_events();
    // What frees a slot is a change of status, and has an event.
    if let Some(last) = events.last()
        && !record.queue_status().takes_slot()
    {
        settle_charge(connection, record, last.at)?;
    }
    events::append(connection, events)
}

fn save_job(connection: &Connection, job: &Job, record: &JobRecord, id: &str) -> Result<()> {
    let remote = record.stage().remote();
    change_one(
        connection,
        "store a job",
        "UPDATE jobs SET status = ?2, started_at = ?3, completed_at = ?4, cost_usd = ?5, \
         error_message = ?6, output_url = ?7, provider_job_id = ?8, provider_account = ?9 \
         WHERE job_id = ?1",
        params![
            id,
            record.status().as_str(),
            millis(job.started_at),
            millis(job.completed_at),
            job.cost_usd,
            job.error_message,
            job.output_url,
            remote.map(|remote| ProviderJobId::as_str(&remote.id)),
            remote.and_then(|remote| remote.account.as_ref()).map(AccountId::to_string),
        ],
    )
}

fn save_entry(connection: &Connection, record: &JobRecord, id: &str) -> Result<()> {
    let (entry, stage) = (record.entry(), record.stage());
    let (not_before, kind) = due(stage);
    let cancellation = stage.cancellation();
    change_one(
        connection,
        "store a queue entry",
        "UPDATE queue_entries SET status = ?2, deadline = ?3, waits_since = ?4, epoch = ?5, \
         started_at = ?6, completed_at = ?7, attempt = ?8, failed_attempts = ?9, \
         suspect_since = ?10, error_message = ?11, token = ?12, not_before = ?13, \
         not_before_kind = ?14, cancel_requested_at = ?15, cancel_actor = ?16, \
         cancel_actor_name = ?17, reclaims = ?18, panics = ?19 WHERE job_id = ?1",
        params![
            id,
            record.queue_status().as_str(),
            entry.deadline().as_millisecond(),
            entry.waits_since.as_millisecond(),
            entry.epoch.0,
            millis(entry.started_at),
            millis(record.ended_at()),
            entry.attempt,
            entry.failed_attempts,
            millis(entry.suspect_since),
            entry.error_message,
            entry.token.to_number(),
            millis(not_before),
            kind,
            millis(cancellation.map(|it| it.at)),
            cancellation.map(|it| it.by.kind().as_str()),
            cancellation.and_then(|it| Actor::name(&it.by)),
            entry.reclaims,
            entry.panics,
        ],
    )?;
    save_claim(connection, stage.claimed(), id)
}

/// Writes the columns of a claim, or clears them: they exist only while the job is claimed.
fn save_claim(connection: &Connection, claimed: Option<&Claimed>, id: &str) -> Result<()> {
    let attempt = claimed.map(|claimed| &claimed.attempt);
    change_one(
        connection,
        "store a claim",
        "UPDATE queue_entries SET claimed_at = ?2, claim_provider_time = ?3, claim_account = ?4, \
         claim_guarantee = ?5, claim_may_arrive_ms = ?6, claim_origin = ?7, lease_holder = ?8, \
         lease_until = ?9, unresolved_since = ?10 WHERE job_id = ?1",
        params![
            id,
            attempt.map(|attempt| attempt.claimed_at.as_millisecond()),
            millis(attempt.and_then(|attempt| attempt.provider_time)),
            attempt.and_then(|attempt| attempt.account.as_ref()).map(AccountId::to_string),
            attempt.map(|attempt| attempt.guarantee.as_str()),
            attempt.map(|attempt| duration_millis(attempt.may_arrive_for)),
            claimed.map(|claimed| claimed.origin.as_str()),
            claimed.map(|claimed| claimed.lease.holder.to_string()),
            claimed.map(|claimed| claimed.lease.until.as_millisecond()),
            millis(claimed.and_then(|claimed| claimed.unresolved_since)),
        ],
    )
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
