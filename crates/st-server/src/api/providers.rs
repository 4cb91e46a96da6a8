//! Providers, whether they accept submissions, and their settings over HTTP.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};
use st_store::{
    AccountId, MOST_PROVIDER_SLOTS, MOST_RUNTIME_MINUTES, ProviderName, ProviderSettings,
    ProviderSettingsPatch, SettingChange, UnsettledCounts,
};
use st_workers::provider::replicate::{ModelVersion, Profile, UnknownProfile, check_webhook};
use st_workers::provider::{Cause, QueryError};
use st_workers::{ClosedBy, GateStatus, TaskId};

use super::waiting::{closed_since, next_probe};
use super::{Api, Caller, Time};
use crate::http::extract::{Body, Name};
use crate::http::problem::Problem;
use st_api::input::{Fields, is_http_url};

/// The longest text of a setting, in bytes.
const MAX_TEXT: usize = 2000;

/// A provider that this program can run jobs at, configured or not.
#[derive(Debug)]
pub(crate) struct KnownProvider {
    /// Its name in requests, in the store and in the log.
    pub(crate) id: &'static str,
    name: &'static str,
    description: &'static str,
    /// What to do where it is not configured; empty where it always is.
    pub(crate) hint: &'static str,
}

pub(crate) const REPLICATE: KnownProvider = KnownProvider {
    id: "replicate",
    name: "Replicate",
    description: "trains at replicate.com; needs REPLICATE_API_TOKEN",
    hint: "set REPLICATE_API_TOKEN to use it; ",
};

pub(crate) const LOCAL: KnownProvider = KnownProvider {
    id: "local",
    name: "Local",
    description: "runs the commands named in the configuration on this machine",
    hint: "",
};

/// Of a provider that is none of these.
const DESCRIBED: &str = "described in the configuration";

pub(crate) const KNOWN: [KnownProvider; 2] = [REPLICATE, LOCAL];

/// The names of all providers that jobs can have: those that are configured, and those that this
/// program still stores jobs of, because their jobs stay when their configuration goes.
pub(super) fn names(api: &Api) -> BTreeSet<ProviderName> {
    let configured = api.providers.iter().map(|provider| provider.name().clone());
    configured.chain(KNOWN.iter().map(|known| ProviderName::new(known.id))).collect()
}

/// Whether a provider accepts submissions, as clients see it.
#[derive(Debug, PartialEq, Serialize)]
struct GateView {
    open: bool,
    /// The same as `open`, as a word.
    state: &'static str,
    /// Why it is closed; `None` while it is open.
    cause: Option<&'static str>,
    /// The same in words.
    reason: Option<String>,
    since: Option<Time>,
    /// When it is tried next; `None` while it is open or being tried.
    next_probe: Option<Time>,
}

impl GateView {
    fn of(gate: &GateStatus, now: Timestamp) -> Self {
        Self {
            open: gate.open,
            state: if gate.open { "open" } else { "closed" },
            cause: gate.cause.map(ClosedBy::as_str),
            reason: gate.reason.clone(),
            since: closed_since(gate, now).map(Time),
            next_probe: next_probe(gate, now).map(Time),
        }
    }
}

/// The account of a provider, without its credential.
fn account_view(account: &AccountId) -> Value {
    // Behind it are fingerprints of what else the requests are addressed with.
    let base_url = account.base_url().split('?').next();
    json!({"base_url": base_url, "name": account.name()})
}

/// The configured and the known providers, and those that only their jobs still name: an operator
/// must see that these wait.
pub(crate) async fn list(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let unsettled = api.store.unsettled().await?.providers;
    let mut all = names(&api);
    all.extend(api.store.providers_in_use().await?);
    all.extend(unsettled.keys().cloned());
    let gates = api.background.gates();
    // The known ones first, in their order.
    let known: Vec<ProviderName> = KNOWN.iter().map(|it| ProviderName::new(it.id)).collect();
    let others = all.iter().filter(|name| !known.contains(name));
    let providers = known.iter().chain(others);
    let providers = providers.map(|name| view(&api, name, &gates, unsettled.get(name)));
    Ok(Json(json!({"providers": providers.collect::<Vec<Value>>()})))
}

fn view(
    api: &Api,
    name: &ProviderName,
    gates: &BTreeMap<ProviderName, GateStatus>,
    unsettled: Option<&UnsettledCounts>,
) -> Value {
    let known = KNOWN.iter().find(|known| known.id == name.as_str());
    let configured = api.providers.get(name);
    let account = configured.as_ref().and_then(|provider| provider.account());
    let counted = |count: fn(&UnsettledCounts) -> u64| unsettled.map_or(0, count);
    json!({
        "id": name.as_str(),
        "name": known.map_or(name.as_str(), |known| known.name),
        "description": known.map_or_else(
            || if configured.is_some() { DESCRIBED } else { "" },
            |known| known.description,
        ),
        "configured": configured.is_some(),
        "account": account.as_ref().map(account_view),
        "gate": gates.get(name).map(|gate| GateView::of(gate, api.store.now())),
        "strays": counted(|it| it.strays),
        "unsettled": counted(|it| it.unresolved),
        "rechecks": counted(|it| it.rechecks),
    })
}

