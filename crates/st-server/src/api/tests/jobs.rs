//! Jobs: finding, listing, cancelling them, and their history.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Harness;

#[tokio::test]
async fn a_job_is_found_by_our_id_and_by_its_providers_whatever_that_is_formed_like() {
    let api = Harness::start().await;
    let job = api.submit("alpha").await;
    let formed_like_ours = "0190b3a0-0000-7000-8000-000000000001";
    api.hand_over("alpha", formed_like_ours).await;
    for name in [job.as_str(), formed_like_ours] {
        let (status, body) = api.get(&format!("/api/cloud/jobs/{name}")).await;
        assert_eq!((status, &body["job"]["job_id"]), (200, &json!(job)), "{name}");
    }
    let (status, body) = api.get("/api/cloud/jobs/other").await;
    assert_eq!((status, &body["detail"]), (404, &json!("there is no job \"other\"")));
}

#[tokio::test]
async fn an_id_that_two_providers_use_is_refused_with_the_candidates() {
    let api = Harness::start().await;
    let first = api.submit("alpha").await;
    let second = api.submit("beta").await;
    api.hand_over("alpha", "same").await;
    api.hand_over("beta", "same").await;
    let (status, body) = api.get("/api/cloud/jobs/same").await;
    assert_eq!((status, &body["code"]), (409, &json!("ambiguous_job")));
    assert_eq!(body["jobs"], json!([first, second]));
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains(&first) && detail.contains(&second), "{detail}");
}

/// So many characters of an ID.
fn start(id: &str, count: usize) -> &str {
    id.get(..count).unwrap()
}

#[tokio::test]
async fn a_job_is_found_by_the_beginning_of_an_id_that_no_other_has() {
    let api = Harness::start().await;
    let job = api.submit("alpha").await;
    api.hand_over("alpha", "rmnv2hmxf9rma0").await;
    let upper = start(&job, 12).to_uppercase();
    for name in [start(&job, 6), start(&job, 12), start(&job, 35), &upper, "rmnv2h"] {
        for path in
            ["/api/cloud/jobs/{}", "/api/cloud/jobs/{}/explain", "/api/cloud/jobs/{}/events"]
        {
            let (status, body) = api.get(&path.replace("{}", name)).await;
            assert_eq!(status, 200, "{path} {name}: {body}");
        }
        let (_, body) = api.get(&format!("/api/cloud/jobs/{name}")).await;
        assert_eq!(body["job"]["job_id"], job.as_str());
    }
    for name in [start(&job, 5), "rmnv2", "ffffff", "RMNV2H", "rmnv2hmxf9rma0x"] {
        let (status, body) = api.get(&format!("/api/cloud/jobs/{name}")).await;
        let expected = json!(format!("there is no job {name:?}"));
        assert_eq!((status, &body["detail"]), (404, &expected));
    }
}

#[tokio::test]
async fn an_ambiguous_beginning_is_refused_with_candidates_and_how_many_characters_are_needed() {
    let api = Harness::start().await;
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(api.submit("alpha").await);
    }
    // Those of one time begin alike.
    jobs.sort();
    let (status, body) = api.get(&format!("/api/cloud/jobs/{}", start(&jobs[0], 6))).await;
    assert_eq!((status, &body["code"]), (409, &json!("ambiguous_job")));
    assert_eq!(body["jobs"], json!(jobs));
    let detail = body["detail"].as_str().unwrap();
    assert!(
        detail.contains(&format!("{:?} is the beginning of 3 jobs", start(&jobs[0], 6))),
        "{detail}"
    );
    let words: Vec<&str> = detail.split(' ').collect();
    let needed = words.iter().position(|word| *word == "characters").unwrap() - 1;
    let needed: usize = words[needed].parse().unwrap();
    for job in &jobs {
        let (status, body) = api.get(&format!("/api/cloud/jobs/{}", start(job, needed))).await;
        assert_eq!((status, &body["job"]["job_id"]), (200, &json!(job)), "{detail}");
    }
    let shorter =
        jobs.iter().filter(|job| start(job, needed - 1) == start(&jobs[0], needed - 1)).count();
    let others =
        jobs.iter().filter(|job| start(job, needed - 1) == start(&jobs[2], needed - 1)).count();
    assert!(shorter > 1 || others > 1, "{needed} characters are not the fewest: {jobs:?}");
    for _ in 0..8 {
        api.submit("alpha").await;
    }
    let (_, body) = api.get(&format!("/api/cloud/jobs/{}", start(&jobs[0], 6))).await;
    assert_eq!(body["jobs"].as_array().unwrap().len(), 10);
    assert!(body["detail"].as_str().unwrap().contains("more than 10 jobs"), "{body}");
    // A change is made to one job or to none.
    let cancel =
        api.client.post(format!("{}/api/cloud/jobs/{}/cancel", api.url, start(&jobs[0], 6)));
    assert_eq!(Harness::answer(cancel).await.0, 409);
}

