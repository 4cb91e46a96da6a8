//! What is submitted: which model and version run, what they cost, and who ends them.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::SignedDuration;
use serde_json::{Value, json};
use st_store::{JobStatus, ProviderSettings};
use st_testkit::replicate::{Call, FakeReplicate, Fault, World};
use st_workers::provider::replicate::Replicate;
use st_workers::provider::{Cause, Provider, Submission, SubmitError};

use super::{asked, known, marker, settings, start, status_of, submission, version};

const TRAINER: &str = "simpletuner/advanced-trainer";

/// A version of the trainer for this hardware, and how a job names it.
fn add_version(world: &World, profile: &str, digit: char) -> String {
    let (model, id) = (format!("{TRAINER}-{profile}"), digit.to_string().repeat(64));
    world.add_version(&model, &id);
    format!("{model}:{id}")
}

/// A job for this hardware; nothing is set for the provider.
fn on(profile: Option<&str>) -> Submission {
    let hardware_type = profile.map(str::to_owned);
    Submission { hardware_type, settings: ProviderSettings::default(), ..submission() }
}

fn with(settings: ProviderSettings) -> Submission {
    Submission { settings, ..submission() }
}

/// The bodies of the submissions so far.
fn bodies(world: &World) -> Vec<Value> {
    let posts = world.requests().into_iter().filter(|it| it.method == "POST");
    posts.map(|it| it.body).collect()
}

fn last_version(world: &World) -> String {
    bodies(world).pop().unwrap()["version"].as_str().unwrap().to_owned()
}

/// Lets time pass for what is remembered, without anything waiting meanwhile.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn the_hardware_decides_which_model_trains_in_its_latest_version() {
    let (fake, provider) = start().await;
    let world = fake.world();
    let profiles =
        ["h100", "h100-x2", "h100-x4", "h100-x8", "l40s", "l40s-x2", "l40s-x4", "l40s-x8"];
    for (profile, digit) in profiles.into_iter().zip('1'..) {
        let old = add_version(world, profile, 'e');
        let latest = add_version(world, profile, digit);
        provider.submit(&on(Some(profile))).await.unwrap();
        assert_eq!(last_version(world), latest);
        assert_ne!(last_version(world), old);
        assert_eq!(world.jobs().pop().unwrap().model, format!("{TRAINER}-{profile}"));
    }
    provider.submit(&on(None)).await.unwrap();
    assert_eq!(world.jobs().pop().unwrap().model, format!("{TRAINER}-h100"), "the default");

    let refused = provider.submit(&on(Some("h900-x99"))).await.unwrap_err();
    assert!(matches!(refused, SubmitError::Rejected { .. }), "{refused:?}");
    let said = refused.to_string();
    assert!(said.contains("\"h900-x99\"") && said.contains("h100, h100-x2"), "{said}");
    assert_eq!(world.charges().len(), 9);
}

#[tokio::test]
async fn the_latest_version_is_asked_for_every_five_minutes() {
    let (fake, provider) = start().await;
    let world = fake.world();
    let first = add_version(world, "l40s", '1');
    let submit = async || provider.submit(&on(Some("l40s"))).await.unwrap();
    submit().await;
    let second = add_version(world, "l40s", '2');
    pass(Duration::from_secs(299)).await;
    submit().await;
    assert_eq!(last_version(world), first, "what was answered still counts");
    pass(Duration::from_secs(1)).await;
    submit().await;
    assert_eq!(last_version(world), second);
    let (lookup, post) =
        (format!("GET /models/{TRAINER}-l40s/versions"), "POST /predictions".to_owned());
    assert_eq!(asked(world), [&lookup, &post, &post, &lookup, &post].map(Clone::clone));
}

