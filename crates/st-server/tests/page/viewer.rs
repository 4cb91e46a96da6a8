//! A viewer: sees what is there, has no control that the server would refuse, and is refused by the server.

use serde_json::json;

use crate::browser::Complaints;
use crate::cast::{PEOPLE, work_a_day};
use crate::scene::Scene;

/// What a viewer may press: it changes nothing but what is shown.
const HARMLESS: &str = "/^(newest|back|older|open|try again|copy the .*|show more|close.*|follow.*|download.*|theme.*|keyboard.*|menu|sign out|all|load.*|wrap.*|refresh.*|test the connection.*|none|apply.*|show.*)$/i";

/// The controls of a screen that may change something.
fn controls() -> String {
    format!(
        "return [...document.querySelectorAll('main button, main a.button, main input[type=checkbox], main input[type=radio], main textarea, dialog button')]
            .filter((it) => it.checkVisibility())
            .map((it) => (it.getAttribute('aria-label') || it.closest('label')?.textContent || it.textContent).trim())
            .filter((name) => !{HARMLESS}.test(name) && name !== 'With its queue entry')"
    )
}

#[tokio::test]
async fn a_viewer_sees_no_control_that_the_server_would_refuse() {
    let (scene, keys) = Scene::with_keys(&PEOPLE).await;
    work_a_day(&scene, &keys).await;
    let vera = &keys[PEOPLE.iter().position(|(name, _)| *name == "vera").unwrap()];
    scene.sign_in(vera).await;
    scene.visit("/").await;
    scene.browser.until_text("flux-portraits").await;
    let links = scene
        .browser
        .js("return [...document.querySelectorAll('#nav a')].map((it) => it.pathname)")
        .await;
    let mut screens: Vec<String> = serde_json::from_value(links).unwrap();
    let jobs = scene.server.get("/api/cloud/jobs?limit=100").await.body;
    for status in ["pending", "running", "failed"] {
        let job = jobs["jobs"].as_array().unwrap().iter().find(|job| job["status"] == status);
        screens.push(format!("/jobs/{}", job.unwrap()["job_id"].as_str().unwrap()));
    }
    for screen in &screens {
        scene.visit(screen).await;
        assert_eq!(scene.browser.js(&controls()).await, json!([]), "{screen}");
    }
    for forbidden in ["/submit", "/audit", "/keys"] {
        assert!(
            !screens.iter().any(|screen| screen == forbidden),
            "{forbidden} is in the navigation"
        );
        scene.visit(forbidden).await;
        scene.browser.until_text("needs the role").await;
        assert_eq!(scene.browser.js(&controls()).await, json!([]), "{forbidden}");
    }
    scene.end(Complaints::None).await;
}

#[tokio::test]
async fn a_viewer_who_asks_all_the_same_is_refused() {
    let (scene, keys) = Scene::with_keys(&[("vera", "viewer")]).await;
    scene.hold_queue().await;
    let job = scene.server.submit("replicate", crate::scene::training("flux-portraits")).await;
    scene.sign_in(&keys[0]).await;
    let api = scene.module("api.js").await;
    let asked = [
        json!(["POST", format!("/api/cloud/jobs/{job}/cancel"), null]),
        json!(["POST", format!("/api/cloud/jobs/{job}/retry"), null]),
        json!(["DELETE", format!("/api/cloud/jobs/{job}"), null]),
        json!(["POST", format!("/api/queue/{job}/priority"), {"priority": 50}]),
        json!(["POST", "/api/cloud/jobs/submit?provider=replicate", {"config": {}, "config_name": "hers"}]),
        json!(["POST", "/api/queue/resume", {}]),
        json!(["POST", "/api/queue/concurrency", {"max_concurrent": 1}]),
        json!(["POST", "/api/keys", {"name": "own", "user": "vera", "role": "admin"}]),
        json!(["GET", "/api/keys", null]),
        json!(["GET", "/api/audit", null]),
        json!(["PUT", "/api/logging/level", {"level": "DEBUG"}]),
    ];
    // With the page's own means, which send the session and its token.
    let script = "
        const {request} = await import(args[0]);
        const [method, address, body] = args[1];
        return await request(method, address, {body: body ?? undefined}).then(() => 200, (error) => error.status);";
    for request in asked {
        let status = scene.browser.js_async(script, vec![json!(api), request.clone()]).await;
        assert_eq!(status, 403, "{request}");
    }
    assert_eq!(scene.job_count().await, 1);
    assert_eq!(scene.server.job(&job).await["status"], "pending");
    scene.end(Complaints::FailedRequests).await;
}
