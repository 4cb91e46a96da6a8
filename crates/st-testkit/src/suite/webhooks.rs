//! Webhooks: stored, changed, claimed, settled, and what is remembered of their messages.

use std::time::Duration;

use jiff::SignedDuration;
use st_log::CorrelationId;
use st_store::{
    ClockEvidence, Delivery, DeliveryAttempt, DeliveryResult, DeliveryStatus, Error, EventId,
    Failing, FilterRevision, InvalidWebhook, KEPT_DELIVERIES, MAX_WEBHOOK_PAUSE, MOST_WEBHOOKS,
    NewWebhook, PageRequest, SettledDelivery, TestDelivery, UserId, WEBHOOK_LEAST_ATTEMPTS,
    WantedEvents, Webhook, WebhookEvent, WebhookId, WebhookPatch, WebhookSecret, WebhookState,
};

use super::{Harness, at, everything, holder, job};

pub(super) const LEASE: Duration = Duration::from_mins(1);
pub(super) const DAY: u64 = 24 * 3600;

pub(super) fn secret(number: u8) -> WebhookSecret {
    WebhookSecret::new(vec![number; 32]).unwrap()
}

/// A webhook of ann's that wants everything.
pub fn new_webhook(number: u8) -> NewWebhook {
    NewWebhook {
        name: format!("hook {number}"),
        url: format!("https://example.org/{number}"),
        enabled: true,
        events: WantedEvents::All,
        owner: UserId::new("ann"),
        secret: secret(number),
    }
}

pub(super) async fn added(harness: &Harness, number: u8) -> Webhook {
    harness.store.add_webhook(new_webhook(number)).await.unwrap()
}

/// Commits an event and returns its ID.
pub(super) async fn event(harness: &Harness, number: u8) -> EventId {
    harness.submit(job(number, &format!("user-{number}"))).await;
    *harness.store.last_event().borrow()
}

/// An attempt that ended so.
pub fn attempt(event: EventId, result: DeliveryResult) -> DeliveryAttempt {
    let accepted = result == DeliveryResult::Accepted;
    DeliveryAttempt {
        event,
        kind: WebhookEvent::JobPending,
        message_id: format!("msg_{event}"),
        correlation_id: CorrelationId::parse("c-1").unwrap(),
        result,
        response_status: Some(if accepted { 204 } else { 500 }),
        took: Duration::from_millis(12),
        error: (!accepted).then(|| "it answered 500".to_owned()),
    }
}

pub(super) fn failed(seconds: i64) -> DeliveryResult {
    DeliveryResult::Failed { retry_in: SignedDuration::from_secs(seconds) }
}

pub(super) async fn claimed(harness: &Harness, id: WebhookId, by: u8) -> bool {
    harness.store.claim_webhook(id, holder(by), LEASE).await.unwrap().is_some()
}

pub(super) async fn settled(
    harness: &Harness,
    id: WebhookId,
    attempt: DeliveryAttempt,
) -> Option<SettledDelivery> {
    harness.store.settle_attempt(id, holder(1), attempt, LEASE).await.unwrap()
}

pub(super) async fn found(harness: &Harness, id: WebhookId) -> Webhook {
    harness.store.find_webhook(id).await.unwrap().unwrap().webhook
}

pub(super) async fn history(harness: &Harness, of: Option<WebhookId>) -> Vec<Delivery> {
    harness.store.deliveries(of, everything()).await.unwrap()
}

pub async fn a_webhook_begins_after_the_newest_event(harness: &Harness) {
    let newest = event(harness, 1).await;
    harness.go_to(5);
    let hook = added(harness, 1).await;
    let expected = Webhook {
        id: hook.id,
        name: "hook 1".to_owned(),
        url: "https://example.org/1".to_owned(),
        state: WebhookState::Enabled,
        events: WantedEvents::All,
        owner: UserId::new("ann"),
        created_at: at(5),
        last_triggered_at: None,
        position: newest,
        revision: FilterRevision(0),
        failing: None,
        lease: None,
    };
    assert_eq!(hook, expected);
    let keyed = harness.store.find_webhook(hook.id).await.unwrap().unwrap();
    assert_eq!((keyed.webhook, keyed.secrets), (expected, vec![secret(1)]));
    let second = added(harness, 2).await;
    assert!(second.id > hook.id);
    assert_eq!(harness.store.webhooks().await.unwrap().webhooks, [hook, second]);
    assert_eq!(harness.store.find_webhook(WebhookId(99)).await.unwrap(), None);
}

