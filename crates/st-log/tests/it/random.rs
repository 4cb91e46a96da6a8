//! Random values: every line is valid JSON with exactly these values, also for other parsers.

mod readers;

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Serialize;
use serde_json::Value as Json;
use st_log::{ContextGuard, CorrelationId, LogContext, Redaction, Settings, Value};

use crate::capture::text_of;
use crate::strict::{self, Judge};

const LOG: st_log::Logger = st_log::get_logger("simpletuner.cloud.test");
const KEYS: [&str; 11] =
    ["a", "job_id", "level", "message", "", "a\"b", "new\nline", "\u{1b}", "é\\", "\u{8}", "b"];

/// A value, and the JSON that a parser has to return for it.
#[derive(Debug, Clone)]
struct Sample {
    given: Value<'static>,
    read: Json,
}

/// The contents of one random line.
#[derive(Debug, Clone)]
struct Said {
    contexts: Vec<Vec<(String, Sample)>>,
    event: Vec<Sample>,
    bytes: Vec<u8>,
    message: String,
    id: Option<String>,
}

#[derive(Debug, Serialize)]
enum Nested {
    Unit,
    Newtype(f32),
    Tuple(u64, i128),
    Struct { text: String, inner: Option<Box<Self>>, map: BTreeMap<i16, char> },
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[\\x00-\\x7f]{0,20}",
        "[\u{80}-\u{2fff}]{0,9}",
        "[\"\\\\\u{7f}\u{85}\u{2028}\u{202e}\u{1f600}\u{feff}\u{fffd}]{0,9}",
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(&KEYS[..]).prop_map(String::from),
        // Few enough to collide.
        "[a-c]{1,2}",
        text(),
    ]
}

/// The value as parsed by a reader with 64-bit integers and `f64` floats.
fn number(text: &str) -> Json {
    strict::read(text).unwrap()
}

/// The value as written by another serializer, which may choose another text of the same length.
fn float(it: impl Serialize) -> Json {
    number(&serde_json::to_string(&it).unwrap())
}

fn plain() -> impl Strategy<Value = Sample> {
    let sample = |given, read| Sample { given, read };
    let f64s = prop_oneof![
        any::<f64>(),
        prop::sample::select(&[f64::NAN, f64::NEG_INFINITY, -0.0, 1e300, 5e-324, 0.1, 1.0][..])
    ];
    let f32s = prop_oneof![
        any::<f32>(),
        prop::sample::select(&[f32::NAN, f32::INFINITY, -0.0, 0.1, f32::MAX, 1e-45][..])
    ];
    let i128s = prop_oneof![any::<i128>(), Just(i128::MIN), Just(i128::MAX), Just(-1)];
    let u64s = prop_oneof![any::<u64>(), Just(u64::MAX), Just(1 << 53)];
    prop_oneof![
        Just(sample(Value::Null, Json::Null)),
        any::<bool>().prop_map(move |it| sample(Value::Bool(it), it.into())),
        any::<i64>().prop_map(move |it| sample(Value::I64(it), it.into())),
        u64s.prop_map(move |it| sample(Value::U64(it), it.into())),
        i128s.prop_map(move |it| sample(Value::I128(it), number(&it.to_string()))),
        any::<u128>().prop_map(move |it| sample(Value::U128(it), number(&it.to_string()))),
        f64s.prop_map(move |it| sample(Value::F64(it), float(it))),
        f32s.prop_map(move |it| sample(Value::F32(it), float(it))),
        text().prop_map(move |it| sample(Value::String(it.clone().into()), it.into())),
    ]
}

fn nested() -> impl Strategy<Value = Sample> {
    let leaf = plain().prop_map(|it| it.read);
    let tree = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map(key(), inner, 0..4)
                .prop_map(|it| Json::Object(it.into_iter().collect())),
        ]
    });
    let value = tree.prop_map(|it| Sample { given: Value::Json(st_log::json(&it)), read: it });
    prop_oneof![value, of_types()]
}

/// Types that are serialized with serde.
fn of_types() -> impl Strategy<Value = Sample> {
    (text(), any::<f32>(), any::<u64>(), any::<i128>(), 0..4).prop_map(|(text, f, u, i, kind)| {
        let map = BTreeMap::from([(-1, '\u{85}'), (2, '"')]);
        let simple = if f.is_sign_positive() { Nested::Newtype(f) } else { Nested::Unit };
        let nested = match kind {
            0 => Nested::Unit,
            1 => Nested::Newtype(f),
            2 => Nested::Tuple(u, i),
            _ => Nested::Struct { text, inner: Some(Box::new(simple)), map },
        };
        // Another serializer, with its own parser.
        let read = number(&serde_json::to_string(&nested).unwrap());
        Sample { given: Value::Json(st_log::json(&nested)), read }
    })
}

