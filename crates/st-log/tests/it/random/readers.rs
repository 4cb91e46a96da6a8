//! Other programs parse a file of random lines to the same values.

use std::fs;
use std::path::Path;
use std::process::Command;

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde_json::Value as Json;

use super::said;
use crate::strict;

const LINES: usize = 500;

/// Rejects duplicate keys and `NaN`, and prints the parsed values.
const PYTHON: &str = r#"
import json, sys
def strict(pairs):
    found = dict(pairs)
    assert len(found) == len(pairs), pairs
    return found
def refuse(constant):
    raise ValueError(constant)
with open(sys.argv[1], encoding="utf-8", newline="\n") as lines:
    for line in lines:
        read = json.loads(line, object_pairs_hook=strict, parse_constant=refuse)
        print(json.dumps(read, allow_nan=False))
"#;

/// Writes random lines to a file and returns them.
fn written(path: &Path) -> Vec<String> {
    let mut runner = TestRunner::default();
    let random = said();
    let mut line = || random.new_tree(&mut runner).unwrap().current().line();
    let lines: Vec<String> = (0..LINES).map(|_| line()).collect();
    fs::write(path, lines.concat()).unwrap();
    lines
}

/// The values that a program parses from a file of random lines, and the expected ones.
fn read_by(program: &str, arguments: &[&str]) -> Vec<(String, String)> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cloud.log");
    let lines = written(&path);
    let output = Command::new(program).args(arguments).arg(&path).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(stdout.lines().count(), lines.len());
    lines.into_iter().zip(stdout.lines().map(str::to_owned)).collect()
}

/// Numbers that a parser with only `f64` cannot represent are left out.
fn rounded(value: Json) -> Json {
    match value {
        Json::Number(it) => match it.as_f64().filter(|it| it.abs() < 9_007_199_254_740_992.0) {
            // Without the sign of zero.
            Some(it) => (it + 0.0).into(),
            None => "large".into(),
        },
        Json::Array(it) => it.into_iter().map(rounded).collect(),
        Json::Object(it) => it.into_iter().map(|(key, it)| (key, rounded(it))).collect(),
        Json::Null | Json::Bool(_) | Json::String(_) => value,
    }
}

#[test]
fn python_reads_what_we_read() {
    if !strict::has("python3") {
        return;
    }
    for (line, theirs) in read_by("python3", &["-c", PYTHON]) {
        let (ours, theirs) = (strict::read(&line).unwrap(), strict::read(&theirs).unwrap());
        assert_eq!(ours.to_string(), theirs.to_string(), "{line}");
    }
}

#[test]
fn jq_reads_what_we_read() {
    if !strict::has("jq") {
        return;
    }
    for (line, theirs) in read_by("jq", &["-c", "."]) {
        let (ours, theirs) = (strict::read(&line).unwrap(), strict::read(&theirs).unwrap());
        assert_eq!(rounded(ours), rounded(theirs), "{line}");
    }
}