/// Tries a provider that is given no submissions now, without waiting for its next try.
pub(crate) async fn retry(
    State(api): State<Api>,
    Name(name): Name,
) -> Result<Json<Value>, Problem> {
    let provider = ProviderName::new(name.as_str());
    if !api.background.probe_provider(&provider) {
        let in_use = api.store.providers_in_use().await?.contains(&provider);
        if !in_use {
            find(&api, &name)?;
        }
        let hint = KNOWN.iter().find(|it| it.id == name).map_or("", |it| it.hint);
        let detail = format!("provider {name} is not configured; {hint}there is nothing to try");
        return Err(Problem::conflict("provider_not_configured", detail));
    }
    let gate = api.background.gates().get(&provider).map(|it| GateView::of(it, api.store.now()));
    Ok(Json(json!({"success": true, "gate": gate})))
}

fn find(api: &Api, name: &str) -> Result<ProviderName, Problem> {
    let names = names(api);
    names.get(&ProviderName::new(name)).cloned().ok_or_else(|| {
        let names: Vec<&str> = names.iter().map(ProviderName::as_str).collect();
        let names = names.join(", ");
        Problem::not_found(format!("there is no provider {name:?}; there are {names}"))
    })
}

pub(crate) async fn config(
    State(api): State<Api>,
    Name(name): Name,
) -> Result<Json<Value>, Problem> {
    let provider = find(&api, &name)?;
    let settings = api.store.provider_settings(&provider).await?;
    Ok(config_view(&provider, &settings))
}

pub(crate) async fn set_config(
    State(api): State<Api>,
    caller: Caller,
    Name(name): Name,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let provider = find(&api, &name)?;
    let account = api.providers.get(&provider).and_then(|provider| provider.account());
    let base_url = account.as_ref().map_or("", |account| account.base_url());
    let patch = read_patch(&provider, base_url, body.fields())?;
    let by = caller.actor();
    let settings = api.store.patch_provider_settings(&provider, patch, &by).await?;
    // Whether it is polled may depend on what changed, and how many may be submitted.
    api.background.activate(TaskId::JobStatusPolling);
    api.background.activate(TaskId::QueueProcessing);
    Ok(config_view(&provider, &settings))
}

/// Only settings that are set: clients format the values, and some fail on `null`.
fn config_view(provider: &ProviderName, settings: &ProviderSettings) -> Json<Value> {
    let set = settings.entries().filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
    let mut config: Map<String, Value> = set.collect();
    let numbers = [
        ("max_concurrent", settings.max_concurrent),
        ("max_runtime_minutes", settings.max_runtime_minutes),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            config.insert(name.to_owned(), number.into());
        }
    }
    Json(json!({"provider": provider.as_str(), "config": config}))
}

