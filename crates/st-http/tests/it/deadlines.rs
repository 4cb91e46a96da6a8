//! The three deadlines. Time is paused once the server did its part, so that nothing waits and the
//! deadlines are the real ones.

use std::time::Duration;

use st_http::{Client, Config, Error, Kind, Sent};
use tokio::time::Instant;

use crate::server::{Reply, Server};

/// Sends a request, lets time jump when the server has answered what it will, and returns how it
/// failed and after how many seconds.
async fn fails(url: &str, server: &Server, timeout: Option<u64>) -> (Error, u64) {
    let mut request = Client::new(Config::default()).unwrap().post(url).json(&1);
    if let Some(seconds) = timeout {
        request = request.timeout(Duration::from_secs(seconds));
    }
    let start = Instant::now();
    let pause = async {
        server.answered(1).await;
        tokio::time::pause();
        std::future::pending().await
    };
    let error = tokio::select! {
        outcome = request.send() => outcome.unwrap_err(),
        never = pause => never,
    };
    (error, start.elapsed().as_secs())
}

#[tokio::test]
async fn a_server_that_never_answers_meets_the_attempt_deadline_and_may_have_been_sent() {
    let server = Server::start(|_| Reply::Keep(String::new())).await;

    let (error, seconds) = fails(&server.url("/"), &server, None).await;

    assert_eq!((error.kind(), error.was_sent(), seconds), (Kind::Timeout, Sent::Maybe, 30));
    assert!(error.is_timeout() && !error.is_connect());
}

#[tokio::test]
async fn a_handshake_that_hangs_meets_the_connect_deadline_and_was_not_sent() {
    let server = Server::raw(|_| Reply::Keep(String::new())).await;

    let (error, seconds) = fails(&server.https_url("/"), &server, None).await;

    assert_eq!((error.kind(), error.was_sent(), seconds), (Kind::Connect, Sent::No, 5));
    assert!(error.is_timeout() && error.is_connect());
}

#[tokio::test]
async fn a_body_that_stalls_meets_the_overall_deadline_and_was_sent() {
    let stalled = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"id\"";
    let server = Server::start(|_| Reply::Keep(stalled.to_owned())).await;

    let (error, seconds) = fails(&server.url("/"), &server, None).await;

    assert_eq!((error.kind(), error.was_sent(), seconds), (Kind::Timeout, Sent::Yes, 60));
    assert!(error.is_timeout());
}

#[tokio::test]
async fn the_timeout_of_a_request_replaces_the_overall_one() {
    let stalled = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"id\"";
    let server = Server::start(|_| Reply::Keep(stalled.to_owned())).await;

    let (error, seconds) = fails(&server.url("/"), &server, Some(100)).await;

    assert_eq!((error.was_sent(), seconds), (Sent::Yes, 100));
}

#[tokio::test]
async fn the_timeout_of_a_request_also_ends_waiting_for_the_head() {
    let server = Server::start(|_| Reply::Keep(String::new())).await;

    let (error, seconds) = fails(&server.url("/"), &server, Some(7)).await;

    assert_eq!((error.kind(), error.was_sent(), seconds), (Kind::Timeout, Sent::Maybe, 7));
}

#[tokio::test]
async fn the_timeout_of_a_request_also_ends_connecting() {
    let server = Server::raw(|_| Reply::Keep(String::new())).await;

    let (error, seconds) = fails(&server.https_url("/"), &server, Some(2)).await;

    assert_eq!((error.kind(), error.was_sent(), seconds), (Kind::Connect, Sent::No, 2));
}

#[tokio::test]
async fn a_body_that_is_read_as_it_arrives_meets_the_overall_deadline() {
    let stalled = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"id\"";
    let server = Server::start(|_| Reply::Keep(stalled.to_owned())).await;
    let client = Client::new(Config::default()).unwrap();
    let mut response = client.get(&server.url("/")).open().await.unwrap();
    let start = Instant::now();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "{\"id\"");
    tokio::time::pause();

    let error = response.chunk().await.unwrap_err();

    assert_eq!((error.kind(), error.was_sent()), (Kind::Timeout, Sent::Yes));
    assert_eq!(start.elapsed().as_secs().clamp(59, 60), start.elapsed().as_secs());
    // What is there already is late as well.
    assert!(response.chunk().await.unwrap_err().is_timeout());
}
