//! Approval rules and requests over HTTP.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};
use st_log::{Logger, get_logger};
use st_store::{
    ApprovalId, ApprovalStatus, Condition, Decision, JobRecord, NewRule, PageRequest, ProviderName,
    RequestFilter, RequiredBy, Role, Rule, RuleId, UserId, Verdict,
};

use super::{Api, Caller, Time, log_damaged};
use crate::auth::access;
use crate::http::extract::{Body, Name, Query};
use crate::http::problem::Problem;
use st_api::input::Fields;

const LOG: Logger = get_logger("simpletuner.cloud.approvals");
const MAX_TEXT: usize = 2000;

/// A rule as clients see it.
#[derive(Debug, Serialize)]
struct RuleView {
    id: i64,
    name: String,
    description: String,
    condition: &'static str,
    /// The same as `condition`; the command line reads it.
    r#type: &'static str,
    threshold: String,
    is_active: bool,
    /// The same as `is_active`; the command line reads it.
    enabled: bool,
    priority: i64,
    applies_to_provider: Option<String>,
    applies_to_level: Option<&'static str>,
    exempt_levels: Vec<&'static str>,
    required_approver_level: &'static str,
    created_at: Time,
    created_by: String,
}

impl From<Rule> for RuleView {
    fn from(Rule { id, rule, created_at }: Rule) -> Self {
        Self {
            id: id.0,
            name: rule.name,
            description: rule.description,
            condition: rule.condition.as_str(),
            r#type: rule.condition.as_str(),
            threshold: rule.threshold,
            is_active: rule.is_active,
            enabled: rule.is_active,
            priority: rule.priority,
            applies_to_provider: rule.applies_to_provider.map(|it| it.to_string()),
            applies_to_level: rule.applies_to_level.map(Role::as_str),
            exempt_levels: rule.exempt_levels.into_iter().map(Role::as_str).collect(),
            required_approver_level: rule.required_approver_level.as_str(),
            created_at: Time(created_at),
            created_by: rule.created_by.to_string(),
        }
    }
}

/// A request as clients see it.
#[derive(Debug, Serialize)]
struct RequestView {
    id: i64,
    job_id: String,
    user_id: String,
    /// The rule that requires it; `null` where a budget does.
    rule_id: Option<i64>,
    budget_id: Option<i64>,
    status: &'static str,
    reason: String,
    provider: String,
    config_name: Option<String>,
    estimated_cost: f64,
    hardware_type: Option<String>,
    reviewed_by: Option<String>,
    reviewed_at: Option<Time>,
    review_notes: Option<String>,
    created_at: Time,
    requested_at: Time,
    expires_at: Time,
    required_approver_level: &'static str,
}

impl RequestView {
    /// The job's request; `None` where its job needs none.
    fn of(record: &JobRecord) -> Option<Self> {
        let job = record.job();
        let approval = record.approval()?;
        let request = approval.request();
        let review = approval.review();
        let (rule, budget) = match request.required_by {
            RequiredBy::Rule(id) => (Some(id.0), None),
            RequiredBy::Budget(id) => (None, Some(id.0)),
        };
        Some(Self {
            id: request.id.0,
            job_id: job.id.to_string(),
            user_id: job.owner.user.to_string(),
            rule_id: rule,
            budget_id: budget,
            status: approval.status().as_str(),
            reason: request.reason.clone(),
            provider: job.provider.to_string(),
            config_name: job.config_name.clone(),
            estimated_cost: record.entry().estimated_cost,
            hardware_type: job.hardware_type.clone(),
            reviewed_by: review.map(|review| review.by.to_string()),
            reviewed_at: review.and(approval.settled_at()).map(Time),
            review_notes: review.and_then(|review| review.notes.clone()),
            created_at: Time(request.created_at),
            requested_at: Time(request.created_at),
            expires_at: Time(request.expires_at),
            required_approver_level: request.required_role.as_str(),
        })
    }
}

