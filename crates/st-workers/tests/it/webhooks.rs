//! Webhooks on a store in memory and a receiver on a real socket.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use st_http::{AddressPolicy, Client, Config};
use st_store::{
    Actor, Delivery, DeliveryStatus, Error, Event, EventId, MemoryStore, NewWebhook, PageRequest,
    Scope, UserId, WantedEvents, Webhook, WebhookEvent, WebhookPatch, WebhookSecret, WebhookState,
};
use st_testkit::flaky_store::FlakyStore;
use st_testkit::receiver::{Received, Receiver, Reply};
use st_testkit::suite::{Harness, at, job};
use st_workers::tasks::webhooks::{WebhookDelivery, WebhooksConfig};
use st_workers::{Cycle, Dispatcher, Providers, Reason, RunSummary, Task};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt as _;

const DAY: u64 = 24 * 3600;

/// The task on a store in memory, and who receives what it sends.
pub(crate) struct Bench {
    pub(crate) harness: Harness,
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) task: WebhookDelivery,
    pub(crate) receiver: Receiver,
}

fn show(event: &Event) -> Value {
    json!({"id": event.id.0, "type": event.event.change.event_type()})
}

fn task(harness: &Harness, addresses: AddressPolicy) -> (Arc<Dispatcher>, WebhookDelivery) {
    let client = Client::new(Config { addresses, ..Config::default() }).unwrap();
    let none: Providers = std::iter::empty().collect();
    let dispatcher = Arc::new(Dispatcher::new(Arc::clone(&harness.store), &none, 7));
    let config = WebhooksConfig { client, show };
    let task = WebhookDelivery::new(&harness.store, &dispatcher, config, 7);
    (dispatcher, task)
}

pub(crate) fn local() -> AddressPolicy {
    AddressPolicy::public().allow("127.0.0.0/8".parse().unwrap())
}

pub(crate) fn secret(number: u8) -> WebhookSecret {
    WebhookSecret::new(vec![number; 32]).unwrap()
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::with(local()).await
    }

    pub(crate) async fn with(addresses: AddressPolicy) -> Self {
        let harness = Harness::new(|clock| Arc::new(MemoryStore::with_clock(clock)));
        let (dispatcher, task) = task(&harness, addresses);
        Self { harness, dispatcher, task, receiver: Receiver::start().await }
    }

    /// The same store under a new process: what the old one was doing is cut off.
    pub(crate) async fn crash(self) -> Self {
        self.dispatcher.drain(Duration::ZERO).await;
        let (dispatcher, task) = task(&self.harness, local());
        Self { dispatcher, task, ..self }
    }

    pub(crate) async fn add(&self, url: &str, events: WantedEvents) -> Webhook {
        let owner = UserId::new("ann");
        let (name, url) = ("hook".to_owned(), url.to_owned());
        let new = NewWebhook { name, url, enabled: true, events, owner, secret: secret(1) };
        self.harness.store.add_webhook(new).await.unwrap()
    }

    /// A webhook that wants the acceptance of jobs alone.
    pub(crate) async fn hook(&self) -> Webhook {
        self.add(self.receiver.url(), WantedEvents::of([WebhookEvent::JobPending])).await
    }

    pub(crate) async fn submit(&self, numbers: impl IntoIterator<Item = u8>) {
        for number in numbers {
            self.harness.submit(job(number, "ann")).await;
        }
    }

    pub(crate) async fn run(&self) -> RunSummary {
        let cycle = Cycle { reason: Reason::Timer, stopping: CancellationToken::new() };
        self.task.run(&cycle).await.unwrap()
    }

    /// Runs once, and waits until what it began has ended.
    pub(crate) async fn deliver(&self) {
        let mut served = self.task.served();
        assert_eq!(self.run().await.counts, [("begun", 1)]);
        served.changed().await.unwrap();
    }

    pub(crate) async fn history(&self) -> Vec<Delivery> {
        self.harness.store.deliveries(None, PageRequest::default()).await.unwrap()
    }

    pub(crate) async fn found(&self, hook: &Webhook) -> Webhook {
        self.harness.store.find_webhook(hook.id).await.unwrap().unwrap().webhook
    }
}

