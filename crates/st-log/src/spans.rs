//! The fields of `tracing` spans, if the settings include them.
//!
//! They are encoded when the span is created, together with those of its parents, so that an event
//! reads only the innermost span. Fields of scopes and events take precedence over them.

use std::error::Error;
use std::fmt;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Record};
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use crate::carry::Carried;
use crate::chain::Chain;
use crate::json_members::Members;
use crate::record::push_quoted;
use crate::redact::Redaction;
use crate::value::{Json, ToValue, Value};

/// The fields of a span and its parents, stored in its extensions: one redacted copy per redaction,
/// because layers may differ in what is a secret.
#[derive(Debug, Default)]
pub(crate) struct SpanFields(Vec<(u32, Members)>);

impl SpanFields {
    pub(crate) fn create<S: for<'a> LookupSpan<'a>>(
        span: &SpanRef<'_, S>,
        attributes: &Attributes<'_>,
        redaction: &Redaction,
    ) {
        let outer = span.parent().and_then(|parent| Self::of(&parent, redaction));
        let mut visitor = SpanVisitor { members: outer.unwrap_or_default(), redaction };
        attributes.record(&mut visitor);
        Self::put(span, visitor);
    }

    /// Adds fields that are recorded after the span was created. Existing child spans do not see
    /// them.
    pub(crate) fn record<S: for<'a> LookupSpan<'a>>(
        span: &SpanRef<'_, S>,
        values: &Record<'_>,
        redaction: &Redaction,
    ) {
        // Recording values runs code outside this crate, during which no lock may be held.
        let members = Self::of(span, redaction).unwrap_or_default();
        let mut visitor = SpanVisitor { members, redaction };
        values.record(&mut visitor);
        Self::put(span, visitor);
    }

    pub(crate) fn members(&self, redaction: &Redaction) -> Option<&Members> {
        self.0.iter().find(|(id, _)| *id == redaction.id()).map(|(_, members)| members)
    }

    pub(crate) fn of<S: for<'a> LookupSpan<'a>>(
        span: &SpanRef<'_, S>,
        redaction: &Redaction,
    ) -> Option<Members> {
        span.extensions().get::<Self>()?.members(redaction).cloned()
    }

    fn put<S: for<'a> LookupSpan<'a>>(span: &SpanRef<'_, S>, visited: SpanVisitor<'_>) {
        let SpanVisitor { members, redaction } = visited;
        let mut extensions = span.extensions_mut();
        if extensions.get_mut::<Self>().is_none() {
            extensions.insert(Self::default());
        }
        if let Some(Self(all)) = extensions.get_mut::<Self>() {
            all.retain(|(id, _)| *id != redaction.id());
            all.push((redaction.id(), members));
        }
    }
}

struct SpanVisitor<'a> {
    members: Members,
    redaction: &'a Redaction,
}

impl SpanVisitor<'_> {
    fn put(&mut self, field: &Field, value: &Value<'_>) {
        if self.redaction.covers(field.name()) {
            let mut mark = Vec::new();
            Redaction::push_placeholder(&mut mark);
            self.members.put(field.name(), &Value::Json(Json::from_text(mark)));
        } else {
            self.members.put(field.name(), value);
        }
    }

    fn put_printed(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let mut printed = Vec::new();
        push_quoted(&mut printed, value);
        self.put(field, &Value::Json(Json::from_text(printed)));
    }
}

impl Visit for SpanVisitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put_printed(field, format_args!("{value:?}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        match value.downcast_ref::<Carried>() {
            Some(carried) => {
                let mut json = Vec::new();
                carried.push_redacted(&mut json, self.redaction);
                self.put(field, &Value::Json(Json::from_text(json)));
            }
            None => self.put_printed(field, format_args!("{}", Chain(value))),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, &value.to_value());
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.put(field, &value.to_value());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, &value.to_value());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, &value.to_value());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, &value.to_value());
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.put(field, &value.to_value());
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.put(field, &value.to_value());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, &value.to_value());
    }
}
