//! Keys, roles, sessions and the audit trail over HTTP.

use jiff::SignedDuration;
use reqwest::{Method, Response};

use super::*;

/// A server with a key of an administrator.
pub(super) struct Keyed {
    pub(super) api: Harness,
    pub(super) admin: String,
}

impl Keyed {
    pub(super) async fn start() -> Self {
        let api = Harness::start().await;
        let (status, body) = api.post("/api/keys", new("root", "admin")).await;
        assert_eq!(status, 200, "{body}");
        Self { api, admin: body["secret"].as_str().unwrap().to_owned() }
    }

    pub(super) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.api.client.request(method, format!("{}{path}", self.api.url))
    }

    pub(super) async fn get(&self, path: &str, key: &str) -> (u16, Value) {
        Harness::answer(self.request(Method::GET, path).bearer_auth(key)).await
    }

    pub(super) async fn post(&self, path: &str, key: &str, body: Value) -> (u16, Value) {
        Harness::answer(self.request(Method::POST, path).bearer_auth(key).json(&body)).await
    }

    /// Makes a key and returns its text.
    pub(super) async fn key(&self, user: &str, role: &str) -> String {
        self.key_of(new(user, role)).await
    }

    pub(super) async fn key_of(&self, body: Value) -> String {
        let (status, body) = self.post("/api/keys", &self.admin, body).await;
        assert_eq!(status, 200, "{body}");
        body["secret"].as_str().unwrap().to_owned()
    }

    pub(super) async fn submit(&self, key: &str, extra: Value) -> (u16, Value) {
        let mut body = json!({"config": {}});
        let (Value::Object(all), Value::Object(extra)) = (&mut body, extra) else { panic!() };
        all.extend(extra);
        self.post("/api/cloud/jobs/submit?provider=alpha", key, body).await
    }

    pub(super) async fn submitted(&self, key: &str) -> String {
        let (status, body) = self.submit(key, json!({})).await;
        assert_eq!(status, 200, "{body}");
        body["job_id"].as_str().unwrap().to_owned()
    }

    pub(super) async fn audit(&self, query: &str) -> Vec<Value> {
        let (status, body) = self.get(&format!("/api/audit{query}"), &self.admin).await;
        assert_eq!(status, 200, "{body}");
        body["entries"].as_array().unwrap().clone()
    }
}

fn new(user: &str, role: &str) -> Value {
    json!({"name": format!("{user}'s"), "user": user, "role": role})
}

fn id(key: &str) -> &str {
    key.split('_').nth(1).unwrap()
}

