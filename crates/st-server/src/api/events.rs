//! Events as they are committed, over Server-Sent Events.
//!
//! A stream continues after the event that it sent last, so a client that comes back with
//! `Last-Event-ID` gets what it missed, once, also after a restart of the server. A client whose
//! position this log does not have gets `resync`. A slow client delays only itself.

mod audience;
mod feed;
mod follower;
mod frame;
mod reader;
mod ring;
#[cfg(test)]
mod tests;
mod view;

use std::time::Duration;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use futures_util::stream;
use http::{HeaderMap, HeaderName};
use serde_json::{Value, json};
use st_api::events::{AfterIndex, Broadcast, Follow};
use st_api::input::Fields;
use st_api::operation::Input;
use st_api::problem::Code;
use st_store::{Event, EventId};
use tokio::time::timeout;

use super::jobs::find;
use super::{Api, Caller, log_damaged};
use crate::http::problem::Problem;
use crate::http::route::Call;
use crate::http::sse::event_stream;
use follower::Follower;
use frame::Format;

pub(super) use feed::Feed;
pub(super) use view::owned;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// An event as clients see it, as JSON.
pub(crate) fn shown(event: &Event) -> Value {
    json!(view::view(event))
}

/// What a client asks for.
#[derive(Debug)]
struct Wanted {
    format: Format,
    after: Option<EventId>,
    job: Option<String>,
}

pub(crate) async fn stream(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Fields::from_query(query.as_deref().unwrap_or_default());
    let query = query.and_then(Follow::from_fields).map_err(Problem::invalid_query)?;
    let wanted = Wanted::read(&headers, query)?;
    let job = match &wanted.job {
        Some(name) => Some(find(&api, &caller, name).await?.id()),
        None => None,
    };
    let place = api.place(&caller)?;
    let ticket = api
        .feed()
        .join()
        .ok_or_else(|| Problem::new(Code::TooManyStreams, "too many event streams are open"))?;
    let follower = Follower::new(ticket, wanted.after, job, wanted.format);
    Ok(event_stream(stream::unfold((follower, place), |(mut follower, place)| async {
        let frame = follower.next().await?;
        Some((frame, (follower, place)))
    })))
}

/// How long a client that asks again and again is held while there is nothing new.
const HOLD: Duration = Duration::from_secs(20);
/// How many events one answer has.
const AT_ONCE: u32 = 500;

/// The events after one, as soon as there is one.
pub(crate) async fn broadcast(api: Api, call: Call<(), AfterIndex>) -> Result<Broadcast, Problem> {
    let AfterIndex(after) = call.query;
    let _place = api.place(&call.caller)?;
    // Those that are held are bounded, because each is a request under way; the others ask again.
    if let Ok(_place) = api.held().try_acquire_owned() {
        let mut last = api.store.last_event();
        tokio::select! {
            _ = timeout(HOLD, last.wait_for(|last| *last > after)) => {}
            () = api.stopping().cancelled() => {}
        }
    }
    let page = api.store.events_after(after, AT_ONCE).await?;
    log_damaged(&page.damaged);
    let next = page.next.unwrap_or(after);
    Ok(Broadcast { events: page.events.iter().map(owned).collect(), next_index: next.0 })
}

impl Wanted {
    fn read(headers: &HeaderMap, query: Follow) -> Result<Self, Problem> {
        let format = match query.format.as_deref() {
            None | Some("message") => Format::Message,
            Some("named") => Format::Named,
            Some(other) => {
                let detail = format!("unknown format {other:?}, expected message or named");
                return Err(Problem::new(Code::UnknownFormat, detail));
            }
        };
        // A browser that comes back sends the header, with the query of its first request.
        let header = headers.get(LAST_EVENT_ID);
        let header = header.map(|value| value.to_str().unwrap_or("?").to_owned());
        let after = header.filter(|text| !text.is_empty()).or(query.last_event_id);
        let after = after.map(|text| event_id(&text)).transpose()?;
        Ok(Self { format, after, job: query.job_id })
    }
}

/// A position in the log.
fn event_id(text: &str) -> Result<EventId, Problem> {
    text.parse::<EventId>().ok().filter(|id| id.0 >= 0).ok_or_else(|| {
        Problem::new(Code::BadEventId, "the last event ID must be a number of at least 0")
    })
}
