//! Signing in, and what becomes of a screen whose session ends.

use fantoccini::key::Key;
use serde_json::json;

use crate::browser::Complaints;
use crate::scene::{Scene, training};

/// What the page answers with where a key is asked for.
const FORM: &str = "document.querySelector('main input[type=password]')";

#[tokio::test]
async fn who_signs_in_comes_to_the_address_that_was_opened() {
    let (scene, keys) = Scene::with_keys(&[("ben", "researcher")]).await;
    let job = scene.server.submit("replicate", training("flux-portraits")).await;
    scene.browser.open(&scene.server.url(&format!("/jobs/{job}"))).await;
    scene.browser.until("a key is asked for", FORM).await;
    let (role, name) = scene.browser.focused().await;
    assert_eq!((role.as_str(), name.as_str()), ("textbox", "Key"), "one can type at once");
    scene.browser.write("st_wrong\u{e007}").await;
    scene.browser.until_text("You are not signed in").await;
    // What was wrong is selected, so that the next key takes its place.
    scene.browser.write(&format!("{}\u{e007}", keys[0])).await;
    scene
        .browser
        .until("the job is shown", "document.querySelector('h1')?.textContent === 'flux-portraits'")
        .await;
    assert_eq!(scene.browser.url().await.path(), format!("/jobs/{job}"));
    let cookies = scene.browser.js("return document.cookie").await;
    assert_eq!(cookies, "", "no script reads the session");
    let kept =
        scene.browser.js("return JSON.stringify([{...localStorage}, {...sessionStorage}])").await;
    assert!(!kept.as_str().unwrap().contains("st_"), "the browser keeps no key: {kept}");
    scene.end(Complaints::FailedRequests).await;
}

#[tokio::test]
async fn a_session_that_ends_is_opened_again_on_the_screen_as_it_was() {
    let (scene, keys) = Scene::with_keys(&[("ben", "researcher")]).await;
    scene.sign_in(&keys[0]).await;
    scene.visit("/submit").await;
    scene.live().await;
    scene.browser.tab_to("textbox", "Name of the run").await;
    scene.browser.write("half typed").await;
    scene.browser.js("window.isTheSame = true").await;
    // The sessions of a server end with it.
    let scene = scene.restart().await;
    scene.browser.until("a key is asked for", FORM).await;
    scene.browser.until_text("Your session has ended").await;
    let hidden = scene.browser.js("return document.querySelector('#run').checkVisibility()").await;
    assert_eq!(hidden, false, "what the screen shows is nobody's before the key is there");
    scene.browser.tab_to("textbox", "Key").await;
    scene.browser.write(&format!("{}\u{e007}", keys[0])).await;
    scene.live().await;
    scene
        .browser
        .until("the screen is back", "document.querySelector('#run')?.checkVisibility()")
        .await;
    let state =
        scene.browser.js("return [document.querySelector('#run').value, window.isTheSame]").await;
    assert_eq!(state, json!(["half typed", true]));
    scene.end(Complaints::FailedRequests).await;
}

#[tokio::test]
async fn a_dialog_that_is_open_when_the_session_ends_shuts_no_one_out() {
    let (scene, keys) = Scene::with_keys(&[("ann", "admin")]).await;
    scene.sign_in(&keys[0]).await;
    scene.visit("/queue").await;
    scene.live().await;
    scene.browser.enter_on("button", "Hold…").await;
    scene.browser.tab_to("textbox", "Reason").await;
    scene.browser.write("half typed").await;
    let scene = scene.restart().await;
    scene.browser.until("a key is asked for", FORM).await;
    scene.browser.tab_to("textbox", "Key").await;
    scene.browser.write(&format!("{}\u{e007}", keys[0])).await;
    scene.live().await;
    let back = "document.querySelector('dialog[open] textarea')?.value === 'half typed'";
    scene.browser.until("the dialog is back with what was typed", back).await;
    scene.browser.press_key(Key::Escape).await;
    scene.browser.press_key(Key::Escape).await;
    scene.browser.until("it is closed", "document.querySelector('dialog') === null").await;
    scene.end(Complaints::FailedRequests).await;
}

#[tokio::test]
async fn who_signs_out_leaves_nothing_on_the_page() {
    let (scene, keys) = Scene::with_keys(&[("ben", "researcher")]).await;
    scene.server.submit("replicate", training("flux-portraits")).await;
    scene.sign_in(&keys[0]).await;
    scene.browser.until_text("flux-portraits").await;
    scene.browser.enter_on("button", "Sign out").await;
    scene.browser.until("a key is asked for", FORM).await;
    scene.browser.back().await;
    scene.browser.until("a key is asked for", FORM).await;
    let shown = scene.browser.js("return document.body.textContent").await;
    assert!(!shown.as_str().unwrap().contains("flux-portraits"), "{shown}");
    scene.end(Complaints::FailedRequests).await;
}
