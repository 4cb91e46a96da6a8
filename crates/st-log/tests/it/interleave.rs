//! Thousands of tasks that nest scopes at random: no line has a field or an ID of another task.
//!
//! Every event contains the fields and the ID that it expects from its scope. The seed determines a
//! run, except for the scheduling of threads.

mod model;
mod work;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;
use serde::Serialize;
use serde_json::Value;
use st_log::{CorrelationId, LogContext};

use crate::process;
use crate::strict;

const LOG: st_log::Logger = st_log::get_logger("simpletuner.cloud.test");
pub(crate) const SEED: &str = "ST_LOG_TEST_SEED";
pub(crate) const TASKS: &str = "ST_LOG_TEST_TASKS";

/// The fields and the ID that a line is expected to have.
#[derive(Debug, Clone, Default, Serialize)]
struct Expected {
    /// None if the ID of the process is expected.
    id: Option<String>,
    fields: BTreeMap<String, u64>,
    /// The position in the random program, to find the cause of a failure.
    path: String,
}

impl Expected {
    fn say(&self) {
        SAID.fetch_add(1, Ordering::Relaxed);
        st_log::info!(logger: LOG, expected = st_log::json(self), "said");
    }

    fn at(&self, step: &str) -> Self {
        Self { path: format!("{}/{step}", self.path), ..self.clone() }
    }

    fn with(&self, fields: &[(String, u64)]) -> Self {
        let mut inner = self.clone();
        inner.fields.extend(fields.iter().cloned());
        inner
    }
}

/// The number of lines logged so far.
static SAID: AtomicU64 = AtomicU64::new(0);

fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Fields with few distinct keys, so that they replace each other, and unique values.
fn random_fields(rng: &mut Rng) -> Vec<(String, u64)> {
    (0..rng.usize(0..4)).map(|_| (format!("f{}", rng.u8(0..6)), number())).collect()
}

fn context(fields: &[(String, u64)]) -> LogContext {
    fields.iter().fold(LogContext::new(), |context, (key, value)| context.field(key, *value))
}

fn random_id(rng: &mut Rng) -> CorrelationId {
    // Short IDs are stored inline, long ones are shared.
    let padding = if rng.bool() { "-long-enough-not-to-be-inline" } else { "" };
    format!("id-{}{padding}", number()).parse().unwrap()
}

/// Runs in the child process.
pub(crate) fn interleaves(file: &Path) {
    let log = process::init();
    let seed = env_number(SEED);
    let tasks = env_number(TASKS);
    work::run(seed, tasks);
    assert!(log.flush(std::time::Duration::from_hours(1)));
    std::fs::write(file.with_extension("said"), SAID.load(Ordering::Relaxed).to_string()).unwrap();
}

fn env_number(name: &str) -> u64 {
    std::env::var_os(name).unwrap().into_string().unwrap().parse().unwrap()
}

/// Runs the tasks in a child process and checks each line.
fn no_line_has_what_is_not_its_own(tasks: u64) {
    let seed = std::env::var_os(SEED).map_or_else(|| fastrand::u64(..), |_| env_number(SEED));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cloud.log");
    let mut program = process::command("interleaves", &path);
    program.env(SEED, seed.to_string()).env(TASKS, tasks.to_string());
    let output = program.stdout(std::process::Stdio::null()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{SEED}={seed}: {stderr}");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut process = None;
    let mut said = 0_u64;
    let mut wrong = Vec::new();
    for line in text.lines() {
        let record = strict::read(line).unwrap();
        let Some(expected) = record.pointer("/extra/expected") else {
            assert!(line.contains("Panicked: on purpose"), "{SEED}={seed}: {line}");
            continue;
        };
        said += 1;
        let id = &record["correlation_id"];
        if expected["id"].is_null() {
            let process = process.get_or_insert_with(|| id.clone());
            if process != id {
                wrong.push(line);
            }
        } else if expected["id"] != *id {
            wrong.push(line);
        }
        if expected["fields"] != fields_of(&record) {
            wrong.push(line);
        }
    }
    assert!(wrong.is_empty(), "{SEED}={seed}: {} lines, of which {:#?}", wrong.len(), &wrong[..1]);
    let expected = std::fs::read_to_string(path.with_extension("said")).unwrap();
    assert_eq!(said.to_string(), expected, "{SEED}={seed}");
    assert!(said > tasks * 5, "{SEED}={seed}: only {said} lines");
}

/// The fields of the record without the event's own.
fn fields_of(record: &Value) -> Value {
    let mut extra = record["extra"].as_object().unwrap().clone();
    extra.remove("expected");
    Value::Object(extra)
}

#[test]
fn no_line_of_three_thousand_tasks_has_what_is_not_its_own() {
    no_line_has_what_is_not_its_own(3000);
}

#[test]
fn no_line_of_eight_thousand_tasks_has_what_is_not_its_own() {
    if strict::is_slow_wanted() {
        no_line_has_what_is_not_its_own(8_000);
    }
}
