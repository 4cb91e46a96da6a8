//! Mutated requests: bodies, queries and the headers that identify them.

use http::{HeaderMap, HeaderValue};
use serde_json::Value;
use st_log::{CorrelationId, TraceContext};
use st_testkit::fuzz::{Fuzz, JSON};

use super::jobs::submit::idempotency_key;
use st_api::input::{Fields, parse_json};
use st_api::jobs::SubmitJob;
use st_api::operation::Input;

const BODIES: &[&[u8]] = &[
    br#"{"config": {"command": "example", "steps": 3}, "config_name": "first", "priority": 10}"#,
    br#"{"config_name_to_load": "a/b", "max_attempts": 3, "run_after": "2026-11-25T10:00:00Z"}"#,
    br#"{"config": {"a": 1e5, "b": -0.0}, "estimated_cost": 2.50, "team_id": "t", "org_id": "o",
        "webhook_url": "https://x/y", "dataloader_config": [{"a": null}], "idempotency_key": "k"}"#,
];
const WORDS: &[&str] = &[
    "\"config\"",
    "\"priority\"",
    "\"max_attempts\"",
    "\"run_after\"",
    "\"webhook_url\"",
    "\\u0063onfig",
    "$serde_json::private::Number",
    "$serde_json::private::RawValue",
    "1E5",
    "1.0",
    "123456789012345678901",
];

#[test]
fn bodies() {
    let dictionary: Vec<&str> = JSON.iter().chain(WORDS).copied().collect();
    Fuzz { corpus: BODIES, dictionary: &dictionary }.run(|bytes| {
        let plain: Result<Value, _> = serde_json::from_slice(bytes);
        match (parse_json(bytes), plain) {
            (Ok(strict), Ok(plain)) => {
                assert_eq!(strict, plain);
                // What is stored is read again, and must be the same then.
                let stored = strict.to_string();
                assert_eq!(serde_json::from_str::<Value>(&stored).unwrap(), strict, "{stored}");
                if let Value::Object(given) = strict {
                    drop(SubmitJob::from_fields(Fields::new(given)));
                }
            }
            (Ok(strict), Err(plain)) => panic!("{strict} was read; {plain}"),
            (Err(fault), _) => assert!(!fault.message.is_empty()),
        }
    });
}

#[test]
fn queries() {
    let corpus: &[&[u8]] =
        &[b"limit=50&offset=0", b"status=running&provider=local", b"last_event_id=7&a=%20%C3%A9+b"];
    let words = &["&", "=", "%", "%00", "%ff", "+", "limit", "limit=1", ";", "%25", "é", "[]"];
    Fuzz { corpus, dictionary: words }.run(|bytes| {
        let query = String::from_utf8_lossy(bytes);
        match Fields::from_query(&query) {
            Ok(mut fields) => {
                let limit = fields.integer("limit", 1..=500);
                assert!(limit.is_none_or(|limit| (1..=500).contains(&limit)), "{query}");
                drop(fields.finish());
            }
            Err(faults) => assert!(!faults.is_empty(), "{query}"),
        }
    });
}

#[test]
fn headers() {
    let corpus: &[&[u8]] = &[
        b"abc123def456",
        b"a-b_c.d+e/f=:",
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        b"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-will-be",
        b"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
    ];
    let words =
        &["-", "00", "ff", "0000000000000000", " ", "\t", "\n", "é", "\u{0}", "x", "A", "="];
    Fuzz { corpus, dictionary: words }.run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+/=:".contains(&byte);
        let is_id = (1..=128).contains(&text.len()) && text.bytes().all(legal);
        let id = CorrelationId::parse(&text);
        assert_eq!(id.as_ref().ok().map(CorrelationId::as_str), is_id.then_some(&*text));
        if let Ok(trace) = TraceContext::parse(&text) {
            let parent = trace.traceparent();
            assert_eq!(TraceContext::parse(parent).unwrap().traceparent(), parent);
            let (ours, theirs) = (parent.get(2..), text.get(2..55));
            assert_eq!(ours, theirs, "only the version may differ");
            let with_state = trace.with_state(&text);
            assert!(with_state.tracestate().is_none_or(|it| HeaderValue::from_str(it).is_ok()));
        }
        let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
        let mut headers = HeaderMap::new();
        headers.insert("idempotency-key", value);
        let plain = (1..=200).contains(&bytes.len())
            && bytes.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
        let key = idempotency_key(&headers);
        assert_eq!(key.ok().flatten(), plain.then(|| text.into_owned()));
    });
}
