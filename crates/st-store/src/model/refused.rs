//! What a provider refused since it stopped accepting submissions, so that each probe is another
//! job.
//!
//! Of each group a few positions are kept, and nothing of a single job, so a sweep of any length costs
//! the same. Probes go through a group in its order, and begin again at its first job when none is
//! left: no job is tried again before every other waiting one was tried as often.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::{Group, JobRecord, QueueEntryId};

/// At most this many groups are remembered. Of more, the one with the fewest refusals is forgotten,
/// the oldest first, and its jobs count as not tried.
pub const MAX_REFUSED_GROUPS: usize = 256;

/// Where a waiting job is in the order of its group; the least is claimed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The order key.
    pub deadline: Timestamp,
    /// The tie-breaker.
    pub entry: QueueEntryId,
}

impl Position {
    /// Where a job is.
    pub fn of(record: &JobRecord) -> Self {
        let entry = record.entry();
        Self { deadline: entry.deadline(), entry: entry.id }
    }
}

/// The refusals of one provider since it stopped accepting submissions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    groups: BTreeMap<Group, Refusals>,
    /// How many refusals there were.
    count: u64,
}

/// The refusals of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Refusals {
    /// No job behind this was tried.
    end: Position,
    /// The newest job that was tried.
    newest: QueueEntryId,
    /// How often the group was begun again.
    passes: u32,
    /// Up to here the jobs were tried in the present pass; in the first one, this is the end.
    cursor: Position,
    count: u32,
    /// The number of its latest refusal among those of all groups.
    latest: u64,
}

/// Whose turn it is to probe a provider, the least first: jobs that were tried less often, then those
/// of groups with fewer refusals, so that no sweep keeps the jobs of other owners waiting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    passes: u32,
    refusals: u32,
}

impl Refused {
    /// A job that probed the provider was refused: the next probe is one behind it.
    pub fn add_probe(&mut self, group: &Group, at: Position) {
        let is_again = self.groups.get(group).is_some_and(|before| !before.is_untried(at));
        let refusals = self.add(group, at);
        if is_again {
            refusals.passes = refusals.passes.saturating_add(u32::from(at <= refusals.cursor));
            refusals.cursor = at;
        }
    }

    /// A job was refused that was submitted before the provider was probed. Such answers come in any
    /// order, so none moves the cursor back.
    pub fn add_straggler(&mut self, group: &Group, at: Position) {
        self.add(group, at);
    }

    fn add(&mut self, group: &Group, at: Position) -> &mut Refusals {
        if !self.groups.contains_key(group) && self.groups.len() >= MAX_REFUSED_GROUPS {
            self.forget_one();
        }
        self.count = self.count.saturating_add(1);
        let latest = self.count;
        let first = Refusals { end: at, newest: at.entry, passes: 0, cursor: at, count: 0, latest };
        let refusals = self.groups.entry(group.clone()).or_insert(first);
        refusals.end = refusals.end.max(at);
        refusals.newest = refusals.newest.max(at.entry);
        if refusals.passes == 0 {
            refusals.cursor = refusals.end;
        }
        refusals.count = refusals.count.saturating_add(1);
        refusals.latest = latest;
        refusals
    }

    fn forget_one(&mut self) {
        let least = self.groups.iter().min_by_key(|(_, it)| (it.passes, it.count, it.latest));
        if let Some(group) = least.map(|(group, _)| group.clone()) {
            self.groups.remove(&group);
        }
    }

    /// Where to search for the job of a group that is tried next, whose first waiting job is at
    /// `first`: behind each of these positions, in this order, and when no job is there, at `first`.
    ///
    /// It is `first` immediately when that is newer than every job that was tried: an urgent job does
    /// not wait behind its owner's sweep, nor does one behind the end. Another one that comes to be
    /// in between, by a changed priority for example, is tried when the cursor comes round: to find
    /// it, all those that were tried would have to be read.
    pub(crate) fn cursors(
        &self,
        group: &Group,
        first: Position,
    ) -> impl Iterator<Item = Position> + use<> {
        let tried = self.groups.get(group).filter(|it| !it.is_untried(first));
        let again = tried.filter(|it| it.cursor < it.end).map(|it| it.cursor);
        tried.map(|it| it.end).into_iter().chain(again)
    }

    pub(crate) fn turn(&self, group: &Group, at: Position) -> Turn {
        let Some(known) = self.groups.get(group) else { return Turn::default() };
        let passes = if known.is_untried(at) {
            0
        } else {
            known.passes.saturating_add(u32::from(at <= known.cursor))
        };
        Turn { passes, refusals: known.count }
    }
}

impl Refusals {
    /// Whether a job was certainly not tried.
    fn is_untried(&self, at: Position) -> bool {
        at > self.end || at.entry > self.newest
    }
}

#[cfg(test)]
mod tests;
