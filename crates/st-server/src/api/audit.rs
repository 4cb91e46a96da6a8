//! The audit trail over HTTP.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use st_store::{Actor, Audit, AuditFilter, JobId};

use super::{Api, Time, log_damaged};
use crate::http::extract::Query;
use crate::http::problem::Problem;

/// The longest name of an actor, in bytes.
const MAX_NAME: usize = 200;

/// An entry as clients see it.
#[derive(Debug, Serialize)]
struct AuditView<'e> {
    id: i64,
    timestamp: Time,
    actor: Option<ActorView<'e>>,
    key_id: Option<&'e str>,
    operation: &'e str,
    object: Option<&'e str>,
    job_id: Option<String>,
    peer: Option<String>,
    correlation_id: Option<&'e str>,
    status: u16,
    times: u32,
}

#[derive(Debug, Serialize)]
struct ActorView<'e> {
    kind: &'static str,
    name: Option<&'e str>,
}

impl<'e> AuditView<'e> {
    fn of(audit: &'e Audit) -> Self {
        let entry = &audit.entry;
        let actor =
            |actor: &'e Actor| ActorView { kind: actor.kind().as_str(), name: actor.name() };
        Self {
            id: audit.id.0,
            timestamp: Time(audit.at),
            actor: entry.actor.as_ref().map(actor),
            key_id: entry.key.as_ref().map(st_store::KeyId::as_str),
            operation: &entry.operation,
            object: entry.object.as_deref(),
            job_id: entry.job.map(|job| job.to_string()),
            peer: entry.peer.map(|peer| peer.to_string()),
            correlation_id: entry.correlation_id.as_ref().map(st_store::CorrelationId::as_str),
            status: entry.status,
            times: entry.times,
        }
    }
}

pub(crate) async fn list(State(api): State<Api>, mut query: Query) -> Result<Json<Value>, Problem> {
    let limit = query.page().limit;
    let fields = &mut query.0;
    let filter = AuditFilter {
        actor: fields.non_empty_string("actor", MAX_NAME),
        job: fields.word::<JobId>("job_id"),
        since: fields.word::<Timestamp>("since"),
        before: fields.string("cursor").and_then(|text| {
            let cursor = text.parse().ok();
            if cursor.is_none() {
                fields.fault("cursor", "expected the `next` of the page before");
            }
            cursor
        }),
    };
    query.finish()?;
    let page = api.store.audit(&filter, limit).await?;
    log_damaged(&page.damaged);
    let entries: Vec<AuditView<'_>> = page.entries.iter().map(AuditView::of).collect();
    Ok(Json(json!({"entries": entries, "next": page.next.map(|next| next.to_string())})))
}