#[tokio::test]
async fn a_list_asks_for_its_positions_in_one_call() {
    let api = Harness::start().await;
    let mut expected = BTreeMap::new();
    for position in 1..=5 {
        expected.insert(api.submit("alpha").await, position);
    }
    let before = api.store.standings_calls();
    let (_, jobs) = api.get("/api/cloud/jobs").await;
    let (_, queue) = api.get("/api/queue").await;
    assert_eq!(api.store.standings_calls(), before + 2);
    let positions = |list: &Value, key: &str| -> BTreeMap<String, u64> {
        let rows = list.as_array().unwrap().iter();
        rows.map(|it| (it["job_id"].as_str().unwrap().to_owned(), it[key].as_u64().unwrap()))
            .collect()
    };
    assert_eq!(positions(&jobs["jobs"], "queue_position"), expected);
    assert_eq!(positions(&queue["entries"], "position"), expected);
}

#[tokio::test]
async fn lists_and_single_jobs_say_what_each_waits_for() {
    let api = Harness::start().await;
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(api.submit("alpha").await);
    }
    let absent = api.submit_to_absent("gone").await;
    assert_eq!(api.claim("alpha").await.len(), 2, "a user has two slots");
    let limit = "user local has no free slot by user_max_concurrent, which is 2 (2 are taken)";
    let expected = BTreeMap::from([
        (jobs[0].as_str(), (Value::Null, Value::Null)),
        (jobs[1].as_str(), (Value::Null, Value::Null)),
        (jobs[2].as_str(), (json!("limit"), json!(limit))),
        (&absent, (json!("provider"), json!("provider gone is not configured"))),
    ]);
    let before = api.store.standings_calls();
    let (_, list) = api.get("/api/cloud/jobs").await;
    let (_, queue) = api.get("/api/queue").await;
    assert_eq!(api.store.standings_calls(), before + 2, "one call for each list");
    let mut rows: Vec<Value> = list["jobs"].as_array().unwrap().clone();
    rows.extend(queue["entries"].as_array().unwrap().clone());
    for job in expected.keys() {
        rows.push(api.job(job).await);
    }
    assert_eq!(rows.len(), 12);
    for row in rows {
        let (kind, reason) = &expected[row["job_id"].as_str().unwrap()];
        let waiting = &row["waiting_for"];
        assert_eq!((&waiting["kind"], &waiting["reason"]), (kind, reason), "{row}");
        assert!(waiting.is_null() || waiting["next_step"].is_string(), "{row}");
    }
}

#[tokio::test]
async fn a_wait_is_expected_of_jobs_that_wait_for_a_slot_alone() {
    let api = Harness::start().await;
    let first = api.submit("alpha").await;
    let next = api.submit("alpha").await;
    let unknown = api.job(&next).await;
    assert_eq!(unknown["estimated_wait_seconds"], Value::Null, "nothing was claimed yet");
    assert_eq!(api.claim("alpha").await.len(), 2, "a user has two slots");
    let waiting = api.submit("alpha").await;
    // The others waited for milliseconds, so that is what is left of the wait: some, or it is over.
    let is_short = |wait: &Value| wait.is_null() || wait.as_f64().is_some_and(|it| it < 60.0);
    let (_, list) = api.get("/api/cloud/jobs").await;
    for job in list["jobs"].as_array().unwrap() {
        let wait = &job["estimated_wait_seconds"];
        assert!(wait.is_null() || job["job_id"] == waiting.as_str(), "{first}: {job}");
        assert!(is_short(wait), "{job}");
    }
    let everything = json!({"scope": "all"});
    assert_eq!(api.post("/api/queue/pause", everything).await.0, 200);
    for path in ["/api/cloud/jobs", "/api/queue/position"] {
        let (_, held) = api.get(&format!("{path}/{waiting}")).await;
        assert_eq!(
            held["estimated_wait_seconds"],
            Value::Null,
            "nobody knows when it ends: {held}"
        );
    }
}

