//! Limits and providers' settings.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use st_log::CorrelationId;
use st_store::{
    Actor, Change, Error, EventId, Limit, Limits, LimitsPatch, MOST_PROVIDER_SLOTS, OutputsSetting,
    ProviderName, ProviderSettings, ProviderSettingsPatch, SettingChange,
};

use super::{Harness, at, fake, user};

fn set(text: &str) -> SettingChange<String> {
    SettingChange::Set(text.to_owned())
}

pub async fn limits_are_patched_without_loss(harness: &Harness) {
    assert_eq!(harness.store.limits().await.unwrap(), Limits::default());
    let values = [(Limit::Global, 7), (Limit::User, 3), (Limit::Team, 9), (Limit::Org, 11)];
    let writes: Vec<_> = values
        .into_iter()
        .map(|(limit, value)| {
            let store = Arc::clone(&harness.store);
            let mut patch = LimitsPatch::default();
            patch.set(limit, value);
            st_log::spawn(async move { store.patch_limits(patch, &user("ann")).await })
        })
        .collect();
    for write in writes {
        write.await.unwrap().unwrap();
    }
    let fair = LimitsPatch { fair_share: Some(true), ..LimitsPatch::default() };
    let limits = harness.store.patch_limits(fair, &Actor::Operator).await.unwrap();
    let expected = Limits {
        global: 7,
        per_user: 3,
        per_team: 9,
        per_org: 11,
        fair_share: true,
        ..Limits::default()
    };
    assert_eq!(limits, expected);
    assert_eq!(harness.store.limits().await.unwrap(), expected);
    let mut messages = harness.messages().await;
    assert_eq!(messages.pop().unwrap(), "operator limits_changed enable_fair_share to true");
    messages.sort();
    assert_eq!(
        messages,
        [
            "user ann limits_changed max_concurrent from 5 to 7",
            "user ann limits_changed org_max_concurrent from 20 to 11",
            "user ann limits_changed team_max_concurrent from 10 to 9",
            "user ann limits_changed user_max_concurrent from 2 to 3",
        ]
    );
}

pub async fn limits_out_of_range_are_refused(harness: &Harness) {
    let mut bad = LimitsPatch { fair_share: Some(true), ..LimitsPatch::default() };
    bad.set(Limit::Global, Limit::Global.largest() + 1);
    let refused = harness.store.patch_limits(bad, &Actor::Operator).await;
    assert!(matches!(refused, Err(Error::InvalidLimits(_))), "{refused:?}");
    assert_eq!(harness.store.limits().await.unwrap(), Limits::default());
    assert_eq!(harness.messages().await, [] as [String; 0]);
}

fn preferences() -> Map<String, Value> {
    [("theme".to_owned(), "dark".into())].into_iter().collect()
}

pub async fn settings_are_patched_without_loss(harness: &Harness) {
    let store = &harness.store;
    let mut writes = Vec::new();
    let none = ProviderSettingsPatch::default;
    for patch in [
        ProviderSettingsPatch { webhook_url: set("https://a"), ..none() },
        ProviderSettingsPatch { version_override: set("v1"), ..none() },
        ProviderSettingsPatch { hardware_profile: set("h100"), ..none() },
        ProviderSettingsPatch { ssl_verify: SettingChange::Set(false), ..none() },
        ProviderSettingsPatch { preferences: SettingChange::Set(preferences()), ..none() },
    ] {
        let store = Arc::clone(store);
        writes.push(st_log::spawn(async move {
            store.patch_provider_settings(&fake(), patch, &user("ann")).await
        }));
    }
    for write in writes {
        write.await.unwrap().unwrap();
    }
    let settings = store.provider_settings(&fake()).await.unwrap();
    let expected = ProviderSettings {
        webhook_url: Some("https://a".to_owned()),
        version_override: Some("v1".to_owned()),
        hardware_profile: Some("h100".to_owned()),
        ssl_verify: Some(false),
        preferences: Some(preferences()),
        ..ProviderSettings::default()
    };
    assert_eq!(settings, expected);
    let patch = ProviderSettingsPatch {
        webhook_url: SettingChange::Clear,
        version_override: set("v2"),
        hardware_profile: set("h100"),
        max_concurrent: SettingChange::Set(7),
        max_runtime_minutes: SettingChange::Set(90),
        webhook_allowed_ips: SettingChange::Set(vec!["10.0.0.0/8".parse().unwrap()]),
        http_timeout: SettingChange::Set(Duration::from_millis(2500)),
        outputs: SettingChange::Set(OutputsSetting { download: Some(true), ..Default::default() }),
        ..ProviderSettingsPatch::default()
    };
    let patched = store.patch_provider_settings(&fake(), patch, &Actor::Operator).await.unwrap();
    assert_eq!(
        (
            patched.webhook_url.as_deref(),
            patched.version_override.as_deref(),
            patched.max_concurrent,
            patched.max_runtime_minutes,
        ),
        (None, Some("v2"), Some(7), Some(90))
    );
    assert_eq!(store.provider_settings(&fake()).await.unwrap(), patched);
    let other = store.provider_settings(&ProviderName::new("other")).await.unwrap();
    assert_eq!(other, ProviderSettings::default());
    let messages = harness.messages().await;
    assert_eq!(messages.len(), 6, "{messages:?}");
    let last = "operator provider_changed webhook_url, webhook_allowed_ips, version_override, \
                http_timeout, max_runtime_minutes, max_concurrent, outputs";
    assert_eq!(messages.last().unwrap(), last, "only what changed");
}

