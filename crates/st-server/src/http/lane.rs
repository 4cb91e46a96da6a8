//! How many requests are under way at once. When there are too many, the next ones are refused
//! immediately, and those that people and machines watch the server by are answered all the same.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Method;
use st_api::operation::{About, Lane};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::seats::{Seat, Seats};

/// As many ordinary requests as are useful: more only wait for one another.
const ORDINARY: usize = 1024;
/// As many webhooks of providers at once as are useful. Each may hold a body of 16 MiB while it is read.
const MOST_RECEIVED: usize = 32;

/// Every lane, in the order of the metrics.
pub(crate) const ALL: [Lane; 4] = [Lane::Vital, Lane::Received, Lane::Interactive, Lane::Bulk];

/// The word for a lane in metrics.
pub(crate) const fn word(lane: Lane) -> &'static str {
    match lane {
        Lane::Vital => "vital",
        Lane::Received => "received",
        Lane::Interactive => "interactive",
        Lane::Bulk => "bulk",
    }
}

/// In which lane the requests of each operation are. A request is put into its lane before the router has
/// found its operation, which would cost more than to refuse it.
#[derive(Debug)]
pub(crate) struct LaneTable {
    /// By method and path, apart from those that are interactive.
    others: Vec<(&'static str, &'static str, Lane)>,
}

impl LaneTable {
    pub(crate) fn of<'a>(operations: impl Iterator<Item = &'a About>) -> Self {
        let others = operations.filter(|it| it.lane != Lane::Interactive);
        Self { others: others.map(|it| (it.method.as_str(), it.path, it.lane)).collect() }
    }

    /// The lane of a request; what is no operation is interactive.
    pub(crate) fn lane(&self, method: &Method, path: &str) -> Lane {
        // A HEAD is answered as the GET is, without its body.
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let is_it =
            |(of, pattern, _): &&(&str, &str, Lane)| *of == method.as_str() && fits(pattern, path);
        self.others.iter().find(is_it).map_or(Lane::Interactive, |(.., lane)| *lane)
    }
}

/// Whether a path is one of a pattern, in which braces are around what is named.
fn fits(pattern: &str, path: &str) -> bool {
    let (mut parts, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (parts.next(), given.next()) {
            (None, None) => return true,
            (Some(part), Some(given)) if part == given || part.starts_with('{') => {}
            (Some(_) | None, Some(_) | None) => return false,
        }
    }
}

/// The requests under way, by lane.
#[derive(Debug)]
pub(crate) struct Lanes {
    vital: Arc<Semaphore>,
    received: Arc<Seats>,
    ordinary: Arc<Semaphore>,
    /// Bulk requests need a permit of `ordinary` as well, of which they cannot get all.
    bulk: Arc<Semaphore>,
    most: [usize; 4],
    shed: [AtomicU64; 4],
}

/// What goes on in a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) lane: Lane,
    /// How many requests may be under way. Interactive and bulk requests share those of the former.
    pub(crate) most: usize,
    pub(crate) under_way: usize,
    /// How many were refused because there were too many.
    pub(crate) shed: u64,
}

/// The right of one request to be under way.
#[derive(Debug)]
#[must_use = "the request is under way as long as this lives"]
pub(crate) struct Permit {
    held: Held,
    _bulk: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
enum Held {
    Place { _permit: OwnedSemaphorePermit },
    Seat(Seat),
}

impl Permit {
    /// The body of the request is read: from now on the request makes room for no other.
    pub(crate) fn note_read(&self) {
        match &self.held {
            Held::Seat(seat) => seat.keep(),
            Held::Place { .. } => {}
        }
    }

    /// Waits until the request has to make room for another one.
    pub(crate) async fn displaced(&self) {
        match &self.held {
            Held::Seat(seat) => seat.displaced().await,
            Held::Place { .. } => std::future::pending().await,
        }
    }
}

impl Lanes {
    /// So many connections are for requests, of which a quarter is kept for those that are vital.
    pub(crate) fn within(connections: usize) -> Self {
        let ordinary = (connections - connections / 4).clamp(1, ORDINARY);
        let vital = connections.saturating_sub(ordinary).max(1);
        let of = |permits: usize| Arc::new(Semaphore::new(permits));
        let received = (connections / 16).clamp(1, MOST_RECEIVED);
        let bulk = ordinary.div_ceil(2);
        Self {
            vital: of(vital),
            received: Seats::new(received),
            ordinary: of(ordinary),
            bulk: of(bulk),
            most: [vital, received, ordinary, bulk],
            shed: Default::default(),
        }
    }

    /// `None` when too many requests are under way in this lane. `from`: the client's address.
    pub(crate) fn enter(&self, lane: Lane, from: Option<IpAddr>) -> Option<Permit> {
        let permit = self.try_enter(lane, from);
        if permit.is_none() {
            let [vital, received, interactive, bulk] = &self.shed;
            let shed = match lane {
                Lane::Vital => vital,
                Lane::Received => received,
                Lane::Interactive => interactive,
                Lane::Bulk => bulk,
            };
            shed.fetch_add(1, Ordering::Relaxed);
        }
        permit
    }

