//! Patches of settings: each changes what it names and nothing else.

use super::*;

fn set(text: &str) -> SettingChange<String> {
    SettingChange::Set(text.to_owned())
}

/// Settings that all have a value: their own name.
fn full() -> ProviderSettings {
    let mut settings = ProviderSettings::default();
    for name in ProviderSettings::TEXTS {
        assert!(settings.set(name, Some((*name).to_owned())), "{name}");
    }
    settings
}

#[test]
fn a_patch_changes_what_it_names_and_nothing_else() {
    let mut settings = ProviderSettings {
        webhook_url: Some("https://a".into()),
        version_override: Some("v1".into()),
        hardware_profile: None,
        max_concurrent: Some(3),
        max_runtime_minutes: Some(90),
    };
    let mut patch = ProviderSettingsPatch::default();
    assert!(patch.change("webhook_url", SettingChange::Clear));
    assert!(patch.change("hardware_profile", SettingChange::Set("h100".into())));
    assert!(!patch.change("colour", SettingChange::Clear));
    settings.apply(patch);
    let entries: Vec<_> = settings.entries().collect();
    let expected = [
        ("webhook_url", None),
        ("version_override", Some("v1")),
        ("hardware_profile", Some("h100")),
        ("max_concurrent", Some("3")),
        ("max_runtime_minutes", Some("90")),
    ];
    assert_eq!(entries, expected.map(|(name, value)| (name, value.map(Cow::from))));
}

#[test]
fn each_setting_is_kept_cleared_and_set_by_its_own_name() {
    for &name in ProviderSettings::TEXTS {
        for (change, expected) in [
            (SettingChange::Keep, Some(name)),
            (SettingChange::Clear, None),
            (set("new"), Some("new")),
            (set(""), Some("")),
        ] {
            let mut patch = ProviderSettingsPatch::default();
            assert!(patch.change(name, change.clone()), "{name}");
            let mut settings = full();
            settings.apply(patch.clone());
            let texts =
                settings.entries().filter(|(name, _)| ProviderSettings::TEXTS.contains(name));
            for (other, value) in texts {
                let wanted = if other == name { expected } else { Some(other) };
                assert_eq!(value.as_deref(), wanted, "{other} after {change:?} of {name}");
            }
            let once = settings.clone();
            settings.apply(patch);
            assert_eq!(settings, once, "the same again changes nothing");
        }
    }
}

#[test]
fn names_are_exact_and_an_unknown_one_changes_nothing() {
    let names = ["webhook_url", "version_override", "hardware_profile"];
    assert_eq!(ProviderSettings::TEXTS, names);
    let entries: Vec<_> = full().entries().map(|(name, _)| name).collect();
    assert_eq!(entries, [&names[..], &["max_concurrent", "max_runtime_minutes"]].concat());
    for unknown in ["", "Webhook_url", "webhook_url ", "webhook"] {
        let mut settings = full();
        assert!(!settings.set(unknown, None), "{unknown}");
        assert_eq!(settings, full());
        let mut patch = ProviderSettingsPatch::default();
        assert!(!patch.change(unknown, SettingChange::Clear), "{unknown}");
        assert_eq!(patch, ProviderSettingsPatch::default());
    }
}

#[test]
fn nul_is_refused_in_each_setting_by_its_name() {
    for &name in ProviderSettings::TEXTS {
        for text in ["\0", "a\0", "\0b"] {
            let mut patch = ProviderSettingsPatch::default();
            patch.change(name, set(text));
            assert_eq!(patch.check(), Err(InvalidText { field: name }.into()), "{text:?}");
        }
        let mut patch = ProviderSettingsPatch::default();
        patch.change(name, set("\u{1} ☃"));
        assert_eq!(patch.check(), Ok(()));
    }
    assert_eq!(ProviderSettingsPatch::default().check(), Ok(()));
}

#[test]
fn numbers_are_those_that_a_provider_can_have() {
    let mut settings = ProviderSettings::default();
    for name in ["max_concurrent", "max_runtime_minutes"] {
        assert!(settings.set(name, Some("12".to_owned())));
        for bad in ["", "x", "-1", "1.5"] {
            assert!(!settings.set(name, Some(bad.to_owned())), "{bad:?}");
        }
    }
    let numbers = (settings.max_concurrent, settings.max_runtime_minutes);
    assert_eq!(numbers, (Some(12), Some(12)), "what cannot be read changes nothing");
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
}
