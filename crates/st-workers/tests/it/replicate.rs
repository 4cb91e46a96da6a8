//! The replicate provider against a Replicate with a ledger: what each answer, and each silence,
//! means.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use st_log::{CorrelationId, InScope};
use st_store::{Clock, JobId, JobStatus, Marker, ProviderJobId, ProviderSettings, SystemClock};
use st_testkit::replicate::{FakeReplicate, Fault};
use st_workers::provider::replicate::{ApiToken, Replicate, ReplicateConfig};
use st_workers::provider::{Provider, ProviderError, RemoteJob, Submission};

use crate::support::status_of;

fn provider_at(base_url: String) -> Replicate {
    let http = st_http::Config {
        attempt_timeout: Duration::from_millis(200),
        overall_timeout: Duration::from_millis(400),
        ..st_http::Config::default()
    };
    let config = ReplicateConfig { base_url, api_token: ApiToken::new("r8_secret") };
    Replicate::new(config, st_http::Client::new(http).unwrap()).unwrap()
}

async fn start() -> (FakeReplicate, Replicate) {
    let fake = FakeReplicate::start().await;
    let provider = provider_at(fake.base_url());
    (fake, provider)
}

fn marker(number: u8) -> Marker {
    Marker { job: JobId::new(Timestamp::UNIX_EPOCH, [number; 10]), attempt: 1 }
}

fn submission(number: u8) -> Submission {
    Submission {
        marker: marker(number),
        input: json!({"config": {"--model_type": "lora"}, "dataloader_config": [1]}),
        hardware_type: None,
        settings: ProviderSettings {
            version_override: Some("owner/model:abc".to_owned()),
            ..ProviderSettings::default()
        },
    }
}

fn known(id: &str, number: u8) -> RemoteJob {
    RemoteJob {
        id: marker(number).job,
        provider_job_id: ProviderJobId::new(id),
        correlation_id: CorrelationId::parse(&format!("of-{number}")).unwrap(),
        submitted_at: SystemClock.wall(),
        hardware_type: None,
    }
}

#[tokio::test]
async fn a_submission_carries_its_input_its_marker_and_its_correlation_id() {
    let (fake, provider) = start().await;
    let id = CorrelationId::parse("req-1").unwrap();
    let report = provider.submit(&submission(1)).with_correlation_id(id).await.unwrap();
    assert_eq!(report.status, Some(JobStatus::Queued));
    let asked = fake.world().requests().remove(0);
    assert_eq!(asked.header("x-correlation-id"), Some("req-1"));
    assert_eq!(asked.header("authorization"), Some("Bearer r8_secret"));
    assert_eq!(asked.body["version"], "owner/model:abc");
    let input = &asked.body["input"];
    assert_eq!(input["config_json"], "{\"--model_type\":\"lora\"}");
    assert_eq!(input["dataloader_json"], "[1]");
    assert_eq!(input["st_marker"], marker(1).to_string());
}

/// What a submission came to, in one word, and how often it was charged for.
async fn submitted_under(fault: Fault) -> (&'static str, usize) {
    let (fake, provider) = start().await;
    fake.world().fault(Some("POST"), fault);
    let word = match provider.submit(&submission(1)).await {
        Ok(_) => "ok",
        Err(ProviderError::Transient { .. }) => "transient",
        Err(ProviderError::Permanent { .. }) => "permanent",
        Err(ProviderError::Unauthorized { .. }) => "unauthorized",
        Err(ProviderError::UnknownOutcome { .. }) => "unknown",
        Err(_) => "other",
    };
    (word, fake.world().charges().len())
}

#[tokio::test]
async fn only_what_certainly_did_nothing_may_be_repeated() {
    let table = [
        (Fault::DropAfter, ("unknown", 1)),
        (Fault::DropBefore, ("unknown", 0)),
        (Fault::Garbage, ("unknown", 1)),
        (Fault::Silence, ("unknown", 0)),
        (Fault::ServerError, ("unknown", 0)),
        (Fault::TooMany { retry_after: None }, ("transient", 0)),
        (Fault::Redirect("http://127.0.0.1:1/".to_owned()), ("permanent", 0)),
    ];
    for (fault, expected) in table {
        assert_eq!(submitted_under(fault.clone()).await, expected, "{fault:?}");
    }
    let nobody = provider_at("http://127.0.0.1:1/v1".to_owned());
    let refused = nobody.submit(&submission(1)).await.unwrap_err();
    assert!(matches!(refused, ProviderError::Transient { .. }), "{refused:?}");
}

