//! Every screen with a day's work on it: usable by all, in both themes, wide, narrow and enlarged.

use std::fs;
use std::path::PathBuf;

use tokio::time::Instant;

use crate::axe;
use crate::browser::{Complaints, Theme, View};
use crate::cast::{PEOPLE, work_a_day};
use crate::report;
use crate::scene::Scene;

/// The folder that takes pictures of the screens. Without it none are kept.
const PICTURES: &str = "ST_PAGE_PICTURES";

/// How much a picture may have, so that the documents stay light.
const MOST_OF_A_PICTURE: usize = 80_000;

/// A screen: its name, and its path, in which the name of a job is replaced by its ID.
type Screen = (&'static str, &'static str);

const SCREENS: [Screen; 14] = [
    ("jobs", "/"),
    ("jobs-failed", "/?status=failed"),
    ("job-waiting", "/jobs/flux-portraits-ablation-1"),
    ("job-running", "/jobs/sdxl-product-shots-v3"),
    ("job-failed", "/jobs/flux-portraits-lora-rank64"),
    ("submit", "/submit"),
    ("queue", "/queue"),
    ("approvals", "/approvals"),
    ("costs", "/costs"),
    ("providers", "/providers"),
    ("system", "/system"),
    ("audit", "/audit"),
    ("keys", "/keys"),
    ("sign-in", "/signin"),
];

/// Width in pixels, and how far the reader has enlarged it.
const VIEWS: [(u32, u32); 3] = [(1280, 100), (320, 100), (1280, 200)];

/// What is wrong with what is shown, beside what axe says.
const FAULTS: &str = "
    const faults = [];
    const root = document.documentElement;
    if (root.scrollWidth > root.clientWidth) {
        const wide = [...document.querySelectorAll('body *')]
            .filter((it) => it.getBoundingClientRect().right > root.clientWidth + 1 && !it.closest('.scroll'))
            .slice(0, 5).map((it) => it.outerHTML.slice(0, 200));
        faults.push(`the document scrolls sideways: ${root.scrollWidth} px in ${root.clientWidth}: ${wide.join(' | ')}`);
    }
    // The test asks for reduced motion.
    const moving = document.getAnimations().filter((it) => it.playState === 'running').length;
    if (moving > 0) faults.push(`${moving} animations run`);
    const headings = document.querySelectorAll('h1').length;
    if (headings !== 1) faults.push(`there are ${headings} headings of the first level`);
    if (/undefined|NaN|\\[object|Invalid Date/.test(document.body.innerText)) {
        faults.push('a value is shown that is none: ' + document.body.innerText);
    }
    return faults;";

#[tokio::test]
async fn every_screen_is_usable_by_all_when_light() {
    all_screens(Theme::Light).await;
}

#[tokio::test]
async fn every_screen_is_usable_by_all_when_dark() {
    all_screens(Theme::Dark).await;
}

async fn all_screens(theme: Theme) {
    let (scene, keys) = Scene::with_keys(&PEOPLE).await;
    work_a_day(&scene, &keys).await;
    let mut faults = Vec::new();
    for (name, path) in SCREENS.iter().filter(|(_, path)| *path == "/signin") {
        faults.extend(see(&scene, theme, name, path).await);
    }
    scene.sign_in(&scene.key).await;
    for (name, path) in SCREENS.iter().filter(|(_, path)| *path != "/signin") {
        faults.extend(see(&scene, theme, name, path).await);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let links = scene
        .browser
        .js("return [...document.querySelectorAll('#nav a')].map((it) => it.pathname)")
        .await;
    let is_covered = |link: &str| SCREENS.iter().any(|(_, path)| *path == link);
    for link in links.as_array().unwrap() {
        assert!(is_covered(link.as_str().unwrap()), "{link} is in the navigation and in no test");
    }
    scene.end(Complaints::None).await;
}

/// The address of a screen.
async fn address(scene: &Scene, path: &str) -> String {
    let Some(name) = path.strip_prefix("/jobs/") else {
        return path.to_owned();
    };
    let jobs = scene.server.get("/api/cloud/jobs?limit=100").await.body;
    let job = jobs["jobs"].as_array().unwrap().iter().find(|job| job["config_name"] == name);
    format!("/jobs/{}", job.unwrap()["job_id"].as_str().unwrap())
}

/// Looks at one screen in every way; gives what is wrong with it.
async fn see(scene: &Scene, theme: Theme, name: &str, path: &str) -> Vec<String> {
    let path = &address(scene, path).await;
    let mut faults = Vec::new();
    let browser = &scene.browser;
    let begun = Instant::now();
    browser.look(View { theme, width: 1280, zoom: 100 }).await;
    scene.visit(path).await;
    report::note(&format!("load {name} {theme}"), &format!("{} ms", begun.elapsed().as_millis()));
    for (width, zoom) in VIEWS {
        let view = View { theme, width, zoom };
        browser.look(view).await;
        let verdict = axe::judge(browser).await;
        let place = format!("{name} {view}");
        faults.extend(verdict.violations.iter().map(|it| format!("{place}: {it}")));
        let seen = browser.js(FAULTS).await;
        faults.extend(seen.as_array().unwrap().iter().map(|it| format!("{place}: {it}")));
        report::note(
            &format!("screen {place}"),
            &format!("axe {} violations, {} passes", verdict.violations.len(), verdict.passes),
        );
        // The documents show what most people see.
        if (width, zoom) == (1280, 100) {
            draw(scene, &format!("{name}-{theme}.webp")).await;
        }
    }
    faults
}

/// Keeps a picture of what is shown, where that is asked for.
async fn draw(scene: &Scene, file: &str) {
    let Some(folder) = std::env::var_os(PICTURES).map(PathBuf::from) else {
        return;
    };
    let picture = scene.browser.picture().await;
    assert!(picture.len() <= MOST_OF_A_PICTURE, "{file} has {} bytes", picture.len());
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(file), picture).unwrap();
}
