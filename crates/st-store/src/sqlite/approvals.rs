//! Approvals in SQLite.

mod rules;

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Row, params};

use super::SqliteStore;
use super::damage::Damage;
use super::lists;
use super::query::{Columns, all, value};
use super::records::{load_entry, record, select_records, step, step_loaded};
use super::settings::record_change;
use super::writer::{Lane, Tx};
use crate::error::{Error, Result};
use crate::model::{
    Actor, ApprovalId, Decision, JobId, JobRecord, NewRule, Page, PageRequest, QueueEntryId,
    RequestFilter, Rule, RuleId, RulePatch, RuleRemoval,
};
use crate::repo::{ApprovalRepo, Expiry};

pub(super) use rules::active_rules;

#[async_trait]
impl ApprovalRepo for SqliteStore {
    async fn add_rule(&self, rule: NewRule) -> Result<Rule> {
        rule.check()?;
        let (by, request) = (Actor::User(rule.created_by.clone()), st_log::get_correlation_id());
        self.writer
            .write(Lane::Interactive, "store an approval rule", move |tx| {
                rules::insert(tx, &rule)?;
                let id = RuleId(tx.connection.last_insert_rowid());
                let added = Rule { id, rule: rule.clone(), created_at: tx.now };
                record_change(tx, &by, &request, added.added())?;
                Ok(added)
            })
            .await
    }

    async fn patch_rule(&self, id: RuleId, patch: RulePatch, by: &Actor) -> Result<Rule> {
        let (by, request) = (by.clone(), st_log::get_correlation_id());
        self.writer
            .write(Lane::Interactive, "change an approval rule", move |tx| {
                let before = rules::load(tx.connection, id)?;
                let after = before.rule.patched(patch.clone())?;
                let change = before.changed_to(&after);
                let after = Rule { rule: after, ..before };
                if let Some(change) = change {
                    rules::update(tx, &after)?;
                    record_change(tx, &by, &request, change)?;
                }
                Ok(after)
            })
            .await
    }

    async fn delete_rule(&self, id: RuleId, by: &Actor) -> Result<RuleRemoval> {
        let (by, request) = (by.clone(), st_log::get_correlation_id());
        self.writer
            .write(Lane::Interactive, "delete an approval rule", move |tx| {
                let (removal, change) = rules::delete(tx, id)?;
                if let Some(change) = change {
                    record_change(tx, &by, &request, change)?;
                }
                Ok(removal)
            })
            .await
    }

    async fn find_rule(&self, id: RuleId) -> Result<Option<Rule>> {
        self.readers
            .point("read an approval rule", move |connection| rules::find(connection, id))
            .await
    }

    async fn list_rules(&self) -> Result<Vec<Rule>> {
        self.readers.list("read the approval rules", rules::readable_rules).await
    }

    async fn list_requests(
        &self,
        filter: RequestFilter,
        page: PageRequest,
    ) -> Result<Page<JobRecord, ApprovalId>> {
        let (page, fresh) = self
            .readers
            .list("list approval requests", move |connection| {
                lists::requests(connection, &filter, page)
            })
            .await?;
        self.set_aside(&fresh).await;
        Ok(page)
    }

    async fn find_request(&self, id: ApprovalId) -> Result<Option<JobRecord>> {
        self.readers
            .point("read an approval request", move |connection| {
                let sql = select_records!("WHERE a.approval_id = ?1");
                Ok(all(connection, sql, [id.0], record)?.pop())
            })
            .await
    }

    async fn decide(&self, id: ApprovalId, decision: &Decision) -> Result<JobRecord> {
        let decision = decision.clone();
        self.writer
            .write(Lane::Interactive, "decide about an approval", move |tx| {
                decide(tx, id, &decision)
            })
            .await
    }

    async fn decide_many(
        &self,
        ids: &[ApprovalId],
        decision: &Decision,
    ) -> Result<Vec<Result<JobRecord>>> {
        let (ids, decision) = (ids.to_vec(), decision.clone());
        self.writer
            .write(Lane::Interactive, "decide about approvals", move |tx| {
                let mut results = Vec::with_capacity(ids.len());
                for &id in &ids {
                    match decide(tx, id, &decision) {
                        Err(
                            error
                            @ (Error::Refused(_) | Error::Damaged(_) | Error::NotFound { .. }),
                        ) => results.push(Err(error)),
                        Err(error) => return Err(error),
                        Ok(record) => results.push(Ok(record)),
                    }
                }
                Ok(results)
            })
            .await
    }

