//! The reference of the interface, as Markdown.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::generator;
use crate::input::{ANY_NAME, Shape};
use crate::operation::{Access, Described, Group, Media};
use crate::problem::Code;

/// The reference of these operations: what each takes and gives, and a line that asks for it.
pub fn reference(operations: &[Described]) -> String {
    let mut text = String::new();
    for group in Group::ALL {
        let of_group: Vec<&Described> =
            operations.iter().filter(|it| it.about.group == group).collect();
        if of_group.is_empty() {
            continue;
        }
        writeln!(text, "## {}\n", group.title()).unwrap_or_default();
        for operation in of_group {
            one(&mut text, operation);
        }
    }
    types(&mut text, &definitions(operations));
    writeln!(text, "## Problems\n\n| code | status | meaning |\n|---|---|---|").unwrap_or_default();
    for code in Code::ALL {
        writeln!(text, "| `{code}` | {} | {} |", code.status(), code.meaning()).unwrap_or_default();
    }
    text
}

fn one(text: &mut String, operation: &Described) {
    let about = &operation.about;
    writeln!(text, "### {} {}\n", about.method.as_str(), about.path).unwrap_or_default();
    writeln!(text, "{}.\n", about.summary.trim_end_matches('.')).unwrap_or_default();
    if !about.description.is_empty() {
        writeln!(text, "{}\n", about.description).unwrap_or_default();
    }
    let access = match about.access {
        Access::Public => "no login".to_owned(),
        Access::SignedIn => "any login".to_owned(),
        Access::Role(role) => format!("role {role}"),
    };
    let media = match about.media {
        Media::Json => "JSON",
        Media::EventStream => "Server-Sent Events",
        Media::Text => "text",
        Media::Html => "a web page",
        Media::Metrics => "Prometheus text or OpenMetrics",
        Media::MetricsOrJson => "Prometheus text, OpenMetrics or",
    };
    let schema = (operation.answer)(&mut generator()).to_value();
    let named = schema.get("$ref").and_then(Value::as_str).and_then(|it| it.rsplit('/').next());
    let link = named.map(|it| format!("[{it}](#{})", it.to_lowercase()));
    let answer = match about.media {
        Media::Json => link.unwrap_or_else(|| media.to_owned()),
        Media::MetricsOrJson => format!("{media} {}", link.unwrap_or_else(|| "JSON".to_owned())),
        Media::EventStream | Media::Text | Media::Html | Media::Metrics => media.to_owned(),
    };
    writeln!(text, "Needs: {access}. Answers: {answer}.\n").unwrap_or_default();
    table(text, "query", &operation.query);
    table(text, "body", &operation.body);
    if !about.problems.is_empty() {
        let codes: Vec<String> = about.problems.iter().map(|code| format!("`{code}`")).collect();
        writeln!(text, "Problems of its own: {}.\n", codes.join(", ")).unwrap_or_default();
    }
    writeln!(text, "```sh\n{}\n```\n", curl(operation)).unwrap_or_default();
}

fn table(text: &mut String, part: &str, shape: &Shape) {
    if shape.is_empty() {
        return;
    }
    let required: Vec<&str> = shape.required().collect();
    writeln!(text, "| {part} | may be | |\n|---|---|---|").unwrap_or_default();
    for (name, kind) in shape.members().filter(|(name, _)| *name != ANY_NAME) {
        let needed = if required.contains(&name) { "required" } else { "" };
        writeln!(text, "| `{name}` | {} | {needed} |", kind.words()).unwrap_or_default();
    }
    text.push('\n');
}

/// The schemas of all that these operations answer, by name.
fn definitions(operations: &[Described]) -> Map<String, Value> {
    let mut generator = generator();
    for operation in operations {
        (operation.answer)(&mut generator);
    }
    generator.take_definitions(true)
}

