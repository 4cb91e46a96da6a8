//! Described providers in the file: that they are read, and where their faults are.

use std::collections::BTreeMap;

use st_store::ProviderName;

use crate::config::{Config, Flags};

const SHIPPED: &str = include_str!("../../../../../providers/providers.yaml");

const KEYS: [(&str, &str); 5] = [
    ("RUNPOD_API_KEY", "rp-planted"),
    ("OPENAI_API_KEY", "sk-planted"),
    ("TOGETHER_API_KEY", "tg-planted"),
    ("FAL_KEY", "fal-planted"),
    ("HF_TOKEN", "hf_planted"),
];

/// Loads a file that begins with `providers:`; the faults without the path of the file.
fn load(below: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let lines = below.lines().map(|line| format!("  {line}\n"));
    let text: String = std::iter::once("providers:\n".to_owned()).chain(lines).collect();
    std::fs::write(dir.path().join("simpletuner-enterprise.yaml"), text).unwrap();
    let variables = [("HOME", "/home/nobody")].iter().chain(environment);
    let variables: BTreeMap<String, String> =
        variables.map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Config::load(&variables, &Flags::default(), dir.path())
        .map_err(|faults| faults.to_string().replace(&format!("{}/", dir.path().display()), ""))
}

/// The shipped descriptions, with files in place of the ones that no test machine has.
fn shipped(token: &str) -> String {
    SHIPPED
        .replace("/var/run/secrets/kubernetes.io/serviceaccount/token", token)
        .replace("/run/st/slurm.jwt", token)
}

#[test]
fn the_shipped_descriptions_are_read_beside_the_known_providers() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "jwt-planted\n").unwrap();
    let known = "replicate: { api_base_url: 'https://api.replicate.com/v1' }\nlocal: {}\n";
    let text = format!("{known}{}", shipped(&file.path().display().to_string()));
    let config = load(&text, &KEYS).unwrap();
    let names: Vec<&str> = config.described.keys().map(ProviderName::as_str).collect();
    let expected = ["fal", "hf_jobs", "kubernetes", "openai_ft", "runpod", "slurm", "together"];
    assert_eq!(names, expected);
    let shown = format!("{config:?}");
    assert!(!shown.contains("planted"), "{shown}");
}

#[test]
fn a_credential_that_is_not_there_is_named_with_its_place() {
    let said = load(SHIPPED, &KEYS[1..]).unwrap_err();
    assert!(
        said.contains(
            ":7:28: providers.runpod.auth.bearer.env: the environment has no RUNPOD_API_KEY"
        ),
        "{said}"
    );
    assert!(
        said.contains(
            "providers.slurm.auth.value.file: the credential in /run/st/slurm.jwt cannot"
        ),
        "{said}"
    );
    assert!(!said.contains("planted"), "{said}");
    assert_eq!(said.lines().count(), 1 + 3, "{said}");
}

#[test]
fn every_fault_has_file_line_and_column() {
    let text = SHIPPED
        .replace("seconds: { at: /executionTime", "seconds: { att: /executionTime")
        .replace("1000/10s", "fast")
        .replace("means: gone, after: 10m }\n  limits", "means: lost, after: 10m }\n  limits");
    let said = load(&text, &KEYS).unwrap_err();
    for line in [
        "simpletuner-enterprise.yaml:24:23: providers.runpod.job.seconds.att: unknown key, did you mean \"at\"?",
        "providers.runpod.job.seconds.at: is required",
        "simpletuner-enterprise.yaml:29:45: providers.runpod.answers.0.means: \"lost\" is not legal, \
         expected accepted,",
        "simpletuner-enterprise.yaml:30:23: providers.runpod.limits.submit: \"fast\" is not legal",
    ] {
        assert!(said.contains(line), "{line} in {said}");
    }
}

#[test]
fn a_misspelt_known_provider_and_a_bad_name_are_refused() {
    let said = load("replicat: { api_base_url: x }", &[]).unwrap_err();
    assert!(
        said.contains("providers.replicat: unknown field, did you mean \"replicate\"?"),
        "{said}"
    );
    let said = load("My Cloud: { kind: http }", &[]).unwrap_err();
    assert!(said.contains("providers.My Cloud: a provider's name has 1 to 64 of a-z"), "{said}");
    let said = load("cloud: { kind: grpc }", &[]).unwrap_err();
    assert!(said.contains("providers.cloud.kind: \"grpc\" is not legal, expected http"), "{said}");
    assert!(said.contains("providers.cloud.at_most_once: is required"), "{said}");
}

#[test]
fn results_must_last_for_three_polls() {
    let text = SHIPPED.replace("body: 10MiB", "keeps: 80s");
    let only: String = text.split("kubernetes:").next().unwrap().to_owned();
    let said = load(&only, &KEYS).unwrap_err();
    assert!(
        said.contains(
            "providers.runpod.limits.keeps: results are kept for 80s and jobs are polled every 30s"
        ),
        "{said}"
    );
    let often = [KEYS[0], ("SIMPLETUNER_JOB_POLL_INTERVAL", "20")];
    load(&only, &often).unwrap();
}
