//! Mutated configuration files: each is read or refused with a place and a reason.

use std::collections::BTreeMap;
use std::path::PathBuf;

use st_testkit::fuzz::Fuzz;

use super::file::Text;
use super::sources::Sources;
use super::{Config, Flags};

const CORPUS: &[&[u8]] = &[
    b"background:\n  job_status_polling:\n    enabled: true\n    interval_seconds: 30\n",
    b"providers:\n  local:\n    commands:\n      train: { program: /usr/bin/python3, args: [/a.py] }\n",
    b"server: {host: 127.0.0.1, port: 8001, state_dir: \"${HOME}/state\"}\nlogging:\n  level: DEBUG\n",
    b"http:\n  timeout_seconds: 30\n  ssl_verify: false\nlogging: {redact: [a, b], file: x.log}\n",
    b"providers:\n  local: {devices: [0, 1], pass_env: [HF_*], log_mib: 1, limits: {nice: 1}}\n",
    b"# nothing\n---\nproviders: {replicate: {api_base_url: 'https://api.replicate.com/v1'}}\n",
];
const WORDS: &[&str] = &[
    "${HOME}",
    "${",
    "}",
    "{",
    "[",
    "]",
    ": ",
    "\n",
    "  ",
    "- ",
    "|\n",
    ">\n",
    "&a ",
    "*a",
    "<<: ",
    "!!binary ",
    "!x ",
    "\t",
    "'",
    "\"",
    "# ",
    "---\n",
    "...\n",
    "~",
    "null",
    "true",
    ".inf",
    "0x1f",
    "1e400",
    "-1",
    "99999999999999999999",
    "port",
    "server",
    "program",
    "\u{0}",
    "\u{feff}",
    "é",
    "?",
];

#[test]
fn configuration() {
    let environment = BTreeMap::from([("HOME".to_owned(), "/home/nobody".to_owned())]);
    let path = PathBuf::from("x.yaml");
    Fuzz { corpus: CORPUS, dictionary: WORDS }.run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let mut faults = Vec::new();
        let file = Text { path: path.clone(), text: text.clone().into_owned() };
        let sources = Sources::of(Some(file), &environment, &Flags::default(), &mut faults);
        let read = Config::of(&sources, &environment, faults);
        let faults = read.err().map(|faults| faults.0).unwrap_or_default();
        for fault in &faults {
            assert!(fault.place.starts_with("x.yaml") && !fault.message.is_empty(), "{fault:?}");
        }
        let plain = serde_yaml::from_str::<serde_yaml::Value>(&text);
        assert!(plain.is_ok() || !faults.is_empty(), "{text:?} was read");
    });
}
