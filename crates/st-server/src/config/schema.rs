//! The JSON Schema of the file.
//!
//! It takes whatever is read. Beside what the readers say of themselves, that is: null where a value may
//! be missing, and a text with `${NAME}` where the setting decides what the text is.

use serde_json::{Map, Value, json};

use super::show::shape;
use super::table::{COMMAS, TABLE};
use st_api::input::ANY_NAME;

/// A text with the name of a variable in it.
const REFERENCE: &str = r"\$\{";

/// The JSON Schema (draft 2020-12) of the file.
pub fn schema() -> Value {
    let describe = |path: &str| {
        let setting = TABLE.iter().find(|setting| setting.path == path)?;
        Some(format!("{}. Default: {}.", setting.meaning, setting.default))
    };
    let mut schema = optional(as_read("", shape().schema(&describe)));
    if let Value::Object(members) = &mut schema {
        let draft = json!("https://json-schema.org/draft/2020-12/schema");
        members.insert("$schema".to_owned(), draft);
        members.insert("title".to_owned(), "simpletuner-enterprise.yaml".into());
    }
    schema
}

/// The schema of the value with this path, which takes all forms in which it is read.
fn as_read(path: &str, mut schema: Value) -> Value {
    let below =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let required: Vec<Value> =
        schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    if let Some(Value::Object(members)) = schema.get_mut("properties") {
        for (name, member) in members.iter_mut() {
            let read = as_read(&below(name), member.take());
            let is_required = required.iter().any(|it| it == name);
            *member = if is_required { read } else { optional(read) };
        }
    }
    if let Some(others) = schema.get_mut("additionalProperties").filter(|it| it.is_object()) {
        *others = optional(as_read(&below(ANY_NAME), others.take()));
    }
    if let Some(items) = schema.get_mut("items") {
        *items = as_read("", items.take());
    }
    let is_one_of_words = schema.get("enum").is_some();
    match schema.get("type").and_then(Value::as_str) {
        Some("integer" | "number" | "boolean") => or(schema, reference()),
        Some("string") if is_one_of_words => or(schema, reference()),
        Some("array") if COMMAS.contains(&path) => or(schema, json!({"type": "string"})),
        Some(_) | None => schema,
    }
}

fn reference() -> Value {
    json!({"type": "string", "pattern": REFERENCE})
}

fn optional(schema: Value) -> Value {
    or(schema, json!({"type": "null"}))
}

