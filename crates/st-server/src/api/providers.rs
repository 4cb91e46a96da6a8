//! Providers and their settings over HTTP.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use st_store::{ProviderConfig, ProviderName};
use st_workers::TaskId;
use st_workers::provider::ProviderError;

use super::Api;
use super::body::{Body, Name};
use crate::fields::Fields;
use crate::problem::Problem;

/// The providers that there are, configured or not.
const KNOWN: [(&str, &str, &str); 2] = [
    ("replicate", "Replicate", "trains at replicate.com; needs REPLICATE_API_TOKEN"),
    ("local", "Local", "runs the commands named in the configuration on this machine"),
];

pub(crate) async fn list(State(api): State<Api>) -> Json<Value> {
    let providers: Vec<Value> = KNOWN
        .iter()
        .map(|(id, name, description)| {
            json!({
                "id": id,
                "name": name,
                "description": description,
                "configured": api.providers.get(&ProviderName::new(*id)).is_some(),
            })
        })
        .collect();
    Json(json!({"providers": providers}))
}

fn known(name: &str) -> Result<ProviderName, Problem> {
    if KNOWN.iter().any(|(id, ..)| *id == name) {
        return Ok(ProviderName::new(name));
    }
    let names: Vec<&str> = KNOWN.iter().map(|(id, ..)| *id).collect();
    let names = names.join(", ");
    Err(Problem::not_found(format!("there is no provider {name:?}; there are {names}")))
}

pub(crate) async fn config(
    State(api): State<Api>,
    Name(name): Name,
) -> Result<Json<Value>, Problem> {
    let provider = known(&name)?;
    let config = api.store.provider_config(&provider).await?;
    Ok(Json(json!({"provider": name, "config": config})))
}

pub(crate) async fn set_config(
    State(api): State<Api>,
    Name(name): Name,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let provider = known(&name)?;
    let patch = read_patch(body.fields())?;
    let config = api.store.patch_provider_config(&provider, patch, api.clock.now()).await?;
    // Whether it is polled may depend on what changed.
    api.background.activate(TaskId::JobStatusPolling);
    Ok(Json(json!({"provider": name, "config": config})))
}

/// The settings that may be changed; `null`, and for the webhook URL also an empty text, removes
/// one.
fn read_patch(mut fields: Fields) -> Result<ProviderConfig, Problem> {
    let mut patch = ProviderConfig::new();
    for key in ["version_override", "hardware_profile"] {
        let removed = fields.is_null(key);
        match fields.non_empty_string(key, 300) {
            Some(text) => patch.insert(key.to_owned(), text.into()),
            None if removed => patch.insert(key.to_owned(), Value::Null),
            None => None,
        };
    }
    let removed = fields.is_null("webhook_url");
    match fields.string("webhook_url") {
        Some(url) if url.is_empty() => {
            patch.insert("webhook_url".to_owned(), Value::Null);
        }
        Some(url) if is_http(&url) => {
            patch.insert("webhook_url".to_owned(), url.into());
        }
        Some(_) => {
            fields.fault("webhook_url", "must be an http or https URL, or empty to clear it");
        }
        None if removed => {
            patch.insert("webhook_url".to_owned(), Value::Null);
        }
        None => {}
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
    let provider = known(&name)?;
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
