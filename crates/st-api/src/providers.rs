//! Providers, whether they accept submissions, and their settings.

mod settings;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use st_store::{BudgetAction, Period, ProviderName, Role};

use crate::input::Fields;
use crate::names::ProviderArg;
use crate::operation::{Group, Input, Method, Operation};
use crate::problem::Code;
use crate::schema::{Time, word};
pub use settings::{MAX_TEXT, SetProviderConfig};

/// Whether a provider accepts submissions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gate {
    /// Whether it does.
    pub open: bool,
    /// The same as a word: `open` or `closed`.
    pub state: String,
    /// Why it is closed; `null` while it is open.
    pub cause: Option<String>,
    /// The same in words.
    pub reason: Option<String>,
    /// Since when it is closed.
    pub since: Option<Time>,
    /// When it is tried next; `null` while it is open or being tried.
    pub next_probe: Option<Time>,
}

/// The account of a provider, without its credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Account {
    /// The address of its interface.
    pub base_url: String,
    /// The name of the account, where that is known.
    pub name: Option<String>,
}

/// A provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Provider {
    /// Its name in requests.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Whether it can be used.
    pub configured: bool,
    /// Always false: every provider that is listed exists.
    pub coming_soon: bool,
    /// How many jobs may be there at once; `null` for no limit of its own.
    pub max_concurrent: Option<u32>,
    /// The account that jobs run under.
    pub account: Option<Account>,
    /// Whether it accepts submissions; `null` where it is not configured.
    pub gate: Option<Gate>,
    /// How many of its jobs are there twice and being cancelled.
    pub strays: u64,
    /// How many submissions have an unknown outcome.
    pub unsettled: u64,
    /// How many submissions that did not arrive are still looked for.
    pub rechecks: u64,
}

/// The providers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Providers {
    /// All providers that this server knows, configured or not.
    pub providers: Vec<Provider>,
}

/// The settings of a provider: only those that are set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProviderConfig {
    /// The provider.
    pub provider: String,
    /// Each by its name.
    pub config: Map<String, Value>,
}

/// Whether a provider accepts our credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Validation {
    /// Whether it does.
    pub valid: bool,
    /// Whose it is.
    pub user_info: Option<UserInfo>,
    /// Why it does not.
    pub error: Option<String>,
}

/// Where the token in use comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenSource {
    /// It was stored over the interface.
    Stored,
    /// The environment or the configuration file has it.
    Environment,
}

/// Whose a credential is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserInfo {
    /// Always true: without a valid account there is no such object.
    pub valid: bool,
    /// The account's name at the provider.
    pub username: String,
    /// Where the token in use comes from; `null` where the provider's credential is not a token that
    /// can be stored.
    pub token_source: Option<TokenSource>,
}

/// Whether a provider is reached, in the form of the original.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reached {
    /// Whether it is, and accepts our credential.
    pub operational: bool,
    /// Why it is not, where it was asked.
    pub ongoing_incidents: Vec<Incident>,
    /// Always empty: providers do not say.
    pub in_progress_maintenances: Vec<Incident>,
    /// Always empty: providers do not say.
    pub scheduled_maintenances: Vec<Incident>,
    /// Why it was not asked.
    pub error: Option<String>,
}

/// Something that keeps a provider from working.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Incident {
    /// What, in words.
    pub name: String,
}

/// The versions of the model that a provider runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(clippy::struct_field_names, reason = "the contract calls them so")]
pub struct Versions {
    /// Each, the newest first.
    pub versions: Vec<Version>,
    /// The one that jobs run with; `null` where it is not known.
    pub current_version: Option<String>,
    /// Why they could not be read.
    pub error: Option<String>,
}

/// A version of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Version {
    /// Its ID at the provider.
    pub id: String,
    /// When it was made, as the provider says it.
    pub created_at: Option<String>,
}

/// A token to store.
#[derive(Clone, PartialEq, Eq)]
pub struct SetToken {
    /// The token. Nothing prints it.
    pub api_token: String,
}

impl fmt::Debug for SetToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetToken(..)")
    }
}

impl Input for SetToken {
    fn read(fields: &mut Fields) -> Option<Self> {
        let token = fields.non_empty_string("api_token", MAX_TEXT);
        Some(Self { api_token: fields.require(token, "api_token")? })
    }
}

/// The answer to a change of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenChanged {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
    /// Always null.
    pub error: Option<String>,
    /// Where the token in use comes from now; `null` where there is none.
    pub token_source: Option<TokenSource>,
}

/// Which provider's cost limit is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CostLimitQuery {
    /// The provider; `replicate` where none is named.
    pub provider: Option<ProviderName>,
}

impl Input for CostLimitQuery {
    fn read(fields: &mut Fields) -> Option<Self> {
        let provider = fields.optional_string("provider", MAX_TEXT).map(ProviderName::new);
        Some(Self { provider })
    }
}

