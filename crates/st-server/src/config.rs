//! Configuration. Precedence: flags, environment, file, defaults.
//!
//! Each setting is defined once, in a table; all of them are read and checked before anything starts, and
//! every fault is named at once. What is read are the components' own configurations.

mod changes;
mod file;
mod filled;
#[cfg(test)]
mod fuzz;
mod local;
mod origin;
mod outputs;
pub(crate) mod plain;
mod position;
mod providers;
mod schema;
mod secret_files;
mod secret_values;
mod sections;
mod server;
mod show;
mod sources;
mod table;
mod variables;
mod webhooks;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use st_store::ProviderName;
use st_workers::BackgroundConfig;
use st_workers::provider::replicate::ReplicateConfig;

pub use changes::Changes;
pub use filled::Filled;
pub use local::{Command, LocalSettings};
pub use origin::{Origin, SettledOrigin};
pub use outputs::OutputsSettings;
pub use providers::DescribedProvider;
pub use schema::schema;
use sections::{Sections, Surroundings};
pub use server::{Access, TlsFiles};
pub use show::{table, variables_table};
use sources::Sources;
pub use webhooks::WebhooksSettings;

/// The port when nothing sets it.
const PORT: u16 = 8001;

/// Everything that can be set.
#[derive(Debug, Clone)]
#[expect(clippy::struct_field_names, reason = "`config_dir` is named after its variable")]
pub struct Config {
    /// The log.
    pub log: st_log::Settings,
    /// What names the log's file: a variable, or a place in a file.
    pub log_file_setting: String,
    /// Where to listen; always a loopback address.
    pub host: IpAddr,
    /// On which port.
    pub port: u16,
    /// Who reaches it there, and how.
    pub access: Access,
    /// The database and all else that is written.
    pub state_dir: PathBuf,
    /// Where named job configurations are.
    pub config_dir: PathBuf,
    /// The background tasks; their seed is chosen at the start.
    pub background: BackgroundConfig,
    /// What becomes of the outputs of jobs whose providers delete them.
    pub outputs: OutputsSettings,
    /// Where webhooks may be sent.
    pub webhooks: WebhooksSettings,
    /// The account at Replicate. Without a token it is used once one is stored.
    pub replicate: ReplicateConfig,
    /// What jobs on this machine may run and use.
    pub local: LocalSettings,
    /// The providers that the file describes, by name.
    pub described: BTreeMap<ProviderName, DescribedProvider>,
    /// What the environment put into the file.
    pub filled: Filled,
    /// Calls to providers.
    pub http: st_http::Config,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// All that is set, to tell what a later reading changes.
    values: changes::Values,
}

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// The file to read.
    pub config: Option<PathBuf>,
    /// Where to listen.
    pub host: Option<String>,
    /// On which port.
    pub port: Option<String>,
}

impl Flags {
    /// The value of the flag of this name.
    fn get(&self, flag: &str) -> Option<String> {
        match flag {
            "--host" => self.host.clone(),
            "--port" => self.port.clone(),
            _ => None,
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// A variable, a flag, or a place in a file.
    pub place: String,
    /// What is wrong, and what is legal.
    pub message: String,
}

/// Everything that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid configuration")?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {}: {}", fault.place, fault.message))
    }
}

impl Config {
    /// Reads all of it. `cwd` is where a file is looked for first.
    pub fn load(
        environment: &BTreeMap<String, String>,
        flags: &Flags,
        cwd: &Path,
    ) -> Result<Self, Faults> {
        let mut faults = Vec::new();
        let sources = Sources::gather(environment, flags, cwd, &mut faults);
        Self::of(&sources, environment, faults)
    }

    /// What is different in `new`.
    pub fn changes(&self, new: &Self) -> Changes {
        self.values.changes(&new.values)
    }

    /// Takes from `new` what takes effect while the server runs; the rest stays.
    pub fn adopt(&mut self, new: Self) {
        self.values.adopt(&new.values);
        self.access = new.access;
        self.log.level = new.log.level;
        self.background.polling = new.background.polling;
    }

    fn of(
        sources: &Sources,
        environment: &BTreeMap<String, String>,
        mut faults: Vec<Fault>,
    ) -> Result<Self, Faults> {
        let home = environment.get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        let in_home = home.as_ref().map(|home| home.join(".simpletuner"));
        let mut fields = sources.fields();
        let read = Sections::read(&mut fields, &Surroundings { home, environment });
        let mut found = fields.finish().err().unwrap_or_default();
        found.extend(providers::check_polling(&read.described, read.background.polling.period));
        faults.extend(found.into_iter().map(|fault| sources.placed(fault)));
        let Some(state_dir) = read.server.state_dir.or(in_home) else {
            let message = "must be set where HOME is not".to_owned();
            faults.push(Fault { place: "SIMPLETUNER_STATE_DIR".to_owned(), message });
            return Err(Faults(faults));
        };
        if !faults.is_empty() {
            return Err(Faults(faults));
        }
        let color = environment.get(table::NO_COLOR).is_none_or(String::is_empty);
        Ok(Self {
            log_file_setting: sources.setting("/logging/file"),
            log: st_log::Settings { color: read.log.color && color, ..read.log },
            host: read.server.host.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            port: read.server.port.unwrap_or(PORT),
            config_dir: read.server.config_dir.unwrap_or_else(|| state_dir.join("configs")),
            outputs: read.outputs.settings(&state_dir),
            webhooks: read.webhooks,
            state_dir,
            background: read.background,
            replicate: read.replicate,
            local: read.local,
            described: read.described,
            filled: sources.filled().clone(),
            http: read.http,
            access: read.server.access,
            values: changes::Values::of(sources),
            file: sources.file().cloned(),
        })
    }
}

/// The process's variables. A value that is not UTF-8 is left out, except in one of ours, where it has
/// replacement characters, which [`Config::load`] refuses; a name that is not UTF-8 is left out.
pub fn environment() -> BTreeMap<String, String> {
    let value = |name: &str, value: OsString| match value.into_string() {
        Ok(value) => Some(value),
        Err(value) => variables::is_ours(name).then(|| value.to_string_lossy().into_owned()),
    };
    let variables = std::env::vars_os().filter_map(|(name, text)| {
        let name = name.into_string().ok()?;
        value(&name, text).map(|value| (name, value))
    });
    variables.collect()
}

/// What programs beside the server ask of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnterpriseConfig {
    /// Whether polling is switched on explicitly.
    pub job_polling_enabled: bool,
    /// From one poll to the next.
    pub job_polling_interval: Duration,
}

/// Reads the configuration as the server does, from the process's own environment and working
/// directory.
pub fn get_enterprise_config() -> Result<EnterpriseConfig, Faults> {
    let environment = environment();
    let cwd = std::env::current_dir().unwrap_or_default();
    let config = Config::load(&environment, &Flags::default(), &cwd)?;
    Ok(EnterpriseConfig {
        job_polling_enabled: config.background.polling.enabled,
        job_polling_interval: config.background.polling.period,
    })
}

#[cfg(test)]
mod tests;
