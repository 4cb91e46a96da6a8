//! The Replicate provider against a Replicate with a ledger: what it asks, what it makes of the
//! answers, and above all what it says when an answer is lost.

use std::error::Error;
use std::net::TcpListener;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use st_http::{Client, Config};
use st_log::{CorrelationId, InScope};
use st_store::{
    Clock, JobId, JobStatus, Marker, ProviderJobId, ProviderSettings, ProviderStatus, SystemClock,
};
use st_testkit::replicate::{FakeReplicate, Fault, World};
use st_workers::provider::replicate::{ApiToken, Replicate, ReplicateConfig};
use st_workers::provider::{FoundJob, Provider, ProviderError, RemoteJob, Submission};

use crate::support::status_of;

const TOKEN: &str = "r8_very-secret";
const PATIENT: Duration = Duration::from_secs(20);
/// Short enough for a test to run into, long enough for a fake on this machine to get the request.
const IMPATIENT: Duration = Duration::from_millis(500);

fn provider_at(base_url: &str, patience: Duration) -> Replicate {
    let http = Config { attempt_timeout: patience, overall_timeout: patience, ..Config::default() };
    let config = ReplicateConfig { base_url: base_url.to_owned(), api_token: ApiToken::new(TOKEN) };
    Replicate::new(config, Client::new(http).unwrap()).unwrap()
}

async fn start() -> (FakeReplicate, Replicate) {
    let fake = FakeReplicate::start().await;
    let provider = provider_at(&fake.base_url(), PATIENT);
    (fake, provider)
}

/// Only what never answers is worth a short deadline.
fn patience(fault: &Fault) -> Duration {
    if matches!(fault, Fault::Silence | Fault::SlowBody) { IMPATIENT } else { PATIENT }
}

fn now() -> Timestamp {
    SystemClock.wall()
}

fn settings() -> ProviderSettings {
    let version = "simpletuner/advanced-trainer:abc".to_owned();
    ProviderSettings { version_override: Some(version), ..ProviderSettings::default() }
}

fn marker(attempt: u32) -> Marker {
    Marker { job: JobId::new(Timestamp::UNIX_EPOCH, [7; 10]), attempt }
}

fn submission() -> Submission {
    Submission {
        marker: marker(1),
        input: json!({"config": {"--lora_rank": 16}, "config_name": "mine"}),
        hardware_type: Some("l40s".to_owned()),
        settings: settings(),
    }
}

fn known(provider_job_id: &str) -> RemoteJob {
    RemoteJob {
        id: marker(1).job,
        provider_job_id: ProviderJobId::new(provider_job_id),
        correlation_id: CorrelationId::parse(&format!("of-{provider_job_id}")).unwrap(),
        submitted_at: now(),
        hardware_type: None,
    }
}

fn add(world: &World, count: usize) -> Vec<RemoteJob> {
    (0..count).map(|_| known(&world.add(json!({})))).collect()
}

/// The requests so far, as `GET /account`, without queries.
fn asked(world: &World) -> Vec<String> {
    let line = |path: &str| path.split('?').next().unwrap().to_owned();
    world.requests().iter().map(|it| format!("{} {}", it.method, line(&it.path))).collect()
}

/// An error in one line: what the caller acts upon, then the text.
fn verdict(error: &ProviderError) -> String {
    match error {
        ProviderError::Transient { message, retry_after, .. } => match retry_after {
            Some(wait) => format!("transient, again in {wait:?}: {message}"),
            None => format!("transient: {message}"),
        },
        ProviderError::UnknownOutcome { message, may_arrive_for, .. } => {
            format!("unknown for {may_arrive_for:?}: {message}")
        }
        ProviderError::Permanent { message } => format!("permanent: {message}"),
        ProviderError::Unauthorized { message } => format!("unauthorized: {message}"),
        other @ (ProviderError::NotFound | _) => format!("{other:?}"),
    }
}

fn ids(reports: &[ProviderStatus]) -> Vec<&str> {
    reports.iter().map(|report| report.provider_job_id.as_str()).collect()
}

fn found_ids(found: &[FoundJob]) -> Vec<&str> {
    found.iter().map(|found| found.status.provider_job_id.as_str()).collect()
}