pub async fn settings_that_were_read_before_are_those_of_the_last_patch(harness: &Harness) {
    let profile = async || harness.store.provider_settings(&fake()).await.unwrap().hardware_profile;
    assert_eq!(profile().await, None);
    for name in ["l40s", "h100"] {
        let patch = ProviderSettingsPatch {
            hardware_profile: set(name),
            ..ProviderSettingsPatch::default()
        };
        harness.store.patch_provider_settings(&fake(), patch, &Actor::Operator).await.unwrap();
        assert_eq!(profile().await.as_deref(), Some(name));
    }
}

pub async fn settings_out_of_range_are_refused(harness: &Harness) {
    let store = &harness.store;
    let nul = ProviderSettingsPatch { webhook_url: set("a\0b"), ..Default::default() };
    let refused = store.patch_provider_settings(&fake(), nul, &Actor::Operator).await;
    assert!(matches!(refused, Err(Error::InvalidSetting(_))), "{refused:?}");
    for slots in [0, MOST_PROVIDER_SLOTS + 1] {
        let max_concurrent = SettingChange::Set(slots);
        let patch = ProviderSettingsPatch { max_concurrent, ..Default::default() };
        let refused = store.patch_provider_settings(&fake(), patch, &Actor::Operator).await;
        assert!(matches!(refused, Err(Error::InvalidSetting(_))), "{refused:?}");
    }
    assert_eq!(
        store.provider_settings(&fake()).await.unwrap(),
        ProviderSettings::default(),
        "nothing of them is stored"
    );
}

pub async fn the_polling_preference_is_kept_until_it_is_cleared(harness: &Harness) {
    let store = &harness.store;
    assert_eq!(store.polling_preference().await.unwrap(), None);
    for preference in [Some(true), Some(true), Some(false), None, None] {
        let set = store.set_polling_preference(preference, &user("ann")).await.unwrap();
        assert_eq!((set, store.polling_preference().await.unwrap()), (preference, preference));
    }
    let expected = ["on", "off", "as configured"]
        .map(|word| format!("user ann limits_changed job status polling is {word}"));
    assert_eq!(harness.messages().await, expected, "only what changed");
}

pub async fn a_patch_that_changes_nothing_has_no_event(harness: &Harness) {
    let store = &harness.store;
    let mut same = LimitsPatch::default();
    same.set(Limit::Global, Limits::default().global);
    store.patch_limits(same, &Actor::Operator).await.unwrap();
    let clear = ProviderSettingsPatch { webhook_url: SettingChange::Clear, ..Default::default() };
    store.patch_provider_settings(&fake(), clear, &Actor::Operator).await.unwrap();
    assert_eq!(*store.last_event().borrow(), EventId(0));
    // One that does has the correlation ID of its request.
    harness.go_to(5);
    same.set(Limit::Global, 9);
    let id = CorrelationId::parse("c-request").unwrap();
    let patch = st_log::InScope::with_correlation_id(
        store.patch_limits(same, &Actor::Operator),
        id.clone(),
    );
    patch.await.unwrap();
    let event = store.events_after(EventId(0), 9).await.unwrap().events.remove(0).event;
    assert_eq!((event.correlation_id, event.at), (id, at(5)));
    assert!(matches!(event.change, Change::Limits { .. }));
}
