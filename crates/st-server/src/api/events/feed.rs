//! What all event streams share: one reader of what is newly committed, and the frames that it made.
//!
//! Each event is read and rendered once, however many streams there are, and not at all while there
//! are none. Streams at the end of the log take the frames from the ring; others read the log until
//! they get there.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use st_log::{Logger, Scope, get_logger};
use st_store::{EventId, Result, Store};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::audience::{Audience, Seat};
use super::reader::{Age, Chunk, Reader};
use super::ring::{Next, Ring, Want};

const LOG: Logger = get_logger("simpletuner.cloud.events");
/// After the log could not be read.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// Shared by all streams.
#[derive(Debug)]
pub(in crate::api) struct Feed {
    reader: Reader,
    committed: watch::Receiver<EventId>,
    /// Locked for writing to add what was read, for reading to take one frame.
    ring: RwLock<Ring>,
    changed: Notify,
    audience: Arc<Audience>,
    /// One for each stream that may be open.
    tickets: Arc<Semaphore>,
}

/// One stream's share of it.
#[derive(Debug)]
pub(super) struct Ticket {
    feed: Arc<Feed>,
    seat: Seat,
    _permit: OwnedSemaphorePermit,
}

impl Feed {
    /// Starts to follow the log, until `stopping`. At most `streams` can follow it.
    pub(in crate::api) fn start(
        store: Arc<dyn Store>,
        streams: usize,
        stopping: CancellationToken,
    ) -> Arc<Self> {
        let committed = store.last_event();
        let newest = *committed.borrow();
        let feed = Arc::new(Self {
            reader: Reader::new(store),
            committed,
            ring: RwLock::new(Ring::new(newest)),
            changed: Notify::new(),
            audience: Arc::default(),
            tickets: Arc::new(Semaphore::new(streams)),
        });
        let tail = Tail { feed: Arc::clone(&feed) };
        let waves = Arc::clone(&feed);
        // They belong to no request.
        Scope::root().in_scope(|| {
            drop(st_log::spawn(async move { waves.wake().await }));
            drop(st_log::spawn(async move {
                tokio::select! {
                    () = stopping.cancelled() => {}
                    () = tail.follow() => {}
                }
            }));
        });
        feed
    }

    /// A place for one more stream, if there is any.
    pub(super) fn join(self: &Arc<Self>) -> Option<Ticket> {
        let permit = Arc::clone(&self.tickets).try_acquire_owned().ok()?;
        Some(Ticket { feed: Arc::clone(self), seat: self.audience.sit(), _permit: permit })
    }

    /// How many more streams may be open.
    pub(in crate::api) fn free(&self) -> usize {
        self.tickets.available_permits()
    }

    fn ring(&self) -> RwLockReadGuard<'_, Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ring, to be changed; the streams are woken afterwards.
    fn change(&self, change: impl FnOnce(RwLockWriteGuard<'_, Ring>)) {
        change(self.ring.write().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    /// Wakes the streams after each change.
    async fn wake(&self) {
        loop {
            self.changed.notified().await;
            // Asked before, so that it is closed to everyone who is woken after it.
            let is_last = self.ring().is_closed();
            self.audience.wake(|after| self.ring().has_news(after)).await;
            if is_last {
                return;
            }
        }
    }
}

/// Reads what is committed into the ring. When it ends, however it does, so do the streams.
struct Tail {
    feed: Arc<Feed>,
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.feed.change(|mut ring| ring.close());
    }
}

impl Tail {
    async fn follow(&self) {
        let mut committed = self.feed.committed.clone();
        loop {
            if self.feed.audience.is_empty() {
                self.feed.audience.until_occupied().await;
                let newest = *committed.borrow();
                self.feed.change(|mut ring| ring.restart(newest));
            }
            // Marked as seen *before* the log is read, so that a commit during the read is noticed.
            let newest = *committed.borrow_and_update();
            let head = self.feed.ring().head();
            if newest > head {
                self.read(head).await;
            } else if committed.changed().await.is_err() {
                return;
            }
        }
    }

    async fn read(&self, head: EventId) {
        match self.feed.reader.read(head).await {
            Ok(chunk) => self.feed.change(|mut ring| ring.push(chunk)),
            Err(error) => {
                st_log::warning!(
                    logger: LOG, error,
                    "Event streams wait: the log could not be read"
                );
                sleep(READ_AGAIN).await;
            }
        }
    }
}

impl Ticket {
    /// The number of the seat.
    pub(super) fn number(&self) -> usize {
        self.seat.number()
    }

    /// The newest event that was committed.
    pub(super) fn newest(&self) -> EventId {
        *self.feed.committed.borrow()
    }

    pub(super) fn next(&self, want: Want) -> Next {
        self.feed.ring().next(want)
    }

    /// Reads the log itself.
    pub(super) async fn read(&self, after: EventId, age: Age) -> Result<Arc<Chunk>> {
        self.feed.reader.share(after, age).await
    }

    /// Ready when there is something to do for a stream that has everything up to `after`.
    pub(super) fn poll_news(&self, cx: &Context<'_>, after: EventId) -> Poll<()> {
        // First, so that what changes after the look wakes the stream.
        self.seat.wait(cx.waker(), after);
        if self.feed.ring().has_news(after) { Poll::Ready(()) } else { Poll::Pending }
    }
}
