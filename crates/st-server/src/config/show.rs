//! The settings for people: the values and what set them, the table of all settings.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::sections::{Sections, Surroundings};
use super::sources::Sources;
use super::table::{COMMAS, Setting, TABLE};
use super::{Config, Fault, Faults, Flags};
use st_api::input::{ANY_NAME, Fields, Kind, Shape, escape};

/// In the place of a secret.
const MASK: &str = "***";
/// Texts that mean nothing to the server: whatever a variable puts there may be a secret.
const FREE: [&str; 2] = ["providers.local.commands.*.args", "providers.local.commands.*.env.*"];

impl Config {
    /// Each setting with its value, one in a line; `origin`: also what set it. Secrets are masked; what may
    /// have some in it is shown as the file has it.
    pub fn show(
        environment: &BTreeMap<String, String>,
        flags: &Flags,
        cwd: &Path,
        origin: bool,
    ) -> Result<String, Faults> {
        let mut faults: Vec<Fault> = Vec::new();
        let sources = Sources::gather(environment, flags, cwd, &mut faults);
        let config = Self::of(&sources, environment, faults)?;
        let named = sources.filled().named_as_secrets(&config.log.redaction);
        let secrets = config.with_secrets_of(&sources, named);
        let mut lines = Vec::new();
        for setting in TABLE.iter().filter(|setting| !setting.path.contains(ANY_NAME)) {
            let set = value_at(&sources, &setting.pointer());
            let value = set.map_or_else(|| setting.default.to_owned(), |it| shown(setting, it));
            let place = set.and_then(|_| sources.place(&setting.pointer()));
            lines.push((setting.path.to_owned(), value, place));
        }
        let tree = Value::Object(sources.tree().clone());
        for (pointer, value) in leaves(&tree, String::new()) {
            let path = pointer.trim_start_matches('/').replace('/', ".");
            if TABLE.iter().any(|setting| path == setting.path || is_within(&path, setting.path)) {
                continue;
            }
            let place = sources.place(&pointer);
            let name = path.rsplit('.').next().unwrap_or_default();
            let is_secret = config.log.redaction.covers(name);
            let as_written = sources.written(&pointer).filter(|_| is_free(&pointer));
            let value = as_written.unwrap_or(value);
            let value = if is_secret { MASK.to_owned() } else { value.to_string() };
            lines.push((path, value, place));
        }
        let mut text = String::new();
        for (path, value, place) in lines {
            let origin = match place {
                Some(place) if origin => format!("  # {place}"),
                None if origin => "  # default".to_owned(),
                Some(_) | None => String::new(),
            };
            let value = secrets.hide(&value);
            text.extend([&*path, ": ", &*value, &*origin, "\n"]);
        }
        Ok(text)
    }
}

/// Whether a value is a free text, of a command or of a provider that the file describes.
fn is_free(pointer: &str) -> bool {
    let setting = TABLE.iter().find(|setting| setting.covers(pointer));
    setting.is_none_or(|setting| FREE.contains(&setting.path))
}

/// Whether a value belongs to a list or an object that is shown as a whole.
fn is_within(path: &str, setting: &str) -> bool {
    path.strip_prefix(setting).is_some_and(|below| below.starts_with('.'))
}

fn value_at<'s>(sources: &'s Sources, pointer: &str) -> Option<&'s Value> {
    let (first, rest) = pointer.trim_start_matches('/').split_once('/')?;
    sources.tree().get(first)?.pointer(&format!("/{rest}")).filter(|value| !value.is_null())
}

fn shown(setting: &Setting, value: &Value) -> String {
    match value {
        _ if setting.secret => MASK.to_owned(),
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}

/// What is within a value that has nothing within itself, by pointer.
pub(super) fn leaves(value: &Value, pointer: String) -> Vec<(String, &Value)> {
    match value {
        Value::Object(members) if !members.is_empty() => {
            let below = members.iter();
            below.flat_map(|(key, it)| leaves(it, format!("{pointer}/{}", escape(key)))).collect()
        }
        Value::Null => Vec::new(),
        Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => vec![(pointer, value)],
    }
}

/// What the file may say, as the readers themselves describe it.
pub(super) fn shape() -> Shape {
    let environment = BTreeMap::new();
    let around = Surroundings { home: None, environment: &environment };
    Fields::shape_of(|fields| Sections::read(fields, &around))
}

/// The table of all settings, in Markdown.
pub fn table() -> String {
    let shape = shape();
    let kinds: BTreeMap<String, &Kind> = shape.leaves().into_iter().collect();
    let mut text = String::from(
        "| in the file | variable or flag | takes | default | SIGHUP | meaning |\n|---|---|---|---|---|---|\n",
    );
    for setting in TABLE {
        let variables = setting.variables.iter().map(|name| format!("`{name}`"));
        let flag = setting.flag.map(|flag| format!("`{flag}`"));
        let names: Vec<String> = variables.chain(flag).collect();
        let kind = kinds.get(setting.path).map_or_else(String::new, |kind| kind.words());
        let commas = if COMMAS.contains(&setting.path) { ", or one with commas" } else { "" };
        let reloaded = if setting.reloaded { "yes" } else { "" };
        let line = format!(
            "| `{}` | {} | {kind}{commas} | {} | {reloaded} | {} |\n",
            setting.path,
            names.join(", "),
            setting.default,
            setting.meaning
        );
        text.push_str(&line);
    }
    text
}

/// The table of the settings that variables set, in Markdown.
pub fn variables_table() -> String {
    let mut text = String::from("| variable | meaning | default |\n|---|---|---|\n");
    for setting in TABLE {
        let names: Vec<String> = setting.variables.iter().map(|it| format!("`{it}`")).collect();
        if !names.is_empty() {
            let cells = [&*names.join(", "), setting.meaning, setting.default].join(" | ");
            text.extend(["| ", &*cells, " |\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_each_setting_that_is_read_and_no_other() {
        let shape = shape();
        let mut read: Vec<String> = shape.leaves().into_iter().map(|(path, _)| path).collect();
        // Described providers have a reference of their own.
        read.retain(|path| path != "providers.*");
        let mut listed: Vec<&str> = TABLE.iter().map(|setting| setting.path).collect();
        read.sort_unstable();
        listed.sort_unstable();
        assert_eq!(read, listed);
    }

    #[test]
    fn the_documents_have_the_tables() {
        let document = include_str!("../../../../docs/configuration.md");
        let (all, variables) = (table(), variables_table());
        assert!(document.contains(&all), "docs/configuration.md needs this table:\n{all}");
        let readme = include_str!("../../../../README.md");
        assert!(readme.contains(&variables), "README.md needs this table:\n{variables}");
    }
}