fn types(text: &mut String, definitions: &Map<String, Value>) {
    writeln!(text, "## Types\n").unwrap_or_default();
    for (name, schema) in definitions {
        writeln!(text, "### {name}\n").unwrap_or_default();
        if let Some(description) = schema.get("description").and_then(Value::as_str) {
            writeln!(text, "{description}\n").unwrap_or_default();
        }
        if let Some(words) = schema.get("oneOf").and_then(Value::as_array) {
            writeln!(text, "| word | meaning |\n|---|---|").unwrap_or_default();
            for word in words {
                let description =
                    word.get("description").and_then(Value::as_str).unwrap_or_default();
                writeln!(text, "| {} | {description} |", kind(word)).unwrap_or_default();
            }
            text.push('\n');
        }
        let Some(members) = schema.get("properties").and_then(Value::as_object) else { continue };
        writeln!(text, "| member | is | |\n|---|---|---|").unwrap_or_default();
        for (member, schema) in members {
            let description = schema.get("description").and_then(Value::as_str).unwrap_or_default();
            let description = description.replace('\n', " ").replace('|', "\\|");
            writeln!(text, "| `{member}` | {} | {description} |", kind(schema)).unwrap_or_default();
        }
        text.push('\n');
    }
}

/// What a value with this schema may be, in words.
fn kind(schema: &Value) -> String {
    if let Some(name) =
        schema.get("$ref").and_then(Value::as_str).and_then(|it| it.rsplit('/').next())
    {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(word) = schema.get("const").and_then(Value::as_str) {
        return format!("`{word}`");
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        let words: Vec<String> = words
            .iter()
            .map(|word| word.as_str().map_or("null".into(), |it| format!("`{it}`")))
            .collect();
        return words.join(", ");
    }
    if let Some(kinds) = schema.get("anyOf").and_then(Value::as_array) {
        return kinds.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    let one = |word: &str| match word {
        "array" => format!("list of {}", schema.get("items").map_or_else(String::new, kind)),
        "string" if schema.get("format").is_some_and(|it| it == "date-time") => "time".to_owned(),
        "string" => "text".to_owned(),
        "integer" => "whole number".to_owned(),
        other => other.to_owned(),
    };
    match schema.get("type") {
        Some(Value::String(word)) => one(word),
        Some(Value::Array(words)) => {
            let words = words.iter().filter_map(Value::as_str).map(one);
            words.collect::<Vec<_>>().join(" or ")
        }
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {
            "anything".to_owned()
        }
    }
}

/// A line for a shell that asks for an operation. `$ST` is the address of the server; what the path
/// names is a variable, too.
fn curl(operation: &Described) -> String {
    let about = &operation.about;
    let mut line = "curl -sS".to_owned();
    if about.media == Media::EventStream {
        line.push_str(" -N --max-time 2");
    }
    if about.method.as_str() != "GET" {
        write!(line, " -X {}", about.method.as_str()).unwrap_or_default();
    }
    let path = match operation.parameter {
        Some(parameter) => {
            let braces = format!("{{{}}}", parameter.name);
            about.path.replace(&braces, &format!("${}", parameter.name.to_ascii_uppercase()))
        }
        None => about.path.to_owned(),
    };
    let query = if about.example_query.is_empty() { "" } else { "?" };
    write!(line, " \"$ST{path}{query}{}\"", about.example_query).unwrap_or_default();
    if !about.example_body.is_empty() {
        let body = about.example_body;
        write!(line, " \\\n  -H 'Content-Type: application/json' -d '{body}'").unwrap_or_default();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs;
    use crate::openapi::problems;

    #[test]
    fn a_line_has_the_method_the_path_and_the_body() {
        let resolve = curl(&jobs::RESOLVE.describe());
        assert!(resolve.starts_with("curl -sS -X POST \"$ST/api/cloud/jobs/$JOB/resolve\""));
        assert!(resolve.contains("-d '{\"outcome\": \"absent\""), "{resolve}");
        assert_eq!(curl(&jobs::LIST.describe()), "curl -sS \"$ST/api/cloud/jobs?limit=10\"");
    }

    #[test]
    fn every_problem_of_an_operation_is_among_its_answers() {
        let of_cancel = problems(&jobs::CANCEL.describe());
        assert!(of_cancel[&409].contains(&Code::JobOver));
        assert!(of_cancel[&403].contains(&Code::Forbidden));
    }
}