#[tokio::test]
async fn silence_is_waited_for_longer_than_a_broken_connection() {
    let mut waits = Vec::new();
    for fault in [Fault::DropAfter, Fault::Silence] {
        let (fake, provider) = start().await;
        fake.world().fault(Some("POST"), fault);
        match provider.submit(&submission(1)).await {
            Err(ProviderError::UnknownOutcome { may_arrive_for, .. }) => waits.push(may_arrive_for),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(waits, [Duration::from_secs(15), Duration::from_mins(2)]);
}

#[tokio::test]
async fn a_lost_reply_is_found_by_its_marker_and_by_no_other() {
    let (fake, provider) = start().await;
    let since = SystemClock.wall();
    fake.world().drop_next_reply();
    provider.submit(&submission(1)).await.unwrap_err();
    provider.submit(&submission(2)).await.unwrap();
    let found = provider.find_by_marker(marker(1).job, Some(1), since).await.unwrap();
    let charged = fake.world().charges();
    let ids: Vec<&str> = found.iter().map(|found| found.status.provider_job_id.as_str()).collect();
    assert_eq!(ids, [charged[0].as_str()]);
    assert!(provider.find_by_marker(marker(3).job, Some(1), since).await.unwrap().is_empty());
    let later = since + SignedDuration::from_mins(10);
    assert!(
        provider.find_by_marker(marker(1).job, Some(1), later).await.unwrap().is_empty(),
        "too old"
    );
}

#[tokio::test]
async fn what_can_no_longer_be_found_out_is_no_absence() {
    let (fake, provider) = start().await;
    let since = SystemClock.wall();
    fake.world().drop_next_reply();
    provider.submit(&submission(1)).await.unwrap_err();
    let id = fake.world().charges().remove(0);
    fake.world().hold("succeeded");
    fake.world().change(&id, |job| job.data_removed = true);
    let found = provider.find_by_marker(marker(1).job, Some(1), since).await;
    let deleted = |jobs: &[ProviderJobId]| jobs == [ProviderJobId::new(id.clone())];
    assert!(
        matches!(&found, Err(ProviderError::InputsDeleted { jobs }) if deleted(jobs)),
        "{found:?}"
    );
}

#[tokio::test]
async fn many_jobs_are_polled_through_the_list_and_each_has_its_answer() {
    let (fake, provider) = start().await;
    fake.world().hold("processing");
    let mut jobs = Vec::new();
    for number in 0..250 {
        let number = u8::try_from(number).unwrap();
        jobs.push(known(&fake.world().add(json!({})), number));
    }
    jobs.push(known("gone", 251));
    let answers = provider.statuses(&jobs).await;
    assert_eq!(answers.len(), 251);
    for (job, answer) in jobs.iter().zip(&answers).take(250) {
        let report = answer.as_ref().unwrap();
        assert_eq!(report.provider_job_id, job.provider_job_id);
        assert_eq!(report.status, Some(JobStatus::Running));
    }
    assert!(matches!(answers[250], Err(ProviderError::NotFound)));
    // Three pages, and one call for the job that the list does not have.
    assert_eq!(fake.world().requests().len(), 4);
}

#[tokio::test]
async fn a_few_jobs_are_polled_one_by_one_under_their_own_ids() {
    let (fake, provider) = start().await;
    let jobs = [known(&fake.world().add(json!({})), 1), known(&fake.world().add(json!({})), 2)];
    let answers = provider.statuses(&jobs).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 2);
    let mut ids: Vec<String> = fake
        .world()
        .requests()
        .iter()
        .map(|asked| asked.header("x-correlation-id").unwrap().to_owned())
        .collect();
    ids.sort();
    assert_eq!(ids, ["of-1", "of-2"]);
}

#[tokio::test]
async fn the_token_follows_no_link_to_another_host() {
    let (fake, provider) = start().await;
    let thief = FakeReplicate::start().await;
    for _ in 0..3 {
        fake.world().add(json!({}));
    }
    let next = format!("{}/predictions?cursor=100", thief.base_url());
    fake.world().fault(Some("GET"), Fault::NextAt(next));
    let found = provider.find_by_marker(marker(1).job, Some(1), SystemClock.wall()).await;
    assert!(
        matches!(found, Err(ProviderError::Transient { .. })),
        "not certainly absent: {found:?}"
    );
    fake.world().fault(Some("GET"), Fault::Redirect(thief.base_url()));
    provider.validate().await.unwrap_err();
    assert!(thief.world().requests().is_empty());
}

#[tokio::test]
async fn a_provider_in_trouble_is_called_once_and_not_for_each_job() {
    let (fake, provider) = start().await;
    let jobs: Vec<RemoteJob> =
        (0..10).map(|number| known(&fake.world().add(json!({})), number)).collect();
    fake.world().fault(Some("GET"), Fault::TooMany { retry_after: Some("30") });
    for answer in provider.statuses(&jobs).await {
        match answer {
            Err(ProviderError::Transient { retry_after, .. }) => {
                assert_eq!(retry_after, Some(Duration::from_secs(30)));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(fake.world().requests().len(), 1);
}

#[tokio::test]
async fn a_finished_job_has_its_cost_its_times_and_its_result() {
    let (fake, provider) = start().await;
    fake.world().steps(&["starting", "succeeded"]);
    let job = known(&fake.world().add(json!({})), 1);
    let report = status_of(&provider, &job).await.unwrap();
    assert_eq!(report.status, Some(JobStatus::Completed));
    assert!((report.cost_usd.unwrap() - 12.5 * 0.001_525).abs() < 1e-9, "one H100 by default");
    assert!(report.started_at.is_some() && report.completed_at.is_some());
    assert_eq!(report.output_url.as_deref(), Some("https://replicate.delivery/x.tar"));
    assert_eq!(provider.logs(&job).await.unwrap(), "step 1/10\n");
    fake.world().change(job.provider_job_id.as_str(), |job| job.data_removed = true);
    assert!(matches!(provider.logs(&job).await, Err(ProviderError::NotFound)));
}

#[tokio::test]
async fn aborted_is_cancelled_and_an_unknown_word_says_nothing() {
    let (fake, provider) = start().await;
    let job = known(&fake.world().add(json!({})), 1);
    for (word, status) in [("resting", None), ("aborted", Some(JobStatus::Cancelled))] {
        fake.world().hold(word);
        assert_eq!(status_of(&provider, &job).await.unwrap().status, status, "{word}");
    }
}

#[tokio::test]
async fn cancelling_twice_or_what_is_gone_is_no_error() {
    let (fake, provider) = start().await;
    let job = known(&fake.world().add(json!({})), 1);
    for _ in 0..2 {
        assert_eq!(provider.cancel(&job).await.unwrap().status, Some(JobStatus::Cancelled));
    }
    let gone = provider.cancel(&known("gone", 2)).await.unwrap();
    assert_eq!(gone.status, Some(JobStatus::Cancelled));
    let hostile = status_of(&provider, &known("../account", 3)).await;
    assert!(matches!(hostile, Err(ProviderError::NotFound)));
    fake.world().fault(Some("POST"), Fault::ServerError);
    let failed = provider.cancel(&job).await;
    assert!(matches!(failed, Err(ProviderError::Transient { .. })), "to be tried again");
}

#[tokio::test]
async fn the_account_is_known_or_the_token_is_not() {
    let (_fake, provider) = start().await;
    assert_eq!(provider.validate().await.unwrap().username, "tester");
    assert!(!format!("{provider:?}").contains("r8_secret"));
    assert!(
        provider
            .check(&json!({}), &ProviderSettings::default())
            .unwrap_err()
            .contains("version_override")
    );
}