pub(crate) async fn conditions() -> Json<Value> {
    let conditions: Vec<Value> = Condition::ALL
        .iter()
        .map(|it| json!({"value": it.as_str(), "description": it.description()}))
        .collect();
    Json(json!({"conditions": conditions}))
}

pub(crate) async fn rules(
    State(api): State<Api>,
    mut query: Query,
) -> Result<Json<Value>, Problem> {
    let active_only = query.0.boolean("active_only").unwrap_or(false);
    query.finish()?;
    let rules = api.store.list_rules().await?.into_iter();
    let rules = rules.filter(|rule| rule.rule.is_active || !active_only).map(RuleView::from);
    Ok(Json(json!({"rules": rules.collect::<Vec<_>>()})))
}

pub(crate) async fn rule(State(api): State<Api>, Name(id): Name) -> Result<Json<Value>, Problem> {
    let missing = || Problem::not_found(format!("there is no approval rule {id:?}"));
    let rule_id: RuleId = id.parse().map_err(|_not_a_number| missing())?;
    let rule = api.store.find_rule(rule_id).await?.ok_or_else(missing)?;
    Ok(Json(json!(RuleView::from(rule))))
}

pub(crate) async fn add_rule(
    State(api): State<Api>,
    caller: Caller,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let rule = read_rule(body.fields(), caller.user)?;
    let rule = api.store.add_rule(rule).await?;
    st_log::info!(
        logger: LOG, rule_id = rule.id.0, name = rule.rule.name.as_str(),
        condition = rule.rule.condition.as_str(), threshold = rule.rule.threshold.as_str(),
        "Approval rule added"
    );
    Ok(Json(json!(RuleView::from(rule))))
}

fn read_rule(mut fields: Fields, created_by: UserId) -> Result<NewRule, Problem> {
    let name = fields.non_empty_string("name", 200);
    let name = fields.require(name, "name");
    let condition = fields.word::<Condition>("condition");
    let condition = fields.require(condition, "condition");
    let threshold = fields.string("threshold");
    let threshold = match condition {
        Some(Condition::FirstJob) => Some(threshold.unwrap_or_default()),
        Some(_) | None => fields.require(threshold, "threshold"),
    };
    let exempt = fields.strings("exempt_levels").unwrap_or_default();
    let mut exempt_levels = Vec::with_capacity(exempt.len());
    for word in exempt {
        match word.parse::<Role>() {
            Ok(role) => exempt_levels.push(role),
            Err(unknown) => fields.fault("exempt_levels", unknown.to_string()),
        }
    }
    let description = fields.string("description").unwrap_or_default();
    let is_active = fields.boolean("is_active").unwrap_or(true);
    let priority = fields.integer("priority", -1_000_000..=1_000_000).unwrap_or(0);
    let applies_to_provider = fields.non_empty_string("applies_to_provider", 100);
    let applies_to_level = fields.word::<Role>("applies_to_level");
    let required = fields.word::<Role>("required_approver_level").unwrap_or(Role::Lead);
    fields.finish().map_err(Problem::invalid)?;
    // `finish` has refused every request in which one of them is missing.
    let (Some(name), Some(condition), Some(threshold)) = (name, condition, threshold) else {
        return Err(Problem::internal());
    };
    Ok(NewRule {
        name,
        description,
        condition,
        threshold,
        is_active,
        priority,
        applies_to_provider: applies_to_provider.map(ProviderName::new),
        applies_to_level,
        exempt_levels,
        required_approver_level: required,
        created_by,
    })
}

