//! The replicate provider against a Replicate with a ledger: what it sends and what it makes of
//! plain answers. What it makes of refusals and silence is in `replicate_contract`.

mod access;
mod list;
mod statuses;
mod submitting;
mod webhooks;
mod windows;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use jiff::Timestamp;
use serde_json::{Value, json};
use st_http::{Client, Config};
use st_log::{CorrelationId, InScope};
use st_store::{
    AtMostOnce, JobId, JobStatus, Marker, ProviderJobId, ProviderSettings, ProviderStatus,
};
use st_testkit::replicate::{Call, FakeReplicate, Fault, World};
use st_workers::provider::replicate::{ApiToken, CallLimits, Prices, Replicate, ReplicateConfig};
use st_workers::provider::{Arrivals, Cause, Provider, QueryError, RemoteJob, Submission};

pub(crate) const TOKEN: &str = "r8_very-secret";

pub(crate) fn provider_with(base_url: &str, token: &str, patience: Duration) -> Replicate {
    let http = Config { attempt_timeout: patience, overall_timeout: patience, ..Config::default() };
    let api_token = ApiToken::parse(token).unwrap();
    let (limits, prices) = (CallLimits::default(), Prices::default());
    let config = ReplicateConfig {
        base_url: base_url.to_owned(),
        api_token: Some(api_token),
        limits,
        prices,
        retry_on: BTreeSet::new(),
        webhook_secrets: Vec::new(),
    };
    Replicate::new(config, Client::new(http).unwrap()).unwrap()
}

pub(crate) fn provider_at(base_url: &str) -> Replicate {
    provider_with(base_url, TOKEN, Duration::from_mins(1))
}

pub(crate) fn limited_to(limits: CallLimits, base_url: &str) -> Replicate {
    let api_token = ApiToken::parse(TOKEN).unwrap();
    let prices = Prices::default();
    let config = ReplicateConfig {
        base_url: base_url.to_owned(),
        api_token: Some(api_token),
        limits,
        prices,
        retry_on: BTreeSet::new(),
        webhook_secrets: Vec::new(),
    };
    Replicate::new(config, Client::new(Config::default()).unwrap()).unwrap()
}

pub(crate) async fn start() -> (FakeReplicate, Replicate) {
    let fake = FakeReplicate::start().await;
    let provider = provider_at(&fake.base_url());
    (fake, provider)
}

pub(crate) fn marker(attempt: u32) -> Marker {
    Marker { job: JobId::new(Timestamp::UNIX_EPOCH, [7; 10]), attempt }
}

/// One that is named whole, so that it is not asked for.
pub(crate) fn version() -> String {
    format!("simpletuner/advanced-trainer-l40s:{}", "ab".repeat(32))
}

pub(crate) fn settings() -> ProviderSettings {
    ProviderSettings { version_override: Some(version()), ..ProviderSettings::default() }
}

pub(crate) fn submission() -> Submission {
    Submission {
        marker: marker(1),
        account: None,
        input: json!({"config": {"--lora_rank": 16}, "config_name": "mine"}),
        hardware_type: Some("l40s".to_owned()),
        settings: settings(),
    }
}

/// A job that is not ours alone in the test: each has an identifier of its own.
pub(crate) fn known(provider_job_id: &str) -> RemoteJob {
    let random = fastrand::u128(..).to_le_bytes()[..10].try_into().unwrap();
    RemoteJob {
        id: JobId::new(Timestamp::UNIX_EPOCH, random),
        provider_job_id: ProviderJobId::new(provider_job_id),
        account: None,
        correlation_id: CorrelationId::parse(&format!("of-{provider_job_id}")).unwrap(),
        age: Duration::from_secs(90),
        hardware_type: None,
    }
}

pub(crate) fn add(world: &World, count: usize) -> Vec<RemoteJob> {
    (0..count).map(|_| known(&world.add(json!({})))).collect()
}