#[tokio::test]
async fn a_lookup_that_fails_leaves_nothing_sent_and_the_job_waits() {
    let fake = FakeReplicate::start().await;
    let world = fake.world();
    add_version(world, "l40s", '1');
    let answer = |body: &str| Fault::Answer { status: 200, headers: vec![], body: body.to_owned() };
    for (fault, cause) in [
        (Fault::DropBefore, Cause::Trouble),
        (Fault::gateway(503), Cause::Trouble),
        (Fault::gateway(404), Cause::Trouble),
        (Fault::ServerError, Cause::Trouble),
        (Fault::Garbage, Cause::Trouble),
        (answer("{}"), Cause::Trouble),
        (answer(r#"{"results": 7}"#), Cause::Trouble),
        (Fault::TooMany { retry_after: Some("7") }, Cause::Throttled),
        (Fault::Refused { status: 401, detail: "no" }, Cause::Credentials),
    ] {
        let provider = super::provider_at(&fake.base_url());
        let what = format!("{fault:?}");
        world.fault_on(Call::Versions, fault);
        match provider.submit(&on(Some("l40s"))).await {
            Err(SubmitError::Unavailable(error)) => {
                assert_eq!(error.cause, cause, "{what}");
                let waits = error.retry_after.map(|wait| wait.as_secs());
                assert_eq!(waits, (cause == Cause::Throttled).then_some(7), "{what}");
            }
            other => panic!("{what}: {other:?}"),
        }
        assert_eq!((bodies(world).len(), world.charges().len()), (0, 0), "{what}");
    }
    let provider = super::provider_at(&fake.base_url());
    provider.submit(&on(Some("l40s"))).await.unwrap();
    assert_eq!(world.charges().len(), 1, "it works as soon as it is answered");
}

#[tokio::test]
async fn what_is_wrong_with_one_model_holds_up_no_job_of_another_and_is_asked_once() {
    let (fake, provider) = start().await;
    let world = fake.world();
    add_version(world, "l40s", '1');
    let answer = |body: &str| Fault::Answer { status: 200, headers: vec![], body: body.to_owned() };
    for (profile, fault, why) in [
        ("h100", None, "replicate has no model simpletuner/advanced-trainer-h100"),
        ("h100-x2", Some(answer(r#"{"results": []}"#)), "shows no version of"),
        ("h100-x4", Some(answer(r#"{"results": [{"id": "../../account"}]}"#)), "no id that can"),
        ("h100-x8", Some(Fault::Refused { status: 403, detail: "private" }), "account may not"),
    ] {
        let before = asked(world).len();
        if let Some(fault) = fault {
            world.fault_on(Call::Versions, fault);
        }
        for _ in 0..3 {
            // It is its own failure: it closes the gate for no other job.
            match provider.submit(&on(Some(profile))).await {
                Err(SubmitError::MissingSetting { reason }) => {
                    assert!(
                        reason.contains(why) && reason.contains("version_override"),
                        "{reason}"
                    );
                }
                other => panic!("{profile}: {other:?}"),
            }
        }
        assert_eq!(asked(world).len(), before + 1, "{profile}");
    }
    assert_eq!(world.charges().len(), 0);
    add_version(world, "h100", '2');
    pass(Duration::from_mins(5)).await;
    provider.submit(&on(Some("h100"))).await.unwrap();
}

#[tokio::test]
async fn a_call_that_hangs_holds_up_no_job_of_another_model() {
    let (fake, provider) = start().await;
    let world = fake.world();
    add_version(world, "l40s", '1');
    add_version(world, "h100", '2');
    world.fault_on(Call::Versions, Fault::Silence);
    let hanging = on(Some("h100"));
    let mut hangs = std::pin::pin!(provider.submit(&hanging));
    let arrived = async {
        while !asked(world).iter().any(|it| it.contains("h100/versions")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        ended = &mut hangs => panic!("{ended:?}"),
        () = arrived => {}
    }
    let job = on(Some("l40s"));
    for _ in 0..2 {
        tokio::select! {
            biased;
            done = provider.submit(&job) => drop(done.unwrap()),
            ended = &mut hangs => panic!("it waited for the other: {ended:?}"),
        }
    }
    assert_eq!(world.charges().len(), 2);
}

#[tokio::test]
async fn many_jobs_share_one_lookup_also_one_that_fails() {
    let (fake, provider) = start().await;
    let world = fake.world();
    add_version(world, "l40s", '1');
    let submit_all = async || {
        let job = on(Some("l40s"));
        join_all((0..20).map(|_| provider.submit(&job))).await
    };
    let lookups = || asked(world).iter().filter(|it| it.contains("versions")).count();
    world.fault_on(Call::Versions, Fault::ServerError);
    let failed = submit_all().await;
    assert!(failed.iter().all(|it| matches!(it, Err(SubmitError::Unavailable(_)))), "{failed:?}");
    assert_eq!((lookups(), world.charges().len()), (1, 0));
    let done = submit_all().await;
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    assert_eq!((lookups(), world.charges().len()), (2, 20));
}

#[tokio::test]
async fn a_version_that_is_set_goes_before_the_hardware() {
    let (fake, provider) = start().await;
    let world = fake.world();
    let id = "ab".repeat(32);
    let set = |version: &str| ProviderSettings {
        version_override: Some(version.to_owned()),
        ..ProviderSettings::default()
    };
    for exact in [id.clone(), format!("someone/else:{id}")] {
        provider.submit(&with(set(&exact))).await.unwrap();
        assert_eq!(last_version(world), exact);
    }
    world.add_version("someone/else", &id);
    provider.submit(&with(set("someone/else"))).await.unwrap();
    assert_eq!(last_version(world), format!("someone/else:{id}"), "its latest version");
    let official = Fault::Answer { status: 200, headers: vec![], body: r#"{"results":[]}"#.into() };
    world.fault_on(Call::Versions, official);
    provider.submit(&with(set("official/model"))).await.unwrap();
    assert_eq!(last_version(world), "official/model");

    let before = world.requests().len();
    for wrong in ["abc", "someone/else:abc", "someone", "../account"] {
        let missing = provider.missing(&set(wrong)).unwrap();
        assert!(missing.contains(wrong) && missing.contains("owner/model"), "{missing}");
        match provider.submit(&with(set(wrong))).await {
            Err(SubmitError::MissingSetting { reason }) => assert_eq!(reason, missing),
            other => panic!("{other:?}"),
        }
    }
    for fine in [ProviderSettings::default(), set(""), settings()] {
        assert_eq!(provider.missing(&fine), None);
    }
    assert_eq!(world.requests().len(), before, "a wrong setting is not sent");
}

#[tokio::test]
async fn a_webhook_and_a_time_limit_are_sent_where_they_are_set() {
    let (fake, provider) = start().await;
    let world = fake.world();
    provider.submit(&submission()).await.unwrap();
    let plain = world.requests().pop().unwrap();
    assert_eq!((plain.header("cancel-after"), plain.body.get("webhook")), (None, None));

    let webhook_url = Some("https://hooks.example/replicate?key=v".to_owned());
    let limited = ProviderSettings { webhook_url, max_runtime_minutes: Some(90), ..settings() };
    provider.submit(&with(limited)).await.unwrap();
    let sent = world.requests().pop().unwrap();
    assert_eq!(sent.header("cancel-after"), Some("90m"));
    let attributed = format!("https://hooks.example/replicate?key=v&st_marker={}", marker(1));
    assert_eq!(sent.body["webhook"], attributed);
    assert_eq!(sent.body["webhook_events_filter"], json!(["start", "completed"]));
    assert_eq!(sent.body["version"], version());
    assert_eq!(sent.body["input"].get("webhook_config"), None, "that is the job's own");
}

#[tokio::test]
async fn a_stored_webhook_that_the_api_does_not_take_is_named_and_nothing_is_sent() {
    let stored = ProviderSettings {
        webhook_url: Some("http://hooks.example/replicate".to_owned()),
        ..settings()
    };
    let unencrypted = super::provider_at("https://127.0.0.1:9/v1");
    let missing = unencrypted.missing(&stored).unwrap();
    assert!(missing.contains("webhook_url") && missing.contains("https"), "{missing}");
    match unencrypted.submit(&with(stored.clone())).await {
        Err(SubmitError::MissingSetting { reason }) => assert_eq!(reason, missing),
        other => panic!("{other:?}"),
    }
    let (_fake, for_tests) = start().await;
    assert_eq!(for_tests.missing(&stored), None);
}

/// Submits a job, lets it end, and shows what it cost.
async fn cost_of(fake: &FakeReplicate, provider: &Replicate, job: &Submission) -> Option<f64> {
    let submitted = provider.submit(job).await.unwrap();
    let id = submitted.provider_job_id.as_str();
    fake.world().change(id, |it| "succeeded".clone_into(&mut it.status));
    let ended = status_of(provider, &known(id)).await.unwrap();
    assert_eq!(ended.status, Some(JobStatus::Completed));
    ended.cost_usd
}

#[tokio::test]
async fn the_price_is_that_of_the_model_that_ran() {
    let (fake, provider) = start().await;
    add_version(fake.world(), "h100-x4", '1');
    let near = |cost: Option<f64>, expected: f64| (cost.unwrap() - expected).abs() < 1e-9;
    let by_profile = cost_of(&fake, &provider, &on(Some("h100-x4"))).await;
    assert!(near(by_profile, 12.5 * 4.0 * 0.001_525), "{by_profile:?}");
    let overridden = Submission { hardware_type: Some("h100-x4".to_owned()), ..submission() };
    let by_model = cost_of(&fake, &provider, &overridden).await;
    assert!(near(by_model, 12.5 * 0.000_975), "an l40s was set: {by_model:?}");
    let other = format!("someone/else:{}", "a".repeat(64));
    let unknown = ProviderSettings { version_override: Some(other), ..settings() };
    let unknown = Submission { hardware_type: Some("h100".to_owned()), ..with(unknown) };
    assert_eq!(cost_of(&fake, &provider, &unknown).await, None, "no price is invented");
}

#[tokio::test]
async fn a_job_that_the_provider_ended_says_so() {
    let (fake, provider) = start().await;
    let world = fake.world();
    let why = async |status: &str, limit: Option<i64>, error: Option<&str>| {
        let id = world.add(json!({}));
        world.change(&id, |job| {
            job.status = status.to_owned();
            job.completed_at = Some(job.created_at + SignedDuration::from_secs(60));
            job.deadline = limit.map(|limit| job.created_at + SignedDuration::from_secs(limit));
            job.error = error.map(str::to_owned);
        });
        let ended = status_of(&provider, &known(&id)).await.unwrap();
        assert!(ended.status.unwrap().is_terminal());
        ended.error_message.unwrap_or_default()
    };
    let too_long = "the provider ended it: it took longer than its time limit";
    assert_eq!(why("canceled", Some(60), None).await, too_long);
    assert_eq!(why("canceled", Some(61), None).await, too_long, "within a second of it");
    let aborted = "the provider ended it: its time was over before it began";
    assert_eq!(why("aborted", Some(60), None).await, aborted);
    assert_eq!(why("aborted", None, None).await, aborted);
    assert_eq!(why("aborted", None, Some("no room")).await, "the provider ended it: no room");
    assert_eq!(why("canceled", Some(600), None).await, "", "a person cancelled it");
    assert_eq!(why("canceled", None, None).await, "");
    assert_eq!(why("failed", Some(60), Some("boom")).await, "boom");
    assert_eq!(why("succeeded", Some(60), None).await, "");
}
