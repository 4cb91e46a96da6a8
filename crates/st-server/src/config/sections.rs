//! What each section of the configuration may say.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use st_store::{LONGEST_HTTP_TIMEOUT, ProviderEnding, ProviderName};
use st_workers::BackgroundConfig;
use st_workers::provider::WebhookSecret;
use st_workers::provider::replicate::{ApiToken, CallLimits, Priced, Prices, ReplicateConfig};

use super::local::LocalSettings;
use super::outputs::OutputsSection;
use super::providers::{self, DescribedProvider};
use super::server::Server;
use super::webhooks::WebhooksSettings;
use st_api::input::{ANY_NAME, Fields, is_http_url, quoted};
use st_http::HttpVersions;

/// The provider's public address.
const REPLICATE: &str = "https://api.replicate.com/v1";
/// The longest that a call to a provider may take; the lease of a claim counts on it.
const LONGEST_CALL: Duration = LONGEST_HTTP_TIMEOUT;
const DAY_SECONDS: i64 = 86_400;
/// The queue's interval, which is fixed.
const QUEUE_SECONDS: i64 = 5;
/// The longest retention of finished jobs, in days; 0 disables their deletion.
const MOST_DAYS: i64 = 36_500;
/// US dollars for a second: more is a slip of the decimal point.
const MOST_PER_SECOND: f64 = 100.0;
/// The longest path, in bytes.
const LONGEST_PATH: usize = 4096;

/// What the values are read beside.
#[derive(Debug)]
pub(super) struct Surroundings<'e> {
    /// The home directory, which a leading `~/` is.
    pub(super) home: Option<PathBuf>,
    /// Where described providers have their credentials.
    pub(super) environment: &'e BTreeMap<String, String>,
}

impl Surroundings<'_> {
    /// A path, of which a leading `~/` is the home directory.
    pub(super) fn path(&self, fields: &mut Fields, key: &str) -> Option<PathBuf> {
        let text = fields.non_empty_string(key, LONGEST_PATH)?;
        match (text.strip_prefix("~/"), &self.home) {
            (Some(below), Some(home)) => Some(home.join(below)),
            (Some(_), None) => {
                fields.fault(key, "begins with ~/, and HOME is not set");
                None
            }
            (None, _) => Some(PathBuf::from(text)),
        }
    }
}

/// All sections, read.
#[derive(Debug)]
pub(super) struct Sections {
    pub(super) server: Server,
    pub(super) log: st_log::Settings,
    pub(super) background: BackgroundConfig,
    pub(super) http: st_http::Config,
    pub(super) outputs: OutputsSection,
    pub(super) webhooks: WebhooksSettings,
    pub(super) replicate: ReplicateConfig,
    pub(super) local: LocalSettings,
    pub(super) described: BTreeMap<ProviderName, DescribedProvider>,
}

impl Sections {
    pub(super) fn read(fields: &mut Fields, around: &Surroundings<'_>) -> Self {
        let mut all = Self {
            server: Server::default(),
            log: st_log::Settings { log_panics: true, ..st_log::Settings::default() },
            background: BackgroundConfig::default(),
            http: st_http::Config {
                overall_timeout: LONGEST_CALL,
                // How late a submission can arrive after its call is what proves that one did not.
                http_versions: HttpVersions::Http1,
                ..st_http::Config::default()
            },
            outputs: OutputsSection::default(),
            webhooks: WebhooksSettings::default(),
            replicate: ReplicateConfig {
                base_url: REPLICATE.to_owned(),
                api_token: None,
                limits: CallLimits::default(),
                prices: Prices::default(),
                retry_on: BTreeSet::new(),
                webhook_secrets: Vec::new(),
            },
            local: LocalSettings::default(),
            described: BTreeMap::new(),
        };
        fields.section("server", |fields| all.server.read(fields, around));
        fields.section("logging", |fields| logging(&mut all.log, fields, around));
        fields.section("background", |fields| background(&mut all.background, fields));
        fields.section("http", |fields| http(&mut all.http, fields, around));
        let outputs = fields.section("outputs", |fields| OutputsSection::read(fields, around));
        all.outputs = outputs.unwrap_or_default();
        all.webhooks = fields.section("webhooks", WebhooksSettings::read).unwrap_or_default();
        fields.section("providers", |fields| {
            if let Some(read) = fields.section("replicate", replicate) {
                all.replicate = read;
            }
            let local = fields.section("local", |fields| LocalSettings::read(fields, around));
            all.local = local.unwrap_or_default();
            all.described = providers::read(fields, around.environment);
        });
        all
    }
}

fn logging(log: &mut st_log::Settings, fields: &mut Fields, around: &Surroundings<'_>) {
    fn set<T>(setting: &mut T, given: Option<T>) {
        if let Some(given) = given {
            *setting = given;
        }
    }
    set(&mut log.level, fields.word("level"));
    set(&mut log.format, fields.word("format"));
    log.file = around.path(fields, "file");
    set(&mut log.trace_context, fields.boolean("trace_context"));
    set(&mut log.include_stack_info, fields.boolean("include_stack_info"));
    let named = fields.strings("redact").unwrap_or_default();
    log.redaction = std::mem::take(&mut log.redaction).with(named);
}