pub async fn a_webhook_that_cannot_be_stored_is_refused(harness: &Harness) {
    let bad = NewWebhook { name: "a\0".to_owned(), ..new_webhook(1) };
    let refused = harness.store.add_webhook(bad).await.unwrap_err();
    assert!(matches!(refused, Error::InvalidWebhook(InvalidWebhook::Text(_))), "{refused}");
    for _ in 0..MOST_WEBHOOKS {
        added(harness, 1).await;
    }
    let refused = harness.store.add_webhook(new_webhook(1)).await.unwrap_err();
    assert!(matches!(refused, Error::InvalidWebhook(InvalidWebhook::TooMany)), "{refused}");
    let patch = WebhookPatch { url: Some("\0".to_owned()), ..WebhookPatch::default() };
    harness.store.patch_webhook(WebhookId(1), patch).await.unwrap_err();
    let missing = harness.store.patch_webhook(WebhookId(999), WebhookPatch::default()).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
}

pub async fn a_webhook_is_changed_and_removed(harness: &Harness) {
    let hook = added(harness, 1).await;
    let wanted = WantedEvents::of([WebhookEvent::JobFailed]);
    let patch = WebhookPatch {
        name: Some("other".to_owned()),
        events: Some(wanted.clone()),
        ..WebhookPatch::default()
    };
    let changed = harness.store.patch_webhook(hook.id, patch).await.unwrap();
    let revision = FilterRevision(1);
    let expected = Webhook { name: "other".to_owned(), events: wanted, revision, ..hook.clone() };
    assert_eq!(changed, expected);
    assert_eq!(found(harness, hook.id).await, expected);
    let off = WebhookPatch { enabled: Some(false), ..WebhookPatch::default() };
    harness.store.patch_webhook(hook.id, off).await.unwrap();
    let missed = event(harness, 1).await;
    assert!(!claimed(harness, hook.id, 1).await, "it is off");
    let on = WebhookPatch { enabled: Some(true), ..WebhookPatch::default() };
    let again = harness.store.patch_webhook(hook.id, on).await.unwrap();
    assert_eq!((again.state, again.position), (WebhookState::Enabled, missed));
    assert!(harness.store.remove_webhook(hook.id).await.unwrap());
    assert!(!harness.store.remove_webhook(hook.id).await.unwrap());
    assert_eq!(harness.store.webhooks().await.unwrap().webhooks, []);
    assert!(added(harness, 1).await.id > hook.id, "an ID is never used again");
}

pub async fn an_old_secret_is_used_for_a_day_more(harness: &Harness) {
    let hook = added(harness, 1).await;
    let rotate = async |number: u8| {
        let patch = WebhookPatch { secret: Some(secret(number)), ..WebhookPatch::default() };
        harness.store.patch_webhook(hook.id, patch).await.unwrap();
    };
    let secrets = async || harness.store.find_webhook(hook.id).await.unwrap().unwrap().secrets;
    rotate(1).await;
    assert_eq!(secrets().await, [secret(1)], "the same again is no rotation");
    harness.go_to(10);
    rotate(2).await;
    assert_eq!(secrets().await, [secret(2), secret(1)]);
    harness.go_to(10 + DAY - 1);
    let keyed = harness.store.claim_webhook(hook.id, holder(1), LEASE).await.unwrap().unwrap();
    assert_eq!(keyed.secrets, [secret(2), secret(1)]);
    harness.go_to(10 + DAY);
    assert_eq!(secrets().await, [secret(2)]);
    rotate(3).await;
    assert_eq!(secrets().await, [secret(3), secret(2)]);
    harness.go_to(20 + DAY);
    rotate(4).await;
    rotate(5).await;
    assert_eq!(secrets().await, [5, 4, 3, 2].map(secret), "each is used until its own end");
    let one_more = WebhookPatch { secret: Some(secret(6)), ..WebhookPatch::default() };
    let refused = harness.store.patch_webhook(hook.id, one_more).await.unwrap_err();
    let until = at(10 + 2 * i64::try_from(DAY).unwrap());
    assert!(
        matches!(refused, Error::InvalidWebhook(InvalidWebhook::TooManySecrets { until: end }) if end == until),
        "{refused}"
    );
    rotate(3).await;
    assert_eq!(secrets().await, [3, 5, 4, 2].map(secret), "back to one that is in use");
    harness.go_to(10 + 2 * DAY);
    rotate(6).await;
    assert_eq!(secrets().await, [6, 3, 5, 4].map(secret));
}

