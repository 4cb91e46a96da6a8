//! Holds of the queue, an owner or a provider, and the limits of providers.

use st_log::CorrelationId;
use st_store::{
    Actor, EventId, HeldBy, Hold, NewJob, Opening, OrgId, Owner, ProviderName,
    ProviderSettingsPatch, Refused, Scope, ScopeLevel, SettingChange, SlotLimit, TeamId, UserId,
};

use super::{Harness, accepted, at, claiming, fake, id, job, numbers, serving, user};

fn owned(number: u8, name: &str, team: Option<&str>, org: Option<&str>) -> NewJob {
    let (team, org) = (team.map(TeamId::new), org.map(OrgId::new));
    let mut new = job(number, name);
    new.owner = Owner { team, org, ..Owner::user(name) };
    new
}

async fn claim_of(harness: &Harness, providers: &[&str]) -> Vec<u8> {
    let mut options = claiming(9);
    options.serving = providers.iter().map(|provider| serving(provider)).collect();
    let claims = harness.store.claim(&options).await.unwrap();
    assert!(!claims.more, "what is on hold is not to be asked for again");
    claims.claims.iter().map(|claim| super::number(&claim.record)).collect()
}

pub async fn nothing_of_a_scope_is_claimed_while_it_is_on_hold(harness: &Harness) {
    let store = &harness.store;
    let mut elsewhere = job(5, "joe");
    elsewhere.provider = ProviderName::new("other");
    for new in [
        owned(1, "ann", None, None),
        owned(2, "bob", Some("vision"), None),
        owned(3, "eve", None, Some("acme")),
        elsewhere,
    ] {
        harness.submit(new).await;
    }
    let scopes = [
        Scope::User(UserId::new("ann")),
        Scope::Team(TeamId::new("vision")),
        Scope::Org(OrgId::new("acme")),
        Scope::Provider(ProviderName::new("other")),
        Scope::All,
    ];
    for scope in &scopes {
        store.pause(scope.clone(), None, &user("admin")).await.unwrap();
    }
    let all = [id(1), id(2), id(3), id(5)];
    let standings = store.standings(&all).await.unwrap();
    assert_eq!(standings.holds, store.holds().await.unwrap());
    assert_eq!((standings.holds.len(), standings.budgets.len()), (5, 0));
    let standings = standings.of;
    let by_all = Some(HeldBy::Hold(ScopeLevel::All));
    assert!(standings.iter().all(|it| it.unwrap().held_by == by_all), "{standings:?}");
    let providers = ["fake", "other"];
    assert_eq!(claim_of(harness, &providers).await, [] as [u8; 0]);
    store.resume(&Scope::All, &user("admin")).await.unwrap();
    assert_eq!(claim_of(harness, &providers).await, [] as [u8; 0]);
    let standings = store.standings(&all).await.unwrap().of;
    let held_by: Vec<_> = standings.iter().map(|it| it.unwrap().held_by).collect();
    let levels = [ScopeLevel::User, ScopeLevel::Team, ScopeLevel::Org, ScopeLevel::Provider];
    assert_eq!(held_by, levels.map(|level| Some(HeldBy::Hold(level))));
    for (scope, number) in scopes.iter().zip([1, 2, 3, 5]) {
        store.resume(scope, &user("admin")).await.unwrap();
        assert_eq!(claim_of(harness, &providers).await, [number], "{scope}");
    }
}

pub async fn a_hold_holds_back_its_own_jobs_and_no_others(harness: &Harness) {
    let store = &harness.store;
    for new in [
        owned(1, "ann", Some("vision"), Some("acme")),
        owned(2, "bob", Some("vision"), Some("acme")),
        owned(3, "eve", Some("speech"), Some("acme")),
        owned(4, "joe", None, None),
    ] {
        harness.submit(new).await;
    }
    store.pause(Scope::Team(TeamId::new("vision")), None, &Actor::Operator).await.unwrap();
    store.pause(Scope::User(UserId::new("joe")), None, &Actor::Operator).await.unwrap();
    assert_eq!(claim_of(harness, &["fake"]).await, [3]);
    store.pause(Scope::Provider(fake()), None, &Actor::Operator).await.unwrap();
    store.resume(&Scope::User(UserId::new("joe")), &Actor::Operator).await.unwrap();
    assert_eq!(claim_of(harness, &["fake"]).await, [] as [u8; 0]);
    store.resume(&Scope::Provider(fake()), &Actor::Operator).await.unwrap();
    assert_eq!(claim_of(harness, &["fake"]).await, [4]);
}

pub async fn what_has_a_slot_keeps_it(harness: &Harness) {
    let store = &harness.store;
    harness.submit(job(1, "ann")).await;
    let claimed = harness.claim().await;
    store.pause(Scope::All, Some("maintenance"), &user("admin")).await.unwrap();
    harness.settle(&claimed[0].record, accepted(1)).await.unwrap();
    harness.submit(job(2, "ann")).await;
    assert_eq!(numbers(&harness.claim().await), [] as [u8; 0]);
    assert!(harness.found(1).await.provider_job_id().is_some());
}

