//! The file's part of the configuration: `simpletuner-enterprise.yaml`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use st_store::{ProviderEnding, ProviderName};
use st_workers::provider::replicate::{CallLimits, Priced};
use st_workers::tasks::poller;

use super::environment::{MOST_DAYS, base_url, existing_file, host, poll_interval};
use super::local::LocalSettings;
use super::providers::{self, DescribedProvider};
use super::{Fault, LONGEST_CALL, position};
use crate::fields::{FieldFault, Fields};
use crate::strict::StrictValue;

const NAME: &str = "simpletuner-enterprise.yaml";
const DAY_SECONDS: i64 = 86_400;
/// The queue's interval, which is fixed.
const QUEUE_SECONDS: i64 = 5;
/// US dollars for a second: more is a slip of the decimal point.
const MOST_PER_SECOND: f64 = 100.0;

/// What the file says.
#[derive(Debug, Default)]
#[expect(clippy::struct_field_names, reason = "`log_file` is what it is called elsewhere")]
pub(super) struct File {
    pub(super) path: Option<PathBuf>,
    pub(super) log_level: Option<st_log::Filter>,
    pub(super) log_format: Option<st_log::Format>,
    pub(super) log_file: Option<PathBuf>,
    pub(super) trace_context: Option<bool>,
    pub(super) redact: Option<Vec<String>>,
    pub(super) stack_info: Option<bool>,
    pub(super) host: Option<IpAddr>,
    pub(super) port: Option<u16>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) config_dir: Option<PathBuf>,
    pub(super) polling_enabled: Option<bool>,
    pub(super) poll_interval: Option<Duration>,
    pub(super) retention_days: Option<i64>,
    pub(super) replicate: ReplicateSection,
    pub(super) http_timeout: Option<Duration>,
    pub(super) tls_verify: Option<bool>,
    pub(super) ca_bundle: Option<PathBuf>,
    pub(super) local: LocalSettings,
    pub(super) described: BTreeMap<ProviderName, DescribedProvider>,
}

/// What the file says about Replicate.
#[derive(Debug, Default)]
pub(super) struct ReplicateSection {
    pub(super) base_url: Option<String>,
    pub(super) limits: CallLimits,
    pub(super) prices: Vec<(Priced, f64)>,
    pub(super) retry_on: BTreeSet<ProviderEnding>,
}

impl ReplicateSection {
    fn read(fields: &mut Fields) -> Self {
        let base_url = checked(fields, "api_base_url", base_url);
        let mut limits = CallLimits::default();
        fields.section("calls_per_minute", |fields| {
            let CallLimits { creates, others } = &mut limits;
            for (name, limit) in [("submissions", creates), ("others", others)] {
                let calls = fields.integer(name, 1..=1_000_000);
                let calls = calls.and_then(|calls| u32::try_from(calls).ok());
                *limit = calls.and_then(NonZeroU32::new).unwrap_or(*limit);
            }
        });
        let prices = fields.section("prices", prices).unwrap_or_default();
        Self { base_url, limits, prices, retry_on: endings(fields) }
    }
}

impl File {
    pub(super) fn read(
        environment: &BTreeMap<String, String>,
        named: Option<&Path>,
        cwd: &Path,
        faults: &mut Vec<Fault>,
    ) -> Self {
        let Some((path, text)) = find(environment, named, cwd, faults) else {
            return Self::default();
        };
        let file = Self::parse(&path, &text, environment, faults);
        Self { path: Some(path), ..file }
    }

    pub(super) fn parse(
        path: &Path,
        text: &str,
        environment: &BTreeMap<String, String>,
        faults: &mut Vec<Fault>,
    ) -> Self {
        let mut found = Vec::new();
        let file = match serde_yaml::from_str::<StrictValue>(text) {
            Ok(StrictValue(mut value)) => {
                replace(&mut value, environment, "", &mut found);
                Self::of(value, environment, &mut found)
            }
            Err(error) => {
                let at = error
                    .location()
                    .map_or_else(String::new, |at| format!(":{}:{}", at.line(), at.column()));
                let place = format!("{}{at}", path.display());
                faults.push(Fault { place, message: error.to_string() });
                Self::default()
            }
        };
        for FieldFault { pointer, message } in found {
            let at = position::of(text, &pointer)
                .map_or_else(String::new, |(line, column)| format!(":{line}:{column}"));
            let name = pointer.trim_start_matches('/').replace('/', ".");
            let place = format!("{}{at}", path.display());
            let message = if name.is_empty() { message } else { format!("{name}: {message}") };
            faults.push(Fault { place, message });
        }
        file
    }

