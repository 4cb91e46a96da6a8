//! What is legal, what is not, and how it is said.

mod access;
mod local;
mod shown;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use st_store::ProviderEnding;

use super::{Config, Flags};

fn load(environment: &[(&str, &str)], yaml: Option<&str>) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    if let Some(yaml) = yaml {
        std::fs::write(dir.path().join("simpletuner-enterprise.yaml"), yaml).unwrap();
    }
    load_in(dir.path(), environment, &Flags::default())
}

fn load_in(cwd: &Path, environment: &[(&str, &str)], flags: &Flags) -> Result<Config, String> {
    let mut variables: BTreeMap<String, String> =
        environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    variables.entry("HOME".to_owned()).or_insert_with(|| "/home/nobody".to_owned());
    Config::load(&variables, flags, cwd)
        .map_err(|faults| faults.to_string().replace(&format!("{}/", cwd.display()), ""))
}

#[test]
fn nothing_given_is_the_defaults() {
    let config = load(&[], None).unwrap();
    assert_eq!((config.host.to_string().as_str(), config.port), ("127.0.0.1", 8001));
    assert_eq!(config.background.polling.period, Duration::from_secs(30));
    assert!(!config.background.polling.enabled);
    assert_eq!(config.background.approval_check, Duration::from_mins(5));
    assert_eq!(config.state_dir, Path::new("/home/nobody/.simpletuner"));
    assert_eq!(config.config_dir, Path::new("/home/nobody/.simpletuner/configs"));
    assert!(config.replicate.api_token.is_none() && config.file.is_none());
    assert!(load(&[], Some("")).is_ok(), "an empty file says nothing");
}

#[test]
fn every_bad_variable_is_named_at_once() {
    let said = load(
        &[
            ("SIMPLETUNER_LOG_LEVEL", "LOUD"),
            ("SIMPLETUNER_LOG_FORMAT", "xml"),
            ("SIMPLETUNER_JOB_POLL_INTERVAL", "5m"),
            ("SIMPLETUNER_APPROVAL_CHECK_INTERVAL", "0"),
            ("SIMPLETUNER_HOST", "example.org"),
            ("SIMPLETUNER_PORT", "70000"),
            ("SIMPLETUNER_SSL_VERIFY", "maybe"),
            ("SIMPLETUNER_CA_BUNDLE", "/nowhere.pem"),
            ("SIMPLETUNER_HTTP_TIMEOUT", "61"),
            ("SIMPLETUNER_JOB_RETENTION_DAYS", "-1"),
            ("REPLICATE_API_BASE_URL", "ftp://x"),
            ("SIMPLETUNER_LOG_LEVLE", "INFO"),
            ("SIMPLETUNER_ENTERPRISE_CONFIG", "/nowhere.yaml"),
        ],
        None,
    )
    .unwrap_err();
    assert_eq!(said.lines().count(), 1 + 13, "{said}");
    for line in [
        "SIMPLETUNER_LOG_LEVLE: unknown variable, did you mean SIMPLETUNER_LOG_LEVEL?",
        "SIMPLETUNER_LOG_FORMAT: ",
        "SIMPLETUNER_JOB_POLL_INTERVAL: expected a whole number from 1 to 86400, found \"5m\"",
        "SIMPLETUNER_HOST: invalid value \"example.org\": expected an IP address",
        "SIMPLETUNER_ENTERPRISE_CONFIG: /nowhere.yaml cannot be read",
    ] {
        assert!(said.contains(line), "{line}\nis not in\n{said}");
    }
}

#[test]
fn a_token_loses_white_space_and_is_never_repeated() {
    let token = |text| {
        load(&[("REPLICATE_API_TOKEN", text)], None).map(|it| it.replicate.api_token.is_some())
    };
    assert_eq!(token("r8_secret"), Ok(true));
    assert_eq!(token(" r8_secret\n"), Ok(true));
    assert_eq!(token(" \n"), Ok(false), "as good as none");
    for bad in ["r8_secret\nr8_secret", "r8_ secret", "r8_sécret", "r8_secret\u{0}"] {
        let said = token(bad).unwrap_err();
        assert!(said.contains("REPLICATE_API_TOKEN: expected a token such as r8_..."), "{said}");
        assert!(!said.contains("cret"), "{said}");
    }
}

