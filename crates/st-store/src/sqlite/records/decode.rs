//! Rows to records. Whatever does not make a legal record is a damaged row, named by table, key and
//! column.

use jiff::Timestamp;
use rusqlite::Row;
use st_log::CorrelationId;

use crate::error::Result;
use crate::model::{
    AccountId, Actor, ActorKind, ApprovalId, ApprovalOutcome, ApprovalRequest, ApprovalStatus,
    AtMostOnce, AtProvider, Attempt, AttemptToken, BudgetId, Cancellation, ClaimOrigin, Claimed,
    Due, End, Epoch, Finished, Held, Holder, Job, JobRecord, JobStatus, Lease, OrgId, Owner, Phase,
    Priority, ProviderJobId, ProviderName, QueueEntry, QueueEntryId, QueueStatus, RemoteId,
    RequiredBy, Results, ResultsState, Review, RuleId, SettledApproval, Stage, TeamId, UserId,
    Waiting,
};
use crate::sqlite::query::Columns;

/// Reads one row of `select_records!`.
pub(in crate::sqlite) fn record(row: &Row<'_>) -> Result<JobRecord> {
    let mut columns = Columns::new(row, "jobs");
    let (job, status, remote) = job(&mut columns)?;
    columns.of_table("queue_entries");
    let (entry, flat) = entry(&mut columns)?;
    columns.of_table("approvals");
    let approval = approval(&mut columns)?;
    columns.of_table("queue_entries");
    let (open, settled) = match approval {
        None => (None, None),
        Some(Stored::Open(request)) => (Some(request), None),
        Some(Stored::Settled(settled)) => (None, Some(settled)),
    };
    let stage = flat.into_stage(&columns, &entry, (status, remote, open))?;
    let record = JobRecord::from_parts(job, entry, stage, settled)
        .map_err(|inconsistency| columns.damaged(inconsistency.to_string()))?;
    if record.status() == status {
        return Ok(record);
    }
    columns.of_table("jobs");
    Err(columns.damaged(format!("status: {status} with a queue entry of {}", record.status())))
}

fn job(columns: &mut Columns<'_>) -> Result<(Job, JobStatus, Option<RemoteId>)> {
    let id = columns.word("job_id")?;
    let job_type = columns.word("job_type")?;
    let provider = columns.text("provider", ProviderName::new)?;
    let status = columns.word("status")?;
    let config_name = columns.plain("config_name")?;
    let owner = Owner {
        user: columns.text("user_id", UserId::new)?,
        team: columns.text_or_null("team_id", TeamId::new)?,
        org: columns.text_or_null("org_id", OrgId::new)?,
    };
    let correlation_id = columns.word::<CorrelationId>("correlation_id")?;
    let created_at = columns.time("created_at")?;
    let started_at = columns.time_or_null("started_at")?;
    let completed_at = columns.time_or_null("completed_at")?;
    let cost_usd = columns.plain("cost_usd")?;
    let hardware_type = columns.plain("hardware_type")?;
    let error_message = columns.plain("error_message")?;
    let output_url = columns.plain("output_url")?;
    let remote_id = columns.text_or_null("provider_job_id", ProviderJobId::new)?;
    let account = columns.word_or_null("provider_account")?;
    let metadata = columns.json("metadata")?;
    let results = results(columns)?;
    let remote = remote_id.map(|id| RemoteId { id, account });
    let job = Job {
        id,
        job_type,
        provider,
        config_name,
        owner,
        correlation_id,
        created_at,
        started_at,
        completed_at,
        cost_usd,
        hardware_type,
        error_message,
        output_url,
        results,
        metadata,
    };
    Ok((job, status, remote))
}

/// What becomes of the job's results, where its provider deletes them. The column `results` decides.
fn results(columns: &mut Columns<'_>) -> Result<Option<Results>> {
    let word: Option<String> = columns.plain("results")?;
    let expires_at = columns.time_or_null("output_expires_at")?;
    let output_path = columns.plain("output_path")?;
    let lost: Option<String> = columns.plain("results_lost")?;
    let state = match word.as_deref() {
        None => return Ok(None),
        Some("due") => ResultsState::Due,
        Some("kept") => ResultsState::Kept { output_path },
        Some("lost") => {
            ResultsState::Lost { reason: columns.require("results_lost", lost)?, output_path }
        }
        Some(other) => return Err(columns.damaged(format!("results: {other:?}"))),
    };
    Ok(Some(Results { expires_at: columns.require("output_expires_at", expires_at)?, state }))
}

