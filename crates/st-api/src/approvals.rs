//! Approval rules and approval requests.

mod brief;
mod rules;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use st_store::{
    ApprovalId, ApprovalStatus, Condition, NewRule, PageRequest, ProviderName, RequestFilter, Role,
    UserId,
};

use crate::input::Fields;
use crate::names::{RequestArg, RuleArg};
use crate::operation::{Group, Input, Method, Operation};
use crate::page::page;
use crate::problem::Code;
use crate::schema::{Time, optional_word, word, words};

pub use brief::{
    APPROVALS, APPROVE_BRIEFLY, APPROVE_JOB, Approval, Approvals, BULK_APPROVE, BULK_REJECT, Bulk,
    BulkDecided, BulkResult, EXPIRE, Expired, OF_JOB, PENDING_COUNT, PendingCount, REJECT_BRIEFLY,
    REJECT_JOB, RejectBriefly,
};

pub use rules::{CHANGE_RULE, ChangeRule, DELETE_RULE, RuleDeleted};

/// The longest note or reason, in bytes.
pub(crate) const MAX_TEXT: usize = 2000;

/// An approval rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rule {
    /// The rule's number, which is never given to another rule.
    pub id: i64,
    /// What it is called.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What it asks about a job.
    #[schemars(schema_with = "word::<Condition>")]
    pub condition: Condition,
    /// The same as `condition`; the original's command line reads it.
    #[schemars(schema_with = "word::<Condition>")]
    pub r#type: Condition,
    /// What the condition compares with.
    pub threshold: String,
    /// Whether submissions are checked against it.
    pub is_active: bool,
    /// The same as `is_active`; the original's command line reads it.
    pub enabled: bool,
    /// Rules with a higher one are asked first.
    pub priority: i64,
    /// The provider whose jobs it is for; `null` for all.
    pub applies_to_provider: Option<String>,
    /// The role whose jobs it is for; `null` for all.
    #[schemars(schema_with = "optional_word::<Role>")]
    pub applies_to_level: Option<Role>,
    /// The roles whose jobs it is not for.
    #[schemars(schema_with = "words::<Role>")]
    pub exempt_levels: Vec<Role>,
    /// The role that may approve.
    #[schemars(schema_with = "word::<Role>")]
    pub required_approver_level: Role,
    /// When it was made.
    pub created_at: Time,
    /// The user who created the rule.
    pub created_by: String,
}

impl From<st_store::Rule> for Rule {
    fn from(st_store::Rule { id, rule, created_at }: st_store::Rule) -> Self {
        Self {
            id: id.0,
            name: rule.name,
            description: rule.description,
            condition: rule.condition,
            r#type: rule.condition,
            threshold: rule.threshold,
            is_active: rule.is_active,
            enabled: rule.is_active,
            priority: rule.priority,
            applies_to_provider: rule.applies_to_provider.map(|it| it.to_string()),
            applies_to_level: rule.applies_to_level,
            exempt_levels: rule.exempt_levels,
            required_approver_level: rule.required_approver_level,
            created_at: Time(created_at),
            created_by: rule.created_by.to_string(),
        }
    }
}

/// Approval rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rules {
    /// Each, the one that is asked first at the top.
    pub rules: Vec<Rule>,
}

/// Which rules are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListRules {
    /// Whether only active rules are listed.
    pub active_only: bool,
}

impl Input for ListRules {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { active_only: fields.boolean("active_only").unwrap_or(false) })
    }
}

/// A rule to add.
#[derive(Debug, Clone, PartialEq)]
pub struct AddRule {
    name: String,
    description: String,
    condition: Condition,
    threshold: String,
    is_active: bool,
    priority: i64,
    applies_to_provider: Option<ProviderName>,
    applies_to_level: Option<Role>,
    exempt_levels: Vec<Role>,
    required_approver_level: Role,
}

