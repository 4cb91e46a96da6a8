//! Requests and settings that are refused before anything is sent, and what is shown of them.

use std::error::Error as _;
use std::time::Duration;

use st_http::{Client, Config, Error, Kind, Request, Sent};

use crate::server::{Server, ok};

fn client() -> Client {
    Client::new(Config::default()).unwrap()
}

async fn refused(request: Request) -> String {
    let error: Error = request.send().await.unwrap_err();
    assert_eq!((error.kind(), error.was_sent()), (Kind::Request, Sent::No), "{error:?}");
    error.source().unwrap().to_string()
}

#[tokio::test]
async fn bad_urls_are_refused_by_send() {
    for (url, why) in [
        ("", "the url is not valid"),
        ("http://exa mple/", "the url is not valid"),
        ("/v1/predictions", "the url must begin with http:// or https://"),
        ("http://:80/", "the url has no host"),
        ("ftp://example.com/", "the url must begin with http:// or https://"),
        (
            "http://me:hunter2@example.com/",
            "the url has a user name or password, which belong in a header",
        ),
        ("http://example.com:99999/", "the port of the url is not a number up to 65535"),
        ("http://example.com:/", "the port of the url is not a number up to 65535"),
    ] {
        assert_eq!(refused(client().get(url)).await, why, "{url}");
    }
}

#[tokio::test]
async fn a_host_that_is_not_ascii_is_refused_and_does_not_panic() {
    let error = client().get("http://b\u{fc}cher.example/").send().await.unwrap_err();

    assert_eq!((error.kind(), error.was_sent()), (Kind::Request, Sent::No));
}

#[tokio::test]
async fn bad_headers_bodies_and_timeouts_are_refused_by_send() {
    let server = Server::start(|_| ok("{}")).await;
    let post = || client().post(&server.url("/"));

    assert_eq!(refused(post().header("a b", "1")).await, "a header has a name that is not allowed");
    assert_eq!(
        refused(post().header("x-a", "1\r\nx-b: 2")).await,
        "the value of the header x-a is not allowed"
    );
    assert_eq!(
        refused(post().bearer("a\nb")).await,
        "the value of the header authorization is not allowed"
    );
    assert_eq!(
        refused(post().header("Content-Length", "5")).await,
        "the header content-length is set by the client alone"
    );
    let not_json = std::collections::BTreeMap::from([(vec![1], 1)]);
    assert_eq!(refused(post().json(&not_json)).await, "the body cannot be written as json");
    assert_eq!(refused(post().timeout(Duration::ZERO)).await, "the timeout must be more than 0");
    let connect = client().request(http::Method::CONNECT, &server.url("/"));
    assert_eq!(refused(connect).await, "the method CONNECT is not for requests");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn the_first_fault_is_the_one_reported() {
    let request = client().get("http://localhost/").header("a b", "1").timeout(Duration::ZERO);

    assert_eq!(refused(request).await, "a header has a name that is not allowed");
}

#[tokio::test]
async fn a_token_is_sent_and_never_shown() {
    let server = Server::start(|_| ok("{}")).await;
    let request = client()
        .get(&server.url("/?key=hunter2"))
        .bearer("hunter2")
        .header("Cookie", "session=hunter2")
        .header("X-API-Key", "hunter2");

    let shown = format!("{request:?}");
    request.send().await.unwrap();

    assert!(shown.contains("x-api-key") && !shown.contains("hunter2"), "{shown}");
    assert_eq!(server.seen()[0].header("authorization"), ["Bearer hunter2"]);
}

#[tokio::test]
async fn a_header_set_by_hand_wins_over_the_one_of_json_in_either_order() {
    let server = Server::start(|_| ok("{}")).await;
    let post = || client().post(&server.url("/"));

    post().header("Content-Type", "application/x").json(&1).send().await.unwrap();
    post().json(&1).header("Content-Type", "application/x").send().await.unwrap();

    for request in server.seen() {
        assert_eq!(request.header("content-type"), ["application/x"]);
    }
}

#[test]
fn settings_that_cannot_work_are_all_named() {
    let config = Config {
        connect_timeout: Duration::ZERO,
        attempt_timeout: Duration::ZERO,
        overall_timeout: Duration::ZERO,
        body_idle_timeout: Duration::ZERO,
        pool_idle_timeout: Duration::ZERO,
        body_limit: 0,
        user_agent: "a\nb".to_owned(),
        ..Config::default()
    };

    let error = Client::new(config).unwrap_err();

    assert_eq!(error.kind(), Kind::Config);
    assert_eq!(
        error.to_string().split("; ").collect::<Vec<_>>(),
        [
            "connect_timeout must be more than 0",
            "attempt_timeout must be more than 0",
            "overall_timeout must be more than 0",
            "body_idle_timeout must be more than 0",
            "pool_idle_timeout must be more than 0",
            "body_limit must be more than 0",
            "user_agent must be printable ASCII",
        ]
    );
}
