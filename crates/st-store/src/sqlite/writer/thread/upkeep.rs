//! Maintenance on the writing thread, between the batches: it notices a dead disk and its recovery, rewrites
//! the write-ahead log after a failed commit, and copies the log into the database.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Kind, Lane, PASSIVE, Parts, Task, Thread, Tx, Waiting, monotonic};
use crate::error::{Error, Result};
use crate::sqlite::LOG;
use crate::sqlite::failed;
use crate::sqlite::life::Journal;
use crate::sqlite::place::Presence;
use crate::sqlite::query::execute;
use crate::sqlite::writer::attempt::{Attempt, checkpoint};
use crate::sqlite::writer::thread::TRUNCATE;

/// How many pages the log gets before it is copied into the database, about 4 MB.
const CHECKPOINT_PAGES: i32 = 1000;
const HOUR: Duration = Duration::from_hours(1);

impl Thread {
    /// Whether an attempt to write makes sense, after trying to recover where that is due.
    pub(super) fn is_usable(&mut self) -> bool {
        match self.condition.kind() {
            None | Some(Kind::Locked) => true,
            Some(Kind::Failing) => self.recover_if_due(),
            Some(Kind::Detached(_)) => match self.parts.place.presence() {
                // A commit may have failed before the file was moved, so the log is rewritten.
                Presence::Here => self.recover(),
                gone @ (Presence::WalGone | Presence::DatabaseGone | Presence::ShmGone) => {
                    self.rescue(gone);
                    false
                }
            },
        }
    }

    fn recover_if_due(&mut self) -> bool {
        let due = self.condition.retry_at().is_none_or(|retry_at| monotonic() >= retry_at);
        due && self.recover()
    }

    /// Rewrites the write-ahead log and proves that a commit reaches the disk.
    pub(super) fn recover(&mut self) -> bool {
        self.parts.checker.pause();
        let rewritten = self.rewrite_log();
        // That was a checkpoint without a number.
        self.checkpoint_due = true;
        let proven = rewritten.and_then(|()| match self.attempt(&mut [probe()]) {
            Attempt::Committed { last_event: _, wrote: false } => Err(nothing_written()),
            Attempt::Committed { last_event, wrote } => {
                self.committed(Vec::new(), last_event, wrote);
                self.parts.journal.sync();
                Ok(())
            }
            Attempt::Locked => Err(Error::Busy),
            Attempt::Detached(presence) => {
                self.detach(presence);
                Ok(())
            }
            Attempt::NotBegun(error)
            | Attempt::Lost { culprit: _, error }
            | Attempt::Refused(error)
            | Attempt::Unknown(error) => Err(error),
        });
        self.parts.checker.resume();
        if let Err(error) = proven {
            self.fail(&error);
        }
        self.condition.kind().is_none()
    }

    fn rewrite_log(&mut self) -> Result<()> {
        let connection = &self.parts.connection;
        if !connection.is_autocommit() {
            execute(connection, "ROLLBACK", "roll a transaction back")?;
        }
        if self.parts.place.presence() == Presence::Here {
            self.parts.journal.changing();
            let rewritten = checkpoint(connection, TRUNCATE);
            self.parts.journal.changed(&self.parts.place);
            rewritten?;
        }
        Ok(())
    }

    /// What is due whether or not anything is to be written: a dead disk and its recovery are
    /// noticed on an idle server too.
    pub(super) fn maintain(&mut self) {
        let now = monotonic();
        match self.condition.retry_at() {
            Some(retry_at) if now < retry_at => {}
            Some(_) if self.is_usable() => self.probe(),
            Some(_) => self.condition.postpone(now),
            None if now < self.next_probe() => {}
            None if self.adopt_step() => self.probe(),
            None => {}
        }
        if now.saturating_sub(self.synced_at) >= HOUR {
            self.synced_at = now;
            self.parts.journal.sync();
        }
    }

    fn probe(&mut self) {
        self.written_at = None;
        self.process(vec![probe()]);
        // The probe itself may have failed, in a transaction that holds nothing else.
        if self.written_at.is_none() && self.condition.kind().is_none() {
            self.fail(&nothing_written());
        }
    }

