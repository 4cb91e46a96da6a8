//! Webhooks that change while events go out, that are far behind, and what a stop leaves of them.

use std::time::Duration;

use st_store::{Actor, DeliveryStatus, Scope, UserId, WantedEvents, WebhookEvent, WebhookPatch};
use st_testkit::receiver::{Receiver, Reply};
use st_testkit::suite;

use super::webhooks::{Bench, jobs};

/// Commits so many events that no webhook for jobs wants.
async fn others(bench: &Bench, pairs: usize) {
    let ann = Scope::User(UserId::new("ann"));
    for _ in 0..pairs {
        bench.harness.store.pause(ann.clone(), None, &Actor::Operator).await.unwrap();
        bench.harness.store.resume(&ann, &Actor::Operator).await.unwrap();
    }
}

fn wants(kind: WebhookEvent) -> WebhookPatch {
    WebhookPatch { events: Some(WantedEvents::of([kind])), ..WebhookPatch::default() }
}

#[tokio::test]
async fn what_is_wanted_since_is_not_lost_while_an_event_goes_out() {
    let bench = Bench::start().await;
    let hook = bench.hook().await;
    bench.receiver.plan([Reply::Held]);
    bench.submit([1]).await;
    let mut served = bench.task.served();
    bench.run().await;
    bench.receiver.wait_for(1).await;
    let before = bench.found(&hook).await.position;
    bench.harness.store.patch_webhook(hook.id, wants(WebhookEvent::LimitsChanged)).await.unwrap();
    others(&bench, 1).await;
    bench.receiver.release();
    served.changed().await.unwrap();
    assert_eq!(bench.found(&hook).await.position, before, "nothing is passed by the old wish");
    bench.deliver().await;
    let types: Vec<_> =
        bench.receiver.received()[1..].iter().map(|it| it.json()["type"].clone()).collect();
    assert_eq!(types, ["limits.changed", "limits.changed"]);
}

#[tokio::test]
async fn what_a_walk_passed_is_void_when_other_events_are_wanted() {
    let bench = Bench::start().await;
    let hook = bench.hook().await;
    others(&bench, 1).await;
    assert_eq!(bench.run().await.counts, [("begun", 0)]);
    bench.harness.store.patch_webhook(hook.id, wants(WebhookEvent::LimitsChanged)).await.unwrap();
    bench.deliver().await;
    assert_eq!(bench.receiver.received().len(), 2, "its position had not passed them");
}

#[tokio::test]
async fn one_that_is_far_behind_delays_no_other() {
    let bench = Bench::start().await;
    let far = bench.add(bench.receiver.url(), WantedEvents::of([WebhookEvent::JobFailed])).await;
    others(&bench, 500).await;
    let near = Receiver::start().await;
    bench.add(near.url(), WantedEvents::of([WebhookEvent::JobPending])).await;
    bench.submit([1]).await;
    let mut served = bench.task.served();
    let first = bench.run().await;
    assert_eq!((first.counts, first.wake_in), (vec![("begun", 1)], Some(Duration::ZERO)));
    served.changed().await.unwrap();
    assert_eq!(jobs(&near.received()), ["c-1"]);
    assert_eq!(bench.found(&far).await.position, far.position, "it is not far enough to be stored");
    let second = bench.run().await;
    assert_eq!(second.wake_in, None, "what the first run read is not read again");
    assert_eq!(bench.found(&far).await.position, *bench.harness.store.last_event().borrow());
}

#[tokio::test]
async fn an_event_that_is_gone_is_not_waited_for() {
    let bench = Bench::start().await;
    let hook = bench.hook().await;
    bench.receiver.plan([Reply::Status(500)]);
    bench.submit([1]).await;
    bench.deliver().await;
    let failing = bench.found(&hook).await.failing.unwrap();
    let (job, ann) = (suite::id(1), suite::user("ann"));
    bench.harness.store.cancel_job(job, &ann).await.unwrap();
    bench.harness.store.delete_job(job, &ann).await.unwrap();
    bench.harness.clock.advance(Duration::from_mins(1));
    bench.run().await;
    let found = bench.found(&hook).await;
    assert_eq!((found.failing, found.position >= failing.event), (None, true));
    assert_eq!(bench.history().await[0].status, DeliveryStatus::Dropped);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_message_that_is_under_way() {
    let bench = Bench::start().await;
    let hook = bench.hook().await;
    bench.receiver.plan([Reply::Held]);
    bench.submit([1]).await;
    bench.run().await;
    bench.receiver.wait_for(1).await;
    let (dispatcher, receiver) = (bench.dispatcher.clone(), bench.receiver.clone());
    let ((), left) = tokio::join!(
        async move {
            tokio::task::yield_now().await;
            receiver.release();
        },
        dispatcher.drain(Duration::from_secs(10)),
    );
    assert_eq!(left, 0);
    assert_eq!(bench.history().await[0].status, DeliveryStatus::Delivered);
    assert_eq!(bench.found(&hook).await.lease, None);
}

#[tokio::test]
async fn a_test_is_remembered_although_its_caller_is_gone() {
    let bench = Bench::start().await;
    let hook = bench.hook().await;
    bench.receiver.plan([Reply::Held]);
    {
        let test = bench.task.test(hook.id, "test");
        tokio::select! {
            biased;
            _ = test => panic!("it is held"),
            _ = bench.receiver.wait_for(1) => {}
        }
    }
    bench.receiver.release();
    bench.dispatcher.drain(Duration::from_secs(10)).await;
    assert_eq!(bench.history().await[0].status, DeliveryStatus::Delivered);
}

#[tokio::test]
async fn an_answer_that_never_ends_delays_nothing() {
    let bench = Bench::start().await;
    bench.hook().await;
    bench.receiver.plan([Reply::Endless]);
    bench.submit([1]).await;
    let began = tokio::time::Instant::now();
    bench.deliver().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(bench.history().await[0].status, DeliveryStatus::Delivered);
}
