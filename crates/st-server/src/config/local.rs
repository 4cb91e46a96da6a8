//! Jobs on this machine: the commands that they may run, and what they get of the machine.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use st_workers::provider::local::{DeviceName, FILE_BYTES, Limits, PassedVariables};

use super::sections::Surroundings;
use st_api::input::Fields;

const MIB: u64 = 1024 * 1024;
/// 1 TiB: more is a slip of the unit.
const MOST_MIB: i64 = 1024 * 1024;
/// A process with less memory or fewer files cannot begin.
const LEAST_MIB: i64 = 16;
const LEAST_FILES: i64 = 16;
const MOST_FILES: i64 = 1024 * 1024;
const MOST_LOG_MIB: i64 = 1024;
/// No machine has more cards.
const MOST_DEVICES: i64 = 1024;

/// What jobs on this machine may run and use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalSettings {
    /// What they may run, by name.
    pub commands: BTreeMap<String, Command>,
    /// The server's variables that they get beside the usual ones.
    pub pass_env: Vec<PassedVariables>,
    /// The graphics cards that are shared out among them.
    pub devices: Vec<DeviceName>,
    /// What each of their processes may use.
    pub limits: Limits,
    /// The size of one of the two files that keep what a job prints, in bytes.
    pub log_bytes: u64,
}

/// A command that jobs on this machine may run.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// The program, by its absolute path.
    pub program: PathBuf,
    /// Its arguments; nothing of a request is added.
    pub args: Vec<String>,
    /// Added to its environment.
    pub env: BTreeMap<String, String>,
    /// How many of the devices it gets.
    pub devices: usize,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("program", &self.program)
            // Arguments and values of variables may be secrets.
            .field("args", &self.args.len())
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("devices", &self.devices)
            .finish_non_exhaustive()
    }
}

impl Default for LocalSettings {
    fn default() -> Self {
        Self {
            commands: BTreeMap::new(),
            pass_env: Vec::new(),
            devices: Vec::new(),
            limits: Limits::default(),
            log_bytes: FILE_BYTES,
        }
    }
}

impl LocalSettings {
    pub(super) fn read(fields: &mut Fields, around: &Surroundings<'_>) -> Self {
        let devices: Vec<DeviceName> = words(fields, "devices");
        if let Some((one, other)) = same(&devices) {
            let (one, other) = (one.as_str(), other.as_str());
            let fault = if one == other {
                format!("{one:?} is there twice")
            } else {
                format!(
                    "{one:?} and {other:?} may be the same card; name all by index or all by whole \
                     identifiers"
                )
            };
            fields.fault("devices", fault);
        }
        let log_mib = whole(fields, "log_mib", 1, MOST_LOG_MIB);
        let cards = devices.len();
        Self {
            commands: fields
                .section("commands", |fields| commands(fields, around, cards))
                .unwrap_or_default(),
            pass_env: words(fields, "pass_env"),
            devices,
            limits: fields.section("limits", limits).unwrap_or_default(),
            log_bytes: log_mib.map_or(FILE_BYTES, |mib| mib * MIB),
        }
    }
}

/// A list of words with a meaning; a whole number is the word that it is written as.
fn words<T: FromStr<Err: Display>>(fields: &mut Fields, key: &str) -> Vec<T> {
    let mut words = Vec::new();
    for (index, item) in fields.array(key).unwrap_or_default().iter().enumerate() {
        let text = item.as_str().map(str::to_owned);
        let Some(text) = text.or_else(|| item.as_u64().map(|number| number.to_string())) else {
            fields.fault(key, format!("item {index}: expected text, found {item}"));
            continue;
        };
        match text.parse() {
            Ok(word) => words.push(word),
            Err(error) => fields.fault(key, format!("item {index}: {error}, found {text:?}")),
        }
    }
    words
}

/// Two names that may be of one card, on which two jobs would then run.
fn same(devices: &[DeviceName]) -> Option<(&DeviceName, &DeviceName)> {
    devices.iter().enumerate().find_map(|(at, one)| {
        let others = devices.iter().skip(at + 1);
        others.filter(|other| one.may_be(other)).map(|other| (one, other)).next()
    })
}

fn limits(fields: &mut Fields) -> Limits {
    Limits {
        memory: whole(fields, "memory_mib", LEAST_MIB, MOST_MIB).map(|mib| mib * MIB),
        open_files: whole(fields, "open_files", LEAST_FILES, MOST_FILES),
        nice: fields.integer("nice", 0..=19).and_then(|nice| u8::try_from(nice).ok()),
    }
}

fn whole(fields: &mut Fields, key: &str, least: i64, most: i64) -> Option<u64> {
    fields.integer(key, least..=most).and_then(|number| u64::try_from(number).ok())
}

fn commands(
    fields: &mut Fields,
    around: &Surroundings<'_>,
    devices: usize,
) -> BTreeMap<String, Command> {
    let legal = |char: char| {
        char.is_ascii_lowercase() || char.is_ascii_digit() || matches!(char, '_' | '-')
    };
    fields.each(|fields, name| {
        let command = fields.section(name, |fields| command(fields, around, devices)).flatten();
        if name.is_empty() || name.len() > 64 || !name.chars().all(legal) {
            fields.fault(name, "a command's name has 1 to 64 of a-z 0-9 _ -");
            return None;
        }
        command
    })
}

fn command(fields: &mut Fields, around: &Surroundings<'_>, devices: usize) -> Option<Command> {
    let program = around.path(fields, "program");
    let program = fields.require(program, "program");
    if program.as_ref().is_some_and(|program| !program.is_absolute()) {
        fields.fault("program", "must be an absolute path");
    }
    let args = fields.strings("args").unwrap_or_default();
    let env = fields.section("env", |fields| fields.each(Fields::string));
    let needed = fields.integer("devices", 0..=MOST_DEVICES);
    let needed = needed.and_then(|count| usize::try_from(count).ok());
    // More than there are could never begin.
    if let Some(needed) = needed.filter(|needed| *needed > devices) {
        let legal = format!("expected a whole number from 0 to {devices}");
        let why = "as many as providers.local.devices has";
        fields.fault("devices", format!("{legal}, {why}, found {needed}"));
    }
    Some(Command {
        program: program?,
        args,
        env: env.unwrap_or_default(),
        devices: needed.unwrap_or(devices.min(1)),
    })
}
