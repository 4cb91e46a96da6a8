//! A working day on the page: people, and jobs of theirs in every state.

use jiff::{SignedDuration, Timestamp};
use reqwest::StatusCode;
use serde_json::{Value, json};
use st_testkit::replicate::Job;

use crate::scene::Scene;
use crate::support::PATIENCE;

/// Who has a key beside the administrator `ann`.
pub(crate) const PEOPLE: [(&str, &str); 4] =
    [("ben", "researcher"), ("chloe", "researcher"), ("dan", "lead"), ("vera", "viewer")];

/// What becomes of a job at its provider.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Runs,
    Succeeded,
    Failed(&'static str),
    Cancelled,
}

/// Jobs that start: who submitted it, its name, what becomes of it, and how many minutes it has run then.
const STARTED: [(&str, &str, Fate, i64); 13] = [
    ("ben", "flux-portraits-lora", Fate::Succeeded, 184),
    ("chloe", "sdxl-product-shots", Fate::Succeeded, 96),
    ("dan", "sd3-medium-finetune", Fate::Succeeded, 311),
    ("ben", "pixart-sigma-watercolour", Fate::Succeeded, 58),
    (
        "dan",
        "auraflow-baseline",
        Fate::Failed("Dataset \"watercolour\" has no captions for 14 images"),
        3,
    ),
    ("dan", "sd3-medium-finetune-2", Fate::Runs, 227),
    ("chloe", "kolors-jewellery", Fate::Succeeded, 127),
    (
        "ben",
        "flux-portraits-lora-rank64",
        Fate::Failed("CUDA out of memory. Tried to allocate 2.50 GiB"),
        12,
    ),
    ("ben", "flux-portraits-lora-rank128", Fate::Runs, 141),
    ("chloe", "sdxl-product-shots-v2", Fate::Cancelled, 41),
    ("chloe", "sdxl-product-shots-v3", Fate::Runs, 63),
    ("ben", "flux-dev-full-finetune", Fate::Succeeded, 402),
    ("chloe", "kolors-jewellery-closeups", Fate::Runs, 18),
];

/// Jobs that are more expensive than the rule allows without a person's word.
const EXPENSIVE: [(&str, &str, f64); 3] = [
    ("ben", "flux-dev-full-finetune-1M", 480.0),
    ("chloe", "sdxl-catalogue-2026", 220.0),
    ("ben", "hunyuan-video-lora", 135.5),
];

const WAITING: [(&str, &str); 6] = [
    ("ben", "flux-portraits-ablation-1"),
    ("ben", "flux-portraits-ablation-2"),
    ("ben", "flux-portraits-ablation-3"),
    ("chloe", "sdxl-seasonal-winter"),
    ("chloe", "sdxl-seasonal-summer"),
    ("dan", "sd3-medium-distilled"),
];

/// A client that acts for one of the people.
struct Person<'a> {
    scene: &'a Scene,
    key: &'a str,
}

impl Person<'_> {
    async fn post(&self, path: &str, body: Value) -> Value {
        let server = &self.scene.server;
        let request =
            server.client().post(server.url(path)).header("x-api-key", self.key).json(&body);
        let response = request.send().await.unwrap();
        let (status, body) = (response.status(), response.json::<Value>().await.unwrap());
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    async fn submit(&self, name: &str, more: Value) -> String {
        let mut body = json!({"config": {"--model_type": "lora", "--max_train_steps": 4000}, "config_name": name});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let job = self.post("/api/cloud/jobs/submit?provider=replicate", body).await;
        job["job_id"].as_str().unwrap().to_owned()
    }
}

