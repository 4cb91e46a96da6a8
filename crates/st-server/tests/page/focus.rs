//! The focus of the keyboard stays where it is while what is around it changes.

use crate::browser::Complaints;
use crate::scene::{Scene, training};

#[tokio::test]
async fn the_focus_stays_on_a_control_whose_row_changes() {
    let scene = Scene::open().await;
    scene.replicate.world().hold("processing");
    scene.hold_queue().await;
    let job = scene.server.submit("replicate", training("flux-portraits")).await;
    scene.visit("/").await;
    scene.live().await;
    scene.browser.tab_to("checkbox", &format!("Select job {job}")).await;
    scene.browser.js("window.focusedBefore = document.activeElement").await;
    scene.release_queue().await;
    // A new row above it moves the one that has the focus.
    scene.server.submit("replicate", training("newer")).await;
    scene.browser.until_text("newer").await;
    let running = "document.querySelector('tr:nth-child(2)')?.innerText.includes('running')";
    scene.browser.until("the row shows the new status", running).await;
    let (role, name) = scene.browser.focused().await;
    assert_eq!((role.as_str(), name), ("checkbox", format!("Select job {job}")));
    assert_eq!(
        scene.browser.js("return window.focusedBefore === document.activeElement").await,
        true
    );
    scene.end(Complaints::None).await;
}

#[tokio::test]
async fn the_focus_stays_on_the_button_that_cancels_a_job_while_it_starts() {
    let scene = Scene::open().await;
    scene.replicate.world().hold("processing");
    scene.hold_queue().await;
    let job = scene.server.submit("replicate", training("flux-portraits")).await;
    scene.visit(&format!("/jobs/{job}")).await;
    scene.live().await;
    scene.browser.tab_to("button", "Cancel").await;
    let before = scene.browser.focused().await;
    scene.release_queue().await;
    scene
        .browser
        .until(
            "the job runs",
            "document.querySelector('.why .status')?.textContent.includes('running')",
        )
        .await;
    assert_eq!(scene.browser.focused().await, before);
    scene.end(Complaints::None).await;
}
