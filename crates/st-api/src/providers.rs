//! Providers, whether they accept submissions, and their settings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use st_store::{
    MOST_PROVIDER_SLOTS, MOST_RUNTIME_MINUTES, ProviderSettings, ProviderSettingsPatch, Role,
    SettingChange,
};

use crate::input::Fields;
use crate::names::ProviderArg;
use crate::operation::{Group, Input, Method, Operation};
use crate::problem::Code;
use crate::schema::Time;

/// The longest text of a setting, in bytes.
pub const MAX_TEXT: usize = 2000;

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
    /// Each.
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

/// Settings of a provider to change; the others stay. `null` and an empty text clear one.
#[derive(Debug, Clone, PartialEq)]
pub struct SetProviderConfig(pub ProviderSettingsPatch);

impl Input for SetProviderConfig {
    fn read(fields: &mut Fields) -> Option<Self> {
        let mut patch = ProviderSettingsPatch::default();
        for name in ProviderSettings::TEXTS {
            let cleared = fields.is_null(name);
            let change = match fields.string(name) {
                Some(text) if text.is_empty() => SettingChange::Clear,
                Some(text) if text.len() > MAX_TEXT => {
                    fields.fault(name, format!("is longer than {MAX_TEXT} bytes"));
                    SettingChange::Keep
                }
                Some(text) => SettingChange::Set(text),
                None if cleared => SettingChange::Clear,
                None => SettingChange::Keep,
            };
            patch.change(name, change);
        }
        patch.max_concurrent = number(fields, "max_concurrent", MOST_PROVIDER_SLOTS);
        patch.max_runtime_minutes = number(fields, "max_runtime_minutes", MOST_RUNTIME_MINUTES);
        Some(Self(patch))
    }
}

/// A number from 1 to `most`; `null` clears it.
fn number(fields: &mut Fields, name: &str, most: u32) -> SettingChange<u32> {
    let cleared = fields.is_null(name);
    let number = fields.integer(name, 1..=i64::from(most));
    match number.and_then(|number| u32::try_from(number).ok()) {
        Some(number) => SettingChange::Set(number),
        None if cleared => SettingChange::Clear,
        None => SettingChange::Keep,
    }
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

/// Whose a credential is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserInfo {
    /// Always true.
    pub valid: bool,
    /// The account's name at the provider.
    pub username: String,
}

/// The answer to a request to try a provider now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tried {
    /// Always true.
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
.summary("Show the settings of a provider");

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
