//! The audit trail over HTTP.

use st_api::accounts::{AuditActor, AuditEntry, AuditPage, ListAudit};
use st_api::names::JobName;
use st_api::schema::Time;
use st_store::{Actor, Audit};

use super::jobs::find;
use super::{Api, log_damaged};
use crate::http::problem::Problem;
use crate::http::route::Call;

/// An entry as clients see it.
fn view(audit: &Audit) -> AuditEntry {
    let entry = &audit.entry;
    let actor = |actor: &Actor| AuditActor {
        kind: actor.kind().as_str().to_owned(),
        name: actor.name().map(str::to_owned),
    };
    AuditEntry {
        id: audit.id.0,
        timestamp: Time(audit.at),
        actor: entry.actor.as_ref().map(actor),
        key_id: entry.key.as_ref().map(ToString::to_string),
        operation: entry.operation.clone(),
        object: entry.object.clone(),
        job_id: entry.job.map(|job| job.to_string()),
        peer: entry.peer.map(|peer| peer.to_string()),
        correlation_id: entry.correlation_id.as_ref().map(ToString::to_string),
        status: entry.status,
        times: entry.times,
    }
}

pub(crate) async fn list(api: Api, call: Call<(), ListAudit>) -> Result<AuditPage, Problem> {
    let ListAudit { mut filter, job, page } = call.query;
    if let Some(JobName(name)) = job {
        // The entries stay when the job is deleted.
        filter.job = Some(match name.parse() {
            Ok(id) => id,
            Err(_) => find(&api, &call.caller, &name).await?.id(),
        });
    }
    let page = api.store.audit(&filter, page.limit).await?;
    log_damaged(&page.damaged);
    let entries = page.entries.iter().map(view).collect();
    Ok(AuditPage { entries, next: page.next.map(|next| next.to_string()) })
}
