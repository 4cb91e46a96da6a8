//! Submitting a job.

use std::io::ErrorKind;
use std::path::Path;

use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use st_log::{LogContext, Logger, get_logger};
use st_store::{
    APPROVAL_TTL, Idempotency, NewJob, OrgId, Owner, Priority, ProviderName, QueueStatus,
    Submitted, TeamId,
};
use st_workers::provider::Provider;

use crate::api::body::{Body, Query};
use crate::api::{Api, Caller};
use crate::fields::Fields;
use crate::problem::Problem;
use crate::strict;

const LOG: Logger = get_logger("simpletuner.cloud.jobs");

/// How long an idempotency key is remembered.
const KEY_TTL: SignedDuration = SignedDuration::from_hours(24);
const MAX_NAME: usize = 200;
const MAX_KEY: usize = 200;
/// The largest configuration file that is read, in bytes.
const MAX_CONFIG: u64 = 1024 * 1024;

/// The request, read.
#[derive(Debug)]
struct SubmitJob {
    config: Option<Map<String, Value>>,
    config_name_to_load: Option<String>,
    config_name: Option<String>,
    /// What goes to the provider with the configuration.
    rest: Map<String, Value>,
    hardware_profile: Option<String>,
    idempotency_key: Option<String>,
    estimated_cost: f64,
    max_attempts: u32,
    priority: Option<Priority>,
    team_id: Option<TeamId>,
    org_id: Option<OrgId>,
    run_after: Option<Timestamp>,
}

impl SubmitJob {
    fn read(mut fields: Fields) -> Result<Self, Problem> {
        let mut rest = Map::new();
        let config = fields.object("config");
        let config_name_to_load = fields.non_empty_string("config_name_to_load", MAX_NAME);
        if fields.has("config") && fields.has("config_name_to_load") {
            fields.fault("config_name_to_load", "may not be given together with config");
        } else if !fields.has("config") && !fields.has("config_name_to_load") {
            fields.fault("config", "is required, unless config_name_to_load is given");
        }
        if let Some(dataloader) = fields.array("dataloader_config") {
            rest.insert("dataloader_config".to_owned(), Value::Array(dataloader));
        }
        let webhook_url = fields.non_empty_string("webhook_url", 2000);
        if let Some(url) = webhook_url {
            if url.starts_with("https://") || url.starts_with("http://") {
                rest.insert("webhook_url".to_owned(), url.into());
            } else {
                fields.fault("webhook_url", "must start with http:// or https://");
            }
        }
        for name in ["snapshot_name", "snapshot_message", "tracker_run_name", "upload_id"] {
            if let Some(text) = fields.non_empty_string(name, 2000) {
                rest.insert(name.to_owned(), text.into());
            }
        }
        let attempts = fields.integer("max_attempts", 1..=10).unwrap_or(3);
        let priority = fields.integer("priority", 0..=50);
        let request = Self {
            config,
            config_name_to_load,
            config_name: fields.non_empty_string("config_name", MAX_NAME),
            rest,
            hardware_profile: fields.non_empty_string("hardware_profile", 100),
            idempotency_key: fields.non_empty_string("idempotency_key", MAX_KEY),
            estimated_cost: fields.number("estimated_cost", 0.0..=1e9).unwrap_or(0.0),
            max_attempts: u32::try_from(attempts).unwrap_or(3),
            priority: priority.and_then(|number| Priority::new(number).ok()),
            team_id: fields.non_empty_string("team_id", MAX_NAME).map(TeamId::new),
            org_id: fields.non_empty_string("org_id", MAX_NAME).map(OrgId::new),
            run_after: fields.word("run_after"),
        };
        fields.finish().map_err(Problem::invalid)?;
        Ok(request)
    }
}

pub(crate) async fn submit(
    State(api): State<Api>,
    headers: HeaderMap,
    mut query: Query,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let provider = query.0.non_empty_string("provider", 100);
    query.finish()?;
    let provider = ProviderName::new(provider.unwrap_or_else(|| "replicate".to_owned()));
    let provider = configured(&api, &provider)?;
    let request = SubmitJob::read(body.fields())?;
    let key = match idempotency_key(&headers)? {
        Some(key) => Some(key),
        None => request.idempotency_key.clone(),
    };
    let now = api.clock.now();
    let idempotency = key.map(|key| Idempotency {
        key,
        digest: digest(provider.name(), &body.raw),
        expires_at: now.saturating_add(KEY_TTL).unwrap_or(Timestamp::MAX),
    });
    let new = new_job(&api, provider.as_ref(), request, idempotency, now).await?;
    let submitted = api.store.submit(new, now).await?;
    told(&submitted);
    answer(&api, submitted).await.map(Json)
}

fn configured(api: &Api, name: &ProviderName) -> Result<std::sync::Arc<dyn Provider>, Problem> {
    api.providers.get(name).ok_or_else(|| {
        let known: Vec<&str> = api.providers.iter().map(|it| it.name().as_str()).collect();
        let hint =
            if name.as_str() == "replicate" { "set REPLICATE_API_TOKEN to use it; " } else { "" };
        let known = known.join(", ");
        let message =
            format!("{:?} is not configured; {hint}configured are: {known}", name.as_str());
        Problem::invalid_field("/provider", message)
    })
}