#[test]
fn a_value_that_is_no_utf8_is_refused_where_it_would_be_used() {
    let damaged = [("SIMPLETUNER_STATE_DIR", "/srv/\u{fffd}"), ("OTHERS", "\u{fffd}")];
    let said = load(&damaged, None).unwrap_err();
    assert_eq!(said.lines().nth(1), Some("  SIMPLETUNER_STATE_DIR: is not UTF-8"), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
}

#[test]
fn the_setting_that_names_the_log_file_is_known() {
    let setting = |env: &[_], yaml| load(env, yaml).unwrap().log_file_setting;
    let yaml = Some("logging: { file: /tmp/a.log }\n");
    assert!(setting(&[], yaml).ends_with("simpletuner-enterprise.yaml:1:18: logging.file"));
    let env = [("SIMPLETUNER_LOG_FILE", "/tmp/b.log")];
    assert_eq!(setting(&env, yaml), "SIMPLETUNER_LOG_FILE");
    assert_eq!(setting(&env, None), "SIMPLETUNER_LOG_FILE");
}

#[test]
fn every_fault_of_the_file_is_named_with_its_place() {
    let yaml = "\
background:
  job_status_polling:
    intervall_seconds: 30
    enabled: perhaps
  queue_processing:
    enabled: false
    interval_seconds: 10
providers:
  local:
    commands:
      Bad Name: { program: /bin/true }
      relative: { program: true.sh, args: [1] }
server:
  port: 0
  host: example.org
";
    let said = load(&[], Some(yaml)).unwrap_err();
    for line in [
        "simpletuner-enterprise.yaml:3:24: background.job_status_polling.intervall_seconds: \
         unknown field, did you mean \"interval_seconds\"?",
        "yaml:4:14: background.job_status_polling.enabled: expected true or false, found text",
        "yaml:6:14: background.queue_processing.enabled: the queue cannot be disabled",
        "yaml:7:23: background.queue_processing.interval_seconds: the interval is fixed",
        "providers.local.commands.Bad Name: a command's name",
        "providers.local.commands.relative.program: must be an absolute path",
        "providers.local.commands.relative.args.0: expected text, found a number",
        "yaml:14:9: server.port: expected a whole number from 1 to 65535, found 0",
        "yaml:15:9: server.host: invalid value \"example.org\": expected an IP",
    ] {
        assert!(said.contains(line), "{line}\nis not in\n{said}");
    }
}

#[test]
fn broken_yaml_says_where() {
    let said = load(&[], Some("background:\n  - x\n y: [\n")).unwrap_err();
    assert!(said.contains("simpletuner-enterprise.yaml:3:"), "{said}");
    let twice = load(&[], Some("server:\n  port: 1\n  port: 2\n")).unwrap_err();
    assert!(twice.contains("port"), "{twice}");
}

#[test]
fn flags_go_before_the_environment_and_that_before_the_file() {
    let yaml = "background: { job_status_polling: { enabled: true, interval_seconds: 60 } }\n\
                server: { port: 9001 }\n";
    let file = load(&[], Some(yaml)).unwrap();
    assert_eq!((file.port, file.background.polling.period), (9001, Duration::from_mins(1)));
    assert!(file.background.polling.enabled);
    let environment = [("SIMPLETUNER_PORT", "9002"), ("SIMPLETUNER_JOB_POLL_INTERVAL", "45")];
    let both = load(&environment, Some(yaml)).unwrap();
    assert_eq!((both.port, both.background.polling.period), (9002, Duration::from_secs(45)));
    let flags = Flags { port: Some("9003".to_owned()), ..Flags::default() };
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(load_in(dir.path(), &environment, &flags).unwrap().port, 9003);
}

#[test]
fn finished_jobs_are_kept_for_90_days_another_time_or_for_ever() {
    let days = |environment: &[(&str, &str)], yaml| {
        let kept = load(environment, yaml).unwrap().background.keep_jobs_for;
        kept.map(|kept| kept.as_hours() / 24)
    };
    let yaml = Some("background: { job_retention: { days: 7 } }\n");
    let variable = "SIMPLETUNER_JOB_RETENTION_DAYS";
    assert_eq!(days(&[], None), Some(90));
    assert_eq!(days(&[], yaml), Some(7));
    assert_eq!(days(&[(variable, "30")], yaml), Some(30));
    assert_eq!(days(&[(variable, "0")], yaml), None);
    let said = load(&[(variable, "36501")], Some("background: { job_retention: { days: -1 } }\n"));
    let said = said.unwrap_err();
    assert!(said.contains("JOB_RETENTION_DAYS: expected a whole number from 0 to 36500"), "{said}");
}

#[test]
fn the_log_s_secrets_are_the_usual_ones_and_those_that_are_named() {
    let redaction = |yaml: &str| load(&[], Some(yaml)).unwrap().log.redaction;
    assert!(redaction("").covers("api_key") && !redaction("").covers("hf_account"));
    let named = redaction("logging: { redact: [account, home-address] }");
    assert!(named.covers("api_key") && named.covers("hf_account") && named.covers("homeAddress"));
}

#[test]
fn the_switches_of_the_log_are_off_until_they_are_set() {
    let switches = |environment: &[(&str, &str)], yaml: &str| {
        let log = load(environment, Some(yaml)).unwrap().log;
        [log.trace_context, log.include_stack_info, log.color]
    };
    assert_eq!(switches(&[], ""), [false, false, true]);
    assert_eq!(switches(&[("NO_COLOR", "")], "logging: { level: INFO }"), [false, false, true]);
    assert_eq!(
        switches(&[("NO_COLOR", "1")], "logging: { trace_context: true }"),
        [true, false, false]
    );
    assert_eq!(switches(&[], "logging: { include_stack_info: true }"), [false, true, true]);
    let said = load(&[], Some("logging:\n  trace_context: maybe\n  include_stack: 1\n"));
    let said = said.unwrap_err();
    for line in [
        "yaml:2:18: logging.trace_context: expected true or false, found text",
        "yaml:3:18: logging.include_stack: unknown field, there are",
    ] {
        assert!(said.contains(line), "{line}\nis not in\n{said}");
    }
}

#[test]
fn variables_are_filled_into_the_file() {
    let yaml =
        "server: { port: \"${PORT}\", state_dir: \"${BASE}/state\", config_dir: \"a$${b}\" }\n";
    let config = load(&[("PORT", "9004"), ("BASE", "/srv")], Some(yaml)).unwrap();
    assert_eq!(config.port, 9004);
    assert_eq!(config.state_dir, Path::new("/srv/state"));
    assert_eq!(config.config_dir, Path::new("a${b}"));
    let missing = load(&[], Some(yaml)).unwrap_err();
    assert!(missing.contains("server.port: the environment has no PORT"), "{missing}");
}

#[test]
fn what_is_filled_in_is_what_the_setting_takes_and_not_what_it_looks_like() {
    let yaml = "providers:\n  local:\n    commands:\n      x:\n        program: /bin/x\n        \
                args: [\"--seed\", \"${SEED}\"]\n        env: { FLAG: \"${FLAG}\" }\n";
    for text in ["0", "42", "1e10", "true", "0x1F", "null", "~", ""] {
        let config = load(&[("SEED", text), ("FLAG", text)], Some(yaml)).unwrap();
        let command = &config.local.commands["x"];
        assert_eq!(command.args, ["--seed", text]);
        assert_eq!(command.env["FLAG"], text);
    }
    let said = load(&[("PORT", "many")], Some("server:\n  port: ${PORT}\n")).unwrap_err();
    let expected = "yaml:2:9: server.port: expected a whole number from 1 to 65535, found \"many\"";
    assert!(said.contains(expected), "{said}");
    let yaml = "background: { job_status_polling: { enabled: \"${ON}\" } }";
    assert!(load(&[("ON", "yes")], Some(yaml)).unwrap().background.polling.enabled);
    let said = load(&[], Some("server:\n  port: \"${PORT:-1}\"\n")).unwrap_err();
    assert!(said.contains("no PORT:-1; there is no form with a default"), "{said}");
}

#[test]
fn a_leading_tilde_is_the_home_directory() {
    let yaml = "server: { state_dir: ~/st }\nlogging: { file: ~/st.log }\n";
    let config = load(&[("HOME", "/home/ann"), ("SIMPLETUNER_CONFIG_DIR", "~/c")], Some(yaml));
    let config = config.unwrap();
    assert_eq!(config.state_dir, Path::new("/home/ann/st"));
    assert_eq!(config.config_dir, Path::new("/home/ann/c"));
    assert_eq!(config.log.file.as_deref(), Some(Path::new("/home/ann/st.log")));
    let said = load(&[("HOME", "")], Some(yaml)).unwrap_err();
    assert!(said.contains("server.state_dir: begins with ~/, and HOME is not set"), "{said}");
}

#[test]
fn a_token_may_be_in_a_file_or_be_a_credential() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("REPLICATE_API_TOKEN");
    std::fs::write(&file, "r8_planted\n").unwrap();
    let (file, folder) = (file.to_str().unwrap(), dir.path().to_str().unwrap());
    let is_set =
        |environment: &[_]| load(environment, None).map(|it| it.replicate.api_token.is_some());
    assert_eq!(is_set(&[("REPLICATE_API_TOKEN_FILE", file)]), Ok(true));
    assert_eq!(is_set(&[("CREDENTIALS_DIRECTORY", folder)]), Ok(true));
    assert_eq!(is_set(&[("CREDENTIALS_DIRECTORY", "/nowhere")]), Ok(false));
    let both = [("REPLICATE_API_TOKEN_FILE", file), ("REPLICATE_API_TOKEN", "r8_other")];
    let said = is_set(&both).unwrap_err();
    let expected = "REPLICATE_API_TOKEN_FILE: may not be set together with REPLICATE_API_TOKEN";
    assert!(said.contains(expected), "{said}");
    let said = is_set(&[("REPLICATE_API_TOKEN_FILE", "/nowhere")]).unwrap_err();
    assert!(said.contains("REPLICATE_API_TOKEN_FILE: /nowhere cannot be read"), "{said}");
}