    pub(super) fn checkpoint_if_due(&mut self) {
        let pages = self.pages.load(Ordering::Relaxed);
        // Fewer than at the last time: the log has begun anew.
        self.checkpointed = if pages < self.checkpointed { 0 } else { self.checkpointed };
        let due = pages.saturating_sub(self.checkpointed) >= CHECKPOINT_PAGES;
        if !(due || self.checkpoint_due) || !self.announce_checkpoint() {
            return;
        }
        self.checkpoint_due = false;
        self.checkpointed = self.pages.load(Ordering::Relaxed);
        self.parts.journal.changing();
        match checkpoint(&self.parts.connection, PASSIVE) {
            Ok(complete) => {
                self.condition.checkpointed(Ok(()));
                if complete {
                    self.parts.journal.checkpoint_done();
                }
            }
            // Another connection does the same just now.
            Err(Error::Busy) => self.condition.checkpointed(Ok(())),
            Err(error) => self.condition.checkpointed(Err(&error)),
        }
        self.parts.journal.changed(&self.parts.place);
    }

    /// Writes the number of the next checkpoint. By this number an older copy of the database is
    /// distinguished from this one without its log.
    pub(super) fn announce_checkpoint(&mut self) -> bool {
        let number = self.parts.journal.next_checkpoint();
        let announce = move |tx: &Tx<'_>| Journal::announce_checkpoint(tx.connection, number);
        let (task, _result) = Task::with_caller("announce a checkpoint", announce);
        let mut announcement = [Waiting::new(Lane::Interactive, task)];
        match self.attempt(&mut announcement) {
            Attempt::Committed { last_event, wrote } => {
                self.parts.journal.checkpoint_announced(number);
                let log = self.log();
                self.parts.journal.update(last_event, log, false);
                wrote
            }
            Attempt::Unknown(error) => {
                self.fail(&error);
                false
            }
            // The next write finds out what is wrong.
            Attempt::Locked
            | Attempt::NotBegun(_)
            | Attempt::Lost { .. }
            | Attempt::Detached(_)
            | Attempt::Refused(_) => false,
        }
    }

    pub(super) fn detach(&mut self, presence: Presence) {
        let place = &self.parts.place;
        let path = match presence {
            Presence::WalGone => place.site().wal(),
            Presence::ShmGone => place.site().shm(),
            Presence::DatabaseGone | Presence::Here => place.site().path().to_owned(),
        };
        let readable_at = place.still_readable_at();
        self.condition.detach(path, &readable_at, monotonic(), self.parts.clock.now());
        self.rescue(presence);
    }

    /// Copies a deleted log, which is still open, into the database, which is in its place. Then
    /// nothing is lost, however this process ends.
    fn rescue(&mut self, presence: Presence) {
        if presence != Presence::WalGone || self.rescued {
            return;
        }
        let Parts { place, journal, .. } = &self.parts;
        // Without the shared memory another program does not see that this one is there: when the
        // database is no longer as it was, it must be left alone.
        if place.is_without_shm() && !journal.is_as_noted(place) {
            return;
        }
        self.parts.journal.changing();
        // What fails now is tried again until the log is there or the process ends.
        let copied = checkpoint(&self.parts.connection, TRUNCATE);
        self.parts.journal.changed(&self.parts.place);
        match copied {
            Ok(_) => self.rescued = true,
            Err(error) => {
                st_log::debug!(logger: LOG, error, "Deleted write-ahead log is not rescued yet");
            }
        }
    }
}

fn nothing_written() -> Error {
    Error::Database { operation: "write a probe", source: "nothing was written".into() }
}

fn probe() -> Waiting {
    let (task, _result) = Task::with_caller("write a probe", |tx: &Tx<'_>| {
        let sql = "INSERT OR REPLACE INTO probe (id, at) VALUES (1, ?1)";
        tx.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute([tx.now.as_millisecond()]))
            .map(drop)
            .map_err(failed("write a probe"))
    });
    Waiting::new(Lane::Interactive, task)
}