#[tokio::test]
async fn a_job_is_submitted_once_and_followed_to_its_end() {
    let (fake, provider) = start().await;
    let first = provider.submit(&submission()).await.unwrap();
    assert_eq!(first.status, Some(JobStatus::Queued));
    assert_eq!(fake.world().charges(), [first.provider_job_id.as_str()]);

    let job =
        RemoteJob { hardware_type: Some("l40s".to_owned()), ..known(&fake.world().charges()[0]) };
    let running = status_of(&provider, &job).await.unwrap();
    assert_eq!((running.status, running.cost_usd), (Some(JobStatus::Running), None));
    let done = status_of(&provider, &job).await.unwrap();
    assert_eq!(done.status, Some(JobStatus::Completed));
    assert_eq!(done.output_url.as_deref(), Some("https://replicate.delivery/x.tar"));
    assert!(done.started_at.is_some() && done.completed_at.is_some());
    // 12.5 seconds of one L40S.
    assert!((done.cost_usd.unwrap() - 12.5 * 0.000_972_222).abs() < 1e-9, "{done:?}");
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
        "version": "simpletuner/advanced-trainer:abc",
        "input": {
            "config_json": "{\"--seed\":42}", "dataloader_json": "[{\"id\":\"a\"}]",
            "lycoris_config": "{\"algo\":\"lokr\"}", "st_marker": marker(1).to_string()
        }
    });
    assert_eq!(body, expected);

    let input = json!({"config": {}, "dataloader_config": null});
    provider.submit(&Submission { input, ..submission() }).await.unwrap();
    let body = fake.world().requests().remove(1).body;
    let expected = json!({"config_json": "{}", "st_marker": marker(1).to_string()});
    assert_eq!(body["input"], expected, "what is null was not given");
}

#[tokio::test]
async fn without_a_version_a_job_is_refused_before_it_is_queued() {
    let (fake, provider) = start().await;
    let nothing = ProviderSettings::default();
    let fault = provider.check(&json!({}), &nothing).unwrap_err();
    assert!(fault.contains("PUT /api/cloud/providers/replicate/config"), "{fault}");
    assert!(fault.contains("{\"version_override\": \"owner/model:version\"}"), "{fault}");
    assert_eq!(provider.check(&json!({}), &settings()), Ok(()));

    let error = provider.submit(&Submission { settings: nothing, ..submission() }).await;
    assert!(matches!(error, Err(ProviderError::Permanent { .. })), "{error:?}");
    assert!(fake.world().requests().is_empty());
}

#[tokio::test]
async fn a_failed_submission_says_whether_it_may_have_arrived() {
    let refused = |status, detail| Fault::Refused { status, detail };
    let throttled = "Request was throttled. Expected available in 1 second.";
    let lost = "unknown for 15s: the provider's answer was lost".to_owned();
    let table = [
        (Fault::DropAfter, lost.clone(), 1),
        (Fault::DropBefore, lost, 0),
        (Fault::SlowBody, "unknown for 120s: the provider's answer was lost".to_owned(), 1),
        (Fault::Silence, "unknown for 120s: the provider's answer was lost".to_owned(), 0),
        (Fault::Garbage, "unknown for 15s: the provider's answer cannot be read".to_owned(), 1),
        (Fault::ServerError, "unknown for 15s: Internal server error".to_owned(), 0),
        (refused(502, "bad gateway"), "unknown for 15s: bad gateway".to_owned(), 0),
        (
            Fault::TooMany { retry_after: Some("7") },
            format!("transient, again in 7s: {throttled}"),
            0,
        ),
        (Fault::TooMany { retry_after: None }, format!("transient, again in 1s: {throttled}"), 0),
        (refused(400, "no"), "permanent: no".to_owned(), 0),
        (refused(401, "who?"), "unauthorized: who?".to_owned(), 0),
        (refused(402, "no credit"), "permanent: no credit".to_owned(), 0),
        (refused(403, "not you"), "unauthorized: not you".to_owned(), 0),
        (refused(404, "no such version"), "permanent: no such version".to_owned(), 0),
        (refused(422, "input.x is odd"), "permanent: input.x is odd".to_owned(), 0),
    ];
    for (fault, expected, charged) in table {
        let fake = FakeReplicate::start().await;
        let provider = provider_at(&fake.base_url(), patience(&fault));
        fake.world().fault(Some("POST"), fault.clone());
        let error = provider.submit(&submission()).await.unwrap_err();
        assert_eq!(verdict(&error), expected, "{fault:?}");
        assert_eq!(fake.world().charges().len(), charged, "{fault:?}");
        assert_eq!(fake.world().requests().len(), 1, "{fault:?} was sent once");
    }
}

