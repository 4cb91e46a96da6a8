//! How much the page has, and how it is loaded.

use serde_json::Value;

use crate::browser::Complaints;
use crate::report;
use crate::scene::Scene;

/// What the page may have in all, as it is sent.
const BUDGET: u64 = 60_000;

const FILES: &str = "
    const [document] = performance.getEntriesByType('navigation');
    const files = performance.getEntriesByType('resource').filter((it) => it.name.includes('/page/'));
    return {
        names: files.map((it) => it.name),
        sizes: [document, ...files].map((it) => it.encodedBodySize),
        all: [document, ...files].reduce((sum, it) => sum + it.encodedBodySize, 0),
        elsewhere: performance.getEntriesByType('resource').map((it) => it.name)
            .filter((it) => new URL(it).origin !== location.origin),
        painted: Math.round(performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1),
    };";

#[tokio::test]
async fn the_page_is_small_comes_from_one_place_and_is_loaded_once() {
    let scene = Scene::open().await;
    scene.visit("/").await;
    let first = scene.browser.js(FILES).await;
    let all = first["all"].as_u64().unwrap();
    let number = first["sizes"].as_array().unwrap().len();
    report::note(
        "page: all files as sent",
        &format!("{all} bytes in {number} files, of at most {BUDGET}"),
    );
    report::note("page: first paint", &format!("{} ms", first["painted"]));
    assert!(all > 0 && all <= BUDGET, "{all} bytes: {first:#}");
    assert_eq!(first["elsewhere"], Value::Array(vec![]), "nothing comes from another place");
    let names = first["names"].as_array().unwrap();
    let mut once: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), names.len(), "each file is asked for once: {names:?}");
    // Unchanged files are not asked for again.
    scene.browser.reload().await;
    scene.settled().await;
    let script = "return performance.getEntriesByType('resource')
        .filter((it) => it.name.includes('/page/') && it.transferSize > 0).map((it) => it.name)";
    assert_eq!(
        scene.browser.js(script).await,
        Value::Array(vec![]),
        "all of them are in the cache"
    );
    scene.end(Complaints::None).await;
}
