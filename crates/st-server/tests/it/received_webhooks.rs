//! Webhooks that a provider sends, over real HTTP and with real signatures.

use futures_util::future::join_all;
use serde_json::{Value, json};
use st_store::{Clock, SystemClock};
use st_testkit::replicate::{Answered, Call, FakeReplicate, Fault, Hook};

use crate::main_job::VERSION;
use crate::support::{Server, Setup, eventually};

const PATH: &str = "/api/webhooks/replicate";
const OTHER_SECRET: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A server that leaves its Replicate to webhooks.
async fn start(setup: Setup) -> (FakeReplicate, Server) {
    let replicate = FakeReplicate::start().await;
    replicate.world().hold("starting");
    let server = Server::start(setup.replicate(&replicate.base_url())).await;
    set(&server, json!({"version_override": VERSION, "webhook_url": server.url(PATH)})).await;
    (replicate, server)
}

async fn set(server: &Server, config: Value) {
    let set = server.put("/api/cloud/providers/replicate/config", config).await;
    assert_eq!(set.status, 200, "{:?}", set.body);
}

/// A job that the provider has; and what the provider calls it.
async fn at_provider(server: &Server) -> (String, String) {
    let job = server.train("hooked").await;
    let id = server.until(&job, "queued").await["provider_job_id"].as_str().unwrap().to_owned();
    (job, id)
}

fn end(replicate: &FakeReplicate, id: &str, status: &'static str) {
    replicate.world().release();
    replicate.world().change(id, |job| {
        status.clone_into(&mut job.status);
        job.completed_at = Some(SystemClock.wall());
    });
}

fn seen(answer: &Answered) -> (u16, &str) {
    let word = answer.body["code"].as_str().or(answer.body["status"].as_str());
    (answer.status, word.unwrap_or_default())
}

async fn history(server: &Server, job: &str) -> Vec<(String, String)> {
    let events = server.get(&format!("/api/cloud/jobs/{job}/events")).await.body;
    let rows = events["events"].as_array().unwrap().iter().filter(|it| it["subject"] == "job");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    rows.map(|it| (text(&it["to"]), text(&it["actor"]["kind"]))).collect()
}

#[tokio::test]
async fn a_signed_report_ends_a_job_once_and_for_all() {
    let (replicate, server) = start(Setup::default()).await;
    let (job, id) = at_provider(&server).await;
    let submitted = replicate.world().jobs().remove(0).webhook.unwrap();
    assert!(submitted.starts_with(&format!("{}?st_marker={job}.1", server.url(PATH))));
    replicate.world().change(&id, |job| "processing".clone_into(&mut job.status));
    let begun = replicate.world().report(&id).await;
    assert_eq!(seen(&begun), (200, "received"), "{:?}", begun.body);
    assert_eq!(server.job(&job).await["status"], "running");
    let late = replicate.world().hook(&id);

    end(&replicate, &id, "succeeded");
    let hook = replicate.world().hook(&id).with("x-correlation-id", "of-the-webhook");
    let ended = hook.send(&server.url(PATH)).await;
    assert_eq!(seen(&ended), (200, "received"), "{:?}", ended.body);
    assert_eq!(ended.body["job_id"], job.as_str());
    assert_eq!(ended.body["updates"]["status"], "completed");
    assert!(ended.body["updates"]["cost_usd"].as_f64().unwrap() > 0.0, "{:?}", ended.body);
    eventually("its results are fetched", async || {
        server.job(&job).await["results"]["state"] == "kept"
    })
    .await;
    let after = server.job(&job).await;
    assert_eq!(after["status"], "completed");
    let recorded = history(&server, &job).await;
    let last = ("completed".to_owned(), "webhook".to_owned());
    assert_eq!(recorded.last(), Some(&last));

    // The same again, what was true before, and both at the other address.
    let again = hook.send(&server.url(PATH)).await;
    assert_eq!(seen(&again), (200, "ignored"), "{:?}", again.body);
    assert!(again.body["reason"].as_str().unwrap().ends_with("was received before"));
    for path in [PATH, "/api/cloud/webhook/replicate"] {
        late.send(&server.url(path)).await;
        replicate.world().hook(&id).send(&server.url(path)).await;
    }
    assert_eq!(server.job(&job).await, after);
    assert_eq!(history(&server, &job).await, recorded);

    let server = server.kill_and_restart().await;
    let again = hook.send(&server.url(PATH)).await;
    assert_eq!(seen(&again), (200, "ignored"), "it is remembered on disk: {:?}", again.body);
    let lines = server.log();
    let correlation_id = after["correlation_id"].as_str().unwrap();
    let line = |message: &str| {
        let of_request = lines.iter().filter(|it| {
            it["correlation_id"] == "of-the-webhook"
                || it["extra"]["request_correlation_id"] == "of-the-webhook"
        });
        let found = of_request.into_iter().find(|it| it["message"] == message);
        found.unwrap_or_else(|| panic!("no line {message:?}"))
    };
    assert_eq!(line("Job is completed")["correlation_id"], correlation_id);
    let request = line("POST /api/webhooks/replicate");
    assert_eq!(request["extra"]["job_correlation_id"], correlation_id);
}

