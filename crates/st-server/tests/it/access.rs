//! How a provider is called, changed while the server runs: its token, its client, and whether it is polled.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use st_testkit::replicate::FakeReplicate;

use crate::support::{Server, Setup, eventually};

const CONFIG: &str = "/api/cloud/providers/replicate/config";
const TOKEN: &str = "/api/cloud/providers/replicate/token";
const VALIDATE: &str = "/api/cloud/providers/replicate/validate";
const STORED: &str = "r8_storedXtoken";

async fn replicate() -> FakeReplicate {
    let replicate = FakeReplicate::start().await;
    replicate.world().add_version("simpletuner/advanced-trainer-h100", &"1".repeat(64));
    replicate
}

fn without_token(replicate: &FakeReplicate) -> Setup {
    Setup::default().with("REPLICATE_API_BASE_URL", &replicate.base_url())
}

/// Whether the provider is listed as one that can be used.
async fn is_configured(server: &Server) -> bool {
    let listed = server.get("/api/cloud/providers").await;
    listed.body["providers"][0]["configured"].as_bool().unwrap()
}

async fn delete(server: &Server, path: &str) -> Value {
    let answer = server.client().delete(server.url(path)).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    answer.json().await.unwrap()
}

#[tokio::test]
async fn a_provider_without_a_token_is_used_as_soon_as_one_is_stored() {
    let replicate = replicate().await;
    let server = Server::start(without_token(&replicate)).await;
    assert!(!is_configured(&server).await);
    let submit = "/api/cloud/jobs/submit?provider=replicate";
    let refused = server.post(submit, json!({"config": {}})).await;
    assert_eq!(refused.status, 422, "{:?}", refused.body);
    let status = server.get("/api/cloud/replicate/status").await.body;
    assert!(status["error"].as_str().unwrap().contains("not configured"), "{status}");

    let stored = server.put(TOKEN, json!({"api_token": STORED})).await;
    assert_eq!((stored.status, &stored.body["success"]), (200, &json!(true)), "{:?}", stored.body);
    assert!(is_configured(&server).await);
    let job = server.train("first").await;
    server.until(&job, "completed").await;
    let valid = server.get(VALIDATE).await.body;
    assert_eq!(valid["user_info"]["token_source"], "stored", "{valid}");
    assert_eq!(server.get("/api/cloud/replicate/validate").await.body, valid);
    let status = server.get("/api/cloud/replicate/status").await.body;
    assert_eq!(status["operational"], true, "{status}");
    let versions = server.get("/api/cloud/providers/replicate/versions").await.body;
    let id = "1".repeat(64);
    assert_eq!(versions["versions"][0]["id"], id, "{versions}");
    let current = format!("simpletuner/advanced-trainer-h100:{id}");
    assert_eq!(versions["current_version"], current);

    let file = server.state_dir().join("tokens/replicate");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let server = server.kill_and_restart().await;
    assert!(is_configured(&server).await, "it survives a restart");
    let removed = delete(&server, TOKEN).await;
    assert_eq!(removed["token_source"], Value::Null);
    assert!(!is_configured(&server).await && !file.exists());
    assert!(!server.said().contains(STORED));
    let log = serde_json::to_string(&server.log()).unwrap();
    assert!(!log.contains(STORED) && log.contains("Token of a provider was stored"));
}

#[tokio::test]
async fn a_stored_token_takes_precedence_over_the_environment_and_a_bad_one_changes_nothing() {
    let replicate = replicate().await;
    let server = Server::start(Setup::default().replicate(&replicate.base_url())).await;
    let source = async || {
        let valid = server.get(VALIDATE).await.body;
        valid["user_info"]["token_source"].clone()
    };
    assert_eq!(source().await, "environment");
    let bad = server.put(TOKEN, json!({"api_token": "r8 with space"})).await;
    assert_eq!((bad.status, &bad.body["errors"][0]["pointer"]), (422, &json!("/api_token")));
    assert!(!bad.body.to_string().contains("with space"));
    let local = server.put("/api/cloud/providers/local/token", json!({"api_token": "x"})).await;
    assert_eq!(local.status, 409, "{:?}", local.body);
    server.put(TOKEN, json!({"api_token": STORED})).await;
    assert_eq!(source().await, "stored");
    assert_eq!(delete(&server, TOKEN).await["token_source"], "environment");
    assert_eq!(source().await, "environment");
}

