//! How many requests are under way at once. When there are too many, the next ones are refused
//! immediately, and those that people and machines watch the server by are answered all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::seats::{Seat, Seats};

/// As many ordinary requests as are useful: more only wait for one another.
const ORDINARY: usize = 1024;
/// These paths, and what is below them.
const VITAL: [&str; 6] = [
    "/health",
    "/api/cloud/health",
    "/api/metrics/health",
    "/metrics",
    "/api/metrics/prometheus",
    "/api/cloud/metrics/prometheus",
];
/// Exactly these paths: what providers report. Anyone may send there, however slowly.
const RECEIVED: [&str; 2] = ["/api/webhooks/replicate", "/api/cloud/webhook/replicate"];
/// As many of those at once as are useful. Each may hold a body of 16 MiB while it is read.
const MOST_RECEIVED: usize = 32;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Health and metrics.
    Vital,
    /// What providers report.
    Received,
    /// What a person or a program waits for.
    Interactive,
    /// Many things at once, which may as well be done later.
    Bulk,
}

impl Lane {
    /// Every lane, in the order of the metrics.
    pub(crate) const ALL: [Self; 4] = [Self::Vital, Self::Received, Self::Interactive, Self::Bulk];

    /// The word for it in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Vital => "vital",
            Self::Received => "received",
            Self::Interactive => "interactive",
            Self::Bulk => "bulk",
        }
    }

    pub(crate) fn of(path: &str) -> Self {
        let is_below = |root: &str| {
            let below = path.strip_prefix(root);
            below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
        };
        if VITAL.into_iter().any(is_below) {
            return Self::Vital;
        }
        if RECEIVED.contains(&path) {
            return Self::Received;
        }
        let last = path.rsplit('/').next().unwrap_or_default();
        if last.starts_with("bulk-") || matches!(last, "cleanup" | "sync" | "export") {
            return Self::Bulk;
        }
        Self::Interactive
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

    /// `None` when too many requests are under way in this lane.
    pub(crate) fn enter(&self, lane: Lane) -> Option<Permit> {
        let permit = self.try_enter(lane);
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
        Lane::ALL.map(|lane| {
            let ((most, under_way), shed) = numbers.next().unwrap_or_default();
            Traffic { lane, most, under_way, shed }
        })
    }

    fn try_enter(&self, lane: Lane) -> Option<Permit> {
        let permit = |of: &Arc<Semaphore>| Arc::clone(of).try_acquire_owned().ok();
        let place = |of| permit(of).map(|permit| Held::Place { _permit: permit });
        let (held, bulk) = match lane {
            Lane::Vital => (place(&self.vital)?, None),
            Lane::Received => (Held::Seat(self.received.take()?), None),
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
        std::iter::from_fn(|| lanes.enter(lane)).inspect(Permit::note_read).collect()
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
    fn paths_are_in_their_lanes() {
        for (path, lane) in [
            ("/health", Lane::Vital),
            ("/api/cloud/health/ready", Lane::Vital),
            ("/api/metrics/prometheus", Lane::Vital),
            ("/api/webhooks/replicate", Lane::Received),
            ("/api/cloud/webhook/replicate", Lane::Received),
            ("/api/webhooks", Lane::Interactive),
            ("/api/webhooks/history", Lane::Interactive),
            ("/api/webhooks/replicate/test", Lane::Interactive),
            ("/api/cloud/healthy", Lane::Interactive),
            ("/api/metrics/costs", Lane::Interactive),
            ("/api/cloud/jobs/submit", Lane::Interactive),
            ("/api/approvals/requests/bulk-approve", Lane::Bulk),
            ("/api/queue/cleanup", Lane::Bulk),
        ] {
            assert_eq!(Lane::of(path), lane, "{path}");
        }
    }
}
