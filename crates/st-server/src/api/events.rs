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

use std::convert::Infallible;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName};
use st_store::EventId;

use super::Api;
use super::jobs::find;
use crate::http::extract::Query;
use crate::http::listen::Endless;
use crate::http::problem::Problem;
use follower::Follower;
use frame::Format;

pub(super) use feed::Feed;
pub(super) use view::EventView;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What a client asks for. Other names in the query are ignored: pages add some to get around
/// caches.
#[derive(Debug)]
struct Wanted {
    format: Format,
    after: Option<EventId>,
    job: Option<String>,
}

pub(crate) async fn stream(
    State(api): State<Api>,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Problem> {
    let wanted = Wanted::read(&headers, query)?;
    let job = match &wanted.job {
        Some(name) => Some(find(&api, name).await?.id()),
        None => None,
    };
    let ticket = api.shared.feed.join().ok_or_else(|| {
        Problem::unavailable("too_many_streams", "too many event streams are open")
    })?;
    let follower = Follower::new(ticket, wanted.after, job, wanted.format);
    let frames = stream::unfold(follower, |mut follower| async {
        let frame = follower.next().await?;
        Some((Ok::<_, Infallible>(frame), follower))
    });
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Extension(Endless), Body::from_stream(frames)).into_response())
}

impl Wanted {
    fn read(headers: &HeaderMap, Query(mut query): Query) -> Result<Self, Problem> {
        let format = match query.string("format").as_deref() {
            None | Some("" | "message") => Format::Message,
            Some("named") => Format::Named,
            Some(other) => {
                let detail = format!("unknown format {other:?}, expected message or named");
                return Err(Problem::bad_request("unknown_format", detail));
            }
        };
        // A browser that comes back sends the header, with the query of its first request.
        let header = headers.get(LAST_EVENT_ID);
        let header = header.map(|value| value.to_str().unwrap_or("?").to_owned());
        let given = [header, query.string("last_event_id"), query.string("lastEventId")];
        let after = given.into_iter().flatten().find(|text| !text.is_empty());
        let after = after.map(|text| event_id(&text)).transpose()?;
        let job = query.string("job_id").filter(|name| !name.is_empty());
        Ok(Self { format, after, job })
    }
}

/// A position in the log.
fn event_id(text: &str) -> Result<EventId, Problem> {
    text.parse::<EventId>().ok().filter(|id| id.0 >= 0).ok_or_else(|| {
        Problem::bad_request("bad_event_id", "the last event ID must be a number of at least 0")
    })
}
