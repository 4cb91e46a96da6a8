//! How far a provider is open to new submissions.

use crate::model::Refused;

/// How many new submissions a provider is to be given. Reclaims are never limited by it: what may
/// be at the provider already is reconciled in any case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Opening {
    /// As many as the limits admit.
    #[default]
    Open,
    /// The provider is being probed.
    Limited {
        /// How many jobs one claim grants at most.
        submissions: u32,
        /// What it refused since it stopped accepting submissions; other jobs go first.
        refused: Refused,
    },
    /// None.
    Closed,
}

impl Opening {
    /// How many jobs one claim grants at most; `None` without a limit.
    pub const fn submissions(&self) -> Option<u32> {
        match self {
            Self::Open => None,
            Self::Limited { submissions, .. } => Some(*submissions),
            Self::Closed => Some(0),
        }
    }

    /// What the provider refused, where other jobs go first.
    pub(crate) const fn refused(&self) -> Option<&Refused> {
        match self {
            Self::Limited { refused, .. } => Some(refused),
            Self::Open | Self::Closed => None,
        }
    }
}
