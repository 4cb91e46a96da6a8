//! Which groups a transaction gave another head, as the database itself reports it: for each row of the
//! queue and of the strays that is written, by whatever statement.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};

use super::heads::GroupKey;
use crate::error::Result;
use crate::sqlite::failed;

/// Reports each row that is written: its group, whether something of it could be claimed before or
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
CREATE TEMP TRIGGER stray_added AFTER INSERT ON main.strays BEGIN
    SELECT group_changed('', '', '', '', '', 0, 1);
END;
CREATE TEMP TRIGGER stray_changed AFTER UPDATE OF user_id, team_id, org_id ON main.strays BEGIN
    SELECT group_changed('', '', '', '', '', 0, 1);
END;
CREATE TEMP TRIGGER stray_removed AFTER DELETE ON main.strays BEGIN
    SELECT group_changed('', '', '', '', '', 0, 1);
END;
CREATE TEMP TRIGGER hold_added AFTER INSERT ON main.holds BEGIN
    SELECT group_changed('', '', '', '', '', 0, 1);
END;
CREATE TEMP TRIGGER hold_removed AFTER DELETE ON main.holds BEGIN
    SELECT group_changed('', '', '', '', '', 0, 1);
END;
CREATE TEMP TRIGGER budget_added AFTER INSERT ON main.budgets BEGIN
    SELECT group_changed('', '', '', '', '', 0, 1);
END;
CREATE TEMP TRIGGER budget_changed AFTER UPDATE ON main.budgets BEGIN
    SELECT group_changed('', '', '', '', '', 0, 1);
END;
CREATE TEMP TRIGGER budget_removed AFTER DELETE ON main.budgets BEGIN
    SELECT group_changed('', '', '', '', '', 0, 1);
END;
CREATE TEMP TRIGGER provider_setting_added AFTER INSERT ON main.provider_settings BEGIN
    SELECT group_changed('', '', '', '', '', 0, 1);
END;
CREATE TEMP TRIGGER provider_setting_changed AFTER UPDATE ON main.provider_settings BEGIN
    SELECT group_changed('', '', '', '', '', 0, 1);
END;
CREATE TEMP TRIGGER provider_setting_removed AFTER DELETE ON main.provider_settings BEGIN
    SELECT group_changed('', '', '', '', '', 0, 1);
END;
";

/// What was written since it was last asked for.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// Groups in which a row was written that could or can be claimed.
    groups: BTreeSet<GroupKey>,
    /// Whether what decides who may have a slot was changed: the slots, the holds, the limits of
    /// providers.
    admission: bool,
    /// The same for the transaction that is open.
    uncommitted: BTreeSet<GroupKey>,
    uncommitted_admission: bool,
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
        connection
            .create_scalar_function("group_changed", 7, flags, report)
            .and_then(|()| connection.execute_batch(WATCH))
            .map_err(failed("watch the queue"))?;
        Ok(changes)
    }

    fn with<T>(&self, change: impl FnOnce(&mut Changed) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The groups, and whether it changed who may have a slot; both are then known.
    pub(super) fn take(&self) -> (BTreeSet<GroupKey>, bool) {
        self.with(|changed| {
            (std::mem::take(&mut changed.groups), std::mem::take(&mut changed.admission))
        })
    }

    /// Notes that the head of a group is known as it is now.
    pub(super) fn is_known(&self, group: &GroupKey) {
        self.with(|changed| changed.groups.remove(group));
    }

    /// What was read in the open transaction, or a part of it, was undone.
    pub(super) fn undone(&self) {
        self.with(|changed| {
            changed.groups.extend(changed.uncommitted.iter().cloned());
            changed.admission |= changed.uncommitted_admission;
        });
    }

    /// The open transaction is over.
    pub(super) fn ended(&self) {
        self.with(|changed| {
            changed.uncommitted.clear();
            changed.uncommitted_admission = false;
        });
    }
}

impl Changed {
    fn add(&mut self, group: Option<GroupKey>, admission: bool) {
        if let Some(group) = group {
            self.uncommitted.insert(group.clone());
            self.groups.insert(group);
        }
        self.admission |= admission;
        self.uncommitted_admission |= admission;
    }
}