/// A cost limit, and how much of it is used. Amounts are in US dollars.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "the contract has each of them")]
pub struct CostLimitStatus {
    /// The provider.
    pub provider: String,
    /// Whether it is switched on.
    pub enabled: bool,
    /// How much jobs may cost in one period; 0 where no amount is set.
    pub limit_amount: f64,
    /// Over which time.
    #[schemars(schema_with = "word::<Period>")]
    pub period: Period,
    /// What happens beyond that.
    #[schemars(schema_with = "word::<BudgetAction>")]
    pub action: BudgetAction,
    /// What is spent and reserved in the current period.
    pub current_spend: f64,
    /// What of that jobs may still spend that are not over.
    pub reserved: f64,
    /// How much of the amount that is, in percent.
    pub percent_used: f64,
    /// Whether nothing is left.
    pub is_exceeded: bool,
    /// Whether 80 percent are used or more.
    pub is_warning: bool,
    /// The same in words.
    pub message: String,
}

/// The answer to a request to try a provider now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tried {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
    /// Whether it accepts submissions now.
    pub gate: Option<Gate>,
}

/// Lists the providers.
pub const LIST: Operation<(), (), (), Providers> =
    Operation::new(Group::Providers, Method::Get, "/api/cloud/providers", "list_providers")
        .summary("List the providers, and whether they accept submissions");

/// Shows the settings of a provider.
pub const CONFIG: Operation<ProviderArg, (), (), ProviderConfig> = Operation::new(
    Group::Providers,
    Method::Get,
    "/api/cloud/providers/{provider}/config",
    "get_provider_config",
)
.summary("Show the settings of a provider")
.description("For administrators, because the address of a webhook may hold a secret.")
.role(Role::Admin);

/// Changes the settings of a provider.
pub const SET_CONFIG: Operation<ProviderArg, (), SetProviderConfig, ProviderConfig> =
    Operation::new(
        Group::Providers,
        Method::Put,
        "/api/cloud/providers/{provider}/config",
        "set_provider_config",
    )
    .summary("Change settings of a provider; the others stay")
    .role(Role::Admin)
    .example_body(r#"{"max_concurrent": 4}"#);

/// Asks a provider whether it accepts our credential.
pub const VALIDATE: Operation<ProviderArg, (), (), Validation> = Operation::new(
    Group::Providers,
    Method::Get,
    "/api/cloud/providers/{provider}/validate",
    "validate_provider",
)
.summary("Ask a provider whether it accepts our credential")
.problems(&[Code::ProviderError]);

/// The same under the path of the original's command line.
pub const VALIDATE_SHORT: Operation<ProviderArg, (), (), Validation> = Operation::new(
    Group::Providers,
    Method::Get,
    "/api/cloud/{provider}/validate",
    "validate_provider_short",
)
.summary("Ask a provider whether it accepts our credential, under a shorter path")
.problems(&[Code::ProviderError]);

/// Stores a token.
pub const SET_TOKEN: Operation<ProviderArg, (), SetToken, TokenChanged> = Operation::new(
    Group::Providers,
    Method::Put,
    "/api/cloud/providers/{provider}/token",
    "set_provider_token",
)
.summary("Store the token of a provider")
.description(
    "It is stored in a file that only the server's user can read, takes precedence over the \
     environment's at once and after restarts, and is never answered nor logged.",
)
.role(Role::Admin)
.example_body(r#"{"api_token": "r8_..."}"#)
.problems(&[Code::Conflict]);

/// Removes a stored token.
pub const DELETE_TOKEN: Operation<ProviderArg, (), (), TokenChanged> = Operation::new(
    Group::Providers,
    Method::Delete,
    "/api/cloud/providers/{provider}/token",
    "delete_provider_token",
)
.summary("Remove the stored token of a provider; the environment's is used again, if there is one")
.role(Role::Admin)
.problems(&[Code::Conflict]);

/// Shows whether Replicate was reached.
pub const REPLICATE_STATUS: Operation<(), (), (), Reached> = Operation::new(
    Group::Providers,
    Method::Get,
    "/api/cloud/replicate/status",
    "get_replicate_status",
)
.summary("Ask Replicate for our account, to see whether it is reached");

/// Lists the versions of the model that a provider runs.
pub const VERSIONS: Operation<ProviderArg, (), (), Versions> = Operation::new(
    Group::Providers,
    Method::Get,
    "/api/cloud/providers/{provider}/versions",
    "list_provider_versions",
)
.summary("List the versions of the model that a provider runs");

/// Shows how much of a cost limit is used.
pub const COST_LIMIT: Operation<(), CostLimitQuery, (), CostLimitStatus> = Operation::new(
    Group::Providers,
    Method::Get,
    "/api/cloud/cost-limit/status",
    "get_cost_limit_status",
)
.summary("Show how much of the cost limit of a provider is used")
.example_query("provider=replicate")
.problems(&[Code::NotFound]);

/// Tries a provider now.
pub const RETRY: Operation<ProviderArg, (), (), Tried> = Operation::new(
    Group::Providers,
    Method::Post,
    "/api/cloud/providers/{provider}/retry",
    "retry_provider",
)
.summary("Try a provider that is given no submissions, without waiting for its next try")
.role(Role::Admin)
.problems(&[Code::ProviderNotConfigured]);
