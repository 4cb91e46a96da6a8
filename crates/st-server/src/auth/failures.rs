//! Failed authentications: each is answered later than the one before, and what is written of them is
//! bounded, so that a flood fills neither the log nor the disk.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use st_store::{Actor, KeyId, NewAudit};
use tokio::time::Instant;

use super::LOG;

/// So many failures are answered at once: people mistype.
const FREE: u32 = 3;
/// The first delay; it doubles with every failure.
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(8);
/// How long after the last failure it begins anew.
const MEMORY: Duration = Duration::from_mins(15);
/// How many answers to one address are held back at the same time.
const MOST_WAITING: u32 = 16;
/// How many addresses and keys are remembered.
const MOST: usize = 4096;
/// How many kinds of refusals are written of one minute, apart from the sum of all others.
const WRITTEN: usize = 8;

/// What failures are counted for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    Address(IpAddr),
    Key(KeyId),
}

/// Failures in a row.
#[derive(Debug)]
struct Count {
    failures: u32,
    last: Instant,
    waiting: u32,
}

/// What was refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Refusal {
    pub(super) operation: &'static str,
    pub(super) status: u16,
    pub(super) peer: Option<IpAddr>,
    pub(super) actor: Option<Actor>,
    pub(super) key: Option<KeyId>,
}

/// The failures of late.
#[derive(Debug, Default)]
pub(super) struct Failures {
    counts: Arc<Mutex<BTreeMap<Origin, Count>>>,
    refusals: Mutex<Refusals>,
}

/// What was refused since the last time that it was written.
#[derive(Debug, Default)]
struct Refusals {
    kinds: BTreeMap<Refusal, u32>,
    others: u32,
}

/// An answer that is held back.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) delay: Duration,
    counts: Arc<Mutex<BTreeMap<Origin, Count>>>,
    origin: Option<Origin>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(origin) = &self.origin else { return };
        if let Some(count) = lock(&self.counts).get_mut(origin) {
            count.waiting = count.waiting.saturating_sub(1);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One client has a whole network of IPv6 addresses.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn delay(failures: u32) -> Duration {
    match failures.checked_sub(FREE + 1) {
        None => Duration::ZERO,
        Some(doubled) => FIRST.saturating_mul(1 << doubled.min(16)).min(LONGEST),
    }
}

impl Failures {
    /// How many addresses and keys are remembered.
    pub(super) fn tracked(&self) -> usize {
        lock(&self.counts).len()
    }

    /// Whether no more answers to this address can be held back.
    pub(super) fn is_full(&self, address: Option<IpAddr>) -> bool {
        let origin = address.map(|address| Origin::Address(network(address)));
        let counts = lock(&self.counts);
        let count = origin.and_then(|origin| counts.get(&origin));
        count.is_some_and(|count| count.waiting >= MOST_WAITING)
    }

    /// Counts a failure. How long its answer is to be held back; `None` where too many are.
    pub(super) fn wait(&self, address: Option<IpAddr>, key: Option<KeyId>) -> Option<Waiting> {
        let of_address = address.map(|address| Origin::Address(network(address)));
        let mut counts = lock(&self.counts);
        let by_key = key.map_or(0, |key| note(&mut counts, Origin::Key(key)).failures);
        let mut failures = by_key;
        if let Some(origin) = &of_address {
            let count = note(&mut counts, origin.clone());
            if count.waiting >= MOST_WAITING {
                return None;
            }
            count.waiting += 1;
            failures = failures.max(count.failures);
        }
        drop(counts);
        let counts = Arc::clone(&self.counts);
        Some(Waiting { delay: delay(failures), counts, origin: of_address })
    }

    /// Notes what was refused, and logs the first of its kind in a minute.
    pub(super) fn report(&self, refusal: &Refusal) {
        let mut refusals = lock(&self.refusals);
        if let Some(times) = refusals.kinds.get_mut(refusal) {
            *times = times.saturating_add(1);
            return;
        }
        if refusals.kinds.len() >= WRITTEN {
            refusals.others = refusals.others.saturating_add(1);
            return;
        }
        refusals.kinds.insert(refusal.clone(), 1);
        drop(refusals);
        if refusal.status == 401 {
            st_log::warning!(
                logger: LOG, peer = refusal.peer.map(|peer| peer.to_string()),
                key_id = refusal.key.as_ref().map(KeyId::as_str),
                "Authentication failed"
            );
        }
    }

    /// What was refused since the last time, for the audit trail.
    pub(super) fn take_refusals(&self) -> Vec<NewAudit> {
        let Refusals { kinds, others } = std::mem::take(&mut *lock(&self.refusals));
        let all = kinds.values().fold(others, |sum, times| sum.saturating_add(*times));
        if all > u32::try_from(kinds.len()).unwrap_or(u32::MAX) {
            st_log::warning!(
                logger: LOG, times = all, peers = kinds.len(), others,
                "Requests were refused in the last minute"
            );
        }
        let entry = |(refusal, times): (Refusal, u32)| NewAudit {
            actor: refusal.actor,
            key: refusal.key,
            peer: refusal.peer,
            times,
            ..NewAudit::new(refusal.operation, refusal.status)
        };
        let rest = NewAudit { times: others, ..NewAudit::new("auth.failed", 401) };
        let rest = (others > 0).then_some(rest);
        kinds.into_iter().map(entry).chain(rest).collect()
    }
}

/// Counts a failure.
fn note(counts: &mut BTreeMap<Origin, Count>, origin: Origin) -> &mut Count {
    if counts.len() >= MOST && !counts.contains_key(&origin) {
        counts.retain(|_, count| count.last.elapsed() < MEMORY);
        if counts.len() >= MOST {
            let oldest = counts.iter().min_by_key(|(_, count)| count.last);
            let oldest = oldest.map(|(origin, _)| origin.clone());
            oldest.and_then(|origin| counts.remove(&origin));
        }
    }
    let now = Instant::now();
    let count = counts.entry(origin).or_insert(Count { failures: 0, last: now, waiting: 0 });
    if count.last.elapsed() >= MEMORY {
        count.failures = 0;
    }
    count.failures = count.failures.saturating_add(1);
    count.last = now;
    count
}

#[cfg(test)]
mod tests;