/// Either, with the description where editors look for it. What takes anything stays as it is.
fn or(mut schema: Value, other: Value) -> Value {
    let Some(members) = schema.as_object_mut().filter(|members| !members.is_empty()) else {
        return schema;
    };
    let description = members.remove("description");
    let mut either = Map::new();
    match members.remove("anyOf") {
        Some(Value::Array(mut forms)) => {
            forms.push(other);
            either.insert("anyOf".to_owned(), forms.into());
        }
        Some(_) | None if members.is_empty() => {}
        Some(_) | None => {
            either.insert("anyOf".to_owned(), json!([members, other]));
        }
    }
    either.extend(description.map(|text| ("description".to_owned(), text)));
    either.into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::file::Text;
    use super::super::sources::Sources;
    use super::super::{Config, Flags};
    use super::*;

    fn environment() -> BTreeMap<String, String> {
        let variables = [("HOME", "/home/nobody"), ("P", "9"), ("T", "no"), ("W", "aborted")];
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    fn is_read(yaml: &str) -> bool {
        let file = Text { path: "x.yaml".into(), text: yaml.to_owned() };
        let (environment, mut faults) = (environment(), Vec::new());
        let sources = Sources::of(Some(file), &environment, &Flags::default(), &mut faults);
        Config::of(&sources, &environment, faults).is_ok()
    }

    /// Whether each is taken by the schema.
    fn taken<'t>(texts: &[&'t str]) -> Vec<(&'t str, bool)> {
        let mut schemas = boon::Schemas::new();
        let mut compiler = boon::Compiler::new();
        compiler.add_resource("settings.json", schema()).unwrap();
        let schema = compiler.compile("settings.json", &mut schemas).unwrap();
        let takes = |text: &str| {
            let value: Value = serde_yaml::from_str(text).unwrap();
            schemas.validate(&value, schema).is_ok()
        };
        texts.iter().map(|text| (*text, takes(text))).collect()
    }

    #[test]
    fn what_is_read_is_taken() {
        let mut good = vec![
            "",
            "{}",
            "server: {port: 1, host: '::1'}",
            "server: {port: '${P}', hosts: a.example, trusted_proxies: '10.0.0.0/8, ::1'}",
            "server: {port: null, hosts: null, tls: null, state_dir: '${HOME}/state'}",
            "server:\nlogging:\nbackground:\nhttp:\noutputs:\nwebhooks:\nproviders:\n",
            "background: {queue_processing: , job_status_polling: {enabled: '${T}'}}",
            "http: {ssl_verify: '${T}', timeout_seconds: '${P}', no_proxy: }",
            "logging: {redact: ['${P}'], trace_context: '${T}', level: }",
            "outputs: {max_bytes: 1, download: true}",
            "outputs: {max_bytes: '${P}GiB', allowed_networks: ['${P}.0.0.0/8']}",
            "providers: {local: , replicate: }",
            "providers: {replicate: {prices: {l40s: 0.5, h100: '${P}', h100-x2: }, retry_on: ['${W}']}}",
            "providers: {replicate: {calls_per_minute: {others: '${P}'}, prices: , retry_on: }}",
            "providers: {local: {commands: {train: {program: /bin/x, args: [a], devices: 0}}}}",
            "providers: {local: {devices: ['0', 1], pass_env: [HF_TOKEN, NCCL_*]}}",
            "providers: {local: {commands: {a: , b: {program: /bin/x, env: {A: '${P}', B: }}}}}",
            "providers: {local: {devices: [0, 1], commands: {a: {program: /x, devices: 2}}}}",
        ];
        let document = include_str!("../../../../docs/configuration.md");
        let fenced = document.split("```yaml\n").skip(1).filter_map(|it| it.split("```").next());
        good.extend(fenced);
        let document = include_str!("../../../../docs/operation.md");
        let indented = |block: &&str| block.lines().all(|line| line.starts_with("    "));
        let examples: Vec<&str> = document.split("\n\n").filter(indented).collect();
        let before = good.len();
        good.extend(examples.into_iter().filter(|example| is_read(example)));
        assert!(good.len() > before, "there are examples");
        for (text, is_taken) in taken(&good) {
            assert!(is_read(text), "{text}");
            assert!(is_taken, "{text}");
        }
    }

    #[test]
    fn what_is_not_read_is_not_taken() {
        for (text, is_taken) in taken(&[
            "server: {port: 0}",
            "server: {port: '1'}",
            "server: {prot: 1}",
            "server: {hosts: 1}",
            "outputs: {allowed_networks: 10.0.0.0/8}",
            "providers: {local: {commands: {train: {args: [a]}}}}",
            "providers: {local: {commands: {train: {program: }}}}",
            "providers: {replicate: {retry_on: [failed]}}",
            "background: {job_status_polling: {enabled: perhaps}}",
        ]) {
            assert!(!is_read(text), "{text}");
            assert!(!is_taken, "{text}");
        }
        assert_eq!(
            taken(&["providers: {mine: {kind: http}}"]),
            [("providers: {mine: {kind: http}}", true)]
        );
    }

    #[test]
    fn a_description_is_where_editors_look_for_it() {
        let port = schema();
        let port = port.pointer("/anyOf/0/properties/server/anyOf/0/properties/port").unwrap();
        assert_eq!(port["description"], "the port to listen on. Default: 8001.");
        assert_eq!(port["anyOf"][0]["maximum"], 65_535);
    }
}
