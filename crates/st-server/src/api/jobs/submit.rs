//! Submitting a job.

mod assembled;
mod digest;
pub(in crate::api) mod named;

use http::HeaderMap;
use serde_json::{Map, Value};
use st_api::jobs::{SubmitJob, SubmitQuery, Submitted as SubmittedView};
use st_api::problem::Code;
use st_log::{Logger, get_logger};
use st_store::{
    Approval, Exceeded, Idempotency, NewJob, ProviderName, ProviderSettings, QueueStatus,
    ScopeLevel, Submitted,
};
use st_workers::provider::Provider;

use crate::api::providers::{KNOWN, REPLICATE, check_profile};
use crate::api::{Api, Caller};
use crate::auth::access;
use crate::http::problem::Problem;
use crate::http::route::Call;
pub(in crate::api) use assembled::Assembled;

const LOG: Logger = get_logger("simpletuner.cloud.jobs");

/// The longest idempotency key, in bytes.
const MAX_KEY: usize = 200;

pub(crate) async fn submit(
    api: Api,
    call: Call<(), SubmitQuery, SubmitJob>,
) -> Result<SubmittedView, Problem> {
    let Call { caller, query, body: mut request, headers, .. } = call;
    let provider = query.provider.unwrap_or_else(|| ProviderName::new(REPLICATE.id));
    let in_body = request.idempotency_key.take();
    let idempotency = idempotency(&headers, in_body, (&provider, &request.raw))?;
    if let Some(earlier) = submitted_before(&api, &caller, idempotency.as_ref()).await? {
        return Ok(accepted(&caller, earlier));
    }
    let provider = configured(&api, &provider)?;
    if request.priority.is_some() {
        access::may_set_priority(&caller)?;
    }
    let new = new_job(&api, &caller, provider.as_ref(), request).await?;
    let new = NewJob { idempotency, ..new };
    let id = new.id;
    let submitted = api.store.submit(new).await;
    let submitted = submitted.map_err(|error| Problem::of_submission(error, id))?;
    Ok(accepted(&caller, submitted))
}

fn accepted(caller: &Caller, submitted: Submitted) -> SubmittedView {
    caller.about(submitted.record.id());
    log_submitted(&submitted);
    answer(submitted)
}

/// What an earlier submission with the same key made. It is looked for before anything else is checked: the
/// files that it named may be gone since, and its settings changed.
pub(in crate::api) async fn submitted_before(
    api: &Api,
    caller: &Caller,
    idempotency: Option<&Idempotency>,
) -> Result<Option<Submitted>, Problem> {
    let Some(idempotency) = idempotency else { return Ok(None) };
    let found = api.store.submitted_before(&caller.user, idempotency).await?;
    let Some(record) = found else { return Ok(None) };
    let position = if record.queue_status() == QueueStatus::Pending {
        // The job is there whatever else cannot be read.
        let standings = api.store.standings(&[record.id()]).await.unwrap_or_default();
        standings.of.first().copied().flatten().map(|it| it.position)
    } else {
        None
    };
    Ok(Some(Submitted { record, repeated: true, warnings: Vec::new(), position }))
}

pub(in crate::api) fn configured(
    api: &Api,
    name: &ProviderName,
) -> Result<std::sync::Arc<dyn Provider>, Problem> {
    let missing = || Problem::invalid_parameter("provider", not_configured(api, name));
    api.providers.get(name).ok_or_else(missing)
}

/// That a provider is not configured, what to do about it, and which are.
pub(in crate::api) fn not_configured(api: &Api, name: &ProviderName) -> String {
    let known: Vec<&str> = api.providers.iter().map(|it| it.name().as_str()).collect();
    let hint = KNOWN.iter().find(|it| it.id == name.as_str()).map_or("", |it| it.hint);
    format!("{:?} is not configured; {hint}configured are: {}", name.as_str(), known.join(", "))
}

/// The key by which a repetition is recognised: that of the header, else that of the body. `asked`: what
/// was asked of which provider, as it came.
pub(in crate::api) fn idempotency(
    headers: &HeaderMap,
    in_body: Option<String>,
    (provider, asked): (&ProviderName, &Map<String, Value>),
) -> Result<Option<Idempotency>, Problem> {
    let key = idempotency_key(headers)?.or(in_body);
    Ok(key.map(|key| Idempotency { key, digest: digest::of(provider, asked) }))
}

/// The `Idempotency-Key` header.
pub(in crate::api) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    match value.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= MAX_KEY => Ok(Some(key.to_owned())),
        Ok(_) | Err(_) => Err(Problem::new(
            Code::BadIdempotencyKey,
            format!("Idempotency-Key must be 1 to {MAX_KEY} printable ASCII characters"),
        )),
    }
}

pub(in crate::api) async fn new_job(
    api: &Api,
    caller: &Caller,
    provider: &dyn Provider,
    mut request: SubmitJob,
) -> Result<NewJob, Problem> {
    let Assembled { input, config_name, origin } = Assembled::of(api, &mut request).await?;
    let settings = api.store.provider_settings(provider.name()).await?;
    let hardware_type = hardware(provider.name(), request.hardware_profile, &settings)?;
    runnable(provider, &input, &settings, origin.field_of_config())?;
    let place = (provider.job_type(), provider.name().clone());
    let owner = access::owner(caller, request.team_id, request.org_id)?;
    let correlation_id = st_log::get_correlation_id();
    Ok(NewJob {
        config_name,
        priority_override: request.priority,
        estimated_cost: request.estimated_cost,
        max_attempts: request.max_attempts,
        hardware_type,
        metadata: request.metadata,
        run_after: request.run_after,
        input,
        ..NewJob::new(api.new_job_id(), place, owner, caller.role, correlation_id)
    })
}