pub(super) fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["code"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn each_form_of_a_key_is_taken_and_nothing_else() {
    let keyed = Keyed::start().await;
    let key = keyed.key("ann", "researcher").await;
    let me = || keyed.request(Method::GET, "/api/users/me");
    for request in [me().bearer_auth(&key), me().header("X-API-Key", &key)] {
        let (status, body) = Harness::answer(request).await;
        assert_eq!(
            (status, &body["id"], &body["role"]),
            (200, &json!("ann"), &json!("researcher"))
        );
        assert_eq!((&body["is_admin"], &body["key_id"]), (&json!(false), &json!(id(&key))));
    }
    let other =
        format!("{}{}", key.split_at(key.len() - 1).0, if key.ends_with('a') { 'b' } else { 'a' });
    let unknown = key.replacen(id(&key), "0000000000", 1);
    let mut bodies = Vec::new();
    for request in [
        me(),
        me().bearer_auth(&other),
        me().bearer_auth(&unknown),
        me().bearer_auth("nonsense"),
        me().header("X-API-Key", ""),
        me().header("Authorization", format!("Basic {key}")),
        me().header("Cookie", format!("st_session={key}")),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        let mut body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        body["correlation_id"].take();
        bodies.push(body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "it is not said what was wrong: {bodies:?}");
    assert_eq!(bodies[0]["code"], "unauthenticated");
    for path in ["/health", "/api/cloud/health/live", "/api/cloud/health/ready"] {
        let (status, _) = Harness::answer(keyed.request(Method::GET, path)).await;
        assert_eq!(status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_revoked_and_an_expired_key_are_refused_at_once() {
    let keyed = Keyed::start().await;
    let key = keyed.key("ann", "viewer").await;
    assert_eq!(keyed.get("/api/queue", &key).await.0, 200);
    let path = format!("/api/keys/{}", id(&key));
    let revoke = || keyed.request(Method::DELETE, &path).bearer_auth(&keyed.admin);
    let (status, body) = Harness::answer(revoke()).await;
    assert_eq!((status, &body["key"]["is_active"]), (200, &json!(false)), "{body}");
    assert_eq!(code(&keyed.get("/api/queue", &key).await), (401, "unauthenticated"));
    let (status, again) = Harness::answer(revoke()).await;
    assert_eq!((status, &again["key"]["revoked_at"]), (200, &body["key"]["revoked_at"]));
    let missing = keyed.request(Method::DELETE, "/api/keys/none").bearer_auth(&keyed.admin);
    assert_eq!(Harness::answer(missing).await.0, 404);
    let soon = keyed.api.store.now() + SignedDuration::from_millis(1);
    let mut body = new("ben", "viewer");
    body["expires_at"] = json!(soon.to_string());
    let (status, made) = keyed.post("/api/keys", &keyed.admin, body).await;
    // It may be over before it is read.
    let Some(key) = made["secret"].as_str() else { return assert_eq!(status, 422, "{made}") };
    while keyed.api.store.now() <= soon {
        tokio::task::yield_now().await;
    }
    assert_eq!(code(&keyed.get("/api/queue", key).await), (401, "unauthenticated"));
}

#[tokio::test]
async fn keys_are_listed_without_their_secrets() {
    let keyed = Keyed::start().await;
    let mut body = new("ci", "researcher");
    body["scopes"] = json!(["submit", "read"]);
    body["team_id"] = json!("vision");
    let key = keyed.key_of(body).await;
    let (_, listed) = keyed.get("/api/keys?limit=1", &keyed.admin).await;
    let found = &listed["keys"][0];
    assert_eq!(found["id"], id(&key));
    assert_eq!(
        (&found["scopes"], &found["team_id"]),
        (&json!(["read", "submit"]), &json!("vision"))
    );
    assert_eq!((&found["created_by"], &found["is_active"]), (&json!("user root"), &json!(true)));
    let next = listed["next"].as_str().unwrap();
    let (_, older) = keyed.get(&format!("/api/keys?limit=1&cursor={next}"), &keyed.admin).await;
    assert_eq!(older["keys"][0]["user"], "root");
    let secret = key.rsplit('_').next().unwrap();
    assert!(!format!("{listed}{older}").contains(secret));
    for (bad, pointer) in [
        (json!({"user": "a", "role": "lead"}), "/name"),
        (json!({"name": "a", "role": "lead"}), "/user"),
        (json!({"name": "a", "user": "a", "role": "boss"}), "/role"),
        (json!({"name": "a", "user": "a", "role": "lead", "scopes": []}), "/scopes"),
        (json!({"name": "a", "user": "a", "role": "lead", "scopes": ["all"]}), "/scopes"),
        (
            json!({"name": "a", "user": "a", "role": "lead", "expires_at": "2020-01-01T00:00:00Z"}),
            "/expires_at",
        ),
    ] {
        let (status, body) = keyed.post("/api/keys", &keyed.admin, bad).await;
        assert_eq!((status, &body["errors"][0]["pointer"]), (422, &json!(pointer)), "{body}");
    }
}

#[tokio::test]
async fn the_first_key_is_an_administrators() {
    let api = Harness::start().await;
    let (status, body) = api.get("/api/auth/check").await;
    assert_eq!(
        (status, &body["single_user"], &body["user"]["id"]),
        (200, &json!(true), &json!("local"))
    );
    let refused = api.post("/api/keys", new("ann", "lead")).await;
    assert_eq!(code(&refused), (409, "first_key_must_be_admin"));
    let refused = api.post("/api/auth/session", json!({"api_key": "x"})).await;
    assert_eq!(code(&refused), (409, "single_user"));
    assert_eq!(api.post("/api/keys", new("ann", "admin")).await.0, 200);
    assert_eq!(code(&api.get("/api/queue").await), (401, "unauthenticated"), "also on loopback");
    let (status, body) = api.get("/api/auth/check").await;
    assert_eq!((status, &body["authenticated"], &body["user"]), (200, &json!(false), &Value::Null));
}

/// Each role, and what it gets for one operation of each kind: read, submit, cancel its own job and that
/// of another, cancel what is not there, say how urgent a job is, decide, administer.
#[tokio::test]
async fn each_role_may_do_what_it_says() {
    let keyed = Keyed::start().await;
    for (role, expected) in [
        ("viewer", [200, 403, 0, 403, 403, 403, 403, 403]),
        ("researcher", [200, 200, 200, 403, 404, 403, 403, 403]),
        ("lead", [200, 200, 200, 200, 404, 200, 404, 403]),
        ("admin", [200, 200, 200, 200, 404, 200, 404, 200]),
    ] {
        let (key, other) = (keyed.key("ann", role).await, keyed.key("ben", "researcher").await);
        let foreign = keyed.submitted(&other).await;
        let cancel = async |job: &str| {
            keyed.post(&format!("/api/cloud/jobs/{job}/cancel"), &key, json!({})).await.0
        };
        let read = keyed.get(&format!("/api/cloud/jobs/{foreign}"), &key).await.0;
        let (submit, body) = keyed.submit(&key, json!({})).await;
        let own = match body["job_id"].as_str() {
            Some(job) => cancel(job).await,
            None => 0,
        };
        let found = [
            read,
            submit,
            own,
            cancel(&foreign).await,
            cancel("0199aa00-0000-7000-8000-000000000000").await,
            keyed.submit(&key, json!({"priority": 30})).await.0,
            keyed.post("/api/approvals/requests/999/approve", &key, json!({})).await.0,
            keyed.get("/api/keys", &key).await.0,
        ];
        assert_eq!(found, expected, "{role}");
    }
}

#[tokio::test]
async fn a_job_is_the_callers_and_its_teams() {
    let keyed = Keyed::start().await;
    let mut body = new("ann", "researcher");
    body["team_id"] = json!("vision");
    let key = keyed.key_of(body).await;
    let job = keyed.submitted(&key).await;
    let (_, shown) = keyed.get(&format!("/api/cloud/jobs/{job}"), &key).await;
    assert_eq!(shown["job"]["user_id"], "ann");
    let record = keyed.api.store.inner();
    let record =
        record.find_job(&st_store::JobRef::Id(job.parse().unwrap())).await.unwrap().unwrap();
    assert_eq!(record.job().owner.team, Some(st_store::TeamId::new("vision")));
    let refused = keyed.submit(&key, json!({"team_id": "audio"})).await;
    assert_eq!(code(&refused), (403, "forbidden"));
    assert_eq!(keyed.submit(&keyed.admin, json!({"team_id": "audio"})).await.0, 200);
}

#[tokio::test]
async fn nobody_decides_about_an_own_job_or_above_the_own_role() {
    let keyed = Keyed::start().await;
    let rule = |name: &str, threshold: &str, level: &str, priority: i64| {
        json!({"name": name, "condition": "cost_exceeds", "threshold": threshold,
            "required_approver_level": level, "priority": priority})
    };
    for rule in [rule("some", "10", "lead", 1), rule("much", "100", "admin", 2)] {
        let (status, body) = keyed.post("/api/approvals/rules", &keyed.admin, rule).await;
        assert_eq!(status, 200, "{body}");
    }
    let (lead, other) = (keyed.key("ann", "lead").await, keyed.key("ben", "lead").await);
    let approve = async |cost: f64, key: &str| {
        let (status, body) = keyed.submit(&lead, json!({"estimated_cost": cost})).await;
        assert_eq!((status, &body["requires_approval"]), (200, &json!(true)), "{body}");
        let path = format!("/api/approvals/requests/{}/approve", body["approval_id"]);
        keyed.post(&path, key, json!({})).await
    };
    assert_eq!(code(&approve(50.0, &lead).await), (403, "forbidden"), "an own job");
    assert_eq!(approve(50.0, &other).await.0, 200);
    assert_eq!(code(&approve(500.0, &other).await), (403, "forbidden"), "an administrator must");
    assert_eq!(approve(500.0, &keyed.admin).await.0, 200);
}

#[tokio::test]
async fn a_scope_narrows_a_key() {
    let keyed = Keyed::start().await;
    let mut body = new("ci", "admin");
    body["scopes"] = json!(["read"]);
    let key = keyed.key_of(body).await;
    assert_eq!(keyed.get("/api/queue", &key).await.0, 200);
    let refused = keyed.submit(&key, json!({})).await;
    assert_eq!(code(&refused), (403, "forbidden"));
    assert_eq!(refused.1["detail"], "this needs a key with the scope submit");
    assert_eq!(keyed.get("/api/keys", &key).await.0, 403);
}

fn cookie(response: &Response) -> String {
    let value = response.headers()["set-cookie"].to_str().unwrap();
    assert!(value.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"), "{value}");
    value.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_browser_signs_in_and_shows_that_its_page_asks() {
    let keyed = Keyed::start().await;
    let key = keyed.key("ann", "researcher").await;
    let open =
        |key: &str| keyed.request(Method::POST, "/api/auth/session").json(&json!({"api_key": key}));
    assert_eq!(open("wrong").send().await.unwrap().status(), 401);
    let response = open(&key).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let cookie = cookie(&response);
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    let csrf = body["csrf_token"].as_str().unwrap().to_owned();
    assert!(
        !cookie.contains(&csrf) && !body.to_string().contains(cookie.split('=').nth(1).unwrap())
    );
    let with = |method, path: &str| keyed.request(method, path).header("Cookie", &cookie);
    let (status, check) = Harness::answer(with(Method::GET, "/api/auth/check")).await;
    assert_eq!(
        (status, &check["user"]["id"], &check["csrf_token"]),
        (200, &json!("ann"), &json!(csrf))
    );
    let submit =
        || with(Method::POST, "/api/cloud/jobs/submit?provider=alpha").json(&json!({"config": {}}));
    for request in
        [submit(), submit().header("X-CSRF-Token", "x"), submit().header("X-CSRF-Token", "")]
    {
        assert_eq!(code(&Harness::answer(request).await), (403, "bad_csrf_token"));
    }
    let (status, body) = Harness::answer(submit().header("X-CSRF-Token", &csrf)).await;
    assert_eq!(status, 200, "{body}");
    let end = || with(Method::DELETE, "/api/auth/session");
    assert_eq!(code(&Harness::answer(end()).await), (403, "bad_csrf_token"));
    assert_eq!(Harness::answer(end().header("X-CSRF-Token", &csrf)).await.0, 200);
    assert_eq!(Harness::answer(with(Method::GET, "/api/users/me")).await.0, 401);
}

#[tokio::test]
async fn a_session_ends_with_its_key() {
    let keyed = Keyed::start().await;
    let key = keyed.key("ann", "viewer").await;
    let open = keyed.request(Method::POST, "/api/auth/session").json(&json!({"api_key": key}));
    let cookie = cookie(&open.send().await.unwrap());
    let me = || keyed.request(Method::GET, "/api/users/me").header("Cookie", &cookie);
    assert_eq!(Harness::answer(me()).await.0, 200);
    let path = format!("/api/keys/{}", id(&key));
    Harness::answer(keyed.request(Method::DELETE, &path).bearer_auth(&keyed.admin)).await;
    assert_eq!(Harness::answer(me()).await.0, 401);
}

#[tokio::test]
async fn an_open_stream_ends_with_its_key() {
    let keyed = Keyed::start().await;
    let key = keyed.key("ann", "viewer").await;
    let mut stream =
        keyed.request(Method::GET, "/api/events").bearer_auth(&key).send().await.unwrap();
    assert_eq!(stream.status(), 200);
    stream.chunk().await.unwrap().unwrap();
    let path = format!("/api/keys/{}", id(&key));
    Harness::answer(keyed.request(Method::DELETE, &path).bearer_auth(&keyed.admin)).await;
    while stream.chunk().await.unwrap().is_some() {}
}

#[tokio::test]
async fn a_stream_that_was_opened_without_a_key_ends_with_the_first_one() {
    let api = Harness::start().await;
    let mut stream = api.client.get(format!("{}/api/events", api.url)).send().await.unwrap();
    assert_eq!(stream.status(), 200);
    stream.chunk().await.unwrap().unwrap();
    assert_eq!(api.post("/api/keys", new("root", "admin")).await.0, 200);
    while stream.chunk().await.unwrap().is_some() {}
}

#[tokio::test]
async fn the_trail_says_who_did_what() {
    let keyed = Keyed::start().await;
    let key = keyed.key("ann", "researcher").await;
    let job = keyed.submitted(&key).await;
    keyed.post(&format!("/api/cloud/jobs/{job}/cancel"), &key, json!({})).await;
    keyed.post("/api/cloud/jobs/none/cancel", &key, json!({})).await;
    let (status, _) =
        keyed.post("/api/queue/concurrency", &keyed.admin, json!({"max_concurrent": 7})).await;
    assert_eq!(status, 200);
    // Written in order, and the last one before it is answered.
    let names = |entries: &[Value]| {
        entries.iter().map(|it| it["operation"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = keyed.audit("").await;
    let expected = ["set_concurrency", "cancel_job", "submit_job", "create_key", "create_key"];
    assert_eq!(names(&all), expected);
    let cancel = &all[1];
    assert_eq!(cancel["actor"], json!({"kind": "user", "name": "ann"}));
    assert_eq!((&cancel["job_id"], &cancel["object"]), (&json!(job), &json!(job)));
    assert_eq!((&cancel["key_id"], &cancel["status"]), (&json!(id(&key)), &json!(200)));
    assert_eq!((&cancel["peer"], &cancel["times"]), (&json!("127.0.0.1"), &json!(1)));
    assert!(cancel["correlation_id"].as_str().is_some());
    assert_eq!(names(&keyed.audit("?actor=ann").await), ["cancel_job", "submit_job"]);
    let start: String = job.chars().take(13).collect();
    for name in [&job, &start] {
        let of_job = keyed.audit(&format!("?job_id={name}")).await;
        assert_eq!(names(&of_job), ["cancel_job", "submit_job"], "{name}");
    }
    assert_eq!(names(&keyed.audit("?since=2100-01-01T00:00:00Z").await), [""; 0]);
    let (_, page) = keyed.get("/api/audit?limit=2", &keyed.admin).await;
    let next = page["next"].as_str().unwrap();
    let rest = keyed.audit(&format!("?cursor={next}")).await;
    assert_eq!(names(&rest), expected[2..]);
    assert_eq!(keyed.get("/api/audit?cursor=x", &keyed.admin).await.0, 422);
    assert_eq!(keyed.get("/api/audit", &key).await.0, 403);
}

#[tokio::test]
async fn who_may_not_read_is_told_of_no_job_of_others_by_the_beginning_of_its_name() {
    let keyed = Keyed::start().await;
    let reader = keyed.key("ann", "researcher").await;
    let mut narrow = new("bob", "researcher");
    narrow["scopes"] = json!(["submit"]);
    let narrow = keyed.key_of(narrow).await;
    let theirs = [keyed.submitted(&reader).await, keyed.submitted(&reader).await];
    // Those of one time begin alike.
    let start: String = theirs[0].chars().take(6).collect();
    let cancel = format!("/api/cloud/jobs/{start}/cancel");
    let (status, body) = keyed.post(&cancel, &reader, json!({})).await;
    assert_eq!((status, &body["code"]), (409, &json!("ambiguous_job")), "{body}");
    let (status, body) = keyed.post(&cancel, &narrow, json!({})).await;
    assert_eq!((status, &body["code"]), (404, &json!("not_found")), "{body}");
    assert!(!body.to_string().contains(&theirs[0]), "{body}");
    let own = keyed.submitted(&narrow).await;
    let (status, body) = keyed.post(&cancel, &narrow, json!({})).await;
    assert_eq!((status, &body["job_id"]), (200, &json!(own)), "{body}");
}
