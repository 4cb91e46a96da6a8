//! Events as they are committed, over Server-Sent Events.
//!
//! The stream reads the event log from the row after the last one that it sent, so a client that
//! comes back with `Last-Event-ID` gets what it missed, once, also after a restart of the server. A
//! slow client holds up only itself.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event as Frame, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use st_log::{Logger, get_logger};
use st_store::{ApprovalStatus, Change, Event, EventId, JobStatus, QueueStatus, Store};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::body::Query;
use super::{Api, Time};
use crate::problem::Problem;

const LOG: Logger = get_logger("simpletuner.cloud.events");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many events are read at a time.
const CHUNK: u32 = 256;

/// An event as clients see it.
pub(crate) fn json(event: &Event) -> Value {
    let Event { event, .. } = event;
    let mut data = json!({
        "type": event.change.event_type(),
        "job_id": event.job_id.to_string(),
        "source": event.source.as_str(),
        "correlation_id": event.correlation_id.as_str(),
        "timestamp": Time(event.at),
    });
    let (status, previous) = match &event.change {
        Change::Job { from, to } => (to.as_str(), from.map(JobStatus::as_str)),
        Change::Queue { from, to } => (to.as_str(), from.map(QueueStatus::as_str)),
        Change::Approval { id, from, to, message } => {
            if let Value::Object(data) = &mut data {
                data.insert("approval_id".to_owned(), id.0.into());
                data.insert("message".to_owned(), message.as_str().into());
            }
            (to.as_str(), from.map(ApprovalStatus::as_str))
        }
    };
    if let Value::Object(data) = &mut data {
        data.insert("status".to_owned(), status.into());
        data.insert("previous_status".to_owned(), previous.into());
    }
    data
}

/// One client's stream.
struct Follower {
    store: Arc<dyn Store>,
    committed: watch::Receiver<EventId>,
    stopping: CancellationToken,
    sent: EventId,
    ready: VecDeque<Frame>,
    heartbeat: Interval,
    named: bool,
    /// Given back when the client is gone.
    _permit: OwnedSemaphorePermit,
}

pub(crate) async fn stream(
    State(api): State<Api>,
    headers: HeaderMap,
    mut query: Query,
) -> Result<Response, Problem> {
    let in_query = query.0.integer("last_event_id", 0..=i64::MAX);
    let format = query.0.string("format");
    query.finish()?;
    let in_header = match headers.get(LAST_EVENT_ID) {
        None => None,
        Some(value) => {
            let id = value.to_str().ok().and_then(|text| text.parse::<EventId>().ok());
            let wrong = || Problem::bad_request("bad_event_id", "Last-Event-ID must be a number");
            Some(id.filter(|id| id.0 >= 0).ok_or_else(wrong)?)
        }
    };
    let permit = Arc::clone(&api.shared.streams).try_acquire_owned().map_err(|_none_left| {
        Problem::unavailable("too_many_streams", "too many event streams are open")
    })?;
    let committed = api.store.last_event();
    let last = *committed.borrow();
    let asked = in_header.or(in_query.map(EventId));
    let mut follower = Follower {
        store: Arc::clone(&api.store),
        committed,
        stopping: api.shared.stopping.clone(),
        sent: asked.unwrap_or(last).min(last),
        ready: VecDeque::new(),
        heartbeat: heartbeat(),
        named: format.as_deref() != Some("message"),
        _permit: permit,
    };
    follower.tell("connection", None, &json!({"type": "connected"}));
    if asked.is_some_and(|asked| asked > last) {
        // The client knows events that this log never had: another database, or a restored one.
        follower.tell("resync", None, &json!({"type": "resync"}));
    }
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
            // Marked as seen before the log is read: what is committed after that wakes us again.
            if *self.committed.borrow_and_update() > self.sent {
                self.read().await?;
                continue;
            }
            tokio::select! {
                () = self.stopping.cancelled() => return None,
                changed = self.committed.changed() => changed.ok()?,
                _ = self.heartbeat.tick() => {
                    self.tell("heartbeat", None, &json!({"type": "heartbeat"}));
                }
            }
        }
    }

    async fn read(&mut self) -> Option<()> {
        let events = match self.store.events_after(self.sent, CHUNK).await {
            Ok(events) => events,
            Err(error) => {
                // The client comes back with the last ID that it got.
                st_log::warning!(
                    logger: LOG, error,
                    "Event stream ended: the log could not be read"
                );
                return None;
            }
        };
        if events.is_empty() {
            // The newest events are gone already, with the jobs that they were about.
            self.sent = *self.committed.borrow();
        }
        for event in events {
            self.sent = event.id;
            self.tell(event.event.change.event_type(), Some(event.id), &json(&event));
        }
        Some(())
    }

    fn tell(&mut self, name: &str, id: Option<EventId>, data: &Value) {
        let mut frame = Frame::default().data(data.to_string());
        if self.named {
            frame = frame.event(name);
        }
        if let Some(id) = id {
            frame = frame.id(id.to_string());
        }
        self.ready.push_back(frame);
    }
}
