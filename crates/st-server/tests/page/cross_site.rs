//! Pages of other sites in the browser of a user: they change nothing and read nothing.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::browser::Complaints;
use crate::scene::{Scene, training};

/// A page of another site, which has everything that a page can try.
fn hostile_page(target: &str) -> String {
    let body = r#"{"config":{"--model_type":"lora"},"config_name":"planted"}"#;
    format!(
        "<!doctype html><title>elsewhere</title><iframe name=frame></iframe>
         <form id=form method=post enctype='text/plain' target=frame action='{target}/api/cloud/jobs/submit?provider=replicate'>
           <input name='{body}' value=''></form>
         <a id=link href='{target}/'>a link</a>
         <script>
           const submit = '{target}/api/cloud/jobs/submit?provider=replicate';
           const body = '{body}';
           const outcome = (request) => request.then((answer) => answer.type, () => 'refused');
           async function attack() {{
             const plain = {{method: 'POST', body, headers: {{'Content-Type': 'text/plain'}}, credentials: 'include'}};
             const json = {{...plain, headers: {{'Content-Type': 'application/json'}}}};
             const image = new Promise((resolve) => {{
               const image = new Image();
               image.onload = () => resolve('loaded');
               image.onerror = () => resolve('refused');
               image.src = '{target}/api/cloud/jobs';
             }});
             const form = new Promise((resolve) => {{
               document.querySelector('iframe').onload = () => resolve('answered');
             }});
             document.querySelector('#form').submit();
             return {{
               opaque: await outcome(fetch(submit, {{...plain, mode: 'no-cors'}})),
               simple: await outcome(fetch(submit, {{...plain, mode: 'cors'}})),
               json: await outcome(fetch(submit, {{...json, mode: 'cors'}})),
               read: await outcome(fetch('{target}/api/cloud/jobs', {{credentials: 'include'}})),
               image: await image,
               form: await form,
             }};
           }}
         </script>"
    )
}

/// A web server of another origin, with one page, on a free port.
async fn serve(page: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(st_log::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let length = page.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{page}"
            );
            // A connection that the browser opened in advance and does not use is no fault.
            if stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    }));
    port
}

/// Attacks a server from `host`, which is another site or only another port.
async fn attack_from(scene: &Scene, host: &str) {
    scene.server.submit("replicate", training("own")).await;
    let before = scene.job_count().await;
    let port = serve(hostile_page(&scene.server.url(""))).await;
    scene.browser.open(&format!("http://{host}:{port}/")).await;
    let tried = scene.browser.js_async("return await attack()", vec![]).await;
    let expected = json!({"opaque": "opaque", "simple": "refused", "json": "refused", "read": "refused",
                          "image": "refused", "form": "answered"});
    assert_eq!(tried, expected, "from {host}");
    // What the page could not read, it did not change either.
    assert_eq!(scene.job_count().await, before, "from {host}");
    // The browser tells the other site why, which is no complaint about the page.
    scene.browser.said().await;
    // A link is how people come here.
    scene.browser.js("document.querySelector('#link').click()").await;
    scene.browser.until("the page is shown", "document.querySelector('#app h1')").await;
}

#[tokio::test]
async fn a_page_of_another_site_changes_and_reads_nothing_where_everybody_is_the_administrator() {
    let scene = Scene::open().await;
    scene.hold_queue().await;
    for host in ["localhost", "127.0.0.1"] {
        attack_from(&scene, host).await;
    }
    scene.end(Complaints::FailedRequests).await;
}

#[tokio::test]
async fn a_page_of_another_site_has_nothing_of_a_session() {
    let (scene, keys) = Scene::with_keys(&[("ben", "researcher")]).await;
    scene.hold_queue().await;
    scene.sign_in(&keys[0]).await;
    for host in ["localhost", "127.0.0.1"] {
        attack_from(&scene, host).await;
    }
    // The person is still signed in: only the other site's requests were refused.
    scene.visit("/").await;
    scene.browser.until_text("ben · researcher").await;
    scene.end(Complaints::FailedRequests).await;
}
