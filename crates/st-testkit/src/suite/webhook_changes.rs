//! Webhooks that change while an event waits for its next attempt, and events that are not tried any more.

use std::time::Duration;

use jiff::SignedDuration;
use st_log::CorrelationId;
use st_store::{
    ClockEvidence, DeliveryResult, DeliveryStatus, EventId, Failing, TestDelivery,
    WEBHOOK_LEAST_ATTEMPTS, WantedEvents, Webhook, WebhookEvent, WebhookId, WebhookPatch,
};

use super::webhooks::{added, attempt, claimed, event, failed, found, history, settled};
use super::{Harness, at, holder};

/// What a webhook wants instead.
fn failures() -> WebhookPatch {
    let events = Some(WantedEvents::of([WebhookEvent::JobFailed]));
    WebhookPatch { events, ..WebhookPatch::default() }
}

fn enabled(enabled: bool) -> WebhookPatch {
    WebhookPatch { enabled: Some(enabled), ..WebhookPatch::default() }
}

async fn patched(harness: &Harness, id: WebhookId, patch: WebhookPatch) -> Webhook {
    harness.store.patch_webhook(id, patch).await.unwrap()
}

/// An attempt that fails, and is made again after an hour.
async fn failing(harness: &Harness, id: WebhookId, event: EventId) {
    assert!(claimed(harness, id, 1).await);
    settled(harness, id, attempt(event, failed(3600))).await.unwrap();
}

/// What became of the message about an event, after how many attempts, and whether there is a next one.
async fn outcome(harness: &Harness, of: EventId) -> (DeliveryStatus, u32, bool) {
    let known = history(harness, None).await;
    let found = known.iter().find(|it| it.event == Some(of)).unwrap();
    (found.status, found.attempts, found.next_at.is_some())
}

pub async fn what_was_found_out_for_other_wishes_is_void(harness: &Harness) {
    let hook = added(harness, 1).await;
    let first = event(harness, 1).await;
    assert!(claimed(harness, hook.id, 1).await);
    let renamed = WebhookPatch { name: Some("other".to_owned()), ..WebhookPatch::default() };
    let renamed = patched(harness, hook.id, renamed).await;
    assert_eq!(renamed.revision, hook.revision);
    let changed = patched(harness, hook.id, failures()).await;
    assert_eq!((changed.lease, changed.position), (None, hook.position));
    let accepted = attempt(first, DeliveryResult::Accepted);
    assert_eq!(settled(harness, hook.id, accepted).await, None, "what it passed may be wanted now");
    harness.store.pass_events(hook.id, holder(1), first, hook.revision).await.unwrap();
    assert_eq!(found(harness, hook.id).await.position, hook.position);
    let same = patched(harness, hook.id, failures()).await;
    assert_eq!(same.revision, changed.revision, "nothing changes");
    harness.store.pass_events(hook.id, holder(1), first, changed.revision).await.unwrap();
    assert_eq!(found(harness, hook.id).await.position, first);
}

pub async fn a_failure_is_that_of_one_event(harness: &Harness) {
    let hook = added(harness, 1).await;
    let (first, second) = (event(harness, 1).await, event(harness, 2).await);
    failing(harness, hook.id, first).await;
    harness.go_to(3600);
    failing(harness, hook.id, second).await;
    let expected = Failing { event: second, since: at(3600), attempts: 1, next_at: at(7200) };
    assert_eq!(found(harness, hook.id).await.failing, Some(expected), "the first one is not there");
    assert_eq!(outcome(harness, first).await, (DeliveryStatus::Dropped, 1, false));
    assert_eq!(outcome(harness, second).await, (DeliveryStatus::Retrying, 1, true));
    harness.store.pass_events(hook.id, holder(1), first, hook.revision).await.unwrap();
    assert_eq!(found(harness, hook.id).await.failing, Some(expected));
    harness.store.pass_events(hook.id, holder(1), second, hook.revision).await.unwrap();
    assert_eq!(found(harness, hook.id).await.failing, None);
    assert_eq!(outcome(harness, second).await, (DeliveryStatus::Dropped, 1, false));
}

pub async fn what_is_not_tried_any_more_says_so(harness: &Harness) {
    let moved = WebhookPatch { url: Some("https://example.net/".to_owned()), ..Default::default() };
    for (number, patch) in (1..).zip([enabled(false), failures(), moved]) {
        let hook = added(harness, number).await;
        let waits = event(harness, number).await;
        failing(harness, hook.id, waits).await;
        let changed = patched(harness, hook.id, patch).await;
        assert_eq!(changed.failing, None);
        assert_eq!(outcome(harness, waits).await, (DeliveryStatus::Dropped, 1, false));
        if changed.is_enabled() {
            assert!(claimed(harness, hook.id, 1).await);
            let accepted = attempt(waits, DeliveryResult::Accepted);
            assert_eq!(settled(harness, hook.id, accepted).await.unwrap().attempts, 1);
            assert_eq!(outcome(harness, waits).await, (DeliveryStatus::Delivered, 2, false));
        }
    }
}

pub async fn no_event_is_given_up_by_a_clock_that_may_be_wrong(harness: &Harness) {
    let hook = added(harness, 1).await;
    let first = event(harness, 1).await;
    let again = async || {
        harness.clock.advance(Duration::from_hours(12));
        assert!(claimed(harness, hook.id, 1).await);
        settled(harness, hook.id, attempt(first, failed(60))).await.unwrap()
    };
    for attempts in 1..WEBHOOK_LEAST_ATTEMPTS {
        let settled = again().await;
        assert_eq!((settled.status, settled.attempts), (DeliveryStatus::Retrying, attempts));
    }
    harness.clock.step(SignedDuration::from_hours(24 * 400));
    assert_eq!(again().await.status, DeliveryStatus::Retrying);
    harness.store.confirm_clock(ClockEvidence::Operator);
    assert_eq!(again().await.status, DeliveryStatus::GivenUp);
}

pub async fn a_person_who_says_that_it_works_again_is_believed(harness: &Harness) {
    let hook = added(harness, 1).await;
    let first = event(harness, 1).await;
    let test = |accepted| TestDelivery {
        event_type: "test".to_owned(),
        message_id: format!("t-{accepted}"),
        correlation_id: CorrelationId::parse("c-9").unwrap(),
        accepted,
        response_status: None,
        took: Duration::ZERO,
        error: None,
    };
    failing(harness, hook.id, first).await;
    harness.store.note_test(hook.id, test(false)).await.unwrap();
    assert!(!claimed(harness, hook.id, 1).await, "it does not work yet");
    harness.store.note_test(hook.id, test(true)).await.unwrap();
    failing(harness, hook.id, first).await;
    let on = patched(harness, hook.id, enabled(true)).await;
    let expected = Failing { event: first, since: at(0), attempts: 2, next_at: at(0) };
    assert_eq!(
        (on.failing, on.position, on.revision),
        (Some(expected), hook.position, hook.revision)
    );
    assert!(claimed(harness, hook.id, 1).await);
}
