//! The example files for collectors: they parse, and every field that they name is in a record.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Map, Value, json};

use super::{DOCUMENTED, Run, docs, full_record, read};

fn yaml(name: &str) -> Value {
    serde_yaml::from_str(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn json_file(name: &str) -> Value {
    serde_json::from_str(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The value at a dotted path.
fn at<'a>(record: &'a Value, path: &str) -> Option<&'a Value> {
    record.pointer(&format!("/{}", path.replace('.', "/")))
}

fn take(record: &mut Value, path: &str) -> Option<Value> {
    let (parent, key) = path.rsplit_once('.').unwrap_or(("", path));
    let parent = if parent.is_empty() { "" } else { &format!("/{}", parent.replace('.', "/")) };
    record.pointer_mut(parent)?.as_object_mut()?.remove(key)
}

fn put(record: &mut Value, path: &str, value: Value) {
    let mut place = record;
    for key in path.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[key];
    }
    assert_eq!(*place, Value::Null, "{path} is there already");
    *place = value;
}

/// The paths of all that is no object.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    let Some(object) = value.as_object() else { return found.push(path.to_owned()) };
    for (key, value) in object {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        leaves(value, &path, found);
    }
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// What both Loki examples take from a record, by the name they give it.
fn for_loki() -> BTreeMap<String, String> {
    let config = yaml("logging/promtail.yaml");
    let stages = config["scrape_configs"][0]["pipeline_stages"].as_array().unwrap();
    let expressions = &stages[0]["json"]["expressions"];
    let pairs = expressions.as_object().unwrap().iter();
    pairs.map(|(name, path)| (name.clone(), path.as_str().unwrap().to_owned())).collect()
}

/// The pairs `"name" = "value"` of alloy's syntax between `from` and the next `}`.
fn alloy_pairs(text: &str, from: &str) -> BTreeMap<String, String> {
    let block = text.split_once(from).unwrap().1.split_once('}').unwrap().0;
    let pairs = block.trim_matches(['{', ' ', '\n']).split(',').map(str::trim);
    pairs
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap();
            let bare = |it: &str| it.trim().trim_matches('"').to_owned();
            (bare(name), bare(value))
        })
        .collect()
}

#[tokio::test]
async fn what_the_examples_for_loki_take_is_in_the_log() {
    let run = Run::new().await;
    let taken = for_loki();
    for path in taken.values() {
        assert!(run.lines.iter().any(|line| at(line, path).is_some()), "{path} is in no line");
    }
    assert_eq!(taken.get("job_id").map(String::as_str), Some("extra.job_id"));
    let record = run.lines.iter().find(|line| !line["extra"]["job_id"].is_null()).unwrap();
    assert!(at(record, &taken["job_id"]).unwrap().is_string());
}

#[test]
fn promtail_has_no_label_without_bounds() {
    let config = yaml("logging/promtail.yaml");
    let scrape = &config["scrape_configs"][0];
    let fixed = &scrape["static_configs"][0]["labels"];
    assert_eq!((keys(fixed), &fixed["__path__"]), (vec!["__path__", "job"], &json!(DOCUMENTED)));
    let stages = scrape["pipeline_stages"].as_array().unwrap();
    let stage = |name: &str| &stages.iter().find(|it| !it[name].is_null()).unwrap()[name];
    assert_eq!(keys(stage("labels")), ["level"]);
    assert_eq!(keys(stage("structured_metadata")), ["correlation_id", "job_id", "logger"]);
    assert_eq!(*stage("timestamp"), json!({"source": "timestamp", "format": "RFC3339"}));
}

