//! The page, as browsers ask for it.

use std::io::Read;

use flate2::read::GzDecoder;
use reqwest::{Method, RequestBuilder, Response};

use super::auth::Keyed;
use super::*;
use crate::api::openapi;

const SCREENS: [&str; 11] = [
    "/",
    "/jobs/019a-7",
    "/queue",
    "/approvals",
    "/costs",
    "/providers",
    "/system",
    "/audit",
    "/keys",
    "/signin",
    "/submit",
];

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

async fn send(request: RequestBuilder) -> Response {
    request.send().await.unwrap()
}

/// The address of a file of the page, as the document names it.
async fn address(api: &Harness, name: &str) -> String {
    let document = send(api.client.get(&api.url)).await.text().await.unwrap();
    let found = document.split('"').find(|part| part.ends_with(name));
    format!("{}{}", api.url, found.unwrap())
}

#[tokio::test]
async fn each_screen_is_the_same_document_without_a_key_and_without_data() {
    let keyed = Keyed::start().await;
    let document = send(keyed.request(Method::GET, "/")).await.text().await.unwrap();
    assert!(document.starts_with("<!doctype html>"), "{document}");
    for screen in SCREENS {
        let response = send(keyed.request(Method::GET, screen)).await;
        assert_eq!(response.status(), 200, "{screen}");
        assert_eq!(header(&response, "content-type"), "text/html; charset=utf-8");
        assert_eq!(response.text().await.unwrap(), document, "{screen}");
        let head = send(keyed.request(Method::HEAD, screen)).await;
        assert_eq!(head.status(), 200, "{screen}");
        assert_eq!(header(&head, "content-length"), document.len().to_string());
    }
    let jobs = send(keyed.request(Method::GET, "/api/cloud/jobs")).await;
    assert_eq!(jobs.status(), 401, "the data needs a key");
}

#[tokio::test]
async fn the_browser_is_told_to_run_nothing_but_the_page() {
    let api = Harness::start().await;
    for at in [api.url.clone(), address(&api, "/app.js").await] {
        let response = send(api.client.get(&at)).await;
        let policy: Vec<&str> = header(&response, "content-security-policy").split("; ").collect();
        assert_eq!(
            policy,
            [
                "default-src 'none'",
                "script-src 'self'",
                "style-src 'self'",
                "connect-src 'self'",
                "img-src 'self'",
                "base-uri 'none'",
                "form-action 'self'",
                "frame-ancestors 'none'",
                "require-trusted-types-for 'script'",
                "trusted-types 'none'",
            ]
        );
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("vary", "accept-encoding"),
        ] {
            assert_eq!(header(&response, name), value, "{name} of {at}");
        }
        assert_eq!(header(&response, "access-control-allow-origin"), "");
    }
}

#[tokio::test]
async fn the_document_is_asked_for_again_and_its_files_are_kept() {
    let api = Harness::start().await;
    let document = send(api.client.get(&api.url)).await;
    assert_eq!(header(&document, "cache-control"), "no-cache");
    let etag = header(&document, "etag").to_owned();
    let same = send(api.client.get(&api.url).header("if-none-match", &etag)).await;
    assert_eq!((same.status().as_u16(), header(&same, "etag")), (304, etag.as_str()));
    assert_eq!(same.bytes().await.unwrap().len(), 0);
    let other = send(api.client.get(&api.url).header("if-none-match", "W/\"other\"")).await;
    assert_eq!(other.status(), 200);

    let at = address(&api, "/app.js").await;
    let script = send(api.client.get(&at)).await;
    assert_eq!(header(&script, "content-type"), "text/javascript; charset=utf-8");
    assert_eq!(header(&script, "cache-control"), "public, max-age=31536000, immutable");
    let version = at.split('/').rev().nth(1).unwrap();
    let of_another_release = at.replace(version, "0123456789abcdef");
    let script = send(api.client.get(&of_another_release)).await;
    assert_eq!((script.status().as_u16(), header(&script, "cache-control")), (200, "no-cache"));
}

#[tokio::test]
async fn files_are_compressed_for_those_who_take_it() {
    let api = Harness::start().await;
    let at = address(&api, "/app.css").await;
    let plain = send(api.client.get(&at)).await;
    assert_eq!(header(&plain, "content-encoding"), "");
    let plain = plain.bytes().await.unwrap();
    let small = send(api.client.get(&at).header("accept-encoding", "br, gzip")).await;
    assert_eq!(header(&small, "content-encoding"), "gzip");
    let small = small.bytes().await.unwrap();
    assert!(small.len() * 2 < plain.len(), "{} of {}", small.len(), plain.len());
    let mut restored = Vec::new();
    GzDecoder::new(small.as_ref()).read_to_end(&mut restored).unwrap();
    assert_eq!(restored, plain);
}

#[tokio::test]
async fn what_is_no_screen_and_no_file_is_a_problem() {
    let api = Harness::start().await;
    let folder = address(&api, "/app.js").await.replace("app.js", "");
    let folder = folder.strip_prefix(&api.url).unwrap();
    for path in ["/jobs", "/jobs/", "/jobs/1/2", "/index.html", "/favicon.ico", "/page", "/page/x"]
    {
        let (status, problem) = api.get(path).await;
        assert_eq!((status, &problem["code"]), (404, &json!("not_found")), "{path}");
    }
    for file in
        ["nothing.js", "index.html", "../Cargo.toml", "%2e%2e/package.json", "vendor/x.d.ts"]
    {
        let (status, problem) = api.get(&format!("{folder}{file}")).await;
        assert_eq!((status, &problem["code"]), (404, &json!("not_found")), "{file}");
    }
    let (status, problem) = api.post("/", json!({})).await;
    assert_eq!((status, &problem["code"]), (405, &json!("method_not_allowed")));
    let paths = openapi()["paths"].take();
    let paths: Vec<&String> = paths.as_object().unwrap().keys().collect();
    assert!(!paths.iter().any(|path| *path == "/" || path.starts_with("/page")), "{paths:?}");
}

#[tokio::test]
async fn a_link_of_another_site_leads_to_the_page_and_changes_nothing() {
    let api = Harness::start().await;
    let from_elsewhere = |request: RequestBuilder, mode: &str| {
        request.header("sec-fetch-site", "cross-site").header("sec-fetch-mode", mode)
    };
    let link = api.client.get(format!("{}/jobs/7", api.url));
    assert_eq!(send(from_elsewhere(link, "navigate")).await.status(), 200);
    let call = api.client.post(format!("{}/api/queue/pause", api.url)).json(&json!({}));
    assert_eq!(send(from_elsewhere(call, "cors")).await.status(), 403);
    let read = api.client.get(format!("{}/api/queue", api.url));
    let read = read.header("origin", "https://elsewhere.example");
    assert_eq!(send(from_elsewhere(read, "cors")).await.status(), 403);
}