/// Fills a server that has the keys of [`PEOPLE`] with a day's work.
pub(crate) async fn work_a_day(scene: &Scene, keys: &[String]) {
    let person = |name: &str| {
        let place = PEOPLE.iter().position(|(known, _)| *known == name).unwrap();
        Person { scene, key: &keys[place] }
    };
    set_up(scene).await;
    remember_the_last_month(scene);
    scene.replicate.world().hold("starting");
    scene.hold_queue().await;
    for (name, config, cost) in EXPENSIVE {
        person(name).submit(config, json!({"estimated_cost": cost})).await;
    }
    for (name, config) in WAITING {
        person(name).submit(config, json!({"estimated_cost": 6.0})).await;
    }
    let tonight = ago(-6 * 60);
    person("dan").submit("nightly-regression", json!({"run_after": tonight})).await;
    let cancelled = person("ben").submit("flux-portraits-typo", json!({})).await;
    person("ben").post(&format!("/api/cloud/jobs/{cancelled}/cancel"), json!({})).await;
    // Those that start are newer and more urgent, so that the list begins with jobs in all states.
    let mut started = Vec::new();
    for (name, config, fate, minutes) in STARTED {
        let job = person(name).submit(config, json!({"estimated_cost": 12.0})).await;
        let priority = format!("/api/queue/{job}/priority");
        let urgent = scene.server.post(&priority, json!({"priority": 40})).await;
        assert_eq!(urgent.status, 200, "{:?}", urgent.body);
        started.push((job, fate, minutes));
    }
    scene.release_queue().await;
    for (job, _, _) in &started {
        scene.server.until(job, "queued").await;
    }
    limit(scene, json!({"max_concurrent": 4, "user_max_concurrent": 3, "enable_fair_share": true}))
        .await;
    for (job, fate, minutes) in &started {
        let id = scene.server.job(job).await["provider_job_id"].as_str().unwrap().to_owned();
        scene.replicate.world().change(&id, |it| meet(it, *fate, *minutes));
    }
    scene.replicate.world().hold("processing");
    for (job, fate, _) in &started {
        let status = match fate {
            Fate::Runs => "running",
            Fate::Succeeded => "completed",
            Fate::Failed(_) => "failed",
            Fate::Cancelled => "cancelled",
        };
        scene.server.until(job, status).await;
    }
    decide(scene, &person("dan")).await;
}

/// A lead rejects the newest request.
async fn decide(scene: &Scene, lead: &Person<'_>) {
    let ask = "/api/approvals/requests?status=pending&limit=10";
    let requests = scene.server.get(ask).await.body;
    let newest = &requests["requests"].as_array().unwrap()[0]["id"];
    let reject = format!("/api/approvals/requests/{newest}/reject");
    lead.post(&reject, json!({"reason": "Try it with 10,000 images first"})).await;
}

async fn limit(scene: &Scene, limits: Value) {
    let answer = scene.server.post("/api/queue/concurrency", limits).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
}

/// Rules, limits, budgets and a hold.
async fn set_up(scene: &Scene) {
    let post = async |path: &str, body: Value| {
        let answer = scene.server.post(path, body).await;
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
    };
    let rule = json!({"name": "Expensive jobs", "condition": "cost_exceeds", "threshold": "100",
        "description": "A lead looks at everything above 100 dollars", "required_approver_level": "lead"});
    post("/api/approvals/rules", rule).await;
    // As many as start; then less.
    let all = STARTED.len();
    limit(scene, json!({"max_concurrent": all, "user_max_concurrent": all})).await;
    for (user, amount) in [("ben", 900), ("chloe", 400)] {
        let budget = json!({"quota_type": "cost_monthly", "limit_value": amount, "user_id": user});
        post("/api/quotas", budget).await;
    }
    post("/api/quotas", json!({"quota_type": "cost_daily", "limit_value": 900, "action": "warn"}))
        .await;
    post("/api/queue/pause", json!({"scope": "user", "id": "sam", "reason": "on holiday"})).await;
}

/// So many minutes before now.
#[expect(clippy::disallowed_methods, reason = "the server has the system's clock")]
fn ago(minutes: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_mins(minutes)
}

/// A job has been at its provider for so long, and meets its fate there.
fn meet(job: &mut Job, fate: Fate, minutes: i64) {
    job.created_at = ago(minutes);
    let (status, error) = match fate {
        Fate::Runs => return,
        Fate::Succeeded => ("succeeded", None),
        Fate::Failed(why) => ("failed", Some(why.to_owned())),
        Fate::Cancelled => ("canceled", None),
    };
    status.clone_into(&mut job.status);
    job.error = error;
    job.completed_at = Some(ago(0));
    job.charged_seconds = SignedDuration::from_mins(minutes).as_secs_f64();
}

/// Gives the server what stays of jobs that ended on earlier days and were deleted since: their sums.
fn remember_the_last_month(scene: &Scene) {
    let database = rusqlite::Connection::open(scene.server.state_dir().join("cloud.db")).unwrap();
    database.busy_timeout(PATIENCE).unwrap();
    for day in 1..30_i32 {
        let date = ago(24 * 60 * i64::from(day)).strftime("%F").to_string();
        // Some days are busier than others, and every seventh is quiet.
        let jobs = if day % 7 == 0 { 1 } else { 3 + (day * 5) % 8 };
        let cost = f64::from(jobs) * (9.4 + f64::from((day * 37) % 11));
        let sums = "INSERT INTO daily_totals (day, user_id, provider, job_type, status, jobs, cost_usd, seconds)
                    VALUES (?1, 'ben', 'replicate', 'cloud', 'completed', ?2, ?3, ?4)";
        database.execute(sums, rusqlite::params![date, jobs, cost, jobs * 7_140]).unwrap();
    }
}
