//! Figures over days over HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::Offset;
use jiff::{SignedDuration, civil::Date};
use st_api::metrics::{
    CostPeriod, CostSummary, Costs, DayCost, JobCost, JobCounts, JobMetrics, MachineHours,
    OverDays, OverPeriod, PartHealth, PartsHealth, Usage, UsagePeriod,
};
use st_api::system::Condition;
use st_store::{DailyTotals, JobFilter, JobStatus, PageRequest, ProviderName, Store, Total};

use super::health;
use super::{Api, log_damaged};
use crate::http::problem::Problem;
use crate::http::route::Call;

/// How many jobs are listed with what each cost.
const RECENT: u32 = 5;
/// The days of a month, for an estimate.
const MONTH: f64 = 30.0;

/// The sums over the jobs that ended on these days, with today.
async fn totals(store: &dyn Store, days: u16) -> Result<(Date, DailyTotals), Problem> {
    let today = Offset::UTC.to_datetime(store.now()).date();
    let back = SignedDuration::from_hours(24 * (i64::from(days) - 1));
    let since = today.saturating_sub(back);
    Ok((since, store.ended_totals(since).await?))
}

fn sum<K: Ord>(totals: &DailyTotals, key: impl Fn(&st_store::TotalKey) -> K) -> BTreeMap<K, Total> {
    let mut sums: BTreeMap<K, Total> = BTreeMap::new();
    for (of, total) in totals {
        let sum = sums.entry(key(of)).or_default();
        sum.jobs += total.jobs;
        sum.cost_usd += total.cost_usd;
        sum.seconds += total.seconds;
    }
    sums
}

fn all(totals: &DailyTotals) -> Total {
    sum(totals, |_| ()).into_values().next().unwrap_or_default()
}

pub(crate) async fn jobs(
    store: Arc<dyn Store>,
    call: Call<(), OverDays>,
) -> Result<JobMetrics, Problem> {
    let OverDays { days, provider } = call.query;
    let (since, mut totals) = totals(store.as_ref(), days).await?;
    if let Some(provider) = &provider {
        totals.retain(|key, _| key.provider == *provider);
    }
    let whole = all(&totals);
    let ended = sum(&totals, |key| key.status);
    let mut jobs_by_status: BTreeMap<String, u64> =
        ended.into_iter().map(|(status, total)| (status.to_string(), total.jobs)).collect();
    for status in JobStatus::ALL.iter().filter(|status| status.is_active()) {
        let provider = provider.clone();
        let filter = JobFilter { status: Some(*status), provider, ..JobFilter::default() };
        let page = PageRequest { limit: 1, offset: 0 };
        jobs_by_status.insert(status.to_string(), store.list_jobs(&filter, page).await?.total);
    }
    let by_day = sum(&totals, |key| key.day);
    let cost_by_day = (0..days).filter_map(|number| {
        let day = since.checked_add(SignedDuration::from_hours(24 * i64::from(number))).ok()?;
        let total = by_day.get(&day).copied().unwrap_or_default();
        Some(DayCost { date: day.to_string(), cost: total.cost_usd, jobs: total.jobs })
    });
    Ok(JobMetrics {
        total_cost: whole.cost_usd,
        job_count: whole.jobs,
        avg_job_duration_seconds: mean_seconds(&totals),
        jobs_by_status,
        cost_by_day: cost_by_day.collect(),
        period_days: days,
    })
}

/// The mean time of the jobs of a provider that completed on these days, with today.
pub(super) async fn mean_seconds_at(
    store: &dyn Store,
    provider: &ProviderName,
    days: u16,
) -> Result<Option<f64>, Problem> {
    let (_, mut totals) = totals(store, days).await?;
    totals.retain(|key, _| key.provider == *provider);
    Ok(mean_seconds(&totals))
}

/// Of the jobs that completed: one that failed or was cancelled may not have run at all.
fn mean_seconds(totals: &DailyTotals) -> Option<f64> {
    let mut ran = totals.clone();
    ran.retain(|key, _| key.status == JobStatus::Completed);
    let total = all(&ran);
    #[expect(clippy::cast_precision_loss, reason = "a mean of whole seconds needs no more")]
    (total.jobs > 0).then(|| total.seconds as f64 / total.jobs as f64)
}

pub(crate) async fn costs(
    store: Arc<dyn Store>,
    call: Call<(), CostPeriod>,
) -> Result<Costs, Problem> {
    let CostPeriod(OverPeriod { name, days }) = call.query;
    let (_, totals) = totals(store.as_ref(), days).await?;
    let total_cost = all(&totals).cost_usd;
    let cost = |sums: BTreeMap<String, Total>| {
        sums.into_iter().map(|(of, total)| (of, total.cost_usd)).collect()
    };
    let filter = JobFilter { status: Some(JobStatus::Completed), ..JobFilter::default() };
    let recent = store.list_jobs(&filter, PageRequest { limit: RECENT, offset: 0 }).await?;
    log_damaged(&recent.damaged);
    let recent_jobs = recent.items.iter().filter_map(|record| {
        let cost = record.job().cost_usd?;
        Some(JobCost { job_id: record.id().to_string(), cost })
    });
    Ok(Costs {
        period: name.to_owned(),
        summary: CostSummary {
            total_cost,
            currency: "USD".to_owned(),
            estimated_monthly: total_cost / f64::from(days) * MONTH,
        },
        by_provider: cost(sum(&totals, |key| key.provider.to_string())),
        by_job_type: cost(sum(&totals, |key| key.job_type.to_string())),
        by_user: cost(sum(&totals, |key| key.user.to_string())),
        recent_jobs: recent_jobs.collect(),
    })
}

pub(crate) async fn usage(
    store: Arc<dyn Store>,
    call: Call<(), UsagePeriod>,
) -> Result<Usage, Problem> {
    let UsagePeriod(OverPeriod { name, days }) = call.query;
    let (_, totals) = totals(store.as_ref(), days).await?;
    let by_status = sum(&totals, |key| key.status);
    let count = |status| by_status.get(&status).map_or(0, |total| total.jobs);
    let active = store.queue_stats().await?;
    let active: u64 = active.by_user.values().sum();
    let by_type = sum(&totals, |key| key.provider.to_string());
    Ok(Usage {
        period: name.to_owned(),
        gpu: MachineHours {
            total_hours: hours(all(&totals)),
            by_type: by_type.into_iter().map(|(of, total)| (of, hours(total))).collect(),
        },
        jobs: JobCounts {
            submitted: all(&totals).jobs + active,
            completed: count(JobStatus::Completed),
            failed: count(JobStatus::Failed),
            cancelled: count(JobStatus::Cancelled),
        },
    })
}

fn hours(total: Total) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "hours of so many seconds need no more")]
    let seconds = total.seconds as f64;
    seconds / 3600.0
}

/// The health of each part in the form of the original's command line.
pub(crate) async fn parts(api: Api, _call: Call) -> Result<PartsHealth, Problem> {
    let components = health::components(&api).await;
    let healthy = components.iter().all(|it| it.status != Condition::Unhealthy);
    let part = |detail: String, status| PartHealth {
        healthy: status != Condition::Unhealthy,
        detail: if detail.is_empty() { "ok".to_owned() } else { detail },
    };
    let components = components.into_iter().map(|it| (it.name, part(it.message, it.status)));
    Ok(PartsHealth { healthy, components: components.collect() })
}