#[tokio::test]
async fn the_client_follows_the_settings_at_once_and_after_a_restart() {
    let replicate = replicate().await;
    let server = Server::start(Setup::default().replicate(&replicate.base_url())).await;
    let bad = server.put(CONFIG, json!({"ssl_ca_bundle": "/nowhere/ca.pem"})).await;
    assert_eq!((bad.status, &bad.body["errors"][0]["pointer"]), (422, &json!("/ssl_ca_bundle")));
    let bad = server.put(CONFIG, json!({"proxy_url": "http://ann:pw@proxy.example"})).await;
    assert_eq!((bad.status, &bad.body["errors"][0]["pointer"]), (422, &json!("/proxy_url")));
    assert_eq!(server.get(CONFIG).await.body["config"], json!({}), "nothing of them is stored");

    let body = json!({"ssl_verify": false, "http_timeout": 2.5, "cost_limit_enabled": true});
    let set = server.put(CONFIG, body.clone()).await;
    assert_eq!(
        (set.status, &set.body["config"]),
        (
            200,
            &json!({
                "cost_limit_enabled": true, "ssl_verify": false, "http_timeout": 2.5
            })
        )
    );
    let warned = |server: &Server| {
        let log = server.log();
        log.iter().any(|line| {
            line["message"].as_str().is_some_and(|it| it.starts_with("TLS certificates are not"))
                && line["extra"]["provider"] == "replicate"
        })
    };
    assert!(warned(&server));
    assert_eq!(server.get(VALIDATE).await.body["valid"], true);
    let server = server.kill_and_restart().await;
    assert_eq!(server.get(VALIDATE).await.body["valid"], true);
    let cleared = server.put(CONFIG, json!({"ssl_verify": null, "http_timeout": ""})).await;
    assert_eq!(cleared.body["config"], json!({"cost_limit_enabled": true}));
}

#[tokio::test]
async fn a_cost_limit_blocks_what_it_has_no_room_for_and_shows_how_much_is_used() {
    let replicate = replicate().await;
    let server = Server::start(Setup::default().replicate(&replicate.base_url())).await;
    let status = async || server.get("/api/cloud/cost-limit/status?provider=replicate").await.body;
    let off = status().await;
    assert_eq!((&off["enabled"], &off["limit_amount"]), (&json!(false), &json!(0.0)), "{off}");
    let limit = json!({
        "cost_limit_enabled": true, "cost_limit_amount": 10, "cost_limit_period": "daily",
        "cost_limit_action": "block"
    });
    assert_eq!(server.put(CONFIG, limit).await.status, 200);
    // What waits stays reserved.
    let hold = json!({"scope": "provider", "id": "replicate"});
    assert_eq!(server.post("/api/queue/pause", hold).await.status, 200);
    let body = |usd: f64| json!({"config": {}, "estimated_cost": usd});
    server.submit("replicate", body(8.5)).await;
    let used = status().await;
    assert_eq!(
        (&used["current_spend"], &used["percent_used"], &used["is_warning"], &used["is_exceeded"]),
        (&json!(8.5), &json!(85.0), &json!(true), &json!(false)),
        "{used}"
    );
    let submit = "/api/cloud/jobs/submit?provider=replicate";
    assert_eq!(server.post(submit, body(2.0)).await.status, 402);
    server.put(CONFIG, json!({"cost_limit_action": "warn"})).await;
    let warned = server.post(submit, body(2.0)).await;
    assert_eq!(warned.status, 200, "{:?}", warned.body);
    assert!(warned.body["cost_limit_warning"].as_str().unwrap().contains("10.00 USD"));
    let quotas = server.get("/api/quotas").await.body;
    let id = quotas["quotas"][0]["id"].as_i64().unwrap();
    let quota = server.url(&format!("/api/quotas/{id}"));
    let refused = server.client().delete(quota).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 409, "the settings change it");
    server.put(CONFIG, json!({"cost_limit_enabled": false})).await;
    assert_eq!(server.get("/api/quotas").await.body["quotas"], json!([]));
}

#[tokio::test]
async fn a_preference_for_polling_counts_at_once_and_is_kept() {
    const STATUS: &str = "/api/cloud/polling/status";
    const SETTING: &str = "/api/cloud/polling/setting";
    let replicate = replicate().await;
    let server = Server::start(Setup::default().replicate(&replicate.base_url())).await;
    let status = server.get(STATUS).await.body;
    assert_eq!((&status["is_active"], &status["preference"]), (&json!(true), &Value::Null));
    assert!(status["reason"].as_str().unwrap().contains("replicate"), "{status}");
    let off = server.put(SETTING, json!({"enabled": false})).await.body;
    assert_eq!(off, json!({"success": true, "enabled": false, "is_active": false}));
    let server = server.kill_and_restart().await;
    let status = server.get(STATUS).await.body;
    assert_eq!((&status["is_active"], &status["preference"]), (&json!(false), &json!(false)));
    server.put(SETTING, json!({"enabled": true})).await;
    eventually("polling begins", async || {
        server.log().iter().any(|line| {
            line["message"] == "Starting job status polling"
                && line["extra"]["reason"] == "switched on"
        })
    })
    .await;
    let back = server.put(SETTING, json!({"enabled": null})).await.body;
    assert_eq!(back, json!({"success": true, "enabled": null, "is_active": true}));
    assert_eq!(server.put(SETTING, json!({})).await.status, 422);
}