/// The requests so far, as `GET /account`, without queries.
pub(crate) fn asked(world: &World) -> Vec<String> {
    let line = |path: &str| path.split('?').next().unwrap().to_owned();
    world.requests().iter().map(|it| format!("{} {}", it.method, line(&it.path))).collect()
}

pub(crate) async fn status_of(
    provider: &dyn Provider,
    job: &RemoteJob,
) -> Result<ProviderStatus, QueryError> {
    let (id, answer) = provider.statuses(std::slice::from_ref(job)).next().await.unwrap();
    assert_eq!(id, job.id);
    answer
}

#[tokio::test]
async fn a_job_is_submitted_once_and_followed_to_its_end() {
    let (fake, provider) = start().await;
    let id = CorrelationId::parse("req-1").unwrap();
    let first = provider.submit(&submission()).with_correlation_id(id).await.unwrap();
    assert_eq!(first.status, Some(JobStatus::Queued));
    assert_eq!(fake.world().charges(), [first.provider_job_id.as_str()]);
    let asked = fake.world().requests().remove(0);
    assert_eq!(asked.header("x-correlation-id"), Some("req-1"));
    assert_eq!(asked.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));

    let job =
        RemoteJob { hardware_type: Some("l40s".to_owned()), ..known(&fake.world().charges()[0]) };
    let running = status_of(&provider, &job).await.unwrap();
    assert_eq!((running.status, running.cost_usd), (Some(JobStatus::Running), None));
    let done = status_of(&provider, &job).await.unwrap();
    assert_eq!(done.status, Some(JobStatus::Completed));
    assert_eq!(done.output_url.as_deref(), Some("https://replicate.delivery/x.tar"));
    assert!(done.started_at.is_some() && done.completed_at.is_some());
    // 12.5 seconds of one L40S.
    assert!((done.cost_usd.unwrap() - 12.5 * 0.000_975).abs() < 1e-9, "{done:?}");
    assert_eq!(provider.logs(&job).await.unwrap(), "step 1/10\n");
}

#[tokio::test]
async fn the_trainer_gets_its_settings_as_text_and_the_marker() {
    let (fake, provider) = start().await;
    let input = json!({
        "config": {"--seed": 42}, "dataloader_config": [{"id": "a"}], "lycoris_config": {"algo": "lokr"},
        "config_name": "mine", "webhook_url": "https://example.org"
    });
    provider.submit(&Submission { input, ..submission() }).await.unwrap();
    let body = fake.world().requests().remove(0).body;
    let expected = json!({
        "version": version(),
        "input": {
            "config_json": "{\"--seed\":42}", "dataloader_json": "[{\"id\":\"a\"}]",
            "lycoris_config": "{\"algo\":\"lokr\"}", "st_marker": marker(1).to_string(),
            "webhook_config": "{\"callback_url\":\"https://example.org\",\"log_level\":\"info\",\
                               \"webhook_type\":\"raw\"}"
        }
    });
    assert_eq!(body, expected);

    let input = json!({"config": {}, "dataloader_config": null});
    provider.submit(&Submission { input, ..submission() }).await.unwrap();
    let body = fake.world().requests().remove(1).body;
    let expected = json!({"config_json": "{}", "st_marker": marker(1).to_string()});
    assert_eq!(body["input"], expected, "what is null was not given");
}

#[test]
fn only_a_token_that_a_header_can_hold_is_one() {
    for good in ["r8_x", " r8_x\n", "\tr8_x "] {
        assert_eq!(ApiToken::parse(good), ApiToken::parse("r8_x"), "{good:?}");
    }
    for bad in ["", " ", "r8 x", "r8_x\ny", "r8_\0", "r8_\u{7f}", "r8_é", "r8_\u{200b}x"] {
        let error = ApiToken::parse(bad).unwrap_err().to_string();
        assert!(error.starts_with("expected a token") && !error.contains("r8_x"), "{error}");
    }
    assert_eq!(format!("{:?}", ApiToken::parse("r8_secret").unwrap()), "ApiToken(..)");
}

