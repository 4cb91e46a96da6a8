//! Which values the labels of the families have, as the code that shows them has them.

use st_api::problem::Code;
use st_store::{DeliveryStatus, JobStatus, QueueStatus};
use st_workers::provider::Cause;
use st_workers::{CallKind, CallOutcome, ClosedBy, TaskId};

use crate::http::lane;
use crate::http::meter::CLASSES;
use crate::metrics::{store, tasks};

/// Whether a label names what is configured, so that it has any value.
pub(super) fn is_free(label: &str) -> bool {
    matches!(label, "provider" | "origin" | "webhook" | "le" | "job" | "instance")
}

/// The values that a label of a family has.
pub(super) fn values(family: &str, label: &str) -> Vec<&'static str> {
    match (family, label) {
        ("st_http_request_duration_seconds", "status") => CLASSES.to_vec(),
        ("st_http_request_duration_seconds", "operation") => {
            let routes = crate::api::routes();
            let operations = routes.operations().iter().map(|operation| operation.about.id);
            operations.chain(["none"]).collect()
        }
        ("st_http_problems_total", "code") => Code::ALL.iter().map(|it| it.as_str()).collect(),
        (_, "lane") if family.starts_with("st_http_") => lane::ALL.map(lane::word).to_vec(),
        (_, "lane") if family.starts_with("st_store_") => store::LANES.to_vec(),
        ("st_provider_call_duration_seconds", "operation") => {
            CallKind::ALL.map(CallKind::as_str).to_vec()
        }
        ("st_provider_call_duration_seconds" | "st_provider_polled_jobs_total", "outcome") => {
            CallOutcome::ALL.map(CallOutcome::as_str).to_vec()
        }
        ("st_provider_gate_closed_seconds", "cause") => causes(),
        ("st_webhook_events_total", "outcome") => {
            DeliveryStatus::ALL.iter().map(|it| it.as_str()).collect()
        }
        (_, "task") => TaskId::ALL.iter().map(|it| it.as_str()).collect(),
        ("st_task_runs_total", "outcome") => tasks::OUTCOMES.to_vec(),
        ("st_jobs" | "simpletuner_jobs_by_status", "status") => {
            JobStatus::ALL.iter().map(|it| it.as_str()).collect()
        }
        ("st_queue_entries", "status") => QueueStatus::ALL.iter().map(|it| it.as_str()).collect(),
        _ => panic!("it is not known here which values {label} of {family} has"),
    }
}

fn causes() -> Vec<&'static str> {
    let refusals =
        [Cause::Unreachable, Cause::Credentials, Cause::Account, Cause::Throttled, Cause::Trouble];
    let others =
        [ClosedBy::Start, ClosedBy::Unanswered, ClosedBy::RejectsAll, ClosedBy::MissingSetting];
    let all = refusals.map(ClosedBy::Refusal).into_iter().chain(others);
    all.map(ClosedBy::as_str).collect()
}