#[tokio::test]
async fn a_job_that_was_never_claimed_shows_its_first_attempt_and_its_date() {
    let api = Harness::start().await;
    let body = json!({"config": {}, "run_after": "2100-01-01T00:00:00Z"});
    let (status, refused) = api.post("/api/cloud/jobs/submit?provider=alpha", body).await;
    assert_eq!((status, &refused["errors"][0]["pointer"]), (422, &json!("/run_after")));
    let soon = st_store::StoreStatus::now(api.store.inner()) + jiff::SignedDuration::from_hours(1);
    let body = json!({"config": {}, "run_after": format!("{soon:.3}")});
    let (status, _) = api.post("/api/cloud/jobs/submit?provider=alpha", body).await;
    assert_eq!(status, 200);
    let (_, queue) = api.get("/api/queue").await;
    let entry = &queue["entries"][0];
    assert_eq!((&entry["attempt"], &entry["status"]), (&json!(1), &json!("pending")));
    assert_eq!(entry["not_before"], format!("{soon:.3}"));
}

#[tokio::test]
async fn a_history_names_who_did_what_and_is_read_in_parts() {
    let api = Harness::start().await;
    let job = api.submit("alpha").await;
    api.hand_over("alpha", "r1").await;
    let path = format!("/api/cloud/jobs/{job}/events");
    let (status, all) = api.get(&path).await;
    assert_eq!((status, &all["next"]), (200, &Value::Null));
    let steps: Vec<String> = all["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            let [subject, from, to] = ["subject", "from", "to"].map(|key| it[key].as_str());
            let (kind, source) = (&it["actor"]["kind"], &it["source"]);
            let from = from.unwrap_or("nothing");
            format!("{} {from} to {}, {kind} {source}", subject.unwrap(), to.unwrap())
        })
        .collect();
    let expected = [
        "job nothing to pending, \"user\" \"user\"",
        "queue nothing to pending, \"user\" \"user\"",
        "queue pending to ready, \"scheduler\" \"scheduler\"",
        "job pending to uploading, \"scheduler\" \"scheduler\"",
        "queue ready to running, \"scheduler\" \"scheduler\"",
        "job uploading to queued, \"scheduler\" \"scheduler\"",
    ];
    assert_eq!(steps, expected);
    assert_eq!(all["events"][0]["actor"], json!({"kind": "user", "name": "local"}));

    let (_, first) = api.get(&format!("{path}?limit=4")).await;
    let next = first["next"].as_i64().unwrap();
    let (_, second) = api.get(&format!("{path}?limit=4&cursor={next}")).await;
    assert_eq!(second["next"], Value::Null);
    let events = |part: &Value| part["events"].as_array().unwrap().clone();
    assert_eq!([events(&first), events(&second)].concat(), events(&all));
}

#[tokio::test]
async fn limits_are_changed_one_by_one_and_all_faults_are_named() {
    let api = Harness::start().await;
    let (status, body) = api.post("/api/queue/concurrency", json!({"max_concurrent": 7})).await;
    assert_eq!((status, &body["max_concurrent"]), (200, &json!(7)), "{body}");
    let (_, body) = api.post("/api/queue/concurrency", json!({"enable_fair_share": true})).await;
    assert_eq!((&body["max_concurrent"], &body["enable_fair_share"]), (&json!(7), &json!(true)));
    let bad = json!({"max_concurrent": 0, "user_max_concurrent": "x"});
    let (status, body) = api.post("/api/queue/concurrency", bad).await;
    let pointers: Vec<&Value> =
        body["errors"].as_array().unwrap().iter().map(|it| &it["pointer"]).collect();
    assert_eq!(
        (status, json!(pointers)),
        (422, json!(["/max_concurrent", "/user_max_concurrent"]))
    );
}