#[test]
fn a_token_is_never_repeated() {
    let config = load(&[("REPLICATE_API_TOKEN", "r8_secret")], None).unwrap();
    assert!(!format!("{config:?}").contains("r8_secret"));
    assert_eq!(config.replicate.base_url, "https://api.replicate.com/v1");
    let said = load(&[("REPLICATE_API_TOKEN", "r8_secret"), ("SIMPLETUNER_PORT", "x")], None);
    assert!(!said.unwrap_err().contains("r8_secret"));
}

#[test]
fn how_often_replicate_may_be_called_comes_from_the_file() {
    let limits = |yaml: Option<&str>| {
        let config = load(&[("REPLICATE_API_TOKEN", "r8_secret")], yaml).unwrap();
        let limits = config.replicate.limits;
        (limits.creates.get(), limits.others.get())
    };
    assert_eq!(limits(None), (600, 3000));
    let some = "providers: {replicate: {calls_per_minute: {submissions: 60}}}";
    assert_eq!(limits(Some(some)), (60, 3000));
    let none = "providers: {replicate: {calls_per_minute: {others: 0}}}";
    let said = load(&[], Some(none)).unwrap_err();
    assert!(said.contains("a whole number from 1 to 1000000, found 0"), "{said}");
}

#[test]
fn the_endings_after_which_a_job_runs_again_come_from_the_file() {
    let endings = |yaml: Option<&str>| {
        let config = load(&[("REPLICATE_API_TOKEN", "r8_secret")], yaml)?;
        Ok::<_, String>(config.replicate.retry_on.into_iter().collect::<Vec<_>>())
    };
    assert_eq!(endings(None), Ok(vec![]));
    let yaml = "providers: {replicate: {retry_on: [preempted, aborted]}}";
    assert_eq!(endings(Some(yaml)), Ok(vec![ProviderEnding::Aborted, ProviderEnding::Preempted]));
    let said = endings(Some("providers: {replicate: {retry_on: [failed]}}")).unwrap_err();
    let legal = "unknown provider ending \"failed\", expected one of aborted, preempted";
    assert!(said.contains(legal), "{said}");
}

