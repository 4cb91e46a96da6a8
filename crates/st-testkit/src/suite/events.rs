//! Events and settings.

use serde_json::{Map, json};
use st_store::{Error, EventId, Limits, ProviderName};

use super::{Shared, at, claim, job, submit};

pub async fn events_resume_without_a_gap_or_a_repeat(store: &Shared) {
    for number in 0..5 {
        submit(store, job(number, &format!("user-{number}")), 0).await;
    }
    claim(store, 1).await;
    let all = store.events_after(EventId(0), 1000).await.unwrap();
    let mut seen = Vec::new();
    let mut last = EventId(0);
    loop {
        let some = store.events_after(last, 3).await.unwrap();
        let Some(newest) = some.last() else { break };
        last = newest.id;
        seen.extend(some);
    }
    assert_eq!(seen, all);
    assert_eq!(*store.last_event().borrow(), last);
    assert!(all.iter().all(|event| event.event.correlation_id.as_str().starts_with("c-")));
}

pub async fn who_waits_is_woken_after_the_commit(store: &Shared) {
    let mut events = store.last_event();
    let before = *events.borrow_and_update();
    submit(store, job(1, "ann"), 0).await;
    events.changed().await.unwrap();
    let newest = *events.borrow_and_update();
    assert!(newest > before);
    let read = store.events_after(before, 10).await.unwrap();
    assert_eq!(read.last().unwrap().id, newest, "what woke can be read");
}

pub async fn settings_are_kept_and_patched_without_loss(store: &Shared) {
    let fake = ProviderName::new("fake");
    let writes: Vec<_> = (0..10)
        .map(|number| {
            let (store, fake) = (std::sync::Arc::clone(store), fake.clone());
            let patch = Map::from_iter([(format!("key-{number}"), json!(number))]);
            st_log::spawn(async move { store.patch_provider_config(&fake, patch, at(0)).await })
        })
        .collect();
    for write in writes {
        write.await.unwrap().unwrap();
    }
    assert_eq!(store.provider_config(&fake).await.unwrap().len(), 10);
    let remove = Map::from_iter([("key-3".to_owned(), json!(null))]);
    let config = store.patch_provider_config(&fake, remove, at(1)).await.unwrap();
    assert_eq!((config.len(), config.get("key-3")), (9, None));
    assert!(store.provider_config(&ProviderName::new("other")).await.unwrap().is_empty());
}

pub async fn limits_out_of_range_are_refused(store: &Shared) {
    assert_eq!(store.limits().await.unwrap(), Limits::default());
    let bad = Limits { global: 101, ..Limits::default() };
    assert!(matches!(store.set_limits(bad, at(0)).await, Err(Error::InvalidLimits(_))));
    let good = Limits { global: 7, fair_share: true, ..Limits::default() };
    store.set_limits(good, at(0)).await.unwrap();
    assert_eq!(store.limits().await.unwrap(), good);
}
