//! Approval rules and requests over HTTP, as an administrator, a lead and a submitter meet them.

use reqwest::Method;
use serde_json::{Value, json};

use super::Harness;
use super::auth::{Keyed, code};

fn rule(threshold: &str) -> Value {
    json!({"name": "dear", "condition": "cost_exceeds", "threshold": threshold,
        "applies_to_provider": "alpha"})
}

impl Keyed {
    async fn rule(&self, method: Method, id: &Value, body: Option<Value>) -> (u16, Value) {
        let request = self.request(method, &format!("/api/approvals/rules/{id}"));
        let request = request.bearer_auth(&self.admin);
        Harness::answer(match body {
            Some(body) => request.json(&body),
            None => request,
        })
        .await
    }

    /// Submits a job that needs approval, and returns the job and its request.
    async fn blocked(&self, key: &str) -> (Value, Value) {
        let (status, body) = self.submit(key, json!({"estimated_cost": 100})).await;
        assert_eq!((status, &body["requires_approval"]), (200, &json!(true)), "{body}");
        (body["job_id"].clone(), body["approval_id"].clone())
    }
}

#[tokio::test]
async fn a_rule_is_changed_in_part_and_deleted_unless_a_request_names_it() {
    let keyed = Keyed::start().await;
    let (_, made) = keyed.post("/api/approvals/rules", &keyed.admin, rule("50")).await;
    let id = &made["id"];
    let change = json!({"threshold": "70", "applies_to_provider": null});
    let (status, changed) = keyed.rule(Method::PATCH, id, Some(change)).await;
    let mut expected = made.clone();
    expected["threshold"] = json!("70");
    expected["applies_to_provider"] = Value::Null;
    assert_eq!((status, changed), (200, expected.clone()));
    assert_eq!(keyed.rule(Method::GET, id, None).await, (200, expected));
    let wrong = json!({"condition": "user_level"});
    let refused = keyed.rule(Method::PATCH, id, Some(wrong)).await;
    assert_eq!((refused.0, &refused.1["errors"][0]["pointer"]), (422, &json!("/threshold")));
    let ann = keyed.key("ann", "researcher").await;
    keyed.blocked(&ann).await;
    let kept = keyed.rule(Method::DELETE, id, None).await;
    assert_eq!(code(&kept), (409, "rule_in_use"));
    let trail = keyed.audit("").await;
    let is_removal = |it: &&Value| {
        it["operation"] == "delete_rule" && it["object"].as_str() == Some(id.to_string().as_str())
    };
    assert_eq!(trail.iter().filter(is_removal).count(), 1, "{trail:?}");
    assert_eq!(keyed.rule(Method::GET, id, None).await.1["is_active"], false);
    let (status, body) = keyed.submit(&ann, json!({"estimated_cost": 100})).await;
    assert_eq!((status, &body["requires_approval"]), (200, &json!(false)), "{body}");
    let (_, unused) = keyed.post("/api/approvals/rules", &keyed.admin, rule("900")).await;
    let deleted = keyed.rule(Method::DELETE, &unused["id"], None).await;
    assert_eq!(deleted, (200, json!({"success": true, "rule_id": unused["id"]})));
    assert_eq!(keyed.rule(Method::DELETE, &unused["id"], None).await.0, 404);
}

#[tokio::test]
async fn a_submitter_sees_and_withdraws_own_requests_and_no_others() {
    let keyed = Keyed::start().await;
    keyed.post("/api/approvals/rules", &keyed.admin, rule("50")).await;
    let (ann, ben) = (keyed.key("ann", "researcher").await, keyed.key("ben", "researcher").await);
    let (job, request) = keyed.blocked(&ann).await;
    let (_, other) = keyed.blocked(&ben).await;
    for path in ["/api/approvals/requests/me", "/api/approvals/me?pending_only=true"] {
        let (status, mine) = keyed.get(path, &ann).await;
        assert_eq!((status, &mine["total"], &mine["pending_count"]), (200, &json!(1), &json!(1)));
        assert_eq!(mine["requests"][0]["id"], request, "{mine}");
    }
    let count = keyed.get("/api/approvals/requests/pending/count", &ann).await;
    assert_eq!(count.1["pending_count"], 2);
    let cancel = async |request: &Value, key: &str| {
        keyed.post(&format!("/api/approvals/requests/{request}/cancel"), key, json!({})).await
    };
    assert_eq!(code(&cancel(&other, &ann).await), (403, "forbidden"));
    let done = cancel(&request, &ann).await;
    assert_eq!(done, (200, json!({"success": true, "request_id": request, "job_id": job})));
    assert_eq!(code(&cancel(&request, &ann).await), (409, "already_decided"));
    assert_eq!(cancel(&json!(999), &ann).await.0, 404);
    let (_, mine) = keyed.get("/api/approvals/me", &ann).await;
    assert_eq!((&mine["total"], &mine["pending_count"]), (&json!(1), &json!(0)));
    assert_eq!(mine["requests"][0]["status"], "cancelled");
    let path = format!("/api/cloud/jobs/{}", job.as_str().unwrap());
    assert_eq!(keyed.get(&path, &ann).await.1["job"]["status"], "cancelled");
}

