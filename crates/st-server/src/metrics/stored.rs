//! What the store holds, read at most every few seconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use st_api::system::Component;
use st_store::{
    BudgetUse, DailyTotals, Error, Figures, JobStatus, Store, Total, TotalKey, Unsettled,
};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};

use crate::api::{Api, components};

const LOG: st_log::Logger = st_log::get_logger("simpletuner.cloud.metrics");

/// How long a reading is shown at least.
pub(crate) const KEEP_FOR: Duration = Duration::from_secs(5);
/// A reading that took long is shown so many times as long, so that reading costs about a hundredth of the
/// time; but no longer than this.
const SHARE: u32 = 100;
const KEEP_FOR_AT_MOST: Duration = Duration::from_mins(1);
/// How long a request waits for a reading; then it is shown the one before.
const PATIENCE: Duration = Duration::from_secs(2);
/// Over how many days jobs and costs are summed up, with today.
const DAYS: i64 = 30;

/// What the store held at one moment.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(super) figures: Figures,
    pub(super) unsettled: Unsettled,
    /// The budgets, with what is used of each.
    pub(super) budgets: Vec<BudgetUse>,
    /// The jobs that ended in the last 30 days, by how they did.
    pub(super) month: BTreeMap<JobStatus, Total>,
    /// The store's time when the reading ended, and when that was.
    now: Timestamp,
    at: Instant,
    /// How long it took to read all this.
    pub(super) took: Duration,
}

impl Stored {
    /// The store's time now, so that what is shown a moment later has the age that it has then.
    pub(super) fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.at.elapsed()).unwrap_or(SignedDuration::MAX);
        self.now.saturating_add(passed).unwrap_or(Timestamp::MAX)
    }

    /// How long ago it was read.
    pub(super) fn age(&self) -> Duration {
        self.at.elapsed()
    }
}

/// What is shown of the store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown {
    /// The latest reading that succeeded.
    pub(super) stored: Option<Arc<Stored>>,
    /// Whether the latest reading succeeded; `None` before the first has ended.
    pub(super) readable: Option<bool>,
    /// The health of each part of the server, after the latest reading.
    pub(super) components: Vec<Component>,
    /// Until when nothing is read again.
    fresh_until: Option<Instant>,
    /// Whether a reading is under way.
    reading: bool,
}

/// The readings. Each is a task of its own: a client that does not wait for its end does not undo it, and
/// there is never more than one.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    shown: watch::Sender<Shown>,
    past: Mutex<Past>,
}

/// The sums of the days before this one, which stay as they are.
type Past = Option<(Date, BTreeMap<JobStatus, Total>)>;

impl Kept {
    /// What the store holds now, or held a moment ago.
    pub(super) async fn read(&self, api: &Api) -> Shown {
        let mut changes = self.shown.subscribe();
        let begins = self.shown.send_if_modified(|shown| {
            let is_fresh = shown.fresh_until.is_some_and(|until| Instant::now() < until);
            let begins = !is_fresh && !shown.reading;
            shown.reading |= begins;
            begins
        });
        if begins {
            let reading = Reading(api.clone());
            drop(st_log::spawn(reading.run()));
        }
        let ended = timeout(PATIENCE, changes.wait_for(|shown| !shown.reading)).await;
        match ended {
            Ok(Ok(shown)) => shown.clone(),
            Ok(Err(_)) | Err(_) => self.shown.borrow().clone(),
        }
    }
}

/// A reading that is under way, until this is dropped.
struct Reading(Api);

impl Reading {
    async fn run(self) {
        let Self(api) = &self;
        let kept = api.kept();
        let began = Instant::now();
        let read = read(api, &mut *kept.past.lock().await, began).await;
        let components = components(api).await;
        let (stored, keep_for) = match read {
            Ok(stored) => {
                let keep_for = began.elapsed().saturating_mul(SHARE);
                (Some(Arc::new(stored)), keep_for.clamp(KEEP_FOR, KEEP_FOR_AT_MOST))
            }
            Err(error) => {
                st_log::warning!(
                    logger: LOG, error, "Metrics show what the store held before: it cannot be read"
                );
                (None, KEEP_FOR)
            }
        };
        kept.shown.send_modify(|shown| {
            shown.readable = Some(stored.is_some());
            shown.components = components;
            shown.fresh_until = Some(Instant::now() + keep_for);
            if stored.is_some() {
                shown.stored = stored;
            }
        });
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.kept().shown.send_modify(|shown| shown.reading = false);
    }
}

async fn read(api: &Api, before: &mut Past, began: Instant) -> Result<Stored, Error> {
    let store = api.store.as_ref();
    let figures = store.figures().await?;
    Ok(Stored {
        unsettled: store.unsettled().await?,
        budgets: store.budgets().await?,
        month: month(store, before).await?,
        now: store.now(),
        at: Instant::now(),
        took: began.elapsed(),
        figures,
    })
}

/// The sums of the last 30 days. Those of the days that are over are read once a day.
async fn month(store: &dyn Store, before: &mut Past) -> Result<BTreeMap<JobStatus, Total>, Error> {
    let today = Offset::UTC.to_datetime(store.now()).date();
    let known = before.as_ref().filter(|(day, _)| *day == today);
    if let Some((_, past)) = known {
        let mut month = past.clone();
        add(&mut month, &store.ended_totals(today).await?, |key| key.day >= today);
        return Ok(month);
    }
    let since = today.saturating_sub(SignedDuration::from_hours(24 * (DAYS - 1)));
    let totals = store.ended_totals(since).await?;
    let mut month = BTreeMap::new();
    add(&mut month, &totals, |key| key.day < today);
    *before = Some((today, month.clone()));
    add(&mut month, &totals, |key| key.day >= today);
    Ok(month)
}

fn add(
    sums: &mut BTreeMap<JobStatus, Total>,
    totals: &DailyTotals,
    counts: impl Fn(&TotalKey) -> bool,
) {
    for (key, total) in totals.iter().filter(|(key, _)| counts(key)) {
        let sum = sums.entry(key.status).or_default();
        sum.jobs = sum.jobs.saturating_add(total.jobs);
        sum.cost_usd += total.cost_usd;
        sum.seconds = sum.seconds.saturating_add(total.seconds);
    }
}
