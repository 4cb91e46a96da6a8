//! Budgets and holds over HTTP, as a submitter and an administrator meet them.

use serde_json::{Value, json};
use st_store::StoreStatus as _;

use super::Harness;
use super::auth::{Keyed, code};

async fn submit(api: &Harness, usd: f64) -> (u16, Value) {
    let body = json!({"config": {"a": 1}, "estimated_cost": usd});
    api.post("/api/cloud/jobs/submit?provider=alpha", body).await
}

async fn explain(api: &Harness, job: &Value) -> Value {
    let (status, body) =
        api.get(&format!("/api/cloud/jobs/{}/explain", job.as_str().unwrap())).await;
    assert_eq!(status, 200, "{body}");
    body
}

#[tokio::test]
async fn a_submission_beyond_a_budget_is_refused_with_its_numbers() {
    let api = Harness::start().await;
    let new = json!({"quota_type": "cost_monthly", "limit_value": 10, "user_id": "local"});
    let (status, made) = api.post("/api/quotas", new).await;
    assert_eq!(status, 200, "{made}");
    assert_eq!(made["quota"]["remaining"], 10.0);
    let (status, first) = submit(&api, 7.5).await;
    assert_eq!(status, 200, "{first}");
    let (status, refused) = submit(&api, 2.75).await;
    assert_eq!((status, &refused["code"]), (402, &json!("over_budget")), "{refused}");
    let detail = refused["detail"].as_str().unwrap();
    let said = "the monthly budget 1 of user local is 10.00 USD: 0.00 USD is spent and 7.50 USD \
                reserved until ";
    assert!(detail.starts_with(said), "{detail}");
    let explained = explain(&api, &first["job_id"]).await;
    assert_eq!(explained["budgets"][0]["reserved"], 7.5, "{explained}");

    let id = &made["id"];
    let (status, changed) = api.put(&format!("/api/quotas/{id}"), json!({"limit_value": 5})).await;
    assert_eq!((status, &changed["quota"]["is_exceeded"]), (200, &json!(true)), "{changed}");
    assert_eq!(api.claim("alpha").await.len(), 0, "a lowered budget holds what waits");
    let held = explain(&api, &first["job_id"]).await;
    assert_eq!(held["waiting_for"]["kind"], "budget", "{held}");
    let (status, _) = api.delete(&format!("/api/quotas/{id}")).await;
    assert_eq!(status, 200);
    assert_eq!(api.claim("alpha").await.len(), 1);
    let (status, gone) = api.delete(&format!("/api/quotas/{id}")).await;
    assert_eq!((status, &gone["detail"]), (404, &json!("there is no quota 1")));
    assert_eq!(api.get("/api/quotas").await.1, json!({"quotas": []}));
}

#[tokio::test]
async fn a_budget_that_warns_says_so_in_the_answer() {
    let api = Harness::start().await;
    for (key, name) in [("provider", "alpha"), ("user_id", "local")] {
        let quota =
            json!({"quota_type": "cost_daily", "limit_value": 1, "action": "warn", key: name});
        assert_eq!(api.post("/api/quotas", quota).await.0, 200);
    }
    let (status, answer) = submit(&api, 2.0).await;
    assert_eq!(status, 200, "{answer}");
    let warning = answer["cost_limit_warning"].as_str().unwrap();
    assert!(warning.starts_with("the daily budget 1 of provider alpha is 1.00 USD"), "{warning}");
    let [of_user] = &answer["quota_warnings"].as_array().unwrap()[..] else { panic!("{answer}") };
    assert!(of_user.as_str().unwrap().contains("budget 2 of user local"), "{answer}");
}

#[tokio::test]
async fn a_paused_queue_grants_nothing_and_says_who_paused_it() {
    let api = Harness::start().await;
    let job = Value::from(api.submit("alpha").await);
    let (status, paused) = api.post("/api/queue/pause", json!({"reason": "maintenance"})).await;
    assert_eq!(status, 200, "{paused}");
    assert_eq!(paused["message"], "the queue is paused; what has a slot keeps it");
    assert_eq!(api.claim("alpha").await.len(), 0);
    let held = explain(&api, &job).await;
    let reason = "It waits: the queue was paused by user local: maintenance.";
    assert_eq!((&held["summary"], &held["waiting_for"]["kind"]), (&json!(reason), &json!("hold")));
    let (_, holds) = api.get("/api/queue/holds").await;
    assert_eq!(holds["holds"][0]["scope"], "all", "{holds}");
    let (_, resumed) = api.post("/api/queue/resume", json!({})).await;
    assert_eq!(resumed["message"], "the queue is resumed");
    assert_eq!(api.claim("alpha").await.len(), 1);
    let (_, again) = api.post("/api/queue/resume", json!({})).await;
    assert_eq!(
        (&again["message"], &again["hold"]),
        (&json!("the queue was not paused"), &Value::Null)
    );
}

