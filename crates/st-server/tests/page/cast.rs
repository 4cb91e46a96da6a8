//! A working day on the page: people, and jobs of theirs in every state.

use jiff::{SignedDuration, Timestamp};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::scene::Scene;
use crate::support::{PATIENCE, eventually};

/// Who has a key beside the administrator `ann`.
pub(crate) const PEOPLE: [(&str, &str); 4] =
    [("ben", "researcher"), ("chloe", "researcher"), ("dan", "lead"), ("vera", "viewer")];

/// What became of a job at its provider.
#[derive(Debug, Clone, Copy)]
enum End {
    Succeeded,
    Failed(&'static str),
    Cancelled,
}

/// Jobs that are over: who submitted it, its name, how it ended, and how many minutes it ran.
const ENDED: [(&str, &str, End, i64); 9] = [
    ("ben", "flux-portraits-lora", End::Succeeded, 184),
    ("chloe", "sdxl-product-shots", End::Succeeded, 96),
    (
        "ben",
        "flux-portraits-lora-rank64",
        End::Failed("CUDA out of memory. Tried to allocate 2.50 GiB"),
        12,
    ),
    ("dan", "sd3-medium-finetune", End::Succeeded, 311),
    ("chloe", "sdxl-product-shots-v2", End::Cancelled, 41),
    ("ben", "pixart-sigma-watercolour", End::Succeeded, 58),
    (
        "dan",
        "auraflow-baseline",
        End::Failed("Dataset \"watercolour\" has no captions for 14 images"),
        3,
    ),
    ("chloe", "kolors-jewellery", End::Succeeded, 127),
    ("ben", "flux-dev-full-finetune", End::Succeeded, 402),
];

/// Jobs that run, and for how many minutes.
const RUNNING: [(&str, &str, i64); 4] = [
    ("ben", "flux-portraits-lora-rank128", 141),
    ("chloe", "sdxl-product-shots-v3", 63),
    ("dan", "sd3-medium-finetune-2", 227),
    ("chloe", "kolors-jewellery-closeups", 18),
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
    remember_the_last_month(scene);
    scene.replicate.world().hold("starting");
    let mut ended = Vec::new();
    for (name, config, end, minutes) in ENDED {
        let job = person(name).submit(config, json!({"estimated_cost": 12.0})).await;
        ended.push((job, end, minutes));
    }
    for (job, end, minutes) in &ended {
        end_at_provider(scene, job, *end, *minutes).await;
    }
    for (job, _, _) in &ended {
        let is_over = async || scene.server.job(job).await["is_terminal"] == true;
        eventually("the job is over", is_over).await;
    }
    set_up(scene).await;
    let mut running = Vec::new();
    for (name, config, minutes) in RUNNING {
        let job = person(name).submit(config, json!({"estimated_cost": 18.5})).await;
        running.push((job, minutes));
    }
    for (job, minutes) in &running {
        let id = arrived(scene, job).await;
        scene.replicate.world().change(&id, |it| it.created_at = ago(*minutes));
    }
    scene.replicate.world().hold("processing");
    for (job, _) in &running {
        scene.server.until(job, "running").await;
    }
    for (name, config, cost) in EXPENSIVE {
        person(name).submit(config, json!({"estimated_cost": cost})).await;
    }
    let tonight = Timestamp::now() + SignedDuration::from_hours(6);
    person("dan").submit("nightly-regression", json!({"run_after": tonight})).await;
    for (name, config) in WAITING {
        person(name).submit(config, json!({"estimated_cost": 6.0})).await;
    }
    let cancelled = person("ben").submit("flux-portraits-typo", json!({})).await;
    person("ben").post(&format!("/api/cloud/jobs/{cancelled}/cancel"), json!({})).await;
    let ask = "/api/approvals/requests?status=pending&limit=10";
    let requests = scene.server.get(ask).await.body;
    let last = &requests["requests"].as_array().unwrap()[0]["id"];
    let reject = format!("/api/approvals/requests/{last}/reject");
    person("dan").post(&reject, json!({"reason": "Try it with 10,000 images first"})).await;
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
    let limits = json!({"max_concurrent": 4, "user_max_concurrent": 3, "enable_fair_share": true});
    post("/api/queue/concurrency", limits).await;
    for (user, amount) in [("ben", 900), ("chloe", 400)] {
        let budget = json!({"quota_type": "cost_monthly", "limit_value": amount, "user_id": user});
        post("/api/quotas", budget).await;
    }
    post("/api/quotas", json!({"quota_type": "cost_daily", "limit_value": 900, "action": "warn"}))
        .await;
    post("/api/queue/pause", json!({"scope": "user", "id": "sam", "reason": "on holiday"})).await;
}

/// So many minutes before now.
fn ago(minutes: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_mins(minutes)
}

/// Waits until the provider has a job; gives its name there.
async fn arrived(scene: &Scene, job: &str) -> String {
    let queued = scene.server.until(job, "queued").await;
    queued["provider_job_id"].as_str().unwrap().to_owned()
}

/// Lets a job run at its provider for so long, and end there.
async fn end_at_provider(scene: &Scene, job: &str, end: End, minutes: i64) {
    let id = arrived(scene, job).await;
    scene.replicate.world().change(&id, |job| {
        let (status, error) = match end {
            End::Succeeded => ("succeeded", None),
            End::Failed(why) => ("failed", Some(why.to_owned())),
            End::Cancelled => ("canceled", None),
        };
        status.clone_into(&mut job.status);
        job.error = error;
        job.created_at = ago(minutes);
        job.completed_at = Some(Timestamp::now());
        job.charged_seconds = SignedDuration::from_mins(minutes).as_secs_f64();
    });
}

/// Gives the server what stays of jobs that ended on earlier days and were deleted since: their sums.
fn remember_the_last_month(scene: &Scene) {
    let database = rusqlite::Connection::open(scene.server.state_dir().join("cloud.db")).unwrap();
    database.busy_timeout(PATIENCE).unwrap();
    for day in 1..30_i32 {
        let date = (Timestamp::now() - SignedDuration::from_hours(24 * i64::from(day)))
            .strftime("%F")
            .to_string();
        // Some days are busier than others, and every seventh is quiet.
        let jobs = if day % 7 == 0 { 1 } else { 3 + (day * 5) % 8 };
        let cost = f64::from(jobs) * (9.4 + f64::from((day * 37) % 11));
        let sums = "INSERT INTO daily_totals (day, user_id, provider, job_type, status, jobs, cost_usd, seconds)
                    VALUES (?1, 'ben', 'replicate', 'cloud', 'completed', ?2, ?3, ?4)";
        database.execute(sums, rusqlite::params![date, jobs, cost, jobs * 7_140]).unwrap();
    }
}