pub async fn a_provider_is_not_probed_with_a_job_that_is_on_hold(harness: &Harness) {
    let store = &harness.store;
    harness.submit(job(1, "ann")).await;
    harness.submit(job(2, "bob")).await;
    store.pause(Scope::User(UserId::new("ann")), None, &user("admin")).await.unwrap();
    let mut options = claiming(9);
    options.serving[0].opening = Opening::Limited { submissions: 1, refused: Refused::default() };
    let claims = store.claim(&options).await.unwrap();
    assert_eq!(numbers(&claims.claims), [2]);
    store.pause(Scope::Provider(fake()), None, &user("admin")).await.unwrap();
    store.resume(&Scope::User(UserId::new("ann")), &user("admin")).await.unwrap();
    assert!(store.claim(&options).await.unwrap().claims.is_empty());
}

pub async fn a_hold_says_who_made_it_and_why(harness: &Harness) {
    let store = &harness.store;
    let scope = Scope::User(UserId::new("ann"));
    harness.go_to(5);
    let request = CorrelationId::parse("c-request").unwrap();
    let lea = user("lea");
    let pause = store.pause(scope.clone(), Some("over budget"), &lea);
    let hold = st_log::InScope::with_correlation_id(pause, request.clone()).await.unwrap();
    let expected = Hold {
        scope: scope.clone(),
        reason: Some("over budget".to_owned()),
        by: user("lea"),
        since: at(5),
    };
    assert_eq!(hold, expected);
    // Again: nothing changes but the reason, where there is one.
    harness.go_to(9);
    assert_eq!(store.pause(scope.clone(), None, &Actor::Operator).await.unwrap(), expected);
    let again = store.pause(scope.clone(), Some("audit"), &Actor::Operator).await.unwrap();
    assert_eq!(again, Hold { reason: Some("audit".to_owned()), ..expected });
    store.pause(Scope::Provider(fake()), None, &Actor::Operator).await.unwrap();
    store.pause(Scope::All, None, &Actor::Operator).await.unwrap();
    let holds = store.holds().await.unwrap();
    let scopes: Vec<_> = holds.iter().map(|hold| hold.scope.clone()).collect();
    let provider = Scope::Provider(fake());
    assert_eq!(scopes, [Scope::All, scope.clone(), provider.clone()]);
    assert_eq!(holds[1], again);
    assert_eq!(store.resume(&scope, &user("lea")).await.unwrap(), Some(again));
    assert_eq!(store.resume(&scope, &user("lea")).await.unwrap(), None);
    store.resume(&provider, &user("lea")).await.unwrap();
    store.resume(&Scope::All, &user("lea")).await.unwrap();
    assert_eq!(store.holds().await.unwrap(), []);

    let events = store.events_after(EventId(0), 99).await.unwrap().events;
    assert_eq!(events[0].event.correlation_id, request);
    let expected = [
        "user lea limits_changed user ann is paused: over budget",
        "operator limits_changed user ann is paused: audit",
        "operator provider_changed provider fake is paused",
        "operator limits_changed the queue is paused",
        "user lea limits_changed user ann is resumed",
        "user lea provider_changed provider fake is resumed",
        "user lea limits_changed the queue is resumed",
    ];
    assert_eq!(harness.messages().await, expected);
}

pub async fn a_provider_is_given_no_more_slots_than_its_limit(harness: &Harness) {
    let store = &harness.store;
    let set = |max_concurrent| ProviderSettingsPatch { max_concurrent, ..Default::default() };
    let two = set(SettingChange::Set(2));
    store.patch_provider_settings(&fake(), two, &Actor::Operator).await.unwrap();
    for (number, name) in [(1, "ann"), (2, "bob"), (3, "eve"), (4, "joe")] {
        harness.submit(job(number, name)).await;
    }
    let claimed = harness.claim().await;
    assert_eq!(numbers(&claimed), [1, 2]);
    let standing = store.standings(&[id(3)]).await.unwrap().of[0].unwrap();
    assert_eq!(standing.held_by, Some(HeldBy::Limit(SlotLimit::Provider)));
    let limits = store.limit_uses(&st_store::Group::of(&claimed[0].record)).await.unwrap();
    let of_provider = limits.iter().find(|it| it.limit == SlotLimit::Provider).unwrap();
    assert_eq!((of_provider.used, of_provider.max), (2, 2));
    let three = set(SettingChange::Set(3));
    store.patch_provider_settings(&fake(), three, &Actor::Operator).await.unwrap();
    assert_eq!(numbers(&harness.claim().await), [3]);
    let none = set(SettingChange::Clear);
    store.patch_provider_settings(&fake(), none, &Actor::Operator).await.unwrap();
    assert_eq!(numbers(&harness.claim().await), [4]);
}
