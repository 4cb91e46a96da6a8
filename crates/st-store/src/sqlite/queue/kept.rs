//! The heads of all groups, kept by the writer between claims.
//!
//! They are a copy of what the database says and never the only place of anything: SQLite reports
//! each row of the queue that is written, what was undone is read again, and after a write of another
//! program, an error or a claim without the index all of it is, for the cost of a seek for each group.

use std::cell::{Cell, RefCell};

use rusqlite::Connection;

use super::admission::admission_under;
use super::changed::{Changes, Taken};
use super::heads::{GroupKey, first_of, first_of_next};
use crate::error::Result;
use crate::model::{ClaimIndex, Group, Owner};
use crate::sqlite::damage::Damage;
use crate::sqlite::failed;
use crate::sqlite::query::all;
use crate::sqlite::settings::limits;
use crate::sqlite::shares;
use crate::sqlite::writer::Tx;

/// What a writer keeps between its transactions.
#[derive(Debug)]
pub(in crate::sqlite) struct KeptHeads {
    changes: Changes,
    index: RefCell<Option<ClaimIndex>>,
    /// Another number after a commit of another connection.
    data_version: Cell<i64>,
}

impl KeptHeads {
    /// Watches what this connection writes.
    pub(in crate::sqlite) fn of(connection: &Connection) -> Result<Self> {
        let changes = Changes::watch(connection)?;
        Ok(Self { changes, index: RefCell::new(None), data_version: Cell::new(0) })
    }

    /// The transaction, or a part of it, was undone.
    pub(in crate::sqlite) fn undone(&self) {
        self.changes.undone();
    }

    /// The transaction is over. `certain`: it is known whether it is stored.
    pub(in crate::sqlite) fn ended(&self, certain: bool) {
        self.changes.ended();
        if !certain {
            self.forget();
        }
    }

    /// Reads all of it again at the next claim.
    pub(in crate::sqlite) fn forget(&self) {
        self.index.take();
    }

    /// The index as of now. Given back after it was used; what an error interrupts is forgotten.
    pub(super) fn take(&self, tx: &Tx<'_>, damage: &mut Damage) -> Result<ClaimIndex> {
        let limits = limits(tx.connection)?;
        let data_version = data_version(tx.connection)?;
        let is_own = self.data_version.replace(data_version) == data_version;
        let Taken { groups: changed, admission, shares: reweighed } = self.changes.take();
        let kept = self.index.take().filter(|index| is_own && index.is_for(&limits));
        let Some(mut index) = kept else {
            let mut index = ClaimIndex::new(admission_under(tx.connection, limits, tx.now)?);
            if let Some(half_life) = index.half_life() {
                index = index.with_shares(shares::shares(tx.connection, half_life)?);
            }
            let mut behind = GroupKey::default();
            while let Some((key, head)) = first_of_next(tx, &behind, damage)? {
                index.set_head(&head.group.clone(), Some(head));
                behind = key;
            }
            return Ok(index);
        };
        for key in changed {
            // A group whose columns cannot be decoded has no head in the index.
            if let Some(group) = key.group() {
                index.set_head(&group, first_of(tx, &group, damage)?);
            }
        }
        for scope in reweighed {
            let usage = shares::usage_of(tx.connection, &scope)?;
            index.set_share(&scope, usage, shares::weight_of(tx.connection, &scope)?);
        }
        if admission || index.is_outdated(tx.now) {
            index.set_admission(admission_under(tx.connection, limits, tx.now)?);
        }
        Ok(index)
    }

    /// Notes that the index has the head of this group as it is now.
    pub(super) fn is_known(&self, group: &Group) {
        self.changes.is_known(&GroupKey::of(group));
    }

    /// Notes that the index has what these owners used as it is now.
    pub(super) fn shares_are_known(&self, owner: &Owner) {
        self.changes.shares_are_known(owner);
    }

    pub(super) fn give_back(&self, index: ClaimIndex) {
        self.index.replace(Some(index));
    }
}

fn data_version(connection: &Connection) -> Result<i64> {
    let versions = all(connection, "PRAGMA data_version", [], |row| {
        row.get(0).map_err(failed("read the data version"))
    })?;
    Ok(versions.into_iter().next().unwrap_or_default())
}
