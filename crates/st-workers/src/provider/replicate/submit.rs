//! What is sent to submit a job.

use http::Method;
use serde_json::{Map, Value, json};
use st_http::Request;
use st_store::ProviderSettings;

use super::access::Held;
use super::profile::{Profile, UnknownProfile};
use super::version::{ModelName, ModelVersion};
use super::{MARKER, Replicate, webhook};
use crate::provider::{NoPrice, Submission, SubmitError};

/// Says how long a job may take from its creation on; then the provider ends it.
const CANCEL_AFTER: &str = "cancel-after";
/// What a webhook is sent for: the others come twice a second.
const EVENTS: [&str; 2] = ["start", "completed"];

/// What is wrong with the settings; fits behind a colon.
pub(super) fn fault(settings: &ProviderSettings, base_url: &str) -> Option<String> {
    version_fault(settings).or_else(|| webhook::fault(settings, base_url))
}

/// What is wrong with the setting that names the version; fits behind a colon.
fn version_fault(settings: &ProviderSettings) -> Option<String> {
    let version = version_override(settings)?;
    let fault = version.parse::<ModelVersion>().err()?;
    Some(format!("version_override {version:?} is not legal, {fault}"))
}

fn version_override(settings: &ProviderSettings) -> Option<&str> {
    settings.version_override.as_deref().filter(|version| !version.is_empty())
}

/// The model that runs under these settings a job that asks for this hardware, as [`Replicate::version`]
/// chooses it.
fn model_of(hardware: Option<&str>, settings: &ProviderSettings) -> Result<String, NoPrice> {
    let Some(version) = version_override(settings) else {
        let profile = profile(hardware).map_err(|unknown| NoPrice::new(no_profile(&unknown)))?;
        return Ok(profile.model().to_string());
    };
    match version.parse() {
        Ok(ModelVersion::Latest(model)) => Ok(model.to_string()),
        Ok(ModelVersion::Exact(version)) => match version.split_once(':') {
            Some((model, _)) => Ok(model.to_owned()),
            None => Err(NoPrice::new(format!(
                "version_override {version:?} does not say of which model it is, and so not on what it \
                 runs; set it as owner/model:version"
            ))),
        },
        Err(fault) => {
            Err(NoPrice::new(format!("version_override {version:?} is not legal, {fault}")))
        }
    }
}

/// See [`Provider::default_hardware`](crate::provider::Provider::default_hardware). What is set instead of
/// the default model may run on anything.
pub(super) fn default_hardware(settings: &ProviderSettings) -> Option<String> {
    version_override(settings).is_none().then(|| Profile::DEFAULT.to_string())
}

impl Replicate {
    /// See [`Provider::price_per_second`](crate::provider::Provider::price_per_second).
    pub(super) fn price(
        &self,
        hardware: Option<&str>,
        settings: &ProviderSettings,
    ) -> Result<f64, NoPrice> {
        let model = model_of(hardware, settings)?;
        self.prices.per_second(&model).ok_or_else(|| {
            NoPrice::new(format!(
                "no price of {model} is known; set one in the configuration: providers.replicate.prices"
            ))
        })
    }

    /// The request that submits this job. Asks which version is the latest where that is not known;
    /// when that fails, nothing of the job was sent.
    pub(super) async fn submission(
        &self,
        held: &Held,
        submission: &Submission,
    ) -> Result<Request, SubmitError> {
        let settings = &submission.settings;
        if let Some(reason) = fault(settings, &self.address.base()) {
            return Err(SubmitError::MissingSetting { reason });
        }
        let version = self.version(held, submission).await?;
        let mut body = json!({"version": version, "input": input(submission)});
        if let (Some(webhook), Value::Object(body)) = (webhook::of(submission), &mut body) {
            body.insert("webhook".to_owned(), webhook.into());
            body.insert("webhook_events_filter".to_owned(), json!(EVENTS));
        }
        let request = held.request(Method::POST, &self.address.url("/predictions"))?.json(&body);
        Ok(match settings.max_runtime_minutes {
            Some(minutes) => request.header(CANCEL_AFTER, format!("{minutes}m")),
            None => request,
        })
    }

