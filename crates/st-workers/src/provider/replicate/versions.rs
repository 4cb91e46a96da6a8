//! The versions of the model that jobs run with.

use std::fmt;

use http::Method;
use serde_json::value::RawValue;
use st_store::ProviderSettings;

use super::Replicate;
use super::classify::{Subject, unreadable};
use super::fields::{pick, read};
use super::profile::Profile;
use super::row::WORD;
use super::version::{InvalidVersion, ModelName, ModelVersion, is_version};
use crate::provider::excerpt::Shape;
use crate::provider::{ListedVersion, QueryError, VersionList};

/// How many versions are shown: a page of the provider's list.
const MOST: usize = 100;

/// Their schemas, which may be large, are left out.
const VERSIONS: Shape = WORD.or_members(&[("results", WORD.or_items(&VERSION, MOST))]);
const VERSION: Shape = WORD.or_members(&[("id", WORD), ("created_at", WORD)]);

/// The model that jobs run, and the version of it that the settings name.
fn model(settings: &ProviderSettings) -> Result<(ModelName, Option<String>), QueryError> {
    let illegal = |name: &str, fault: &dyn fmt::Display| {
        QueryError::trouble(format!("the setting {name} cannot be used: {fault}"))
    };
    if let Some(text) = settings.version_override.as_deref().filter(|it| !it.is_empty()) {
        let version =
            text.parse().map_err(|fault: InvalidVersion| illegal("version_override", &fault))?;
        let ModelVersion::Exact(exact) = version else { return Ok((named(text)?, None)) };
        let Some((model, id)) = exact.split_once(':') else {
            return Err(illegal("version_override", &"it names a version without its model"));
        };
        return Ok((named(model)?, Some(id.to_owned())));
    }
    let profile = settings.hardware_profile.as_deref().filter(|name| !name.is_empty());
    let profile = profile.map_or(Ok(Profile::DEFAULT), str::parse::<Profile>);
    let profile = profile.map_err(|unknown| illegal("hardware_profile", &unknown))?;
    Ok((profile.model(), None))
}

fn named(model: &str) -> Result<ModelName, QueryError> {
    model.parse().map_err(|fault: InvalidVersion| QueryError::trouble(fault.to_string()))
}

/// The versions of the model that jobs run under these settings, the newest first.
pub(super) async fn versions(
    provider: &Replicate,
    settings: &ProviderSettings,
) -> Result<VersionList, QueryError> {
    let (model, named) = model(settings)?;
    let url = provider.address.url(&format!("/models/{model}/versions"));
    let answer = provider.ask(Method::GET, &url, Subject::Model, &VERSIONS).await?;
    let [results] = pick(answer.text(), ["results"]).map_err(unreadable)?;
    let rows: Vec<&RawValue> = results
        .and_then(|results| serde_json::from_str(results.get()).ok())
        .ok_or_else(|| unreadable("its results are not a list"))?;
    let version = |row: &&RawValue| {
        let [id, created_at] = pick(row.get(), ["id", "created_at"]).ok()?;
        let id = read::<String>(id).filter(|id| is_version(id))?;
        Some(ListedVersion { id, created_at: read(created_at) })
    };
    let versions: Vec<ListedVersion> = rows.iter().filter_map(version).collect();
    let current = named.or_else(|| versions.first().map(|version| version.id.clone()));
    let current = current.map(|id| format!("{model}:{id}"));
    Ok(VersionList { versions, current })
}
