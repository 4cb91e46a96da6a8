//! Webhooks that providers send.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use st_api::input::FieldFault;
use st_api::problem::Code;
use st_api::received::{Receipt, Reception, Updates};
use st_api::schema::Time;
use st_store::{JobRecord, ProviderJobId, ProviderName, ProviderSettings, WebhookSource};
use st_workers::provider::{Delivery, ReceiveError};
use st_workers::tasks::poller::{IntakeError, Received};

use super::{Api, REPLICATE};
use crate::http::extract::bytes_within;
use crate::http::lane::Permit;
use crate::http::peer::Peer;
use crate::http::problem::Problem;
use crate::http::route::{OfJob, json};

/// The largest webhook that is read, in bytes: the object of a job that is over holds its whole log.
const LARGEST: usize = 16 * 1024 * 1024;

/// A webhook of Replicate. Who sends it is found out by its signature, and what it says changes a job only as
/// far as an answer of the provider would.
pub(crate) async fn replicate(
    State(api): State<Api>,
    request: Request,
) -> Result<Response, Problem> {
    let provider = ProviderName::new(REPLICATE.id);
    // Read each time: a change of the settings needs no restart.
    let settings = api.store.provider_settings(&provider).await?;
    check_address(&settings, request.extensions().get().copied())?;
    let (parts, body) = request.into_parts();
    let body = bytes_within(LARGEST, body).await?;
    if let Some(permit) = parts.extensions.get::<Arc<Permit>>() {
        permit.note_read();
    }
    let delivery = Delivery {
        headers: &parts.headers,
        body: &body,
        received_at: api.store.now(),
        requires_signature: settings.webhook_require_signature.unwrap_or(true),
    };
    Ok(match api.background.receive(&provider, &delivery).await? {
        Received::Applied { before, after } => {
            let mut response = json(&Receipt {
                status: Reception::Received,
                job_id: Some(after.id().to_string()),
                updates: Some(updates(&before, &after)),
                reason: None,
            });
            response.extensions_mut().insert(OfJob::of(&after));
            response
        }
        Received::Ignored { reason } => json(&Receipt {
            status: Reception::Ignored,
            job_id: None,
            updates: None,
            reason: Some(reason),
        }),
        // The same whatever it is about: whoever sent it is not known.
        Received::Noted => json(&Receipt {
            status: Reception::Received,
            job_id: None,
            updates: None,
            reason: None,
        }),
    })
}

/// Where a list of networks is set, all others are refused before anything is read; and so is everyone
/// while it cannot be read.
fn check_address(settings: &ProviderSettings, peer: Option<Peer>) -> Result<(), Problem> {
    let Some(Peer { address, .. }) = peer else { return Err(Problem::internal()) };
    match settings.webhook_source(address) {
        WebhookSource::Allowed => Ok(()),
        WebhookSource::Other => {
            let detail = format!("webhooks of this provider may not come from {address}");
            Err(Problem::new(Code::AddressNotAllowed, detail))
        }
        WebhookSource::Unknown => Err(Problem::damaged(
            "the setting webhook_allowed_ips of the provider cannot be read; set it again",
        )),
    }
}

/// What is another value than before.
fn updates(before: &JobRecord, after: &JobRecord) -> Updates {
    let (old, new) = (before.job(), after.job());
    let text = |old: &Option<String>, new: &Option<String>| new.clone().filter(|_| old != new);
    let time = |old, new: Option<_>| new.filter(|_| old != new).map(Time);
    let at = |record: &JobRecord| record.provider_job_id().map(ProviderJobId::to_string);
    let status = (before.status() != after.status()).then(|| after.status().to_string());
    Updates {
        status,
        provider_job_id: text(&at(before), &at(after)),
        started_at: time(old.started_at, new.started_at),
        completed_at: time(old.completed_at, new.completed_at),
        cost_usd: new.cost_usd.filter(|_| old.cost_usd != new.cost_usd),
        output_url: text(&old.output_url, &new.output_url),
        error_message: text(&old.error_message, &new.error_message),
    }
}

impl From<IntakeError> for Problem {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::NoProvider(provider) => {
                let detail = format!("provider {provider} is not configured");
                Self::new(Code::ProviderNotConfigured, detail)
            }
            IntakeError::Refused(refusal) => refused(&refusal),
            IntakeError::Unanswered(error) => {
                Self::provider(format!("what happened is not known: {}", st_log::Chain(&error)))
            }
            IntakeError::Busy => Self::overloaded(),
            IntakeError::Stopping => Self::new(Code::Stopping, error.to_string()),
            IntakeError::NotStored(cause) => {
                let detail = "what is reported could not be stored; send it again";
                Self::new(Code::StoreUnavailable, detail).caused_by(cause)
            }
            IntakeError::Store(error) => error.into(),
        }
    }
}

fn refused(refusal: &ReceiveError) -> Problem {
    let said = refusal.to_string();
    match refusal {
        ReceiveError::Unsupported => Problem::new(Code::ProviderNotConfigured, said),
        ReceiveError::NoSecret { .. } => Problem::new(Code::NoWebhookSecret, said),
        ReceiveError::Signature(_) => Problem::new(Code::BadSignature, said),
        ReceiveError::NotJson { .. } => Problem::new(Code::MalformedJson, said),
        ReceiveError::NoJob { field, reason } => {
            let fault = FieldFault { pointer: format!("/{field}"), message: reason.clone() };
            Problem::invalid(vec![fault])
        }
    }
}