#[test]
fn numbers_and_text_that_cannot_be_kept_are_named_with_their_place() {
    let yaml = "server:\n  port: 80.0\n  state_dir: \"a\\0b\"\nproviders:\n  local:\n    \
                commands:\n      x:\n        program: /bin/x\n        args: [\"\\0\"]\n";
    let said = load(&[], Some(yaml)).unwrap_err();
    for line in [
        "yaml:2:9: server.port: expected a whole number from 1 to 65535, found 80.0",
        "yaml:3:14: server.state_dir: may not contain the character U+0000",
        "yaml:9:16: providers.local.commands.x.args.0: may not contain the character U+0000",
    ] {
        assert!(said.contains(line), "{line} in {said}");
    }
}

#[test]
fn proxies_are_read_in_either_case_and_never_repeated() {
    let proxies = |environment: &[(&str, &str)]| {
        let config = load(environment, None)?;
        Ok::<_, String>(format!("{:?}", config.http.proxies))
    };
    let none = proxies(&[]).unwrap();
    assert_eq!(proxies(&[("HTTPS_PROXY", ""), ("http_proxy", " ")]).unwrap(), none);
    let both = [
        ("https_proxy", "http://lower:1"),
        ("HTTPS_PROXY", "http://me:hunter2@upper:1"),
        ("http_proxy", "plain:2"),
        ("no_proxy", "near.example"),
    ];
    assert_eq!(
        proxies(&both).unwrap(),
        "Proxies { https: Some(Proxy(http://upper:1)), http: Some(Proxy(http://plain:2)), \
         no_proxy: \"near.example\" }"
    );
    let faults = proxies(&[("HTTPS_PROXY", "socks5://me:hunter2@p:1"), ("http_proxy", "a b")]);
    let faults = faults.unwrap_err();
    assert!(faults.contains("HTTPS_PROXY: the proxy must begin with http:// or https://"));
    assert!(faults.contains("http_proxy: the proxy is not a valid URL"), "{faults}");
    assert!(!faults.contains("hunter2"), "{faults}");
}