/// The jobs that messages are about, by the correlation IDs that they came with.
pub(crate) fn jobs(received: &[Received]) -> Vec<String> {
    received.iter().map(|it| it.header("x-correlation-id").to_owned()).collect()
}

/// HMAC-SHA256 as RFC 2104 has it.
fn hmac(key: &WebhookSecret, text: &[u8]) -> Vec<u8> {
    let pad = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key.as_bytes()).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

/// Whether one of the signatures of a message is made with this secret.
fn is_signed(message: &Received, with: &WebhookSecret) -> bool {
    let (id, at) = (message.header("webhook-id"), message.header("webhook-timestamp"));
    let text = [format!("{id}.{at}.").as_bytes(), &message.body].concat();
    let expected = format!("v1,{}", BASE64_STANDARD.encode(hmac(with, &text)));
    message.header("webhook-signature").split(' ').any(|one| one == expected)
}

/// What is logged on this thread from now on.
pub(crate) fn logged() -> (tracing::subscriber::DefaultGuard, impl Fn() -> String) {
    let lines = Arc::new(Mutex::new(String::new()));
    let written = Arc::clone(&lines);
    let settings = st_log::Settings { level: st_log::Level::Debug.into(), ..Default::default() };
    let layer = st_log::layer(&settings, move |line: &[u8]| {
        written.lock().unwrap().push_str(std::str::from_utf8(line).unwrap());
    });
    let guard = tracing::subscriber::set_default(Registry::default().with(layer));
    (guard, move || lines.lock().unwrap().clone())
}

#[tokio::test]
async fn events_arrive_signed_in_order_and_once() {
    let bench = Bench::start().await;
    bench.submit([1]).await;
    let hook = bench.hook().await;
    bench.harness.go_to(100);
    bench.submit([2, 3, 4]).await;
    bench.deliver().await;
    let received = bench.receiver.received();
    assert_eq!(jobs(&received), ["c-2", "c-3", "c-4"], "what was before it was made is not sent");
    for message in &received {
        assert!(is_signed(message, &secret(1)), "{message:?}");
        assert!(!is_signed(message, &secret(2)));
        assert_eq!(message.header("content-type"), "application/json");
        let body = message.json();
        assert_eq!(
            (&body["type"], &body["data"]["type"]),
            (&json!("job.pending"), &json!("job_status_changed"))
        );
        assert_eq!(body["timestamp"], format!("{:.3}", at(100)));
        assert_eq!(message.header("webhook-timestamp"), at(100).as_second().to_string());
        let expected = format!("msg_{}_{}_{}", at(0).as_millisecond(), hook.id, body["data"]["id"]);
        assert_eq!(message.header("webhook-id"), expected);
    }
    assert_eq!(bench.run().await.counts, [("begun", 0)]);
    let found = bench.found(&hook).await;
    assert_eq!((found.position, found.lease), (*bench.harness.store.last_event().borrow(), None));
    assert_eq!(found.last_triggered_at, Some(at(100)));
    let history = bench.history().await;
    assert!(history.iter().all(|it| it.status == DeliveryStatus::Delivered && it.attempts == 1));
    assert_eq!(history[0].correlation_id.as_str(), "c-4");
}

#[tokio::test]
async fn what_nobody_wants_is_passed_without_a_call_and_a_claim() {
    let bench = Bench::start().await;
    let hook = bench.add(bench.receiver.url(), WantedEvents::of([WebhookEvent::JobFailed])).await;
    bench.submit(1..=9).await;
    assert_eq!(bench.run().await.counts, [("begun", 0)]);
    assert_eq!(bench.found(&hook).await, hook, "nothing is written for a few");
    let ann = Scope::User(UserId::new("ann"));
    for _ in 0..501 {
        bench.harness.store.pause(ann.clone(), None, &Actor::Operator).await.unwrap();
        bench.harness.store.resume(&ann, &Actor::Operator).await.unwrap();
    }
    assert_eq!(bench.run().await.wake_in, Some(Duration::ZERO), "the rest follows at once");
    assert_eq!(bench.run().await.wake_in, None);
    let last = *bench.harness.store.last_event().borrow();
    let unread = last.0 - bench.found(&hook).await.position.0;
    assert!(unread < 200, "a start need not read them all again: {unread}");
    assert_eq!(bench.receiver.received().len(), 0);
}

