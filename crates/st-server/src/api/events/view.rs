//! An event as clients see it: the same in the stream and in a job's history.

use std::borrow::Cow;

use st_api::jobs::{Actor as ActorView, Event as EventView};
use st_api::schema::Time;
use st_store::{Change, Event};

/// The event, with what it can borrow borrowed.
pub(crate) fn view(Event { id, event }: &Event) -> EventView<'_> {
    let change = &event.change;
    let (from, to) = change.statuses();
    EventView {
        r#type: change.event_type().into(),
        job_id: change.job().map(|job| job.to_string()),
        id: id.0,
        timestamp: Time(event.at),
        subject: change.subject().into(),
        from: from.map(Cow::Borrowed),
        to: to.map(Cow::Borrowed),
        actor: ActorView {
            kind: event.actor.kind().as_str().into(),
            name: event.actor.name().map(Cow::Borrowed),
        },
        source: event.actor.source().into(),
        message: change.message().unwrap_or_default().into(),
        correlation_id: event.correlation_id.as_str().into(),
        status: to.map(Cow::Borrowed),
        previous_status: from.map(Cow::Borrowed),
        approval_id: approval_id(change),
    }
}

fn own(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

/// The event, for an answer that outlives it.
pub(crate) fn owned(event: &Event) -> EventView<'static> {
    let view = view(event);
    EventView {
        r#type: own(view.r#type),
        job_id: view.job_id,
        id: view.id,
        timestamp: view.timestamp,
        subject: own(view.subject),
        from: view.from.map(own),
        to: view.to.map(own),
        actor: ActorView { kind: own(view.actor.kind), name: view.actor.name.map(own) },
        source: own(view.source),
        message: own(view.message),
        correlation_id: own(view.correlation_id),
        status: view.status.map(own),
        previous_status: view.previous_status.map(own),
        approval_id: view.approval_id,
    }
}

fn approval_id(change: &Change) -> Option<i64> {
    match change {
        Change::Approval { id, .. } => Some(id.0),
        Change::Job { .. }
        | Change::Queue { .. }
        | Change::Priority { .. }
        | Change::Deleted { .. }
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
        Actor, ApprovalId, ApprovalStatus, EventId, JobId, JobStatus, NewEvent, ProviderName,
        UserId,
    };

    use super::*;

    fn shown(actor: Actor, change: Change) -> Value {
        let at = Timestamp::UNIX_EPOCH;
        let correlation_id: CorrelationId = "abc123".parse().unwrap();
        let event = NewEvent { at, actor, correlation_id, change };
        json!(view(&Event { id: EventId(7), event }))
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
