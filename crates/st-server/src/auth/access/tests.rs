//! The table has every route, and lets in whom it should.

use std::collections::{BTreeMap, BTreeSet};

use st_store::{KeyScopes, UserId};

use super::*;

fn caller(role: Role) -> Caller {
    Caller { user: UserId::new("ann"), role, ..Caller::local() }
}

/// The methods and paths of the router, by its source.
fn routes() -> BTreeSet<(String, String)> {
    let source = include_str!("../../api.rs");
    let mut found = BTreeSet::new();
    for route in source.split(".route(").skip(1) {
        let route = route.split(".route(").next().unwrap();
        let path = route.split('"').nth(1).unwrap().to_owned();
        let handlers = route.split_once(',').unwrap().1.split(");").next().unwrap();
        for method in ["get", "post", "put", "delete", "patch"] {
            if handlers.contains(&format!("{method}(")) {
                found.insert((method.to_uppercase(), path.clone()));
            }
        }
    }
    found
}

#[test]
fn each_route_is_in_the_table_once_and_nothing_else_is() {
    let listed: Vec<_> =
        TABLE.iter().map(|(method, path, _)| (method.to_string(), (*path).to_owned())).collect();
    let unique: BTreeSet<_> = listed.iter().cloned().collect();
    assert_eq!(unique.len(), listed.len());
    assert_eq!(unique, routes());
}

#[test]
fn each_operation_is_for_its_roles() {
    let mut lowest = BTreeMap::<&str, BTreeSet<&str>>::new();
    for (_, _, requirement) in TABLE {
        let least = match requirement.access {
            Access::Public => "public",
            Access::SignedIn => "signed in",
            Access::Needs { .. } => {
                let admitted = |role: &&Role| requirement.check(&caller(**role)).is_ok();
                let mut roles = Role::ALL.iter().skip_while(|role| !admitted(role));
                let least = roles.next().unwrap();
                assert!(roles.all(|role| admitted(&role)), "a higher role may do as much");
                least.as_str()
            }
        };
        lowest.entry(least).or_default().insert(requirement.operation);
    }
    let of = |least: &str| lowest[least].iter().copied().collect::<Vec<_>>();
    let public = ["auth.check", "health.live", "health.plain", "health.ready", "session.open"];
    assert_eq!(of("public"), public);
    assert_eq!(of("signed in"), ["session.end", "users.me"]);
    assert_eq!(of("researcher"), ["jobs.cancel", "jobs.submit"]);
    assert_eq!(of("lead"), ["approvals.approve", "approvals.reject"]);
    let admin = [
        "audit.list",
        "holds.pause",
        "holds.resume",
        "jobs.resolve",
        "keys.create",
        "keys.list",
        "keys.revoke",
        "limits.change",
        "logging.set",
        "providers.config",
        "providers.configure",
        "providers.retry",
        "quotas.add",
        "quotas.change",
        "quotas.remove",
        "rules.add",
        "weights.set",
    ];
    assert_eq!(of("admin"), admin);
    let others: usize = ["public", "signed in", "researcher", "lead", "admin"]
        .iter()
        .map(|least| lowest[least].len())
        .sum();
    let operations: BTreeSet<_> = TABLE.iter().map(|(_, _, it)| it.operation).collect();
    assert_eq!(lowest["viewer"].len(), operations.len() - others);
}

#[test]
fn what_changes_something_is_recorded_and_viewers_do_not() {
    for (method, path, requirement) in TABLE {
        let public = requirement.access == Access::Public;
        let recorded = requirement.recording != Recording::Nothing;
        assert_eq!(recorded, *method != Method::GET && !public, "{method} {path}");
        let refused = requirement.check(&caller(Role::Viewer)).is_err();
        let signed_in = requirement.access == Access::SignedIn;
        assert!(refused || signed_in || *method == Method::GET || public, "{method} {path}");
    }
}

#[test]
fn a_scope_narrows_the_role() {
    let with =
        |scope: KeyScope| Caller { scopes: KeyScopes::Only([scope].into()), ..caller(Role::Admin) };
    for (_, path, requirement) in TABLE {
        let Access::Needs { scope, .. } = requirement.access else { continue };
        for &held in KeyScope::ALL {
            let admitted = requirement.check(&with(held)).is_ok();
            assert_eq!(admitted, held == scope, "{path} with {held}");
        }
    }
    assert!(may_set_priority(&with(KeyScope::Submit)).is_err());
    may_set_priority(&with(KeyScope::Approve)).unwrap();
    may_set_priority(&caller(Role::Lead)).unwrap();
    assert!(may_set_priority(&caller(Role::Researcher)).is_err());
}

#[test]
fn what_is_not_in_the_table_is_for_administrators() {
    let unknown = of(&Method::PATCH, "/api/queue");
    assert!(unknown.check(&caller(Role::Lead)).is_err());
    unknown.check(&caller(Role::Admin)).unwrap();
    assert_eq!(of(&Method::HEAD, "/api/queue"), of(&Method::GET, "/api/queue"));
}

#[test]
fn below_the_lead_jobs_of_others_are_left_alone() {
    for (role, own, foreign) in
        [(Role::Researcher, true, false), (Role::Lead, true, true), (Role::Admin, true, true)]
    {
        let may = |user| CANCEL.check_owner(&caller(role), &Owner::user(user)).is_ok();
        assert_eq!((may("ann"), may("ben")), (own, foreign), "{role}");
    }
    let problem = CANCEL.check_owner(&caller(Role::Researcher), &Owner::user("ben")).unwrap_err();
    assert_eq!((problem.status().as_u16(), problem.code()), (403, "forbidden"));
}

#[test]
fn a_job_is_counted_for_the_callers_own_team() {
    let (team, org) = (|name: &str| Some(TeamId::new(name)), |name: &str| Some(OrgId::new(name)));
    let member = |role| Caller { team: team("vision"), org: org("acme"), ..caller(role) };
    let found = |role, t, o| owner(&member(role), t, o).map(|it| (it.team, it.org)).ok();
    let own = Some((team("vision"), org("acme")));
    assert_eq!(found(Role::Lead, None, None), own, "also where none is named");
    assert_eq!(found(Role::Researcher, team("vision"), org("acme")), own);
    assert_eq!(found(Role::Lead, team("audio"), None), None);
    assert_eq!(found(Role::Lead, None, org("other")), None);
    assert_eq!(found(Role::Admin, team("audio"), None), Some((team("audio"), org("acme"))));
    assert!(owner(&caller(Role::Lead), team("vision"), None).is_err(), "without a team");
}
