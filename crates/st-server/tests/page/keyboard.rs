//! What is done on the page most often, with the keyboard alone: jobs, submitting, decisions and holds.

use serde_json::{Value, json};

use crate::browser::Complaints;
use crate::cast::{PEOPLE, work_a_day};
use crate::scene::{Scene, training};
use crate::support::eventually;

const ENTER: char = '\u{e007}';
const ESCAPE: char = '\u{e00c}';

/// Waits for a dialog, of which this is in the title.
async fn asked(scene: &Scene, title: &str) {
    let shown = format!(
        "document.querySelector('dialog[open] h2')?.textContent.includes({})",
        json!(title)
    );
    scene.browser.until(&format!("the page asks {title:?}"), &shown).await;
}

async fn closed(scene: &Scene) {
    scene.browser.until("no dialog is open", "!document.querySelector('dialog[open]')").await;
}

/// The window shows the screen with this heading.
async fn heading(scene: &Scene, text: &str) {
    let shown = format!("document.querySelector('main h1')?.textContent === {}", json!(text));
    scene.browser.until(&format!("the heading is {text:?}"), &shown).await;
}

async fn status_becomes(scene: &Scene, job: &str, status: &str) {
    eventually(&format!("{job} is {status}"), async || {
        scene.server.job(job).await["status"] == status
    })
    .await;
}

#[tokio::test]
async fn a_job_is_found_opened_made_urgent_cancelled_and_run_once_more() {
    let scene = Scene::open().await;
    let browser = &scene.browser;
    scene.hold_queue().await;
    let job = scene.server.submit("replicate", training("flux-portraits")).await;
    scene.server.submit("replicate", training("another")).await;
    scene.visit("/").await;
    // By its ID, from anywhere on the screen.
    browser.write("/").await;
    assert_eq!(browser.focused().await.0, "searchbox");
    browser.write(&format!("{job}{ENTER}")).await;
    heading(&scene, "flux-portraits").await;
    let (role, name) = browser.focused().await;
    assert_eq!(
        (role.as_str(), name.as_str()),
        ("heading", "flux-portraits"),
        "the focus is at the new screen"
    );
    browser.write("p").await;
    asked(&scene, "Priority").await;
    browser.tab_to("spinbutton", "Priority").await;
    browser.write(&format!("45{ENTER}")).await;
    closed(&scene).await;
    let queue = scene.server.get("/api/queue").await.body;
    let is_it = |entry: &&Value| entry["job_id"] == job.as_str();
    let entry = queue["entries"].as_array().unwrap().iter().find(is_it).unwrap();
    assert_eq!(entry["effective_priority"], 45, "{entry}");
    // Asked, and kept.
    browser.write("c").await;
    asked(&scene, "Cancel this job?").await;
    browser.write(&ESCAPE.to_string()).await;
    closed(&scene).await;
    assert_eq!(scene.server.job(&job).await["status"], "pending");
    browser.enter_on("button", "Cancel").await;
    asked(&scene, "Cancel this job?").await;
    browser.enter_on("button", "Cancel the job").await;
    closed(&scene).await;
    status_becomes(&scene, &job, "cancelled").await;
    browser.until_text("Run once more").await;
    browser.write("r").await;
    asked(&scene, "Run this job once more?").await;
    browser.enter_on("button", "Submit the new job").await;
    let is_new = format!(
        "location.pathname.startsWith('/jobs/') && !location.pathname.endsWith({})",
        json!(job)
    );
    browser.until("the new job is shown", &is_new).await;
    // The keys of a screen wait for the dialog over it.
    closed(&scene).await;
    scene.settled().await;
    assert_eq!(scene.job_count().await, 3);
    browser.write("u").await;
    heading(&scene, "Jobs").await;
    scene.end(Complaints::None).await;
}

#[tokio::test]
async fn many_jobs_are_selected_and_cancelled() {
    let scene = Scene::open().await;
    let browser = &scene.browser;
    scene.hold_queue().await;
    let mut jobs = Vec::new();
    for number in 0..4 {
        jobs.push(scene.server.submit("replicate", training(&format!("job-{number}"))).await);
    }
    scene.visit("/").await;
    browser.until_text("4 jobs").await;
    // The newest is the first row: down one, select, down one, select.
    browser.write("jjxjx").await;
    browser.until_text("2 jobs selected").await;
    browser.write("c").await;
    asked(&scene, "Cancel 2 jobs?").await;
    browser.enter_on("button", "Cancel 2 jobs").await;
    closed(&scene).await;
    for job in &jobs[1..=2] {
        status_becomes(&scene, job, "cancelled").await;
    }
    for job in [&jobs[0], &jobs[3]] {
        assert_eq!(scene.server.job(job).await["status"], "pending");
    }
    // The keyboard opens the row that it is at.
    browser.write(&format!("k{ENTER}")).await;
    browser.until("a job is shown", "location.pathname.startsWith('/jobs/')").await;
    let path = browser.url().await.path().to_owned();
    assert_eq!(path, format!("/jobs/{}", jobs[2]));
    scene.end(Complaints::None).await;
}

