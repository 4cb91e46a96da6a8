//! Ten thousand jobs: the page has as much to do as with fifty.

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::browser::{Browser, Complaints};
use crate::report;
use crate::scene::{Scene, training};
use crate::support::Setup;

const JOBS: usize = 10_000;
/// How many submissions are under way at once.
const AT_ONCE: usize = 64;
const PAGES: usize = 20;
/// What an answer of the list may have, before it is compressed.
const MOST_OF_AN_ANSWER: u64 = 100_000;
/// How many rows a page of the list may have.
const MOST_ROWS: u64 = 100;
/// By how much the heap of the page may grow over all pages.
const MOST_GROWTH: f64 = 2_000_000.0;

/// The bytes that the scripts of the page hold, when all that is garbage is collected.
async fn heap(browser: &Browser) -> f64 {
    browser.cdp("HeapProfiler.collectGarbage", json!({})).await;
    browser.cdp("Runtime.getHeapUsage", json!({})).await["usedSize"].as_f64().unwrap()
}

#[tokio::test]
async fn ten_thousand_jobs_cost_the_page_no_more_than_a_page_of_them() {
    let scene = Scene::open_with(Setup::default().with("SIMPLETUNER_LOG_LEVEL", "WARNING")).await;
    scene.hold_queue().await;
    let begun = Instant::now();
    let submissions = stream::iter(0..JOBS).map(|number| {
        let server = &scene.server;
        async move { server.submit("replicate", training(&format!("job-{number:05}"))).await }
    });
    submissions.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    report::note("many: submitting 10,000 jobs", &format!("{} ms", begun.elapsed().as_millis()));
    let begun = Instant::now();
    scene.visit("/").await;
    scene.browser.until_text("10,000 jobs").await;
    report::note("many: the list is shown", &format!("{} ms", begun.elapsed().as_millis()));
    let mut seen = vec![rows(&scene).await];
    let before = heap(&scene.browser).await;
    for page in 2..=PAGES {
        scene.browser.js("[...document.querySelectorAll('main button')].findLast((it) => it.textContent === 'Older').click()").await;
        let last = json!(seen.last().unwrap()[0]);
        let is_next = format!(
            "document.querySelector('tbody tr a')?.title && document.querySelector('tbody tr a').title !== {last}"
        );
        scene.browser.until(&format!("page {page} is shown"), &is_next).await;
        scene.settled().await;
        seen.push(rows(&scene).await);
    }
    let growth = heap(&scene.browser).await - before;
    report::note("many: growth of the heap over 20 pages", &format!("{growth} bytes"));
    assert!(growth < MOST_GROWTH, "the heap grew by {growth} bytes");
    let mut all: Vec<String> = seen.concat();
    let number = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), number, "no job is on two pages");
    answers_are_small(&scene).await;
    scene.end(Complaints::None).await;
}

/// The IDs of the jobs that are shown.
async fn rows(scene: &Scene) -> Vec<String> {
    let rows = scene
        .browser
        .js("return [...document.querySelectorAll('tbody tr a')].map((it) => it.title)")
        .await;
    let rows: Vec<String> = serde_json::from_value(rows).unwrap();
    assert!(!rows.is_empty() && rows.len() as u64 <= MOST_ROWS, "{} rows", rows.len());
    rows
}

async fn answers_are_small(scene: &Scene) {
    let script = "return performance.getEntriesByType('resource')
        .filter((it) => it.name.includes('/api/cloud/jobs?')).map((it) => it.decodedBodySize)";
    let sizes = scene.browser.js(script).await;
    let sizes: Vec<u64> = sizes.as_array().unwrap().iter().filter_map(Value::as_u64).collect();
    let largest = sizes.iter().max().copied().unwrap();
    report::note("many: the largest answer of the list", &format!("{largest} bytes"));
    assert!(sizes.len() >= PAGES && largest < MOST_OF_AN_ANSWER, "{sizes:?}");
}
