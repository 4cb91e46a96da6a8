//! The person who makes a request.

use std::sync::{Arc, Mutex, PoisonError};

use st_store::{Actor, ApiKey, JobId, KeyId, KeyScopes, OrgId, Role, TeamId, UserId};

use super::key::Presented;

/// How a caller has shown who it is.
#[derive(Debug, Clone)]
pub(crate) enum Via {
    /// It did not have to: the server has a single user.
    Local,
    /// It did not have to: the operation is open to everyone.
    Nobody,
    /// By a key.
    Key(Presented),
    /// By the cookie of a session that a key opened.
    Session {
        /// The key.
        key: Presented,
        /// What requests of this session that change something must show.
        csrf: String,
    },
}

/// The person who makes a request, and what that person may do.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) user: UserId,
    pub(crate) role: Role,
    pub(crate) scopes: KeyScopes,
    pub(crate) team: Option<TeamId>,
    pub(crate) org: Option<OrgId>,
    pub(crate) via: Via,
    /// What the request turned out to be about.
    pub(super) notes: Arc<Mutex<Notes>>,
}

/// What is known of a request only after its operation, for the audit trail.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes {
    /// The jobs that it was about.
    pub(super) jobs: Vec<JobId>,
    /// The number of what it made.
    pub(super) made: Option<String>,
    /// A part of it was refused to this caller, though its answer is a success.
    pub(super) refused: bool,
    /// It changed nothing, though its answer is a success.
    pub(super) unchanged: bool,
}

impl Caller {
    /// The administrator of a server with a single user.
    pub(super) fn local() -> Self {
        Self {
            user: UserId::new("local"),
            role: Role::Admin,
            scopes: KeyScopes::All,
            team: None,
            org: None,
            via: Via::Local,
            notes: Arc::default(),
        }
    }

    /// Someone who is not known, and may do what is open to everyone.
    pub(crate) fn nobody() -> Self {
        Self { user: UserId::new("nobody"), role: Role::Viewer, via: Via::Nobody, ..Self::local() }
    }

    /// The user of a key.
    pub(super) fn of(key: &ApiKey, via: Via) -> Self {
        let key = &key.key;
        Self {
            user: key.user.clone(),
            role: key.role,
            scopes: key.scopes.clone(),
            team: key.team.clone(),
            org: key.org.clone(),
            via,
            notes: Arc::default(),
        }
    }

    /// The caller as the store records who made a change.
    pub(crate) fn actor(&self) -> Actor {
        Actor::User(self.user.clone())
    }

    /// The key that was used, also where it opened a session.
    pub(crate) fn key(&self) -> Option<&KeyId> {
        self.presented().map(|presented| &presented.id)
    }

    /// What the key is verified by again, while a stream is open.
    pub(super) fn presented(&self) -> Option<&Presented> {
        match &self.via {
            Via::Local | Via::Nobody => None,
            Via::Key(presented) | Via::Session { key: presented, .. } => Some(presented),
        }
    }

    /// Notes for the audit trail that the request is about this job, and maybe others.
    pub(crate) fn about(&self, job: JobId) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if !notes.jobs.contains(&job) {
            notes.jobs.push(job);
        }
    }

    /// Notes for the audit trail the number of what the request made.
    pub(crate) fn made(&self, number: i64) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.made = Some(number.to_string());
    }

    /// Notes for the audit trail that a part of the request was refused to this caller.
    pub(crate) fn was_refused(&self) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).refused = true;
    }

    /// Notes for the audit trail that the request changed nothing, though it is answered with a success.
    pub(crate) fn changed_nothing(&self) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).unchanged = true;
    }

    pub(super) fn notes(&self) -> Notes {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
