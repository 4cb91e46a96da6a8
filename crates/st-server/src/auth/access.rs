//! What each operation needs of its caller: the one table, and the few rules that depend on the object.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use http::Method;
use st_api::operation::{About, Group, Media};
use st_store::{JobRecord, KeyScope, OrgId, Owner, Role, TeamId};

use super::{Caller, Via};
use crate::http::problem::Problem;

/// Who may do something at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody, without a key.
    Public,
    /// Every caller with a valid key, whatever it allows.
    SignedIn,
    /// Callers with this role or a higher one, and a key that covers this scope.
    Needs { role: Role, scope: KeyScope },
}

/// How an operation gets into the audit trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recording {
    /// Not at all: it changes nothing.
    Nothing,
    /// Later, in a batch: an event in the transaction that made the change names the actor already.
    Batched,
    /// Before it is answered.
    BeforeAnswer,
}

/// What an operation needs of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Requirement {
    /// The name of the operation in the audit trail.
    pub(crate) operation: &'static str,
    pub(crate) access: Access,
    /// Callers below this role may do it to objects of their own only.
    pub(crate) own_below: Option<Role>,
    pub(crate) recording: Recording,
    /// The answer goes on for as long as the caller may read it.
    pub(crate) is_stream: bool,
}

impl Requirement {
    const fn new(operation: &'static str, access: Access, recording: Recording) -> Self {
        Self { operation, access, own_below: None, recording, is_stream: false }
    }

    /// Of an operation that changes a job.
    const fn job(operation: &'static str, role: Role, scope: KeyScope) -> Self {
        Self::new(operation, Access::Needs { role, scope }, Recording::Batched)
    }

    /// Whether this caller may do it at all.
    pub(crate) fn check(&self, caller: &Caller) -> Result<(), Problem> {
        let Access::Needs { role, scope } = self.access else { return Ok(()) };
        if caller.role < role {
            return Err(Problem::forbidden(role, caller.role));
        }
        if !caller.scopes.allow(scope) {
            return Err(Problem::out_of_scope(scope));
        }
        Ok(())
    }

