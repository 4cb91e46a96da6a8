//! Places of requests that anyone may send, however slowly.
//!
//! When all are taken, the request whose body has been arriving for the longest makes room for the next one,
//! so that slow senders shut out nobody. A request whose body is read keeps its place.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// All of them.
#[derive(Debug)]
pub(super) struct Seats {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    /// Orders requests by when they came.
    last: u64,
    count: usize,
    displaced: u64,
    /// Those whose body is not read yet.
    receiving: BTreeMap<u64, CancellationToken>,
}

/// The place of one request, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    id: u64,
    displaced: CancellationToken,
}

impl Seats {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default() })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are taken.
    pub(super) fn count(&self) -> usize {
        self.taken().count
    }

    /// How many requests had to make room for others.
    pub(super) fn displaced(&self) -> u64 {
        self.taken().displaced
    }

    /// `None` when all are taken by requests whose bodies are read.
    pub(super) fn take(self: &Arc<Self>) -> Option<Seat> {
        let mut taken = self.taken();
        if taken.count < self.most {
            taken.count += 1;
        } else {
            let (_, slowest) = taken.receiving.pop_first()?;
            slowest.cancel();
            taken.displaced += 1;
        }
        taken.last += 1;
        let (id, displaced) = (taken.last, CancellationToken::new());
        taken.receiving.insert(id, displaced.clone());
        Some(Seat { seats: Arc::clone(self), id, displaced })
    }
}

impl Seat {
    /// From now on it makes room for no other.
    pub(super) fn keep(&self) {
        self.seats.taken().receiving.remove(&self.id);
    }

    /// Waits until it had to make room.
    pub(super) async fn displaced(&self) {
        self.displaced.cancelled().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        taken.receiving.remove(&self.id);
        // The place of a displaced request is another's already.
        if !self.displaced.is_cancelled() {
            taken.count = taken.count.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_that_has_been_arriving_longest_makes_room_and_one_that_is_read_does_not() {
        let seats = Seats::new(2);
        let (read, slow) = (seats.take().unwrap(), seats.take().unwrap());
        read.keep();
        let next = seats.take().unwrap();
        assert!(slow.displaced.is_cancelled() && !read.displaced.is_cancelled());
        next.keep();
        assert!(seats.take().is_none(), "both work");
        drop(slow);
        assert_eq!((seats.count(), seats.displaced()), (2, 1), "its place was given away once");
        assert!(seats.take().is_none());
        drop(read);
        assert_eq!(seats.count(), 1);
        assert!(seats.take().is_some());
    }
}
