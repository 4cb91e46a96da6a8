//! Providers: their gates, the calls, what is open at them, and what may be spent.

use st_http::HostMetrics;
use st_store::{BudgetKeeper, BudgetLimit, Scope};
use st_workers::ProviderFigures;

use super::Stored;
use super::family::{Family, counter, gauge, histogram};
use super::page::{Page, Series, series};
use crate::api::Api;

const GATE_OPEN: Family =
    gauge("st_provider_gate_open", &["provider"], "Whether the provider is given all submissions");
const GATE_CLOSED: Family = gauge(
    "st_provider_gate_closed_seconds",
    &["provider", "cause"],
    "For how long the provider has been given no submissions, and why; absent while the next one would be \
     let through",
);
const ROOM: Family = gauge(
    "st_provider_submission_room",
    &["provider"],
    "How many submissions could begin now, by our limits and the provider's rate",
);
const CALLS: Family = histogram(
    "st_provider_call_duration_seconds",
    &["provider", "operation", "outcome"],
    "Calls to providers, each with its repetitions; the statuses of many jobs at once are in \
     st_provider_polled_jobs_total",
);
const POLLED: Family = counter(
    "st_provider_polled_jobs_total",
    &["provider", "outcome"],
    "Jobs whose status a provider was asked for",
);
const UNRESOLVED: Family = gauge(
    "st_unsettled_jobs",
    &["provider"],
    "Jobs of which it is unknown whether the provider has them",
);
const STRAYS: Family = gauge(
    "st_stray_jobs",
    &["provider"],
    "Jobs that are at the provider once too often and not confirmed as ended",
);
const RECHECKS: Family = gauge(
    "st_rechecked_attempts",
    &["provider"],
    "Attempts that did not arrive and are still looked for",
);
const BUDGET: Family = gauge(
    "st_provider_budget_remaining_usd",
    &["provider", "period"],
    "What is left of the cost limit of the provider, less what is reserved",
);
const ORIGIN_ATTEMPTS: Family = counter(
    "st_origin_attempts_total",
    &["provider", "origin"],
    "Requests that were sent to an origin, each repetition by itself",
);
const ORIGIN_ANSWERS: Family = counter(
    "st_origin_answers_total",
    &["provider", "origin", "status"],
    "Answers of an origin, by the class of their status",
);
const ORIGIN_FAILURES: Family = counter(
    "st_origin_failures_total",
    &["provider", "origin", "phase"],
    "Requests to an origin that failed, by the phase in which they ended; in the phase body the answer \
     had begun, and is among st_origin_answers_total",
);
const ORIGIN_GIVEN_UP: Family = counter(
    "st_origin_given_up_total",
    &["provider", "origin"],
    "Requests to an origin that the server itself gave up before they were answered, such as at a deadline",
);
const ORIGIN_IN_FLIGHT: Family = gauge(
    "st_origin_requests_in_flight",
    &["provider", "origin"],
    "Requests to an origin that are under way",
);
const ORIGIN_SECONDS: Family = counter(
    "st_origin_head_seconds_total",
    &["provider", "origin"],
    "Time from the start of requests to the head of their answers",
);
const ORIGIN_BYTES: Family = counter(
    "st_origin_received_bytes_total",
    &["provider", "origin"],
    "Bytes of the bodies that an origin sent",
);

pub(super) const FAMILIES: [&Family; 16] = [
    &GATE_OPEN,
    &GATE_CLOSED,
    &ROOM,
    &CALLS,
    &POLLED,
    &UNRESOLVED,
    &STRAYS,
    &RECHECKS,
    &BUDGET,
    &ORIGIN_ATTEMPTS,
    &ORIGIN_ANSWERS,
    &ORIGIN_FAILURES,
    &ORIGIN_GIVEN_UP,
    &ORIGIN_IN_FLIGHT,
    &ORIGIN_SECONDS,
    &ORIGIN_BYTES,
];