    fn of(
        value: Value,
        environment: &BTreeMap<String, String>,
        faults: &mut Vec<FieldFault>,
    ) -> Self {
        let mut fields = match value {
            Value::Object(given) => Fields::new(given),
            Value::Null => return Self::default(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                let message = "expected sections such as background or providers".to_owned();
                faults.push(FieldFault { pointer: String::new(), message });
                return Self::default();
            }
        };
        let mut file = Self::default();
        fields.section("background", |fields| file.background(fields));
        fields.section("server", |fields| file.server(fields));
        fields.section("logging", |fields| {
            file.log_level = fields.word("level");
            file.log_format = fields.word("format");
            file.log_file = fields.non_empty_string("file", 4096).map(PathBuf::from);
            file.trace_context = fields.boolean("trace_context");
            file.stack_info = fields.boolean("include_stack_info");
            file.redact = fields.strings("redact");
        });
        fields.section("http", |fields| file.http(fields));
        fields.section("providers", |fields| {
            let replicate = fields.section("replicate", ReplicateSection::read);
            file.replicate = replicate.unwrap_or_default();
            fields.section("local", |fields| file.local = LocalSettings::read(fields));
            file.described = providers::read(fields, environment);
        });
        if let Err(found) = fields.finish() {
            faults.extend(found);
        }
        let interval = poll_interval(environment).or(file.poll_interval).unwrap_or(poller::PERIOD);
        faults.extend(providers::check_polling(&file.described, interval));
        file
    }

    fn background(&mut self, fields: &mut Fields) {
        fields.section("job_status_polling", |fields| {
            self.polling_enabled = fields.boolean("enabled");
            self.poll_interval = seconds(fields, "interval_seconds", DAY_SECONDS);
        });
        fields.section("job_retention", |fields| {
            self.retention_days = fields.integer("days", 0..=MOST_DAYS);
        });
        fields.section("queue_processing", |fields| {
            if fields.boolean("enabled") == Some(false) {
                fields.fault("enabled", "the queue cannot be disabled");
            }
            if let Some(other) = fields.integer("interval_seconds", 1..=DAY_SECONDS)
                && other != QUEUE_SECONDS
            {
                fields.fault("interval_seconds", "the interval is fixed at 5 seconds");
            }
        });
    }

    fn server(&mut self, fields: &mut Fields) {
        self.host = checked(fields, "host", host);
        let port = fields.integer("port", 1..=65_535);
        self.port = port.and_then(|port| u16::try_from(port).ok());
        self.state_dir = fields.non_empty_string("state_dir", 4096).map(PathBuf::from);
        self.config_dir = fields.non_empty_string("config_dir", 4096).map(PathBuf::from);
    }

    fn http(&mut self, fields: &mut Fields) {
        let longest = i64::try_from(LONGEST_CALL.as_secs()).unwrap_or(i64::MAX);
        self.http_timeout = seconds(fields, "timeout_seconds", longest);
        self.tls_verify = fields.boolean("ssl_verify");
        self.ca_bundle = checked(fields, "ca_bundle", |path| existing_file(path.into()));
    }
}

