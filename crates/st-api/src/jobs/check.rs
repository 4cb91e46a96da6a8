//! What a submission would come to, asked before it is made.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use st_store::{OrgId, Priority, ProviderName, Role, TeamId};

use super::submit::{MAX_NAME, MOST_USD};
use super::{LimitUsed, WaitingFor};
use crate::input::Fields;
use crate::operation::{Group, Input, Method, Operation};
use crate::quotas::Quota;
use crate::schema::optional_word;

/// The submission that is asked about.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckQuery {
    /// The provider; `replicate` where none is named.
    pub provider: Option<ProviderName>,
    /// The name of a stored configuration; without one, configurations are not checked.
    pub config_name_to_load: Option<String>,
    /// What the configuration is called; without it, as the file is.
    pub config_name: Option<String>,
    /// The hardware that the job asks for.
    pub hardware_profile: Option<String>,
    /// Instead of that of the caller's role.
    pub priority: Option<Priority>,
    /// Before which it is not submitted to the provider.
    pub run_after: Option<Timestamp>,
    /// Whether a job beyond a budget asks for approval instead of being refused.
    pub for_approval: bool,
    /// In US dollars.
    pub estimated_cost: f64,
    /// The team that the job counts for.
    pub team_id: Option<TeamId>,
    /// The organization that the job counts for.
    pub org_id: Option<OrgId>,
}

impl Input for CheckQuery {
    fn read(fields: &mut Fields) -> Option<Self> {
        let priority = fields.integer("priority", 0..=50);
        Some(Self {
            provider: fields.optional_string("provider", 100).map(ProviderName::new),
            config_name_to_load: fields.optional_string("config_name_to_load", MAX_NAME),
            config_name: fields.optional_string("config_name", MAX_NAME),
            hardware_profile: fields.optional_string("hardware_profile", 100),
            priority: priority.and_then(|number| Priority::new(number).ok()),
            run_after: fields.word("run_after"),
            for_approval: fields.boolean("for_approval").unwrap_or(false),
            estimated_cost: fields.number("estimated_cost", 0.0..=MOST_USD).unwrap_or(0.0) + 0.0,
            team_id: fields.optional_string("team_id", MAX_NAME).map(TeamId::new),
            org_id: fields.optional_string("org_id", MAX_NAME).map(OrgId::new),
        })
    }
}

/// Why a submission would be refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refusal {
    /// The code of the problem that it would be answered with.
    pub code: String,
    /// The status of that answer.
    pub status: u16,
    /// The same in words.
    pub detail: String,
}

/// What a submission would come to now. Nothing is reserved: what others submit meanwhile may change it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PreSubmitCheck {
    /// Always false: the server has no repository of configurations.
    pub git_available: bool,
    /// Whether there is a repository to examine. Always false: configurations are files, not repositories.
    pub repo_present: bool,
    /// Always false.
    pub is_dirty: bool,
    /// Always 0.
    pub dirty_count: u32,
    /// Always empty.
    pub dirty_paths: Vec<String>,
    /// The commit of that repository. Always null.
    pub current_commit: Option<String>,
    /// Always null.
    pub current_abbrev: Option<String>,
    /// The branch of that repository. Always null.
    pub current_branch: Option<String>,
    /// Always null: the server suggests no name for a run.
    pub tracker_run_name: Option<String>,
    /// What the configuration is called.
    pub config_name: Option<String>,
    /// The provider that the job would be submitted to.
    pub provider: String,
    /// The hardware that the job would ask for.
    pub hardware_type: Option<String>,
    /// In US dollars, as it was asked about.
    pub estimated_cost: f64,
    /// Whether there would be a job.
    pub accepted: bool,
    /// All that would refuse it.
    pub refusals: Vec<Refusal>,
    /// Whether it would wait for approval.
    pub requires_approval: bool,
    /// Why it would need approval, by the rule that matches; `null` where it needs none.
    pub approval_reason: Option<String>,
    /// The lowest role that may approve it.
    #[schemars(schema_with = "optional_word::<Role>")]
    pub approver_level: Option<Role>,
    /// The provider's cost limit, where the job exceeds it.
    pub cost_limit_warning: Option<String>,
    /// The other budgets that the job exceeds.
    pub quota_warnings: Vec<String>,
    /// Whether it may begin at once: it would be accepted, needs no approval, and waits for nothing but the
    /// jobs that are ahead of it.
    pub can_start_now: bool,
    /// All that it would wait for beside an approval.
    pub waiting_for: Vec<WaitingFor>,
    /// The limits that apply to it.
    pub limits: Vec<LimitUsed>,
    /// The budgets that apply to it.
    pub budgets: Vec<Quota>,
}

/// Says what a submission would come to.
pub const CHECK: Operation<(), CheckQuery, (), PreSubmitCheck> = Operation::new(
    Group::Jobs,
    Method::Get,
    "/api/cloud/pre-submit-check",
    "check_submission",
)
.summary("Say what would refuse a job or keep it waiting, before it is submitted")
.description(
    "It is decided by the rules of the submission itself, and nothing is stored or reserved. The first ten \
     members are those of the original.",
)
.role(Role::Researcher)
.example_query("provider=local&estimated_cost=2.5");
