//! A server that is killed under an open page: the page stays, and misses nothing.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::browser::Complaints;
use crate::scene::{Scene, training};

/// Keeps the number of each event that the page hears.
const LISTEN: &str = "
    const {live} = await import(args[0]);
    window.heard = [];
    live.listen((event) => { if (event.id !== undefined) window.heard.push(event.id); });";

async fn events_of(scene: &Scene, job: &str) -> Vec<Value> {
    let answer = scene.server.get(&format!("/api/cloud/jobs/{job}/events?limit=500")).await;
    answer.body["events"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_killed_server_costs_the_page_neither_a_reload_nor_an_event() {
    let scene = Scene::open().await;
    scene.hold_queue().await;
    let job = scene.server.submit("replicate", training("flux-portraits")).await;
    scene.visit(&format!("/jobs/{job}")).await;
    scene.live().await;
    let module = scene.module("live.js").await;
    scene.browser.js_async(LISTEN, vec![json!(module)]).await;
    let before = scene.server.submit("replicate", training("before")).await;
    scene.browser.until("the page hears an event", "window.heard.length > 0").await;
    let scene = scene.restart_with("document.querySelector('[data-phase=reconnecting]')").await;
    // These happen while the page does not listen.
    let meanwhile = scene.server.submit("replicate", training("meanwhile")).await;
    let cancelled = scene.server.post(&format!("/api/cloud/jobs/{job}/cancel"), json!({})).await;
    assert_eq!(cancelled.status, 200, "{:?}", cancelled.body);
    scene.live().await;
    let after = scene.server.submit("replicate", training("after")).await;
    let last = events_of(&scene, &after).await.last().unwrap()["id"].clone();
    scene
        .browser
        .until("the newest event is heard", &format!("window.heard.includes({last})"))
        .await;
    let heard: Vec<u64> =
        serde_json::from_value(scene.browser.js("return window.heard").await).unwrap();
    let once: BTreeSet<u64> = heard.iter().copied().collect();
    assert_eq!(heard.len(), once.len(), "no event is heard twice: {heard:?}");
    assert!(heard.is_sorted(), "{heard:?}");
    // The events of `job` before the page was opened are in its timeline only.
    let first = once.first().copied().unwrap();
    for job in [&before, &meanwhile, &after, &job] {
        for event in events_of(&scene, job).await {
            let id = event["id"].as_u64().unwrap();
            let is_streamed = id < first || event["subject"] == "queue" || once.contains(&id);
            assert!(is_streamed, "{event} is missing in {heard:?}");
        }
    }
    timeline_is_whole(&scene, &job).await;
    scene.end(Complaints::FailedRequests).await;
}

/// The timeline has each event of the job once, in order.
async fn timeline_is_whole(scene: &Scene, job: &str) {
    scene.browser.tab_to("checkbox", "With its queue entry").await;
    scene.browser.write(" ").await;
    let events = events_of(scene, job).await;
    let rows =
        "[...document.querySelectorAll('#timeline ~ * tbody tr, section:has(#timeline) tbody tr')]";
    let count = format!("new Set({rows}).size === {}", events.len());
    scene.browser.until(&format!("the timeline has {} rows", events.len()), &count).await;
    let script = format!("return [...new Set({rows})].map((row) => row.textContent)");
    let rows: Vec<String> = serde_json::from_value(scene.browser.js(&script).await).unwrap();
    for (row, event) in rows.iter().zip(&events) {
        let correlation = event["correlation_id"].as_str().unwrap();
        assert!(row.contains(correlation), "{row} is not {event}");
    }
}
