//! The price of a job, before it is submitted.

use st_api::jobs::{CostEstimate, EstimateCost, SubmitJob};
use st_store::{Cost, ProviderName, ProviderSettings};

use super::submit::{Assembled, hardware, not_configured, runnable};
use crate::api::providers::{self, REPLICATE};
use crate::api::{Api, metrics};
use crate::http::problem::Problem;
use crate::http::route::Call;

/// Over how many days the mean time of jobs is taken.
const DAYS: u16 = 30;

pub(crate) async fn estimate_cost(
    api: Api,
    call: Call<(), (), EstimateCost>,
) -> Result<CostEstimate, Problem> {
    let asked = call.body;
    let name = asked.provider.clone().unwrap_or_else(|| ProviderName::new(REPLICATE.id));
    let Some(provider) = api.providers.get(&name) else {
        let why = not_configured(&api, &name);
        return if providers::names(&api).contains(&name) {
            Ok(unknown(&name, None, &why))
        } else {
            Err(Problem::invalid_field("/provider", why))
        };
    };
    let settings = api.store.provider_settings(&name).await?;
    let hardware = hardware(&name, asked.hardware_profile.clone(), &settings)?;
    if let Some(mut request) = request(&asked)? {
        let Assembled { input, origin, .. } = Assembled::of(&api, &mut request).await?;
        runnable(provider.as_ref(), &input, &settings, origin.field_of_config())?;
    }
    // Named where it is not asked for: the price that is answered is its.
    let priced_hardware = hardware.clone().or_else(|| provider.default_hardware(&settings));
    let price = match provider.price_per_second(hardware.as_deref(), &settings) {
        Ok(price) => price,
        Err(no_price) => return Ok(unknown(&name, priced_hardware, &no_price.reason)),
    };
    let mean = match asked.duration_seconds {
        Some(_) => None,
        None => metrics::mean_seconds_at(api.store.as_ref(), &name, DAYS).await?,
    };
    let unpriced = unknown(&name, priced_hardware, "");
    Ok(priced(price, (asked.duration_seconds, mean), &settings, unpriced))
}

/// The submission of the configuration, where one is given.
fn request(asked: &EstimateCost) -> Result<Option<SubmitJob>, Problem> {
    let EstimateCost { config, config_name_to_load, dataloader_config, .. } = asked;
    let request = match (config, config_name_to_load) {
        (Some(config), _) => SubmitJob::of(config.clone()),
        (None, Some(name)) => SubmitJob::named(name.as_str()),
        (None, None) => return Ok(None),
    };
    let request = request.map_err(Problem::invalid)?;
    Ok(Some(SubmitJob { dataloader_config: dataloader_config.clone(), ..request }))
}

/// No price, for this reason.
fn unknown(provider: &ProviderName, hardware: Option<String>, why: &str) -> CostEstimate {
    CostEstimate {
        has_estimate: false,
        estimated_cost_usd: None,
        estimated_cost: None,
        avg_duration_seconds: None,
        hardware_cost_per_hour: None,
        data_size_mb: 0.0,
        message: why.to_owned(),
        provider: provider.to_string(),
        hardware_type: hardware,
        duration_seconds: None,
        cost_per_second: None,
    }
}

/// The price of the time that a job is said to run, or else of the mean time.
fn priced(
    price: f64,
    (said, mean): (Option<f64>, Option<f64>),
    settings: &ProviderSettings,
    unpriced: CostEstimate,
) -> CostEstimate {
    let provider = &unpriced.provider;
    let most = settings.max_runtime_minutes.map(|minutes| f64::from(minutes) * 60.0);
    let within = |seconds: f64| most.map_or(seconds, |most| seconds.min(most));
    let duration = said.or(mean).map(within);
    let cost = duration.map(|seconds| Cost::from_usd(seconds * price).to_usd());
    let cut = if said.or(mean) == duration { "" } else { ", cut to max_runtime_minutes" };
    let message = match (said, mean) {
        (Some(_), _) => format!("for the given duration{cut}"),
        (None, Some(_)) => {
            format!(
                "for the mean time of the jobs at {provider} that completed in {DAYS} days{cut}"
            )
        }
        (None, None) => format!(
            "no job at {provider} completed in the last {DAYS} days, so it is not known how long one \
             runs; give duration_seconds"
        ),
    };
    CostEstimate {
        has_estimate: cost.is_some(),
        estimated_cost_usd: cost,
        estimated_cost: cost,
        avg_duration_seconds: mean,
        hardware_cost_per_hour: Some(Cost::from_usd(price * 3600.0).to_usd()),
        message,
        duration_seconds: duration,
        cost_per_second: Some(price),
        ..unpriced
    }
}
