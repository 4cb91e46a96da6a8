//! Providers, whether they accept submissions, and their settings over HTTP.

pub(crate) mod cost_limit;
pub(crate) mod token;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Map, Value};
use st_api::input::{FieldFault, is_http_url};
use st_api::names::ProviderArg;
use st_api::problem::Code;
use st_api::providers::{
    Account, Gate as GateView, Incident, Provider as ProviderView, ProviderConfig,
    Providers as ProvidersView, Reached, SetProviderConfig, TokenSource, Tried, UserInfo,
    Validation, Version, Versions,
};
use st_api::schema::Time;
use st_store::{
    AccountId, OutputsSetting, ProviderName, ProviderSettings, ProviderSettingsPatch,
    SettingChange, UnsettledCounts,
};
use st_workers::provider::replicate::{ModelVersion, Profile, UnknownProfile, check_webhook};
use st_workers::provider::{Cause, ListedVersion, QueryError};
use st_workers::{CallKind, GateStatus, TaskId};

use super::Api;
use super::waiting::{closed_since, next_probe};
use crate::http::problem::Problem;
use crate::http::route::Call;

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
    hint: "set REPLICATE_API_TOKEN or store a token to use it; ",
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
fn gate_view(gate: &GateStatus, now: Timestamp) -> GateView {
    GateView {
        open: gate.open,
        state: if gate.open { "open" } else { "closed" }.to_owned(),
        cause: gate.cause.map(|cause| cause.as_str().to_owned()),
        reason: gate.reason.clone(),
        since: closed_since(gate, now).map(Time),
        next_probe: next_probe(gate, now).map(Time),
    }
}

/// The account of a provider, without its credential.
fn account_view(account: &AccountId) -> Account {
    // Behind it are fingerprints of what else the requests are addressed with.
    let base_url = account.base_url().split('?').next().unwrap_or_default();
    Account { base_url: base_url.to_owned(), name: account.name().map(str::to_owned) }
}

/// The configured and the known providers, and those that only their jobs still name: an operator
/// must see that these wait.
pub(crate) async fn list(api: Api, _call: Call) -> Result<ProvidersView, Problem> {
    let unsettled = api.store.unsettled().await?.providers;
    let mut all = names(&api);
    all.extend(api.store.providers_in_use().await?);
    all.extend(unsettled.keys().cloned());
    let gates = api.background.gates();
    // The known ones first, in their order.
    let known: Vec<ProviderName> = KNOWN.iter().map(|it| ProviderName::new(it.id)).collect();
    let others: Vec<ProviderName> = all.into_iter().filter(|name| !known.contains(name)).collect();
    let mut providers = Vec::new();
    for name in known.into_iter().chain(others) {
        let settings = api.store.provider_settings(&name).await?;
        let counts = unsettled.get(&name);
        providers.push(view(&api, &name, &settings, &gates, counts));
    }
    Ok(ProvidersView { providers })
}

fn view(
    api: &Api,
    name: &ProviderName,
    settings: &ProviderSettings,
    gates: &BTreeMap<ProviderName, GateStatus>,
    unsettled: Option<&UnsettledCounts>,
) -> ProviderView {
    let known = KNOWN.iter().find(|known| known.id == name.as_str());
    let configured = api.providers.get(name);
    let account = configured.as_ref().and_then(|provider| provider.account());
    let counted = |count: fn(&UnsettledCounts) -> u64| unsettled.map_or(0, count);
    let described = if configured.is_some() { DESCRIBED } else { "" };
    ProviderView {
        id: name.to_string(),
        name: known.map_or(name.as_str(), |known| known.name).to_owned(),
        description: known.map_or(described, |known| known.description).to_owned(),
        configured: configured.is_some(),
        coming_soon: false,
        max_concurrent: settings.max_concurrent,
        account: account.as_ref().map(account_view),
        gate: gates.get(name).map(|gate| gate_view(gate, api.store.now())),
        strays: counted(|it| it.strays),
        unsettled: counted(|it| it.unresolved),
        rechecks: counted(|it| it.rechecks),
    }
}

/// Tries a provider that is given no submissions now, without waiting for its next try.
pub(crate) async fn retry(api: Api, call: Call<ProviderArg>) -> Result<Tried, Problem> {
    let ProviderArg(provider) = call.named;
    if !api.background.probe_provider(&provider) {
        let in_use = api.store.providers_in_use().await?.contains(&provider);
        if !in_use {
            find(&api, &provider)?;
        }
        let hint = KNOWN.iter().find(|it| it.id == provider.as_str()).map_or("", |it| it.hint);
        let detail =
            format!("provider {provider} is not configured; {hint}there is nothing to try");
        return Err(Problem::new(Code::ProviderNotConfigured, detail));
    }
    let gates = api.background.gates();
    let gate = gates.get(&provider).map(|it| gate_view(it, api.store.now()));
    Ok(Tried { success: true, gate })
}