#[test]
fn alloy_takes_what_promtail_takes() {
    let text = read("logging/alloy.config");
    let count = |it: char| text.matches(it).count();
    assert_eq!((count('{'), count('[')), (count('}'), count(']')));
    let code: String = text.lines().filter(|it| !it.trim_start().starts_with("//")).collect();
    assert_eq!(alloy_pairs(&text, "expressions = "), for_loki());
    let label = alloy_pairs(&code, "stage.labels {    values = ");
    assert_eq!(label.into_keys().collect::<Vec<_>>(), ["level"]);
    let metadata = alloy_pairs(&code, "stage.structured_metadata {    values = ");
    assert_eq!(metadata.into_keys().collect::<Vec<_>>(), ["correlation_id", "job_id", "logger"]);
    let target = alloy_pairs(&text, "path_targets = [");
    assert_eq!(target["__path__"], DOCUMENTED);
    for (used, made) in [
        ("local.file_match.simpletuner.targets", "local.file_match \"simpletuner\" {"),
        ("loki.process.simpletuner.receiver", "loki.process \"simpletuner\" {"),
        ("loki.write.loki.receiver", "loki.write \"loki\" {"),
    ] {
        assert!(text.contains(used) && text.contains(made), "{used}");
    }
}

/// What Elasticsearch makes of a line with our pipeline.
fn ingest(record: &Value) -> Value {
    let pipeline = json_file("logging/elasticsearch-pipeline.json");
    let mut document = json!({"message": record.to_string()});
    for step in pipeline["processors"].as_array().unwrap() {
        let (kind, with) = step.as_object().unwrap().iter().next().unwrap();
        let name = |key: &str| with[key].as_str().unwrap();
        match kind.as_str() {
            "json" => {
                assert_eq!(with["add_to_root_conflict_strategy"], "replace");
                document = serde_json::from_str(document[name("field")].as_str().unwrap()).unwrap();
            }
            "date" => {
                let time = at(&document, name("field")).unwrap().clone();
                put(&mut document, name("target_field"), time);
            }
            "rename" => match take(&mut document, name("field")) {
                Some(value) => put(&mut document, name("target_field"), value),
                None => assert_eq!(with["ignore_missing"], true, "{} is missing", name("field")),
            },
            "remove" => drop(take(&mut document, name("field")).unwrap()),
            other => panic!("a step that this test does not know: {other}"),
        }
    }
    document
}

#[tokio::test]
async fn the_pipeline_for_elasticsearch_makes_documents_that_the_template_knows() {
    let mut records = Run::new().await.lines;
    records.push(full_record());
    let template = json_file("logging/elasticsearch-template.json");
    let mappings = &template["template"]["mappings"];
    for record in &records {
        let document = ingest(record);
        for (path, from) in [
            ("@timestamp", "timestamp"),
            ("message", "message"),
            ("log.level", "level"),
            ("log.logger", "logger"),
            ("log.origin.file.name", "source.file"),
            ("log.origin.file.line", "source.line"),
            ("log.origin.function", "source.function"),
            ("labels.correlation_id", "correlation_id"),
            ("extra", "extra"),
        ] {
            assert_eq!(at(&document, path), at(record, from), "{path}");
        }
        assert!(document["source"].is_null(), "source has another meaning in ECS");
        let mut paths = Vec::new();
        leaves(&document, "", &mut paths);
        for path in paths {
            let mapped = if path.starts_with("extra.") { "extra" } else { &path };
            let place = format!("properties.{}.type", mapped.replace('.', ".properties."));
            assert!(at(mappings, &place).is_some(), "{path} has no mapping");
        }
    }
    assert_eq!(mappings["properties"]["extra"]["type"], "flattened");
    let full = ingest(&full_record());
    assert_eq!(
        (&full["trace"]["id"], &full["span"]["id"]),
        (&full_record()["trace_id"], &full_record()["span_id"])
    );
    assert_eq!(
        (&full["error"]["type"], &full["error"]["message"]),
        (&json!("Transient"), &json!("no answer"))
    );
    let name = &template["template"]["settings"]["index.default_pipeline"];
    assert!(read("logging.md").contains(&format!("_ingest/pipeline/{}", name.as_str().unwrap())));
}