#[tokio::test]
async fn a_failed_poll_or_cancellation_may_always_be_repeated() {
    let throttled = "Request was throttled. Expected available in 1 second.";
    let unreachable = "transient: the provider cannot be reached".to_owned();
    let table = [
        (Fault::DropAfter, unreachable.clone()),
        (Fault::DropBefore, unreachable.clone()),
        (Fault::SlowBody, unreachable.clone()),
        (Fault::Silence, unreachable),
        (Fault::Garbage, "transient: the provider's answer cannot be read".to_owned()),
        (Fault::ServerError, "transient: Internal server error".to_owned()),
        (Fault::TooMany { retry_after: Some("7") }, format!("transient, again in 7s: {throttled}")),
        (Fault::Refused { status: 401, detail: "who?" }, "unauthorized: who?".to_owned()),
    ];
    for (fault, expected) in table {
        let fake = FakeReplicate::start().await;
        let provider = provider_at(&fake.base_url(), patience(&fault));
        let world = fake.world();
        let jobs = add(world, 3);
        let plan = || world.fault(None, fault.clone());
        plan();
        let mut errors = vec![status_of(&provider, &jobs[0]).await.unwrap_err()];
        plan();
        errors.push(provider.cancel(&jobs[0]).await.unwrap_err());
        plan();
        errors.push(provider.find_by_marker(marker(1).job, Some(1), now()).await.unwrap_err());
        plan();
        errors.extend(provider.statuses(&jobs).await.into_iter().map(Result::unwrap_err));
        let verdicts: Vec<String> = errors.iter().map(verdict).collect();
        assert_eq!(verdicts, vec![expected; 6], "{fault:?}");
        assert_eq!(
            world.requests().len(),
            4,
            "one list for three jobs, then no hammering: {fault:?}"
        );
    }
}

#[tokio::test]
async fn a_provider_that_is_not_there_was_certainly_not_sent_anything() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let provider = provider_at(&format!("http://{closed}"), PATIENT);
    let error = provider.submit(&submission()).await.unwrap_err();
    assert_eq!(verdict(&error), "transient: the provider cannot be reached");
    assert!(error.source().is_some(), "the reason is kept for the log");
}

#[tokio::test]
async fn a_job_whose_reply_was_lost_is_found_by_its_marker() {
    let (fake, provider) = start().await;
    add(fake.world(), 150);
    let before = now();
    fake.world().drop_next_reply();
    provider.submit(&submission()).await.unwrap_err();
    fake.world().fault(Some("POST"), Fault::DropBefore);
    let second = Submission { marker: marker(2), ..submission() };
    provider.submit(&second).await.unwrap_err();

    let found = provider.find_by_marker(marker(1).job, Some(1), before).await.unwrap();
    assert_eq!(found_ids(&found), [fake.world().jobs()[150].id.as_str()]);
    assert_eq!(found[0].status.status, Some(JobStatus::Running));
    assert_eq!(provider.find_by_marker(marker(2).job, Some(2), before).await.unwrap(), []);
    let later = before + SignedDuration::from_hours(1);
    assert_eq!(
        provider.find_by_marker(marker(1).job, Some(1), later).await.unwrap(),
        [],
        "created before"
    );
}

#[tokio::test]
async fn twins_are_listed_oldest_first_from_all_pages() {
    let (fake, provider) = start().await;
    let world = fake.world();
    let input = json!({"st_marker": marker(1).to_string()});
    let eldest = world.add(input.clone());
    add(world, 220);
    let youngest = world.add(input);
    let found = provider.find_by_marker(marker(1).job, Some(1), now()).await.unwrap();
    assert_eq!(found_ids(&found), [eldest.as_str(), youngest.as_str()]);
    assert_eq!(asked(world), ["GET /predictions"; 3]);
}

