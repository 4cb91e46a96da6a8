//! Changing and deleting approval rules.

use st_store::{
    ApprovalStatus, Condition, Error, NewRule, ProviderName, Role, RuleId, RulePatch, RuleRemoval,
    SettingChange, Verdict,
};

use super::{Harness, costs_more_than, decision, job, user};

/// Whether a job of this price needs approval.
async fn needs_approval(harness: &Harness, number: u8, usd: f64) -> bool {
    let mut new = job(number, "ann");
    new.estimated_cost = usd;
    harness.submit(new).await.approval().is_some()
}

pub async fn a_patch_changes_of_a_rule_only_what_it_names(harness: &Harness) {
    let store = &harness.store;
    let rule = store.add_rule(costs_more_than("50")).await.unwrap();
    let patch = RulePatch {
        threshold: Some("10".to_owned()),
        applies_to_provider: SettingChange::Set(ProviderName::new("fake")),
        exempt_levels: Some(vec![Role::Admin]),
        ..RulePatch::default()
    };
    let changed = store.patch_rule(rule.id, patch, &user("lea")).await.unwrap();
    let expected = NewRule {
        threshold: "10".to_owned(),
        applies_to_provider: Some(ProviderName::new("fake")),
        exempt_levels: vec![Role::Admin],
        ..rule.rule.clone()
    };
    assert_eq!((changed.rule.clone(), changed.created_at), (expected, rule.created_at));
    assert_eq!(store.find_rule(rule.id).await.unwrap().as_ref(), Some(&changed));
    assert!(needs_approval(harness, 1, 20.0).await);
    let off = RulePatch {
        is_active: Some(false),
        applies_to_provider: SettingChange::Clear,
        ..RulePatch::default()
    };
    let off = store.patch_rule(rule.id, off, &user("lea")).await.unwrap();
    assert_eq!((off.rule.is_active, off.rule.applies_to_provider), (false, None));
    assert!(!needs_approval(harness, 2, 20.0).await);
    // Another priority gives it another place.
    let other = store.add_rule(costs_more_than("1")).await.unwrap();
    let first = RulePatch { priority: Some(9), ..RulePatch::default() };
    store.patch_rule(other.id, first, &user("lea")).await.unwrap();
    let ids: Vec<RuleId> = store.list_rules().await.unwrap().iter().map(|it| it.id).collect();
    assert_eq!(ids, [other.id, rule.id]);
}

pub async fn a_patch_that_does_not_fit_its_rule_changes_nothing(harness: &Harness) {
    let store = &harness.store;
    let rule = store.add_rule(costs_more_than("50")).await.unwrap();
    let patch = RulePatch { condition: Some(Condition::UserLevel), ..RulePatch::default() };
    let refused = store.patch_rule(rule.id, patch, &user("lea")).await.unwrap_err();
    assert!(matches!(refused, Error::InvalidRule(_)), "{refused}");
    assert_eq!(store.find_rule(rule.id).await.unwrap(), Some(rule));
    let missing =
        store.patch_rule(RuleId(99), RulePatch::default(), &user("lea")).await.unwrap_err();
    assert_eq!(missing.to_string(), "approval rule 99 does not exist");
}

pub async fn a_rule_that_a_request_names_is_deactivated_and_another_is_deleted(harness: &Harness) {
    let store = &harness.store;
    let unused = store.add_rule(costs_more_than("1000")).await.unwrap();
    let used = store.add_rule(costs_more_than("50")).await.unwrap();
    let request = harness.blocked(1, 600).await;
    assert_eq!(store.delete_rule(unused.id, &user("lea")).await.unwrap(), RuleRemoval::Deleted);
    assert_eq!(store.find_rule(unused.id).await.unwrap(), None);
    let RuleRemoval::Deactivated(rule) = store.delete_rule(used.id, &user("lea")).await.unwrap()
    else {
        panic!("the request needs it");
    };
    assert!(!rule.rule.is_active);
    assert_eq!(store.find_rule(used.id).await.unwrap(), Some(rule));
    assert!(!needs_approval(harness, 2, 100.0).await);
    let record = store.decide(request, &decision(Verdict::Approve)).await.unwrap();
    assert_eq!(record.approval().unwrap().status(), ApprovalStatus::Approved);
    // Its number is not given out again.
    assert!(store.add_rule(costs_more_than("5")).await.unwrap().id > used.id);
    assert!(matches!(
        store.delete_rule(unused.id, &user("lea")).await,
        Err(Error::NotFound { .. })
    ));
}

pub async fn each_change_of_a_rule_is_recorded_with_what_changed(harness: &Harness) {
    let store = &harness.store;
    let rule = store.add_rule(costs_more_than("50")).await.unwrap();
    let patch = RulePatch {
        threshold: Some("10".to_owned()),
        required_approver_level: Some(Role::Admin),
        exempt_levels: Some(vec![Role::Admin]),
        ..RulePatch::default()
    };
    for _ in 0..2 {
        store.patch_rule(rule.id, patch.clone(), &user("lea")).await.unwrap();
    }
    harness.blocked(1, 600).await;
    store.delete_rule(rule.id, &user("eve")).await.unwrap();
    let unused = store.add_rule(costs_more_than("1000")).await.unwrap();
    store.delete_rule(unused.id, &user("eve")).await.unwrap();
    let messages: Vec<String> = harness.messages().await;
    let of_rules: Vec<&str> = messages
        .iter()
        .map(String::as_str)
        .filter(|it| it.contains("limits_changed rule "))
        .collect();
    let by = &rule.rule.created_by;
    let level = rule.rule.required_approver_level;
    let name = &rule.rule.name;
    assert_eq!(
        of_rules,
        [
            format!(
                "user {by} limits_changed rule 1 {name:?}: cost_exceeds \"50\", required_approver_level {level}"
            ),
            format!(
                "user lea limits_changed rule 1: threshold \"50\" to \"10\", exempt_levels [] to \
                 [admin], required_approver_level {level} to admin"
            ),
            "user eve limits_changed rule 1: is_active true to false".to_owned(),
            format!(
                "user {by} limits_changed rule 2 {name:?}: cost_exceeds \"1000\", required_approver_level {level}"
            ),
            format!("user eve limits_changed rule 2 {name:?} is removed"),
        ]
    );
}
