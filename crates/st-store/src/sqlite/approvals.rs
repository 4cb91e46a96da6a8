//! Approvals in SQLite.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, Row, params};
use serde_json::Value;

use super::SqliteStore;
use super::rows::{Columns, all, change, select_work, step, value, work};
use super::writer::Lane;
use crate::error::{Error, Result};
use crate::model::{
    ApprovalId, ApprovalStatus, Decision, JobId, NewRule, Page, PageRequest, ProviderName,
    RequestFilter, Role, Rule, RuleId, UserId, Work,
};
use crate::repo::{ApprovalRepo, Expiry};

#[async_trait]
impl ApprovalRepo for SqliteStore {
    async fn add_rule(&self, rule: NewRule) -> Result<Rule> {
        rule.check()?;
        self.writer
            .write(Lane::Interactive, "store an approval rule", move |connection| {
                insert_rule(connection, &rule)?;
                Ok(Rule { id: RuleId(connection.last_insert_rowid()), rule })
            })
            .await
    }

    async fn find_rule(&self, id: RuleId) -> Result<Option<Rule>> {
        self.readers
            .read("read an approval rule", move |connection| {
                let found = rules(connection)?;
                Ok(found.into_iter().find(|rule| rule.id == id))
            })
            .await
    }

    async fn list_rules(&self) -> Result<Vec<Rule>> {
        self.readers.read("read the approval rules", rules).await
    }

    async fn list_requests(&self, filter: RequestFilter, page: PageRequest) -> Result<Page<Work>> {
        self.readers
            .read("list approval requests", move |connection| {
                let status = filter.status.map(ApprovalStatus::as_str);
                let items = all(
                    connection,
                    select_work!(
                        "WHERE a.approval_id IS NOT NULL AND (?1 IS NULL OR a.status = ?1) \
                         ORDER BY a.approval_id DESC LIMIT ?2 OFFSET ?3"
                    ),
                    params![status, page.limit, page.offset],
                    work,
                )?;
                let total: Option<i64> = value(
                    connection,
                    "SELECT COUNT(*) FROM approvals WHERE ?1 IS NULL OR status = ?1",
                    [status],
                )?;
                Ok(Page { items, total: total.unwrap_or(0).unsigned_abs() })
            })
            .await
    }

    async fn find_request(&self, id: ApprovalId) -> Result<Option<Work>> {
        self.readers
            .read("read an approval request", move |connection| {
                let sql = select_work!("WHERE a.approval_id = ?1");
                Ok(all(connection, sql, [id.0], work)?.pop())
            })
            .await
    }

    async fn decide(&self, id: ApprovalId, decision: &Decision, now: Timestamp) -> Result<Work> {
        let decision = decision.clone();
        self.writer
            .write(Lane::Interactive, "decide about an approval", move |connection| {
                let sql = "SELECT job_id FROM approvals WHERE approval_id = ?1";
                let job: Option<String> = value(connection, sql, [id.0])?;
                let missing = || Error::NotFound { what: "approval request", id: id.to_string() };
                let job = job.and_then(|it| it.parse().ok()).ok_or_else(missing)?;
                let take = |work: &mut Work| Ok(work.decide(&decision, now)?);
                step(connection, job, take).map(|((), work)| work)
            })
            .await
    }

    async fn expire(&self, max: u32, now: Timestamp) -> Result<Expiry> {
        self.writer
            .write(Lane::Bulk, "expire approvals", move |connection| {
                let mut jobs: Vec<JobId> = all(
                    connection,
                    "SELECT job_id FROM approvals WHERE status = 'pending' AND expires_at <= ?1 \
                     ORDER BY expires_at, approval_id LIMIT ?2",
                    params![now.as_millisecond(), i64::from(max) + 1],
                    |row| Columns::new(row, "approvals").word("job_id"),
                )?;
                let max = usize::try_from(max).unwrap_or(usize::MAX);
                let more = jobs.len() > max;
                jobs.truncate(max);
                let lapse = |job| {
                    let take = |work: &mut Work| Ok(work.expire(now)?);
                    step(connection, job, take).map(|((), work)| work)
                };
                let expired = jobs.into_iter().map(lapse).collect::<Result<_>>()?;
                Ok(Expiry { expired, more })
            })
            .await
    }

    async fn next_expiry(&self) -> Result<Option<Timestamp>> {
        self.readers
            .read("read the next approval deadline", |connection| {
                let sql = "SELECT MIN(expires_at) FROM approvals WHERE status = 'pending'";
                let read =
                    |row: &Row<'_>| Columns::new(row, "approvals").time_or_null("expires_at");
                Ok(all(connection, sql, [], read)?.pop().flatten())
            })
            .await
    }
}

fn insert_rule(connection: &Connection, rule: &NewRule) -> Result<()> {
    let exempt: Vec<Value> =
        rule.exempt_levels.iter().map(|role| Value::from(role.as_str())).collect();
    change(
        connection,
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
            rule.created_at.as_millisecond(),
        ],
    )
    .map(drop)
}

/// All rules in the order in which they are asked.
pub(super) fn rules(connection: &Connection) -> Result<Vec<Rule>> {
    all(
        connection,
        "SELECT rule_id, name, description, condition, threshold, is_active, priority, \
         applies_to_provider, applies_to_level, exempt_levels, required_approver_level, \
         created_by, created_at FROM approval_rules ORDER BY priority DESC, rule_id",
        [],
        rule,
    )
}

fn rule(row: &Row<'_>) -> Result<Rule> {
    let mut columns = Columns::new(row, "approval_rules");
    Ok(Rule {
        id: RuleId(columns.plain("rule_id")?),
        rule: NewRule {
            name: columns.plain("name")?,
            description: columns.plain("description")?,
            condition: columns.word("condition")?,
            threshold: columns.plain("threshold")?,
            is_active: columns.plain("is_active")?,
            priority: columns.plain("priority")?,
            applies_to_provider: columns
                .plain::<Option<String>>("applies_to_provider")?
                .map(ProviderName::new),
            applies_to_level: columns.word_or_null("applies_to_level")?,
            exempt_levels: roles(&mut columns)?,
            required_approver_level: columns.word("required_approver_level")?,
            created_by: UserId::new(columns.plain::<String>("created_by")?),
            created_at: columns.time("created_at")?,
        },
    })
}

fn roles(columns: &mut Columns<'_>) -> Result<Vec<Role>> {
    let words: Vec<String> = columns.json("exempt_levels")?;
    words
        .iter()
        .map(|word| word.parse().map_err(|_unknown| columns.corrupt("exempt_levels")))
        .collect()
}
