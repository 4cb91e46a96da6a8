//! Figures over days: what jobs cost, how many there were and how long they ran.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use st_store::ProviderName;

use crate::input::Fields;
use crate::operation::{Group, Input, Lane, Media, Method, Operation};

/// Over how many days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverDays {
    /// The days, with today.
    pub days: u16,
    /// The provider whose jobs count; all where none is named.
    pub provider: Option<ProviderName>,
}

impl Input for OverDays {
    fn read(fields: &mut Fields) -> Option<Self> {
        let days = fields.integer("days", 1..=365).and_then(|days| u16::try_from(days).ok());
        let provider = fields.optional_string("provider", 100).map(ProviderName::new);
        Some(Self { days: days.unwrap_or(30), provider })
    }
}

/// Over which period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverPeriod {
    /// The period's name, as a query has it.
    pub name: &'static str,
    /// The days, with today.
    pub days: u16,
}

/// The period that is asked for, or this one.
fn period(fields: &mut Fields, usual: &'static str) -> OverPeriod {
    let name = fields.one_of("period", &["day", "week", "month", "year"]).unwrap_or(usual);
    let days = match name {
        "day" => 1,
        "week" => 7,
        "year" => 365,
        _ => 30,
    };
    OverPeriod { name, days }
}

/// The period of costs: a month, unless the request names another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CostPeriod(pub OverPeriod);

impl Input for CostPeriod {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self(period(fields, "month")))
    }
}

/// The period of usage: a day, unless the request names another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsagePeriod(pub OverPeriod);

impl Input for UsagePeriod {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self(period(fields, "day")))
    }
}

/// What finished jobs cost, how many there were and how long they ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobMetrics {
    /// In US dollars, as far as it is known.
    pub total_cost: f64,
    /// How many jobs ended.
    pub job_count: u64,
    /// How long those that completed ran on average; `null` where there are none.
    pub avg_job_duration_seconds: Option<f64>,
    /// How many ended in each way, and how many are not over.
    pub jobs_by_status: BTreeMap<String, u64>,
    /// What they cost on each day.
    pub cost_by_day: Vec<DayCost>,
    /// Over how many days.
    pub period_days: u16,
}

/// What the jobs cost that ended on one day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DayCost {
    /// The day, in UTC, such as `2026-11-25`.
    pub date: String,
    /// In US dollars.
    pub cost: f64,
    /// How many.
    pub jobs: u64,
}

/// What jobs cost in a period.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Costs {
    /// The period.
    pub period: String,
    /// In all.
    pub summary: CostSummary,
    /// By provider, in US dollars.
    pub by_provider: BTreeMap<String, f64>,
    /// By the type of job, in US dollars.
    pub by_job_type: BTreeMap<String, f64>,
    /// By user, in US dollars.
    pub by_user: BTreeMap<String, f64>,
    /// Of the five newest completed jobs, those whose cost is known.
    pub recent_jobs: Vec<JobCost>,
}

/// What jobs cost in all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CostSummary {
    /// As far as it is known.
    pub total_cost: f64,
    /// Always `USD`.
    pub currency: String,
    /// What a month like this period would cost.
    pub estimated_monthly: f64,
}

/// What one job cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobCost {
    /// The job.
    pub job_id: String,
    /// In US dollars.
    pub cost: f64,
}

/// What was used in a period.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// The period.
    pub period: String,
    /// How long machines ran for jobs.
    pub gpu: MachineHours,
    /// The jobs.
    pub jobs: JobCounts,
}

/// How long machines ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MachineHours {
    /// In all.
    pub total_hours: f64,
    /// By provider.
    pub by_type: BTreeMap<String, f64>,
}

/// How many jobs there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobCounts {
    /// Those that ended, and those that are not over.
    pub submitted: u64,
    /// Those that ended well.
    pub completed: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that were cancelled.
    pub cancelled: u64,
}

/// Whether each part works, as the original's command line reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PartsHealth {
    /// Whether all do.
    pub healthy: bool,
    /// Each part.
    pub components: BTreeMap<String, PartHealth>,
}

/// Whether a part works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartHealth {
    /// Whether it does.
    pub healthy: bool,
    /// What is wrong; `ok` where nothing is.
    pub detail: String,
}