/// Whether jobs can have this provider, which the request names in this field.
pub(super) fn check_name(api: &Api, field: &str, name: &ProviderName) -> Result<(), Problem> {
    let names = names(api);
    if names.contains(name) {
        return Ok(());
    }
    let names: Vec<&str> = names.iter().map(ProviderName::as_str).collect();
    let message =
        format!("there is no provider {:?}; there are {}", name.as_str(), names.join(", "));
    Err(Problem::invalid_field(field, message))
}

fn find(api: &Api, name: &ProviderName) -> Result<ProviderName, Problem> {
    let names = names(api);
    names.get(name).cloned().ok_or_else(|| {
        let names: Vec<&str> = names.iter().map(ProviderName::as_str).collect();
        let (name, names) = (name.as_str(), names.join(", "));
        Problem::not_found(format!("there is no provider {name:?}; there are {names}"))
    })
}

pub(crate) async fn config(api: Api, call: Call<ProviderArg>) -> Result<ProviderConfig, Problem> {
    let provider = find(&api, &call.named.0)?;
    let settings = api.store.provider_settings(&provider).await?;
    Ok(config_view(&provider, &settings))
}

pub(crate) async fn set_config(
    api: Api,
    call: Call<ProviderArg, (), SetProviderConfig>,
) -> Result<ProviderConfig, Problem> {
    let provider = find(&api, &call.named.0)?;
    let account = api.providers.get(&provider).and_then(|provider| provider.account());
    let base_url = account.as_ref().map_or("", |account| account.base_url());
    let SetProviderConfig(patch) = call.body;
    check(&provider, base_url, &patch)?;
    check_outputs(&api, &patch)?;
    let access = api.access();
    let _turn = access.changing().await;
    let before = api.store.provider_settings(&provider).await?;
    let mut after = before.clone();
    after.apply(patch.clone());
    let client = access.client(&provider, &before, &after).await.map_err(Problem::invalid)?;
    let by = call.caller.actor();
    let settings = api.store.patch_provider_settings(&provider, patch, &by).await?;
    if let Some(client) = client {
        access.set_client(&provider, client);
        api.background.probe_provider(&provider);
    }
    // Whether it is polled may depend on what changed, and how many may be submitted.
    api.background.activate(TaskId::JobStatusPolling);
    api.background.activate(TaskId::QueueProcessing);
    Ok(config_view(&provider, &settings))
}

/// Only settings that are set: clients format the values, and some fail on `null`.
fn config_view(provider: &ProviderName, settings: &ProviderSettings) -> ProviderConfig {
    let set = settings.values().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let config: Map<String, Value> = set.collect();
    ProviderConfig { provider: provider.to_string(), config }
}

/// What is set must be something that can run there. `base_url`: that of the provider's API, empty
/// where the provider is not configured.
fn check(
    provider: &ProviderName,
    base_url: &str,
    patch: &ProviderSettingsPatch,
) -> Result<(), Problem> {
    let mut faults = Vec::new();
    let mut fault = |name: &str, message: String| {
        faults.push(FieldFault { pointer: format!("/{name}"), message });
    };
    if provider.as_str() == REPLICATE.id {
        if let SettingChange::Set(url) = &patch.webhook_url
            && let Err(invalid) = check_webhook(url, base_url)
        {
            fault("webhook_url", invalid.to_string());
        }
        if let SettingChange::Set(version) = &patch.version_override
            && let Err(invalid) = version.parse::<ModelVersion>()
        {
            fault("version_override", format!("{invalid}, found {version:?}"));
        }
        if let SettingChange::Set(profile) = &patch.hardware_profile
            && let Err(unknown) = check_profile(provider, profile)
        {
            fault("hardware_profile", unknown.to_string());
        }
    } else if let SettingChange::Set(url) = &patch.webhook_url
        && !is_http_url(url)
    {
        let message = "must be an http or https URL, or empty to clear it";
        fault("webhook_url", message.to_owned());
    }
    if faults.is_empty() { Ok(()) } else { Err(Problem::invalid(faults)) }
}

/// Outputs are nobody's but the user's, and what is among the kept logs is deleted with them.
fn check_outputs(api: &Api, patch: &ProviderSettingsPatch) -> Result<(), Problem> {
    let SettingChange::Set(OutputsSetting { dir: Some(dir), .. }) = &patch.outputs else {
        return Ok(());
    };
    if api.kept_logs().owns(Path::new(dir)) {
        let message = "must not be in the folder of the kept logs of jobs".to_owned();
        let pointer = "/outputs/dir".to_owned();
        return Err(Problem::invalid(vec![FieldFault { pointer, message }]));
    }
    Ok(())
}