fn background(background: &mut BackgroundConfig, fields: &mut Fields) {
    fields.section("job_status_polling", |fields| {
        let polling = &mut background.polling;
        polling.enabled = fields.boolean("enabled").unwrap_or(polling.enabled);
        let period = seconds(fields, "interval_seconds", DAY_SECONDS);
        polling.period = period.unwrap_or(polling.period);
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
    fields.section("approval_expiration", |fields| {
        let period = seconds(fields, "interval_seconds", DAY_SECONDS);
        background.approval_check = period.unwrap_or(background.approval_check);
    });
    fields.section("job_retention", |fields| match fields.integer("days", 0..=MOST_DAYS) {
        None => {}
        Some(0) => background.keep_jobs_for = None,
        Some(days) => background.keep_jobs_for = Some(SignedDuration::from_hours(24 * days)),
    });
}

/// How providers are called.
fn http(http: &mut st_http::Config, fields: &mut Fields, around: &Surroundings<'_>) {
    let longest = i64::try_from(LONGEST_CALL.as_secs()).unwrap_or(i64::MAX);
    if let Some(timeout) = seconds(fields, "timeout_seconds", longest) {
        http.overall_timeout = timeout;
        http.attempt_timeout = http.attempt_timeout.min(timeout);
    }
    http.tls_verify = fields.boolean("ssl_verify").unwrap_or(http.tls_verify);
    http.ca_bundle = around.path(fields, "ca_bundle").and_then(|path| {
        let found = existing_file(path);
        found.map_err(|message| fields.fault("ca_bundle", message)).ok()
    });
    let proxy = |text: &str| st_http::Proxy::parse(text).map_err(|error| error.to_string());
    let https = secret(fields, "https_proxy", proxy);
    let plain = secret(fields, "http_proxy", proxy);
    let excepted = fields.string("no_proxy").unwrap_or_default();
    http.proxies = st_http::Proxies::new(https, plain, &excepted);
}

fn replicate(fields: &mut Fields) -> ReplicateConfig {
    let api_token = secret(fields, "api_token", |text| {
        ApiToken::parse(text).map_err(|error| error.to_string())
    });
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
    let retry_on = endings(fields);
    let webhook_secrets = secret(fields, "webhook_secret", webhook_secrets).unwrap_or_default();
    ReplicateConfig {
        base_url: base_url.unwrap_or_else(|| REPLICATE.to_owned()),
        api_token,
        limits,
        prices: Prices::default().with(prices),
        retry_on,
        webhook_secrets,
    }
}

/// Secrets of webhooks with spaces or line breaks between them: two of them while one is replaced.
fn webhook_secrets(text: &str) -> Result<Vec<WebhookSecret>, String> {
    let secrets = text.split_whitespace().map(WebhookSecret::parse).collect::<Result<_, _>>();
    secrets.map_err(|error| error.to_string())
}

/// US dollars for a second, by profile or model.
fn prices(fields: &mut Fields) -> Vec<(Priced, f64)> {
    let prices = fields.each(|fields, name| {
        let price = fields.number(name, 0.0..=MOST_PER_SECOND);
        if name == ANY_NAME {
            return None;
        }
        match name.parse::<Priced>() {
            Ok(of) => Some((of, price?)),
            Err(unknown) => {
                fields.fault(name, unknown.to_string());
                None
            }
        }
    });
    prices.into_values().collect()
}

/// Which of the jobs that the provider ended by itself run once more.
fn endings(fields: &mut Fields) -> BTreeSet<ProviderEnding> {
    fields.choices("retry_on").unwrap_or_default().into_iter().collect()
}

fn seconds(fields: &mut Fields, key: &str, longest: i64) -> Option<Duration> {
    let seconds = fields.integer(key, 1..=longest)?;
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

/// Text that must pass `check`, which says what is legal.
pub(super) fn checked<T>(
    fields: &mut Fields,
    key: &str,
    check: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    let text = fields.non_empty_string(key, LONGEST_PATH)?;
    match check(&text) {
        Ok(value) => Some(value),
        Err(legal) => {
            fields.fault(key, format!("invalid value {}: {legal}", quoted(&text)));
            None
        }
    }
}

/// The same for a secret: the value is in no message.
fn secret<T>(
    fields: &mut Fields,
    key: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    let text = fields.non_empty_string(key, 64 * 1024)?;
    parse(&text).map_err(|legal| fields.fault(key, legal)).ok()
}

/// Reads the address of an API.
fn base_url(text: &str) -> Result<String, String> {
    let has_more = text.parse().is_ok_and(|uri: http::Uri| {
        let authority = uri.authority().map(http::uri::Authority::as_str);
        uri.query().is_some() || authority.is_some_and(|authority| authority.contains('@'))
    });
    if is_http_url(text) && !has_more {
        return Ok(text.trim_end_matches('/').to_owned());
    }
    let legal = "expected a URL such as https://api.replicate.com/v1, without user name and query";
    Err(legal.to_owned())
}

pub(super) fn existing_file(path: PathBuf) -> Result<PathBuf, String> {
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!("expected a file that exists, found {}", Path::new(&path).display()))
    }
}
