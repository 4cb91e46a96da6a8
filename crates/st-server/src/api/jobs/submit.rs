//! Submitting a job.

mod digest;
pub(in crate::api) mod named;

use http::HeaderMap;
use serde_json::{Map, Value};
use st_api::jobs::{SubmitJob, SubmitQuery, Submitted as SubmittedView};
use st_api::problem::Code;
use st_log::{Logger, get_logger};
use st_store::{
    Approval, Exceeded, Idempotency, InputProblem, InvalidInput, NewJob, ProviderName,
    ProviderSettings, QueueStatus, ScopeLevel, Submitted, check_input,
};
use st_workers::provider::Provider;

use crate::api::providers::{KNOWN, REPLICATE, check_profile};
use crate::api::waiting::Surroundings;
use crate::api::{Api, Caller};
use crate::auth::access;
use crate::http::problem::Problem;
use crate::http::route::Call;

const LOG: Logger = get_logger("simpletuner.cloud.jobs");

/// The longest idempotency key, in bytes.
const MAX_KEY: usize = 200;
/// The field with the data sets.
const DATASETS: &str = "dataloader_config";
/// The field that names a configuration.
const NAMED: &str = "/config_name_to_load";

pub(crate) async fn submit(
    api: Api,
    call: Call<(), SubmitQuery, SubmitJob>,
) -> Result<SubmittedView, Problem> {
    let Call { caller, query, body: request, headers, .. } = call;
    let provider = query.provider.unwrap_or_else(|| ProviderName::new(REPLICATE.id));
    let provider = configured(&api, &provider)?;
    let key = match idempotency_key(&headers)? {
        Some(key) => Some(key),
        None => request.idempotency_key.clone(),
    };
    let idempotency =
        key.map(|key| Idempotency { key, digest: digest::of(provider.name(), &request.raw) });
    if request.priority.is_some() {
        access::may_set_priority(&caller)?;
    }
    let new = new_job(&api, &caller, provider.as_ref(), request).await?;
    let new = NewJob { idempotency, ..new };
    let id = new.id;
    let submitted = api.store.submit(new).await;
    let submitted = submitted.map_err(|error| Problem::of_submission(error, id))?;
    caller.about(submitted.record.id());
    log_submitted(&submitted);
    Ok(answer(&api, submitted).await)
}

pub(in crate::api) fn configured(
    api: &Api,
    name: &ProviderName,
) -> Result<std::sync::Arc<dyn Provider>, Problem> {
    api.providers.get(name).ok_or_else(|| {
        let known: Vec<&str> = api.providers.iter().map(|it| it.name().as_str()).collect();
        let hint = KNOWN.iter().find(|it| it.id == name.as_str()).map_or("", |it| it.hint);
        let known = known.join(", ");
        let message =
            format!("{:?} is not configured; {hint}configured are: {known}", name.as_str());
        Problem::invalid_parameter("provider", message)
    })
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
    request: SubmitJob,
) -> Result<NewJob, Problem> {
    let mut input = Map::new();
    if let Some(datasets) = request.dataloader_config {
        input.insert(DATASETS.to_owned(), Value::Array(datasets));
    }
    if let Some(url) = request.webhook_url {
        input.insert("webhook_url".to_owned(), url.into());
    }
    let mut origin = Origin::Request;
    let config = match (request.config, &request.config_name_to_load) {
        (Some(config), _) => config,
        (None, Some(name)) => {
            let datasets = !input.contains_key(DATASETS);
            let named = named::load(api.config_dir(), name, datasets).await?;
            origin = Origin::File { with_datasets: named.dataloader.is_some() };
            if let Some(dataloader) = named.dataloader {
                input.insert(DATASETS.to_owned(), Value::Array(dataloader));
            }
            named.config
        }
        (None, None) => Map::new(),
    };
    let file = request.config_name_to_load.as_deref().map(named::stem);
    let config_name = request.config_name.or_else(|| file.map(str::to_owned));
    // Commands on this machine get them too.
    input.extend(request.metadata.clone());
    input.insert("config".to_owned(), Value::Object(config));
    if let Some(name) = &config_name {
        input.insert("config_name".to_owned(), name.as_str().into());
    }
    let input = Value::Object(input);
    check_input(&input).map_err(|invalid| unfit(&invalid, origin))?;
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
fn runnable(
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
fn hardware(
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

/// Where the configuration and the data sets of a job come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Both were in the request.
    Request,
    /// The request named a file.
    File {
        /// The data sets are in a file beside it.
        with_datasets: bool,
    },
}

impl Origin {
    /// The field of the request that the configuration came from.
    fn field_of_config(self) -> &'static str {
        match self {
            Self::Request => "/config",
            Self::File { .. } => NAMED,
        }
    }

    /// The file that has a member of the input, where the request only named it.
    fn file_of(self, member: &str) -> Option<&'static str> {
        match (self, member) {
            (Self::File { .. }, "config") => Some("the file"),
            (Self::File { with_datasets: true }, DATASETS) => Some(named::DATASETS),
            (Self::Request | Self::File { .. }, _) => None,
        }
    }
}

