//! Damaged settings and webhooks: what they might limit is held back, and what they name is listed.

use std::task::Poll;

use st_store::{Actor, ProviderSettingsPatch, SettingChange};
use st_testkit::suite::webhooks::new_webhook;
use st_testkit::suite::{at, claiming, fake, job};

use super::bench::Bench;

fn at_most(jobs: u32) -> ProviderSettingsPatch {
    let max_concurrent = SettingChange::Set(jobs);
    ProviderSettingsPatch { max_concurrent, ..ProviderSettingsPatch::default() }
}

#[tokio::test]
async fn a_limit_of_a_provider_that_cannot_be_read_lets_nothing_through_until_it_is_set_again() {
    let bench = Bench::new().await;
    bench.store.patch_provider_settings(&fake(), at_most(2), &Actor::Operator).await.unwrap();
    bench.submit(job(1, "ann")).await;
    bench.damage("UPDATE provider_settings SET value = 'many' WHERE name = 'max_concurrent'");
    let bench = bench.reopened(at(10)).await;
    assert_eq!(bench.store.claim(&claiming(9)).await.unwrap().claims.len(), 0);
    bench.store.patch_provider_settings(&fake(), at_most(2), &Actor::Operator).await.unwrap();
    assert_eq!(bench.store.claim(&claiming(9)).await.unwrap().claims.len(), 1);
}

#[tokio::test]
async fn a_setting_that_another_program_writes_is_obeyed_after_a_second() {
    let bench = Bench::new().await;
    let limit = async || bench.store.provider_settings(&fake()).await.unwrap().max_concurrent;
    bench.store.patch_provider_settings(&fake(), at_most(2), &Actor::Operator).await.unwrap();
    assert_eq!(limit().await, Some(2));
    bench.damage("UPDATE provider_settings SET value = '3' WHERE name = 'max_concurrent'");
    bench.go_to(1);
    assert_eq!(limit().await, Some(3));
}

#[tokio::test]
async fn settings_are_those_of_a_patch_whose_caller_went_away() {
    let bench = Bench::new().await;
    let limit = async || bench.store.provider_settings(&fake()).await.unwrap().max_concurrent;
    let other_program = bench.raw();
    other_program.execute_batch("BEGIN IMMEDIATE").unwrap();
    {
        let provider = fake();
        let patch = bench.store.patch_provider_settings(&provider, at_most(2), &Actor::Operator);
        let mut patch = std::pin::pin!(patch);
        // It is in the writer's queue after the first poll.
        let polled = std::future::poll_fn(|context| Poll::Ready(patch.as_mut().poll(context)));
        drop(polled.await);
    }
    assert_eq!(limit().await, None, "it waits for the other program");
    other_program.execute_batch("COMMIT").unwrap();
    // Writes are made in their order.
    bench.submit(job(1, "ann")).await;
    assert_eq!(limit().await, Some(2));
}

#[tokio::test]
async fn a_webhook_that_cannot_be_read_is_listed_as_damaged_and_can_be_removed() {
    let bench = Bench::new().await;
    let (one, two) = (new_webhook(1), new_webhook(2));
    let damaged = bench.store.add_webhook(one).await.unwrap().id;
    let sound = bench.store.add_webhook(two).await.unwrap();
    bench.damage("UPDATE webhooks SET events = 'luck' WHERE webhook_id = 1");
    let found = bench.store.webhooks().await.unwrap();
    assert_eq!(found.webhooks, [sound]);
    let [row] = found.damaged.try_into().unwrap();
    assert_eq!((row.table, row.key.as_str()), ("webhooks", "1"));
    assert!(row.problem.starts_with("events: "), "{row}");
    assert!(bench.store.remove_webhook(damaged).await.unwrap());
    assert_eq!(bench.store.webhooks().await.unwrap().damaged, []);
}