/// Refuses an input that cannot run at its provider as that is set up now. `field`: where the input
/// came from.
pub(in crate::api) fn runnable(
    provider: &dyn Provider,
    input: &Value,
    settings: &ProviderSettings,
    field: &str,
) -> Result<(), Problem> {
    if let Some(missing) = provider.missing(settings) {
        return Err(Problem::new(Code::MissingSetting, missing));
    }
    let checked = provider.check(input, settings);
    checked.map_err(|message| Problem::invalid_field(field, message))
}

/// The same for an input that is stored.
pub(super) async fn check_runnable(
    api: &Api,
    provider: &dyn Provider,
    input: &Value,
    field: &str,
) -> Result<(), Problem> {
    let settings = api.store.provider_settings(provider.name()).await?;
    runnable(provider, input, &settings, field)
}

/// The hardware that a job asks for, by the request, else by the provider's settings.
pub(in crate::api) fn hardware(
    provider: &ProviderName,
    asked: Option<String>,
    settings: &ProviderSettings,
) -> Result<Option<String>, Problem> {
    if let Some(profile) = &asked {
        check_profile(provider, profile)
            .map_err(|unknown| Problem::invalid_field("/hardware_profile", unknown.to_string()))?;
        return Ok(asked);
    }
    if let Some(profile) = &settings.hardware_profile {
        // An earlier version stored what it did not check.
        check_profile(provider, profile).map_err(|unknown| {
            let detail = format!(
                "the setting hardware_profile of provider {provider} cannot be used: {unknown}; set \
                 another (PUT /api/cloud/providers/{provider}/config) or submit with one"
            );
            Problem::new(Code::MissingSetting, detail)
        })?;
    }
    Ok(settings.hardware_profile.clone())
}

/// Under the request's own ID: that of a repeated submission is not its job's.
pub(in crate::api) fn log_submitted(submitted: &Submitted) {
    let Submitted { record, repeated, warnings, position: _ } = submitted;
    let context = record.log_context().field("user_id", record.job().owner.user.as_str());
    let _in_context = context.enter();
    if *repeated {
        st_log::info!(logger: LOG, "Job had been submitted before under the same key");
        return;
    }
    st_log::info!(
        logger: LOG,
        config_name = record.job().config_name.as_deref(),
        cost_estimate = record.entry().estimated_cost,
        priority = record.entry().effective_priority().get(),
        "Job submitted successfully"
    );
    for exceeded in warnings {
        st_log::warning!(
            logger: LOG, budget_id = exceeded.budget.budget.id.0, budget = exceeded.to_string(),
            "Job exceeds a budget that only warns"
        );
    }
    if let Some(Approval::Open(request)) = record.approval() {
        st_log::info!(
            logger: LOG, approval_id = request.id.0, reason = request.reason,
            "Job waits for approval"
        );
    }
}

/// The warnings in words. That of the provider has a field of its own in the original's answer.
pub(in crate::api) fn warnings(exceeded: &[Exceeded]) -> (Option<String>, Vec<String>) {
    let (of_provider, others): (Vec<_>, Vec<_>) = exceeded
        .iter()
        .partition(|it| it.budget.budget.budget.scope.level() == ScopeLevel::Provider);
    let words = |exceeded: &[&Exceeded]| exceeded.iter().map(ToString::to_string).collect();
    let (of_provider, others): (Vec<String>, Vec<String>) = (words(&of_provider), words(&others));
    ((!of_provider.is_empty()).then(|| of_provider.join("; ")), others)
}

pub(in crate::api) fn answer(submitted: Submitted) -> SubmittedView {
    let Submitted { record, repeated, warnings, position } = submitted;
    let (cost_limit_warning, quota_warnings) = self::warnings(&warnings);
    SubmittedView {
        success: true,
        job_id: record.id().to_string(),
        status: record.status(),
        error: None,
        data_uploaded: false,
        upload_id: record
            .job()
            .metadata
            .get("upload_id")
            .and_then(Value::as_str)
            .map(str::to_owned),
        cost_limit_warning,
        quota_warnings,
        idempotent_hit: repeated,
        requires_approval: record.queue_status() == QueueStatus::Blocked,
        approval_id: record.approval().map(|approval| approval.request().id.0),
        queue_position: position,
        correlation_id: record.job().correlation_id.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_that_was_stored_is_no_field_of_the_request() {
        let stored = |profile: &str| ProviderSettings {
            hardware_profile: Some(profile.to_owned()),
            ..ProviderSettings::default()
        };
        let replicate = ProviderName::new(REPLICATE.id);
        let of_setting = hardware(&replicate, None, &stored("h900-x99")).unwrap_err();
        assert_eq!(of_setting.status().as_u16(), 409);
        let said = of_setting.detail();
        assert!(said.contains("setting hardware_profile of provider replicate"), "{said}");
        assert!(said.contains("h100-x8") && said.contains("\"h900-x99\""), "{said}");
        let asked = hardware(&replicate, Some("h900-x99".to_owned()), &stored("h100"));
        assert!(
            format!("{:?}", asked.unwrap_err()).contains("pointer: Some(\"/hardware_profile\")")
        );
        let chosen = hardware(&replicate, Some("l40s".to_owned()), &stored("h900-x99")).unwrap();
        assert_eq!(chosen.as_deref(), Some("l40s"), "what is stored is not used");
    }
}
