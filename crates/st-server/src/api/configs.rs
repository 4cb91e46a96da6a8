//! The named configurations over HTTP.

use st_api::configs::{CheckConfig, Config, ConfigChecked, ConfigEntry, ConfigName, Configs};
use st_api::input::Fields;
use st_api::jobs::SubmitJob;
use st_api::operation::Input;
use st_store::ProviderName;

use super::Api;
use super::jobs::submit::{configured, named, new_job};
use super::providers::LOCAL;
use crate::http::problem::Problem;
use crate::http::route::Call;

pub(crate) async fn list(api: Api, _call: Call) -> Result<Configs, Problem> {
    let folder = api.config_dir().to_owned();
    let shown = folder.display().to_string();
    let names = st_log::spawn_blocking(move || named::names(&folder)).await;
    let names = names.map_err(|_panic| Problem::internal())?;
    let names = names.map_err(|error| Problem::internal().caused_by(error))?;
    let configs: Vec<ConfigEntry> = names.into_iter().map(|name| ConfigEntry { name }).collect();
    Ok(Configs { count: configs.len() as u64, configs, folder: shown })
}

pub(crate) async fn show(api: Api, call: Call<ConfigName>) -> Result<Config, Problem> {
    let ConfigName(name) = call.named;
    let found = named::load(api.config_dir(), &name, true).await?;
    Ok(Config {
        name: named::stem(&name).to_owned(),
        config: found.config,
        dataloader_config: found.dataloader,
    })
}

/// As a submission would check it, without submitting it.
pub(crate) async fn check(
    api: Api,
    call: Call<ConfigName, (), CheckConfig>,
) -> Result<ConfigChecked, Problem> {
    let Call { caller, named: ConfigName(name), body, .. } = call;
    named::load(api.config_dir(), &name, false).await?;
    let provider = body.provider.map_or_else(|| ProviderName::new(LOCAL.id), ProviderName::new);
    let errors = match configured(&api, &provider) {
        Err(problem) => vec![fault(problem)?],
        Ok(provider) => {
            let request = serde_json::Map::from_iter([(
                "config_name_to_load".to_owned(),
                serde_json::Value::from(name),
            )]);
            let request = SubmitJob::from_fields(Fields::new(request)).map_err(Problem::invalid)?;
            match new_job(&api, &caller, provider.as_ref(), request).await {
                Ok(_new) => Vec::new(),
                Err(problem) => vec![fault(problem)?],
            }
        }
    };
    let valid = errors.is_empty();
    Ok(ConfigChecked { valid, is_valid: valid, errors, warnings: Vec::new() })
}

/// What is wrong with the configuration; a fault of ours is none of its.
fn fault(problem: Problem) -> Result<String, Problem> {
    if problem.is_ours() { Err(problem) } else { Ok(problem.detail().to_owned()) }
}
