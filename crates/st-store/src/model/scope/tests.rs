//! Which scope covers which jobs.

use super::*;
use crate::model::{Holds, JobType, Owner};

fn group(user: &str, team: Option<&str>, org: Option<&str>, provider: &str) -> Group {
    let (team, org) = (team.map(TeamId::new), org.map(OrgId::new));
    let owner = Owner { team, org, ..Owner::user(user) };
    Group { owner, job_type: JobType::Cloud, provider: ProviderName::new(provider) }
}

#[test]
fn a_hold_covers_the_jobs_of_its_scope_and_no_others() {
    let ann = group("ann", Some("vision"), Some("acme"), "replicate");
    let covering = [
        Scope::All,
        Scope::User(UserId::new("ann")),
        Scope::Team(TeamId::new("vision")),
        Scope::Org(OrgId::new("acme")),
        Scope::Provider(ProviderName::new("replicate")),
    ];
    for scope in covering {
        let level = scope.level();
        let holds: Holds = [scope.clone()].into_iter().collect();
        assert_eq!(holds.of(&ann).collect::<Vec<_>>(), [level], "{scope}");
        assert_eq!(Scope::of(level, &ann), Some(scope.clone()));
        assert_eq!(Scope::from_parts(level, scope.id()), Some(scope));
    }
    // The same names of another kind.
    let others: Holds = [
        Scope::User(UserId::new("acme")),
        Scope::Team(TeamId::new("ann")),
        Scope::Org(OrgId::new("vision")),
        Scope::Provider(ProviderName::new("local")),
    ]
    .into_iter()
    .collect();
    assert_eq!(others.of(&ann).next(), None);
    let alone = group("bob", None, None, "p");
    let empty: Holds =
        [Scope::Team(TeamId::new("")), Scope::Org(OrgId::new(""))].into_iter().collect();
    assert_eq!(empty.of(&alone).next(), None, "a job without a team is in no team");
    assert_eq!(Scope::of(ScopeLevel::Team, &alone), None);
}

#[test]
fn a_scope_has_a_name_exactly_where_it_is_of_one_thing() {
    assert_eq!(Scope::from_parts(ScopeLevel::All, Some("x")), None);
    for &level in ScopeLevel::ALL.iter().filter(|&&level| level != ScopeLevel::All) {
        assert_eq!(Scope::from_parts(level, None), None, "{level}");
        let scope = Scope::from_parts(level, Some("a\0")).unwrap();
        assert_eq!(scope.check(), Err(InvalidText { field: "id" }), "{level}");
        let scope = Scope::from_parts(level, Some("a b")).unwrap();
        assert_eq!(scope.check(), Ok(()));
    }
    assert_eq!(Scope::All.check(), Ok(()));
}