#[tokio::test]
async fn without_a_webhook_that_is_enabled_no_event_is_of_interest() {
    let bench = Bench::start().await;
    let wanted = bench.task.wanted();
    bench.run().await;
    assert!(!*wanted.borrow());
    let hook = bench.hook().await;
    bench.run().await;
    assert!(*wanted.borrow());
    let off = WebhookPatch { enabled: Some(false), ..WebhookPatch::default() };
    bench.harness.store.patch_webhook(hook.id, off).await.unwrap();
    bench.run().await;
    assert!(!*wanted.borrow());
}

#[tokio::test]
async fn a_failure_is_tried_again_before_what_comes_after_it() {
    let bench = Bench::start().await;
    let hook = bench.hook().await;
    bench.receiver.plan([Reply::Status(500), Reply::Later("7200"), Reply::Status(302)]);
    bench.submit([1, 2]).await;
    bench.deliver().await;
    let first = bench.history().await.remove(0);
    assert_eq!((first.status, first.response_status), (DeliveryStatus::Retrying, Some(500)));
    assert_eq!(first.error.as_deref(), Some("its receiver answered 500 Internal Server Error"));
    let wait = bench.run().await.wake_in.unwrap();
    assert!((3750..=6250).contains(&wait.as_millis()), "5 s with jitter: {wait:?}");
    bench.harness.clock.advance(wait);
    bench.deliver().await;
    assert_eq!(bench.run().await.wake_in, Some(Duration::from_hours(2)), "as it asked for");
    bench.harness.clock.advance(Duration::from_secs(7199));
    assert_eq!(bench.run().await.counts, [("begun", 0)]);
    bench.harness.clock.advance(Duration::from_secs(1));
    bench.deliver().await;
    assert_eq!(bench.history().await[0].response_status, Some(302), "no redirect is followed");
    bench.harness.clock.advance(Duration::from_mins(1));
    bench.deliver().await;
    let received = bench.receiver.received();
    assert_eq!(jobs(&received), ["c-1", "c-1", "c-1", "c-1", "c-2"]);
    let ids: Vec<&str> = received.iter().map(|it| it.header("webhook-id")).collect();
    assert!(ids[..4].iter().all(|id| *id == ids[0]) && ids[4] != ids[0], "{ids:?}");
    assert!(
        received.iter().all(|it| is_signed(it, &secret(1))),
        "the time is signed as it is then"
    );
    let history = bench.history().await;
    assert_eq!((history.len(), history[1].attempts), (2, 4));
    assert_eq!(bench.found(&hook).await.failing, None);
}

#[tokio::test]
async fn a_crash_repeats_one_message_and_loses_none() {
    let bench = Bench::start().await;
    let hook = bench.hook().await;
    bench.receiver.plan([Reply::Status(200), Reply::Silence]);
    bench.submit([1, 2, 3]).await;
    bench.run().await;
    bench.receiver.wait_for(2).await;
    let bench = bench.crash().await;
    assert!(bench.found(&hook).await.lease.is_some(), "the dead process has the lease");
    bench.deliver().await;
    let received = bench.receiver.received();
    assert_eq!(jobs(&received), ["c-1", "c-2", "c-2", "c-3"]);
    assert_eq!(received[1].header("webhook-id"), received[2].header("webhook-id"));
    assert_eq!(received[1].body, received[2].body);
}

