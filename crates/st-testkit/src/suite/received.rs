//! Webhooks of providers: remembered, recognized and forgotten.

use jiff::SignedDuration;
use st_store::{ClockEvidence, MessageId, ProviderName, Pruned};

use super::{Harness, fake};

const HOUR: u64 = 3600;

fn webhook(name: &str) -> MessageId {
    MessageId::new(name).unwrap()
}

async fn note(harness: &Harness, name: &str) {
    harness.store.note_received(&fake(), &webhook(name)).await.unwrap();
}

async fn known(harness: &Harness, names: &[&'static str]) -> Vec<&'static str> {
    let mut known = Vec::new();
    for name in names {
        if harness.store.is_received(&fake(), &webhook(name)).await.unwrap() {
            known.push(*name);
        }
    }
    known
}

pub async fn a_webhook_is_remembered_for_its_provider_alone(harness: &Harness) {
    assert_eq!(known(harness, &["a", "b"]).await, [""; 0]);
    note(harness, "a").await;
    note(harness, "a").await;
    assert_eq!(known(harness, &["a", "b", "A"]).await, ["a"]);
    let other = ProviderName::new("other");
    assert!(!harness.store.is_received(&other, &webhook("a")).await.unwrap());
    for bad in ["", "a b", "ä", "a\0", &"x".repeat(MessageId::LONGEST + 1)] {
        assert_eq!(MessageId::new(bad), None, "{bad:?}");
    }
}

pub async fn old_webhooks_are_forgotten_in_chunks_by_a_confirmed_clock(harness: &Harness) {
    for name in ["a", "b", "c"] {
        note(harness, name).await;
    }
    harness.go_to(HOUR);
    note(harness, "d").await;
    // That it comes again makes it no younger.
    note(harness, "a").await;
    let prune = async || harness.store.prune(None, 2).await.unwrap();
    harness.go_to(48 * HOUR - 1);
    assert_eq!(prune().await, Pruned::default());
    harness.go_to(48 * HOUR);
    let first = prune().await;
    assert_eq!((first.webhooks, first.more), (2, true));
    assert_eq!(known(harness, &["a", "b", "c", "d"]).await, ["c", "d"]);
    let second = prune().await;
    assert_eq!((second.webhooks, second.more), (1, false));
    assert_eq!(known(harness, &["a", "b", "c", "d"]).await, ["d"]);
    harness.clock.step(SignedDuration::from_hours(24 * 400));
    let refused = prune().await;
    assert_eq!(refused, Pruned { clock_unconfirmed: true, ..Pruned::default() });
    assert_eq!(known(harness, &["d"]).await, ["d"]);
    harness.store.confirm_clock(ClockEvidence::Operator);
    assert_eq!(prune().await.webhooks, 1);
}