pub async fn one_holder_delivers_and_others_wait_for_its_lease(harness: &Harness) {
    let hook = added(harness, 1).await;
    let first = event(harness, 1).await;
    assert!(claimed(harness, hook.id, 1).await);
    assert!(!claimed(harness, hook.id, 2).await);
    assert!(claimed(harness, hook.id, 1).await, "its own lease is in nobody's way");
    harness.store.pass_events(hook.id, holder(2), EventId(99), hook.revision).await.unwrap();
    let unchanged = found(harness, hook.id).await;
    assert_eq!((unchanged.position, unchanged.lease.unwrap().holder), (hook.position, holder(1)));
    harness.go_to(59);
    let done = settled(harness, hook.id, attempt(first, DeliveryResult::Accepted)).await.unwrap();
    assert_eq!((done.status, done.webhook.position), (DeliveryStatus::Delivered, first));
    assert_eq!(done.webhook.lease.unwrap().until, at(119), "the next one follows");
    harness.go_to(119);
    assert!(claimed(harness, hook.id, 2).await, "the lease has ended");
    let late = attempt(EventId(first.0 + 1), DeliveryResult::Accepted);
    assert_eq!(settled(harness, hook.id, late).await, None, "it is another's now");
    harness
        .store
        .pass_events(hook.id, holder(2), EventId(first.0 + 1), hook.revision)
        .await
        .unwrap();
    let passed = found(harness, hook.id).await;
    assert_eq!((passed.position, passed.lease), (EventId(first.0 + 1), None));
    assert!(claimed(harness, hook.id, 1).await);
    assert_eq!(harness.store.end_webhook_leases(holder(1)).await.unwrap(), 0);
    assert_eq!(harness.store.end_webhook_leases(holder(3)).await.unwrap(), 1);
    assert!(claimed(harness, hook.id, 3).await);
}

pub async fn a_failed_event_is_tried_again_until_it_is_given_up(harness: &Harness) {
    let hook = added(harness, 1).await;
    let first = event(harness, 1).await;
    harness.go_to(10);
    assert!(claimed(harness, hook.id, 1).await);
    let once = settled(harness, hook.id, attempt(first, failed(30))).await.unwrap();
    let failing = Failing { event: first, since: at(10), attempts: 1, next_at: at(40) };
    assert_eq!((once.status, once.webhook.failing), (DeliveryStatus::Retrying, Some(failing)));
    assert_eq!((once.webhook.position, once.webhook.lease), (hook.position, None));
    harness.go_to(39);
    assert!(!claimed(harness, hook.id, 1).await, "not due");
    harness.go_to(40);
    assert!(claimed(harness, hook.id, 1).await);
    let far = attempt(first, failed(9_000_000));
    let twice = settled(harness, hook.id, far.clone()).await.unwrap();
    let next_at = at(40) + MAX_WEBHOOK_PAUSE;
    assert_eq!(
        twice.webhook.failing,
        Some(Failing { event: first, since: at(10), attempts: 2, next_at })
    );
    assert_eq!((twice.attempts, twice.failing_since), (2, Some(at(10))));
    assert_eq!(settled(harness, hook.id, far).await, None, "settled once");
    let known = history(harness, Some(hook.id)).await;
    assert_eq!(known.len(), 1, "one message, however often it is sent");
    assert_eq!(
        (known[0].status, known[0].attempts, known[0].first_at, known[0].last_at, known[0].next_at),
        (DeliveryStatus::Retrying, 2, at(10), at(40), Some(next_at))
    );
    for attempts in 3..WEBHOOK_LEAST_ATTEMPTS {
        harness.go_to(10 + 3 * DAY + 60 * u64::from(attempts));
        assert!(claimed(harness, hook.id, 1).await);
        let again = settled(harness, hook.id, attempt(first, failed(30))).await.unwrap();
        assert_eq!((again.status, again.attempts), (DeliveryStatus::Retrying, attempts));
    }
    harness.go_to(11 + 4 * DAY);
    assert!(claimed(harness, hook.id, 1).await);
    let given_up = settled(harness, hook.id, attempt(first, failed(30))).await.unwrap();
    assert_eq!((given_up.status, given_up.attempts), (DeliveryStatus::GivenUp, 10));
    assert_eq!((given_up.webhook.position, given_up.webhook.failing), (first, None));
    let known = history(harness, Some(hook.id)).await;
    assert_eq!((known[0].status, known[0].next_at), (DeliveryStatus::GivenUp, None));
    let next = event(harness, 2).await;
    let fine = settled(harness, hook.id, attempt(next, DeliveryResult::Accepted)).await.unwrap();
    assert_eq!((fine.attempts, fine.failing_since), (1, None), "the next one begins anew");
}