#[tokio::test]
async fn an_aborted_job_is_cancelled_and_a_strange_word_says_nothing() {
    let (fake, provider) = start().await;
    let world = fake.world();
    let job = add(world, 1).remove(0);
    let becomes =
        |word: &str| world.change(job.provider_job_id.as_str(), |it| it.status = word.to_owned());
    world.steps(&["hibernating"]);
    assert_eq!(status_of(&provider, &job).await.unwrap().status, None);
    becomes("aborted");
    assert_eq!(status_of(&provider, &job).await.unwrap().status, Some(JobStatus::Cancelled));
    becomes("failed");
    world.change(job.provider_job_id.as_str(), |it| it.error = Some("out of memory".to_owned()));
    let failed = status_of(&provider, &job).await.unwrap();
    assert_eq!(failed.status, Some(JobStatus::Failed));
    assert_eq!(failed.error_message.as_deref(), Some("out of memory"));
}

#[tokio::test]
async fn an_answer_about_another_job_says_nothing_about_ours() {
    let (fake, provider) = start().await;
    let job = add(fake.world(), 1).remove(0);
    let other = json!({"id": "other", "status": "succeeded"}).to_string();
    for call in [Call::Get, Call::Cancel] {
        fake.world()
            .always(call, Fault::Answer { status: 200, headers: vec![], body: other.clone() });
    }
    for answer in [status_of(&provider, &job).await, provider.cancel(&job).await] {
        let QueryError::Unavailable(error) = answer.unwrap_err() else { panic!("not trouble") };
        assert_eq!(error.cause, Cause::Trouble);
        assert_eq!(error.chain(), "replicate's answer cannot be read: it is about another job");
    }
}

#[tokio::test]
async fn an_id_that_could_leave_its_place_is_not_asked_about() {
    let (fake, provider) = start().await;
    let hostile = RemoteJob { provider_job_id: ProviderJobId::new("../account"), ..known("x") };
    let answers = [
        status_of(&provider, &hostile).await.map(drop),
        provider.cancel(&hostile).await.map(drop),
        provider.logs(&hostile).await.map(drop),
    ];
    for answer in answers {
        assert!(matches!(&answer, Err(QueryError::Unavailable(_))), "{answer:?}");
    }
    assert!(fake.world().requests().is_empty());
}

#[tokio::test]
async fn logs_that_were_deleted_are_not_empty_logs() {
    let (fake, provider) = start().await;
    let job = add(fake.world(), 1).remove(0);
    assert_eq!(provider.logs(&job).await.unwrap(), "step 1/10\n");
    fake.world().change(job.provider_job_id.as_str(), |it| it.data_removed = true);
    let answer = provider.logs(&job).await;
    assert!(matches!(answer, Err(QueryError::NotFound)), "{answer:?}");
}

#[tokio::test]
async fn a_log_of_twenty_megabytes_does_not_hide_the_job() {
    let (fake, provider) = start().await;
    let job = add(fake.world(), 1).remove(0);
    let log = "step of many\n".repeat(1_600_000);
    let body = json!({"id": job.provider_job_id.as_str(), "status": "succeeded", "logs": log});
    fake.world()
        .always(Call::Get, Fault::Answer { status: 200, headers: vec![], body: body.to_string() });
    assert_eq!(status_of(&provider, &job).await.unwrap().status, Some(JobStatus::Completed));
    let shown = provider.logs(&job).await.unwrap();
    let end = shown.strip_prefix("...").unwrap();
    assert!(log.ends_with(end) && (900_000..=1024 * 1024).contains(&end.len()), "{}", end.len());
}

