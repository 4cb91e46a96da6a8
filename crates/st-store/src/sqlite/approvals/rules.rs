//! Approval rules as rows.

use rusqlite::{Connection, Row, params};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::model::{Change, NewRule, ProviderName, Role, Rule, RuleId, RuleRemoval, UserId};
use crate::sqlite::damage::log_damaged;
use crate::sqlite::query::{Columns, all, change_one, readable, value};
use crate::sqlite::writer::Tx;

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

pub(super) fn find(connection: &Connection, id: RuleId) -> Result<Option<Rule>> {
    Ok(all(connection, select_rules!("WHERE rule_id = ?1"), [id.0], rule)?.pop())
}

/// The rule, which must exist.
pub(super) fn load(connection: &Connection, id: RuleId) -> Result<Rule> {
    let missing = || Error::NotFound { what: "approval rule", id: id.to_string() };
    find(connection, id)?.ok_or_else(missing)
}

/// All rules that can be read, in the order in which they are evaluated.
pub(super) fn readable_rules(connection: &Connection) -> Result<Vec<Rule>> {
    let sql = select_rules!("ORDER BY priority DESC, rule_id");
    let (rules, damaged) = readable(connection, sql, [], rule)?;
    log_damaged(&damaged);
    Ok(rules)
}

/// Writes what may change of a rule.
pub(super) fn update(tx: &Tx<'_>, Rule { id, rule, .. }: &Rule) -> Result<()> {
    change_one(
        tx.connection,
        "change an approval rule",
        "UPDATE approval_rules SET name = ?2, description = ?3, condition = ?4, threshold = ?5, \
         is_active = ?6, priority = ?7, applies_to_provider = ?8, applies_to_level = ?9, \
         exempt_levels = ?10, required_approver_level = ?11 WHERE rule_id = ?1",
        params![
            id.0,
            rule.name,
            rule.description,
            rule.condition.as_str(),
            rule.threshold,
            rule.is_active,
            rule.priority,
            rule.applies_to_provider.as_ref().map(ProviderName::as_str),
            rule.applies_to_level.map(Role::as_str),
            exempt_levels(rule),
            rule.required_approver_level.as_str(),
        ],
    )
}

/// Deletes a rule, or deactivates it where a request names it. Returns the event of it as well.
pub(super) fn delete(tx: &Tx<'_>, id: RuleId) -> Result<(RuleRemoval, Option<Change>)> {
    let rule = load(tx.connection, id)?;
    let sql = "SELECT 1 FROM approvals WHERE rule_id = ?1 LIMIT 1";
    if value::<i64>(tx.connection, sql, [id.0])?.is_some() {
        let off = NewRule { is_active: false, ..rule.rule.clone() };
        let change = rule.changed_to(&off);
        let rule = Rule { rule: off, ..rule };
        update(tx, &rule)?;
        return Ok((RuleRemoval::Deactivated(rule), change));
    }
    let sql = "DELETE FROM approval_rules WHERE rule_id = ?1";
    change_one(tx.connection, "delete an approval rule", sql, [id.0])?;
    Ok((RuleRemoval::Deleted, Some(rule.removed())))
}

fn exempt_levels(rule: &NewRule) -> String {
    let roles = rule.exempt_levels.iter().map(|role| Value::from(role.as_str()));
    Value::Array(roles.collect()).to_string()
}

pub(super) fn insert(tx: &Tx<'_>, rule: &NewRule) -> Result<()> {
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
            exempt_levels(rule),
            rule.required_approver_level.as_str(),
            rule.created_by.as_str(),
            tx.now.as_millisecond(),
        ],
    )
}

/// The active rules in the order in which they are evaluated. One that cannot be decoded is an
/// error: a rule that is skipped would let jobs run that need approval.
pub(in crate::sqlite) fn active_rules(connection: &Connection) -> Result<Vec<Rule>> {
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