pub async fn a_receiver_that_is_gone_disables_its_webhook(harness: &Harness) {
    let hook = added(harness, 1).await;
    let first = event(harness, 1).await;
    assert!(claimed(harness, hook.id, 1).await);
    let gone = settled(harness, hook.id, attempt(first, DeliveryResult::Gone)).await.unwrap();
    assert_eq!((gone.status, gone.webhook.state), (DeliveryStatus::Gone, WebhookState::Gone));
    assert!(!claimed(harness, hook.id, 1).await);
    let on = WebhookPatch { enabled: Some(true), ..WebhookPatch::default() };
    let again = harness.store.patch_webhook(hook.id, on).await.unwrap();
    assert_eq!((again.state, again.position), (WebhookState::Enabled, first));
}

pub async fn another_receiver_gets_what_waits_at_once(harness: &Harness) {
    let hook = added(harness, 1).await;
    let first = event(harness, 1).await;
    assert!(claimed(harness, hook.id, 1).await);
    settled(harness, hook.id, attempt(first, failed(3600))).await.unwrap();
    let moved = WebhookPatch { url: Some("https://example.net/".to_owned()), ..Default::default() };
    let hook = harness.store.patch_webhook(hook.id, moved.clone()).await.unwrap();
    assert_eq!((hook.failing, hook.position < first), (None, true));
    assert!(claimed(harness, hook.id, 1).await);
    let other = WebhookPatch { url: Some("https://example.com/".to_owned()), ..moved };
    harness.store.patch_webhook(hook.id, other).await.unwrap();
    let to_the_old = attempt(first, DeliveryResult::Gone);
    assert_eq!(settled(harness, hook.id, to_the_old).await, None, "it says nothing about the new");
}