    /// Whether this caller may do it to an object of this owner. Everyone who gets here may read the
    /// object, so that the refusal tells nothing new.
    pub(crate) fn check_owner(&self, caller: &Caller, owner: &Owner) -> Result<(), Problem> {
        match self.own_below {
            Some(role) if caller.role < role && caller.user != owner.user => {
                Err(Problem::not_yours(role))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Changing a job: cancelling it by either path, deleting it, running it once more.
pub(crate) const CHANGE_JOB: Requirement = Requirement {
    own_below: Some(Role::Lead),
    ..Requirement::job("change_job", Role::Researcher, KeyScope::Submit)
};
/// What a path that is not in the table needs: it was forgotten, and it is not open to all for that.
const UNKNOWN: Requirement = Requirement::new(
    "unknown",
    Access::Needs { role: Role::Admin, scope: KeyScope::Admin },
    Recording::BeforeAnswer,
);

impl Requirement {
    /// What an operation of the interface needs.
    fn of(about: &About) -> Self {
        let is_read = about.method == st_api::operation::Method::Get;
        // What a job would cost is asked for as what a submission would come to is.
        let by_read = is_read || about.id == st_api::jobs::ESTIMATE.about.id;
        let access = match about.access {
            st_api::operation::Access::Public => Access::Public,
            st_api::operation::Access::SignedIn => Access::SignedIn,
            st_api::operation::Access::Role(role) => {
                Access::Needs { role, scope: scope_of(role, by_read) }
            }
        };
        let recording = match access {
            // A session that is opened records itself: only then its user is known.
            Access::Public => Recording::Nothing,
            Access::SignedIn | Access::Needs { .. } if is_read || only_checks(about) => {
                Recording::Nothing
            }
            Access::SignedIn | Access::Needs { .. } if changes_a_job(about) => Recording::Batched,
            Access::SignedIn | Access::Needs { .. } => Recording::BeforeAnswer,
        };
        let is_stream = about.media == Media::EventStream;
        Self { is_stream, ..Self::new(about.id, access, recording) }
    }
}

fn scope_of(role: Role, is_read: bool) -> KeyScope {
    match role {
        Role::Admin => KeyScope::Admin,
        Role::Viewer | Role::Researcher | Role::Lead if is_read => KeyScope::Read,
        Role::Viewer => KeyScope::Read,
        Role::Researcher => KeyScope::Submit,
        Role::Lead => KeyScope::Approve,
    }
}

/// Whether it changes nothing, though it has a body.
fn only_checks(about: &About) -> bool {
    about.group == Group::Configs || about.id == st_api::jobs::ESTIMATE.about.id
}

/// Whether an event in the transaction of the change names the actor already.
fn changes_a_job(about: &About) -> bool {
    let names_a_job = about.path.contains("{job}");
    let decides = about.group == Group::Approvals && !about.path.contains("/rules");
    about.group == Group::Jobs || names_a_job || decides
}

type ByMethod = Vec<(&'static str, Requirement)>;

/// What each operation needs, by its path as the router writes it.
static BY_PATH: LazyLock<BTreeMap<&'static str, ByMethod>> = LazyLock::new(|| {
    let mut by_path = BTreeMap::<&str, ByMethod>::new();
    for operation in crate::api::routes().operations() {
        let about = &operation.about;
        let of_path = by_path.entry(about.path).or_default();
        of_path.push((about.method.as_str(), Requirement::of(about)));
    }
    by_path
});

/// What the operation of this method on this path, as the router writes it, needs. `None` where the path
/// does not take the method, which the router says.
pub(crate) fn of(method: &Method, path: &str) -> Option<&'static Requirement> {
    // A HEAD is answered as the GET is, without its body.
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let Some(of_path) = BY_PATH.get(path) else { return Some(&UNKNOWN) };
    let found = of_path.iter().find(|(of, _)| *of == method.as_str());
    found.map(|(_, requirement)| requirement)
}

/// Which team and organization a job of this caller's is counted for, of those that the request names. A
/// key that has a team cannot submit past that team's limits.
pub(crate) fn owner(
    caller: &Caller,
    team: Option<TeamId>,
    org: Option<OrgId>,
) -> Result<Owner, Problem> {
    if caller.role < Role::Admin {
        if team.is_some() && team != caller.team {
            return Err(Problem::not_a_member("team_id"));
        }
        if org.is_some() && org != caller.org {
            return Err(Problem::not_a_member("org_id"));
        }
    }
    Ok(Owner {
        user: caller.user.clone(),
        team: team.or_else(|| caller.team.clone()),
        org: org.or_else(|| caller.org.clone()),
    })
}

/// Whether this caller may submit a job.
pub(crate) fn may_submit(caller: &Caller) -> Result<(), Problem> {
    Requirement::job("submit_job", Role::Researcher, KeyScope::Submit).check(caller)
}

/// Whether this caller may say how urgent a job is.
pub(crate) fn may_set_priority(caller: &Caller) -> Result<(), Problem> {
    let access = Access::Needs { role: Role::Lead, scope: KeyScope::Approve };
    Requirement::new("jobs.priority", access, Recording::Batched).check(caller)
}

/// Whether this caller may decide about a job's approval: with the role that the approval requires, and,
/// where there is more than one user, not about a job of its own.
pub(crate) fn may_decide(caller: &Caller, record: &JobRecord) -> Result<(), Problem> {
    if let Some(approval) = record.approval() {
        let required = approval.request().required_role;
        if caller.role < required {
            return Err(Problem::forbidden(required, caller.role));
        }
    }
    let single = matches!(caller.via, Via::Local);
    if !single && record.job().owner.user == caller.user {
        return Err(Problem::own_job());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
