//! Submissions that are refused where their job would have to wait. It is decided where the job is stored:
//! of those that come together, only so many get in as may begin.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;

use super::{Ahead, Cost, Group, HeldBy, NewJob, ProviderName, Requirement};

/// What a job that was to begin at once would have to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WouldWait {
    /// The approval that it needs.
    Approval,
    /// The date before which it is not to begin.
    Date,
    /// A slot: the jobs that wait already, or what holds it, leave it none.
    Slot(HeldBy),
}

impl fmt::Display for WouldWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Approval => f.write_str("it needs approval"),
            Self::Date => f.write_str("its date is not reached"),
            Self::Slot(HeldBy::Limit(limit)) => {
                let name = limit.as_str();
                write!(f, "running and waiting jobs need all the slots that {name} allows")
            }
            Self::Slot(HeldBy::Budget(id)) => {
                write!(f, "running and waiting jobs leave no room for it in budget {id}")
            }
            Self::Slot(HeldBy::Hold(level)) => write!(f, "there is a hold on its {level}"),
        }
    }
}

/// The providers whose jobs are being claimed. Those of others wait, and take no slot from a job that is to
/// begin at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServedProviders(pub BTreeSet<ProviderName>);

impl ServedProviders {
    /// What a job that is submitted now would wait for. `requirement`: the approval that it needs; `ahead`:
    /// the jobs that wait already.
    pub(crate) fn wait_of(
        &self,
        new: &NewJob,
        requirement: Option<&Requirement>,
        ahead: &Ahead,
        now: Timestamp,
    ) -> Option<WouldWait> {
        if requirement.is_some() {
            return Some(WouldWait::Approval);
        }
        if new.run_after.is_some_and(|at| at > now) {
            return Some(WouldWait::Date);
        }
        let (group, cost) = (Group::of_new(new), Cost::from_usd(new.estimated_cost));
        let held_by = ahead.held_behind(&group, cost, |provider| self.0.contains(provider));
        held_by.map(WouldWait::Slot)
    }
}
