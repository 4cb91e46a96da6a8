//! Who a job is counted for, and what a person may do.

use crate::model::text::text_enum;
use crate::model::{OrgId, TeamId, UserId};

/// Who a job is counted for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The user who submitted it.
    pub user: UserId,
    /// The team, where it was submitted for one.
    pub team: Option<TeamId>,
    /// The organization, where it was submitted for one.
    pub org: Option<OrgId>,
}

impl Owner {
    /// An owner without team and organization.
    pub fn user(user: impl Into<String>) -> Self {
        Self { user: UserId::new(user), team: None, org: None }
    }
}

text_enum! {
    /// What a person may do; each role includes the ones before it.
    Role, "role" {
        /// Reads.
        Viewer = "viewer",
        /// Submits and cancels own jobs.
        Researcher = "researcher",
        /// Approves and overrides priority.
        Lead = "lead",
        /// Does everything.
        Admin = "admin",
    }
}