#[tokio::test]
async fn any_attempt_of_a_job_is_found_and_no_other_job() {
    let (fake, provider) = start().await;
    let world = fake.world();
    let first = world.add(json!({"st_marker": marker(1).to_string()}));
    let ninth = world.add(json!({"st_marker": marker(9).to_string()}));
    let other = Marker { job: JobId::new(Timestamp::UNIX_EPOCH, [8; 10]), attempt: 1 };
    world.add(json!({"st_marker": other.to_string()}));
    world.add(json!({"st_marker": "not ours"}));
    let found = provider.find_by_marker(marker(1).job, None, now()).await.unwrap();
    assert_eq!(found_ids(&found), [first.as_str(), ninth.as_str()]);
    assert_eq!(found.iter().map(|it| it.marker).collect::<Vec<_>>(), [marker(1), marker(9)]);
    let found = provider.find_by_marker(marker(1).job, Some(9), now()).await.unwrap();
    assert_eq!(found_ids(&found), [ninth.as_str()]);
}

#[tokio::test]
async fn a_row_that_the_list_shows_twice_is_one_job() {
    let (fake, provider) = start().await;
    let world = fake.world();
    let id = world.add(json!({"st_marker": marker(1).to_string()}));
    // Its first page is followed by itself.
    let again = format!("{}/predictions?cursor=0", fake.base_url());
    world.fault(Some("GET"), Fault::NextAt(again));
    let found = provider.find_by_marker(marker(1).job, Some(1), now()).await.unwrap();
    assert_eq!(found_ids(&found), [id.as_str()]);
    assert_eq!(world.requests().len(), 2);
}

#[tokio::test]
async fn a_list_too_long_to_read_is_an_error_and_not_a_none() {
    let (fake, provider) = start().await;
    add(fake.world(), 50 * 100);
    assert_eq!(provider.find_by_marker(marker(1).job, Some(1), now()).await.unwrap(), []);
    add(fake.world(), 1);
    let error = provider.find_by_marker(marker(1).job, Some(1), now()).await.unwrap_err();
    assert_eq!(verdict(&error), "transient: the provider's list could not be read to its end");
    assert_eq!(fake.world().requests().len(), 50 + 50);
}

#[tokio::test]
async fn many_jobs_are_polled_by_the_page() {
    let (fake, provider) = start().await;
    fake.world().hold("processing");
    let mut jobs = add(fake.world(), 250);
    jobs.reverse();
    jobs.swap(3, 200);
    let reports: Vec<ProviderStatus> =
        provider.statuses(&jobs).await.into_iter().map(Result::unwrap).collect();
    let wanted: Vec<&str> = jobs.iter().map(|job| job.provider_job_id.as_str()).collect();
    assert_eq!(ids(&reports), wanted, "in the order of the question");
    assert!(reports.iter().all(|report| report.status == Some(JobStatus::Running)));
    assert_eq!(asked(fake.world()), ["GET /predictions"; 3]);

    let since = jobs.iter().map(|job| job.submitted_at).min().unwrap();
    let since = since - SignedDuration::from_mins(2);
    let first = fake.world().requests().remove(0).path;
    assert_eq!(first, format!("/predictions?created_after={since:.3}"));

    let newest = &jobs[..3];
    assert_eq!(provider.statuses(newest).await.len(), 3);
    assert_eq!(fake.world().requests().len(), 4, "no page more than needed");
}

#[tokio::test]
async fn calls_for_one_job_carry_its_correlation_id() {
    let (fake, provider) = start().await;
    let jobs = add(fake.world(), 2);
    let cycle = CorrelationId::parse("the-cycle").unwrap();
    let header =
        |at: usize| fake.world().requests()[at].header("x-correlation-id").unwrap().to_owned();

    provider.statuses(&jobs).with_correlation_id(cycle.clone()).await;
    let mut seen = [header(0), header(1)];
    seen.sort();
    let mut expected = [0, 1].map(|at: usize| jobs[at].correlation_id.as_str().to_owned());
    expected.sort();
    assert_eq!(seen, expected);

    // The third is not in the list, being older than it says, and asked about by itself.
    let gone = known("unknown-to-them");
    let all = [jobs[0].clone(), jobs[1].clone(), gone];
    let answers = provider.statuses(&all).with_correlation_id(cycle.clone()).await;
    assert!(matches!(answers[2], Err(ProviderError::NotFound)), "{answers:?}");
    assert!(answers[0].is_ok() && answers[1].is_ok(), "{answers:?}");
    assert_eq!([header(2), header(3)], ["the-cycle", "of-unknown-to-them"]);

    provider.submit(&submission()).with_correlation_id(cycle).await.unwrap();
    assert_eq!(header(4), "the-cycle");
}