/// Shows the figures of jobs.
pub const JOBS: Operation<(), OverDays, (), JobMetrics> =
    Operation::new(Group::Metrics, Method::Get, "/api/cloud/metrics", "get_job_metrics")
        .summary("Show what jobs cost, how many there were and how long they ran")
        .example_query("days=30");

/// The same by the path of the original's page.
pub const JOBS_OF_PAGE: Operation<(), OverDays, (), JobMetrics> =
    Operation::new(Group::Metrics, Method::Get, "/api/metrics", "get_metrics")
        .summary("The same as /api/cloud/metrics")
        .example_query("days=7&provider=replicate");

/// Shows costs.
pub const COSTS: Operation<(), CostPeriod, (), Costs> =
    Operation::new(Group::Metrics, Method::Get, "/api/metrics/costs", "get_costs")
        .summary("Show what jobs cost in a period")
        .example_query("period=week");

/// Shows usage.
pub const USAGE: Operation<(), UsagePeriod, (), Usage> =
    Operation::new(Group::Metrics, Method::Get, "/api/metrics/usage", "get_usage")
        .summary("Show what was used in a period")
        .example_query("period=week");

/// Whether each part works.
pub const HEALTH: Operation<(), (), (), PartsHealth> =
    Operation::new(Group::Metrics, Method::Get, "/api/metrics/health", "get_metrics_health")
        .lane(Lane::Vital)
        .summary("Say whether each part works, as the original's command line reads it");

/// The metrics as a text within JSON, as the original's command line reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PrometheusText {
    /// The text format of Prometheus.
    pub metrics: String,
}

/// Whether metrics are collected, as the original's command line reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MetricsStatus {
    /// Always true: the server always counts.
    pub enabled: bool,
    /// Always true: the metrics are always served.
    pub prometheus_enabled: bool,
    /// Where Prometheus reads them.
    pub prometheus_endpoint: String,
    /// The parts of the server that count something.
    pub collectors: Vec<String>,
}

/// What Prometheus can read, as the original's command line reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PrometheusInfo {
    /// Where Prometheus reads it.
    pub endpoint: String,
    /// Always true: the metrics are always served.
    pub enabled: bool,
    /// The names of all families of series.
    pub metric_families: Vec<String>,
}

const FORMATS: &str = "The text format of Prometheus, version 0.0.4, or OpenMetrics, version 1.0.0, by the \
    `Accept` header. docs/operation.md lists the families.";

/// Where Prometheus reads the metrics.
pub const PROMETHEUS: Operation<(), (), (), PrometheusText> =
    Operation::new(Group::Metrics, Method::Get, "/metrics", "scrape_metrics")
        .lane(Lane::Vital)
        .summary("Show the metrics to Prometheus")
        .description(FORMATS)
        .media(Media::Metrics);

/// The same by another path.
pub const PROMETHEUS_OF_CLOUD: Operation<(), (), (), PrometheusText> = Operation::new(
    Group::Metrics,
    Method::Get,
    "/api/cloud/metrics/prometheus",
    "scrape_cloud_metrics",
)
.lane(Lane::Vital)
.summary("The same as /metrics")
.description(FORMATS)
.media(Media::Metrics);

/// The same, and JSON for the original's command line.
pub const PROMETHEUS_OR_JSON: Operation<(), (), (), PrometheusText> = Operation::new(
    Group::Metrics,
    Method::Get,
    "/api/metrics/prometheus",
    "get_prometheus_metrics",
)
.lane(Lane::Vital)
.summary("The same as /metrics, and as JSON for clients that accept only that")
.description(FORMATS)
.media(Media::MetricsOrJson);

/// Whether metrics are collected.
pub const STATUS: Operation<(), (), (), MetricsStatus> =
    Operation::new(Group::Metrics, Method::Get, "/api/metrics/status", "get_metrics_status")
        .summary("Say which parts of the server count something");

/// What Prometheus can read.
pub const PROMETHEUS_INFO: Operation<(), (), (), PrometheusInfo> = Operation::new(
    Group::Metrics,
    Method::Get,
    "/api/metrics/prometheus/info",
    "get_prometheus_info",
)
.summary("List the families of series that Prometheus can read");
