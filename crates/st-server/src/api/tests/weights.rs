//! Fair share over HTTP: its times and the weights of owners.

use serde_json::json;

use super::*;

#[tokio::test]
async fn the_times_of_fair_share_are_shown_and_set_beside_the_limits() {
    let api = Harness::start().await;
    let (_, body) = api.get("/api/queue/concurrency").await;
    let times = |body: &Value| {
        [&body["starvation_seconds"], &body["usage_half_life_hours"]].map(Value::clone)
    };
    assert_eq!(times(&body), [json!(3600), json!(168)]);
    let (status, body) =
        api.post("/api/queue/concurrency", json!({"starvation_seconds": 60})).await;
    assert_eq!((status, times(&body)), (200, [json!(60), json!(168)]));
    let both = json!({"starvation_seconds": 604_800, "usage_half_life_hours": 1});
    let (_, body) = api.post("/api/queue/concurrency", both).await;
    assert_eq!(times(&body), [json!(604_800), json!(1)]);
    let (_, shown) = api.get("/api/queue/stats").await;
    assert_eq!(times(&shown), times(&body));
    let bad = json!({"starvation_seconds": 59, "usage_half_life_hours": 1.5});
    let (status, body) = api.post("/api/queue/concurrency", bad).await;
    assert_eq!(status, 422);
    let detail = body["detail"].as_str().unwrap();
    let said = "starvation_seconds: expected a whole number from 60 to 604800, found 59";
    assert!(detail.starts_with(said), "{detail}");
    assert_eq!(body["errors"][1]["pointer"], "/usage_half_life_hours");
}

#[tokio::test]
async fn a_weight_is_set_listed_and_taken_back() {
    let api = Harness::start().await;
    let change = json!({"scope": "org", "id": "acme", "weight": 4});
    let (status, body) = api.put("/api/queue/weights", change).await;
    let acme = json!({"scope": "org", "id": "acme", "weight": 4.0});
    assert_eq!((status, &body["weight"]), (200, &acme), "{body}");
    assert_eq!(body["message"], "the weight of organization acme is 4");
    let (_, body) = api.get("/api/queue/weights").await;
    assert_eq!(body, json!({"weights": [acme], "default": 1.0}));
    let change = json!({"scope": "org", "id": "acme", "weight": null});
    let (_, body) = api.put("/api/queue/weights", change).await;
    assert_eq!(body["weight"]["weight"], json!(1.0));
    let (_, body) = api.get("/api/queue/weights").await;
    assert_eq!(body["weights"], json!([]));
    let (status, body) = api.put("/api/queue/weights", json!({"scope": "org", "wait": 4})).await;
    let pointers = body["errors"].as_array().unwrap().iter().map(|it| it["pointer"].clone());
    let expected = vec![json!("/id"), json!("/wait"), json!("/weight")];
    assert_eq!((status, pointers.collect::<Vec<_>>()), (422, expected));
}