/// Says of an input that cannot be stored which field of the request to change.
fn unfit(invalid: &InvalidInput, origin: Origin) -> Problem {
    let InvalidInput { pointer, problem } = invalid;
    let mut parts = pointer.splitn(3, '/').skip(1);
    let member = parts.next().unwrap_or("config");
    let below = parts.next().map_or_else(String::new, |below| format!("/{below}"));
    let file = origin.file_of(member);
    match problem {
        // The path through that many levels would be longer than the rest of the answer.
        InputProblem::TooDeep | InputProblem::TooLarge { .. } => {
            let message = format!("{problem}, counted with what is stored with it");
            match file {
                Some(file) => Problem::invalid_field(NAMED, format!("{file}: {message}")),
                None => Problem::invalid_field(&format!("/{member}"), message),
            }
        }
        InputProblem::Nul | InputProblem::Reserved => match file {
            Some(file) => Problem::invalid_field(NAMED, format!("{file}: {below:?} {problem}")),
            None => Problem::invalid_field(pointer, problem.to_string()),
        },
    }
}

/// Under the request's own ID: that of a repeated submission is not its job's.
pub(in crate::api) fn log_submitted(submitted: &Submitted) {
    let Submitted { record, repeated, warnings } = submitted;
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

pub(in crate::api) async fn answer(api: &Api, submitted: Submitted) -> SubmittedView {
    let Submitted { record, repeated, warnings } = submitted;
    // That of the provider has a field of its own in the original's answer.
    let (of_provider, others): (Vec<_>, Vec<_>) = warnings
        .iter()
        .partition(|it| it.budget.budget.budget.scope.level() == ScopeLevel::Provider);
    let words = |exceeded: &[&Exceeded]| exceeded.iter().map(ToString::to_string).collect();
    let (of_provider, others): (Vec<String>, Vec<String>) = (words(&of_provider), words(&others));
    let cost_limit_warning = (!of_provider.is_empty()).then(|| of_provider.join("; "));
    // The job is stored, and an error would make the caller submit it once more.
    let surroundings = Surroundings::read(api, std::slice::from_ref(&record)).await;
    let position = surroundings.ok().and_then(|it| it.position(&record));
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
        quota_warnings: others,
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
    fn what_cannot_be_stored_is_said_of_the_field_that_it_came_with() {
        let said = |pointer: &str, problem, origin| {
            format!("{:?}", unfit(&InvalidInput { pointer: pointer.to_owned(), problem }, origin))
        };
        let too_large = InputProblem::TooLarge { bytes: 5_000_000 };
        let request = Origin::Request;
        let [alone, both] = [false, true].map(|with_datasets| Origin::File { with_datasets });
        for (pointer, problem, origin, field, message) in [
            ("", too_large, request, "/config", "5000000 bytes"),
            ("", too_large, alone, NAMED, "5000000 bytes"),
            ("/config/a", InputProblem::TooDeep, alone, NAMED, "100 levels"),
            ("/dataloader_config/0", InputProblem::TooDeep, alone, "/dataloader_config", "levels"),
            ("/dataloader_config/0", InputProblem::TooDeep, both, NAMED, "multidatabackend.json: "),
            ("/dataloader_config/0/a", InputProblem::Nul, both, NAMED, "multidatabackend.json: "),
            ("/dataloader_config/0/a", InputProblem::Nul, both, NAMED, "/0/a"),
            ("/dataloader_config/0", InputProblem::Nul, alone, "/dataloader_config/0", "U+0000"),
            ("/config/a", InputProblem::Nul, alone, NAMED, "/a"),
            ("/config/a", InputProblem::Nul, request, "/config/a", "U+0000"),
            ("/config_name", InputProblem::Nul, both, "/config_name", "U+0000"),
        ] {
            let said = said(pointer, problem, origin);
            assert!(said.contains(&format!("pointer: Some({field:?})")), "{pointer}: {said}");
            assert!(said.contains(message), "{pointer}: {said}");
        }
    }

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