/// The columns of a queue entry that belong to its stage.
struct FlatStage {
    status: QueueStatus,
    ended_at: Option<Timestamp>,
    due: Due,
    claim: Option<FlatClaim>,
    cancellation: Option<Cancellation>,
}

struct FlatClaim {
    claimed_at: Timestamp,
    provider_time: Option<Timestamp>,
    account: Option<AccountId>,
    guarantee: AtMostOnce,
    may_arrive_for: jiff::SignedDuration,
    origin: ClaimOrigin,
    lease: Lease,
    unresolved_since: Option<Timestamp>,
}

fn entry(columns: &mut Columns<'_>) -> Result<(QueueEntry, FlatStage)> {
    let id = QueueEntryId(columns.plain("entry_id")?);
    let status = columns.word("status")?;
    let priority = priority(columns, "priority")?;
    let priority = columns.require("priority", priority)?;
    let priority_override = self::priority(columns, "priority_override")?;
    let queued_at = columns.time("queued_at")?;
    let run_after = columns.time_or_null("run_after")?;
    let waits_since = columns.time("waits_since")?;
    let epoch = Epoch(columns.number("epoch")?);
    let started_at = columns.time_or_null("started_at")?;
    let ended_at = columns.time_or_null("completed_at")?;
    let entry = QueueEntry {
        id,
        priority,
        priority_override,
        queued_at,
        run_after,
        waits_since,
        epoch,
        started_at,
        estimated_cost: columns.plain("estimated_cost")?,
        attempt: columns.number("attempt")?,
        failed_attempts: columns.number("failed_attempts")?,
        max_attempts: columns.number("max_attempts")?,
        reclaims: columns.number("reclaims")?,
        panics: columns.number("panics")?,
        suspect_since: columns.time_or_null("suspect_since")?,
        error_message: columns.plain("error_message")?,
        token: AttemptToken::from_number(columns.plain("token")?),
    };
    let due = due(columns)?;
    let claim = claim(columns)?;
    let cancellation = cancellation(columns)?;
    Ok((entry, FlatStage { status, ended_at, due, claim, cancellation }))
}

fn priority(columns: &mut Columns<'_>, column: &'static str) -> Result<Option<Priority>> {
    let number: Option<i64> = columns.plain(column)?;
    number
        .map(|it| Priority::new(it).map_err(|range| columns.damaged(format!("{column}: {range}"))))
        .transpose()
}

fn due(columns: &mut Columns<'_>) -> Result<Due> {
    let at = columns.time_or_null("not_before")?;
    let kind: Option<String> = columns.plain("not_before_kind")?;
    match (at, kind.as_deref()) {
        (None, _) => Ok(Due::Now),
        (Some(at), Some("date")) => Ok(Due::Date(at)),
        (Some(at), Some("pause")) => Ok(Due::Pause(at)),
        (Some(_), other) => Err(columns.damaged(format!("not_before_kind: {other:?}"))),
    }
}

/// The claim, if the entry has one: whether there is a lease decides.
fn claim(columns: &mut Columns<'_>) -> Result<Option<FlatClaim>> {
    let claimed_at = columns.time_or_null("claimed_at")?;
    let provider_time = columns.time_or_null("claim_provider_time")?;
    let account = columns.word_or_null("claim_account")?;
    let guarantee = columns.word_or_null("claim_guarantee")?;
    let may_arrive_ms: Option<i64> = columns.plain("claim_may_arrive_ms")?;
    let origin = columns.word_or_null("claim_origin")?;
    let holder = columns.word_or_null::<Holder>("lease_holder")?;
    let until = columns.time_or_null("lease_until")?;
    let unresolved_since = columns.time_or_null("unresolved_since")?;
    let Some(holder) = holder else { return Ok(None) };
    let may_arrive_ms = columns.require("claim_may_arrive_ms", may_arrive_ms)?;
    Ok(Some(FlatClaim {
        claimed_at: columns.require("claimed_at", claimed_at)?,
        provider_time,
        account,
        guarantee: columns.require("claim_guarantee", guarantee)?,
        may_arrive_for: jiff::SignedDuration::from_millis(may_arrive_ms),
        origin: columns.require("claim_origin", origin)?,
        lease: Lease { holder, until: columns.require("lease_until", until)? },
        unresolved_since,
    }))
}

