//! Whether providers are polled, over HTTP.

use st_api::polling::{PollingSet, PollingStatus, SetPolling};
use st_workers::TaskId;
use st_workers::tasks::poller::Decision;

use super::Api;
use crate::http::problem::Problem;
use crate::http::route::Call;

pub(crate) async fn status(api: Api, _call: Call) -> Result<PollingStatus, Problem> {
    let preference = api.store.polling_preference().await?;
    let (is_active, reason) = why(&api, preference).await?;
    let interval_seconds = api.polling().period.as_secs();
    Ok(PollingStatus { is_active, preference, interval_seconds, reason })
}

pub(crate) async fn set(api: Api, call: Call<(), (), SetPolling>) -> Result<PollingSet, Problem> {
    let by = call.caller.actor();
    let enabled = api.store.set_polling_preference(call.body.enabled, &by).await?;
    api.background.activate(TaskId::JobStatusPolling);
    let (is_active, _) = why(&api, enabled).await?;
    Ok(PollingSet { success: true, enabled, is_active })
}

/// Whether any provider is polled at the interval, and why.
async fn why(api: &Api, preference: Option<bool>) -> Result<(bool, String), Problem> {
    let decision = Decision::of(preference, api.polling().enabled);
    Ok(match decision {
        Decision::PreferredOn => (true, "it was switched on over the interface".to_owned()),
        Decision::PreferredOff => (false, "it was switched off over the interface".to_owned()),
        Decision::Enabled => (true, "the configuration enables it".to_owned()),
        Decision::ByWebhook => {
            let mut polled = Vec::new();
            for provider in api.providers.iter() {
                let settings = api.store.provider_settings(provider.name()).await?;
                if decision.reason(settings.webhook_url.as_deref()).is_some() {
                    polled.push(provider.name().to_string());
                }
            }
            if polled.is_empty() {
                (false, "every provider has a webhook URL".to_owned())
            } else {
                (true, format!("there is no webhook URL for {}", polled.join(", ")))
            }
        }
    })
}
