//! Providers and their settings over HTTP.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};
use st_store::{ProviderName, ProviderSettings, ProviderSettingsPatch, SettingChange};
use st_workers::TaskId;
use st_workers::provider::ProviderError;

use super::body::{Body, Name};
use super::{Api, Caller};
use crate::fields::Fields;
use crate::problem::Problem;

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

pub(crate) const KNOWN: [KnownProvider; 2] = [REPLICATE, LOCAL];

/// The names of all providers that jobs can have: those that are configured, and those that this
/// program still stores jobs of, because their jobs stay when their configuration goes.
pub(super) fn names(api: &Api) -> BTreeSet<ProviderName> {
    let configured = api.providers.iter().map(|provider| provider.name().clone());
    configured.chain(KNOWN.iter().map(|known| ProviderName::new(known.id))).collect()
}

pub(crate) async fn list(State(api): State<Api>) -> Json<Value> {
    let others = names(&api);
    let others = others.iter().filter(|name| !KNOWN.iter().any(|known| known.id == name.as_str()));
    let known = KNOWN.iter().map(|known| (known.id, known.name, known.description));
    let providers: Vec<Value> = known
        .chain(others.map(|name| (name.as_str(), name.as_str(), "")))
        .map(|(id, name, description)| {
            json!({
                "id": id,
                "name": name,
                "description": description,
                "configured": api.providers.get(&ProviderName::new(id)).is_some(),
            })
        })
        .collect();
    Json(json!({"providers": providers}))
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
    let patch = read_patch(body.fields())?;
    let by = caller.actor();
    let settings = api.store.patch_provider_settings(&provider, patch, &by).await?;
    // Whether it is polled may depend on what changed.
    api.background.activate(TaskId::JobStatusPolling);
    Ok(config_view(&provider, &settings))
}

/// Only settings that are set: clients format the values, and some fail on `null`.
fn config_view(provider: &ProviderName, settings: &ProviderSettings) -> Json<Value> {
    let set = settings.entries().filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
    let config: Map<String, Value> = set.collect();
    Json(json!({"provider": provider.as_str(), "config": config}))
}

/// The settings to change. `null` and an empty text clear one.
fn read_patch(mut fields: Fields) -> Result<ProviderSettingsPatch, Problem> {
    let mut patch = ProviderSettingsPatch::default();
    for name in ProviderSettings::NAMES {
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
    if let SettingChange::Set(url) = &patch.webhook_url
        && !is_http(url)
    {
        fields.fault("webhook_url", "must be an http or https URL, or empty to clear it");
    }
    fields.finish().map_err(Problem::invalid)?;
    Ok(patch)
}

fn is_http(url: &str) -> bool {
    url.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|it| !it.is_empty())
    })
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
        Err(error @ ProviderError::Unauthorized { .. }) => {
            json!({"valid": false, "user_info": null, "error": error.to_string()})
        }
        Err(error) => return Err(Problem::provider(st_log::Chain(&error).to_string())),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &Value) -> Result<ProviderSettingsPatch, Problem> {
        read_patch(Fields::new(body.as_object().unwrap().clone()))
    }

    #[test]
    fn settings_are_set_cleared_and_kept() {
        let patch = read(&json!({"webhook_url": "", "version_override": null})).unwrap();
        let expected = ProviderSettingsPatch {
            webhook_url: SettingChange::Clear,
            version_override: SettingChange::Clear,
            hardware_profile: SettingChange::Keep,
        };
        assert_eq!(patch, expected);
        let patch = read(&json!({"webhook_url": "https://a.example/x"})).unwrap();
        assert_eq!(patch.webhook_url, SettingChange::Set("https://a.example/x".to_owned()));
    }

    #[test]
    fn settings_that_are_not_valid_are_refused_by_name() {
        for (body, named) in [
            (json!({"webhook_url": "ftp://a.example"}), "webhook_url: must be an http"),
            (json!({"hardware_profile": "x".repeat(MAX_TEXT + 1)}), "hardware_profile: is longer"),
            (json!({"version_override": 7}), "version_override: expected text"),
            (json!({"webhook": "x"}), "webhook: unknown field"),
        ] {
            let problem = read(&body).unwrap_err();
            assert!(problem.detail().starts_with(named), "{}", problem.detail());
        }
    }
}