#[tokio::test]
async fn the_account_is_the_base_url_the_token_and_in_time_the_name() {
    let fake = FakeReplicate::start().await;
    fake.world().add_account("r8_another", "another");
    let provider = provider_at(&fake.base_url());
    let before = provider.account().unwrap();
    assert_eq!(provider.validate().await.unwrap().username, "tester");
    let named = provider.account().unwrap();
    // The first 16 digits of what sha256sum says about the token.
    let shown =
        format!(r#"{} {{"credential":"abf5901401697442","name":"tester"}}"#, fake.base_url());
    assert_eq!(named.to_string(), shown);
    assert_ne!(before, named);

    let another = provider_with(&fake.base_url(), "r8_another", Duration::from_secs(20));
    assert_ne!(another.account(), Some(before), "known by the token alone");
    assert_eq!(another.validate().await.unwrap().username, "another");
    assert_ne!(another.account(), Some(named.clone()));
    let again = provider_at(&format!("{}/", fake.base_url()));
    again.validate().await.unwrap();
    assert_eq!(again.account(), Some(named.clone()));

    fake.world().fault_on(Call::Account, Fault::Refused { status: 401, detail: "not valid" });
    let error = provider.validate().await.unwrap_err();
    assert_eq!(error.to_string(), "replicate answered 401: not valid");
    let (status, headers) = (200, Vec::new());
    fake.world().fault_on(Call::Account, Fault::Answer { status, headers, body: "{}".to_owned() });
    assert_eq!(provider.validate().await.unwrap().username, "");
    assert_eq!(provider.account(), Some(named.clone()), "nor do a failure and a missing name");
    for shown in [named.to_string(), format!("{provider:?}")] {
        assert!(!shown.contains(TOKEN), "{shown}");
    }
}

#[tokio::test]
async fn the_providers_time_is_that_of_its_answers() {
    let (fake, provider) = start().await;
    assert_eq!(provider.time(), None);
    let skew = jiff::SignedDuration::from_hours(-2);
    fake.world().skew(skew);
    fake.world().always(Call::Account, Fault::gateway(503));
    provider.validate().await.unwrap_err();
    let ours = st_store::Clock::wall(&st_store::SystemClock);
    let measured = provider.time().unwrap().duration_since(ours);
    assert!((measured - skew).abs() < jiff::SignedDuration::from_secs(30), "{measured:?}");
}

#[tokio::test]
async fn only_an_absolute_base_url_is_taken() {
    let client = Client::new(Config::default()).unwrap();
    let make = |base_url: &str| {
        let api_token = ApiToken::parse(TOKEN).unwrap();
        let (limits, prices) = (CallLimits::default(), Prices::default());
        let config = ReplicateConfig {
            base_url: base_url.to_owned(),
            api_token: Some(api_token),
            limits,
            prices,
            retry_on: BTreeSet::new(),
            webhook_secrets: Vec::new(),
        };
        Replicate::new(config, client.clone())
    };
    for good in ["https://api.replicate.com/v1", "http://127.0.0.1:9/v1/", "http://localhost"] {
        let provider = make(good).unwrap();
        assert_eq!(provider.guarantee(), AtMostOnce::ListedMarker, "{good}");
        assert!(matches!(provider.arrivals(), Arrivals::Listed(_)), "{good}");
    }
    let bad = ["", "/v1", "api.replicate.com/v1", "ftp://x/v1", "https:///v1", "https://x/v1?a=b"];
    for bad in bad {
        let error = make(bad).unwrap_err().to_string();
        assert!(
            error.ends_with("is no absolute http or https URL without user name and query"),
            "{error}"
        );
    }
    let error = make("https://me:hunter2@x/v1").unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_submission_that_is_answered_oddly_has_arrived() {
    let (fake, provider) = start().await;
    let answer =
        |body: Value| Fault::Answer { status: 201, headers: vec![], body: body.to_string() };
    fake.world().fault_on(Call::Create, answer(json!({"id": "p1", "status": null, "input": 7})));
    let report = provider.submit(&submission()).await.unwrap();
    assert_eq!((report.provider_job_id.as_str(), report.status), ("p1", None));
}
