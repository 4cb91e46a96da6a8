//! The shipped descriptions, the answers that were recorded of them, and descriptions that are wrong.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use st_store::{ProviderEnding, ProviderName};
use st_testkit::fuzz::Fuzz;

use crate::provider::Provider as _;

use super::*;

const SHIPPED: &str = include_str!("../../../../../providers/providers.yaml");
const SAMPLES: &str = include_str!("../../../../../providers/samples.json");

fn shipped() -> BTreeMap<String, Value> {
    serde_yaml::from_str(SHIPPED).unwrap()
}

fn described(name: &str) -> Description {
    Description::read(&shipped()[name]).unwrap()
}

/// The faults of a shipped description after a change.
fn faults(name: &str, change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut value = shipped().remove(name).unwrap();
    change(&mut value);
    match Description::read(&value) {
        Ok(_) => Vec::new(),
        Err(faults) => {
            faults.into_iter().map(|it| format!("{}: {}", it.pointer, it.message)).collect()
        }
    }
}

fn set(at: &str, to: Value) -> impl FnOnce(&mut Value) {
    let (above, key) = at.rsplit_once('/').unwrap();
    let (above, key) = (above.to_owned(), key.to_owned());
    move |value| {
        value.pointer_mut(&above).unwrap().as_object_mut().unwrap().insert(key, to);
    }
}

fn remove(at: &str) -> impl FnOnce(&mut Value) {
    let (above, key) = at.rsplit_once('/').unwrap();
    let (above, key) = (above.to_owned(), key.to_owned());
    move |value| {
        value.pointer_mut(&above).unwrap().as_object_mut().unwrap().remove(&key).unwrap();
    }
}

#[test]
fn every_shipped_description_is_read_and_makes_all_its_requests() {
    let shipped = shipped();
    assert_eq!(shipped.len(), 7);
    for (name, value) in &shipped {
        let description =
            Description::read(value).unwrap_or_else(|faults| panic!("{name}: {faults:#?}"));
        let requests = description.requests(None);
        assert!(requests.len() >= 3, "{name}: {requests:#?}");
        for request in requests {
            let text =
                request.text.unwrap_or_else(|why| panic!("{name} {}: {why}", request.operation));
            assert!(!text.contains("{{"), "{name}: {text}");
            assert!(text.contains("***"), "the credential of {name} is shown masked: {text}");
        }
    }
}

#[test]
fn recorded_answers_get_the_right_judgement() {
    let samples: BTreeMap<String, Vec<Value>> = serde_json::from_str(SAMPLES).unwrap();
    let mut judged = 0;
    for (name, samples) in &samples {
        let description = described(name);
        for sample in samples {
            let body = sample["doc"].to_string();
            let saved = SavedAnswer { operation: "status", status: 200, body: &body };
            let lines = description.judge(&ProviderName::new(name), saved).unwrap();
            let expected = match sample["is"].as_str().unwrap() {
                "unknown" => "not known".to_owned(),
                word => format!("status: {word}"),
            };
            assert!(lines.join("\n").contains(&expected), "{name} {body}: {lines:?}");
            judged += 1;
        }
    }
    assert_eq!(judged, 26);
}