impl Input for AddRule {
    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.non_empty_string("name", 200);
        let name = fields.require(name, "name");
        let condition = fields.required_choice::<Condition>("condition");
        let threshold = fields.bounded_string("threshold", MAX_TEXT);
        let threshold = match condition {
            Some(Condition::FirstJob) => Some(threshold.unwrap_or_default()),
            Some(_) | None => fields.require(threshold, "threshold"),
        };
        let exempt_levels = fields.choices::<Role>("exempt_levels").unwrap_or_default();
        let description = fields.bounded_string("description", MAX_TEXT).unwrap_or_default();
        let is_active = fields.boolean("is_active").unwrap_or(true);
        let priority = fields.integer("priority", -1_000_000..=1_000_000).unwrap_or(0);
        let applies_to_provider = fields.optional_string("applies_to_provider", 100);
        let applies_to_level = fields.choice::<Role>("applies_to_level");
        let required = fields.choice::<Role>("required_approver_level").unwrap_or(Role::Lead);
        Some(Self {
            name: name?,
            description,
            condition: condition?,
            threshold: threshold?,
            is_active,
            priority,
            applies_to_provider: applies_to_provider.map(ProviderName::new),
            applies_to_level,
            exempt_levels,
            required_approver_level: required,
        })
    }
}

impl AddRule {
    /// The rule, made by this user.
    pub fn by(self, created_by: UserId) -> NewRule {
        NewRule {
            name: self.name,
            description: self.description,
            condition: self.condition,
            threshold: self.threshold,
            is_active: self.is_active,
            priority: self.priority,
            applies_to_provider: self.applies_to_provider,
            applies_to_level: self.applies_to_level,
            exempt_levels: self.exempt_levels,
            required_approver_level: self.required_approver_level,
            created_by,
        }
    }
}

/// What a rule can ask about a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Conditions {
    /// Each condition.
    pub conditions: Vec<ConditionText>,
}

/// A condition of a rule, explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConditionText {
    /// Its word.
    #[schemars(schema_with = "word::<Condition>")]
    pub value: Condition,
    /// What it means, and what its threshold is.
    pub description: String,
}

/// A request for approval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Request {
    /// The request's number, which its decision names.
    pub id: i64,
    /// The job that waits for it.
    pub job_id: String,
    /// Who submitted the job.
    pub user_id: String,
    /// The rule that requires it; `null` where a budget does.
    pub rule_id: Option<i64>,
    /// The budget that requires it; `null` where a rule does.
    pub budget_id: Option<i64>,
    /// Where it is.
    #[schemars(schema_with = "word::<ApprovalStatus>")]
    pub status: ApprovalStatus,
    /// Why it is required.
    pub reason: String,
    /// The provider of the job.
    pub provider: String,
    /// The name of the job's configuration.
    pub config_name: Option<String>,
    /// In US dollars.
    pub estimated_cost: f64,
    /// The hardware of the job.
    pub hardware_type: Option<String>,
    /// Who decided it.
    pub reviewed_by: Option<String>,
    /// When it was decided.
    pub reviewed_at: Option<Time>,
    /// What the reviewer wrote.
    pub review_notes: Option<String>,
    /// When it was made.
    pub created_at: Time,
    /// The same as `created_at`.
    pub requested_at: Time,
    /// When it expires.
    pub expires_at: Time,
    /// The role that may approve.
    #[schemars(schema_with = "word::<Role>")]
    pub required_approver_level: Role,
}

/// Which requests are listed.
#[derive(Debug, Clone, PartialEq)]
pub struct ListRequests {
    /// What they must have.
    pub filter: RequestFilter,
    /// Which part of them.
    pub page: PageRequest,
}

impl Input for ListRequests {
    fn read(fields: &mut Fields) -> Option<Self> {
        let page = page(fields);
        let status = fields.choice::<ApprovalStatus>("status");
        let pending_only = fields.boolean("pending_only").unwrap_or(false);
        let before = fields.integer("cursor", 0..=i64::MAX).map(ApprovalId);
        if pending_only && status.is_some_and(|status| status != ApprovalStatus::Pending) {
            fields.fault("pending_only", "may not be given together with another status");
        }
        let status = if pending_only { Some(ApprovalStatus::Pending) } else { status };
        Some(Self { filter: RequestFilter { status, user: None, before }, page })
    }
}

/// A page of requests, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RequestPage {
    /// The requests.
    pub requests: Vec<Request>,
    /// How many there are in all.
    pub total: u64,
    /// The `cursor` of the next page; `null` on the last one.
    pub next: Option<String>,
    /// How many are not decided.
    pub pending_count: u64,
}

/// The approval of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approve {
    /// What the reviewer writes.
    pub notes: Option<String>,
}

impl Input for Approve {
    fn read(fields: &mut Fields) -> Option<Self> {
        let notes = fields.optional_string("notes", MAX_TEXT);
        let reason = fields.optional_string("reason", MAX_TEXT);
        Some(Self { notes: notes.or(reason) })
    }
}

