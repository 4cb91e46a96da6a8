//! What people see of the configuration that is in effect.

use std::collections::BTreeMap;

use super::super::{Config, Flags};

#[test]
fn each_value_is_shown_with_what_set_it_and_no_secret_is() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = "server:\n  port: 9001\n  host: \"${WHERE}\"\nproviders:\n  replicate: { api_token: \
                r8_planted, retry_on: [aborted] }\n  local:\n    commands:\n      x: { program: \
                /bin/x, env: { HF_TOKEN: hf_planted } }\n";
    std::fs::write(dir.path().join("simpletuner-enterprise.yaml"), yaml).unwrap();
    let variables = [
        ("HOME", "/home/nobody"),
        ("WHERE", "127.0.0.2"),
        ("SIMPLETUNER_JOB_POLL_INTERVAL", "45"),
        ("HTTPS_PROXY", "http://me:planted@proxy:1"),
    ];
    let environment: BTreeMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let flags = Flags { port: Some("9002".to_owned()), ..Flags::default() };
    let shown = Config::show(&environment, &flags, dir.path(), true).unwrap();
    let shown = shown.replace(&format!("{}/simpletuner-enterprise", dir.path().display()), "x");
    for line in [
        "server.port: 9002  # --port",
        "server.host: 127.0.0.2  # x.yaml:3:9",
        "server.state_dir: ~/.simpletuner  # default",
        "background.job_status_polling.interval_seconds: 45  # SIMPLETUNER_JOB_POLL_INTERVAL",
        "http.https_proxy: ***  # HTTPS_PROXY",
        "providers.replicate.api_token: ***  # x.yaml:5:27",
        "providers.replicate.retry_on: [\"aborted\"]  # x.yaml:5:49",
        "providers.local.commands.x.program: \"/bin/x\"  # x.yaml:8:21",
        "providers.local.commands.x.env.HF_TOKEN: ***  # x.yaml:8:46",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\nis not in\n{shown}");
    }
    assert!(!shown.contains("planted"), "{shown}");
    let plain = Config::show(&environment, &flags, dir.path(), false).unwrap();
    assert!(plain.contains("server.port: 9002\n"), "{plain}");
}

/// What is shown of this file.
fn shown(yaml: &str, variables: &[(&str, &str)]) -> String {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("simpletuner-enterprise.yaml"), yaml).unwrap();
    let mut environment: BTreeMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    environment.insert("HOME".to_owned(), "/home/nobody".to_owned());
    Config::show(&environment, &Flags::default(), dir.path(), false).unwrap()
}

#[test]
fn what_a_variable_filled_in_is_shown_as_it_is_in_effect() {
    let yaml = "server: {state_dir: '${BASE}/state', config_dir: '/srv/$${BASE}', hosts: ['${NAME}']}\n\
                logging: {level: '${LEVEL}'}\noutputs: {dir: '/srv/${MY_TOKEN}'}\n\
                providers: {local: {commands: {x: {program: '${BASE}/x'}}}}\n";
    let variables = [
        ("BASE", "/srv/long-enough"),
        ("NAME", "jobs.example.org"),
        ("LEVEL", "WARNING"),
        ("MY_TOKEN", "planted-secret"),
    ];
    let shown = shown(yaml, &variables);
    for line in [
        "server.state_dir: /srv/long-enough/state",
        "server.config_dir: /srv/${BASE}",
        "server.hosts: [\"jobs.example.org\"]",
        "logging.level: WARNING",
        "outputs.dir: /srv/${MY_TOKEN}",
        "providers.local.commands.x.program: \"/srv/long-enough/x\"",
    ] {
        assert!(shown.lines().any(|it| it == line), "{line}\nis not in\n{shown}");
    }
}

#[test]
fn what_may_have_a_secret_in_it_is_shown_as_the_file_has_it() {
    let yaml = "providers:\n  replicate: {api_token: '${ACCOUNT}'}\n  local:\n    commands:\n      \
                x: {program: /bin/x, args: ['${PW}', '$${PW}'], env: {A: '${PW}', KEEP: a}}\n\
                outputs: {dir: '/srv/${ACCOUNT}'}\n";
    let shown = shown(yaml, &[("PW", "planted-secret"), ("ACCOUNT", "r8_planted-token")]);
    for line in [
        "providers.replicate.api_token: ***",
        "providers.local.commands.x.args: [\"${PW}\",\"$${PW}\"]",
        "providers.local.commands.x.env.A: \"${PW}\"",
        "providers.local.commands.x.env.KEEP: \"a\"",
    ] {
        assert!(shown.lines().any(|it| it == line), "{line}\nis not in\n{shown}");
    }
    assert!(!shown.contains("planted"), "{shown}");
}