    async fn cancel_request(&self, id: ApprovalId, by: &Actor) -> Result<JobRecord> {
        let by = by.clone();
        self.writer
            .write(Lane::Interactive, "cancel an approval request", move |tx| {
                let job = job_of_request(tx, id)?;
                let cancel = |record: &mut JobRecord| Ok(record.cancel_request(&by, tx.now)?);
                step(tx, job, cancel).map(|((), record)| record)
            })
            .await
    }

    async fn pending_requests(&self) -> Result<u64> {
        let count = self
            .readers
            .point("count open approval requests", |connection| {
                let sql = "SELECT requests FROM approval_counts WHERE status = 'pending'";
                value::<i64>(connection, sql, [])
            })
            .await?;
        Ok(count.unwrap_or(0).unsigned_abs())
    }

    async fn expire(&self, max: u32) -> Result<Expiry> {
        self.writer.write(Lane::Bulk, "expire approvals", move |tx| expire(tx, max)).await
    }

    async fn next_expiry(&self) -> Result<Option<Duration>> {
        let next = self
            .readers
            .point("read the next approval deadline", |connection| {
                let sql = "SELECT MIN(a.expires_at) FROM approvals a \
                           JOIN queue_entries q ON q.entry_id = a.entry_id AND q.held IS NULL \
                           WHERE a.status = 'pending'";
                let read =
                    |row: &Row<'_>| Columns::new(row, "approvals").time_or_null("expires_at");
                Ok(all(connection, sql, [], read)?.pop().flatten())
            })
            .await?;
        Ok(next.map(|at: Timestamp| self.until(at)))
    }
}

fn job_of_request(tx: &Tx<'_>, id: ApprovalId) -> Result<JobId> {
    let sql = "SELECT j.job_id FROM approvals a JOIN jobs j ON j.entry_id = a.entry_id \
               WHERE a.approval_id = ?1";
    let job: Option<String> = value(tx.connection, sql, [id.0])?;
    let missing = || Error::NotFound { what: "approval request", id: id.to_string() };
    job.and_then(|it| it.parse().ok()).ok_or_else(missing)
}

fn decide(tx: &Tx<'_>, id: ApprovalId, decision: &Decision) -> Result<JobRecord> {
    let job = job_of_request(tx, id)?;
    let decide =
        |record: &mut JobRecord| Ok(record.decide(decision, tx.now, tx.clock_confirmed)?);
    step(tx, job, decide).map(|((), record)| record)
}

fn expire(tx: &Tx<'_>, max: u32) -> Result<Expiry> {
    let overdue = all(
        tx.connection,
        "SELECT q.entry_id FROM approvals a \
         JOIN queue_entries q ON q.entry_id = a.entry_id AND q.held IS NULL \
         WHERE a.status = 'pending' AND a.expires_at <= ?1 \
         ORDER BY a.expires_at, a.approval_id LIMIT ?2",
        params![tx.now.as_millisecond(), i64::from(max) + 1],
        |row| Ok(QueueEntryId(Columns::new(row, "queue_entries").plain("entry_id")?)),
    )?;
    let mut expiry = Expiry::default();
    if !tx.clock_confirmed {
        expiry.clock_unconfirmed = !overdue.is_empty();
        return Ok(expiry);
    }
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    expiry.more = overdue.len() > max;
    let mut damage = Damage::default();
    for entry in overdue.into_iter().take(max) {
        match load_entry(tx.connection, entry) {
            Ok(mut record) => {
                step_loaded(tx, &mut record, |record| Ok(record.expire(tx.now)?))?;
                expiry.expired.push(record);
            }
            Err(error) => damage.set_aside(tx.connection, entry, error.into_damaged()?)?,
        }
    }
    expiry.damaged = damage.into_rows();
    Ok(expiry)
}
