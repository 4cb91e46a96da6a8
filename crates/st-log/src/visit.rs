//! Visitors that read the fields of an event.

use std::error::Error;
use std::fmt;

use tracing::field::{Field, Visit};

use crate::callsite::{Callsite, Role};
use crate::carry::Carried;
use crate::chain::Chain;
use crate::json::{push_float, push_int, push_str};
use crate::record::{RecordBuilder, push_quoted};

/// Adds each field of an event to the record, according to its role.
#[derive(Debug)]
pub(crate) struct Visitor<'a, 'b> {
    pub(crate) record: &'a mut RecordBuilder<'b>,
    pub(crate) callsite: &'a Callsite,
}

impl Visitor<'_, '_> {
    fn role(&self, field: &Field) -> Role {
        self.callsite.field(field).map_or(Role::Plain, |it| it.role)
    }

    /// The buffer for the value of this field; None if it is a secret.
    fn field(&mut self, field: &Field) -> Option<&mut Vec<u8>> {
        self.record.field(self.callsite.field(field)?)
    }

    fn put(&mut self, field: &Field, push: impl FnOnce(&mut Vec<u8>)) {
        if let Some(out) = self.field(field) {
            push(out);
        }
    }
}

impl Visit for Visitor<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match self.role(field) {
            Role::Message => self.record.message_of(format_args!("{value:?}")),
            Role::Plain | Role::Function | Role::Logger => {
                self.put(field, |out| push_quoted(out, format_args!("{value:?}")));
            }
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match self.role(field) {
            Role::Message => self.record.message(value),
            Role::Function => self.record.source_path(&self.callsite.source, value),
            Role::Logger if self.callsite.is_dynamic => {}
            Role::Logger | Role::Plain => self.put(field, |out| push_str(out, value)),
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let is_secret = self.callsite.field(field).is_some_and(|it| it.is_secret);
        if let Some(carried) = value.downcast_ref::<Carried>() {
            let redaction = self.record.redaction();
            self.put(field, |out| carried.push_redacted(out, redaction));
        } else if is_secret || !self.record.exception(value) {
            self.put(field, |out| push_quoted(out, format_args!("{}", Chain(value))));
        }
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.put(field, |out| push_str(out, &String::from_utf8_lossy(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        let text: &[u8] = if value { b"true" } else { b"false" };
        self.put(field, |out| out.extend_from_slice(text));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, |out| push_int(out, value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, |out| push_int(out, value));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.put(field, |out| push_int(out, value));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.put(field, |out| push_int(out, value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, |out| push_float(out, value));
    }
}

/// Reads the logger's name from an event with a dynamic logger.
#[derive(Debug, Default)]
pub(crate) struct LoggerName(pub(crate) String);

impl Visit for LoggerName {
    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == crate::callsite::LOGGER {
            value.clone_into(&mut self.0);
        }
    }
}
