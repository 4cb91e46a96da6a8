//! The file: which one is read, and the variables within it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Fault;
use super::filled::Filled;
use super::plain;
use super::table::FILE_VARIABLE;
use st_api::input::{FieldFault, escape};

const NAME: &str = "simpletuner-enterprise.yaml";

/// What is longer, in bytes, is no configuration, and is cut off.
const LONGEST: u64 = 16 * 1024 * 1024;

/// A file and what it says.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// The file to read: the one that is named, else the first that there is.
pub(super) fn find(
    environment: &BTreeMap<String, String>,
    named: Option<&Path>,
    cwd: &Path,
    faults: &mut Vec<Fault>,
) -> Option<Text> {
    let by_variable = environment.get(FILE_VARIABLE).filter(|path| !path.is_empty());
    let named = match (named, by_variable) {
        (Some(path), _) => Some(("--config", path.to_owned())),
        (None, Some(path)) => Some((FILE_VARIABLE, PathBuf::from(path))),
        (None, None) => None,
    };
    if let Some((place, path)) = named {
        match plain::text(&path, LONGEST) {
            Ok(text) => return Some(Text { path, text }),
            Err(error) => {
                let message = format!("{} cannot be read: {error}", path.display());
                faults.push(Fault { place: place.to_owned(), message });
                return None;
            }
        }
    }
    let home = environment.get("HOME").filter(|home| !home.is_empty());
    let in_home = home.map(|home| Path::new(home).join(".config/simpletuner/enterprise.yaml"));
    let places =
        [Some(cwd.join(NAME)), in_home, Some(PathBuf::from("/etc/simpletuner/enterprise.yaml"))];
    for path in places.into_iter().flatten() {
        match plain::text(&path, LONGEST) {
            Ok(text) => return Some(Text { path, text }),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                let message = format!("cannot be read: {error}");
                faults.push(Fault { place: path.display().to_string(), message });
                return None;
            }
        }
    }
    None
}

/// The file with this path, which an earlier search found.
pub(super) fn read(path: &Path) -> Result<Text, Fault> {
    let path = path.to_owned();
    match plain::text(&path, LONGEST) {
        Ok(text) => Ok(Text { path, text }),
        Err(error) => {
            let message = format!("cannot be read: {error}");
            Err(Fault { place: path.display().to_string(), message })
        }
    }
}

/// Puts the environment's values in the place of `${NAME}`; `$${` is a plain `${`. What is filled in
/// is text, and noted in `texts`: whether it is to be a number is decided by the setting, not by its
/// look.
pub(super) fn fill(
    value: &mut Value,
    environment: &BTreeMap<String, String>,
    pointer: &str,
    (texts, used, faults): (&mut BTreeSet<String>, &mut Filled, &mut Vec<FieldFault>),
) {
    match value {
        Value::String(text) if text.contains("${") => match filled(text, environment, used) {
            Ok(filled) => {
                *value = Value::String(filled);
                texts.insert(pointer.to_owned());
            }
            Err(message) => {
                faults.push(FieldFault { pointer: pointer.to_owned(), message });
                *value = Value::Null;
            }
        },
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                fill(item, environment, &format!("{pointer}/{index}"), (texts, used, faults));
            }
        }
        Value::Object(fields) => {
            for (key, item) in fields.iter_mut() {
                let pointer = format!("{pointer}/{}", escape(key));
                fill(item, environment, &pointer, (texts, used, faults));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn filled(
    text: &str,
    environment: &BTreeMap<String, String>,
    used: &mut Filled,
) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(literal) = before.strip_suffix('$') {
            out.push_str(literal);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            return Err("a ${ is not closed with }".to_owned());
        };
        let Some(value) = environment.get(name) else {
            let no_defaults =
                if name.contains(':') { "; there is no form with a default" } else { "" };
            return Err(format!("the environment has no {name}{no_defaults}"));
        };
        used.add(name, value);
        out.push_str(value);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}
