//! Patches of settings: each changes what it names and nothing else.

use super::*;
use crate::model::{NewBudget, ProviderName, Scope};

fn set(text: &str) -> SettingChange<String> {
    SettingChange::Set(text.to_owned())
}

/// What each setting is stored as.
const STORED: [(&str, &str); 18] = [
    ("webhook_url", "https://a.example/x"),
    ("webhook_require_signature", "false"),
    ("webhook_allowed_ips", r#"["10.0.0.0/8","192.0.2.7","2001:db8::/32"]"#),
    ("cost_limit_enabled", "true"),
    ("cost_limit_amount", "75.5"),
    ("cost_limit_period", "weekly"),
    ("cost_limit_action", "require_approval"),
    ("hardware_info", r#"{"h100":{"cost_per_second":0.001525,"name":"H100"}}"#),
    ("hardware_profile", "h100"),
    ("version_override", "2"),
    ("ssl_verify", "true"),
    ("ssl_ca_bundle", "/etc/ca.pem"),
    ("proxy_url", "http://proxy.example:3128"),
    ("http_timeout", "2.5"),
    ("max_runtime_minutes", "90"),
    ("max_concurrent", "7"),
    ("outputs", r#"{"download":true,"dir":"/data","max_bytes":1000}"#),
    ("preferences", r#"{"theme":"dark"}"#),
];

/// Settings that all have a value.
fn full() -> ProviderSettings {
    let mut settings = ProviderSettings::default();
    for (name, value) in STORED {
        assert!(settings.set(name, Some(value.to_owned())), "{name}");
    }
    settings
}

#[test]
fn each_setting_is_stored_and_read_back_by_its_own_name() {
    let names = STORED.map(|(name, _)| name);
    assert_eq!(ProviderSettings::NAMES, names);
    let settings = full();
    let mut read = ProviderSettings::default();
    for (name, value) in settings.entries() {
        assert!(value.is_some() && read.set(name, value), "{name}");
    }
    assert_eq!(read, settings);
    for (name, value) in STORED {
        let mut alone = ProviderSettings::default();
        assert!(alone.set(name, Some(value.to_owned())));
        let entries: Vec<_> = alone.entries().filter(|(_, value)| value.is_some()).collect();
        assert_eq!(entries.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [name]);
    }
    assert_eq!(ProviderSettings::default().entries().filter(|(_, it)| it.is_some()).count(), 0);
}

#[test]
fn a_patch_changes_what_it_names_and_nothing_else() {
    let mut settings = full();
    let patch = ProviderSettingsPatch {
        webhook_url: SettingChange::Clear,
        version_override: set("v2"),
        http_timeout: SettingChange::Set(Duration::from_mins(1)),
        ..ProviderSettingsPatch::default()
    };
    settings.apply(patch.clone());
    let changed: Vec<_> = settings
        .values()
        .zip(full().values())
        .filter(|(after, before)| after != before)
        .map(|(after, _)| after)
        .collect();
    let expected = [
        ("webhook_url", None),
        ("version_override", Some("v2".into())),
        ("http_timeout", Some(60.into())),
    ];
    assert_eq!(changed, expected);
    let once = settings.clone();
    settings.apply(patch);
    assert_eq!(settings, once, "the same again changes nothing");
}

#[test]
fn what_cannot_be_read_changes_nothing() {
    for unknown in ["", "Webhook_url", "webhook_url ", "webhook"] {
        let mut settings = full();
        assert!(!settings.set(unknown, None), "{unknown}");
        assert_eq!(settings, full());
    }
    for (name, bad) in [
        ("max_concurrent", "x"),
        ("max_concurrent", "1.5"),
        ("max_runtime_minutes", "-1"),
        ("max_runtime_minutes", ""),
        ("ssl_verify", "yes"),
        ("cost_limit_amount", "null"),
        ("cost_limit_period", "yearly"),
        ("cost_limit_action", "notify"),
        ("http_timeout", "-2"),
        ("webhook_allowed_ips", r#"["10.0.0.0/8","somewhere"]"#),
        ("webhook_allowed_ips", "10.0.0.0/8"),
        ("preferences", "[]"),
        ("outputs", "true"),
    ] {
        let mut settings = full();
        assert!(!settings.set(name, Some(bad.to_owned())), "{name} {bad}");
        assert_eq!(settings, full(), "{name} {bad}");
    }
}

#[test]
fn nul_is_refused_in_each_text_by_its_name() {
    for text in ["\0", "a\0", "\0b"] {
        let outputs = OutputsSetting { dir: Some(text.to_owned()), ..OutputsSetting::default() };
        let none = ProviderSettingsPatch::default;
        for (field, patch) in [
            ("webhook_url", ProviderSettingsPatch { webhook_url: set(text), ..none() }),
            ("version_override", ProviderSettingsPatch { version_override: set(text), ..none() }),
            ("ssl_ca_bundle", ProviderSettingsPatch { ssl_ca_bundle: set(text), ..none() }),
            ("outputs", ProviderSettingsPatch { outputs: SettingChange::Set(outputs), ..none() }),
        ] {
            assert_eq!(patch.check(), Err(InvalidText { field }.into()), "{text:?}");
        }
    }
    let patch = ProviderSettingsPatch { proxy_url: set("\u{1} ☃"), ..Default::default() };
    assert_eq!(patch.check(), Ok(()));
    assert_eq!(ProviderSettingsPatch::default().check(), Ok(()));
}

#[test]
fn numbers_are_those_that_a_provider_can_have() {
    for (found, legal) in [(0, false), (1, true), (MOST_PROVIDER_SLOTS, true), (u32::MAX, false)] {
        let max_concurrent = SettingChange::Set(found);
        let patch = ProviderSettingsPatch { max_concurrent, ..Default::default() };
        let expected = if legal { Ok(()) } else { Err(InvalidSetting::Slots { found }) };
        assert_eq!(patch.check(), expected);
    }
    for (found, legal) in [(0, false), (1, true), (MOST_RUNTIME_MINUTES, true), (43_201, false)] {
        let max_runtime_minutes = SettingChange::Set(found);
        let patch = ProviderSettingsPatch { max_runtime_minutes, ..Default::default() };
        let expected = if legal { Ok(()) } else { Err(InvalidSetting::Runtime { found }) };
        assert_eq!(patch.check(), expected);
    }
    for (millis, legal) in [(0, false), (99, false), (100, true), (60_000, true), (60_001, false)] {
        let found = Duration::from_millis(millis);
        let http_timeout = SettingChange::Set(found);
        let patch = ProviderSettingsPatch { http_timeout, ..Default::default() };
        let expected = if legal { Ok(()) } else { Err(InvalidSetting::Timeout { found }) };
        assert_eq!(patch.check(), expected);
    }
    let found = Cost::from_micros(-1);
    let cost_limit_amount = SettingChange::Set(found);
    let patch = ProviderSettingsPatch { cost_limit_amount, ..Default::default() };
    assert_eq!(patch.check(), Err(InvalidSetting::Amount { found }));
}

#[test]
fn a_cost_limit_is_a_budget_while_it_is_switched_on_and_has_an_amount() {
    let provider = ProviderName::new("fake");
    let off = ProviderSettings::default();
    let on = ProviderSettings { cost_limit_enabled: Some(true), ..off.clone() };
    let ten = ProviderSettings { cost_limit_amount: Some(Cost::from_usd(10.0)), ..on.clone() };
    let daily = ProviderSettings { cost_limit_period: Some(Period::Daily), ..ten.clone() };
    let block = ProviderSettings { cost_limit_action: Some(BudgetAction::Block), ..ten.clone() };
    let budget = |settings: &ProviderSettings| settings.cost_limit().budget(&provider);
    assert_eq!((budget(&off), budget(&on)), (None, None));
    let expected = NewBudget {
        scope: Scope::Provider(provider.clone()),
        limit: crate::model::BudgetLimit::Cost {
            period: Period::Monthly,
            amount: Cost::from_usd(10.0),
        },
        action: BudgetAction::Warn,
    };
    assert_eq!(budget(&ten).as_ref(), Some(&expected));
    let step = |before: &ProviderSettings, after: &ProviderSettings| {
        before.cost_limit_step(after, &provider)
    };
    assert_eq!(step(&off, &on), CostLimitStep::Keep);
    assert_eq!(step(&on, &ten), CostLimitStep::Replace(Some(expected)));
    assert_eq!(step(&ten, &ten), CostLimitStep::Keep);
    assert_eq!(step(&ten, &daily), CostLimitStep::Replace(budget(&daily)));
    assert_eq!(Some(step(&ten, &block)), budget(&block).map(CostLimitStep::Change));
    assert_eq!(step(&ten, &off), CostLimitStep::Replace(None));
}
