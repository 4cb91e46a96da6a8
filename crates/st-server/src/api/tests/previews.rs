//! What a submission would come to and what its job would cost, asked before it is made.

use serde_json::{Value, json};

use super::Harness;
use super::auth::{Keyed, code};

const SUBMIT: &str = "/api/cloud/jobs/submit?provider=alpha";

async fn check(api: &Harness, query: &str) -> Value {
    let (status, body) = api.get(&format!("/api/cloud/pre-submit-check?{query}")).await;
    assert_eq!(status, 200, "{body}");
    body
}

async fn estimate(api: &Harness, body: Value) -> Value {
    let (status, body) = api.post("/api/cloud/cost-estimate", body).await;
    assert_eq!(status, 200, "{body}");
    body
}

async fn quota(api: &Harness, quota: Value) {
    let (status, body) = api.post("/api/quotas", quota).await;
    assert_eq!(status, 200, "{body}");
}

/// The members of each item with this name.
fn each<'v>(items: &'v Value, name: &str) -> Vec<&'v str> {
    items.as_array().unwrap().iter().map(|it| it[name].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_job_that_nothing_stops_may_begin_at_once_and_has_the_members_of_the_original() {
    let api = Harness::start().await;
    let clear = check(&api, "provider=alpha&estimated_cost=2.5").await;
    assert_eq!((&clear["accepted"], &clear["can_start_now"]), (&json!(true), &json!(true)));
    assert_eq!((&clear["refusals"], &clear["waiting_for"]), (&json!([]), &json!([])));
    assert_eq!(clear["limits"][1]["limit"], "user_max_concurrent", "{clear}");
    let original = [
        "git_available",
        "repo_present",
        "is_dirty",
        "dirty_count",
        "dirty_paths",
        "current_commit",
        "current_abbrev",
        "current_branch",
        "tracker_run_name",
        "config_name",
    ];
    for name in original {
        assert!(clear.get(name).is_some(), "{name}: {clear}");
    }
}

#[tokio::test]
async fn all_that_would_refuse_a_job_is_named_and_as_the_submission_says_it() {
    let api = Harness::start().await;
    for (period, amount) in [("cost_daily", 1), ("cost_monthly", 2)] {
        quota(&api, json!({"quota_type": period, "limit_value": amount, "action": "block"})).await;
    }
    quota(&api, json!({"quota_type": "cost_weekly", "limit_value": 1, "action": "warn"})).await;
    let query = "provider=alpha&estimated_cost=3&config_name_to_load=no-such-configuration";
    let refused = check(&api, query).await;
    assert_eq!((&refused["accepted"], &refused["can_start_now"]), (&json!(false), &json!(false)));
    let codes = each(&refused["refusals"], "code");
    assert_eq!(codes, ["not_found", "over_budget", "over_budget"], "{refused}");
    assert_eq!(refused["quota_warnings"].as_array().unwrap().len(), 1, "{refused}");
    let (status, body) = api.post(SUBMIT, json!({"config": {}, "estimated_cost": 3})).await;
    let first = &refused["refusals"][1];
    assert_eq!((&first["status"], &first["detail"]), (&json!(status), &body["detail"]));
    let (_, jobs) = api.get("/api/cloud/jobs").await;
    assert_eq!(jobs["total"], 0, "nothing is stored");
    let (_, quotas) = api.get("/api/quotas").await;
    assert_eq!(quotas["quotas"][0]["reserved"], 0.0, "nothing is reserved: {quotas}");
    let unknown = check(&api, "provider=gamma").await;
    assert_eq!(each(&unknown["refusals"], "code"), ["invalid_request"], "{unknown}");
    api.alpha.set_missing(Some("alpha needs a version"));
    let missing = check(&api, "provider=alpha").await;
    assert_eq!(each(&missing["refusals"], "detail"), ["alpha needs a version"]);
}

#[tokio::test]
async fn all_that_a_job_would_wait_for_is_named_with_what_ends_it() {
    let api = Harness::start().await;
    let at_once = json!({"quota_type": "concurrent_jobs", "limit_value": 1, "user_id": "local"});
    quota(&api, at_once).await;
    api.submit("alpha").await;
    assert_eq!(check(&api, "provider=alpha").await["can_start_now"], true);
    assert_eq!(api.claim("alpha").await.len(), 1);
    let (status, _) = api.post("/api/queue/concurrency", json!({"user_max_concurrent": 1})).await;
    assert_eq!(status, 200);
    let pause = json!({"scope": "provider", "id": "alpha", "reason": "upkeep"});
    assert_eq!(api.post("/api/queue/pause", pause).await.0, 200);
    let waits = check(&api, "provider=alpha").await;
    assert_eq!((&waits["accepted"], &waits["can_start_now"]), (&json!(true), &json!(false)));
    assert_eq!(each(&waits["waiting_for"], "kind"), ["hold", "limit", "budget"], "{waits}");
    let hold = &waits["waiting_for"][0];
    assert_eq!(hold["reason"], "provider alpha was paused by user local: upkeep");
    assert!(hold["since"].is_string() && waits["waiting_for"][1]["since"].is_null(), "{waits}");
    let elsewhere = check(&api, "provider=beta").await;
    assert_eq!(each(&elsewhere["waiting_for"], "kind"), ["limit", "budget"], "{elsewhere}");
}

#[tokio::test]
async fn a_job_behind_a_closed_gate_would_wait_for_it() {
    let api = Harness::serving().await;
    api.alpha.set_refusal(Some((st_workers::provider::Cause::Credentials, super::Duration::ZERO)));
    api.submit("alpha").await;
    let path = "/api/cloud/pre-submit-check?provider=alpha";
    let closed = api.until(path, |it| it["can_start_now"] == false).await;
    assert_eq!(each(&closed["waiting_for"], "kind"), ["gate"], "{closed}");
    assert_eq!(closed["accepted"], true);
}

#[tokio::test]
async fn an_approval_that_a_job_would_need_is_named_and_a_foreign_team_refuses_it() {
    let keyed = Keyed::start().await;
    let rule = json!({"name": "dear", "condition": "cost_exceeds", "threshold": "2"});
    assert_eq!(keyed.post("/api/approvals/rules", &keyed.admin, rule).await.0, 200);
    let ann = keyed.key("ann", "researcher").await;
    let path = "/api/cloud/pre-submit-check?provider=alpha&estimated_cost=3";
    let (status, asks) = keyed.get(path, &ann).await;
    assert_eq!((status, &asks["requires_approval"]), (200, &json!(true)), "{asks}");
    assert!(asks["approval_reason"].as_str().unwrap().starts_with("dear: "), "{asks}");
    assert_eq!((&asks["accepted"], &asks["can_start_now"]), (&json!(true), &json!(false)));
    let (_, foreign) = keyed.get(&format!("{path}&team_id=red"), &ann).await;
    assert_eq!(each(&foreign["refusals"], "code"), ["forbidden"], "{foreign}");
    let urgent = format!("{path}&priority=40");
    let (_, urgent) = keyed.get(&urgent, &ann).await;
    assert_eq!(each(&urgent["refusals"], "code"), ["forbidden"], "{urgent}");
    let (_, asked) = keyed.get("/api/cloud/pre-submit-check?provider=alpha", &ann).await;
    assert_eq!(asked["requires_approval"], false, "{asked}");
    let rule = json!({"name": "named", "condition": "config_pattern", "threshold": "big-*"});
    assert_eq!(keyed.post("/api/approvals/rules", &keyed.admin, rule).await.0, 200);
    let named = "/api/cloud/pre-submit-check?provider=alpha&config_name=big-run";
    let (_, asked) = keyed.get(named, &ann).await;
    assert_eq!(
        (&asked["config_name"], &asked["requires_approval"]),
        (&json!("big-run"), &json!(true))
    );
    let viewer = keyed.key("eve", "viewer").await;
    assert_eq!(code(&keyed.get(path, &viewer).await), (403, "forbidden"));
}

#[tokio::test]
async fn a_key_that_may_only_read_is_told_that_it_cannot_submit_and_what_a_job_costs() {
    let keyed = Keyed::start().await;
    let reads = json!({"name": "reads", "user": "ann", "role": "researcher", "scopes": ["read"]});
    let reads = keyed.key_of(reads).await;
    let (status, asked) = keyed.get("/api/cloud/pre-submit-check?provider=alpha", &reads).await;
    assert_eq!((status, &asked["accepted"]), (200, &json!(false)), "{asked}");
    assert_eq!(each(&asked["refusals"], "code"), ["forbidden"], "{asked}");
    let body = json!({"provider": "alpha", "duration_seconds": 60});
    assert_eq!(keyed.post("/api/cloud/cost-estimate", &reads, body).await.0, 200);
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the server has the system's clock")]
async fn the_date_and_the_wish_for_approval_of_a_submission_are_asked_about_too() {
    let api = Harness::start().await;
    let run_after = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let later = check(&api, &format!("provider=alpha&run_after={run_after:.0}")).await;
    assert_eq!(each(&later["waiting_for"], "kind"), ["date"], "{later}");
    assert_eq!((&later["accepted"], &later["can_start_now"]), (&json!(true), &json!(false)));
    let none = json!({"quota_type": "cost_daily", "limit_value": 1, "action": "block"});
    quota(&api, none).await;
    let dear = "provider=alpha&estimated_cost=3";
    assert_eq!(each(&check(&api, dear).await["refusals"], "code"), ["over_budget"]);
    let asks = check(&api, &format!("{dear}&for_approval=true")).await;
    assert_eq!((&asks["accepted"], &asks["requires_approval"]), (&json!(true), &json!(true)));
}

#[tokio::test]
async fn the_price_of_a_job_is_that_of_its_time_and_is_unknown_where_no_price_is() {
    let api = Harness::start().await;
    let asked = json!({"provider": "alpha", "hardware_profile": "h100", "duration_seconds": 1800});
    let unknown = estimate(&api, asked.clone()).await;
    assert_eq!(
        (&unknown["has_estimate"], &unknown["estimated_cost_usd"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(unknown["message"], "no price of h100 is known");
    api.alpha.set_price(Some(0.001_525));
    let known = estimate(&api, asked.clone()).await;
    assert_eq!(
        (&known["has_estimate"], &known["estimated_cost_usd"]),
        (&json!(true), &json!(2.745))
    );
    assert_eq!(
        (&known["estimated_cost"], &known["hardware_cost_per_hour"]),
        (&json!(2.745), &json!(5.49))
    );
    let endless = estimate(&api, json!({"provider": "alpha"})).await;
    assert_eq!(endless["hardware_type"], "standard", "that of the price");
    assert_eq!(
        (&endless["has_estimate"], &endless["estimated_cost"]),
        (&json!(false), &Value::Null)
    );
    let said = endless["message"].as_str().unwrap();
    assert!(said.starts_with("no job at alpha completed in the last 30 days"), "{said}");
    let most = json!({"max_runtime_minutes": 10});
    assert_eq!(api.put("/api/cloud/providers/alpha/config", most).await.0, 200);
    let cut = estimate(&api, asked).await;
    assert_eq!((&cut["duration_seconds"], &cut["estimated_cost"]), (&json!(600.0), &json!(0.915)));
}

#[tokio::test]
async fn without_a_duration_a_job_is_priced_by_those_that_completed() {
    let api = Harness::start().await;
    api.alpha.set_price(Some(0.5));
    api.submit("alpha").await;
    let claim = api.claim("alpha").await.remove(0);
    api.arrive(&claim, "p-1").await;
    let now = st_store::StoreStatus::now(api.store.inner());
    let mut report = st_store::ProviderStatus::new(
        super::ProviderJobId::new("p-1"),
        super::JobStatus::Completed,
    );
    report.started_at = Some(now - jiff::SignedDuration::from_secs(40));
    report.completed_at = Some(now);
    api.settle(&claim, super::Outcome::Reported(report)).await;
    let mean = estimate(&api, json!({"provider": "alpha"})).await;
    assert_eq!(
        (&mean["avg_duration_seconds"], &mean["estimated_cost"]),
        (&json!(40.0), &json!(20.0))
    );
    let other = estimate(&api, json!({"provider": "beta"})).await;
    assert_eq!(other["estimated_cost"], Value::Null, "{other}");
}

#[tokio::test]
async fn the_list_of_the_originals_page_is_taken_and_what_cannot_run_has_no_price() {
    let api = Harness::start().await;
    let page = estimate(&api, json!([{"id": "images"}])).await;
    assert_eq!((&page["provider"], &page["has_estimate"]), (&json!("replicate"), &json!(false)));
    let said = page["message"].as_str().unwrap();
    assert!(said.contains("\"replicate\" is not configured"), "{said}");
    for (body, status, code) in [
        (json!({"provider": "gamma"}), 422, "invalid_request"),
        (
            json!({"provider": "alpha", "config_name_to_load": "no-such-configuration"}),
            404,
            "not_found",
        ),
        (json!({"provider": "alpha", "duration_seconds": -1}), 422, "invalid_request"),
    ] {
        let (found, refused) = api.post("/api/cloud/cost-estimate", body).await;
        assert_eq!((found, &refused["code"]), (status, &json!(code)), "{refused}");
    }
    api.alpha.set_missing(Some("alpha needs a version"));
    let body = json!({"provider": "alpha", "config": {"a": 1}});
    let (status, refused) = api.post("/api/cloud/cost-estimate", body).await;
    assert_eq!((status, &refused["code"]), (409, &json!("missing_setting")), "{refused}");
}