#[test]
fn prices_of_the_file_go_before_the_published_ones() {
    let token = [("REPLICATE_API_TOKEN", "r8_secret")];
    let yaml = "providers:\n  replicate:\n    prices: { l40s: 0.5, someone/flux: 2 }\n";
    let prices = load(&token, Some(yaml)).unwrap().replicate.prices;
    let price = |model: &str| prices.per_second(model);
    assert_eq!(price("simpletuner/advanced-trainer-l40s"), Some(0.5));
    assert_eq!(price("someone/flux"), Some(2.0));
    assert_eq!(price("simpletuner/advanced-trainer-h100"), Some(0.001_525));

    let yaml = "providers:\n  replicate:\n    prices:\n      t4: 0.1\n      h100: free\n      \
                l40s: -1\n";
    let said = load(&token, Some(yaml)).unwrap_err();
    for line in [
        "yaml:4:11: providers.replicate.prices.t4: expected a model such as owner/model, or a \
         profile: expected one of h100, h100-x2",
        "yaml:5:13: providers.replicate.prices.h100: expected a number from 0 to 100, found text",
        "yaml:6:13: providers.replicate.prices.l40s: expected a number from 0 to 100, found -1",
    ] {
        assert!(said.contains(line), "{line}\nis not in\n{said}");
    }
}

#[test]
fn outputs_have_their_defaults_and_every_fault_is_named() {
    let outputs = load(&[], None).unwrap().outputs;
    assert!(!outputs.download && outputs.allowed_networks.is_empty());
    assert_eq!(outputs.dir, Path::new("/home/nobody/.simpletuner/outputs"));
    assert_eq!(outputs.max_bytes, 50 << 30);
    let yaml = "\
outputs:
  download: true
  dir: /srv/outputs
  max_bytes: 2GiB
  allowed_networks: [10.0.0.0/8]
";
    let outputs = load(&[], Some(yaml)).unwrap().outputs;
    assert!(outputs.download);
    assert_eq!((outputs.dir.as_path(), outputs.max_bytes), (Path::new("/srv/outputs"), 2 << 30));
    assert_eq!(outputs.allowed_networks, ["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(load(&[], Some("outputs: { max_bytes: 1000 }")).unwrap().outputs.max_bytes, 1000);
    let yaml = "\
outputs:
  downlod: true
  dir: outputs
  max_bytes: 50 gigabytes
  allowed_networks: [intranet]
";
    let said = load(&[], Some(yaml)).unwrap_err();
    for line in [
        "yaml:2:12: outputs.downlod: unknown field, did you mean \"download\"?",
        "yaml:3:8: outputs.dir: must be an absolute path",
        "yaml:4:14: outputs.max_bytes: expected a number of bytes of at least 1, or a size such as \
         500MiB or 50GiB, found \"50 gigabytes\"",
        "outputs.allowed_networks: item 0: expected a network such as 10.0.0.0/8 or fd00::/8, \
         found \"intranet\"",
    ] {
        assert!(said.contains(line), "{line}\nis not in\n{said}");
    }
    for bad in ["0", "-1", "0MiB", "1.5", "true"] {
        let said = load(&[], Some(&format!("outputs: {{ max_bytes: {bad} }}"))).unwrap_err();
        assert!(said.contains("expected a number of bytes"), "{said}");
    }
}
