//! Which groups a transaction gave another head, and which owners another share, as the database itself
//! reports it: for each row that is written, by whatever statement.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};

use super::heads::GroupKey;
use crate::error::Result;
use crate::model::{Owner, ShareScope};
use crate::sqlite::failed;

/// Reports each row of the queue that is written: its group, whether something of it could be claimed before or
/// can be now, and whether it changes who may have a slot. Temporary, as only this connection writes.
const WATCH: &str = "
CREATE TEMP TRIGGER entry_added AFTER INSERT ON main.queue_entries BEGIN
    SELECT group_changed(new.user_id, new.team_id, new.org_id, new.job_type, new.provider,
        new.claimable, new.in_slot);
END;
CREATE TEMP TRIGGER entry_changed AFTER UPDATE ON main.queue_entries BEGIN
    SELECT group_changed(new.user_id, new.team_id, new.org_id, new.job_type, new.provider,
        new.claimable OR old.claimable, new.in_slot <> old.in_slot);
END;
CREATE TEMP TRIGGER entry_removed AFTER DELETE ON main.queue_entries BEGIN
    SELECT group_changed(old.user_id, old.team_id, old.org_id, old.job_type, old.provider,
        old.claimable, old.in_slot);
END;
";

/// Tables whose rows decide who may have a slot, and the update that matters.
const DECIDING: [(&str, &str); 4] = [
    ("strays", "AFTER UPDATE OF user_id, team_id, org_id"),
    ("holds", "AFTER UPDATE"),
    ("budgets", "AFTER UPDATE"),
    ("provider_settings", "AFTER UPDATE"),
];
/// Tables with what an owner used, and its weight.
const SHARES: [&str; 2] = ["share_usage", "share_weights"];

/// All triggers.
fn triggers() -> String {
    let mut triggers = vec![WATCH.to_owned()];
    let mut add = |table: &str, number: usize, event: &str, call: &str| {
        triggers.push(format!(
            "CREATE TEMP TRIGGER {table}_{number} {event} ON main.{table} BEGIN \
             SELECT {call}; END;\n"
        ));
    };
    for (table, update) in DECIDING {
        for (number, event) in ["AFTER INSERT", update, "AFTER DELETE"].into_iter().enumerate() {
            add(table, number, event, "group_changed('', '', '', '', '', 0, 1)");
        }
    }
    for table in SHARES {
        for (number, (event, row)) in
            [("AFTER INSERT", "new"), ("AFTER UPDATE", "new"), ("AFTER DELETE", "old")]
                .into_iter()
                .enumerate()
        {
            add(table, number, event, &format!("share_changed({row}.scope, {row}.scope_id)"));
        }
    }
    triggers.concat()
}

/// What was written since it was last asked for.
#[derive(Debug, Default)]
pub(super) struct Changed {
    all: Taken,
    /// The same for the transaction that is open.
    uncommitted: Taken,
}

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Groups in which a row was written that could or can be claimed.
    pub(super) groups: BTreeSet<GroupKey>,
    /// Whether what decides who may have a slot was changed: the slots, the holds, the limits of
    /// providers.
    pub(super) admission: bool,
    /// Owners whose usage or weight was written.
    pub(super) shares: BTreeSet<ShareScope>,
}

/// The changes of one connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes(Arc<Mutex<Changed>>);

impl Changes {
    /// Watches what this connection writes.
    pub(super) fn watch(connection: &Connection) -> Result<Self> {
        let changes = Self::default();
        let watched = changes.clone();
        // Without an effect on any database, so that a trigger may call it.
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
        let report = move |context: &mut Context<'_>| {
            let text = |index| context.get_raw(index).as_str().unwrap_or_default().to_owned();
            let (is_head, admission) = (context.get(5)?, context.get(6)?);
            let key = || GroupKey::new(text(0), text(1), text(2), text(3), text(4));
            watched.with(|changed| changed.add(bool::then(is_head, key), admission));
            Ok(rusqlite::types::Null)
        };
        let watched = changes.clone();
        let report_share = move |context: &mut Context<'_>| {
            let text = |index| context.get_raw(index).as_str().unwrap_or_default();
            if let Ok(level) = text(0).parse() {
                let scope = ShareScope::from_parts(level, text(1));
                watched.with(|changed| changed.add_share(scope));
            }
            Ok(rusqlite::types::Null)
        };
        connection
            .create_scalar_function("group_changed", 7, flags, report)
            .and_then(|()| {
                connection.create_scalar_function("share_changed", 2, flags, report_share)
            })
            .and_then(|()| connection.execute_batch(&triggers()))
            .map_err(failed("watch the queue"))?;
        Ok(changes)
    }

    fn with<T>(&self, change: impl FnOnce(&mut Changed) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What was written; all of it is then known.
    pub(super) fn take(&self) -> Taken {
        self.with(|changed| std::mem::take(&mut changed.all))
    }

    /// Notes that the head of a group is known as it is now.
    pub(super) fn is_known(&self, group: &GroupKey) {
        self.with(|changed| changed.all.groups.remove(group));
    }

    /// Notes that what these owners used is known as it is now.
    pub(super) fn shares_are_known(&self, owner: &Owner) {
        self.with(|changed| {
            for scope in ShareScope::path(owner) {
                changed.all.shares.remove(&scope);
            }
        });
    }

    /// What was read in the open transaction, or a part of it, was undone.
    pub(super) fn undone(&self) {
        self.with(|Changed { all, uncommitted }| {
            all.groups.extend(uncommitted.groups.iter().cloned());
            all.admission |= uncommitted.admission;
            all.shares.extend(uncommitted.shares.iter().cloned());
        });
    }

    /// The open transaction is over.
    pub(super) fn ended(&self) {
        self.with(|changed| changed.uncommitted = Taken::default());
    }
}

impl Changed {
    fn add(&mut self, group: Option<GroupKey>, admission: bool) {
        if let Some(group) = group {
            self.uncommitted.groups.insert(group.clone());
            self.all.groups.insert(group);
        }
        self.all.admission |= admission;
        self.uncommitted.admission |= admission;
    }

    fn add_share(&mut self, scope: ShareScope) {
        self.uncommitted.shares.insert(scope.clone());
        self.all.shares.insert(scope);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UserId;

    #[test]
    fn what_was_taken_and_then_undone_is_there_again() {
        let (changes, ann) = (Changes::default(), ShareScope::User(UserId::new("ann")));
        let group = GroupKey::default();
        changes.with(|changed| {
            changed.add(Some(group.clone()), true);
            changed.add_share(ann.clone());
        });
        drop(changes.take());
        changes.undone();
        let Taken { groups, admission, shares } = changes.take();
        assert_eq!((groups, admission, shares), ([group].into(), true, [ann].into()));
        changes.ended();
        changes.undone();
        let Taken { groups, admission, shares } = changes.take();
        assert!(groups.is_empty() && !admission && shares.is_empty(), "it is over");
    }
}
