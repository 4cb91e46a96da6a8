//! What a client did at each host, as plain numbers for whatever metrics the program has.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use crate::{Phase, spelling};

/// Hosts that have numbers of their own. A program that is given URLs by its users meets any number.
const MOST_HOSTS: usize = 256;

/// The name under which the hosts beyond the first 256 are counted together.
pub const OTHER_HOSTS: &str = "other";

/// What one client did at one host since it was made. Each attempt of a request that is repeated
/// counts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostMetrics {
    /// Scheme, host and port in lower case, without the port that is the scheme's own; or [`OTHER_HOSTS`].
    pub host: String,
    /// Attempts that have begun.
    pub attempts: u64,
    /// Attempts that have not ended, with those whose body is being read.
    pub in_flight: u64,
    /// Response heads by the first digit of the status, 1 to 5.
    pub answers: [u64; 5],
    /// Attempts that failed, by the phase in which they ended; only phases in which some did.
    pub failures: Vec<(Phase, u64)>,
    /// Attempts that the caller gave up before the response head.
    pub given_up: u64,
    /// The time from the start of attempts to their response head, summed.
    pub time_to_head: Duration,
    /// Bytes of response bodies, as they were received.
    pub received_bytes: u64,
}

const PHASES: [Phase; 7] = [
    Phase::Resolve,
    Phase::Connect,
    Phase::Proxy,
    Phase::Tls,
    Phase::Write,
    Phase::Head,
    Phase::Body,
];

#[derive(Debug, Default)]
struct Counters {
    attempts: AtomicU64,
    in_flight: AtomicU64,
    answers: [AtomicU64; 5],
    failures: [AtomicU64; PHASES.len()],
    given_up: AtomicU64,
    micros_to_head: AtomicU64,
    received_bytes: AtomicU64,
}

impl Counters {
    fn read(&self, host: &str) -> HostMetrics {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let failures = PHASES.into_iter().zip(self.failures.iter().map(of));
        HostMetrics {
            host: host.to_owned(),
            attempts: of(&self.attempts),
            in_flight: of(&self.in_flight),
            answers: self.answers.each_ref().map(of),
            failures: failures.filter(|(_, count)| *count > 0).collect(),
            given_up: of(&self.given_up),
            time_to_head: Duration::from_micros(of(&self.micros_to_head)),
            received_bytes: of(&self.received_bytes),
        }
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// The numbers of all hosts.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// By origin. Locked for one look-up.
    hosts: Mutex<BTreeMap<String, Arc<Counters>>>,
}

impl Metrics {
    /// Counts an attempt at `origin` that began at `start`.
    pub(crate) fn begin(&self, origin: &str, start: Instant) -> Meter {
        let counters = self.counters(&spelling::origin(origin));
        add(&counters.attempts, 1);
        add(&counters.in_flight, 1);
        Meter { counters, start, settled: false }
    }

    fn counters(&self, origin: &str) -> Arc<Counters> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counters) = hosts.get(origin) {
            return Arc::clone(counters);
        }
        let name = if hosts.len() < MOST_HOSTS { origin } else { OTHER_HOSTS };
        Arc::clone(hosts.entry(name.to_owned()).or_default())
    }

    /// The numbers now, ordered by host.
    pub(crate) fn read(&self) -> Vec<HostMetrics> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.iter().map(|(host, counters)| counters.read(host)).collect()
    }
}

/// One attempt, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Meter {
    counters: Arc<Counters>,
    start: Instant,
    /// Whether it has an end that was counted, or a response head.
    settled: bool,
}

impl Meter {
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.settled = true;
        let class = usize::from(status.as_u16() / 100).wrapping_sub(1);
        if let Some(counter) = self.counters.answers.get(class) {
            add(counter, 1);
        }
        let micros = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        add(&self.counters.micros_to_head, micros);
    }

    pub(crate) fn failed(&mut self, phase: Option<Phase>) {
        self.settled = true;
        let index = phase.and_then(|phase| PHASES.iter().position(|one| *one == phase));
        if let Some(counter) = index.and_then(|index| self.counters.failures.get(index)) {
            add(counter, 1);
        }
    }

    pub(crate) fn received(&self, bytes: usize) {
        add(&self.counters.received_bytes, u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.counters.in_flight.fetch_sub(1, Ordering::Relaxed);
        if !self.settled {
            add(&self.counters.given_up, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_one_entry_however_it_is_written() {
        let metrics = Metrics::default();
        for origin in
            ["http://host", "http://HOST:80", "http://Host", "https://host", "https://host:443"]
        {
            drop(metrics.begin(origin, Instant::now()));
        }

        let read: Vec<_> = metrics.read().into_iter().map(|it| (it.host, it.attempts)).collect();

        assert_eq!(read, [("http://host".to_owned(), 3), ("https://host".to_owned(), 2)]);
    }

    #[test]
    fn hosts_beyond_the_bound_share_their_numbers() {
        let metrics = Metrics::default();
        for number in 0..MOST_HOSTS + 5 {
            drop(metrics.begin(&format!("http://host-{number:04}"), Instant::now()));
        }
        metrics.begin("http://host-0000", Instant::now()).answered(StatusCode::OK);

        let read = metrics.read();

        assert_eq!(read.len(), MOST_HOSTS + 1);
        let of = |name| read.iter().find(|host| host.host == name).unwrap();
        assert_eq!((of("other").attempts, of("other").given_up, of("other").in_flight), (5, 5, 0));
        assert_eq!((of("http://host-0000").attempts, of("http://host-0000").answers[1]), (2, 1));
    }
}
