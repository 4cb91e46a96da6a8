//! The newest events, in order and without a hole, for all streams that are near the end of the log.
//!
//! Bounded by count and by bytes; what falls out is read from the log by those who still want it.

use std::collections::VecDeque;

use bytes::Bytes;
use st_store::{EventId, JobId};

use super::frame::{Entry, Format};
use super::reader::Chunk;

const MAX_ENTRIES: usize = 4096;
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// What a stream wants next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Want {
    /// The position up to which everything was sent or skipped.
    pub(super) after: EventId,
    pub(super) job: Option<JobId>,
    pub(super) format: Format,
}

/// What the ring has for it. With each comes the position after it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Frame(Bytes, EventId),
    /// Everything up to there was looked at.
    Nothing(EventId),
    /// What comes next is not in the ring, or not any more.
    Behind,
    /// Nothing will ever come.
    Closed,
}

#[derive(Debug)]
pub(super) struct Ring {
    /// All events after this position and up to `head` are in `entries`, apart from those that do
    /// not exist or cannot be read.
    from: EventId,
    head: EventId,
    entries: VecDeque<Entry>,
    bytes: usize,
    is_closed: bool,
}

impl Ring {
    pub(super) fn new(head: EventId) -> Self {
        Self { from: head, head, entries: VecDeque::new(), bytes: 0, is_closed: false }
    }

    pub(super) fn head(&self) -> EventId {
        self.head
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Forgets what it has; nobody wanted what came since.
    pub(super) fn restart(&mut self, head: EventId) {
        *self = Self { is_closed: self.is_closed, ..Self::new(head) };
    }

    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Adds what was read after `head`.
    pub(super) fn push(&mut self, chunk: Chunk) {
        if chunk.resync {
            // Something was deleted before it could be read. The streams find that in the log
            // themselves, and tell their clients.
            self.restart(chunk.upto);
            return;
        }
        self.head = chunk.upto;
        for entry in chunk.entries {
            self.bytes += entry.frame.len();
            self.entries.push_back(entry);
        }
        while self.entries.len() > MAX_ENTRIES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.frame.len();
            self.from = oldest.id;
        }
    }

    /// Whether there is something to do for a stream that has everything up to `after`.
    pub(super) fn has_news(&self, after: EventId) -> bool {
        self.is_closed || self.head > after || self.from > after
    }