#[tokio::test]
async fn a_job_is_submitted() {
    let scene = Scene::open().await;
    let browser = &scene.browser;
    scene.hold_queue().await;
    scene.visit("/").await;
    browser.enter_on("link", "Submit a job").await;
    heading(&scene, "Submit a job").await;
    browser.tab_to("radio", "One of the server").await;
    // The arrow keys choose among radio buttons.
    browser.write("\u{e015}").await;
    browser.tab_to("textbox", "JSON").await;
    browser.write("{\"--model_type\": \"lora\"}").await;
    browser.tab_to("combobox", "Provider").await;
    browser.write("Rep").await;
    browser.tab_to("textbox", "Name of the run").await;
    browser.write("by keyboard").await;
    browser
        .until(
            "the provider is chosen",
            "document.querySelector('select#provider').value === 'replicate'",
        )
        .await;
    browser.enter_on("button", "Submit the job").await;
    heading(&scene, "by keyboard").await;
    let job = scene.server.get("/api/cloud/jobs").await.body["jobs"][0].clone();
    assert_eq!(job["metadata"]["run_name"], "by keyboard", "{job}");
    scene.end(Complaints::None).await;
}

#[tokio::test]
async fn the_shortcuts_are_listed_and_can_be_switched_off() {
    let scene = Scene::open().await;
    let browser = &scene.browser;
    scene.visit("/").await;
    browser.write("?").await;
    asked(&scene, "Keyboard shortcuts").await;
    browser.until_text("Next job").await;
    browser.tab_to("checkbox", "Shortcuts are on").await;
    browser.write(" ").await;
    browser.write(&ESCAPE.to_string()).await;
    closed(&scene).await;
    browser.write("/").await;
    assert_ne!(browser.focused().await.0, "searchbox", "a character is only a character");
    // They stay off, and the list is still reached.
    browser.reload().await;
    scene.settled().await;
    browser.enter_on("button", "Keyboard shortcuts").await;
    asked(&scene, "Keyboard shortcuts").await;
    let (role, name) = {
        browser.write(&ESCAPE.to_string()).await;
        closed(&scene).await;
        browser.focused().await
    };
    assert_eq!(
        (role.as_str(), name.as_str()),
        ("button", "Keyboard shortcuts"),
        "the focus comes back"
    );
    scene.end(Complaints::None).await;
}

#[tokio::test]
async fn approvals_are_decided() {
    let (scene, keys) = Scene::with_keys(&PEOPLE).await;
    work_a_day(&scene, &keys).await;
    let browser = &scene.browser;
    scene.sign_in(&scene.key).await;
    browser.write("ga").await;
    heading(&scene, "Approvals").await;
    scene.settled().await;
    let pending = async || {
        let asked = scene.server.get("/api/approvals/requests?status=pending").await.body;
        asked["requests"].as_array().unwrap().clone()
    };
    let before = pending().await;
    assert_eq!(before.len(), 2);
    let job = |request: &Value| request["job_id"].as_str().unwrap().to_owned();
    browser
        .enter_on(
            "button",
            &format!(
                "Approve the request of {} for job {}",
                before[0]["user_id"].as_str().unwrap(),
                job(&before[0])
            ),
        )
        .await;
    asked(&scene, "Approve").await;
    browser.enter_on("button", "Approve").await;
    closed(&scene).await;
    eventually("one is approved", async || pending().await.len() == 1).await;
    browser
        .until(
            "one request is left",
            "document.querySelectorAll('section:has(#open) tbody tr').length === 1",
        )
        .await;
    // With the keys of the list: the first row, reject, the reason.
    browser.write("jr").await;
    asked(&scene, "Reject").await;
    browser.tab_to("textbox", "Reason").await;
    browser.write("too expensive").await;
    browser.enter_on("button", "Reject").await;
    closed(&scene).await;
    eventually("the other is rejected", async || pending().await.is_empty()).await;
    let left = scene.server.job(&job(&before[1])).await;
    assert_eq!(left["status"], "cancelled", "{left}");
    scene.end(Complaints::None).await;
}

#[tokio::test]
async fn the_queue_is_held_and_resumed() {
    let scene = Scene::open().await;
    let browser = &scene.browser;
    let holds = async || {
        scene.server.get("/api/queue/holds").await.body["holds"].as_array().unwrap().clone()
    };
    scene.visit("/").await;
    browser.write("gq").await;
    heading(&scene, "Queue").await;
    scene.settled().await;
    browser.write("h").await;
    asked(&scene, "Hold").await;
    browser.tab_to("textbox", "Reason").await;
    browser.write("maintenance").await;
    browser.enter_on("button", "Hold it").await;
    closed(&scene).await;
    eventually("it is held", async || holds().await.len() == 1).await;
    browser.until_text("held: nothing new starts").await;
    browser.enter_on("button", "Resume").await;
    asked(&scene, "Resume").await;
    browser.enter_on("button", "Resume it").await;
    closed(&scene).await;
    eventually("it is resumed", async || holds().await.is_empty()).await;
    scene.end(Complaints::None).await;
}