#[tokio::test]
async fn the_token_goes_nowhere_else() {
    let (fake, provider) = start().await;
    let elsewhere = FakeReplicate::start().await;
    let world = fake.world();
    let jobs = add(world, 3);
    let next = format!("{}/predictions?cursor=1", elsewhere.base_url());

    world.fault(Some("GET"), Fault::NextAt(next.clone()));
    let error = provider.find_by_marker(marker(1).job, Some(1), now()).await.unwrap_err();
    assert_eq!(verdict(&error), "transient: the provider's list could not be read to its end");

    let old = known(&world.add(json!({})));
    world.change(old.provider_job_id.as_str(), |job| job.created_at = Timestamp::UNIX_EPOCH);
    world.fault(Some("GET"), Fault::NextAt(next.clone()));
    let answers = provider.statuses(&[jobs, vec![old]].concat()).await;
    assert_eq!(answers.iter().filter(|it| it.is_ok()).count(), 4, "{answers:?}");
    assert_eq!(world.requests().len(), 3, "the one that the page lacks was asked about by itself");

    world.fault(None, Fault::Redirect(next));
    let error = provider.submit(&submission()).await.unwrap_err();
    assert!(
        verdict(&error).starts_with("permanent: the provider's address redirects"),
        "{error:?}"
    );
    assert!(elsewhere.world().requests().is_empty());

    let bearer = format!("Bearer {TOKEN}");
    assert!(world.requests().iter().all(|it| it.header("authorization") == Some(bearer.as_str())));
    assert!(!format!("{provider:?}").contains(TOKEN));
}

#[tokio::test]
async fn a_cancelled_job_is_over_and_a_missing_one_costs_nothing() {
    let (fake, provider) = start().await;
    let job = add(fake.world(), 1).remove(0);
    let report = provider.cancel(&job).await.unwrap();
    assert_eq!(report.status, Some(JobStatus::Cancelled));
    assert_eq!(fake.world().jobs()[0].status, "canceled");
    let report = provider.cancel(&known("unknown-to-them")).await.unwrap();
    assert_eq!(report.status, Some(JobStatus::Cancelled));

    let done = known(&fake.world().add(json!({})));
    fake.world().change(done.provider_job_id.as_str(), |job| job.status = "succeeded".to_owned());
    let report = provider.cancel(&done).await.unwrap();
    assert_eq!(report.status, Some(JobStatus::Completed), "what was over stays as it was");
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
async fn logs_that_were_deleted_are_not_empty_logs() {
    let (fake, provider) = start().await;
    let job = add(fake.world(), 1).remove(0);
    status_of(&provider, &job).await.unwrap();
    assert_eq!(provider.logs(&job).await.unwrap(), "step 1/10\n");
    fake.world().change(job.provider_job_id.as_str(), |it| it.data_removed = true);
    let answer = provider.logs(&job).await;
    assert!(matches!(answer, Err(ProviderError::NotFound)), "{answer:?}");
}

#[tokio::test]
async fn the_account_is_known_by_its_token() {
    let (fake, provider) = start().await;
    assert_eq!(provider.validate().await.unwrap().username, "tester");
    fake.world().fault(None, Fault::Refused { status: 401, detail: "not valid" });
    let error = provider.validate().await.unwrap_err();
    assert_eq!(verdict(&error), "unauthorized: not valid");
}

#[test]
fn only_an_absolute_base_url_is_taken() {
    let client = Client::new(Config::default()).unwrap();
    let make = |base_url: &str| {
        let api_token = ApiToken::new(TOKEN);
        Replicate::new(ReplicateConfig { base_url: base_url.to_owned(), api_token }, client.clone())
    };
    for good in ["https://api.replicate.com/v1", "http://127.0.0.1:9/v1/", "http://localhost"] {
        assert!(make(good).is_ok(), "{good}");
    }
    let bad = ["", "/v1", "api.replicate.com/v1", "ftp://x/v1", "https:///v1", "https://x/v1?a=b"];
    for bad in bad {
        assert!(make(bad).is_err(), "{bad}");
    }
    let error = make("https://me:hunter2@x/v1").unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
}
