//! The stream of events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use st_store::EventId;

use crate::input::Fields;
use crate::jobs::Event;
use crate::operation::{Group, Input, Media, Method, Operation};
use crate::problem::Code;

/// What a stream carries. Names that are not known are ignored: pages add some to get around caches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follow {
    /// `message`, the default, or `named`.
    pub format: Option<String>,
    /// The event after which it begins.
    pub last_event_id: Option<String>,
    /// The job whose events it carries.
    pub job_id: Option<String>,
}

impl Input for Follow {
    fn read(fields: &mut Fields) -> Option<Self> {
        let format = fields.optional_string("format", 100);
        let given = ["last_event_id", "lastEventId"].map(|name| fields.optional_string(name, 100));
        let job_id = fields.optional_string("job_id", 200);
        fields.ignore_others();
        Some(Self { format, last_event_id: given.into_iter().flatten().next(), job_id })
    }
}

/// A list of events for those who ask again and again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Broadcast {
    /// The events after the given one.
    pub events: Vec<Event<'static>>,
    /// What to ask for next.
    pub next_index: i64,
}

/// Follows events.
pub const STREAM: Operation<(), Follow, (), Event<'static>> =
    Operation::new(Group::Events, Method::Get, "/api/events", "follow_events")
        .summary("Follow events as they are committed")
        .description(
            "Server-Sent Events. `Last-Event-ID` resumes without a gap or a repetition; without it \
             only new events come; 0 is the beginning.",
        )
        .problems(&[Code::BadEventId, Code::UnknownFormat, Code::TooManyStreams])
        .example_query("last_event_id=0")
        .media(Media::EventStream);

/// After which event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AfterIndex(pub EventId);

impl Input for AfterIndex {
    fn read(fields: &mut Fields) -> Option<Self> {
        let index = fields.integer("last_event_index", 0..=i64::MAX);
        fields.ignore_others();
        Some(Self(EventId(index.unwrap_or(0))))
    }
}

/// Lists events for those who ask again and again.
pub const BROADCAST: Operation<(), AfterIndex, (), Broadcast> =
    Operation::new(Group::Events, Method::Get, "/broadcast", "list_events")
        .summary("List the events after one, and wait a little where there is none")
        .problems(&[Code::TooManyStreams])
        .example_query("last_event_index=0");