/// The rejection of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Why.
    pub reason: String,
}

impl Input for Reject {
    fn read(fields: &mut Fields) -> Option<Self> {
        let reason = fields.non_empty_string("reason", MAX_TEXT);
        Some(Self { reason: fields.require(reason, "reason")? })
    }
}

/// The answer to a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Decided {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
    /// The request.
    pub request_id: i64,
    /// Its job.
    pub job_id: String,
    /// Who approved it; left out where it was rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// Who rejected it; left out where it was approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected_by: Option<String>,
    /// Why it was rejected; left out where it was approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The answer to a withdrawal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cancelled {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
    /// The request.
    pub request_id: i64,
    /// Its job, which is cancelled.
    pub job_id: String,
}

/// Lists the rules.
pub const RULES: Operation<(), ListRules, (), Rules> =
    Operation::new(Group::Approvals, Method::Get, "/api/approvals/rules", "list_rules")
        .summary("List the approval rules");

/// Adds a rule.
pub const ADD_RULE: Operation<(), (), AddRule, Rule> =
    Operation::new(Group::Approvals, Method::Post, "/api/approvals/rules", "add_rule")
        .summary("Add an approval rule")
        .description(
            "Rules are asked at each submission, highest priority first; the first that matches \
             counts.",
        )
        .role(Role::Admin)
        .example_body(r#"{"name": "expensive", "condition": "cost_exceeds", "threshold": "100"}"#);

/// Shows a rule.
pub const RULE: Operation<RuleArg, (), (), Rule> =
    Operation::new(Group::Approvals, Method::Get, "/api/approvals/rules/{id}", "get_rule")
        .summary("Show an approval rule");

/// Lists the conditions.
pub const CONDITIONS: Operation<(), (), (), Conditions> =
    Operation::new(Group::Approvals, Method::Get, "/api/approvals/conditions", "list_conditions")
        .summary("List what a rule can ask about a job");

/// Lists the requests.
pub const REQUESTS: Operation<(), ListRequests, (), RequestPage> =
    Operation::new(Group::Approvals, Method::Get, "/api/approvals/requests", "list_requests")
        .summary("List approval requests, newest first")
        .example_query("pending_only=true");

/// Shows a request.
pub const REQUEST: Operation<RequestArg, (), (), Request> =
    Operation::new(Group::Approvals, Method::Get, "/api/approvals/requests/{id}", "get_request")
        .summary("Show an approval request");

/// Lists the caller's own requests.
pub const MY_REQUESTS: Operation<(), ListRequests, (), RequestPage> =
    Operation::new(Group::Approvals, Method::Get, "/api/approvals/requests/me", "list_my_requests")
        .summary("List the approval requests of one's own jobs, newest first")
        .description("`total` and `pending_count` count one's own requests.")
        .example_query("pending_only=true");

/// The same by the original's path.
pub const MY_REQUESTS_SHORT: Operation<(), ListRequests, (), RequestPage> =
    Operation::new(Group::Approvals, Method::Get, "/api/approvals/me", "list_my_approvals")
        .summary("List the approval requests of one's own jobs, as the original's page asks");

/// Withdraws a request.
pub const CANCEL: Operation<RequestArg, (), (), Cancelled> = Operation::new(
    Group::Approvals,
    Method::Post,
    "/api/approvals/requests/{id}/cancel",
    "cancel_request",
)
.summary("Withdraw a request that is not decided; its job is cancelled")
.description("Below the role `lead`, only the request of one's own job.")
.role(Role::Researcher)
.problems(&[Code::AlreadyDecided]);

const DECIDED: &[Code] = &[Code::AlreadyDecided, Code::PastDeadline];

/// Approves a request.
pub const APPROVE: Operation<RequestArg, (), Approve, Decided> = Operation::new(
    Group::Approvals,
    Method::Post,
    "/api/approvals/requests/{id}/approve",
    "approve_request",
)
.summary("Approve a request")
.role(Role::Lead)
.problems(DECIDED)
.example_body(r#"{"notes": "within the budget"}"#);

/// Rejects a request.
pub const REJECT: Operation<RequestArg, (), Reject, Decided> = Operation::new(
    Group::Approvals,
    Method::Post,
    "/api/approvals/requests/{id}/reject",
    "reject_request",
)
.summary("Reject a request; its job is cancelled")
.role(Role::Lead)
.problems(DECIDED)
.example_body(r#"{"reason": "too expensive"}"#);
