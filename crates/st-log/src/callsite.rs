//! Cached, pre-encoded metadata of a callsite.
//!
//! An event copies its level, logger, file, line and keys instead of escaping them again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use tracing::Metadata;
use tracing::field::Field;

use crate::escape::Style;
use crate::json::push_str;
use crate::json_members::bit;
use crate::level::Level;
use crate::logger::DYNAMIC;
use crate::redact::Redaction;
use crate::{carry, escape, json, record};

/// The field in which this crate's macros pass the function's path. It is OpenTelemetry's name for
/// it, because other subscribers show it.
const FUNCTION: &str = "code.function.name";
/// The field for the name of a dynamic logger, which is known only at run time.
pub(crate) const LOGGER: &str = "log.logger";

/// The metadata of one callsite, encoded for one redaction.
#[derive(Debug)]
pub(crate) struct Callsite {
    pub(crate) level: Level,
    /// The logger's dotted name.
    pub(crate) logger: String,
    /// The JSON between the timestamp and the message.
    pub(crate) head: Vec<u8>,
    pub(crate) source: Source,
    pub(crate) is_dynamic: bool,
    /// Indexed like the fields of the metadata.
    fields: Vec<FieldInfo>,
}

#[derive(Debug)]
pub(crate) struct FieldInfo {
    pub(crate) role: Role,
    /// `"key": `
    pub(crate) prefix: Vec<u8>,
    pub(crate) bit: u64,
    pub(crate) is_secret: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Message,
    Function,
    Logger,
    Plain,
}

impl Callsite {
    fn new(metadata: &Metadata<'_>, redaction: &Redaction) -> Self {
        let field = |field: Field| FieldInfo::new(field.name(), redaction);
        let (level, logger) = (Level::of(metadata), dotted(metadata.target()).into_owned());
        let mut head = Vec::new();
        record::push_head(&mut head, level, &logger);
        Self {
            level,
            logger,
            head,
            source: Source::new(metadata.file(), metadata.line()),
            is_dynamic: metadata.target() == DYNAMIC,
            fields: metadata.fields().iter().map(field).collect(),
        }
    }

    pub(crate) fn field(&self, field: &Field) -> Option<&FieldInfo> {
        self.fields.get(field.index())
    }
}

impl FieldInfo {
    pub(crate) fn new(name: &str, redaction: &Redaction) -> Self {
        let mut prefix = Vec::new();
        push_str(&mut prefix, name);
        let escaped = prefix.get(1..prefix.len() - 1).unwrap_or_default();
        let (bit, is_secret) = (bit(escaped), redaction.covers_escaped(escaped));
        prefix.extend_from_slice(b": ");
        let role = match name {
            "message" => Role::Message,
            FUNCTION => Role::Function,
            LOGGER => Role::Logger,
            _ => Role::Plain,
        };
        Self { role, prefix, bit, is_secret }
    }

    /// The key as JSON, without quotes.
    pub(crate) fn escaped_key(&self) -> &[u8] {
        self.prefix.get(1..self.prefix.len() - 3).unwrap_or_default()
    }
}

/// The `source` of a record.
#[derive(Debug)]
pub(crate) struct Source {
    /// `{"file": "jobs.rs", "line": 350, "function": "`
    start: Vec<u8>,
    /// The function path that was seen first, with the encoded source. A callsite has only one
    /// function, unless other code than this crate's macros sets the field.
    first: OnceLock<(String, Vec<u8>)>,
}

impl Source {
    /// Only the file name of `path` is kept.
    pub(crate) fn new(path: Option<&str>, line: Option<u32>) -> Self {
        let file = path.and_then(|it| it.rsplit(['/', '\\']).next()).unwrap_or("unknown");
        let mut start = b"{\"file\": ".to_vec();
        push_str(&mut start, record::truncate_name(file));
        start.extend_from_slice(b", \"line\": ");
        json::push_int(&mut start, line.unwrap_or(0));
        start.extend_from_slice(b", \"function\": \"");
        Self { start, first: OnceLock::new() }
    }

    /// Appends the source with the function's path from this crate's macros.
    pub(crate) fn push_path(&self, out: &mut Vec<u8>, path: &str) {
        let (known, whole) = self.first.get_or_init(|| {
            let mut whole = Vec::new();
            self.push(&mut whole, carry::function_name(path));
            (path.to_owned(), whole)
        });
        if known == path {
            out.extend_from_slice(whole);
        } else {
            self.push(out, carry::function_name(path));
        }
    }

    /// Appends the source with the function's name.
    pub(crate) fn push(&self, out: &mut Vec<u8>, function: &str) {
        out.extend_from_slice(&self.start);
        escape::push(out, record::truncate_name(function), Style::Json);
        out.extend_from_slice(b"\"}");
    }
}

/// All callsites seen so far, by the address of their metadata, which is static.
#[derive(Debug, Default)]
pub(crate) struct Callsites(RwLock<HashMap<usize, Arc<Callsite>>>);

impl Callsites {
    fn get(&self, metadata: &'static Metadata<'static>, redaction: &Redaction) -> Arc<Callsite> {
        let key = address(metadata);
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        known.unwrap_or_else(|| {
            let mut callsites = self.0.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(
                callsites
                    .entry(key)
                    .or_insert_with(|| Arc::new(Callsite::new(metadata, redaction))),
            )
        })
    }
}

/// A thread-local cache of callsites, so that threads do not contend for the lock of [`Callsites`].
#[derive(Debug)]
pub(crate) struct CallsiteCache(Vec<Option<Entry>>);

#[derive(Debug)]
struct Entry {
    address: usize,
    redaction: u32,
    callsite: Arc<Callsite>,
}

impl CallsiteCache {
    const SLOTS: usize = 64;

    pub(crate) fn new() -> Self {
        Self((0..Self::SLOTS).map(|_| None).collect())
    }

    pub(crate) fn get<'a>(
        &'a mut self,
        metadata: &'static Metadata<'static>,
        callsites: &Callsites,
        redaction: &Redaction,
        fallback: &'a mut Option<Arc<Callsite>>,
    ) -> &'a Callsite {
        let address = address(metadata);
        // The lowest bits are always zero, because of alignment.
        let slot = (address >> 4 ^ address >> 11) % Self::SLOTS;
        let Some(slot) = self.0.get_mut(slot) else {
            return fallback.insert(callsites.get(metadata, redaction));
        };
        let is_match = |it: &Entry| it.address == address && it.redaction == redaction.id();
        if !slot.as_ref().is_some_and(is_match) {
            let callsite = callsites.get(metadata, redaction);
            *slot = Some(Entry { address, redaction: redaction.id(), callsite });
        }
        match slot {
            Some(entry) => &entry.callsite,
            None => fallback.insert(callsites.get(metadata, redaction)),
        }
    }
}

fn address(metadata: &'static Metadata<'static>) -> usize {
    std::ptr::from_ref(metadata).addr()
}

/// Converts a Rust path to the dotted name of a logger.
pub(crate) fn dotted(target: &str) -> Cow<'_, str> {
    if target.contains("::") { target.replace("::", ".").into() } else { target.into() }
}
