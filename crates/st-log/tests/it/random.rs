//! Whatever is logged, a line is JSON without a repeated key.

use std::collections::BTreeSet;

use proptest::prelude::*;
use st_log::{LogContext, Settings, Value};

use crate::capture::text_of;

const KEYS: [&str; 9] =
    ["a", "job_id", "level", "message", "", "a\"b", "new\nline", "\u{1b}", "é\\"];

fn value() -> impl Strategy<Value = Value<'static>> {
    let text = prop_oneof![any::<String>(), "[\\x00-\\x7f]{0,20}", "[\u{80}-\u{2fff}]{0,9}"];
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::I64),
        any::<u128>().prop_map(Value::U128),
        any::<f64>().prop_map(Value::F64),
        any::<f32>().prop_map(Value::F32),
        text.clone().prop_map(|it| Value::String(it.into())),
        prop::collection::btree_map(text.clone(), text, 0..4)
            .prop_map(|it| Value::Json(st_log::json(&serde_json::json!({ "nested": [it] })))),
    ]
}

fn context() -> impl Strategy<Value = Vec<(&'static str, Value<'static>)>> {
    prop::collection::vec((prop::sample::select(&KEYS[..]), value()), 0..6)
}

fn entered(fields: Vec<(&'static str, Value<'static>)>) -> LogContext {
    fields.into_iter().fold(LogContext::new(), |context, (key, value)| context.field(key, value))
}

/// The keys of every object of a JSON text that has some of them twice, as written.
fn repeated_keys(json: &str) -> Vec<String> {
    let mut objects: Vec<BTreeSet<String>> = Vec::new();
    let mut repeated = Vec::new();
    let mut rest = json.chars().peekable();
    while let Some(it) = rest.next() {
        match it {
            '{' => objects.push(BTreeSet::new()),
            '}' => drop(objects.pop()),
            '"' => {
                let mut text = String::new();
                while let Some(it) = rest.next().filter(|it| *it != '"') {
                    text.push(it);
                    text.extend((it == '\\').then(|| rest.next()).flatten());
                }
                if rest.peek() == Some(&':') && !objects.last_mut().unwrap().insert(text.clone()) {
                    repeated.push(text);
                }
            }
            _ => {}
        }
    }
    repeated
}

proptest! {
    #[test]
    fn every_line_is_json_without_a_repeated_key(
        outer in context(), inner in context(), message in any::<String>(), job_id in any::<String>()
    ) {
        let mut keys: BTreeSet<&str> = BTreeSet::from(["job_id"]);
        keys.extend(outer.iter().chain(&inner).map(|(key, _)| *key));
        let line = text_of(&Settings::default(), || {
            let _outer = entered(outer).enter();
            let _inner = entered(inner).enter();
            st_log::info!(job_id = job_id.as_str(), "{message}");
        });
        prop_assert_eq!(line.matches('\n').count(), 1);
        prop_assert!(!line.trim_end().contains(|it: char| it.is_control()));
        prop_assert_eq!(repeated_keys(&line), Vec::<String>::new());
        let record: serde_json::Value = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(&record["message"], &message);
        prop_assert_eq!(&record["extra"]["job_id"], &job_id);
        let found: BTreeSet<&str> =
            record["extra"].as_object().unwrap().keys().map(String::as_str).collect();
        prop_assert_eq!(found, keys);
    }
}

#[test]
fn the_check_for_repeated_keys_sees_one() {
    assert_eq!(repeated_keys(r#"{"a": {"b": 1, "b\"": [{"b": "a"}]}, "c": 1, "a": 2}"#), ["a"]);
}