    /// What is to run: what the settings name, else the latest version of the model that trains on
    /// the hardware that the job asks for.
    async fn version(&self, held: &Held, submission: &Submission) -> Result<String, SubmitError> {
        let settings = &submission.settings;
        let Some(version) = version_override(settings) else {
            let profile = profile(submission.hardware_type.as_deref());
            let rejected = |unknown| SubmitError::Rejected { reason: no_profile(&unknown) };
            let model = profile.map_err(rejected)?.model();
            let version = held.latest.of(self, &model).await?;
            return version.map(|id| exact(&model, &id)).ok_or_else(|| {
                let reason = format!(
                    "replicate shows no version of {model}; set version_override to another model"
                );
                SubmitError::MissingSetting { reason }
            });
        };
        match version.parse() {
            Ok(ModelVersion::Exact(version)) => Ok(version),
            Ok(ModelVersion::Latest(model)) => {
                let version = held.latest.of(self, &model).await?;
                // An official model is run by its name and may show no versions.
                Ok(version.map_or_else(|| model.to_string(), |id| exact(&model, &id)))
            }
            Err(fault) => {
                let reason = format!("version_override {version:?} is not legal, {fault}");
                Err(SubmitError::MissingSetting { reason })
            }
        }
    }
}

fn exact(model: &ModelName, id: &str) -> String {
    format!("{model}:{id}")
}

/// The hardware that a job gets which asks for this.
fn profile(hardware: Option<&str>) -> Result<Profile, UnknownProfile> {
    hardware.filter(|name| !name.is_empty()).map_or(Ok(Profile::DEFAULT), str::parse)
}

fn no_profile(unknown: &UnknownProfile) -> String {
    format!("replicate has no such hardware profile: {unknown}")
}

/// What the trainer gets: its configuration as text, and the marker.
fn input(submission: &Submission) -> Map<String, Value> {
    let mut input = Map::new();
    let names = [
        ("config", "config_json"),
        ("dataloader_config", "dataloader_json"),
        ("lycoris_config", "lycoris_config"),
    ];
    for (ours, theirs) in names {
        if let Some(value) = submission.input.get(ours).filter(|value| !value.is_null()) {
            input.insert(theirs.to_owned(), value.to_string().into());
        }
    }
    if let Some(Value::String(url)) = submission.input.get("webhook_url") {
        // The trainer's own reports, in the form of its configuration.
        let config = json!({"webhook_type": "raw", "callback_url": url, "log_level": "info"});
        input.insert("webhook_config".to_owned(), config.to_string().into());
    }
    input.insert(MARKER.to_owned(), submission.marker.to_string().into());
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_that_is_priced_is_the_one_that_runs() {
        let id = "0123456789abcdef".repeat(4);
        let under = |version: Option<&str>| ProviderSettings {
            version_override: version.map(str::to_owned),
            ..ProviderSettings::default()
        };
        let (named, exact) = ("someone/flux", format!("someone/flux:{id}"));
        for (hardware, version, model) in [
            (None, None, "simpletuner/advanced-trainer-h100"),
            (Some(""), Some(""), "simpletuner/advanced-trainer-h100"),
            (Some("l40s-x2"), None, "simpletuner/advanced-trainer-l40s-x2"),
            (Some("l40s-x2"), Some(named), named),
            (None, Some(exact.as_str()), named),
        ] {
            assert_eq!(model_of(hardware, &under(version)).as_deref(), Ok(model), "{version:?}");
        }
        for (hardware, version, why) in [
            (Some("h900"), None, "no such hardware profile"),
            (None, Some(id.as_str()), "does not say of which model it is"),
            (None, Some("x"), "is not legal"),
        ] {
            let said = model_of(hardware, &under(version)).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
    }
}
