//! The OpenAPI document and the reference, made from the operations.

mod reference;

use std::collections::BTreeMap;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::input::ANY_NAME;
use crate::operation::{Access, Described, Group, Media};
use crate::problem::{Code, Problem};

pub use reference::reference;

/// The problems that an operation may have, by status.
pub(crate) fn problems(operation: &Described) -> BTreeMap<u16, Vec<Code>> {
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in operation.codes() {
        by_status.entry(code.status()).or_default().push(code);
    }
    by_status
}

/// Makes the schemas of answers.
fn generator() -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    SchemaGenerator::new(settings)
}

/// The OpenAPI document, version 3.1, of these operations.
pub fn document(operations: &[Described], version: &str) -> Value {
    let mut generator = generator();
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations {
        let method = operation.about.method.as_str().to_ascii_lowercase();
        let path = paths.entry(operation.about.path).or_insert_with(|| json!({}));
        if let Value::Object(path) = path {
            path.insert(method, operation_object(operation, &mut generator));
        }
    }
    // Every answer that is a problem refers to it.
    generator.subschema_for::<Problem>();
    let schemas: Map<String, Value> = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "SimpleTuner cloud control plane",
            "version": version,
            "description": "Submits training jobs to providers, queues them, and follows them.",
        },
        "servers": [{"url": "/"}],
        "tags": Group::ALL.map(|group| json!({"name": group.title()})),
        "security": [{"bearer": []}, {"key": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "session": {"type": "apiKey", "in": "cookie", "name": "st_session"},
            },
        },
    })
}

fn operation_object(operation: &Described, generator: &mut SchemaGenerator) -> Value {
    let about = &operation.about;
    let mut object = json!({
        "operationId": about.id,
        "tags": [about.group.title()],
        "summary": about.summary,
        "parameters": parameters(operation),
        "responses": responses(operation, generator),
    });
    if let Value::Object(object) = &mut object {
        let description = match about.access {
            Access::Public | Access::SignedIn => about.description.to_owned(),
            Access::Role(role) => {
                let role = format!("Needs the role {role} or a higher one.");
                [about.description, &role].join(" ").trim().to_owned()
            }
        };
        object.insert("description".to_owned(), description.into());
        if about.access == Access::Public {
            object.insert("security".to_owned(), json!([]));
        }
        if operation.has_body() {
            object.insert("requestBody".to_owned(), request_body(operation));
        }
    }
    object
}

fn parameters(operation: &Described) -> Vec<Value> {
    let path = operation.parameter.map(|parameter| {
        let kind = if parameter.numeric { "integer" } else { "string" };
        json!({
            "name": parameter.name, "in": "path", "required": true,
            "description": parameter.description, "schema": {"type": kind},
        })
    });
    let required: Vec<&str> = operation.query.required().collect();
    let query = operation.query.members().filter(|(name, _)| *name != ANY_NAME);
    let query = query.map(|(name, kind)| {
        json!({
            "name": name, "in": "query", "required": required.contains(&name),
            "schema": kind.schema(name, &no_text),
        })
    });
    path.into_iter().chain(query).collect()
}

fn no_text(_path: &str) -> Option<String> {
    None
}

fn request_body(operation: &Described) -> Value {
    let mut schema = operation.body.body_schema();
    if operation.body_as_list {
        schema = json!({"anyOf": [schema, {"type": "array", "items": {}}]});
    }
    let mut content = json!({"schema": schema});
    if let Value::Object(content) = &mut content
        && let Ok(example) = serde_json::from_str::<Value>(operation.about.example_body)
    {
        content.insert("example".to_owned(), example);
    }
    json!({
        "required": operation.body.required().next().is_some(),
        "content": {"application/json": content},
    })
}

fn responses(operation: &Described, generator: &mut SchemaGenerator) -> Value {
    let schema = (operation.answer)(generator).to_value();
    let text = || json!({"schema": {"type": "string"}});
    let exposition = || json!({"text/plain": text(), "application/openmetrics-text": text()});
    let content = match operation.about.media {
        Media::Json => json!({"application/json": {"schema": schema}}),
        Media::EventStream => json!({"text/event-stream": text()}),
        Media::Text => json!({"text/plain": text()}),
        Media::Html => json!({"text/html": text()}),
        Media::Metrics => exposition(),
        Media::MetricsOrJson => {
            let mut content = exposition();
            if let Value::Object(content) = &mut content {
                content.insert("application/json".to_owned(), json!({"schema": schema}));
            }
            content
        }
    };
    let mut success = json!({
        "description": operation.about.summary,
        "content": content,
        "headers": {"X-Correlation-ID": {"schema": {"type": "string"}}},
    });
    if let (Value::Object(success), Some(links)) = (&mut success, links(operation.about.id)) {
        success.insert("links".to_owned(), links);
    }
    let mut responses = Map::new();
    responses.insert("200".to_owned(), success);
    for (status, codes) in problems(operation) {
        let codes: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
        responses.insert(
            status.to_string(),
            json!({
                "description": codes.join(", "),
                "content": {
                    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}},
                },
            }),
        );
    }
    responses.into()
}

/// What can be asked with an answer: which operation, with what of the answer.
const LINKS: [(&str, &str, &str, &str); 9] = [
    ("submit_job", "get_job", "job", "/job_id"),
    ("submit_job", "explain_job", "job", "/job_id"),
    ("submit_job", "list_job_events", "job", "/job_id"),
    ("submit_job", "get_queue_position", "job", "/job_id"),
    ("submit_job", "cancel_job", "job", "/job_id"),
    ("submit_job", "delete_job", "job", "/job_id"),
    ("add_rule", "get_rule", "id", "/id"),
    ("add_quota", "change_quota", "id", "/id"),
    ("add_quota", "delete_quota", "id", "/id"),
];

fn links(id: &str) -> Option<Value> {
    let links = LINKS.iter().filter(|(from, ..)| *from == id);
    let links: Map<String, Value> = links
        .map(|(_, to, parameter, pointer)| {
            let link = json!({
                "operationId": to,
                "parameters": {*parameter: format!("$response.body#{pointer}")},
            });
            ((*to).to_owned(), link)
        })
        .collect();
    (!links.is_empty()).then_some(Value::Object(links))
}
