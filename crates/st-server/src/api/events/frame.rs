//! Events as bytes of the stream: rendered once, shared by every stream.

use bytes::Bytes;
use serde_json::json;
use st_store::{Event, EventId, JobId};

use super::view::view;

/// How a stream names its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Not at all: a browser gives them all to `onmessage`.
    Message,
    /// By their type.
    Named,
}

/// An event in both formats. Without its first line, which is its name, the named one is the other.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    named: Bytes,
    name_len: usize,
}

impl Frame {
    fn of(event: &Event) -> Self {
        let name = format!("event: {}\n", event.event.change.event_type());
        // JSON text has no line breaks.
        let named = format!("{name}id: {}\ndata: {}\n\n", event.id, json!(view(event)));
        Self { named: named.into(), name_len: name.len() }
    }

    pub(super) fn bytes(&self, format: Format) -> Bytes {
        match format {
            Format::Message => self.named.slice(self.name_len..),
            Format::Named => self.named.clone(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.named.len()
    }
}

/// A place in the log and what a stream sends there.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: EventId,
    /// `None` for events of no job.
    pub(super) job: Option<JobId>,
    pub(super) frame: Frame,
}

impl Entry {
    pub(super) fn of(event: &Event) -> Self {
        Self { id: event.id, job: event.event.change.job(), frame: Frame::of(event) }
    }

    /// Whether a stream about `job`, or about all, shows it.
    pub(super) fn is_for(&self, job: Option<JobId>) -> bool {
        job.is_none() || self.job == job
    }
}

/// What a stream says about itself. It has no ID, so the client's position stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    Connection,
    Heartbeat,
    /// The client has missed something and must read the current state anew.
    Resync,
}

impl Notice {
    pub(super) fn bytes(self, format: Format) -> Bytes {
        let (named, name_len) = match self {
            Self::Connection => notice!("connection"),
            Self::Heartbeat => notice!("heartbeat"),
            Self::Resync => notice!("resync"),
        };
        let frame = Frame { named: Bytes::from_static(named.as_bytes()), name_len };
        frame.bytes(format)
    }
}

macro_rules! notice {
    ($kind:literal) => {
        (
            concat!("event: ", $kind, "\ndata: {\"type\":\"", $kind, "\"}\n\n"),
            concat!("event: ", $kind, "\n").len(),
        )
    };
}
use notice;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_has_its_name_only_where_names_are_asked_for() {
        let message = Notice::Resync.bytes(Format::Message);
        assert_eq!(message, "data: {\"type\":\"resync\"}\n\n");
        let named = Notice::Heartbeat.bytes(Format::Named);
        assert_eq!(named, "event: heartbeat\ndata: {\"type\":\"heartbeat\"}\n\n");
    }
}
