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
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::api::{Api, components};

const LOG: st_log::Logger = st_log::get_logger("simpletuner.cloud.metrics");

/// How long a reading is shown at least.
pub(crate) const KEEP_FOR: Duration = Duration::from_secs(5);
/// A reading that took long is shown so many times as long, so that reading costs at most a hundredth
/// of the time.
const SHARE: u32 = 100;
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
    /// The health of each part of the server.
    pub(super) components: Vec<Component>,
    /// The store's time.
    pub(super) now: Timestamp,
    /// How long it took to read all this.
    pub(super) took: Duration,
}

/// The latest reading.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Readings>);

#[derive(Debug, Default)]
struct Readings {
    /// When it was taken, for how long it is shown, and what it was: nothing where that failed.
    latest: Option<(Instant, Duration, Option<Arc<Stored>>)>,
    /// The sums of the days before this one: they stay as they are.
    before: Option<(Date, BTreeMap<JobStatus, Total>)>,
}

impl Kept {
    /// What the store holds now, or held a moment ago. Requests that arrive during a reading
    /// wait for it and share it.
    pub(super) async fn read(&self, api: &Api) -> Option<Arc<Stored>> {
        let mut readings = self.0.lock().await;
        if let Some((at, keep_for, stored)) = &readings.latest
            && at.elapsed() < *keep_for
        {
            return stored.clone();
        }
        let began = Instant::now();
        let stored = match read(api, &mut readings.before, began).await {
            Ok(stored) => Some(Arc::new(stored)),
            Err(error) => {
                st_log::warning!(
                    logger: LOG, error, "Metrics are shown without what the store holds"
                );
                None
            }
        };
        let keep_for = KEEP_FOR.max(began.elapsed().saturating_mul(SHARE));
        readings.latest = Some((Instant::now(), keep_for, stored.clone()));
        stored
    }
}

async fn read(
    api: &Api,
    before: &mut Option<(Date, BTreeMap<JobStatus, Total>)>,
    began: Instant,
) -> Result<Stored, Error> {
    let store = api.store.as_ref();
    let figures = store.figures().await?;
    Ok(Stored {
        unsettled: store.unsettled().await?,
        budgets: store.budgets().await?,
        month: month(store, before).await?,
        components: components(api).await,
        now: store.now(),
        took: began.elapsed(),
        figures,
    })
}

/// The sums of the last 30 days. Those of the days that are over are read once a day.
async fn month(
    store: &dyn Store,
    before: &mut Option<(Date, BTreeMap<JobStatus, Total>)>,
) -> Result<BTreeMap<JobStatus, Total>, Error> {
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