fn cancellation(columns: &mut Columns<'_>) -> Result<Option<Cancellation>> {
    let at = columns.time_or_null("cancel_requested_at")?;
    let kind = columns.word_or_null::<ActorKind>("cancel_actor")?;
    let name: Option<String> = columns.plain("cancel_actor_name")?;
    let Some(at) = at else { return Ok(None) };
    let kind = columns.require("cancel_actor", kind)?;
    let by = Actor::from_parts(kind, name);
    Ok(Some(Cancellation { at, by: columns.require("cancel_actor_name", by)? }))
}

impl FlatStage {
    fn into_stage(
        self,
        columns: &Columns<'_>,
        entry: &QueueEntry,
        (status, remote, open): (JobStatus, Option<RemoteId>, Option<ApprovalRequest>),
    ) -> Result<Stage> {
        if open.is_some() && self.status != QueueStatus::Blocked {
            return Err(columns.damaged(format!("status: {} with an open approval", self.status)));
        }
        let end = match self.status {
            QueueStatus::Blocked => {
                return columns.require("approval_id", open).map(Stage::Blocked);
            }
            QueueStatus::Pending => return Ok(Stage::Waiting(Waiting { due: self.due })),
            QueueStatus::Ready => {
                let claim = columns.require("lease_holder", self.claim)?;
                let claimed = claim.into_claimed(entry, self.cancellation);
                return Ok(match remote {
                    None => Stage::Claimed(claimed),
                    Some(remote) => Stage::Held(Held { claimed, remote }),
                });
            }
            QueueStatus::Running => {
                let remote = columns.require("provider_job_id", remote)?;
                let phase =
                    if status == JobStatus::Running { Phase::Running } else { Phase::Queued };
                let cancellation = self.cancellation;
                return Ok(Stage::AtProvider(AtProvider { remote, phase, cancellation }));
            }
            QueueStatus::Completed => End::Completed,
            QueueStatus::Failed if status == JobStatus::Cancelled => End::NotApproved,
            QueueStatus::Failed => End::Failed,
            QueueStatus::Cancelled => End::Cancelled,
        };
        let at = columns.require("completed_at", self.ended_at)?;
        Ok(Stage::Finished(Finished { end, at, remote, cancellation: self.cancellation }))
    }
}

impl FlatClaim {
    fn into_claimed(self, entry: &QueueEntry, cancellation: Option<Cancellation>) -> Claimed {
        Claimed {
            attempt: Attempt {
                number: entry.attempt,
                token: entry.token,
                claimed_at: self.claimed_at,
                provider_time: self.provider_time,
                account: self.account,
                guarantee: self.guarantee,
                may_arrive_for: self.may_arrive_for,
            },
            lease: self.lease,
            origin: self.origin,
            unresolved_since: self.unresolved_since,
            cancellation,
        }
    }
}

/// An approval as it is stored.
enum Stored {
    Open(ApprovalRequest),
    Settled(SettledApproval),
}

fn approval(columns: &mut Columns<'_>) -> Result<Option<Stored>> {
    let Some(id) = columns.plain::<Option<i64>>("approval_id")? else { return Ok(None) };
    let rule = columns.plain::<Option<i64>>("rule_id")?.map(RuleId).map(RequiredBy::Rule);
    let budget = columns.plain::<Option<i64>>("budget_id")?.map(BudgetId).map(RequiredBy::Budget);
    let required_by = columns.require("rule_id", rule.or(budget))?;
    let status = columns.word("status")?;
    let request = ApprovalRequest {
        id: ApprovalId(id),
        required_by,
        reason: columns.plain("reason")?,
        required_role: columns.word("required_role")?,
        created_at: columns.time("created_at")?,
        expires_at: columns.time("expires_at")?,
        ttl: columns.duration("ttl_ms")?,
    };
    let by = columns.text_or_null("reviewed_by", UserId::new)?;
    let at = columns.time_or_null("settled_at")?;
    let notes = columns.plain("review_notes")?;
    let review = |columns: &Columns<'_>| -> Result<Review> {
        Ok(Review { by: columns.require("reviewed_by", by)?, notes })
    };
    let outcome = match status {
        ApprovalStatus::Pending => return Ok(Some(Stored::Open(request))),
        ApprovalStatus::Approved => ApprovalOutcome::Approved(review(columns)?),
        ApprovalStatus::Rejected => ApprovalOutcome::Rejected(review(columns)?),
        ApprovalStatus::Expired => ApprovalOutcome::Expired,
        ApprovalStatus::Cancelled => ApprovalOutcome::Cancelled,
    };
    let at = columns.require("settled_at", at)?;
    Ok(Some(Stored::Settled(SettledApproval { request, outcome, at })))
}
