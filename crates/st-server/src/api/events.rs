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

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName};
use st_api::events::Follow;
use st_api::input::Fields;
use st_api::operation::Input;
use st_api::problem::Code;
use st_store::EventId;

use super::Api;
use super::jobs::find;
use crate::http::problem::Problem;
use follower::Follower;
use frame::Format;

pub(super) use feed::Feed;
pub(super) use view::owned;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What a client asks for.
#[derive(Debug)]
struct Wanted {
    format: Format,
    after: Option<EventId>,
    job: Option<String>,
}

pub(crate) async fn stream(
    State(api): State<Api>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Fields::from_query(query.as_deref().unwrap_or_default());
    let query = query.and_then(Follow::from_fields).map_err(Problem::invalid_query)?;
    let wanted = Wanted::read(&headers, query)?;
    let job = match &wanted.job {
        Some(name) => Some(find(&api, name).await?.id()),
        None => None,
    };
    let ticket = api
        .feed()
        .join()
        .ok_or_else(|| Problem::new(Code::TooManyStreams, "too many event streams are open"))?;
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
    Ok((headers, Body::from_stream(frames)).into_response())
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