#[tokio::test]
async fn a_silent_receiver_delays_no_other_webhook() {
    let bench = Bench::start().await;
    let silent = Receiver::start().await;
    silent.plan([Reply::Silence]);
    bench.add(silent.url(), WantedEvents::All).await;
    let hook = bench.hook().await;
    bench.submit([1]).await;
    assert_eq!(bench.run().await.counts, [("begun", 2)]);
    silent.wait_for(1).await;
    for number in 2..=5_u8 {
        bench.receiver.wait_for(usize::from(number) - 1).await;
        let mut served = bench.task.served();
        while bench.found(&hook).await.lease.is_some() {
            served.changed().await.unwrap();
        }
        bench.submit([number]).await;
        let mut served = bench.task.served();
        while bench.run().await.counts != [("begun", 1)] {
            served.changed().await.unwrap();
        }
    }
    assert_eq!(jobs(&bench.receiver.wait_for(5).await), ["c-1", "c-2", "c-3", "c-4", "c-5"]);
    assert_eq!(silent.received().len(), 1);
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_left_alone() {
    let bench = Bench::start().await;
    let hook = bench.hook().await;
    bench.receiver.plan([Reply::Status(410)]);
    bench.submit([1, 2]).await;
    let (_guard, log) = logged();
    bench.deliver().await;
    assert_eq!(bench.found(&hook).await.state, WebhookState::Gone);
    assert_eq!(bench.history().await[0].status, DeliveryStatus::Gone);
    let log = log();
    let line = log.lines().find(|line| line.contains("Webhook is disabled")).unwrap();
    assert!(line.contains(r#""level": "WARNING""#) && line.contains(r#""correlation_id": "c-1""#));
    assert!(line.contains(&format!(r#""webhook_id": {}"#, hook.id)), "{line}");
    assert_eq!(bench.run().await.counts, [("begun", 0)]);
    assert_eq!(bench.receiver.received().len(), 1);
}

#[tokio::test]
async fn no_private_address_is_connected_to() {
    let bench = Bench::with(AddressPolicy::public()).await;
    bench.hook().await;
    bench.submit([1]).await;
    bench.deliver().await;
    assert_eq!(bench.receiver.received().len(), 0);
    let refused = bench.history().await.remove(0);
    assert_eq!((refused.status, refused.response_status), (DeliveryStatus::Retrying, None));
    let error = refused.error.unwrap();
    assert!(error.contains("127.0.0.1") && !error.contains("/hook"), "{error}");
}

#[tokio::test]
async fn both_secrets_sign_for_a_day_after_a_rotation() {
    let bench = Bench::start().await;
    let hook = bench.hook().await;
    let rotate = WebhookPatch { secret: Some(secret(2)), ..WebhookPatch::default() };
    bench.harness.store.patch_webhook(hook.id, rotate).await.unwrap();
    bench.submit([1]).await;
    bench.deliver().await;
    bench.harness.go_to(DAY);
    bench.submit([2]).await;
    bench.deliver().await;
    let signed: Vec<_> = bench
        .receiver
        .received()
        .iter()
        .map(|it| [1, 2].map(|number| is_signed(it, &secret(number))))
        .collect();
    assert_eq!(signed, [[true, true], [false, true]]);
}

#[tokio::test]
async fn what_fails_for_three_days_is_given_up_and_the_next_follows() {
    let bench = Bench::start().await;
    bench.hook().await;
    bench.submit([1, 2]).await;
    let (_guard, log) = logged();
    let mut attempts = 0;
    loop {
        bench.receiver.plan([Reply::Status(500)]);
        bench.deliver().await;
        attempts += 1;
        let Some(wait) = bench.run().await.wake_in else { break };
        assert!(wait <= Duration::from_hours(1), "{wait:?}");
        bench.harness.clock.advance(wait);
    }
    assert!((70..120).contains(&attempts), "{attempts}");
    let history = bench.history().await;
    assert_eq!(history[1].status, DeliveryStatus::GivenUp);
    assert!(
        history[1].last_at.duration_since(history[1].first_at) >= SignedDuration::from_hours(72)
    );
    assert_eq!(history[0].status, DeliveryStatus::Delivered);
    let log = log();
    let warned = log.matches("accepts no messages, its events wait").count();
    assert!((60..attempts).contains(&warned), "{warned}");
    assert!(log.contains("Event is given up"), "{log}");
    assert!(!log.contains("/hook"), "the path may be a secret: {log}");
    assert_eq!(jobs(&bench.receiver.received()).last().unwrap(), "c-2");
}

#[tokio::test]
async fn a_test_is_sent_at_once_and_once_and_remembered() {
    let bench = Bench::start().await;
    let hook = bench.hook().await;
    let tested = bench.task.test(hook.id, "test").await.unwrap();
    assert_eq!((tested.accepted, tested.response_status), (true, Some(200)));
    bench.receiver.plan([Reply::Status(404)]);
    let refused = bench.task.test(hook.id, "job.failed").await.unwrap();
    assert_eq!((refused.accepted, refused.response_status), (false, Some(404)));
    let received = bench.receiver.received();
    assert_eq!(
        received.iter().map(|it| it.json()["type"].clone()).collect::<Vec<_>>(),
        ["test", "job.failed"]
    );
    assert!(received.iter().all(|it| is_signed(it, &secret(1))));
    let history = bench.history().await;
    let statuses: Vec<_> = history.iter().map(|it| (it.status, it.event)).collect();
    assert_eq!(statuses, [(DeliveryStatus::Failed, None), (DeliveryStatus::Delivered, None)]);
    assert_eq!(bench.found(&hook).await.position, EventId(0), "it is no event");
    bench.task.test(st_store::WebhookId(99), "test").await.unwrap_err();
}

#[tokio::test]
async fn a_webhook_that_is_switched_off_is_sent_nothing_more() {
    let bench = Bench::start().await;
    let hook = bench.hook().await;
    bench.receiver.plan([Reply::Held]);
    bench.submit([1, 2]).await;
    let mut served = bench.task.served();
    bench.run().await;
    bench.receiver.wait_for(1).await;
    let off = WebhookPatch { enabled: Some(false), ..WebhookPatch::default() };
    let url = format!("{}?moved", bench.receiver.url());
    let moved = WebhookPatch { url: Some(url), ..WebhookPatch::default() };
    bench.harness.store.patch_webhook(hook.id, off).await.unwrap();
    bench.receiver.release();
    served.changed().await.unwrap();
    assert_eq!(bench.run().await.counts, [("begun", 0)]);
    assert_eq!(bench.receiver.received().len(), 1);
    bench.harness.store.patch_webhook(hook.id, moved).await.unwrap();
    let on = WebhookPatch { enabled: Some(true), ..WebhookPatch::default() };
    bench.harness.store.patch_webhook(hook.id, on).await.unwrap();
    bench.submit([3]).await;
    bench.deliver().await;
    assert_eq!(jobs(&bench.receiver.received()), ["c-1", "c-3"]);
}

#[tokio::test]
async fn what_changes_while_events_go_out_counts_for_the_next_one() {
    let bench = Bench::start().await;
    let hook = bench.hook().await;
    bench.receiver.plan([Reply::Held]);
    bench.submit([1, 2]).await;
    let mut served = bench.task.served();
    bench.run().await;
    bench.receiver.wait_for(1).await;
    let rotate = WebhookPatch { secret: Some(secret(2)), ..WebhookPatch::default() };
    bench.harness.store.patch_webhook(hook.id, rotate).await.unwrap();
    bench.receiver.release();
    served.changed().await.unwrap();
    let received = bench.receiver.received();
    let signed: Vec<bool> = received.iter().map(|it| is_signed(it, &secret(2))).collect();
    assert_eq!(signed, [false, true]);
}

impl Bench {
    /// On a store that fails as it is planned.
    pub(crate) async fn flaky() -> (Self, Arc<FlakyStore>) {
        let mut flaky = None;
        let harness = Harness::new(|clock| {
            let store = Arc::new(FlakyStore::new(Arc::new(MemoryStore::with_clock(clock))));
            flaky = Some(Arc::clone(&store));
            store
        });
        let (dispatcher, task) = task(&harness, local());
        let receiver = Receiver::start().await;
        (Self { harness, dispatcher, task, receiver }, flaky.unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_not_asked_again_at_once() {
    let (bench, flaky) = Bench::flaky().await;
    bench.hook().await;
    bench.submit([1]).await;
    flaky.faults().claim_webhook = Some(|| Error::Busy);
    let began = tokio::time::Instant::now();
    bench.deliver().await;
    assert_eq!(began.elapsed(), Duration::from_secs(30));
    flaky.faults().claim_webhook = None;
    assert_eq!(bench.run().await.counts, [("begun", 1)]);
}