pub(crate) async fn requests(
    State(api): State<Api>,
    mut query: Query,
) -> Result<Json<Value>, Problem> {
    let page = query.page();
    let status = query.0.word::<ApprovalStatus>("status");
    let pending_only = query.0.boolean("pending_only").unwrap_or(false);
    let before = query.0.integer("cursor", 0..=i64::MAX).map(ApprovalId);
    query.finish()?;
    let pending = Some(ApprovalStatus::Pending);
    let filter = RequestFilter { status: if pending_only { pending } else { status }, before };
    let found = api.store.list_requests(filter, page).await?;
    log_damaged(&found.damaged);
    let open = PageRequest { limit: 1, offset: 0 };
    let pending = RequestFilter { status: pending, before: None };
    let pending_count = api.store.list_requests(pending, open).await?.total;
    let requests: Vec<RequestView> = found.items.iter().filter_map(RequestView::of).collect();
    Ok(Json(json!({
        "requests": requests,
        "total": found.total,
        "next": found.next.map(|request| request.to_string()),
        "pending_count": pending_count,
    })))
}

fn request_id(name: &str) -> Result<ApprovalId, Problem> {
    name.parse().map_err(|_not_a_number| no_request(name))
}

fn no_request(name: &str) -> Problem {
    Problem::not_found(format!("there is no approval request {name:?}"))
}

pub(crate) async fn request(
    State(api): State<Api>,
    Name(name): Name,
) -> Result<Json<Value>, Problem> {
    let found = api.store.find_request(request_id(&name)?).await?;
    let view = found.as_ref().and_then(RequestView::of).ok_or_else(|| no_request(&name))?;
    Ok(Json(json!(view)))
}

pub(crate) async fn approve(
    State(api): State<Api>,
    caller: Caller,
    Name(name): Name,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let mut fields = body.fields();
    let notes = fields.non_empty_string("notes", MAX_TEXT);
    let reason = fields.non_empty_string("reason", MAX_TEXT);
    fields.finish().map_err(Problem::invalid)?;
    let notes = notes.or(reason);
    let decision = Decision { verdict: Verdict::Approve, by: caller.user.clone(), notes };
    decide(&api, &caller, &name, decision).await
}

pub(crate) async fn reject(
    State(api): State<Api>,
    caller: Caller,
    Name(name): Name,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let mut fields = body.fields();
    let reason = fields.non_empty_string("reason", MAX_TEXT);
    let reason = fields.require(reason, "reason");
    fields.finish().map_err(Problem::invalid)?;
    let by = caller.user.clone();
    let decision = Decision { verdict: Verdict::Reject, by, notes: reason };
    decide(&api, &caller, &name, decision).await
}

async fn decide(
    api: &Api,
    caller: &Caller,
    name: &str,
    decision: Decision,
) -> Result<Json<Value>, Problem> {
    let id = request_id(name)?;
    if let Some(record) = api.store.find_request(id).await? {
        access::may_decide(caller, &record)?;
        caller.about(record.id());
    }
    let record = api.store.decide(id, &decision).await?;
    log_decision(&record, id, &decision);
    let mut answer =
        json!({"success": true, "request_id": id.0, "job_id": record.id().to_string()});
    if let Value::Object(answer) = &mut answer {
        let by = decision.by.as_str().into();
        match decision.verdict {
            Verdict::Approve => {
                answer.insert("approved_by".to_owned(), by);
            }
            Verdict::Reject => {
                answer.insert("rejected_by".to_owned(), by);
                let reason = decision.notes.unwrap_or_default();
                answer.insert("reason".to_owned(), reason.into());
            }
        }
    }
    Ok(Json(answer))
}

fn log_decision(record: &JobRecord, id: ApprovalId, decision: &Decision) {
    let Decision { verdict, by, notes } = decision;
    record.in_log_scope(|| match verdict {
        Verdict::Approve => {
            st_log::info!(
                logger: LOG, approval_id = id.0, user_id = by.as_str(),
                "Approval given"
            );
        }
        Verdict::Reject => {
            st_log::info!(
                logger: LOG, approval_id = id.0, user_id = by.as_str(), reason = notes.as_deref(),
                "Approval refused"
            );
        }
    });
}
