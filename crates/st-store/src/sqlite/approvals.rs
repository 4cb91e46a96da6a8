//! Approvals in SQLite.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, Row, params};
use serde_json::Value;

use super::SqliteStore;
use super::damage::{Damage, log_damaged};
use super::lists;
use super::query::{Columns, all, change_one, readable, value};
use super::records::{load_entry, record, select_records, step, step_loaded};
use super::writer::{Lane, Tx};
use crate::error::{Error, Result};
use crate::model::{
    ApprovalId, Decision, JobRecord, NewRule, Page, PageRequest, ProviderName, QueueEntryId,
    RequestFilter, Role, Rule, RuleId, UserId,
};
use crate::repo::{ApprovalRepo, Expiry};

/// A query for rules: the columns in the order in which [`rule`] reads them.
macro_rules! select_rules {
    ($rest:literal) => {
        concat!(
            "SELECT rule_id, name, description, condition, threshold, is_active, priority, \
             applies_to_provider, applies_to_level, exempt_levels, required_approver_level, \
             created_by, created_at FROM approval_rules ",
            $rest
        )
    };
}

#[async_trait]
impl ApprovalRepo for SqliteStore {
    async fn add_rule(&self, rule: NewRule) -> Result<Rule> {
        rule.check()?;
        self.writer
            .write(Lane::Interactive, "store an approval rule", move |tx| {
                insert_rule(tx, &rule)?;
                let id = RuleId(tx.connection.last_insert_rowid());
                Ok(Rule { id, rule: rule.clone(), created_at: tx.now })
            })
            .await
    }

    async fn find_rule(&self, id: RuleId) -> Result<Option<Rule>> {
        self.readers
            .point("read an approval rule", move |connection| {
                Ok(all(connection, select_rules!("WHERE rule_id = ?1"), [id.0], rule)?.pop())
            })
            .await
    }

    async fn list_rules(&self) -> Result<Vec<Rule>> {
        self.readers
            .list("read the approval rules", |connection| {
                let sql = select_rules!("ORDER BY priority DESC, rule_id");
                let (rules, damaged) = readable(connection, sql, [], rule)?;
                log_damaged(&damaged);
                Ok(rules)
            })
            .await
    }

    async fn list_requests(
        &self,
        filter: RequestFilter,
        page: PageRequest,
    ) -> Result<Page<JobRecord, ApprovalId>> {
        let (page, fresh) = self
            .readers
            .list("list approval requests", move |connection| {
                lists::requests(connection, filter, page)
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
                let sql = "SELECT j.job_id FROM approvals a JOIN jobs j ON j.entry_id = a.entry_id \
                           WHERE a.approval_id = ?1";
                let job: Option<String> = value(tx.connection, sql, [id.0])?;
                let missing = || Error::NotFound { what: "approval request", id: id.to_string() };
                let job = job.and_then(|it| it.parse().ok()).ok_or_else(missing)?;
                let decide = |record: &mut JobRecord| {
                    Ok(record.decide(&decision, tx.now, tx.clock_confirmed)?)
                };
                step(tx, job, decide).map(|((), record)| record)
            })
            .await
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

fn insert_rule(tx: &Tx<'_>, rule: &NewRule) -> Result<()> {
    let exempt: Vec<Value> =
        rule.exempt_levels.iter().map(|role| Value::from(role.as_str())).collect();
    change_one(
        tx.connection,
        "store an approval rule",
        "INSERT INTO approval_rules (name, description, condition, threshold, is_active, \
         priority, applies_to_provider, applies_to_level, exempt_levels, \
         required_approver_level, created_by, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            rule.name,
            rule.description,
            rule.condition.as_str(),
            rule.threshold,
            rule.is_active,
            rule.priority,
            rule.applies_to_provider.as_ref().map(ProviderName::as_str),
            rule.applies_to_level.map(Role::as_str),
            Value::Array(exempt).to_string(),
            rule.required_approver_level.as_str(),
            rule.created_by.as_str(),
            tx.now.as_millisecond(),
        ],
    )
}

/// The active rules in the order in which they are evaluated. One that cannot be decoded is an
/// error: a rule that is skipped would let jobs run that need approval.
pub(super) fn active_rules(connection: &Connection) -> Result<Vec<Rule>> {
    let sql = select_rules!("WHERE is_active <> 0 ORDER BY priority DESC, rule_id");
    all(connection, sql, [], rule)
}

fn rule(row: &Row<'_>) -> Result<Rule> {
    let mut columns = Columns::new(row, "approval_rules");
    let id = RuleId(columns.plain("rule_id")?);
    let rule = NewRule {
        name: columns.plain("name")?,
        description: columns.plain("description")?,
        condition: columns.word("condition")?,
        threshold: columns.plain("threshold")?,
        is_active: columns.plain("is_active")?,
        priority: columns.plain("priority")?,
        applies_to_provider: columns.text_or_null("applies_to_provider", ProviderName::new)?,
        applies_to_level: columns.word_or_null("applies_to_level")?,
        exempt_levels: roles(&mut columns)?,
        required_approver_level: columns.word("required_approver_level")?,
        created_by: columns.text("created_by", UserId::new)?,
    };
    Ok(Rule { id, rule, created_at: columns.time("created_at")? })
}

fn roles(columns: &mut Columns<'_>) -> Result<Vec<Role>> {
    let words: Vec<String> = columns.json("exempt_levels")?;
    words
        .iter()
        .map(|word| {
            word.parse().map_err(|unknown| columns.damaged(format!("exempt_levels: {unknown}")))
        })
        .collect()
}