/// The `Idempotency-Key` header.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    match value.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= MAX_KEY => Ok(Some(key.to_owned())),
        Ok(_) | Err(_) => Err(Problem::bad_request(
            "bad_idempotency_key",
            format!("Idempotency-Key must be 1 to {MAX_KEY} printable ASCII characters"),
        )),
    }
}

/// What was asked, so that the same key with another request is noticed.
fn digest(provider: &ProviderName, body: &Map<String, Value>) -> String {
    let mut body = body.clone();
    body.remove("idempotency_key");
    let mut body = Value::Object(body);
    body.sort_all_objects();
    let text = format!("{provider}\n{body}");
    Sha256::digest(text.as_bytes())
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

async fn new_job(
    api: &Api,
    provider: &dyn Provider,
    request: SubmitJob,
    idempotency: Option<Idempotency>,
    now: Timestamp,
) -> Result<NewJob, Problem> {
    let Caller { user, role } = api.caller();
    let config = match (request.config, &request.config_name_to_load) {
        (Some(config), _) => config,
        (None, Some(name)) => load(&api.shared.config_dir, name).await?,
        (None, None) => Map::new(),
    };
    let config_name = request.config_name.or(request.config_name_to_load);
    let mut input = request.rest;
    input.insert("config".to_owned(), Value::Object(config));
    if let Some(name) = &config_name {
        input.insert("config_name".to_owned(), name.as_str().into());
    }
    let input = Value::Object(input);
    let settings = api.store.provider_config(provider.name()).await?;
    provider
        .check(&input, &settings)
        .map_err(|message| Problem::invalid_field("/config", message))?;
    let hardware_type = request
        .hardware_profile
        .or_else(|| Some(settings.get("hardware_profile")?.as_str()?.to_owned()));
    Ok(NewJob {
        id: api.new_job_id(now),
        job_type: provider.job_type(),
        provider: provider.name().clone(),
        config_name,
        owner: Owner { user, team: request.team_id, org: request.org_id },
        role,
        correlation_id: st_log::get_correlation_id(),
        priority_override: request.priority,
        estimated_cost: request.estimated_cost,
        max_attempts: request.max_attempts,
        hardware_type,
        not_before: request.run_after,
        metadata: Map::new(),
        input,
        idempotency,
        approval_ttl: APPROVAL_TTL,
    })
}

/// Reads a named configuration: `<name>.json` or `<name>/config.json` in the folder, and nothing
/// else.
async fn load(folder: &Path, name: &str) -> Result<Map<String, Value>, Problem> {
    const FIELD: &str = "/config_name_to_load";
    let legal = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-');
    if name.starts_with('.') || !name.chars().all(legal) {
        let message = "must be letters, digits, '.', '_' and '-', and not start with '.'";
        return Err(Problem::invalid_field(FIELD, message));
    }
    for path in [folder.join(format!("{name}.json")), folder.join(name).join("config.json")] {
        let read = st_log::spawn_blocking(move || read_capped(&path)).await;
        match read.map_err(|_panic| Problem::internal())? {
            Ok(bytes) => {
                let fault = |message: String| {
                    Problem::invalid_field(FIELD, format!("{name:?} cannot be used: {message}"))
                };
                return match strict::parse_json(&bytes) {
                    Ok(Value::Object(config)) => Ok(config),
                    Ok(_) => Err(fault("it is not a JSON object".to_owned())),
                    Err(syntax) => Err(fault(syntax.message)),
                };
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                let message = format!("{name:?} cannot be read: {error}");
                return Err(Problem::invalid_field(FIELD, message));
            }
        }
    }
    Err(Problem::not_found(format!("there is no configuration {name:?}")))
}

fn read_capped(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;

    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_CONFIG + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_CONFIG {
        return Err(std::io::Error::other(format!("it is larger than {MAX_CONFIG} bytes")));
    }
    Ok(bytes)
}

fn told(submitted: &Submitted) {
    let Submitted { work, repeated } = submitted;
    let context = LogContext::new()
        .field("job_id", work.job.id.to_string())
        .field("provider", work.job.provider.as_str())
        .field("user_id", work.job.owner.user.as_str());
    let _in_context = context.enter();
    if *repeated {
        st_log::info!(logger: LOG, "Job had been submitted before under the same key");
        return;
    }
    st_log::info!(
        logger: LOG,
        config_name = work.job.config_name.as_deref(),
        cost_estimate = work.entry.estimated_cost,
        priority = work.entry.effective_priority().get(),
        "Job submitted successfully"
    );
    if let Some(request) = &work.approval {
        st_log::info!(
            logger: LOG, approval_id = request.id.0, reason = request.reason,
            "Job waits for approval"
        );
    }
}

async fn answer(api: &Api, submitted: Submitted) -> Result<Value, Problem> {
    let Submitted { work, repeated } = submitted;
    let position = super::position(api, &work).await?;
    Ok(json!({
        "success": true,
        "job_id": work.job.id.to_string(),
        "status": work.job.status.as_str(),
        "error": null,
        "data_uploaded": false,
        "upload_id": null,
        "cost_limit_warning": null,
        "quota_warnings": [],
        "idempotent_hit": repeated,
        "requires_approval": work.entry.status == QueueStatus::Blocked,
        "approval_id": work.approval.map(|request| request.id.0),
        "queue_position": position,
        "correlation_id": work.job.correlation_id.as_str(),
    }))
}
