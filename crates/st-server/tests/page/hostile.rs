//! Texts of users that want to be more than text.

use serde_json::{Value, json};

use crate::browser::{Complaints, Theme, View};
use crate::scene::Scene;

/// Runs as a script where it becomes markup.
const MARKUP: &str = "<img src=x onerror=\"window.isHacked=1\"><script>window.isHacked=1</script>";
/// Turns the direction of what follows, until something ends it.
const REVERSED: &str = "flux\u{202e}gnp.exe\u{2066}";

/// A text without a place to break it, as long as a field takes it.
fn long(bytes: usize) -> String {
    "w".repeat(bytes)
}

/// What must not be on a screen with hostile texts.
const FAULTS: &str = "
    const faults = [];
    const root = document.documentElement;
    if (window.isHacked) faults.push('a script of a user ran');
    if (document.querySelector('main img, main script, main iframe')) faults.push('a text became an element');
    if (root.scrollWidth > root.clientWidth) faults.push(`the document is ${root.scrollWidth} px wide in ${root.clientWidth}`);
    // On a list in a wide window: a job's own screen has its texts in full, and a narrow window has cards.
    const isList = !location.pathname.startsWith('/jobs/') && root.clientWidth > 1000;
    for (const row of isList ? document.querySelectorAll('main tr, main li') : []) {
        if (row.getBoundingClientRect().height > 400) faults.push('a row has the height of a screen: ' + row.innerText.slice(0, 60));
    }
    return faults;";

/// A server whose every text of a user is hostile; gives the jobs.
async fn plant(scene: &Scene) -> Vec<String> {
    let server = &scene.server;
    let post = async |path: &str, body: Value| {
        let answer = server.post(path, body).await;
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
        answer.body
    };
    post("/api/queue/concurrency", json!({"max_concurrent": 20, "user_max_concurrent": 20})).await;
    let rule = json!({"name": MARKUP, "condition": "cost_exceeds", "threshold": "100", "description": REVERSED});
    post("/api/approvals/rules", rule).await;
    let held = json!({"scope": "user", "id": MARKUP, "reason": format!("{MARKUP} {REVERSED}")});
    post("/api/queue/pause", held).await;
    post("/api/queue/pause", json!({"reason": MARKUP})).await;
    let quota = json!({"quota_type": "cost_monthly", "limit_value": 1000, "team_id": MARKUP});
    post("/api/quotas", quota).await;
    let mut jobs = Vec::new();
    for name in [MARKUP, REVERSED, &long(200)] {
        let cost = if name == REVERSED { 500 } else { 1 };
        let run = if name == MARKUP || name == REVERSED { name.to_owned() } else { long(2_000) };
        let body = json!({
            "config": {"--model_type": long(10_000)}, "config_name": name, "run_name": run, "team_id": MARKUP,
            "tracker_run_name": run, "snapshot_name": run, "snapshot_message": run, "estimated_cost": cost,
        });
        jobs.push(server.submit("replicate", body).await);
    }
    let request =
        &server.get("/api/approvals/requests?status=pending").await.body["requests"][0]["id"];
    post(&format!("/api/approvals/requests/{request}/reject"), json!({"reason": MARKUP})).await;
    jobs
}

#[tokio::test]
async fn texts_of_users_are_text_on_every_screen_and_break_none() {
    let scene = Scene::open().await;
    scene.hold_queue().await;
    let jobs = plant(&scene).await;
    let failed = fail_at_provider(&scene).await;
    scene.visit("/").await;
    let links = scene
        .browser
        .js("return [...document.querySelectorAll('#nav a')].map((it) => it.pathname)")
        .await;
    let mut screens: Vec<String> = serde_json::from_value(links).unwrap();
    screens.extend(jobs.iter().chain([&failed]).map(|job| format!("/jobs/{job}")));
    screens.push(format!("/?user={MARKUP}&provider={MARKUP}"));
    screens.push(format!("/jobs/{MARKUP}"));
    let mut faults = Vec::new();
    for screen in screens {
        let screen = screen.replace('<', "%3C").replace('>', "%3E").replace('"', "%22");
        let screen = screen.replace("%3C/", "%3C%2F");
        scene.visit(&screen).await;
        for width in [1280, 320] {
            scene.browser.look(View { theme: Theme::Light, width, zoom: 100 }).await;
            let found = scene.browser.js(FAULTS).await;
            faults.extend(
                found.as_array().unwrap().iter().map(|it| format!("{screen} at {width} px: {it}")),
            );
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    // They were there: a screen that shows nothing has nothing wrong.
    scene.visit("/").await;
    scene.browser.until_text(MARKUP).await;
    scene.visit(&format!("/jobs/{failed}")).await;
    scene.browser.until_text(MARKUP).await;
    scene.end(Complaints::FailedRequests).await;
}

/// A job whose provider says something hostile about its failure.
async fn fail_at_provider(scene: &Scene) -> String {
    scene.release_queue().await;
    let body =
        json!({"config": {"--model_type": "lora"}, "config_name": "fails", "estimated_cost": 1});
    let job = scene.server.submit("replicate", body).await;
    let world = scene.replicate.world();
    world.hold("processing");
    let running = scene.server.until(&job, "running").await;
    world.change(running["provider_job_id"].as_str().unwrap(), |job| {
        "failed".clone_into(&mut job.status);
        job.error = Some(format!("{MARKUP} {} {}", REVERSED, long(10_000)));
    });
    scene.server.until(&job, "failed").await;
    job
}
