//! Places of requests that anyone may send, however slowly.
//!
//! When all are taken, a request whose body is still arriving makes room for the next one, so that slow
//! senders shut out nobody: of the address that has most of those, the one that has been arriving for the
//! longest. So one address, however many requests it sends, displaces its own before those of others. A request
//! whose body is read keeps its place.

use std::collections::BTreeMap;
use std::net::IpAddr;
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
    receiving: BTreeMap<u64, Receiving>,
}

/// A request whose body is not read yet.
#[derive(Debug)]
struct Receiving {
    /// Where it comes from, where that is known.
    from: Option<IpAddr>,
    displaced: CancellationToken,
}

impl Taken {
    /// Ends the request that makes room for the next one; `None` where there is none.
    fn displace(&mut self) -> Option<()> {
        let mut by_address = BTreeMap::<Option<IpAddr>, (usize, u64)>::new();
        for (id, it) in &self.receiving {
            // The first that is met is the oldest.
            by_address.entry(it.from).or_insert((0, *id)).0 += 1;
        }
        let order = |(count, oldest): &(usize, u64)| (*count, std::cmp::Reverse(*oldest));
        let (_, oldest) = by_address.into_values().max_by_key(order)?;
        self.receiving.remove(&oldest)?.displaced.cancel();
        self.displaced += 1;
        Some(())
    }
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
    pub(super) fn take(self: &Arc<Self>, from: Option<IpAddr>) -> Option<Seat> {
        let mut taken = self.taken();
        if taken.count < self.most {
            taken.count += 1;
        } else {
            taken.displace()?;
        }
        taken.last += 1;
        let (id, displaced) = (taken.last, CancellationToken::new());
        taken.receiving.insert(id, Receiving { from, displaced: displaced.clone() });
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
        let (read, slow) = (seats.take(None).unwrap(), seats.take(None).unwrap());
        read.keep();
        let next = seats.take(None).unwrap();
        assert!(slow.displaced.is_cancelled() && !read.displaced.is_cancelled());
        next.keep();
        assert!(seats.take(None).is_none(), "both work");
        drop(slow);
        assert_eq!((seats.count(), seats.displaced()), (2, 1), "its place was given away once");
        assert!(seats.take(None).is_none());
        drop(read);
        assert_eq!(seats.count(), 1);
        assert!(seats.take(None).is_some());
    }

    #[test]
    fn the_address_with_the_most_requests_displaces_its_own() {
        let seats = Seats::new(3);
        let [honest, flood] = [1, 2].map(|last| Some(IpAddr::from([192, 0, 2, last])));
        let large = seats.take(honest).unwrap();
        let slow: Vec<_> = (0..9).map(|_| seats.take(flood).unwrap()).collect();
        assert!(!large.displaced.is_cancelled(), "however many others are sent");
        let ended: Vec<bool> = slow.iter().map(|it| it.displaced.is_cancelled()).collect();
        assert_eq!(ended, [true, true, true, true, true, true, true, false, false]);
        // Where all have as many, the oldest goes.
        slow.iter().for_each(Seat::keep);
        let third = Some(IpAddr::from([192, 0, 2, 3]));
        let _next = seats.take(third).unwrap();
        assert!(large.displaced.is_cancelled());
    }
}