#[tokio::test]
async fn many_decisions_are_made_each_for_itself_and_the_trail_names_every_job() {
    let keyed = Keyed::start().await;
    keyed.post("/api/approvals/rules", &keyed.admin, rule("50")).await;
    let (ann, lea) = (keyed.key("ann", "researcher").await, keyed.key("lea", "lead").await);
    let (first, one) = keyed.blocked(&ann).await;
    let (own, two) = keyed.blocked(&lea).await;
    let (third, three) = keyed.blocked(&ann).await;
    // The original's page sends the numbers as text.
    let ids = json!([one, two, 999, one, three.to_string()]);
    let body = json!({"request_ids": ids, "notes": "fine"});
    let (status, done) = keyed.post("/api/approvals/requests/bulk-approve", &lea, body).await;
    let counts = ["total", "succeeded", "failed"].map(|name| done[name].as_u64().unwrap());
    assert_eq!((status, counts, &done["success"]), (200, [5, 2, 3], &json!(false)), "{done}");
    let result = |index: usize| {
        let result = &done["results"][index];
        (result["job_id"].clone(), result["success"] == true, result["error"].as_str().unwrap())
    };
    assert_eq!(result(0), (first.clone(), true, ""));
    let codes = |done: &Value| {
        let results = done["results"].as_array().unwrap();
        results.iter().map(|it| it["code"].clone()).collect::<Vec<_>>()
    };
    let forbidden = json!("forbidden");
    let expected = [Value::Null, forbidden, json!("not_found"), json!("already_decided")];
    assert_eq!(codes(&done)[..4], expected);
    assert_eq!(result(1), (own, false, "nobody decides about the approval of an own job"));
    assert_eq!(result(2), (Value::Null, false, "there is no approval request 999"));
    let again = result(3);
    assert_eq!((again.0, again.1), (first.clone(), false));
    assert_eq!(result(4), (third.clone(), true, ""));
    let trail = async || {
        let entries = keyed.audit("").await;
        let of = entries.into_iter().filter(|it| it["operation"] == "approve_requests");
        of.map(|it| it["job_id"].clone()).collect::<Vec<_>>()
    };
    // It is written in batches.
    let mut named = trail().await;
    while named.len() < 2 {
        tokio::task::yield_now().await;
        named = trail().await;
    }
    named.sort_by_key(Value::to_string);
    let mut expected = vec![first, third];
    expected.sort_by_key(Value::to_string);
    assert_eq!(named, expected);
}

#[tokio::test]
async fn many_decisions_of_which_none_is_made_are_no_success_of_the_trail() {
    let keyed = Keyed::start().await;
    let (_, made) = keyed.post("/api/approvals/rules", &keyed.admin, rule("50")).await;
    let lea = keyed.key("lea", "lead").await;
    let (_, own) = keyed.blocked(&lea).await;
    let body = json!({"request_ids": [own]});
    let path = "/api/approvals/requests/bulk-approve";
    let (status, done) = keyed.post(path, &lea, body.clone()).await;
    assert_eq!((status, &done["failed"]), (200, &json!(1)), "{done}");
    let of = async |operation: &str| {
        let entries = keyed.audit("").await;
        entries.into_iter().filter(|it| it["operation"] == operation).collect::<Vec<_>>()
    };
    // What is decided afterwards is written after it.
    let ben = keyed.key("ben", "researcher").await;
    let (_, request) = keyed.blocked(&ben).await;
    let decided = keyed.post(path, &lea, json!({"request_ids": [request]})).await;
    assert_eq!(decided.1["succeeded"], 1);
    let mut found = of("approve_requests").await;
    while found.is_empty() {
        tokio::task::yield_now().await;
        found = of("approve_requests").await;
    }
    let of_success: Vec<&Value> = found.iter().filter(|it| it["status"] == 200).collect();
    assert_eq!(of_success.len(), 1, "{found:?}");
    assert!(!of_success[0]["job_id"].is_null(), "{found:?}");
    // What is made is named by its number.
    assert_eq!(of("add_rule").await[0]["object"], made["id"].to_string());

    // Where the store itself fails, nothing is said about one of them.
    keyed.api.store.faults().decide_many = Some(|| st_store::Error::Busy);
    let ann = keyed.key("ann", "researcher").await;
    let (_, request) = keyed.blocked(&ann).await;
    let failed = keyed.post(path, &lea, json!({"request_ids": [request]})).await;
    assert_eq!(code(&failed), (503, "store_busy"));
    let many: Vec<u32> = (0..501).collect();
    let failed = keyed.post(path, &lea, json!({"request_ids": many})).await;
    assert_eq!((failed.0, &failed.1["errors"][0]["pointer"]), (422, &json!("/request_ids")));
    let long = json!({"threshold": "1".repeat(2001), "description": "d".repeat(2001)});
    let refused = keyed.rule(Method::PATCH, &made["id"], Some(long)).await;
    assert_eq!((refused.0, refused.1["errors"].as_array().unwrap().len()), (422, 2));
}