fn said() -> impl Strategy<Value = Said> {
    let sample = || prop_oneof![3 => plain(), 1 => nested()];
    let context = prop::collection::vec((key(), sample()), 0..6);
    let id = prop::option::of("[A-Za-z0-9._+/=:-]{1,128}");
    (
        prop::collection::vec(context, 0..=4),
        prop::collection::vec(sample(), 0..=4),
        prop::collection::vec(any::<u8>(), 0..12),
        text(),
        id,
    )
        .prop_map(|(contexts, event, bytes, message, id)| Said {
            contexts,
            event,
            bytes,
            message,
            id,
        })
}

fn settings() -> Settings {
    // Random keys could denote secrets, and nothing is to be truncated here.
    Settings { redaction: Redaction::none(), max_record_bytes: usize::MAX, ..Settings::default() }
}

impl Said {
    fn say(&self) {
        let _guards: Vec<ContextGuard> = self
            .contexts
            .iter()
            .map(|fields| {
                let add = |to: LogContext, (key, it): &(String, Sample)| to.field(key, &it.given);
                fields.iter().fold(LogContext::new(), add).enter()
            })
            .collect();
        let bytes = self.bytes.as_slice();
        match self.event.as_slice() {
            [] => st_log::info!(logger: LOG, "{}", self.message),
            [a] => st_log::info!(logger: LOG, a = a.given, message = self.message.as_str()),
            [a, b] => st_log::info!(
                logger: LOG, a = a.given, "new\nline" = b.given, job_id = bytes, "{}", self.message
            ),
            [a, b, c, ..] => st_log::info!(
                logger: LOG, b = a.given, a = b.given, c = %self.message, b = c.given,
                "{}", self.message
            ),
        }
    }

    fn line(&self) -> String {
        text_of(&settings(), || match &self.id {
            Some(id) => st_log::with_correlation_id(id.parse().unwrap(), || self.say()),
            None => self.say(),
        })
    }

    /// The expected `extra`: inner fields replace outer ones, and fields of the event replace both.
    fn fields(&self) -> BTreeMap<String, Json> {
        let contexts = self.contexts.iter().flatten();
        let mut all: BTreeMap<String, Json> =
            contexts.map(|(key, it)| (key.clone(), it.read.clone())).collect();
        let mut put = |key: &str, value: Json| drop(all.insert(key.to_owned(), value));
        match self.event.as_slice() {
            [] => {}
            [a] => put("a", a.read.clone()),
            [a, b] => {
                put("a", a.read.clone());
                put("new\nline", b.read.clone());
                put("job_id", String::from_utf8_lossy(&self.bytes).into());
            }
            [_, b, c, ..] => {
                put("a", b.read.clone());
                put("b", c.read.clone());
                put("c", self.message.as_str().into());
            }
        }
        all
    }
}

fn judge() -> &'static Judge {
    static JUDGE: std::sync::LazyLock<Judge> = std::sync::LazyLock::new(Judge::new);
    &JUDGE
}

proptest! {
    #[test]
    fn a_line_says_exactly_what_was_given(said in said()) {
        let line = said.line();
        prop_assert!(line.ends_with('\n'));
        prop_assert_eq!(strict::unsafe_character(&line), None, "{:?}", line);
        let record = strict::read(&line).unwrap();
        prop_assert_eq!(judge().fault(&record), None);
        prop_assert_eq!(&record["message"], &said.message);
        if let Some(id) = &said.id {
            prop_assert_eq!(&record["correlation_id"], id);
        }
        let expected = said.fields();
        let extra = record.get("extra").cloned().unwrap_or_default();
        let found: BTreeMap<String, Json> =
            extra.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
        prop_assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        // Compared as text, in which -0.0 differs from 0.0, and 1.0 from 1.
        for (key, value) in &expected {
            prop_assert_eq!(found[key].to_string(), value.to_string(), "{:?}", key);
        }
    }

    #[test]
    fn whole_numbers_keep_all_their_digits(it in any::<i128>(), other in any::<u128>()) {
        let line = text_of(&settings(), || {
            let _context = LogContext::new().field("context", it).enter();
            st_log::info!(logger: LOG, it, other, nested = st_log::json(&[other]), "x");
        });
        let expected =
            format!("{{\"context\": {it}, \"it\": {it}, \"other\": {other}, \"nested\": [{other}]}}}}\n");
        prop_assert!(line.ends_with(&expected), "{}", line);
    }

    #[test]
    fn a_correlation_id_is_any_text_of_its_characters(text in any::<String>()) {
        let legal = (1..=128).contains(&text.len())
            && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"._-+/=:".contains(&it));
        prop_assert_eq!(text.parse::<CorrelationId>().is_ok(), legal);
    }
}
