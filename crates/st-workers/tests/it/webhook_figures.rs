//! The numbers of webhooks.

use std::collections::BTreeMap;

use st_store::{DamagedRow, DeliveryStatus, WebhookPatch};
use st_testkit::receiver::Reply;
use st_testkit::suite::at;

use super::webhooks::{Bench, logged};

/// What became of how many events, without what did not happen.
fn outcomes(bench: &Bench) -> BTreeMap<&'static str, u64> {
    let outcomes = bench.task.figures().outcomes.into_iter();
    let counted = outcomes.filter(|(_, count)| *count > 0);
    counted.map(|(outcome, count)| (outcome.as_str(), count)).collect()
}

#[tokio::test]
async fn the_oldest_event_that_waits_is_known_until_it_is_delivered_also_after_a_restart() {
    let bench = Bench::start().await;
    let hook = bench.hook().await;
    bench.harness.go_to(100);
    bench.submit([1]).await;
    bench.harness.go_to(130);
    bench.submit([2]).await;
    bench.receiver.plan([Reply::Status(500)]);
    bench.deliver().await;
    assert_eq!(outcomes(&bench), BTreeMap::from([("retrying", 1)]));
    assert_eq!(bench.task.figures().undelivered, [(hook.id, at(100))]);
    let bench = bench.crash().await;
    bench.run().await;
    assert_eq!(outcomes(&bench), BTreeMap::new());
    let since_its_first_attempt = [(hook.id, at(130))];
    assert_eq!(bench.task.figures().undelivered, since_its_first_attempt);
    bench.harness.go_to(7200);
    bench.deliver().await;
    assert_eq!(outcomes(&bench), BTreeMap::from([("delivered", 2)]));
    assert_eq!(bench.task.figures().undelivered, []);
}

#[tokio::test]
async fn an_event_that_is_given_up_on_or_not_wanted_any_more_waits_no_longer_and_is_counted() {
    let bench = Bench::start().await;
    let hook = bench.hook().await;
    bench.submit([1]).await;
    // It is given up after three days and ten attempts.
    for attempt in 0..10 {
        bench.harness.go_to(attempt * 9 * 3600);
        bench.receiver.plan([Reply::Status(500)]);
        bench.deliver().await;
    }
    assert_eq!(outcomes(&bench), BTreeMap::from([("retrying", 9), ("given_up", 1)]));
    assert_eq!(bench.task.figures().undelivered, []);

    bench.submit([2]).await;
    bench.receiver.plan([Reply::Status(500)]);
    bench.deliver().await;
    assert_eq!(bench.task.figures().undelivered, [(hook.id, at(81 * 3600))]);
    let off = WebhookPatch { enabled: Some(false), ..WebhookPatch::default() };
    bench.harness.store.patch_webhook(hook.id, off).await.unwrap();
    bench.run().await;
    assert_eq!(outcomes(&bench)["dropped"], 1);
    assert_eq!(bench.task.figures().undelivered, []);
    bench.run().await;
    assert_eq!(outcomes(&bench)["dropped"], 1, "it is counted once");
    assert_eq!(bench.history().await[0].status, DeliveryStatus::Dropped);
}

#[tokio::test]
async fn a_webhook_that_cannot_be_read_is_logged_once() {
    let (bench, flaky) = Bench::flaky().await;
    bench.hook().await;
    let problem = "events: unknown".to_owned();
    flaky.faults().damaged = vec![DamagedRow { table: "webhooks", key: "7".to_owned(), problem }];
    let (_guard, log) = logged();
    let lines = || log().matches("Webhook cannot be read and is sent nothing").count();
    for _ in 0..3 {
        bench.run().await;
    }
    assert_eq!(lines(), 1, "{}", log());
    assert!(log().contains("webhooks row 7: events: unknown"), "{}", log());
    flaky.faults().damaged.clear();
    bench.run().await;
    flaky.faults().damaged = vec![DamagedRow {
        table: "webhooks",
        key: "7".to_owned(),
        problem: "url: unknown".to_owned(),
    }];
    bench.run().await;
    assert_eq!(lines(), 2, "another fault is another line");
}
