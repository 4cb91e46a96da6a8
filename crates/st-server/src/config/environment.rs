//! The environment's part of the configuration.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use st_workers::provider::replicate::ApiToken;

use super::Fault;
use crate::fields::is_http_url;

pub(super) const LOG_FILE: &str = "SIMPLETUNER_LOG_FILE";

/// The variables that are ours. One that is named almost like them is a misspelling.
const OURS: [&str; 16] = [
    "SIMPLETUNER_APPROVAL_CHECK_INTERVAL",
    "SIMPLETUNER_CA_BUNDLE",
    "SIMPLETUNER_CONFIG_DIR",
    "SIMPLETUNER_ENTERPRISE_CONFIG",
    "SIMPLETUNER_HOST",
    "SIMPLETUNER_HTTP_TIMEOUT",
    "SIMPLETUNER_JOB_POLL_INTERVAL",
    "SIMPLETUNER_JOB_RETENTION_DAYS",
    LOG_FILE,
    "SIMPLETUNER_LOG_FORMAT",
    "SIMPLETUNER_LOG_LEVEL",
    "SIMPLETUNER_PORT",
    "SIMPLETUNER_SSL_VERIFY",
    "SIMPLETUNER_STATE_DIR",
    "REPLICATE_API_BASE_URL",
    "REPLICATE_API_TOKEN",
];

/// Other programs' variables that happen to be near ours.
const OTHERS: [&str; 4] = [
    "SIMPLETUNER_API_KEY",
    "SIMPLETUNER_AUDIT_RETENTION_DAYS",
    "SIMPLETUNER_SSL_ENABLED",
    "SIMPLETUNER_SSL_NO_VERIFY",
];

/// A name within this distance of ours is taken for it.
const NEAR: usize = 2;
const DAY_SECONDS: u64 = 86_400;
/// The longest retention of finished jobs, in days; 0 disables their deletion.
pub(super) const MOST_DAYS: i64 = 36_500;

/// What the environment says.
#[derive(Debug, Default)]
pub(super) struct Environment {
    pub(super) log_level: Option<st_log::Filter>,
    pub(super) log_format: Option<st_log::Format>,
    pub(super) log_file: Option<PathBuf>,
    pub(super) no_color: bool,
    pub(super) host: Option<IpAddr>,
    pub(super) port: Option<u16>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) config_dir: Option<PathBuf>,
    pub(super) poll_interval: Option<Duration>,
    pub(super) approval_check: Option<Duration>,
    pub(super) retention_days: Option<i64>,
    pub(super) api_token: Option<ApiToken>,
    pub(super) base_url: Option<String>,
    pub(super) http_timeout: Option<Duration>,
    pub(super) tls_verify: Option<bool>,
    pub(super) ca_bundle: Option<PathBuf>,
    pub(super) proxies: st_http::Proxies,
}

struct Reader<'e> {
    variables: &'e BTreeMap<String, String>,
    faults: &'e mut Vec<Fault>,
}

impl Reader<'_> {
    /// An empty value counts as none.
    fn text(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    fn read<T>(&mut self, name: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let value = self.text(name)?;
        match read(value) {
            Ok(read) => Some(read),
            Err(legal) => {
                let message = format!("{value:?} is not legal, {legal}");
                self.faults.push(Fault { place: name.to_owned(), message });
                None
            }
        }
    }

    /// Like [`read`](Self::read), and the value is in no message.
    fn secret<T>(&mut self, name: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let value = self.text(name).filter(|value| !value.trim().is_empty())?;
        if value.contains(char::REPLACEMENT_CHARACTER) {
            return None;
        }
        let read = read(value);
        let fault = |message| self.faults.push(Fault { place: name.to_owned(), message });
        read.map_err(fault).ok()
    }

    /// Where both spellings of a variable are set, the one in capitals counts.
    fn proxies(&mut self) -> st_http::Proxies {
        let proxy = |reader: &mut Self, names: [&str; 2]| {
            let name = names.into_iter().find(|name| reader.text(name).is_some())?;
            reader
                .secret(name, |text| st_http::Proxy::parse(text).map_err(|error| error.to_string()))
        };
        let https = proxy(self, ["HTTPS_PROXY", "https_proxy"]);
        let http = proxy(self, ["HTTP_PROXY", "http_proxy"]);
        let excepted = self.text("NO_PROXY").or_else(|| self.text("no_proxy"));
        st_http::Proxies::new(https, http, excepted.unwrap_or_default())
    }

    fn seconds(&mut self, name: &str, longest: u64) -> Option<Duration> {
        self.read(name, |text| match text.parse() {
            Ok(seconds) if (1..=longest).contains(&seconds) => Ok(Duration::from_secs(seconds)),
            Ok(_) | Err(_) => Err(format!("expected whole seconds from 1 to {longest}")),
        })
    }
}

