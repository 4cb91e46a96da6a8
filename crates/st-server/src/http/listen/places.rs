//! The places of connections: how many there are, and which connection makes room for the next one.
//!
//! A connection that only keeps the server waiting is closed first, the oldest before the others, so a
//! flood of them takes no place from a client that asks for something.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What goes on in a connection. What comes first is closed first when places run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// No request has arrived completely.
    Silent,
    /// The body of a request arrives.
    Receiving,
    /// The client does not read what it asked for.
    Unread,
    /// A request is being answered. It is never closed for another one.
    Working,
}

impl Phase {
    /// Every phase, in the order of the metrics.
    pub(crate) const ALL: [Self; 4] = [Self::Silent, Self::Receiving, Self::Unread, Self::Working];

    /// The word for it in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Receiving => "receiving",
            Self::Unread => "unread",
            Self::Working => "working",
        }
    }
}

/// All places, of which there are `most`.
#[derive(Debug)]
pub(crate) struct Places {
    most: usize,
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    /// Orders connections by when they were accepted, and phases by when they began.
    ticks: u64,
    seats: BTreeMap<u64, Seat>,
    /// Those that may be closed, in the order in which they are.
    closable: BTreeSet<(Phase, u64, u64)>,
    /// The same for each client of which only so many connections are served.
    closable_of: BTreeSet<(Client, Phase, u64, u64)>,
    of_client: BTreeMap<Client, usize>,
    in_phase: BTreeMap<Phase, usize>,
}

#[derive(Debug)]
struct Seat {
    client: Option<Client>,
    phase: Phase,
    since: u64,
    close: CancellationToken,
}

/// Whose connections are counted together: an IPv4 address, or the network of an IPv6 address, of
/// which one client has all addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Client(IpAddr);

impl Client {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.into()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
        }
    }
}

/// The client has all the connections that one client may have, and each is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany;

/// The place of one connection, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    id: u64,
    close: CancellationToken,
}

impl Places {
    /// How many connections there may be.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// How many connections there are in each phase.
    pub(crate) fn counts(&self) -> [(Phase, usize); Phase::ALL.len()] {
        let taken = self.taken();
        Phase::ALL.map(|phase| (phase, taken.in_phase.get(&phase).copied().unwrap_or(0)))
    }

    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default(), freed: Notify::new() })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place as soon as there is one. `client`: who may have only so many of them.
    pub(super) async fn take(
        self: &Arc<Self>,
        client: Option<(Client, usize)>,
    ) -> Result<Place, TooMany> {
        loop {
            let freed = self.freed.notified();
            if let Some(place) = self.try_take(client)? {
                return Ok(place);
            }
            freed.await;
        }
    }

    fn try_take(
        self: &Arc<Self>,
        client: Option<(Client, usize)>,
    ) -> Result<Option<Place>, TooMany> {
        let mut taken = self.taken();
        if let Some((client, most)) = client
            && taken.of_client.get(&client).is_some_and(|count| *count >= most)
            && !taken.close_one_of(client)
        {
            return Err(TooMany);
        }
        if taken.seats.len() >= self.most && !taken.close_one() {
            return Ok(None);
        }
        let (id, close) = taken.sit(client.map(|(client, _)| client));
        Ok(Some(Place { places: Arc::clone(self), id, close }))
    }
}

impl Taken {
    fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }

    fn sit(&mut self, client: Option<Client>) -> (u64, CancellationToken) {
        let (id, close) = (self.tick(), CancellationToken::new());
        let seat = Seat { client, phase: Phase::Silent, since: id, close: close.clone() };
        self.index(id, &seat);
        self.seats.insert(id, seat);
        if let Some(client) = client {
            *self.of_client.entry(client).or_default() += 1;
        }
        (id, close)
    }

    fn index(&mut self, id: u64, seat: &Seat) {
        *self.in_phase.entry(seat.phase).or_default() += 1;
        if seat.phase == Phase::Working {
            return;
        }
        self.closable.insert((seat.phase, seat.since, id));
        if let Some(client) = seat.client {
            self.closable_of.insert((client, seat.phase, seat.since, id));
        }
    }

    fn remove_index(&mut self, id: u64, seat: &Seat) {
        if let Some(count) = self.in_phase.get_mut(&seat.phase) {
            *count = count.saturating_sub(1);
        }
        self.closable.remove(&(seat.phase, seat.since, id));
        if let Some(client) = seat.client {
            self.closable_of.remove(&(client, seat.phase, seat.since, id));
        }
    }

    fn remove(&mut self, id: u64) -> Option<Seat> {
        let seat = self.seats.remove(&id)?;
        self.remove_index(id, &seat);
        if let Some(client) = seat.client
            && let Some(count) = self.of_client.get_mut(&client)
        {
            *count -= 1;
            if *count == 0 {
                self.of_client.remove(&client);
            }
        }
        Some(seat)
    }

    /// Whether there was one that may be closed.
    fn close_one(&mut self) -> bool {
        let first = self.closable.first().map(|(_, _, id)| *id);
        self.close(first)
    }

    fn close_one_of(&mut self, client: Client) -> bool {
        let from = (client, Phase::Silent, 0, 0);
        let first = self.closable_of.range(from..).next();
        let first = first.filter(|(of, ..)| *of == client).map(|(.., id)| *id);
        self.close(first)
    }

    fn close(&mut self, id: Option<u64>) -> bool {
        let Some(seat) = id.and_then(|id| self.remove(id)) else { return false };
        seat.close.cancel();
        true
    }
}

