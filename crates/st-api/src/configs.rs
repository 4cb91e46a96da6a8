//! The named configurations: files in the server's configuration folder.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use st_store::Role;

use crate::input::Fields;
use crate::operation::{Group, Input, Method, Named, Operation, Parameter};

/// A named configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigName(pub String);

impl Named for ConfigName {
    const PARAMETER: Option<Parameter> = Some(Parameter {
        name: "name",
        what: "configuration",
        numeric: false,
        description: "The configuration's name, with or without `.json`.",
    });

    fn parse(name: &str) -> Option<Self> {
        is_config_name(name).then(|| Self(name.to_owned()))
    }
}

/// Whether a configuration can have this name: it is no path, and nothing that is hidden.
pub fn is_config_name(name: &str) -> bool {
    let legal = |char: char| char.is_alphanumeric() || matches!(char, ' ' | '.' | '_' | '-' | '+');
    let stem = name.strip_suffix(".json").unwrap_or(name);
    !stem.is_empty() && !stem.starts_with('.') && stem.chars().all(legal)
}

/// The configurations there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Configs {
    /// Each, by name.
    pub configs: Vec<ConfigEntry>,
    /// How many.
    pub count: u64,
    /// The folder that they are in.
    pub folder: String,
}

/// A configuration in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigEntry {
    /// The configuration's name, as `config_name_to_load` has it.
    pub name: String,
}

/// A configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Config {
    /// The configuration's name, as `config_name_to_load` has it.
    pub name: String,
    /// What it holds, without what is saved beside the settings.
    pub config: Map<String, Value>,
    /// The data sets in the file beside it.
    pub dataloader_config: Option<Vec<Value>>,
}

/// Where a configuration would run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckConfig {
    /// The provider; `local` where none is named.
    pub provider: Option<String>,
    /// The configuration, where the client sends it along; that of the file counts.
    pub config: Option<Map<String, Value>>,
}

impl Input for CheckConfig {
    fn read(fields: &mut Fields) -> Option<Self> {
        let provider = fields.optional_string("provider", 100);
        let config = fields.object("config");
        // Clients send the configuration as it is, too.
        fields.ignore_others();
        Some(Self { provider, config })
    }
}

/// Whether a configuration can be submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigChecked {
    /// Whether it can.
    pub valid: bool,
    /// The same as `valid`.
    pub is_valid: bool,
    /// What is wrong with it.
    pub errors: Vec<String>,
    /// What may be wrong with it.
    pub warnings: Vec<String>,
}

/// Lists the configurations.
pub const LIST: Operation<(), (), (), Configs> =
    Operation::new(Group::Configs, Method::Get, "/api/configs", "list_configs")
        .summary("List the named configurations");

/// Shows a configuration.
pub const SHOW: Operation<ConfigName, (), (), Config> =
    Operation::new(Group::Configs, Method::Get, "/api/configs/{name}", "get_config")
        .summary("Show a named configuration")
        .description("For those who may submit it: a configuration may hold tokens.")
        .role(Role::Researcher);

/// Checks a configuration.
pub const CHECK: Operation<ConfigName, (), CheckConfig, ConfigChecked> =
    Operation::new(Group::Configs, Method::Post, "/api/configs/{name}/validate", "check_config")
        .summary("Say whether a named configuration can be submitted")
        .role(Role::Researcher)
        .example_body(r#"{"provider": "local"}"#);
