//! The table has every route, and lets in whom it should.

use std::collections::{BTreeMap, BTreeSet};

use st_store::{KeyScopes, UserId};

use super::*;

fn caller(role: Role) -> Caller {
    Caller { user: UserId::new("ann"), role, ..Caller::local() }
}

/// Every operation with its path and what it needs.
fn table() -> Vec<(&'static str, &'static str, Requirement)> {
    let routes = crate::api::routes();
    let operations = routes.operations().iter().map(|operation| operation.about);
    operations.map(|about| (about.method.as_str(), about.path, Requirement::of(&about))).collect()
}

#[test]
fn each_operation_is_for_its_roles() {
    let mut lowest = BTreeMap::<&str, BTreeSet<&str>>::new();
    for (_, _, requirement) in table() {
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
    let public = [
        "check_login",
        "get_liveness",
        "get_openapi",
        "get_plain_health",
        "get_readiness",
        "receive_replicate_webhook",
        "receive_replicate_webhook_of_cloud",
        "sign_in",
    ];
    assert_eq!(of("public"), public);
    assert_eq!(of("signed in"), ["get_me", "sign_out"]);
    let researcher = [
        "cancel_job",
        "cancel_queue_entry",
        "cancel_request",
        "check_config",
        "check_submission",
        "delete_job",
        "estimate_cost",
        "get_config",
        "retry_job",
        "submit_job",
        "submit_local_job",
    ];
    assert_eq!(of("researcher"), researcher);
    let lead = of("lead");
    for operation in ["approve", "approve_request", "reject_job", "reject_requests", "set_priority"]
    {
        assert!(lead.contains(&operation), "{operation}: {lead:?}");
    }
    let admin = of("admin");
    for operation in ["create_key", "list_audit", "resolve_job", "set_concurrency", "shut_down"] {
        assert!(admin.contains(&operation), "{operation}: {admin:?}");
    }
    let others: usize = ["public", "signed in", "researcher", "lead", "admin"]
        .iter()
        .map(|least| lowest[least].len())
        .sum();
    let operations: BTreeSet<_> = table().iter().map(|(_, _, it)| it.operation).collect();
    assert_eq!(lowest["viewer"].len(), operations.len() - others);
}

#[test]
fn what_changes_something_is_recorded_and_viewers_do_not() {
    for (method, path, requirement) in table() {
        let public = requirement.access == Access::Public;
        let recorded = requirement.recording != Recording::Nothing;
        let only_checks = path.starts_with("/api/configs") || path == "/api/cloud/cost-estimate";
        let changes = method != "GET" && !only_checks;
        assert_eq!(recorded, changes && !public, "{method} {path}");
        let refused = requirement.check(&caller(Role::Viewer)).is_err();
        let signed_in = requirement.access == Access::SignedIn;
        assert!(refused || signed_in || method == "GET" || public, "{method} {path}");
    }
}

#[test]
fn a_scope_narrows_the_role() {
    let with =
        |scope: KeyScope| Caller { scopes: KeyScopes::Only([scope].into()), ..caller(Role::Admin) };
    for (_, path, requirement) in table() {
        let Access::Needs { scope, .. } = requirement.access else { continue };
        for &held in KeyScope::ALL {
            let admitted = requirement.check(&with(held)).is_ok();
            assert_eq!(admitted, held == scope, "{path} with {held}");
        }
    }
    let estimate = of(&Method::POST, "/api/cloud/cost-estimate").unwrap();
    let check = of(&Method::GET, "/api/cloud/pre-submit-check").unwrap();
    assert_eq!(estimate.access, check.access, "both only ask");
    assert!(may_submit(&with(KeyScope::Read)).is_err());
    may_submit(&with(KeyScope::Submit)).unwrap();
    assert!(may_set_priority(&with(KeyScope::Submit)).is_err());
    may_set_priority(&with(KeyScope::Approve)).unwrap();
    may_set_priority(&caller(Role::Lead)).unwrap();
    assert!(may_set_priority(&caller(Role::Researcher)).is_err());
}

#[test]
fn what_is_not_in_the_table_is_for_administrators() {
    assert_eq!(of(&Method::PATCH, "/api/queue"), None, "the router says what the path takes");
    let unknown = of(&Method::GET, "/api/forgotten").unwrap();
    assert!(unknown.check(&caller(Role::Lead)).is_err());
    unknown.check(&caller(Role::Admin)).unwrap();
    assert_eq!(of(&Method::HEAD, "/api/queue"), of(&Method::GET, "/api/queue"));
}

#[test]
fn below_the_lead_jobs_of_others_are_left_alone() {
    for (role, own, foreign) in
        [(Role::Researcher, true, false), (Role::Lead, true, true), (Role::Admin, true, true)]
    {
        let may = |user| CHANGE_JOB.check_owner(&caller(role), &Owner::user(user)).is_ok();
        assert_eq!((may("ann"), may("ben")), (own, foreign), "{role}");
    }
    let problem =
        CHANGE_JOB.check_owner(&caller(Role::Researcher), &Owner::user("ben")).unwrap_err();
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
