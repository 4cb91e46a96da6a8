//! Configuration. Precedence: flags, environment, file, defaults.
//!
//! All of it is read and checked before anything starts, and every fault is named at once.

mod environment;
mod file;
#[cfg(test)]
mod fuzz;
mod local;
mod position;
mod providers;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use st_store::{ProviderEnding, ProviderName};
use st_workers::provider::replicate::{ApiToken, CallLimits, Prices};
use st_workers::tasks::{expirer, poller, retention};

use environment::Environment;
use file::{File, ReplicateSection};
pub use local::{Command, LocalSettings};
pub use providers::DescribedProvider;

/// The provider's public address.
const REPLICATE: &str = "https://api.replicate.com/v1";
/// The longest that a call to a provider may take; the lease of a claim counts on it.
const LONGEST_CALL: Duration = Duration::from_mins(1);

/// Everything that can be set.
#[derive(Debug, Clone)]
#[expect(clippy::struct_field_names, reason = "`config_dir` is named after its variable")]
pub struct Config {
    /// The log.
    pub log: st_log::Settings,
    /// Which setting names the log's file: a variable, or a place in a file.
    pub log_file_setting: String,
    /// Where to listen; always a loopback address.
    pub host: IpAddr,
    /// On which port.
    pub port: u16,
    /// The database and all else that is written.
    pub state_dir: PathBuf,
    /// Where named job configurations are.
    pub config_dir: PathBuf,
    /// The poller.
    pub polling: Polling,
    /// How often lapsed approvals are looked for, at the latest.
    pub approval_check: Duration,
    /// The retention of finished jobs; `None` disables their deletion.
    pub keep_jobs_for: Option<SignedDuration>,
    /// The account at Replicate, if there is one.
    pub replicate: Option<ReplicateSettings>,
    /// What jobs on this machine may run and use.
    pub local: LocalSettings,
    /// The providers that the file describes, by name.
    pub described: BTreeMap<ProviderName, DescribedProvider>,
    /// Calls to providers.
    pub http: HttpSettings,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
}

/// The poller's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Polling {
    /// Poll also where a webhook URL is set.
    pub enabled: bool,
    /// From one poll to the next.
    pub interval: Duration,
}

/// An account at Replicate.
#[derive(Debug, Clone)]
pub struct ReplicateSettings {
    /// The API's address.
    pub base_url: String,
    /// The account's token.
    pub api_token: ApiToken,
    /// How many calls the account may make in a minute.
    pub limits: CallLimits,
    /// What a second of each model costs.
    pub prices: Prices,
    /// Which of the jobs that it ended by itself run once more.
    pub retry_on: BTreeSet<ProviderEnding>,
}

impl ReplicateSettings {
    /// `base_url`: what goes before that of the file.
    fn new(api_token: ApiToken, base_url: Option<String>, file: ReplicateSection) -> Self {
        Self {
            base_url: base_url.or(file.base_url).unwrap_or_else(|| REPLICATE.to_owned()),
            api_token,
            limits: file.limits,
            prices: Prices::default().with(file.prices),
            retry_on: file.retry_on,
        }
    }
}

/// How providers are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// How long one call may take.
    pub timeout: Duration,
    /// Whether certificates are checked.
    pub tls_verify: bool,
    /// Authorities that are trusted besides the system's.
    pub ca_bundle: Option<PathBuf>,
    /// The proxies on the way to providers, by `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
    pub proxies: st_http::Proxies,
}

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// The file to read.
    pub config: Option<PathBuf>,
    /// Where to listen.
    pub host: Option<String>,
    /// On which port.
    pub port: Option<u16>,
}

/// One thing that is not legal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// A variable, a flag, or a place in a file.
    pub place: String,
    /// What is wrong, and what is legal.
    pub message: String,
}

/// Everything that is not legal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration is not legal")?;
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
        let env = Environment::read(environment, &mut faults);
        let file = File::read(environment, flags.config.as_deref(), cwd, &mut faults);
        let host = match &flags.host {
            Some(text) => environment::host(text)
                .map_err(|message| faults.push(Fault { place: "--host".to_owned(), message }))
                .ok(),
            None => env.host.or(file.host),
        };
        let home = environment.get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        let state_dir =
            env.state_dir.or(file.state_dir).or_else(|| Some(home?.join(".simpletuner")));
        if state_dir.is_none() {
            let message = "must be set where HOME is not".to_owned();
            faults.push(Fault { place: "SIMPLETUNER_STATE_DIR".to_owned(), message });
        }
        if !faults.is_empty() {
            return Err(Faults(faults));
        }
        let state_dir = state_dir.unwrap_or_default();
        let replicate = env
            .api_token
            .map(|api_token| ReplicateSettings::new(api_token, env.base_url, file.replicate));
        let usual = st_log::Settings::default();
        let log_file_setting = match &file.path {
            Some(path) if env.log_file.is_none() => format!("{}: logging.file", path.display()),
            Some(_) | None => environment::LOG_FILE.to_owned(),
        };
        Ok(Self {
            log_file_setting,
            log: st_log::Settings {
                log_panics: true,
                level: env.log_level.or(file.log_level).unwrap_or(usual.level),
                format: env.log_format.or(file.log_format).unwrap_or(usual.format),
                file: env.log_file.or(file.log_file),
                trace_context: file.trace_context.unwrap_or(usual.trace_context),
                include_stack_info: file.stack_info.unwrap_or(usual.include_stack_info),
                redaction: usual.redaction.with(file.redact.unwrap_or_default()),
                color: usual.color && !env.no_color,
                ..st_log::Settings::default()
            },
            host: host.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            port: flags.port.or(env.port).or(file.port).unwrap_or(8001),
            config_dir: env
                .config_dir
                .or(file.config_dir)
                .unwrap_or_else(|| state_dir.join("configs")),
            state_dir,
            polling: Polling {
                enabled: file.polling_enabled.unwrap_or(false),
                interval: env.poll_interval.or(file.poll_interval).unwrap_or(poller::PERIOD),
            },
            approval_check: env.approval_check.unwrap_or(expirer::PERIOD),
            keep_jobs_for: match env.retention_days.or(file.retention_days) {
                None => Some(retention::KEEP_FOR),
                Some(0) => None,
                Some(days) => Some(SignedDuration::from_hours(24 * days)),
            },
            replicate,
            local: file.local,
            described: file.described,
            http: HttpSettings {
                timeout: env.http_timeout.or(file.http_timeout).unwrap_or(LONGEST_CALL),
                tls_verify: env.tls_verify.or(file.tls_verify).unwrap_or(true),
                ca_bundle: env.ca_bundle.or(file.ca_bundle),
                proxies: env.proxies,
            },
            file: file.path,
        })
    }
}

/// The process's variables. A value that is not UTF-8 is left out, except in one of ours, where it has
/// replacement characters, which [`Config::load`] refuses; a name that is not UTF-8 is left out.
pub fn environment() -> BTreeMap<String, String> {
    let value = |name: &str, value: OsString| match value.into_string() {
        Ok(value) => Some(value),
        Err(value) => environment::is_ours(name).then(|| value.to_string_lossy().into_owned()),
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
        job_polling_enabled: config.polling.enabled,
        job_polling_interval: config.polling.interval,
    })
}

#[cfg(test)]
mod tests;
