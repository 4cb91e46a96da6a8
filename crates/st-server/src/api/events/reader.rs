//! Parts of the event log as frames, each read once for all who ask for it at about the same time.
//!
//! After a restart thousands of streams come back, most of them at the same few positions. Sharing
//! and a limit of reads at a time keep them from the connections that everything else needs.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use st_log::{Logger, get_logger};
use st_store::{DamagedRow, EventId, EventPage, Result, Store};
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;

use super::frame::Entry;

const LOG: Logger = get_logger("simpletuner.cloud.events");
/// How many events are read at a time.
const CHUNK: u32 = 64;
/// How many streams read at the same time. The store has more readers than that for short reads.
const READS: usize = 1;
/// How many chunks are kept, and for how long, for others at the same position.
const KEPT: usize = 16;
const KEPT_FOR: Duration = Duration::from_secs(1);

/// A part of the log.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) entries: Vec<Entry>,
    /// The position after it.
    pub(super) upto: EventId,
    /// The log does not know the position before it, or not all that came after.
    pub(super) resync: bool,
}

pub(super) struct Reader {
    store: Arc<dyn Store>,
    reads: Semaphore,
    /// The chunks that were asked for last, the newest at the end. Locked to find or add one.
    recent: Mutex<VecDeque<Arc<Shared>>>,
    /// The keys of damaged events that were logged: every stream skips the same ones, and one line
    /// about each is enough. Locked to add one.
    damaged: Mutex<BTreeSet<String>>,
}

struct Shared {
    after: EventId,
    asked_at: Instant,
    is_begun: AtomicBool,
    chunk: OnceCell<Arc<Chunk>>,
}

impl Shared {
    fn answers(&self, age: Age) -> bool {
        match age {
            Age::New => !self.is_begun.load(Ordering::SeqCst),
            // Who knows that there is more would ask for it again and again.
            Age::Recent => {
                self.chunk.get().is_none_or(|chunk| chunk.resync || chunk.upto > self.after)
            }
        }
    }
}

/// How old a chunk may be that another stream asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// It must be read after the call: whether the log knows a client's position is said as it is
    /// now.
    New,
    /// It may be a moment old. A stream misses nothing by that: who goes on after it gets what has
    /// come since.
    Recent,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl Reader {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            reads: Semaphore::new(READS),
            recent: Mutex::default(),
            damaged: Mutex::default(),
        }
    }

    /// What comes after this position, perhaps as it is read for another stream.
    pub(super) async fn share(&self, after: EventId, age: Age) -> Result<Arc<Chunk>> {
        let shared = self.shared(after, age);
        let chunk = shared.chunk.get_or_try_init(|| async {
            // Never closed.
            let _permit = self.reads.acquire().await.ok();
            shared.is_begun.store(true, Ordering::SeqCst);
            self.read(after).await.map(Arc::new)
        });
        chunk.await.cloned()
    }

    fn shared(&self, after: EventId, age: Age) -> Arc<Shared> {
        let now = Instant::now();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|it| now < it.asked_at + KEPT_FOR);
        let same = recent.iter().rev().find(|it| it.after == after);
        if let Some(same) = same
            && same.answers(age)
        {
            return Arc::clone(same);
        }
        let (is_begun, chunk) = (AtomicBool::new(false), OnceCell::new());
        let new = Arc::new(Shared { after, asked_at: now, is_begun, chunk });
        if recent.len() >= KEPT {
            recent.pop_front();
        }
        recent.push_back(Arc::clone(&new));
        new
    }

    /// All reads that may be under way at a time, so that none is.
    #[cfg(test)]
    pub(super) async fn all_reads(&self) -> tokio::sync::SemaphorePermit<'_> {
        self.reads.acquire_many(u32::try_from(READS).unwrap()).await.unwrap()
    }

    /// Reads what comes after this position now.
    pub(super) async fn read(&self, after: EventId) -> Result<Chunk> {
        // Before the log, so that nothing that is committed during the read counts as read.
        let newest = *self.store.last_event().borrow();
        let page = self.store.events_after(after, CHUNK).await?;
        let EventPage { events, damaged, next, resync } = page;
        if resync {
            return Ok(Chunk { entries: Vec::new(), upto: newest, resync });
        }
        self.log_skipped(&damaged);
        // Where nothing is left to read, the newest events are gone already, with their jobs.
        let read_any = !events.is_empty() || !damaged.is_empty();
        let upto = next.filter(|_| read_any).unwrap_or(newest).max(after);
        Ok(Chunk { entries: events.iter().map(Entry::of).collect(), upto, resync })
    }

    /// Logs the events that streams skip because they cannot be read: once, however many streams
    /// meet them.
    fn log_skipped(&self, damaged: &[DamagedRow]) {
        for row in damaged {
            let mut logged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
            let is_new = logged.insert(row.key.clone());
            drop(logged);
            if is_new {
                st_log::warning!(
                    logger: LOG, row = row.to_string(),
                    "Damaged event is left out of the event stream"
                );
            }
        }
    }
}
