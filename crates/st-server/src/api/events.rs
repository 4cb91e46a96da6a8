//! Events as they are committed, over Server-Sent Events.
//!
//! A stream reads the event log from the row after the last one that it sent, so a client that
//! comes back with `Last-Event-ID` gets what it missed, once, also after a restart of the server.
//! A client whose position this log does not have gets `resync`. A slow client delays only itself.

mod view;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event as Frame, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use st_log::{Logger, get_logger};
use st_store::{DamagedRow, Event, EventId, EventPage, JobId};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::Api;
use super::body::Query;
use super::jobs::find;
use crate::problem::Problem;

pub(super) use view::EventView;

const LOG: Logger = get_logger("simpletuner.cloud.events");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many events are read at a time.
const CHUNK: u32 = 256;

/// How a stream names its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// Not at all: a browser gives them all to `onmessage`.
    Message,
    /// By their type.
    Named,
}

/// One client's stream.
struct Follower {
    api: Api,
    committed: watch::Receiver<EventId>,
    /// The position in the log up to which everything was sent or skipped.
    sent: EventId,
    /// Whether the log must be read although nothing new was committed: only that shows whether it
    /// knows the client's position.
    unread: bool,
    /// Only events of this job.
    job: Option<JobId>,
    ready: VecDeque<Frame>,
    heartbeat: Interval,
    format: Format,
    /// Released when the client is gone.
    _permit: OwnedSemaphorePermit,
}

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
    let permit = Arc::clone(&api.shared.streams).try_acquire_owned().map_err(|_none_left| {
        Problem::unavailable("too_many_streams", "too many event streams are open")
    })?;
    let committed = api.store.last_event();
    let newest = *committed.borrow();
    let mut follower = Follower {
        api,
        committed,
        sent: wanted.after.unwrap_or(newest),
        unread: wanted.after.is_some(),
        job,
        ready: VecDeque::new(),
        heartbeat: heartbeat(),
        format: wanted.format,
        _permit: permit,
    };
    follower.push_notice("connection");
    let frames = stream::unfold(follower, |mut follower| async {
        let frame = follower.next().await?;
        Some((Ok::<_, Infallible>(frame), follower))
    });
    let mut response = Sse::new(frames).into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
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

fn heartbeat() -> Interval {
    let mut heartbeat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeat
}

impl Follower {
    /// The next frame; `None` ends the stream.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Some(frame);
            }
            // Marked as seen *before* the log is read, so that a commit during the read wakes the
            // stream again.
            let newest = *self.committed.borrow_and_update();
            if self.unread || newest > self.sent {
                self.read(newest).await?;
                continue;
            }
            tokio::select! {
                () = self.api.shared.stopping.cancelled() => return None,
                changed = self.committed.changed() => changed.ok()?,
                _ = self.heartbeat.tick() => self.push_notice("heartbeat"),
            }
        }
    }

    async fn read(&mut self, newest: EventId) -> Option<()> {
        let page = match self.api.store.events_after(self.sent, CHUNK).await {
            Ok(page) => page,
            Err(error) => {
                // The client comes back with the last ID that it got.
                st_log::warning!(
                    logger: LOG, error,
                    "Event stream ended: the log could not be read"
                );
                return None;
            }
        };
        self.unread = false;
        let EventPage { events, damaged, next, resync } = page;
        if resync {
            self.push_notice("resync");
            self.sent = newest;
            return Some(());
        }
        log_skipped(&self.api, &damaged);
        // Where nothing is left to read, the newest events are gone already, with their jobs.
        let read_any = !events.is_empty() || !damaged.is_empty();
        self.sent = next.filter(|_| read_any).unwrap_or(newest);
        for event in &events {
            if !self.wants(event) {
                continue;
            }
            let frame = self.frame(event.event.change.event_type()).id(event.id.to_string());
            self.ready.push_back(frame.data(json!(EventView::of(event)).to_string()));
        }
        Some(())
    }

    fn wants(&self, event: &Event) -> bool {
        self.job.is_none_or(|job| event.event.change.job() == Some(job))
    }

    fn frame(&self, name: &str) -> Frame {
        match self.format {
            Format::Message => Frame::default(),
            Format::Named => Frame::default().event(name),
        }
    }

    /// A frame about the stream itself. It has no ID, so the client's position stays.
    fn push_notice(&mut self, kind: &str) {
        let frame = self.frame(kind).data(json!({"type": kind}).to_string());
        self.ready.push_back(frame);
    }
}

/// Logs the events that streams skip because they cannot be read: once, however many streams meet
/// them.
fn log_skipped(api: &Api, damaged: &[DamagedRow]) {
    for row in damaged {
        let mut logged = api.shared.damaged_events.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = logged.insert(row.key.clone());
        drop(logged);
        if is_new {
            st_log::warning!(
                logger: LOG, row = row.to_string(),
                "Damaged event is left out of the event stream"
            );
        }
    }
}