#[tokio::test]
async fn a_quota_of_jobs_is_made_shown_and_kept_as_the_command_line_asks() {
    let api = Harness::start().await;
    let (_, types) = api.get("/api/quotas/types").await;
    let names: Vec<&Value> =
        types["types"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    let expected = ["concurrent_jobs", "jobs_per_day", "cost_daily", "cost_weekly", "cost_monthly"];
    assert_eq!(json!(names), json!(expected));
    assert_eq!(types["types"][1]["unit"], "jobs");
    let new = json!({"quota_type": "jobs_per_day", "limit_value": 2.0, "action": "block"});
    let (status, made) = api.post("/api/quotas", new).await;
    assert_eq!(status, 200, "{made}");
    for _ in 0..2 {
        assert_eq!(submit(&api, 1.0).await.0, 200);
    }
    let path = format!("{}/api/cloud/jobs/submit?provider=alpha", api.url);
    let refused = api.client.post(path).json(&json!({"config": {}})).send().await.unwrap();
    let wait: i64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let (status, refused) = (refused.status().as_u16(), refused.json::<Value>().await.unwrap());
    assert_eq!((status, &refused["code"]), (429, &json!("quota_exceeded")), "{refused}");
    let resets: jiff::Timestamp = made["quota"]["resets_at"].as_str().unwrap().parse().unwrap();
    let left = resets.duration_since(api.store.inner().now()).as_secs();
    assert!((left..left + 120).contains(&wait), "{wait} of {left}");
    let at_once = json!({"quota_type": "concurrent_jobs", "limit_value": 1, "user_id": 7});
    let (status, made) = api.post("/api/quotas", at_once).await;
    assert_eq!((status, &made["quota"]["user_id"]), (200, &json!("7")), "{made}");
    let (_, status) = api.get("/api/quotas/status").await;
    let of = |index: usize, name: &str| status["quotas"][index][name].clone();
    assert_eq!((of(0, "current_usage"), of(0, "is_exceeded")), (json!(2.0), json!(true)));
    assert_eq!((of(1, "current_usage"), of(1, "resets_at")), (json!(0.0), Value::Null));
    let path = format!("/api/quotas/{}", made["id"]);
    let (status, wrong) = api.put(&path, json!({"limit_value": 1.5})).await;
    assert_eq!((status, &wrong["errors"][0]["pointer"]), (422, &json!("/limit_value")));
    let (status, wrong) = api.put(&path, json!({"action": "stop"})).await;
    assert_eq!((status, &wrong["errors"][0]["pointer"]), (422, &json!("/action")), "{wrong}");
}

#[tokio::test]
async fn a_job_beyond_a_number_at_once_says_what_it_waits_for() {
    let api = Harness::start().await;
    let quota = json!({"quota_type": "concurrent_jobs", "limit_value": 1});
    assert_eq!(api.post("/api/quotas", quota).await.0, 200);
    submit(&api, 1.0).await;
    let (_, second) = submit(&api, 1.0).await;
    let quota = async || api.get("/api/quotas").await.1["quotas"][0].clone();
    let waiting = quota().await;
    assert_eq!((&waiting["used"], &waiting["is_exceeded"]), (&json!(0.0), &json!(false)));
    assert_eq!(api.claim("alpha").await.len(), 1);
    assert_eq!(quota().await["used"], 1.0);
    let held = explain(&api, &second["job_id"]).await;
    assert_eq!(held["waiting_for"]["kind"], "budget", "{held}");
    let reason = held["waiting_for"]["reason"].as_str().unwrap();
    assert_eq!(reason, "the concurrent_jobs budget 1 of the queue is 1 job at once: 1 in slots");
    let next = held["waiting_for"]["next_step"].as_str().unwrap();
    assert!(next.starts_with("it is submitted when another job under the quota ends"), "{next}");
}

#[tokio::test]
async fn a_retry_counts_for_the_team_of_the_key_that_asks_for_it() {
    let keyed = Keyed::start().await;
    let body = json!({"name": "a", "user": "ann", "role": "researcher"});
    let alone = keyed.key_of(body.clone()).await;
    let mut body = body;
    body["team_id"] = json!("red");
    let of_team = keyed.key_of(body).await;
    let [without, with] = [keyed.submitted(&alone).await, keyed.submitted(&of_team).await];
    for job in [&without, &with] {
        let path = format!("/api/cloud/jobs/{job}/cancel");
        assert_eq!(keyed.post(&path, &alone, json!({})).await.0, 200);
    }
    let quota = json!({"quota_type": "jobs_per_day", "limit_value": 1, "team_id": "red"});
    assert_eq!(keyed.post("/api/quotas", &keyed.admin, quota).await.0, 200);
    let retry = |job: &str| format!("/api/cloud/jobs/{job}/retry");
    let refused = keyed.post(&retry(&without), &of_team, json!({})).await;
    assert_eq!(code(&refused), (429, "quota_exceeded"), "{refused:?}");
    let (status, left) = keyed.post(&retry(&with), &alone, json!({})).await;
    assert_eq!(status, 200, "the team is not charged for who has left it: {left}");
}

#[tokio::test]
async fn a_quota_or_a_rule_of_a_provider_that_does_not_exist_is_refused_with_those_that_do() {
    let api = Harness::start().await;
    let said = r#"there is no provider "alfa"; there are alpha, beta, local, replicate"#;
    let quota = json!({"quota_type": "cost_daily", "limit_value": 1, "provider": "alfa"});
    let rule = |provider| {
        json!({"name": "a", "condition": "cost_exceeds", "threshold": "5",
            "applies_to_provider": provider})
    };
    for (path, pointer, body) in [
        ("/api/quotas", "/provider", quota),
        ("/api/approvals/rules", "/applies_to_provider", rule("alfa")),
    ] {
        let (status, refused) = api.post(path, body).await;
        let expected = json!([{"pointer": pointer, "message": said}]);
        assert_eq!((status, &refused["errors"]), (422, &expected), "{path}");
    }
    let (status, made) = api.post("/api/approvals/rules", rule("beta")).await;
    assert_eq!(status, 200, "{made}");
    let path = format!("{}/api/approvals/rules/{}", api.url, made["id"]);
    let change = api.client.patch(path).json(&json!({"applies_to_provider": "alfa"}));
    let (status, refused) = Harness::answer(change).await;
    assert_eq!((status, &refused["errors"][0]["message"]), (422, &json!(said)));
}
