//! The environment: which variables are ours, what is wrong with them, and where secrets may be
//! instead.

use std::collections::BTreeMap;
use std::path::Path;

use super::Fault;
use super::plain;
use super::table::{self, Setting};

/// Other programs' variables that happen to be near ours.
const OTHERS: [&str; 4] = [
    "SIMPLETUNER_API_KEY",
    "SIMPLETUNER_AUDIT_RETENTION_DAYS",
    "SIMPLETUNER_SSL_ENABLED",
    "SIMPLETUNER_SSL_NO_VERIFY",
];
/// A name within this distance of ours is taken for it.
const NEAR: usize = 2;
/// A file with a secret is no longer, in bytes.
const LONGEST_SECRET: u64 = 64 * 1024;
/// Where systemd puts the credentials of a unit.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// A value that the environment sets.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) value: String,
    /// What sets it, as people know it.
    pub(super) place: String,
}

/// Whether a variable is one of ours.
pub(super) fn is_ours(name: &str) -> bool {
    table::variables().any(|ours| ours == name)
}

/// Names the variables that are almost ours, and those of ours that were no UTF-8.
pub(super) fn check(variables: &BTreeMap<String, String>, faults: &mut Vec<Fault>) {
    let ours: Vec<String> = table::variables().collect();
    for (name, value) in variables {
        if ours.contains(name) {
            // It arrives with replacement characters, and would be another path.
            if value.contains(char::REPLACEMENT_CHARACTER) {
                faults.push(Fault { place: name.clone(), message: "is not UTF-8".to_owned() });
            }
            continue;
        }
        if !name.starts_with("SIMPLETUNER") || OTHERS.contains(&name.as_str()) {
            continue;
        }
        let near = ours.iter().map(|ours| (strsim::osa_distance(name, ours), ours)).min();
        if let Some((distance, ours)) = near
            && distance <= NEAR
        {
            let message = format!("unknown variable, did you mean {ours}?");
            faults.push(Fault { place: name.clone(), message });
        }
    }
}

/// What the environment sets this to. An empty variable counts as none; so does one that is no UTF-8,
/// which [`check`] names.
pub(super) fn of(
    setting: &Setting,
    variables: &BTreeMap<String, String>,
    faults: &mut Vec<Fault>,
) -> Option<Given> {
    let text = |name: &str| {
        let value = variables.get(name).filter(|value| !value.trim().is_empty());
        value.filter(|value| !value.contains(char::REPLACEMENT_CHARACTER))
    };
    let plain = setting.variables.iter().find_map(|&name| {
        text(name).map(|value| Given { value: value.clone(), place: name.to_owned() })
    });
    if !setting.secret || !table::is_named_by_us(setting) {
        return plain;
    }
    let mut in_file = None;
    for name in setting.variables {
        let variable = format!("{name}_FILE");
        let Some(path) = text(&variable) else { continue };
        if plain.is_some() {
            let message = format!("may not be set together with {name}");
            faults.push(Fault { place: variable.clone(), message });
        }
        in_file = in_file.or_else(|| read(Path::new(path), &variable, faults));
    }
    let credential = || {
        let folder = text(CREDENTIALS)?;
        let found = setting.variables.iter().map(|name| (name, Path::new(folder).join(name)));
        let (name, path) = found.into_iter().find(|(_, path)| path.is_file())?;
        read(&path, &format!("credential {name}"), &mut Vec::new())
    };
    plain.or(in_file).or_else(credential)
}

fn read(path: &Path, place: &str, faults: &mut Vec<Fault>) -> Option<Given> {
    match plain::text(path, LONGEST_SECRET) {
        Ok(text) => Some(Given { value: text, place: place.to_owned() }),
        Err(error) => {
            let message = format!("{} cannot be read: {error}", path.display());
            faults.push(Fault { place: place.to_owned(), message });
            None
        }
    }
}