/// Whether a job of this provider can ask for this hardware. Where the hardware decides nothing, it
/// may have any name.
pub(super) fn check_profile(provider: &ProviderName, profile: &str) -> Result<(), UnknownProfile> {
    if provider.as_str() != REPLICATE.id {
        return Ok(());
    }
    profile.parse::<Profile>().map(drop)
}

pub(crate) async fn validate(api: Api, call: Call<ProviderArg>) -> Result<Validation, Problem> {
    let name = find(&api, &call.named.0)?;
    let refused = |error: String| Validation { valid: false, user_info: None, error: Some(error) };
    let token_source = api.access().token_source(&name);
    let Some(provider) = api.providers.get(&name) else {
        return Ok(refused(not_configured(&name)));
    };
    let asked = provider.validate();
    match api.background.measure(&name, CallKind::CredentialTest, asked).await {
        Ok(account) => {
            let user_info = UserInfo { valid: true, username: account.username, token_source };
            Ok(Validation { valid: true, user_info: Some(user_info), error: None })
        }
        Err(QueryError::Unavailable(refusal)) if refusal.cause == Cause::Credentials => {
            let source = match token_source {
                Some(TokenSource::Stored) => " (the stored token)",
                Some(TokenSource::Environment) => " (the token of the environment)",
                None => "",
            };
            Ok(refused(format!("{}{source}", refusal.chain())))
        }
        Err(error @ (QueryError::Unavailable(_) | QueryError::NotFound)) => {
            Err(Problem::provider(st_log::Chain(&error).to_string()))
        }
    }
}

fn not_configured(name: &ProviderName) -> String {
    let hint = KNOWN.iter().find(|it| it.id == name.as_str()).map_or("", |it| it.hint);
    let hint = hint.trim_end_matches("; ");
    let hint = if hint.is_empty() { String::new() } else { format!("; {hint}") };
    format!("provider {name} is not configured{hint}")
}

/// Asks for our account, which has no effect.
pub(crate) async fn replicate_status(api: Api, _call: Call) -> Result<Reached, Problem> {
    let name = ProviderName::new(REPLICATE.id);
    let none = || Reached {
        operational: false,
        ongoing_incidents: Vec::new(),
        in_progress_maintenances: Vec::new(),
        scheduled_maintenances: Vec::new(),
        error: None,
    };
    let Some(provider) = api.providers.get(&name) else {
        return Ok(Reached { error: Some(not_configured(&name)), ..none() });
    };
    let asked = provider.validate();
    Ok(match api.background.measure(&name, CallKind::Account, asked).await {
        Ok(_account) => Reached { operational: true, ..none() },
        Err(error) => {
            let name = st_log::Chain(&error).to_string();
            Reached { ongoing_incidents: vec![Incident { name }], ..none() }
        }
    })
}

pub(crate) async fn versions(api: Api, call: Call<ProviderArg>) -> Result<Versions, Problem> {
    let name = find(&api, &call.named.0)?;
    let failed = |error: String| Versions {
        versions: Vec::new(),
        current_version: None,
        error: Some(error),
    };
    let Some(provider) = api.providers.get(&name) else { return Ok(failed(not_configured(&name))) };
    let settings = api.store.provider_settings(&name).await?;
    let asked = provider.versions(&settings);
    Ok(match api.background.measure(&name, CallKind::Versions, asked).await {
        Ok(list) => {
            let version = |it: ListedVersion| Version { id: it.id, created_at: it.created_at };
            let versions = list.versions.into_iter().map(version).collect();
            Versions { versions, current_version: list.current, error: None }
        }
        Err(error) => failed(st_log::Chain(&error).to_string()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use st_api::input::Fields;
    use st_api::operation::Input;
    use st_api::providers::MAX_TEXT;

    use super::*;

    fn read(body: &Value) -> Result<ProviderSettingsPatch, Problem> {
        read_of("replicate", body)
    }

    fn read_of(provider: &str, body: &Value) -> Result<ProviderSettingsPatch, Problem> {
        let fields = Fields::new(body.as_object().unwrap().clone());
        let SetProviderConfig(patch) =
            SetProviderConfig::from_fields(fields).map_err(Problem::invalid)?;
        check(&ProviderName::new(provider), "https://api.replicate.com/v1", &patch)?;
        Ok(patch)
    }

    #[test]
    fn settings_are_set_cleared_and_kept() {
        let patch = read(&json!({"webhook_url": "", "version_override": null})).unwrap();
        let expected = ProviderSettingsPatch {
            webhook_url: SettingChange::Clear,
            version_override: SettingChange::Clear,
            ..ProviderSettingsPatch::default()
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
        let SetProviderConfig(patch) = SetProviderConfig::from_fields(fields).unwrap();
        check(&ProviderName::new("replicate"), "http://127.0.0.1:9/v1", &patch).unwrap();
        assert_eq!(patch.webhook_url, expected);
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
            assert!(refused.contains(&format!("pointer: Some({pointer:?})")), "{refused}");
        }
    }
}