impl Environment {
    pub(super) fn read(variables: &BTreeMap<String, String>, faults: &mut Vec<Fault>) -> Self {
        misspelt(variables, faults);
        not_utf8(variables, faults);
        let mut reader = Reader { variables, faults };
        Self {
            log_level: reader.read("SIMPLETUNER_LOG_LEVEL", parsed),
            log_format: reader.read("SIMPLETUNER_LOG_FORMAT", parsed),
            log_file: reader.path(LOG_FILE),
            no_color: reader.text("NO_COLOR").is_some(),
            host: reader.read("SIMPLETUNER_HOST", host),
            port: reader.read("SIMPLETUNER_PORT", |text| match text.parse() {
                Ok(port) if port > 0 => Ok(port),
                Ok(_) | Err(_) => Err("expected a port from 1 to 65535".to_owned()),
            }),
            state_dir: reader.path("SIMPLETUNER_STATE_DIR"),
            config_dir: reader.path("SIMPLETUNER_CONFIG_DIR"),
            poll_interval: reader.seconds("SIMPLETUNER_JOB_POLL_INTERVAL", DAY_SECONDS),
            approval_check: reader.seconds("SIMPLETUNER_APPROVAL_CHECK_INTERVAL", DAY_SECONDS),
            retention_days: reader.read("SIMPLETUNER_JOB_RETENTION_DAYS", |text| {
                let days = text.parse().ok().filter(|days| (0..=MOST_DAYS).contains(days));
                days.ok_or_else(|| format!("expected whole days from 0 to {MOST_DAYS}"))
            }),
            api_token: reader.secret("REPLICATE_API_TOKEN", |text| {
                ApiToken::parse(text).map_err(|error| error.to_string())
            }),
            base_url: reader.read("REPLICATE_API_BASE_URL", base_url),
            http_timeout: reader.seconds("SIMPLETUNER_HTTP_TIMEOUT", super::LONGEST_CALL.as_secs()),
            tls_verify: reader.read("SIMPLETUNER_SSL_VERIFY", |text| {
                match text.to_ascii_lowercase().as_str() {
                    "true" | "1" | "yes" => Ok(true),
                    "false" | "0" | "no" => Ok(false),
                    _ => Err("expected true or false".to_owned()),
                }
            }),
            ca_bundle: reader.read("SIMPLETUNER_CA_BUNDLE", |text| existing_file(text.into())),
            proxies: reader.proxies(),
        }
    }
}

/// The polling interval that the environment sets, where that is legal.
pub(super) fn poll_interval(variables: &BTreeMap<String, String>) -> Option<Duration> {
    let text = variables.get("SIMPLETUNER_JOB_POLL_INTERVAL")?;
    text.parse().ok().map(Duration::from_secs).filter(|interval| !interval.is_zero())
}

pub(super) fn is_ours(name: &str) -> bool {
    OURS.contains(&name)
}

fn misspelt(variables: &BTreeMap<String, String>, faults: &mut Vec<Fault>) {
    let strange = variables.keys().filter(|name| {
        let name = name.as_str();
        name.starts_with("SIMPLETUNER") && !OURS.contains(&name) && !OTHERS.contains(&name)
    });
    for name in strange {
        let near = OURS.iter().map(|ours| (strsim::osa_distance(name, ours), ours)).min();
        if let Some((distance, ours)) = near
            && distance <= NEAR
        {
            let message = format!("unknown variable, did you mean {ours}?");
            faults.push(Fault { place: name.clone(), message });
        }
    }
}

/// A value that was no UTF-8 arrives with replacement characters, and would be another path.
fn not_utf8(variables: &BTreeMap<String, String>, faults: &mut Vec<Fault>) {
    let damaged = OURS.iter().filter(|name| {
        variables.get(**name).is_some_and(|value| value.contains(char::REPLACEMENT_CHARACTER))
    });
    for name in damaged {
        let message = "is not UTF-8".to_owned();
        faults.push(Fault { place: (*name).to_owned(), message });
    }
}

fn parsed<T: FromStr<Err: ToString>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

/// Reads an address to listen on.
pub(super) fn host(text: &str) -> Result<IpAddr, String> {
    let address = match text {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        other => other.parse().map_err(|_no_address| "expected an IP address".to_owned())?,
    };
    if address.is_loopback() {
        return Ok(address);
    }
    Err("listening elsewhere than on loopback needs authentication, which this version does not \
         have; put a reverse proxy with a login in front of it"
        .to_owned())
}

/// Reads the address of an API.
pub(super) fn base_url(text: &str) -> Result<String, String> {
    let expected = || "expected a URL such as https://api.replicate.com/v1".to_owned();
    let has_query = text.parse().is_ok_and(|uri: http::Uri| uri.query().is_some());
    if is_http_url(text) && !has_query {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err(expected())
    }
}

pub(super) fn existing_file(path: PathBuf) -> Result<PathBuf, String> {
    if path.is_file() { Ok(path) } else { Err("expected a file that exists".to_owned()) }
}
