//! W3C Trace Context: propagates the trace and span IDs of a caller.
//!
//! This crate creates no spans. It stores what the caller sent, adds it to records if configured,
//! and gives HTTP clients access to it, so that they can forward it unchanged.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::HeaderName;

use crate::scope::{Scope, local};

/// The HTTP header `traceparent`, which carries the trace and span IDs.
pub const TRACEPARENT_HEADER: HeaderName = HeaderName::from_static("traceparent");
/// The HTTP header `tracestate`, which carries vendor-specific data.
pub const TRACESTATE_HEADER: HeaderName = HeaderName::from_static("tracestate");

/// The length in bytes up to which the standard asks for a `tracestate` to be forwarded.
const MAX_STATE_LEN: usize = 512;

/// The `traceparent` of a request, and its `tracestate` if it has one. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext(Arc<Inner>);

#[derive(Debug, PartialEq, Eq)]
struct Inner {
    parent: String,
    state: Option<String>,
}

/// The error for a text that is not a valid `traceparent`. It does not contain the text, which may
/// be hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a traceparent: legal is 00-<trace ID>-<span ID>-<flags> in 32, 16 and 2 lower-case \
     hexadecimal digits, with IDs that are not all zero"
)]
#[non_exhaustive]
pub struct InvalidTraceParent;

impl TraceContext {
    /// Parses a `traceparent`. Of versions above 00, only the part that version 00 defines is kept.
    pub fn parse(traceparent: &str) -> Result<Self, InvalidTraceParent> {
        let known = traceparent.get(..55).ok_or(InvalidTraceParent)?;
        let parts: Vec<&str> = known.split('-').collect();
        let [version, trace_id, span_id, flags] = parts[..] else { return Err(InvalidTraceParent) };
        let lengths = [version.len(), trace_id.len(), span_id.len(), flags.len()];
        let legal = lengths == [2, 32, 16, 2]
            && parts.iter().all(|it| it.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f')))
            && version != "ff"
            && [trace_id, span_id].iter().all(|it| it.bytes().any(|it| it != b'0'));
        let rest = traceparent.get(55..).unwrap_or_default();
        let ends_well = rest.is_empty() || (version != "00" && rest.starts_with('-'));
        if !legal || !ends_well {
            return Err(InvalidTraceParent);
        }
        // Additions of later versions are not understood, so they are not forwarded either.
        let parent = format!("00-{trace_id}-{span_id}-{flags}");
        Ok(Self(Arc::new(Inner { parent, state: None })))
    }

    /// Sets the `tracestate`; it is left out if it is empty, longer than 512 bytes or not printable
    /// ASCII.
    #[must_use]
    pub fn with_state(self, tracestate: &str) -> Self {
        let fit = (1..=MAX_STATE_LEN).contains(&tracestate.len())
            && tracestate.bytes().all(|it| matches!(it, b' '..=b'~'));
        let state = fit.then(|| tracestate.to_owned());
        Self(Arc::new(Inner { parent: self.0.parent.clone(), state }))
    }

    /// The value of the header `traceparent`.
    pub fn traceparent(&self) -> &str {
        &self.0.parent
    }

    /// The value of the header `tracestate`, if there is one.
    pub fn tracestate(&self) -> Option<&str> {
        self.0.state.as_deref()
    }

    /// The trace ID: 32 lower-case hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        self.0.parent.get(3..35).unwrap_or_default()
    }

    /// The span ID of the caller: 16 lower-case hexadecimal digits.
    pub fn span_id(&self) -> &str {
        self.0.parent.get(36..52).unwrap_or_default()
    }
}

impl FromStr for TraceContext {
    type Err = InvalidTraceParent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.traceparent())
    }
}

/// Returns the trace context of the current scope, if it has one.
pub fn current_trace_context() -> Option<TraceContext> {
    local::read(|active| active.trace.clone()).flatten()
}

/// Runs `work` with a trace context; for a future, use [`InScope`](crate::InScope).
pub fn with_trace_context<R>(trace: TraceContext, work: impl FnOnce() -> R) -> R {
    Scope::capture().with_trace_context(trace).in_scope(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_kept() {
        let trace = TraceContext::parse(SAMPLE).unwrap();
        assert_eq!(trace.traceparent(), SAMPLE);
        assert_eq!(trace.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(trace.span_id(), "00f067aa0ba902b7");
        let newer = SAMPLE.replacen("00", "cc", 1) + "-what the future brings";
        assert_eq!(TraceContext::parse(&newer).unwrap(), trace);
    }

    #[test]
    fn what_is_no_traceparent_is_refused() {
        let (zero_trace, zero_span) = ("0".repeat(32), "0".repeat(16));
        for text in [
            String::new(),
            SAMPLE.to_uppercase(),
            SAMPLE.replacen("00", "ff", 1),
            format!("{SAMPLE}-extra"),
            format!("{SAMPLE}0"),
            SAMPLE.replacen("00", "cc", 1) + "x",
            SAMPLE.trim_end_matches('1').to_owned(),
            format!("00-{zero_trace}-00f067aa0ba902b7-01"),
            format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{zero_span}-01"),
            SAMPLE.replace('f', "é"),
            SAMPLE.replacen('-', "0", 1),
        ] {
            assert_eq!(TraceContext::parse(&text), Err(InvalidTraceParent), "{text}");
        }
    }

    #[test]
    fn a_state_that_cannot_be_sent_on_is_left_out() {
        let with = |state: &str| {
            let trace = TraceContext::parse(SAMPLE).unwrap().with_state(state);
            trace.tracestate().map(str::to_owned)
        };
        assert_eq!(with("a=1,b=2").as_deref(), Some("a=1,b=2"));
        for state in ["", "a=1\r\nX: y", "é", &"x".repeat(513)] {
            assert_eq!(with(state), None);
        }
    }
}