pub async fn the_last_messages_are_remembered(harness: &Harness) {
    let (one, two) = (added(harness, 1).await.id, added(harness, 2).await.id);
    let test = |number: i64| TestDelivery {
        event_type: "test".to_owned(),
        message_id: format!("t-{number}"),
        correlation_id: CorrelationId::parse("c-9").unwrap(),
        accepted: number % 2 == 0,
        response_status: None,
        took: Duration::from_millis(3),
        error: (number % 2 == 1).then(|| "no\0answer".to_owned()),
    };
    harness.store.note_test(one, test(1)).await.unwrap();
    harness.store.note_test(WebhookId(99), test(1)).await.unwrap();
    let noted = history(harness, None).await.remove(0);
    let expected = Delivery {
        webhook: one,
        event: None,
        event_type: "test".to_owned(),
        message_id: "t-1".to_owned(),
        correlation_id: CorrelationId::parse("c-9").unwrap(),
        status: DeliveryStatus::Failed,
        attempts: 1,
        first_at: at(0),
        last_at: at(0),
        next_at: None,
        response_status: None,
        took: Duration::from_millis(3),
        error: Some("no\u{fffd}answer".to_owned()),
    };
    assert_eq!(noted, expected);
    harness.go_to(5);
    harness.store.note_test(two, test(2)).await.unwrap();
    for number in 3..=KEPT_DELIVERIES + 3 {
        harness.store.note_test(one, test(number)).await.unwrap();
    }
    let ids = |found: Vec<Delivery>| found.into_iter().map(|it| it.message_id).collect::<Vec<_>>();
    let of_one = ids(history(harness, Some(one)).await);
    assert_eq!(of_one.len(), usize::try_from(KEPT_DELIVERIES).unwrap());
    assert_eq!((of_one[0].as_str(), of_one[499].as_str()), ("t-503", "t-4"));
    assert_eq!(ids(history(harness, Some(two)).await), ["t-2"]);
    let page = PageRequest { limit: 2, offset: 1 };
    assert_eq!(ids(harness.store.deliveries(Some(one), page).await.unwrap()), ["t-502", "t-501"]);
    assert_eq!(ids(harness.store.deliveries(None, page).await.unwrap()), ["t-503", "t-502"]);
    harness.store.remove_webhook(one).await.unwrap();
    assert_eq!(ids(history(harness, None).await), ["t-2"]);
}

pub async fn old_messages_are_forgotten(harness: &Harness) {
    let hook = added(harness, 1).await.id;
    for number in 0..4 {
        harness.go_to(number);
        let test = TestDelivery {
            event_type: "test".to_owned(),
            message_id: format!("t-{number}"),
            correlation_id: CorrelationId::parse("c-9").unwrap(),
            accepted: true,
            response_status: Some(200),
            took: Duration::ZERO,
            error: None,
        };
        harness.store.note_test(hook, test).await.unwrap();
    }
    harness.go_to(30 * DAY + 2);
    assert_eq!(harness.store.prune_deliveries(2).await.unwrap(), 2);
    assert_eq!(harness.store.prune_deliveries(2).await.unwrap(), 1);
    assert_eq!(harness.store.prune_deliveries(2).await.unwrap(), 0);
    assert_eq!(history(harness, None).await.len(), 1);
    harness.clock.step(SignedDuration::from_hours(24 * 400));
    assert_eq!(harness.store.prune_deliveries(2).await.unwrap(), 0, "the clock may be wrong");
    harness.store.confirm_clock(ClockEvidence::Operator);
    assert_eq!(harness.store.prune_deliveries(2).await.unwrap(), 1);
}

pub async fn a_pause_moves_with_the_clock(harness: &Harness) {
    let (hook, other) = (added(harness, 1).await.id, added(harness, 2).await.id);
    let first = event(harness, 1).await;
    assert!(claimed(harness, hook, 1).await && claimed(harness, other, 1).await);
    settled(harness, hook, attempt(first, failed(30))).await.unwrap();
    let rotate = WebhookPatch { secret: Some(secret(7)), ..WebhookPatch::default() };
    harness.store.patch_webhook(hook, rotate).await.unwrap();
    let hour = SignedDuration::from_hours(1);
    for by in [hour, -hour - hour] {
        harness.clock.step(by);
        // A write takes up the new time.
        harness
            .store
            .pass_events(WebhookId(99), holder(1), first, FilterRevision(0))
            .await
            .unwrap();
    }
    let moved = found(harness, hook).await.failing.unwrap();
    assert_eq!((moved.since, moved.next_at), (at(0) - hour, at(30) - hour));
    assert_eq!(found(harness, other).await.lease.unwrap().until, at(60) - hour);
    harness.go_to(29);
    assert!(!claimed(harness, hook, 1).await && !claimed(harness, other, 2).await);
    harness.go_to(60);
    assert!(claimed(harness, hook, 1).await && claimed(harness, other, 2).await);
    harness.go_to(DAY - 1);
    let secrets = async || harness.store.find_webhook(hook).await.unwrap().unwrap().secrets.len();
    assert_eq!(secrets().await, 2);
    harness.go_to(DAY);
    assert_eq!(secrets().await, 1);
}