/// The settings of this provider to change. `null` and an empty text clear one. `base_url`: that of
/// its API, empty where the provider is not configured.
fn read_patch(
    provider: &ProviderName,
    base_url: &str,
    mut fields: Fields,
) -> Result<ProviderSettingsPatch, Problem> {
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
    patch.max_concurrent = number(&mut fields, "max_concurrent", MOST_PROVIDER_SLOTS);
    patch.max_runtime_minutes = number(&mut fields, "max_runtime_minutes", MOST_RUNTIME_MINUTES);
    if provider.as_str() == REPLICATE.id {
        check_replicate(&patch, base_url, &mut fields);
    } else if let SettingChange::Set(url) = &patch.webhook_url
        && !is_http_url(url)
    {
        fields.fault("webhook_url", "must be an http or https URL, or empty to clear it");
    }
    fields.finish().map_err(Problem::invalid)?;
    Ok(patch)
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

/// What is set must be something that can run there.
fn check_replicate(patch: &ProviderSettingsPatch, base_url: &str, fields: &mut Fields) {
    if let SettingChange::Set(url) = &patch.webhook_url
        && let Err(invalid) = check_webhook(url, base_url)
    {
        fields.fault("webhook_url", invalid.to_string());
    }
    if let SettingChange::Set(version) = &patch.version_override
        && let Err(invalid) = version.parse::<ModelVersion>()
    {
        fields.fault("version_override", format!("{invalid}, found {version:?}"));
    }
    if let SettingChange::Set(profile) = &patch.hardware_profile
        && let Err(unknown) = check_profile(&ProviderName::new(REPLICATE.id), profile)
    {
        fields.fault("hardware_profile", unknown.to_string());
    }
}

/// Whether a job of this provider can ask for this hardware. Where the hardware decides nothing, it
/// may have any name.
pub(super) fn check_profile(provider: &ProviderName, profile: &str) -> Result<(), UnknownProfile> {
    if provider.as_str() != REPLICATE.id {
        return Ok(());
    }
    profile.parse::<Profile>().map(drop)
}

pub(crate) async fn validate(
    State(api): State<Api>,
    Name(name): Name,
) -> Result<Json<Value>, Problem> {
    let provider = find(&api, &name)?;
    let Some(provider) = api.providers.get(&provider) else {
        let error = format!("provider {name} is not configured");
        return Ok(Json(json!({"valid": false, "user_info": null, "error": error})));
    };
    Ok(Json(match provider.validate().await {
        Ok(account) => {
            let user_info = json!({"valid": true, "username": account.username});
            json!({"valid": true, "user_info": user_info, "error": null})
        }
        Err(QueryError::Unavailable(refusal)) if refusal.cause == Cause::Credentials => {
            json!({"valid": false, "user_info": null, "error": refusal.chain()})
        }
        Err(error @ (QueryError::Unavailable(_) | QueryError::NotFound)) => {
            return Err(Problem::provider(st_log::Chain(&error).to_string()));
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &Value) -> Result<ProviderSettingsPatch, Problem> {
        read_of("replicate", body)
    }

    fn read_of(provider: &str, body: &Value) -> Result<ProviderSettingsPatch, Problem> {
        let fields = Fields::new(body.as_object().unwrap().clone());
        read_patch(&ProviderName::new(provider), "https://api.replicate.com/v1", fields)
    }

    #[test]
    fn settings_are_set_cleared_and_kept() {
        let patch = read(&json!({"webhook_url": "", "version_override": null})).unwrap();
        let expected = ProviderSettingsPatch {
            webhook_url: SettingChange::Clear,
            version_override: SettingChange::Clear,
            hardware_profile: SettingChange::Keep,
            max_concurrent: SettingChange::Keep,
            max_runtime_minutes: SettingChange::Keep,
        };
        assert_eq!(patch, expected);
        let patch = read(&json!({"max_concurrent": 12})).unwrap();
        assert_eq!(patch.max_concurrent, SettingChange::Set(12));
        let patch = read(&json!({"max_concurrent": null})).unwrap();
        assert_eq!(patch.max_concurrent, SettingChange::Clear);
        let patch = read(&json!({"max_runtime_minutes": 90})).unwrap();
        assert_eq!(patch.max_runtime_minutes, SettingChange::Set(90));
        let patch = read(&json!({"webhook_url": "https://a.example/x"})).unwrap();
        assert_eq!(patch.webhook_url, SettingChange::Set("https://a.example/x".to_owned()));
    }

    #[test]
    fn settings_that_are_not_valid_are_refused_by_name() {
        for (body, named) in [
            (json!({"webhook_url": "ftp://a.example"}), "webhook_url: expected an https URL"),
            (json!({"webhook_url": "http://a.example"}), "webhook_url: replicate sends webhooks"),
            (json!({"hardware_profile": "x".repeat(MAX_TEXT + 1)}), "hardware_profile: is longer"),
            (json!({"version_override": 7}), "version_override: expected text"),
            (json!({"max_concurrent": 0}), "max_concurrent: expected a whole number from 1 to"),
            (
                json!({"max_runtime_minutes": 43_201}),
                "max_runtime_minutes: expected a whole number",
            ),
            (
                json!({"version_override": "a/b:<version>"}),
                "version_override: expected owner/model,",
            ),
            (json!({"hardware_profile": "h900-x99"}), "hardware_profile: expected one of h100, h1"),
            (json!({"webhook": "x"}), "webhook: unknown field"),
        ] {
            let problem = read(&body).unwrap_err();
            assert!(problem.detail().starts_with(named), "{}", problem.detail());
        }
    }

    #[test]
    fn a_webhook_of_another_provider_or_of_an_api_for_tests_may_be_unencrypted() {
        let body = json!({"webhook_url": "http://a.example/x"});
        let expected = SettingChange::Set("http://a.example/x".to_owned());
        assert_eq!(read_of("local", &body).unwrap().webhook_url, expected);
        read_of("local", &json!({"webhook_url": "ftp://a.example"})).unwrap_err();
        let fields = Fields::new(body.as_object().unwrap().clone());
        let patch = read_patch(&ProviderName::new("replicate"), "http://127.0.0.1:9/v1", fields);
        assert_eq!(patch.unwrap().webhook_url, expected);
    }

    #[test]
    fn a_version_and_a_profile_are_those_of_the_provider() {
        let id = "f".repeat(64);
        for version in ["a/b", &id, &format!("a/b:{id}")] {
            let patch = read(&json!({"version_override": version, "hardware_profile": "l40s-x2"}));
            let expected = SettingChange::Set(version.to_owned());
            assert_eq!(patch.unwrap().version_override, expected);
        }
        let elsewhere = json!({"hardware_profile": "abacus", "version_override": "2"});
        read_of("local", &elsewhere).unwrap();
        let refused = format!("{:?}", read(&elsewhere).unwrap_err());
        for pointer in ["/hardware_profile", "/version_override"] {
            assert!(refused.contains(&format!("pointer: {pointer:?}")), "{refused}");
        }
    }
}