/// The file to read: the one that is named, else the first that there is.
fn find(
    environment: &BTreeMap<String, String>,
    named: Option<&Path>,
    cwd: &Path,
    faults: &mut Vec<Fault>,
) -> Option<(PathBuf, String)> {
    let variable = "SIMPLETUNER_ENTERPRISE_CONFIG";
    let by_variable = environment.get(variable).filter(|path| !path.is_empty());
    let named = match (named, by_variable) {
        (Some(path), _) => Some(("--config", path.to_owned())),
        (None, Some(path)) => Some((variable, PathBuf::from(path))),
        (None, None) => None,
    };
    if let Some((place, path)) = named {
        match std::fs::read_to_string(&path) {
            Ok(text) => return Some((path, text)),
            Err(error) => {
                let message = format!("{} cannot be read: {error}", path.display());
                faults.push(Fault { place: place.to_owned(), message });
                return None;
            }
        }
    }
    let home = environment.get("HOME").filter(|home| !home.is_empty());
    let in_home = home.map(|home| Path::new(home).join(".config/simpletuner/enterprise.yaml"));
    let places =
        [Some(cwd.join(NAME)), in_home, Some(PathBuf::from("/etc/simpletuner/enterprise.yaml"))];
    for path in places.into_iter().flatten() {
        match std::fs::read_to_string(&path) {
            Ok(text) => return Some((path, text)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                let message = format!("cannot be read: {error}");
                faults.push(Fault { place: path.display().to_string(), message });
                return None;
            }
        }
    }
    None
}

/// Puts the environment's values where `${NAME}` stands; `$${` is a plain `${`. A text that is one
/// variable and nothing else takes the kind of the value, so that numbers work.
fn replace(
    value: &mut Value,
    environment: &BTreeMap<String, String>,
    pointer: &str,
    faults: &mut Vec<FieldFault>,
) {
    match value {
        Value::String(text) if text.contains("${") => match filled(text, environment) {
            Ok((filled, true)) => {
                *value = match serde_yaml::from_str::<StrictValue>(&filled) {
                    Ok(StrictValue(scalar @ (Value::Bool(_) | Value::Number(_) | Value::Null))) => {
                        scalar
                    }
                    Ok(_) | Err(_) => Value::String(filled),
                }
            }
            Ok((filled, false)) => *value = Value::String(filled),
            Err(message) => {
                faults.push(FieldFault { pointer: pointer.to_owned(), message });
                *value = Value::Null;
            }
        },
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                replace(item, environment, &format!("{pointer}/{index}"), faults);
            }
        }
        Value::Object(fields) => {
            for (key, item) in fields.iter_mut() {
                replace(item, environment, &format!("{pointer}/{key}"), faults);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The text with its variables filled in, and whether it was one variable and nothing else.
fn filled(text: &str, environment: &BTreeMap<String, String>) -> Result<(String, bool), String> {
    let mut out = String::new();
    let mut rest = text;
    let mut whole = false;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(literal) = before.strip_suffix('$') {
            out.push_str(literal);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            return Err("a ${ is not closed with }".to_owned());
        };
        let Some(value) = environment.get(name) else {
            return Err(format!("the environment has no {name}"));
        };
        whole = text.len() == name.len() + 3;
        out.push_str(value);
        rest = after;
    }
    out.push_str(rest);
    Ok((out, whole))
}

fn seconds(fields: &mut Fields, key: &str, longest: i64) -> Option<Duration> {
    let seconds = fields.integer(key, 1..=longest)?;
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

/// Text that must pass `check`, which says what is legal.
fn checked<T>(
    fields: &mut Fields,
    key: &str,
    check: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    let text = fields.non_empty_string(key, 4096)?;
    match check(&text) {
        Ok(value) => Some(value),
        Err(legal) => {
            fields.fault(key, format!("{text:?} is not legal, {legal}"));
            None
        }
    }
}

/// US dollars for a second, by profile or model.
fn prices(fields: &mut Fields) -> Vec<(Priced, f64)> {
    let mut prices = Vec::new();
    for name in fields.names() {
        let price = fields.number(&name, 0.0..=MOST_PER_SECOND);
        match name.parse::<Priced>() {
            Ok(of) => prices.extend(price.map(|price| (of, price))),
            Err(unknown) => fields.fault(&name, unknown.to_string()),
        }
    }
    prices
}

/// Which of the jobs that the provider ended by itself run once more.
fn endings(fields: &mut Fields) -> BTreeSet<ProviderEnding> {
    let words = fields.strings("retry_on").unwrap_or_default();
    let mut endings = BTreeSet::new();
    for word in words {
        match word.parse::<ProviderEnding>() {
            Ok(ending) => _ = endings.insert(ending),
            Err(unknown) => fields.fault("retry_on", unknown.to_string()),
        }
    }
    endings
}