    /// What goes on in each lane.
    pub(crate) fn traffic(&self) -> [Traffic; 4] {
        let [vital, _received, ordinary, bulk] = self.most;
        let used = |most: usize, of: &Semaphore| most.saturating_sub(of.available_permits());
        let bulk_used = used(bulk, &self.bulk);
        let under_way = [
            used(vital, &self.vital),
            self.received.count(),
            used(ordinary, &self.ordinary).saturating_sub(bulk_used),
            bulk_used,
        ];
        let mut shed = self.shed.each_ref().map(|shed| shed.load(Ordering::Relaxed));
        let [_, of_received, ..] = &mut shed;
        *of_received += self.received.displaced();
        let mut numbers = self.most.into_iter().zip(under_way).zip(shed);
        ALL.map(|lane| {
            let ((most, under_way), shed) = numbers.next().unwrap_or_default();
            Traffic { lane, most, under_way, shed }
        })
    }

    fn try_enter(&self, lane: Lane, from: Option<IpAddr>) -> Option<Permit> {
        let permit = |of: &Arc<Semaphore>| Arc::clone(of).try_acquire_owned().ok();
        let place = |of| permit(of).map(|permit| Held::Place { _permit: permit });
        let (held, bulk) = match lane {
            Lane::Vital => (place(&self.vital)?, None),
            Lane::Received => (Held::Seat(self.received.take(from)?), None),
            Lane::Interactive => (place(&self.ordinary)?, None),
            Lane::Bulk => {
                let bulk = permit(&self.bulk)?;
                (place(&self.ordinary)?, Some(bulk))
            }
        };
        Some(Permit { held, _bulk: bulk })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests whose bodies are read, until there is no room.
    fn fill(lanes: &Lanes, lane: Lane) -> Vec<Permit> {
        std::iter::from_fn(|| lanes.enter(lane, None)).inspect(Permit::note_read).collect()
    }

    #[test]
    fn the_vital_lane_is_open_when_the_others_are_full_and_bulk_fills_none() {
        let lanes = Lanes::within(8);
        let bulk = fill(&lanes, Lane::Bulk);
        let interactive = fill(&lanes, Lane::Interactive);
        let received = fill(&lanes, Lane::Received);
        let vital = fill(&lanes, Lane::Vital);
        assert_eq!([bulk.len(), interactive.len(), received.len(), vital.len()], [3, 3, 1, 2]);
        let traffic = lanes.traffic().map(|it| (it.most, it.under_way, it.shed));
        assert_eq!(traffic, [(2, 2, 1), (1, 1, 1), (6, 3, 1), (3, 3, 1)]);
        drop(bulk);
        assert_eq!(fill(&lanes, Lane::Interactive).len(), 3);
    }

    #[test]
    fn however_few_connections_there_are_each_lane_has_one() {
        for connections in 0..4 {
            let lanes = Lanes::within(connections);
            let counts =
                [Lane::Vital, Lane::Received, Lane::Bulk].map(|lane| fill(&lanes, lane).len());
            assert!(counts.into_iter().all(|count| count >= 1), "{connections}: {counts:?}");
        }
        assert_eq!(fill(&Lanes::within(5000), Lane::Interactive).len(), ORDINARY);
    }

    #[test]
    fn each_operation_is_in_the_lane_that_it_names() {
        let routes = crate::api::routes();
        let operations = || routes.operations().iter().map(|it| &it.about);
        let table = LaneTable::of(operations());
        for about in operations() {
            let method = Method::from_bytes(about.method.as_str().as_bytes()).unwrap();
            assert_eq!(table.lane(&method, about.path), about.lane, "{}", about.id);
        }
        let of = |lane| operations().filter(|it| it.lane == lane).map(|it| it.id).collect();
        let (vital, received, bulk): (Vec<_>, Vec<_>, Vec<_>) =
            (of(Lane::Vital), of(Lane::Received), of(Lane::Bulk));
        assert!(vital.contains(&"scrape_metrics") && vital.contains(&"get_readiness"), "{vital:?}");
        assert_eq!(received, ["receive_replicate_webhook", "receive_replicate_webhook_of_cloud"]);
        assert_eq!(bulk, ["sync_jobs", "clean_up_queue", "approve_requests", "reject_requests"]);
    }

    #[test]
    fn a_request_is_in_the_lane_of_its_operation_and_what_is_none_is_interactive() {
        const OF_ONE: About = st_api::jobs::CANCEL.lane(Lane::Bulk).about;
        let table = LaneTable::of([&OF_ONE, &st_api::system::PLAIN.about].into_iter());
        for (method, path, lane) in [
            (Method::GET, "/health", Lane::Vital),
            (Method::HEAD, "/health", Lane::Vital),
            (Method::POST, "/health", Lane::Interactive),
            (Method::GET, "/health/", Lane::Interactive),
            (Method::GET, "/healthy", Lane::Interactive),
            (Method::POST, "/api/cloud/jobs/7/cancel", Lane::Bulk),
            (Method::POST, "/api/cloud/jobs/7/cancel/more", Lane::Interactive),
            (Method::POST, "/api/cloud/jobs/7", Lane::Interactive),
        ] {
            assert_eq!(table.lane(&method, path), lane, "{method} {path}");
        }
    }
}
