//! Writes the audit trail, and when keys were used, without holding up the requests.
//!
//! What changes a job has an event in the transaction that changed it, with the actor and the correlation
//! ID, so that the trail only adds the key and the address to what is durable already: such entries are
//! written in batches, each of what came in while the one before was written. What has no such event is
//! answered after its entry is stored.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use st_log::Scope;
use st_store::{Error, KeyId, NewAudit, Store};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval_at, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::LOG;
use super::failures::Failures;

/// How many entries may wait to be written.
const MOST_WAITING: usize = 4096;
/// How many are written in one transaction.
const BATCH: usize = 256;
/// How long after a failure they are written again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often the uses of keys and what was refused are written.
const PERIOD: Duration = Duration::from_mins(1);
/// How long an answer waits for its entry.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// An entry that waits.
struct Message {
    entry: NewAudit,
    /// Dropped with the entry, when that is stored or given up.
    _done: Option<oneshot::Sender<()>>,
}

/// What the writing task shares with its handle.
#[derive(Debug, Default)]
struct Shared {
    /// The keys that were used since the last time that it was written.
    used: Mutex<BTreeSet<KeyId>>,
    /// How many entries found no place.
    lost: AtomicU64,
}

/// The handle of the writing task.
#[derive(Debug)]
pub(super) struct Recorder {
    sender: mpsc::Sender<Message>,
    shared: Arc<Shared>,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Recorder {
    pub(super) fn start(store: Arc<dyn Store>, failures: Arc<Failures>) -> Self {
        let (sender, messages) = mpsc::channel(MOST_WAITING);
        let (shared, stop) = (Arc::<Shared>::default(), CancellationToken::new());
        let writer = Writer {
            store,
            failures,
            messages,
            shared: Arc::clone(&shared),
            stop: stop.clone(),
            warned: false,
        };
        // It works for all requests and belongs to none.
        let task = Scope::root().in_scope(|| st_log::spawn(writer.run()));
        Self { sender, shared, stop, task: Mutex::new(Some(task)) }
    }

    /// Stores an entry some time.
    pub(super) fn note(&self, entry: NewAudit) {
        if self.sender.try_send(Message { entry, _done: None }).is_err() {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Stores an entry, and returns when that is done, or when it takes too long.
    pub(super) async fn record(&self, entry: NewAudit) {
        let (done, waiting) = oneshot::channel();
        let message = Message { entry, _done: Some(done) };
        if self.sender.try_send(message).is_err() {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if timeout(PATIENCE, waiting).await.is_err() {
            st_log::warning!(
                logger: LOG, "Audit trail is written late"
            );
        }
    }

    /// Remembers that a key is in use.
    pub(super) fn note_use(&self, id: &KeyId) {
        let mut used = self.shared.used.lock().unwrap_or_else(PoisonError::into_inner);
        if !used.contains(id) {
            used.insert(id.clone());
        }
    }

    /// Writes what waits, and ends.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(task) = task else { return };
        // A task that panicked has been logged.
        drop(timeout(PATIENCE, task).await);
    }
}

/// The writing task.
struct Writer {
    store: Arc<dyn Store>,
    failures: Arc<Failures>,
    messages: mpsc::Receiver<Message>,
    shared: Arc<Shared>,
    stop: CancellationToken,
    /// The store fails, and that was logged.
    warned: bool,
}

impl Writer {
    async fn run(mut self) {
        let mut minutes = interval_at(Instant::now() + PERIOD, PERIOD);
        let mut batch = Vec::new();
        let stop = self.stop.clone();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                received = self.messages.recv_many(&mut batch, BATCH) => {
                    if received == 0 {
                        return;
                    }
                    self.write(&mut batch).await;
                }
                _ = minutes.tick() => self.write_sums().await,
            }
        }
        self.messages.close();
        while self.messages.recv_many(&mut batch, BATCH).await > 0 {
            self.write(&mut batch).await;
        }
        self.write_sums().await;
    }

    /// Writes a batch, again and again until it is stored or the server stops.
    async fn write(&mut self, batch: &mut Vec<Message>) {
        let entries: Vec<NewAudit> = batch.iter().map(|message| message.entry.clone()).collect();
        loop {
            match self.store.append_audit(entries.clone()).await {
                Ok(()) => {
                    self.warned = false;
                    batch.clear();
                    return;
                }
                Err(error) => {
                    let ends = self.stop.is_cancelled() || matches!(error, Error::Closed);
                    self.log(&error);
                    if ends {
                        let lost = u64::try_from(batch.drain(..).len()).unwrap_or(u64::MAX);
                        self.shared.lost.fetch_add(lost, Ordering::Relaxed);
                        return;
                    }
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = sleep(AGAIN) => {}
            }
        }
    }

    fn log(&mut self, error: &Error) {
        if !self.warned {
            self.warned = true;
            st_log::warning!(
                logger: LOG, error = *error, "Audit trail cannot be written"
            );
        }
    }

    /// Writes what is summed up over a minute.
    async fn write_sums(&mut self) {
        let refused = self.failures.take_refusals();
        let refused = refused.into_iter().map(|entry| Message { entry, _done: None });
        let mut batch: Vec<Message> = refused.collect();
        if !batch.is_empty() {
            self.write(&mut batch).await;
        }
        let used =
            std::mem::take(&mut *self.shared.used.lock().unwrap_or_else(PoisonError::into_inner));
        let used: Vec<KeyId> = used.into_iter().collect();
        if !used.is_empty()
            && let Err(error) = self.store.note_key_uses(&used).await
        {
            st_log::debug!(
                logger: LOG, error, "When keys were used could not be written"
            );
        }
        let lost = self.shared.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            st_log::error!(
                logger: LOG, entries = lost, "Entries of the audit trail were lost"
            );
        }
    }
}