pub(super) fn add(page: &mut Page, api: &Api, stored: &Stored) {
    let figures = api.background.provider_figures();
    gates_and_calls(page, &figures);
    open_work(page, &figures, stored);
    let budgets = stored.iter().flat_map(|stored| &stored.budgets);
    let of_settings = budgets.filter_map(|used| match &used.budget.budget.scope {
        // One for each provider: people may add others, of which there may be several for one.
        Scope::Provider(provider) if used.budget.kept_by == BudgetKeeper::Settings => {
            let BudgetLimit::Cost { period, .. } = used.budget.budget.limit else { return None };
            let remaining = used.remaining()?;
            Some(series([provider.as_str(), period.as_str()], remaining.to_usd()))
        }
        Scope::Provider(_) | Scope::All | Scope::User(_) | Scope::Team(_) | Scope::Org(_) => None,
    });
    page.add(&BUDGET, of_settings);
    origins(page, &api.host_metrics());
}

fn gates_and_calls(page: &mut Page, figures: &[ProviderFigures]) {
    let each = || figures.iter().map(|it| (it.provider.as_str(), it));
    page.add(&GATE_OPEN, each().map(|(provider, it)| series([provider], it.gate.open)));
    let closed = each().filter_map(|(provider, it)| {
        let closed_for = it.gate.closed_for.filter(|_| !it.gate.admits_probe)?;
        let cause = it.gate.cause?;
        Some(series([provider, cause.as_str()], closed_for))
    });
    page.add(&GATE_CLOSED, closed);
    page.add(&ROOM, each().map(|(provider, it)| series([provider], it.room_to_submit)));
    let calls = each().flat_map(|(provider, it)| {
        it.calls.iter().map(move |calls| {
            let labels = [provider, calls.kind.as_str(), calls.outcome.as_str()];
            series(labels, calls.took.clone())
        })
    });
    page.add(&CALLS, calls);
    let polled = each().flat_map(|(provider, it)| {
        it.polled.iter().map(move |it| series([provider, it.outcome.as_str()], it.jobs))
    });
    page.add(&POLLED, polled);
}

/// What is open at each provider. Those that are configured have a series also where nothing is, so that
/// an alert ends.
fn open_work(page: &mut Page, figures: &[ProviderFigures], stored: &Stored) {
    let mut open =
        stored.as_ref().map_or_else(Default::default, |it| it.unsettled.providers.clone());
    if stored.is_some() {
        for it in figures {
            open.entry(it.provider.clone()).or_default();
        }
    }
    let each = |of: fn(&st_store::UnsettledCounts) -> u64| {
        let all = open.iter().map(move |(provider, it)| series([provider.as_str()], of(it)));
        all.collect::<Vec<Series>>()
    };
    page.add(&UNRESOLVED, each(|it| it.unresolved));
    page.add(&STRAYS, each(|it| it.strays));
    page.add(&RECHECKS, each(|it| it.rechecks));
}

fn origins(page: &mut Page, hosts: &[(st_store::ProviderName, Vec<HostMetrics>)]) {
    let each = || {
        hosts.iter().flat_map(|(provider, hosts)| {
            hosts.iter().map(move |it| ([provider.as_str(), it.host.as_str()], it))
        })
    };
    page.add(&ORIGIN_ATTEMPTS, each().map(|(of, it)| series(of, it.attempts)));
    let answers = each().flat_map(|([provider, origin], it)| {
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(it.answers);
        let seen = classes.filter(|(_, answers)| *answers > 0);
        seen.map(move |(class, answers)| series([provider, origin, class], answers))
    });
    page.add(&ORIGIN_ANSWERS, answers);
    let failures = each().flat_map(|([provider, origin], it)| {
        let failures = it.failures.iter();
        failures.map(move |(phase, count)| series([provider, origin, phase.as_str()], *count))
    });
    page.add(&ORIGIN_FAILURES, failures);
    page.add(&ORIGIN_GIVEN_UP, each().map(|(of, it)| series(of, it.given_up)));
    page.add(&ORIGIN_IN_FLIGHT, each().map(|(of, it)| series(of, it.in_flight)));
    page.add(&ORIGIN_SECONDS, each().map(|(of, it)| series(of, it.time_to_head)));
    page.add(&ORIGIN_BYTES, each().map(|(of, it)| series(of, it.received_bytes)));
}
