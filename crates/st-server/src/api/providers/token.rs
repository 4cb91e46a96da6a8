//! The tokens of providers over HTTP.

use st_api::names::ProviderArg;
use st_api::problem::Code;
use st_api::providers::{SetToken, TokenChanged};
use st_store::ProviderName;
use st_workers::TaskId;

use super::find;
use crate::access::TokenError;
use crate::api::Api;
use crate::http::problem::Problem;
use crate::http::route::Call;

pub(crate) async fn set(
    api: Api,
    call: Call<ProviderArg, (), SetToken>,
) -> Result<TokenChanged, Problem> {
    let provider = find(&api, &call.named.0)?;
    let stored = api.access().store_token(&provider, &call.body.api_token).await;
    stored.map_err(problem)?;
    Ok(changed(&api, &provider))
}

pub(crate) async fn delete(api: Api, call: Call<ProviderArg>) -> Result<TokenChanged, Problem> {
    let provider = find(&api, &call.named.0)?;
    api.access().remove_token(&provider).await.map_err(problem)?;
    Ok(changed(&api, &provider))
}

/// What waits for a token need not wait any longer.
fn changed(api: &Api, provider: &ProviderName) -> TokenChanged {
    api.background.probe_provider(provider);
    api.background.activate(TaskId::QueueProcessing);
    api.background.activate(TaskId::JobStatusPolling);
    let token_source = api.access().token_source(provider);
    TokenChanged { success: true, error: None, token_source }
}

fn problem(error: TokenError) -> Problem {
    match error {
        TokenError::NoToken(_) => Problem::new(Code::Conflict, error.to_string()),
        TokenError::Invalid(invalid) => Problem::invalid_field("/api_token", invalid.to_string()),
        TokenError::File(error) => Problem::internal().caused_by(error),
    }
}
