//! Requests, connections and event streams.

use std::sync::atomic::Ordering;

use super::family::{Family, counter, gauge, histogram};
use super::page::{Page, series};
use crate::api::Api;
use crate::http::front::Front;
use crate::http::lane::word;

const REQUESTS: Family = histogram(
    "st_http_request_duration_seconds",
    &["operation", "method", "status"],
    "Requests from their head to that of the answer, by operation (none where it came to none) and \
     class of status; cancelled are those whose connection ended before the answer",
);
const PROBLEMS: Family = counter(
    "st_http_problems_total",
    &["code"],
    "Requests that were answered with an error, by its code",
);
const IN_FLIGHT: Family =
    gauge("st_http_requests_in_flight", &["lane"], "Requests that are being answered, by lane");
const MOST: Family = gauge(
    "st_http_requests_limit",
    &["lane"],
    "How many requests of a lane may be under way; bulk requests need a place of interactive ones too",
);
const SHED: Family = counter(
    "st_http_requests_shed_total",
    &["lane"],
    "Requests that were refused because too many were under way in their lane",
);
const CONNECTIONS: Family = gauge(
    "st_http_connections",
    &["phase"],
    "Connections by what goes on in them; working ones make room for no other",
);
const CONNECTIONS_MOST: Family =
    gauge("st_http_connections_limit", &[], "How many connections may be open");
const REFUSED: Family = counter(
    "st_http_connections_refused_total",
    &[],
    "Connections that were refused because their address has as many as one may have",
);
const STREAMS: Family = gauge("st_event_streams", &[], "Event streams that are open");
const STREAMS_MOST: Family =
    gauge("st_event_streams_limit", &[], "How many event streams may be open");

pub(super) const FAMILIES: [&Family; 10] = [
    &REQUESTS,
    &PROBLEMS,
    &IN_FLIGHT,
    &MOST,
    &SHED,
    &CONNECTIONS,
    &CONNECTIONS_MOST,
    &REFUSED,
    &STREAMS,
    &STREAMS_MOST,
];

pub(super) fn add(page: &mut Page, api: &Api, front: &Front) {
    let requests = front.meter.requests();
    page.add(
        &REQUESTS,
        requests.into_iter().map(|it| series([it.operation, it.method, it.class], it.took)),
    );
    let problems = front.meter.problems();
    page.add(&PROBLEMS, problems.map(|(code, count)| series([code.as_str()], count)));
    let traffic = front.lanes.traffic();
    let each = || traffic.iter().map(|it| (word(it.lane), it));
    page.add(&IN_FLIGHT, each().map(|(lane, it)| series([lane], it.under_way)));
    page.add(&MOST, each().map(|(lane, it)| series([lane], it.most)));
    page.add(&SHED, each().map(|(lane, it)| series([lane], it.shed)));
    let connections = front.places.counts();
    page.add(
        &CONNECTIONS,
        connections.into_iter().map(|(phase, count)| series([phase.as_str()], count)),
    );
    page.one(&CONNECTIONS_MOST, front.places.most());
    page.one(&REFUSED, front.refused.load(Ordering::Relaxed));
    let (streams, most) = api.streams();
    page.one(&STREAMS, streams);
    page.one(&STREAMS_MOST, most);
}
