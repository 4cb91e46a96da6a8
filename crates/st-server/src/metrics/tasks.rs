//! The background tasks.

use super::family::{Family, counter, gauge};
use super::page::{Page, series};
use crate::api::Api;

const LAG: Family = gauge(
    "st_task_lag_seconds",
    &["task"],
    "Since a run of the task last ended well, or since the start where none has",
);
const PERIOD: Family = gauge(
    "st_task_period_seconds",
    &["task"],
    "From the end of a run to the next one, when nothing wakes the task sooner",
);
const RUNNING: Family = gauge("st_task_running", &["task"], "Whether the task runs now");
const RUNS: Family =
    counter("st_task_runs_total", &["task", "outcome"], "Runs of the task, by how they ended");
const SECONDS: Family =
    counter("st_task_run_seconds_total", &["task"], "How long the runs of the task took");

/// How runs end.
pub(super) const OUTCOMES: [&str; 4] = ["done", "failed", "panicked", "timed_out"];

pub(super) const FAMILIES: [&Family; 5] = [&LAG, &PERIOD, &RUNNING, &RUNS, &SECONDS];

pub(super) fn add(page: &mut Page, api: &Api) {
    let statuses = api.background.statuses();
    let each = || statuses.iter().map(|it| (it.id.as_str(), it));
    page.add(&LAG, each().map(|(task, it)| series([task], it.lag())));
    page.add(&PERIOD, each().map(|(task, it)| series([task], it.period)));
    page.add(&RUNNING, each().map(|(task, it)| series([task], it.current.is_some())));
    let runs = each().flat_map(|(task, it)| {
        let totals = it.totals;
        let runs = [totals.done, totals.failed, totals.panicked, totals.timed_out];
        OUTCOMES.into_iter().zip(runs).map(move |(outcome, runs)| series([task, outcome], runs))
    });
    page.add(&RUNS, runs);
    page.add(&SECONDS, each().map(|(task, it)| series([task], it.totals.elapsed)));
}
