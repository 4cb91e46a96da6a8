//! Events that are sent to webhooks.

use super::family::{Family, counter, gauge};
use super::page::{Page, series};
use crate::api::Api;

const OUTCOMES: Family = counter(
    "st_webhook_events_total",
    &["outcome"],
    "Attempts to deliver an event to a webhook, by what became of the event: retrying are failures, given_up \
     and gone are lost, dropped were tried and are not wanted any more; tests are not counted",
);
const UNDELIVERED: Family = gauge(
    "st_webhook_oldest_undelivered_seconds",
    &["webhook"],
    "Age of the oldest event that a webhook, by its number, has not been delivered; absent where there is none",
);

pub(super) const FAMILIES: [&Family; 2] = [&OUTCOMES, &UNDELIVERED];

pub(super) fn add(page: &mut Page, api: &Api) {
    let figures = api.background.webhook_figures();
    let outcomes = figures.iter().flat_map(|figures| &figures.outcomes);
    page.add(&OUTCOMES, outcomes.map(|(outcome, count)| series([outcome.as_str()], *count)));
    let now = api.store.now();
    let undelivered = figures.iter().flat_map(|figures| &figures.undelivered);
    let undelivered = undelivered.map(|(webhook, since)| {
        let age = std::time::Duration::try_from(now.duration_since(*since)).unwrap_or_default();
        series([&webhook.to_string()], age)
    });
    page.add(&UNDELIVERED, undelivered);
}