#[test]
fn a_request_is_shown_as_it_goes_out() {
    let requests = described("kubernetes").requests(Some(&json!({"config": {"lr": 1}})));
    let submit = requests[0].text.clone().unwrap();
    let head = "POST https://10.0.0.1:6443/apis/batch/v1/namespaces/training/jobs\n\
                authorization: Bearer ***\ncontent-type: application/json\n\n{";
    assert!(submit.starts_with(head), "{submit}");
    assert!(submit.contains(r#""value": "{\"lr\":1}""#), "{submit}");
    let cancel = requests.iter().find(|request| request.operation == "cancel").unwrap();
    let cancel = cancel.text.clone().unwrap();
    assert!(cancel.starts_with("PATCH ") && cancel.contains("merge-patch+json"), "{cancel}");
    let find = described("openai_ft").requests(None);
    let find = find.iter().find(|request| request.operation == "find").unwrap();
    let find = find.text.clone().unwrap();
    assert!(find.contains("/fine_tuning/jobs?metadata%5Bst_marker%5D=00000000-"), "{find}");
}

#[test]
fn faults_are_named_all_at_once_with_their_places() {
    let found = faults("runpod", |value| {
        set("/statuss", json!({}))(value);
        set("/job/status/0/mean", json!("queued"))(value);
        remove("/job/id")(value);
        set("/limits/submit", json!("fast"))(value);
        set("/base_url", json!("http://api.runpod.ai"))(value);
        set("/auth/bearer", json!("sk-planted"))(value);
    });
    for expected in [
        "/job/status/0/mean: unknown key, did you mean \"means\"?",
        "/job/id: is required",
        "/limits/submit: \"fast\" is not legal, expected a rate such as 1000/10s or 60/1m",
        "/base_url: must be https, or the description says insecure: accepted",
        "/auth/bearer: expected {env: NAME} or {file: PATH}, never the secret itself, found text",
    ] {
        assert!(found.iter().any(|fault| fault == expected), "{expected} in {found:#?}");
    }
    assert!(found.iter().all(|fault| !fault.contains("planted")), "{found:#?}");
}

/// A change of a shipped description; values are JSON.
#[derive(Debug, Clone, Copy)]
enum Change {
    Set(&'static str, &'static str),
    Remove(&'static str),
}

use Change::{Remove, Set};

const FAULTS: [(&str, Change, &str); 28] = [
    ("runpod", Set("/kind", "\"htp\""), "/kind: \"htp\" is not legal"),
    ("runpod", Set("/statuss", "{}"), "/statuss: unknown key, did you mean \"status\""),
    ("runpod", Remove("/at_most_once"), "/at_most_once: is required: {how: key}"),
    ("runpod", Remove("/at_most_once/accepted"), "/at_most_once/accepted: is required: why"),
    ("runpod", Set("/at_most_once/how", "\"hope\""), "/at_most_once/how: \"hope\" is not legal"),
    ("runpod", Set("/submit/get", "\"/x\""), "/submit: needs one of get, post"),
    ("runpod", Set("/status/get", "\"v2\""), "/status/get: \"v2\" is not legal, a path"),
    ("runpod", Set("/status/get", "\"/a/../b\""), "/status/get: a path may not have"),
    ("runpod", Set("/status/get", "\"/a?b=1\""), "/status/get: a path is ASCII without"),
    (
        "runpod",
        Set("/status/get", "\"/{{ marker.text }}\""),
        "/status/get: there is no marker.text here, expected one of job.id",
    ),
    ("openai_ft", Remove("/prices/tokens"), "/prices: needs a price tokens"),
    ("openai_ft", Remove("/submit/body/metadata"), "/submit: must carry the marker"),
    ("together", Remove("/list"), "/at_most_once: needs a list or find with the pointer"),
    ("together", Remove("/list/marker"), "/at_most_once: needs a list or find with the pointer"),
    ("kubernetes", Remove("/at_most_once/conflict"), "/at_most_once/conflict: is required"),
    (
        "kubernetes",
        Set("/submit/body/metadata/name", "\"a-{{ marker.dns }}\""),
        "/submit: must give the job the name",
    ),
    (
        "kubernetes",
        Set("/at_most_once/name", "\"st-{{ job.id }}\""),
        "/at_most_once: its name must differ from attempt to attempt",
    ),
    ("kubernetes", Set("/at_most_once/keep_for", "\"3m\""), "/at_most_once: keep_for must be"),
    ("kubernetes", Set("/sweep/after", "\"30m\""), "/sweep: after may not be shorter"),
    ("runpod", Remove("/own_error"), "/answers: a rule that means gone needs a condition"),
    (
        "together",
        Set("/submit/body/suffix", "\"a-{{ marker.dns }}\""),
        "/submit: must carry the marker",
    ),
    ("slurm", Remove("/at_most_once/release"), "/at_most_once/release: is required"),
    ("slurm", Set("/submit/headers/Host", "\"x\""), "/submit/headers/Host: \"Host\" cannot be"),
    ("hf_jobs", Set("/list/post", "\"/x\""), "/list: needs one of get"),
    ("hf_jobs", Set("/vars/a b", "1"), "/vars/a b: the name of a variable"),
    ("fal", Set("/logs/as", "\"rows\""), "/logs/as: \"rows\" is not legal, expected text"),
    ("fal", Set("/limits", "{\"in_flight\": 0}"), "/limits/in_flight: expected a whole number"),
    ("fal", Remove("/job/status"), "/job/status: is required: a list of rules such as"),
];

#[test]
fn every_single_fault_is_refused_where_it_is() {
    for (name, change, said) in FAULTS {
        let found = match change {
            Set(at, json) => faults(name, set(at, serde_json::from_str(json).unwrap())),
            Remove(at) => faults(name, remove(at)),
        };
        let is_named = found.iter().any(|fault| fault.starts_with(said));
        assert!(is_named, "{name} {change:?} {said}: {found:#?}");
    }
}

#[test]
fn rules_that_never_match_and_ends_that_nothing_means_are_refused() {
    let rules = |value: &mut Value| value["job"]["status"].as_array_mut().unwrap().clone();
    let swapped = faults("fal", |value| {
        let mut rules = rules(value);
        rules.swap(2, 3);
        value["job"]["status"] = rules.into();
    });
    assert_eq!(swapped, ["/job/status/3: never matches: a rule above it matches all of it"]);
    let short = faults("fal", |value| {
        let rules = rules(value);
        value["job"]["status"] = rules[..3].to_vec().into();
    });
    assert_eq!(short, ["/job/status: no rule means completed, so no job could end so"]);
}

#[test]
fn a_job_that_the_provider_ended_by_itself_differs_from_one_that_failed() {
    for (word, ending) in [
        ("PREEMPTED", Some(ProviderEnding::Preempted)),
        ("NODE_FAIL", Some(ProviderEnding::Preempted)),
        ("FAILED", None),
        ("COMPLETED", None),
    ] {
        let job = json!({"job_id": 7, "state": {"current": [word]}});
        let status = described("slurm").job.report(&job, "7", &BTreeMap::new(), None);
        assert_eq!(status.ending, ending, "{word}");
    }
    let both = json!(["aborted", "preempted"]);
    assert_eq!(
        faults("slurm", set("/retry_on", both)),
        ["/retry_on: names aborted, and no rule of job/status says ended: aborted"]
    );
    assert_eq!(faults("slurm", set("/retry_on", json!(["preempted"]))), Vec::<String>::new());
    assert_eq!(
        faults("slurm", set("/job/status/0/ended", json!("preempted"))),
        ["/job/status/0/ended: is only for a rule that means failed or cancelled"]
    );
}

#[test]
fn what_comes_from_the_environment_is_in_no_error_and_a_secret_nowhere() {
    let mut value = shipped().remove("slurm").unwrap();
    value["vars"]["key"] = json!("s3cr3t-token");
    value["headers"] = json!({"x-key": "{{ vars.key }}"});
    value.as_object_mut().unwrap().remove("auth");
    let description = Description::read(&value).unwrap();
    let credentials = Credentials::load(&description, &BTreeMap::new()).unwrap();
    let client = st_http::Client::new(st_http::Config::default()).unwrap();
    let name = ProviderName::new("slurm");
    let provider = HttpProvider::new(name, description, credentials, client)
        .hiding(["token", "research", "s3cr3t-token"], ["s3cr3t-token"]);
    let text = "research with s3cr3t-token";
    assert_eq!(provider.connection.mask(text), "*** with ***");
    // An ordinary word of a log or an address stays.
    assert_eq!(provider.connection.mask_result(text), "research with ***");
    let account = format!("{:?}", provider.account().unwrap());
    assert!(account.contains("?key=") && !account.contains("s3cr3t"), "{account}");
}

#[test]
fn warnings_and_hints_say_what_an_operator_should_know() {
    let runpod = described("runpod").warnings();
    assert!(runpod[0].contains("the worker refuses a marker that it has seen"), "{runpod:?}");
    assert_eq!(described("kubernetes").warnings(), Vec::<String>::new());
    let together = described("together").hints().join("\n");
    assert!(
        together.contains("covers: unknown or active") && together.contains("no own_error"),
        "{together}"
    );
}

#[test]
fn answers_are_judged_by_rule_then_by_status() {
    let table = [
        ("kubernetes", "submit", 409, r#"{"kind":"Status","reason":"AlreadyExists"}"#, "conflict"),
        ("kubernetes", "submit", 409, r#"{"kind":"Status","reason":"Other"}"#, "unknown"),
        ("kubernetes", "submit", 422, r#"{"kind":"Status","message":"no"}"#, "rejected"),
        ("kubernetes", "submit", 422, "<html>nginx</html>", "unknown"),
        ("kubernetes", "submit", 429, r#"{"details":{"retryAfterSeconds":3}}"#, "unavailable"),
        ("kubernetes", "submit", 403, r#"{"kind":"Status"}"#, "unavailable"),
        ("kubernetes", "submit", 503, r#"{"kind":"Status"}"#, "unknown"),
        ("kubernetes", "submit", 201, r#"{"metadata":{"name":"a"}}"#, "accepted"),
        ("kubernetes", "submit", 201, "<html>", "unknown"),
        ("kubernetes", "status", 404, r#"{"reason":"NotFound"}"#, "gone"),
        ("kubernetes", "status", 404, "<html>nginx</html>", "trouble"),
        ("kubernetes", "cancel", 404, r#"{"reason":"NotFound"}"#, "done"),
        ("runpod", "status", 404, "", "trouble"),
        ("runpod", "status", 404, r#"{"error":"no such job"}"#, "gone"),
        ("slurm", "submit", 200, r#"{"errors":[{"error":"timed out"}]}"#, "unknown"),
        ("slurm", "submit", 200, r#"{"job_id":7,"errors":[]}"#, "accepted"),
        ("openai_ft", "status", 401, r#"{"error":{"message":"who?"}}"#, "credentials"),
        ("openai_ft", "submit", 429, r#"{"error":{"code":"insufficient_quota"}}"#, "unavailable"),
        ("openai_ft", "list", 200, r#"{"data":[{"id":"j"}],"has_more":true}"#, "1 rows, 0 of them"),
    ];
    for (name, operation, status, body, expected) in table {
        let saved = SavedAnswer { operation, status, body };
        let lines = described(name).judge(&ProviderName::new(name), saved).unwrap();
        assert!(lines[0].starts_with(expected), "{name} {operation} {status} {body}: {lines:?}");
    }
}

/// Whatever is wrong with a description, it is read or refused with places, and never more.
#[test]
fn mutated_descriptions_are_read_or_refused() {
    let corpus: Vec<String> =
        shipped().values().map(|it| serde_yaml::to_string(it).unwrap()).collect();
    let corpus: Vec<&[u8]> = corpus.iter().map(String::as_bytes).collect();
    let dictionary = [
        "{{ ",
        " }}",
        "?",
        " | json",
        "input.",
        "marker.text",
        "~",
        "/",
        "null",
        "[]",
        "{}",
        "[",
        "]",
        "{",
        "}",
        ": ",
        "- ",
        "\n",
        "\n  ",
        "status",
        "means",
        "is",
        "at",
        "-1",
        "1e400",
        "\"",
        "'",
        "10m",
        "1/0s",
        "\u{0}",
        "é",
    ];
    let fuzz = Fuzz { corpus: &corpus, dictionary: &dictionary };
    fuzz.run(|bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let Ok(value) = serde_yaml::from_str::<Value>(text) else { return };
        match Description::read(&value) {
            Ok(description) => {
                description.requests(None);
                description.hints();
            }
            Err(faults) => {
                assert!(!faults.is_empty());
                assert!(faults.iter().all(|it| !it.message.is_empty()), "{faults:?}");
            }
        }
    });
}
