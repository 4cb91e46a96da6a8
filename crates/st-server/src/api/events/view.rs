//! An event as clients see it: the same in the stream and in a job's history.

use serde::Serialize;
use st_store::{Actor, Change, Event};

use crate::api::Time;

/// An event. `subject`, `from`, `to` and `actor` are the history's; `status`, `previous_status` and
/// `source` say the same for clients of the stream that are older than those.
#[derive(Debug, Serialize)]
pub(crate) struct EventView<'a> {
    r#type: &'static str,
    /// Left out where the change is not about a job.
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<String>,
    id: i64,
    timestamp: Time,
    subject: &'static str,
    /// `None` where the object came into being, or has no status.
    from: Option<&'static str>,
    to: Option<&'static str>,
    actor: ActorView<'a>,
    source: &'static str,
    /// Empty where the change says all there is to say.
    message: &'a str,
    correlation_id: &'a str,
    status: Option<&'static str>,
    previous_status: Option<&'static str>,
    /// Left out where the change is not about an approval request.
    #[serde(skip_serializing_if = "Option::is_none")]
    approval_id: Option<i64>,
}

#[derive(Debug, Serialize)]
struct ActorView<'a> {
    kind: &'static str,
    /// The user's or the provider's; `None` for actors of which there is only one.
    name: Option<&'a str>,
}

impl<'a> EventView<'a> {
    pub(crate) fn of(Event { id, event }: &'a Event) -> Self {
        let change = &event.change;
        let (from, to) = change.statuses();
        Self {
            r#type: change.event_type(),
            job_id: change.job().map(|job| job.to_string()),
            id: id.0,
            timestamp: Time(event.at),
            subject: change.subject(),
            from,
            to,
            actor: ActorView::of(&event.actor),
            source: event.actor.source(),
            message: change.message().unwrap_or_default(),
            correlation_id: event.correlation_id.as_str(),
            status: to,
            previous_status: from,
            approval_id: approval_id(change),
        }
    }
}

impl<'a> ActorView<'a> {
    fn of(actor: &'a Actor) -> Self {
        Self { kind: actor.kind().as_str(), name: actor.name() }
    }
}

fn approval_id(change: &Change) -> Option<i64> {
    match change {
        Change::Approval { id, .. } => Some(id.0),
        Change::Job { .. }
        | Change::Queue { .. }
        | Change::Provider { .. }
        | Change::Limits { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};
    use st_log::CorrelationId;
    use st_store::{
        ApprovalId, ApprovalStatus, EventId, JobId, JobStatus, NewEvent, ProviderName, UserId,
    };

    use super::*;

    fn shown(actor: Actor, change: Change) -> Value {
        let at = Timestamp::UNIX_EPOCH;
        let correlation_id: CorrelationId = "abc123".parse().unwrap();
        let event = NewEvent { at, actor, correlation_id, change };
        json!(EventView::of(&Event { id: EventId(7), event }))
    }

    fn job() -> JobId {
        JobId::new(Timestamp::UNIX_EPOCH, [1; 10])
    }

    #[test]
    fn a_status_change_has_the_fields_of_the_history_and_the_old_ones() {
        let (from, to) = (Some(JobStatus::Queued), JobStatus::Running);
        let change = Change::Job { job: job(), from, to, message: None };
        let expected = json!({
            "type": "job_status_changed",
            "job_id": job().to_string(),
            "id": 7,
            "timestamp": "1970-01-01T00:00:00.000Z",
            "subject": "job",
            "from": "queued",
            "to": "running",
            "actor": {"kind": "poller", "name": null},
            "source": "poll",
            "message": "",
            "correlation_id": "abc123",
            "status": "running",
            "previous_status": "queued",
        });
        assert_eq!(shown(Actor::Poller, change), expected);
    }

    #[test]
    fn a_decision_names_its_request_and_its_user() {
        let event = shown(
            Actor::User(UserId::new("ann")),
            Change::Approval {
                job: job(),
                id: ApprovalId(3),
                from: Some(ApprovalStatus::Pending),
                to: ApprovalStatus::Approved,
                message: "approved by ann".to_owned(),
            },
        );
        assert_eq!(event["approval_id"], 3);
        assert_eq!(event["actor"], json!({"kind": "user", "name": "ann"}));
        assert_eq!(
            (&event["source"], &event["type"]),
            (&json!("user"), &json!("approval_decided"))
        );
        assert_eq!(event["message"], "approved by ann");
    }

    #[test]
    fn changes_of_providers_and_limits_have_no_job() {
        let provider = ProviderName::new("replicate");
        for (change, subject) in [
            (Change::Provider { provider, message: "webhook_url".to_owned() }, "provider"),
            (Change::Limits { message: "max_concurrent from 5 to 6".to_owned() }, "limits"),
        ] {
            let event = shown(Actor::Operator, change);
            assert_eq!(event["type"], format!("{subject}_changed"));
            assert_eq!((event.get("job_id"), &event["subject"]), (None, &json!(subject)));
            assert_eq!((&event["from"], &event["to"]), (&Value::Null, &Value::Null));
        }
    }
}