    pub(super) fn next(&self, want: Want) -> Next {
        if self.is_closed {
            return Next::Closed;
        }
        if want.after < self.from {
            return Next::Behind;
        }
        let seen = self.entries.partition_point(|entry| entry.id <= want.after);
        let wanted = self.entries.iter().skip(seen).find(|entry| entry.is_for(want.job));
        match wanted {
            Some(entry) => Next::Frame(entry.frame.bytes(want.format), entry.id),
            // A stream may have begun at an event that the ring does not have yet.
            None => Next::Nothing(self.head.max(want.after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use st_log::CorrelationId;
    use st_store::{Actor, Change, Event, JobStatus, NewEvent};

    use super::*;

    fn job(number: u8) -> JobId {
        JobId::new(Timestamp::UNIX_EPOCH, [number; 10])
    }

    fn entry(id: i64, message: Option<String>) -> Entry {
        let of_job = job(u8::try_from(id % 2).unwrap());
        let change = Change::Job { job: of_job, from: None, to: JobStatus::Pending, message };
        let correlation_id: CorrelationId = "c-1".parse().unwrap();
        let at = Timestamp::UNIX_EPOCH;
        let event = NewEvent { at, actor: Actor::Operator, correlation_id, change };
        Entry::of(&Event { id: EventId(id), event })
    }

    fn chunk(ids: impl Iterator<Item = i64>) -> Chunk {
        let entries: Vec<Entry> = ids.map(|id| entry(id, None)).collect();
        let upto = entries.last().unwrap().id;
        Chunk { entries, upto, resync: false }
    }

    fn want(after: i64) -> Want {
        Want { after: EventId(after), job: None, format: Format::Message }
    }

    /// The IDs that a stream gets, and why there are no more.
    fn all(ring: &Ring, mut want: Want) -> (Vec<i64>, Next) {
        let mut ids = Vec::new();
        loop {
            match ring.next(want) {
                Next::Frame(bytes, id) => {
                    assert!(bytes.starts_with(format!("id: {id}\n").as_bytes()));
                    ids.push(id.0);
                    want.after = id;
                }
                other @ (Next::Nothing(_) | Next::Behind | Next::Closed) => return (ids, other),
            }
        }
    }

    #[test]
    fn each_event_after_the_position_comes_once_and_in_order() {
        let mut ring = Ring::new(EventId(4));
        ring.push(chunk(5..8));
        ring.push(chunk([11, 12].into_iter()));
        assert_eq!(all(&ring, want(4)), (vec![5, 6, 7, 11, 12], Next::Nothing(EventId(12))));
        assert_eq!(all(&ring, want(7)), (vec![11, 12], Next::Nothing(EventId(12))));
        assert_eq!(all(&ring, want(12)), (vec![], Next::Nothing(EventId(12))));
        assert_eq!(all(&ring, want(3)), (vec![], Next::Behind));
        // It began at an event that was committed, and is not in the ring yet.
        assert_eq!(all(&ring, want(14)), (vec![], Next::Nothing(EventId(14))));
        assert!(!ring.has_news(EventId(12)) && !ring.has_news(EventId(14)));
        assert!(ring.has_news(EventId(11)));
    }

    #[test]
    fn a_stream_about_a_job_passes_over_the_others() {
        let mut ring = Ring::new(EventId(0));
        ring.push(chunk(1..7));
        let of_job = Want { job: Some(job(0)), ..want(0) };
        assert_eq!(all(&ring, of_job), (vec![2, 4, 6], Next::Nothing(EventId(6))));
        let of_none = Want { job: Some(job(9)), ..want(0) };
        assert_eq!(all(&ring, of_none), (vec![], Next::Nothing(EventId(6))));
    }

    #[test]
    fn what_is_too_many_or_too_large_falls_out_and_is_known_to_be_missing() {
        let mut ring = Ring::new(EventId(0));
        let many = i64::try_from(MAX_ENTRIES).unwrap();
        ring.push(chunk(1..many + 4));
        assert_eq!(all(&ring, want(2)).1, Next::Behind);
        assert_eq!(all(&ring, want(3)).0.len(), MAX_ENTRIES);
        let large = |id| entry(id, Some("x".repeat(MAX_BYTES / 3)));
        let entries: Vec<Entry> = (many + 4..many + 8).map(large).collect();
        ring.push(Chunk { entries, upto: EventId(many + 9), resync: false });
        assert_eq!(all(&ring, want(many + 4)), (vec![], Next::Behind));
        let (kept, end) = all(&ring, want(many + 5));
        assert_eq!((kept, end), (vec![many + 6, many + 7], Next::Nothing(EventId(many + 9))));
        assert!(ring.bytes <= MAX_BYTES);
    }

    #[test]
    fn nobody_goes_on_in_the_ring_past_what_it_could_not_read() {
        let mut ring = Ring::new(EventId(0));
        ring.push(chunk(1..4));
        ring.push(Chunk { entries: Vec::new(), upto: EventId(9), resync: true });
        assert!(ring.has_news(EventId(3)));
        assert_eq!(all(&ring, want(3)), (vec![], Next::Behind));
        assert_eq!(all(&ring, want(9)), (vec![], Next::Nothing(EventId(9))));
        ring.close();
        ring.restart(EventId(10));
        assert_eq!(all(&ring, want(10)), (vec![], Next::Closed));
        assert!(ring.has_news(EventId(10)));
    }
}
