//! What each operation needs of its caller: the one table, and the few rules that depend on the object.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use http::Method;
use st_store::{JobRecord, KeyScope, OrgId, Owner, Role, TeamId};

use super::{Caller, Via};
use crate::http::problem::Problem;

/// Who may do something at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody, without a key.
    Public,
    /// Whoever has a valid key, whatever it allows.
    SignedIn,
    /// Whoever has this role or a higher one, and a key that covers this scope.
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

    /// Of an operation that everybody may do.
    const fn public(operation: &'static str) -> Self {
        Self::new(operation, Access::Public, Recording::Nothing)
    }

    /// Of an operation that changes nothing.
    const fn read(operation: &'static str, role: Role) -> Self {
        let scope = match role {
            Role::Viewer | Role::Researcher | Role::Lead => KeyScope::Read,
            Role::Admin => KeyScope::Admin,
        };
        Self::new(operation, Access::Needs { role, scope }, Recording::Nothing)
    }

    /// Of an operation that changes something that is no job.
    const fn administer(operation: &'static str) -> Self {
        let access = Access::Needs { role: Role::Admin, scope: KeyScope::Admin };
        Self::new(operation, access, Recording::BeforeAnswer)
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

    /// Whether this caller may do it to an object of this owner. Everybody who gets here may read the
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

/// Cancelling a job, by either path.
pub(crate) const CANCEL: Requirement = Requirement {
    own_below: Some(Role::Lead),
    ..Requirement::job("jobs.cancel", Role::Researcher, KeyScope::Submit)
};
const SUBMIT: Requirement = Requirement::job("jobs.submit", Role::Researcher, KeyScope::Submit);
const APPROVE: Requirement = Requirement::job("approvals.approve", Role::Lead, KeyScope::Approve);
const REJECT: Requirement = Requirement::job("approvals.reject", Role::Lead, KeyScope::Approve);
const RESOLVE: Requirement = Requirement::job("jobs.resolve", Role::Admin, KeyScope::Admin);
const EVENTS: Requirement =
    Requirement { is_stream: true, ..Requirement::read("events.stream", Role::Viewer) };
const SIGN_OUT: Requirement =
    Requirement::new("session.end", Access::SignedIn, Recording::BeforeAnswer);
const ME: Requirement = Requirement::new("users.me", Access::SignedIn, Recording::Nothing);

/// What a path that is not in the table needs: somebody forgot it, and it is not open to all for that.
const UNKNOWN: Requirement = Requirement::administer("unknown");

/// Every operation.
pub(crate) const TABLE: &[(Method, &str, Requirement)] = &[
    (Method::POST, "/api/cloud/jobs/submit", SUBMIT),
    (Method::GET, "/api/cloud/jobs", Requirement::read("jobs.list", Role::Viewer)),
    (Method::GET, "/api/cloud/jobs/{job}", Requirement::read("jobs.show", Role::Viewer)),
    (Method::POST, "/api/cloud/jobs/{job}/cancel", CANCEL),
    (Method::POST, "/api/cloud/jobs/{job}/resolve", RESOLVE),
    (Method::GET, "/api/cloud/jobs/{job}/explain", Requirement::read("jobs.explain", Role::Viewer)),
    (Method::GET, "/api/cloud/jobs/{job}/events", Requirement::read("jobs.events", Role::Viewer)),
    (Method::GET, "/api/cloud/jobs/{job}/logs", Requirement::read("jobs.logs", Role::Viewer)),
    (
        Method::GET,
        "/api/cloud/jobs/{job}/inline-progress",
        Requirement::read("jobs.progress", Role::Viewer),
    ),
    (Method::GET, "/api/queue", Requirement::read("queue.list", Role::Viewer)),
    (Method::GET, "/api/queue/stats", Requirement::read("queue.stats", Role::Viewer)),
    (Method::GET, "/api/queue/position/{job}", Requirement::read("queue.position", Role::Viewer)),
    (Method::POST, "/api/queue/{job}/cancel", CANCEL),
    (Method::GET, "/api/queue/concurrency", Requirement::read("limits.show", Role::Viewer)),
    (Method::POST, "/api/queue/concurrency", Requirement::administer("limits.change")),
    (Method::POST, "/api/queue/pause", Requirement::administer("holds.pause")),
    (Method::POST, "/api/queue/resume", Requirement::administer("holds.resume")),
    (Method::GET, "/api/queue/holds", Requirement::read("holds.list", Role::Viewer)),
    (Method::GET, "/api/quotas", Requirement::read("quotas.list", Role::Viewer)),
    (Method::POST, "/api/quotas", Requirement::administer("quotas.add")),
    (Method::PUT, "/api/quotas/{id}", Requirement::administer("quotas.change")),
    (Method::DELETE, "/api/quotas/{id}", Requirement::administer("quotas.remove")),
    (Method::GET, "/api/queue/weights", Requirement::read("weights.list", Role::Viewer)),
    (Method::PUT, "/api/queue/weights", Requirement::administer("weights.set")),
    (Method::GET, "/api/approvals/rules", Requirement::read("rules.list", Role::Viewer)),
    (Method::POST, "/api/approvals/rules", Requirement::administer("rules.add")),
    (Method::GET, "/api/approvals/rules/{id}", Requirement::read("rules.show", Role::Viewer)),
    (Method::GET, "/api/approvals/conditions", Requirement::read("conditions.list", Role::Viewer)),
    (Method::GET, "/api/approvals/requests", Requirement::read("approvals.list", Role::Viewer)),
    (
        Method::GET,
        "/api/approvals/requests/{id}",
        Requirement::read("approvals.show", Role::Viewer),
    ),
    (Method::POST, "/api/approvals/requests/{id}/approve", APPROVE),
    (Method::POST, "/api/approvals/requests/{id}/reject", REJECT),
    (Method::GET, "/api/cloud/providers", Requirement::read("providers.list", Role::Viewer)),
    // The webhook's address may hold a secret.
    (
        Method::GET,
        "/api/cloud/providers/{provider}/config",
        Requirement::read("providers.config", Role::Admin),
    ),
    (
        Method::PUT,
        "/api/cloud/providers/{provider}/config",
        Requirement::administer("providers.configure"),
    ),
    (
        Method::GET,
        "/api/cloud/providers/{provider}/validate",
        Requirement::read("providers.validate", Role::Viewer),
    ),
    (
        Method::POST,
        "/api/cloud/providers/{provider}/retry",
        Requirement::administer("providers.retry"),
    ),
    (Method::GET, "/api/events", EVENTS),
    (Method::GET, "/api/background/tasks", Requirement::read("tasks.list", Role::Viewer)),
    (Method::GET, "/api/logging/level", Requirement::read("logging.show", Role::Viewer)),
    (Method::PUT, "/api/logging/level", Requirement::administer("logging.set")),
    (Method::GET, "/api/keys", Requirement::read("keys.list", Role::Admin)),
    (Method::POST, "/api/keys", Requirement::administer("keys.create")),
    (Method::DELETE, "/api/keys/{id}", Requirement::administer("keys.revoke")),
    (Method::GET, "/api/users/me", ME),
    (Method::GET, "/api/auth/check", Requirement::public("auth.check")),
    (Method::POST, "/api/auth/session", Requirement::public("session.open")),
    (Method::DELETE, "/api/auth/session", SIGN_OUT),
    (Method::GET, "/api/audit", Requirement::read("audit.list", Role::Admin)),
    (Method::GET, "/health", Requirement::public("health.plain")),
    (Method::GET, "/api/cloud/health", Requirement::read("health.full", Role::Viewer)),
    (Method::GET, "/api/cloud/health/live", Requirement::public("health.live")),
    (Method::GET, "/api/cloud/health/ready", Requirement::public("health.ready")),
];

type ByMethod = Vec<(&'static Method, &'static Requirement)>;

static BY_PATH: LazyLock<BTreeMap<&'static str, ByMethod>> = LazyLock::new(|| {
    let mut by_path = BTreeMap::<&str, ByMethod>::new();
    for (method, path, requirement) in TABLE {
        by_path.entry(path).or_default().push((method, requirement));
    }
    by_path
});

/// What the operation of this method on this path, as the router writes it, needs.
pub(crate) fn of(method: &Method, path: &str) -> &'static Requirement {
    // A HEAD is answered as the GET is, without its body.
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let of_path = BY_PATH.get(path).into_iter().flatten();
    of_path.clone().find(|(of, _)| *of == method).map_or(&UNKNOWN, |(_, requirement)| requirement)
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