#[test]
fn splunk_reads_the_time_from_the_record_and_takes_fields_once() {
    let text = read("logging/splunk-props.conf");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let settings: BTreeMap<&str, &str> = lines
        .filter(|line| *line != "[simpletuner:cloud]")
        .map(|line| line.split_once(" = ").unwrap())
        .collect();
    assert!(at(&full_record(), settings["TIMESTAMP_FIELDS"]).is_some());
    assert_eq!((settings["TIME_FORMAT"], settings["TZ"]), ("%Y-%m-%dT%H:%M:%S.%3NZ", "UTC"));
    assert_eq!((settings["INDEXED_EXTRACTIONS"], settings["KV_MODE"]), ("json", "none"));
    assert_eq!(settings["SHOULD_LINEMERGE"], "false");
    let longest: usize = settings["TRUNCATE"].parse().unwrap();
    assert!(longest >= 16 * 1024, "a record of the largest size would be cut at {longest}");
    assert!(text.contains(DOCUMENTED));
}

#[test]
fn datadog_finds_what_it_maps_and_source_is_moved_first() {
    let pipeline = json_file("logging/datadog-pipeline.json");
    let processors = pipeline["processors"].as_array().unwrap();
    let mut record = full_record();
    for processor in processors {
        assert_eq!(processor["is_enabled"], true, "{processor}");
        let source = processor["sources"][0].as_str().unwrap();
        let value = at(&record, source).unwrap_or_else(|| panic!("{source} is missing")).clone();
        if processor["type"] == "attribute-remapper" {
            assert_eq!(processor["preserve_source"], false, "{processor}");
            take(&mut record, source).unwrap();
            put(&mut record, processor["target"].as_str().unwrap(), value);
        }
    }
    assert_eq!(record["source"], json!({}), "the reserved name is free");
    assert_eq!(record["code"]["line"]["number"], full_record()["source"]["line"]);
    let first = processors.iter().take(3);
    assert!(first.clone().all(|it| it["sources"][0].as_str().unwrap().starts_with("source.")));
    for (kind, source) in [
        ("status-remapper", "level"),
        ("date-remapper", "timestamp"),
        ("message-remapper", "message"),
    ] {
        let found = processors.iter().find(|it| it["type"] == kind).unwrap();
        assert_eq!(found["sources"], json!([source]));
    }
    let agent = yaml("logging/datadog-agent.yaml");
    let input = &agent["logs"][0];
    assert_eq!((&input["type"], &input["path"]), (&json!("file"), &json!(DOCUMENTED)));
    let asked = format!("source:{}", input["source"].as_str().unwrap());
    assert_eq!(pipeline["filter"]["query"], asked.as_str());
}

#[test]
fn docker_bounds_the_log_and_sets_only_variables_that_are_there() {
    let service = &yaml("logging/docker-compose.yaml")["services"]["st-server"];
    assert_eq!(service["logging"]["driver"], "json-file");
    let options = &service["logging"]["options"];
    assert!(options["max-size"].is_string() && options["max-file"].is_string(), "{options}");
    let readme = read("../README.md");
    for name in keys(&service["environment"]) {
        assert!(readme.contains(&format!("`{name}`")), "{name} is not a setting");
    }
}

#[test]
fn the_parts_of_the_example_for_vector_are_connected() {
    let config = yaml("logging/vector.yaml");
    assert_eq!(config["sources"]["cloud_log"]["include"], json!([DOCUMENTED]));
    assert_eq!(config["transforms"]["records"]["inputs"], json!(["cloud_log"]));
    assert_eq!(config["sinks"]["out"]["inputs"], json!(["records"]));
}

#[test]
fn the_document_names_every_example() {
    let document = read("logging.md");
    let mut count = 0;
    for file in fs::read_dir(docs().join("logging")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(
            document.contains(&format!("(logging/{name})")),
            "{name} is not in docs/logging.md"
        );
        count += 1;
    }
    assert_eq!(count, 11);
}
