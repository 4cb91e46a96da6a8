//! The store: whether it works, how long writes take, and what is set aside.

use st_store::Integrity;

use super::family::{Family, gauge, histogram};
use super::page::{Page, series};
use super::stored::Shown;
use crate::api::Api;

const WRITABLE: Family = gauge("st_store_writable", &[], "Whether writes succeed");
const READABLE: Family = gauge(
    "st_store_readable",
    &[],
    "Whether the latest reading of the store for these metrics succeeded",
);
const SOUND: Family = gauge(
    "st_store_sound",
    &[],
    "Whether the check of the stored data has found no fault; 1 also while it runs",
);
const READ: Family = gauge(
    "st_store_read_seconds",
    &[],
    "How long it took to read what the store holds, which is done every 5 seconds, or less often where it \
     takes long",
);
const READ_AGE: Family = gauge(
    "st_store_read_age_seconds",
    &[],
    "How long ago what these metrics show of the store was read",
);
const WAITING: Family =
    gauge("st_store_writes_waiting", &["lane"], "Writes that wait to begin, by lane");
const WRITE_WAIT: Family = histogram(
    "st_store_write_wait_seconds",
    &["lane"],
    "How long writes waited until they began, by lane",
);
const COMMIT: Family = histogram(
    "st_store_commit_seconds",
    &[],
    "How long it took to commit, the sync to disk included; several writes share a commit",
);
const DAMAGED: Family = gauge(
    "st_damaged_jobs",
    &[],
    "Jobs that are set aside because a part of them could not be read",
);

/// The lanes of writes.
pub(super) const LANES: [&str; 3] = ["worker", "interactive", "bulk"];

pub(super) const FAMILIES: [&Family; 9] =
    [&WRITABLE, &READABLE, &SOUND, &READ, &READ_AGE, &WAITING, &WRITE_WAIT, &COMMIT, &DAMAGED];

pub(super) fn add(page: &mut Page, api: &Api, Shown { stored, readable, .. }: &Shown) {
    let health = api.store.health();
    page.one(&WRITABLE, health.writable.is_ok());
    page.known(&READABLE, *readable);
    page.one(&SOUND, !matches!(health.integrity, Integrity::Damaged(_)));
    page.known(&READ, stored.as_ref().map(|stored| stored.took));
    page.known(&READ_AGE, stored.as_ref().map(|stored| stored.age()));
    let waiting = [health.waiting.worker, health.waiting.interactive, health.waiting.bulk];
    page.add(&WAITING, LANES.into_iter().zip(waiting).map(|(lane, writes)| series([lane], writes)));
    let timings = api.store.write_timings();
    let (waits, commits) = match timings {
        Some(timings) => {
            let waits = [timings.worker_waits, timings.interactive_waits, timings.bulk_waits];
            let waits = LANES.into_iter().zip(waits).map(|(lane, waits)| series([lane], waits));
            (waits.collect(), Some(timings.commits))
        }
        None => (Vec::new(), None),
    };
    page.add(&WRITE_WAIT, waits);
    page.known(&COMMIT, commits);
    page.known(&DAMAGED, stored.as_ref().map(|stored| stored.unsettled.damaged));
}
