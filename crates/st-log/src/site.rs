//! What every event of one place in the code has in common, written down once.
//!
//! Level, logger, file, line, keys: an event copies them instead of escaping them again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use tracing::Metadata;
use tracing::field::Field;

use crate::escape::Style;
use crate::json::push_str;
use crate::level::Level;
use crate::logger::DYNAMIC;
use crate::members::bit;
use crate::redact::Redaction;
use crate::{carry, draft, escape, json};

/// The field in which this crate's macros hand over the function's path. It is the name that
/// OpenTelemetry has for it, for subscribers that show all fields.
const FUNCTION: &str = "code.function.name";
/// The field of a logger whose name is known only at run time.
pub(crate) const LOGGER: &str = "log.logger";

/// A place that logs.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) level: Level,
    /// The logger, with dots.
    pub(crate) logger: String,
    /// What stands between the time and the message, as JSON.
    pub(crate) head: Vec<u8>,
    pub(crate) source: Source,
    pub(crate) is_dynamic: bool,
    /// By the index of the field.
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

impl Site {
    fn new(metadata: &Metadata<'_>, redaction: &Redaction) -> Self {
        let field = |field: Field| FieldInfo::new(field.name(), redaction);
        let (level, logger) = (Level::of(metadata), dotted(metadata.target()).into_owned());
        let mut head = Vec::new();
        draft::push_head(&mut head, level, &logger);
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

    /// The key as it stands in the record, without quotes.
    pub(crate) fn escaped_key(&self) -> &[u8] {
        self.prefix.get(1..self.prefix.len() - 3).unwrap_or_default()
    }
}

/// Where events come from.
#[derive(Debug)]
pub(crate) struct Source {
    /// `{"file": "jobs.rs", "line": 350, "function": "`
    start: Vec<u8>,
    /// The path of the function that was seen first, and what stands in the record for it. One
    /// place in the code has one function, unless the field comes from somebody else.
    first: OnceLock<(String, Vec<u8>)>,
}

impl Source {
    /// `path` may be a whole path; only the file's name is told.
    pub(crate) fn new(path: Option<&str>, line: Option<u32>) -> Self {
        let file = path.and_then(|it| it.rsplit(['/', '\\']).next()).unwrap_or("unknown");
        let mut start = b"{\"file\": ".to_vec();
        push_str(&mut start, draft::name(file));
        start.extend_from_slice(b", \"line\": ");
        json::push_int(&mut start, line.unwrap_or(0));
        start.extend_from_slice(b", \"function\": \"");
        Self { start, first: OnceLock::new() }
    }

    /// Appends it for a function that our macros tell of.
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

    /// Appends it for the function of this name.
    pub(crate) fn push(&self, out: &mut Vec<u8>, function: &str) {
        out.extend_from_slice(&self.start);
        escape::push(out, draft::name(function), Style::Json);
        out.extend_from_slice(b"\"}");
    }
}

/// All sites that were seen so far, by the address of their metadata, which never moves.
#[derive(Debug, Default)]
pub(crate) struct Sites(RwLock<HashMap<usize, Arc<Site>>>);

impl Sites {
    fn get(&self, metadata: &'static Metadata<'static>, redaction: &Redaction) -> Arc<Site> {
        let key = address(metadata);
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        known.unwrap_or_else(|| {
            let mut sites = self.0.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(sites.entry(key).or_insert_with(|| Arc::new(Site::new(metadata, redaction))))
        })
    }
}

/// The sites that one thread used last, so that the threads do not meet at the lock.
#[derive(Debug)]
pub(crate) struct Recent(Vec<Option<Entry>>);

#[derive(Debug)]
struct Entry {
    address: usize,
    redaction: u32,
    site: Arc<Site>,
}

impl Recent {
    const PLACES: usize = 64;

    pub(crate) fn new() -> Self {
        Self((0..Self::PLACES).map(|_| None).collect())
    }

    pub(crate) fn get<'a>(
        &'a mut self,
        metadata: &'static Metadata<'static>,
        sites: &Sites,
        redaction: &Redaction,
        fallback: &'a mut Option<Arc<Site>>,
    ) -> &'a Site {
        let address = address(metadata);
        // The lowest bits are the same for all, by alignment.
        let place = (address >> 4 ^ address >> 11) % Self::PLACES;
        let Some(place) = self.0.get_mut(place) else {
            return fallback.insert(sites.get(metadata, redaction));
        };
        let is_here = |it: &Entry| it.address == address && it.redaction == redaction.id();
        if !place.as_ref().is_some_and(is_here) {
            let site = sites.get(metadata, redaction);
            *place = Some(Entry { address, redaction: redaction.id(), site });
        }
        match place {
            Some(entry) => &entry.site,
            None => fallback.insert(sites.get(metadata, redaction)),
        }
    }
}

fn address(metadata: &'static Metadata<'static>) -> usize {
    std::ptr::from_ref(metadata).addr()
}

/// The dotted name of a logger that may be given as a Rust path.
pub(crate) fn dotted(target: &str) -> Cow<'_, str> {
    if target.contains("::") { target.replace("::", ".").into() } else { target.into() }
}
