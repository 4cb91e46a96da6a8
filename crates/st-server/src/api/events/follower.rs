//! One client's stream: where it is in the log, and what it sends next.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use st_log::{Logger, get_logger};
use st_store::{EventId, JobId};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::feed::Ticket;
use super::frame::{Format, Notice};
use super::reader::{Age, Chunk};
use super::ring::{Next, Want};

const LOG: Logger = get_logger("simpletuner.cloud.events");
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);
/// Into how many moments the heartbeats of all streams are spread.
const MOMENTS: u32 = 1500;

#[derive(Debug)]
pub(super) struct Follower {
    ticket: Ticket,
    want: Want,
    /// Whether the log must be read although nothing new was committed: only that shows whether it
    /// knows the client's position.
    unread: bool,
    notice: Option<Notice>,
    /// What was read because the ring did not have it, and how much of it is done.
    chunk: Option<(Arc<Chunk>, usize)>,
    heartbeat: Interval,
}

/// What ends a wait.
enum Woken {
    ByNews,
    ByHeartbeat,
}

impl Follower {
    /// A stream of what comes after `after`, or of new events only.
    pub(super) fn new(
        ticket: Ticket,
        after: Option<EventId>,
        job: Option<JobId>,
        format: Format,
    ) -> Self {
        let want = Want { after: after.unwrap_or_else(|| ticket.newest()), job, format };
        let heartbeat = heartbeat(ticket.number());
        let (unread, notice) = (after.is_some(), Some(Notice::Connection));
        Self { ticket, want, unread, notice, chunk: None, heartbeat }
    }

    /// The next frame; `None` ends the stream.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(notice) = self.notice.take() {
                return Some(notice.bytes(self.want.format));
            }
            if let Some(frame) = self.next_of_chunk() {
                return Some(frame);
            }
            if self.unread {
                self.read().await?;
                continue;
            }
            match self.ticket.next(self.want) {
                Next::Frame(frame, id) => {
                    self.want.after = id;
                    return Some(frame);
                }
                Next::Nothing(upto) => {
                    self.want.after = upto;
                    match self.wait().await {
                        Woken::ByNews => {}
                        Woken::ByHeartbeat => self.notice = Some(Notice::Heartbeat),
                    }
                }
                Next::Behind => self.read().await?,
                Next::Closed => return None,
            }
        }
    }

    fn next_of_chunk(&mut self) -> Option<Bytes> {
        let (chunk, done) = self.chunk.as_mut()?;
        while let Some(entry) = chunk.entries.get(*done) {
            *done += 1;
            if entry.is_for(self.want.job) {
                return Some(entry.frame.bytes(self.want.format));
            }
        }
        self.chunk = None;
        None
    }

    async fn read(&mut self) -> Option<()> {
        let newest = self.ticket.newest();
        let age = if self.unread { Age::New } else { Age::Recent };
        let chunk = match self.ticket.read(self.want.after, age).await {
            Ok(chunk) => chunk,
            Err(error) => {
                // The client comes back with the last ID that it got.
                st_log::warning!(
                    logger: LOG, error,
                    "Event stream ended: the log could not be read"
                );
                return None;
            }
        };
        self.unread = false;
        if chunk.resync {
            self.notice = Some(Notice::Resync);
            self.want.after = newest;
            return Some(());
        }
        // What comes after the chunk; nothing else is looked at before it is sent.
        self.want.after = chunk.upto;
        self.chunk = Some((chunk, 0));
        Some(())
    }

    async fn wait(&mut self) -> Woken {
        poll_fn(|cx| {
            if self.ticket.poll_news(cx, self.want.after).is_ready() {
                return Poll::Ready(Woken::ByNews);
            }
            self.heartbeat.poll_tick(cx).map(|_at| Woken::ByHeartbeat)
        })
        .await
    }
}

/// Each stream has its own moment within the period: after a restart they all come back together,
/// and would be due together from then on.
pub(super) fn heartbeat(seat: usize) -> Interval {
    // Neighbours are far apart, and any number of them is spread evenly: 927 / 1500 is close to the
    // golden ratio.
    let seat = u32::try_from(seat % MOMENTS as usize).unwrap_or_default();
    let moment = HEARTBEAT / MOMENTS * (seat * 927 % MOMENTS);
    let mut heartbeat = tokio::time::interval_at(Instant::now() + HEARTBEAT - moment, HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeat
}
