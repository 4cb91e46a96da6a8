//! The operator's page in a real browser: Debian's Chromium, driven through its WebDriver.
//!
//! `cargo xtask page` installs what is missing and runs this; a plain `cargo nextest run` leaves it out, which
//! `.config/nextest.toml` says. Each test is a process of its own with a server, a driver and a browser.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what helps tests fails as tests do"
)]

mod axe;
mod browser;
mod driver;
mod report;
mod scene;
#[expect(dead_code, reason = "the end-to-end tests use the rest")]
#[path = "../it/support.rs"]
mod support;

#[tokio::test]
async fn smoke() {
    let t = std::time::Instant::now();
    let scene = scene::Scene::open().await;
    eprintln!("start {:?}", t.elapsed());
    scene.browser.open(&scene.server.url("/health")).await;
    eprintln!("url {} {:?}", scene.browser.url().await, t.elapsed());
    eprintln!("{:?}", scene.browser.js("return document.body.innerText").await);
    eprintln!("{:?}", scene.browser.focused().await);
    let t = std::time::Instant::now();
    eprintln!("{:?}", axe::judge(&scene.browser).await);
    eprintln!("axe {:?}", t.elapsed());
    eprintln!("{:?}", scene.browser.said().await);
    eprintln!("{:?}", scene.browser.picture().await.len());
}