impl Place {
    /// Notes what goes on from now on.
    pub(super) fn enter(&self, phase: Phase) {
        let mut taken = self.places.taken();
        // A connection that is being closed has its place no longer.
        let Some(mut seat) = taken.seats.remove(&self.id) else { return };
        taken.remove_index(self.id, &seat);
        seat.phase = phase;
        seat.since = taken.tick();
        taken.index(self.id, &seat);
        taken.seats.insert(self.id, seat);
        drop(taken);
        if phase != Phase::Working {
            self.places.freed.notify_one();
        }
    }

    /// Cancelled when the connection has to make room.
    pub(super) fn close(&self) -> &CancellationToken {
        &self.close
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().remove(self.id);
        self.places.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> Client {
        Client::of(IpAddr::from([192, 0, 2, last]))
    }

    async fn places(places: &Arc<Places>, phases: &[Phase]) -> Vec<Place> {
        let mut taken = Vec::new();
        for phase in phases {
            let place = places.take(None).await.unwrap();
            place.enter(*phase);
            taken.push(place);
        }
        taken
    }

    fn closed(places: &[Place]) -> Vec<bool> {
        places.iter().map(|place| place.close().is_cancelled()).collect()
    }

    #[tokio::test]
    async fn who_keeps_the_server_waiting_makes_room_and_the_oldest_first() {
        let all = Places::new(5);
        let phases =
            [Phase::Working, Phase::Unread, Phase::Receiving, Phase::Silent, Phase::Silent];
        let taken = places(&all, &phases).await;
        for expected in [
            [false, false, false, true, false],
            [false, false, false, true, true],
            [false, false, true, true, true],
            [false, true, true, true, true],
        ] {
            let next = all.take(None).await.unwrap();
            assert_eq!(closed(&taken), expected);
            next.enter(Phase::Working);
            std::mem::forget(next);
        }
    }

    #[tokio::test]
    async fn when_all_are_at_work_the_next_one_waits_for_a_place() {
        let all = Places::new(1);
        let mut taken = places(&all, &[Phase::Working]).await;
        let mut next = Box::pin(all.take(None));
        assert!(futures_util::poll!(next.as_mut()).is_pending());
        taken.clear();
        let next = next.await.unwrap();
        // One that has become silent makes room as well.
        next.enter(Phase::Working);
        let mut third = Box::pin(all.take(None));
        assert!(futures_util::poll!(third.as_mut()).is_pending());
        next.enter(Phase::Silent);
        third.await.unwrap();
        assert!(next.close().is_cancelled());
    }

    #[tokio::test]
    async fn one_client_has_only_its_share_and_others_are_not_touched() {
        let all = Places::new(9);
        let other = all.take(Some((client(2), 2))).await.unwrap();
        let first = all.take(Some((client(1), 2))).await.unwrap();
        let second = all.take(Some((client(1), 2))).await.unwrap();
        first.enter(Phase::Working);
        let third = all.take(Some((client(1), 2))).await.unwrap();
        assert_eq!(closed(&[other, first]), [false, false]);
        assert!(second.close().is_cancelled(), "the only one of this client that is not at work");
        third.enter(Phase::Working);
        // The first was dropped above; with another one at work there is no room for a third.
        let fourth = all.take(Some((client(1), 2))).await.unwrap();
        fourth.enter(Phase::Working);
        assert_eq!(all.take(Some((client(1), 2))).await.unwrap_err(), TooMany);
        drop(fourth);
        all.take(Some((client(1), 2))).await.unwrap();
    }

    #[tokio::test]
    async fn connections_are_counted_by_what_goes_on_in_them() {
        let all = Places::new(3);
        let mut taken = places(&all, &[Phase::Silent, Phase::Working, Phase::Receiving]).await;
        let counts = || all.counts().map(|(_, count)| count);
        assert_eq!(counts(), [1, 1, 0, 1]);
        taken[0].enter(Phase::Unread);
        assert_eq!(counts(), [0, 1, 1, 1]);
        // One of them makes room.
        taken.push(all.take(None).await.unwrap());
        assert_eq!(counts(), [1, 0, 1, 1]);
        taken.clear();
        assert_eq!(counts(), [0; 4]);
    }

    #[test]
    fn the_addresses_of_one_client_are_one() {
        let of = |text: &str| Client::of(text.parse().unwrap());
        assert_eq!(of("::ffff:192.0.2.1"), client(1));
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(client(1), client(2));
    }
}