#[tokio::test]
async fn what_is_not_signed_by_the_account_changes_nothing() {
    let (replicate, server) = start(Setup::default()).await;
    let (job, id) = at_provider(&server).await;
    end(&replicate, &id, "failed");
    let good = replicate.world().hook(&id);
    let send = async |hook: Hook| {
        let answer = hook.send(&server.url(PATH)).await;
        (answer.status, answer.body["code"].as_str().unwrap_or_default().to_owned())
    };
    let bad = (401, "bad_signature".to_owned());
    let now = SystemClock.wall();
    let body = good.body.clone();
    let minute = jiff::SignedDuration::from_mins(1);
    let mut flipped = good.clone();
    flipped.body[7] ^= 1;
    let mut cut = good.clone();
    cut.body.pop();
    let forged = [
        Hook { headers: Vec::new(), ..good.clone() },
        Hook::signed("msg_1", now, &[OTHER_SECRET], body.clone()),
        good.clone().with("webhook-id", "msg_2"),
        good.clone().with("webhook-timestamp", &(now.as_second() + 1).to_string()),
        flipped,
        cut,
    ];
    for hook in forged {
        assert_eq!(send(hook.clone()).await, bad, "{hook:?}");
    }
    for (at, status) in [(now - 6 * minute, 401), (now + 6 * minute, 401)] {
        let hook =
            Hook::signed("msg_3", at, &["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"], body.clone());
        assert_eq!(send(hook).await.0, status);
    }
    let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    for (body, expected) in [
        (b"{".to_vec(), (400, "malformed_json")),
        (b"\xff{}".to_vec(), (400, "malformed_json")),
        (b"[]".to_vec(), (400, "malformed_json")),
        (b"{}".to_vec(), (422, "invalid_request")),
        (br#"{"id": "../x", "status": "failed"}"#.to_vec(), (422, "invalid_request")),
        (format!("{{\"id\": {id:?}}}").into_bytes(), (422, "invalid_request")),
        (vec![b' '; 16 * 1024 * 1024 + 1], (413, "body_too_large")),
    ] {
        let (status, code) = send(Hook::signed("msg_4", now, &[secret], body)).await;
        assert_eq!((status, &*code), expected);
    }
    assert_eq!(server.job(&job).await["status"], "queued");
    let asked = replicate.world().requests();
    let asked = asked.iter().filter(|it| it.path == "/webhooks/default/secret").count();
    assert!(asked <= 2, "strangers cost {asked} calls");
    // The whole log of a job is in its object.
    let mut large: Value = serde_json::from_slice(&body).unwrap();
    large["id"] = json!("of-a-stranger");
    large["logs"] = json!("x".repeat(15 * 1024 * 1024));
    let large = Hook::signed("msg_large", now, &[secret], large.to_string());
    assert_eq!(seen(&large.send(&server.url(PATH)).await), (200, "ignored"));
    // One of several signatures is enough.
    let both = Hook::signed("msg_5", now, &[OTHER_SECRET, secret], body);
    assert_eq!(seen(&both.send(&server.url(PATH)).await), (200, "received"));
    assert_eq!(server.job(&job).await["status"], "failed");
}

#[tokio::test]
async fn a_report_with_our_marker_settles_a_submission_of_unknown_outcome() {
    let (replicate, server) = start(Setup::default()).await;
    let world = replicate.world();
    world.always(Call::List, Fault::ServerError);
    world.fault_on(Call::Create, Fault::DropAfter);
    let job = server.train("lost").await;
    world.wait_for(|world| world.jobs().len() == 1).await;
    eventually("the outcome is unknown", async || {
        server.get("/api/cloud/providers").await.body["providers"]
            .as_array()
            .is_some_and(|all| all.iter().any(|it| it["id"] == "replicate" && it["unsettled"] != 0))
    })
    .await;
    let id = world.jobs().remove(0).id;
    let by_hand = world.add(world.jobs().remove(0).input);
    world.change(&by_hand, |job| job.source = "web");
    let copied = world.hook(&by_hand).send(&server.url(PATH)).await;
    assert_eq!(seen(&copied), (200, "ignored"), "a copy: {:?}", copied.body);
    let answer = world.report(&id).await;
    assert_eq!(seen(&answer), (200, "received"), "{:?}", answer.body);
    assert_eq!(answer.body["updates"]["provider_job_id"], id.as_str());
    let adopted = server.job(&job).await;
    assert_eq!((&adopted["status"], &adopted["provider_job_id"]), (&json!("queued"), &json!(id)));
    end(&replicate, &id, "succeeded");
    world.report(&id).await;
    assert_eq!(server.job(&job).await["status"], "completed");
    assert_eq!(world.charges().len(), 2, "the job and the copy");
}

#[tokio::test]
async fn reports_and_polls_beside_each_other_make_each_change_once() {
    let (replicate, server) = start(Setup::default()).await;
    let polling = server.put("/api/cloud/polling/setting", json!({"enabled": true})).await;
    assert_eq!(polling.status, 200, "{:?}", polling.body);
    let (job, id) = at_provider(&server).await;
    let world = replicate.world();
    world.change(&id, |job| "processing".clone_into(&mut job.status));
    world.hold("processing");
    let early: Vec<Hook> = (0..10).map(|_| world.hook(&id)).collect();
    end(&replicate, &id, "succeeded");
    let late: Vec<Hook> = (0..10).map(|_| world.hook(&id)).collect();
    let url = server.url(PATH);
    let hooks: Vec<&Hook> = early.iter().zip(&late).flat_map(|(one, other)| [other, one]).collect();
    let answers = join_all(hooks.into_iter().map(|hook| hook.send(&url))).await;
    assert!(answers.iter().all(|it| seen(it) == (200, "received")), "{answers:?}");
    server.until(&job, "completed").await;
    let recorded: Vec<String> =
        history(&server, &job).await.into_iter().map(|(to, _)| to).collect();
    assert_eq!(recorded.iter().filter(|it| *it == "completed").count(), 1, "{recorded:?}");
    assert_eq!(recorded.last().unwrap(), "completed", "no status moves backwards: {recorded:?}");
}

#[tokio::test]
async fn networks_and_the_need_of_a_signature_are_settings_that_need_no_restart() {
    let (replicate, server) = start(Setup::default()).await;
    let (job, id) = at_provider(&server).await;
    let url = server.url(PATH);
    let unsigned = |body: Value| Hook { headers: Vec::new(), body: body.to_string().into_bytes() };
    let forged = unsigned(json!({"id": id, "status": "failed", "error": "forged"}));
    set(&server, json!({"webhook_allowed_ips": ["10.0.0.0/8"]})).await;
    assert_eq!(seen(&replicate.world().report(&id).await), (403, "address_not_allowed"));
    set(&server, json!({"webhook_allowed_ips": ["10.0.0.0/8", "127.0.0.1"]})).await;
    assert_eq!(seen(&forged.send(&url).await), (401, "bad_signature"));
    set(&server, json!({"webhook_require_signature": false})).await;
    // Now it is a hint: what happened is what the provider says.
    replicate.world().hold("processing");
    let received = json!({"status": "received"});
    for hook in [
        forged.clone(),
        unsigned(json!({"type": "training.status", "prediction_id": id, "status": "failed"})),
        unsigned(json!({"type": "completed", "job_id": job})),
        unsigned(json!({"id": "nobodys", "status": "failed"})),
        unsigned(json!({"type": "completed", "prediction_id": "nobodys"})),
    ] {
        let answer = hook.send(&url).await;
        assert_eq!((answer.status, &answer.body), (200, &received), "{hook:?}");
    }
    server.until(&job, "running").await;
    end(&replicate, &id, "succeeded");
    assert_eq!(seen(&replicate.world().report(&id).await), (200, "received"));
    replicate.world().hold("processing");
    let other = server.train("hooked").await;
    let id = server.until(&other, "running").await["provider_job_id"].clone();
    end(&replicate, id.as_str().unwrap(), "succeeded");
    let hint = unsigned(json!({"prediction_id": "of-another-name", "job_id": other}));
    assert_eq!(hint.send(&url).await.body, received);
    server.until(&other, "completed").await;
    set(&server, json!({"webhook_require_signature": true})).await;
    assert_eq!(seen(&forged.send(&url).await), (401, "bad_signature"));
}

#[tokio::test]
async fn without_a_secret_nothing_is_taken_and_one_warning_says_so() {
    let (replicate, server) = start(Setup::default()).await;
    let refusal = Fault::Refused { status: 403, detail: "no webhooks for this account" };
    replicate.world().always(Call::Secret, refusal);
    let (job, id) = at_provider(&server).await;
    end(&replicate, &id, "succeeded");
    for _ in 0..3 {
        let answer = replicate.world().report(&id).await;
        assert_eq!(seen(&answer), (503, "no_webhook_secret"));
        let said = answer.body["detail"].as_str().unwrap();
        assert!(said.contains("no webhooks for this account"), "{said}");
        assert!(said.contains("providers.replicate.webhook_secret"), "{said}");
    }
    assert_eq!(server.job(&job).await["status"], "queued");
    let lines = server.log();
    let warnings = lines
        .iter()
        .filter(|it| it["level"] == "WARNING" && it["logger"] == "simpletuner.cloud.polling");
    assert_eq!(warnings.count(), 1);
}

#[tokio::test]
async fn configured_secrets_are_enough_and_two_of_them_bridge_a_rotation() {
    let secrets = format!("{OTHER_SECRET}\n whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD ");
    let (replicate, server) =
        start(Setup::default().with("REPLICATE_WEBHOOK_SECRET", &secrets)).await;
    let (_, id) = at_provider(&server).await;
    for secret in [OTHER_SECRET, "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"] {
        replicate.world().change_webhook_secret(secret);
        assert_eq!(seen(&replicate.world().report(&id).await), (200, "received"));
    }
    replicate.world().change_webhook_secret("whsec_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB");
    assert_eq!(seen(&replicate.world().report(&id).await), (401, "bad_signature"));
    let asked = replicate.world().requests();
    assert!(asked.iter().all(|it| it.path != "/webhooks/default/secret"), "nobody was asked");
    let log = std::fs::read_to_string(server.log_file()).unwrap();
    assert!(!log.contains("C2FVsBQIhrscChlQIMV"), "a secret is in the log");
}

#[tokio::test]
async fn a_report_about_a_stranger_is_ignored_and_a_sync_asks_for_all() {
    let (replicate, server) = start(Setup::default()).await;
    let stranger = replicate.world().add(json!({"prompt": "a cat"}));
    let answer = replicate.world().hook(&stranger).send(&server.url(PATH)).await;
    assert_eq!(seen(&answer), (200, "ignored"), "{:?}", answer.body);
    let of_others = json!({"st_marker": "0190b3a0-0000-7000-8000-000000000001.1"});
    let of_others = replicate.world().add(of_others);
    let answer = replicate.world().hook(&of_others).send(&server.url(PATH)).await;
    assert_eq!(seen(&answer), (200, "ignored"), "{:?}", answer.body);
    let (job, id) = at_provider(&server).await;
    end(&replicate, &id, "succeeded");
    let synced = server.post("/api/cloud/jobs/sync", json!({"provider": "replicate"})).await;
    assert_eq!(synced.status, 200, "{:?}", synced.body);
    assert_eq!((&synced.body["synced"], &synced.body["updated"]), (&json!(0), &json!(1)));
    assert_eq!(server.job(&job).await["status"], "completed");
    let unknown = server.post("/api/cloud/jobs/sync", json!({"provider": "nobody"})).await;
    assert_eq!((unknown.status, &unknown.body["code"]), (422, &json!("invalid_request")));
    for call in [Call::List, Call::Get] {
        replicate.world().always(call, Fault::ServerError);
    }
    let unread = server.post("/api/cloud/jobs/sync", json!({"provider": "replicate"})).await;
    assert_eq!((unread.status, &unread.body["code"]), (502, &json!("provider_error")));
    let cancels = replicate.world().requests();
    assert!(cancels.iter().all(|it| !it.path.ends_with("/cancel")), "others' jobs are left alone");
}

#[tokio::test]
async fn a_provider_without_a_credential_is_not_said_to_be_synchronized() {
    let server = Server::start(Setup::default()).await;
    let synced = server.post("/api/cloud/jobs/sync", json!({"provider": "replicate"})).await;
    assert_eq!((synced.status, &synced.body["code"]), (409, &json!("provider_not_configured")));
}
