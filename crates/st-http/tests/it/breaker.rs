//! The breaker in the path of requests.

use std::time::Duration;

use st_http::{Breakers, Client, Config, Kind, Retries, Sent};

use crate::server::{Reply, Server};

fn client() -> Client {
    Client::new(Config::default()).unwrap()
}

async fn server(status: &'static str) -> Server {
    Server::start(move |_| Reply::Keep(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")))
        .await
}

#[tokio::test]
async fn a_host_that_fails_is_left_alone_and_others_are_not() {
    let (failing, working) = (server("500 Bad").await, server("204 No").await);
    let (client, breakers) = (client(), Breakers::default());
    for _ in 0..5 {
        client.get(&failing.url("/")).breaker(&breakers).send().await.unwrap();
    }

    let error = client.get(&failing.url("/x")).breaker(&breakers).send().await.unwrap_err();

    assert_eq!(
        (error.kind(), error.was_sent(), error.phase()),
        (Kind::BreakerOpen, Sent::No, None)
    );
    assert!(error.to_string().contains("failed too often: it is left alone for 29"), "{error}");
    assert_eq!(failing.seen().len(), 5);
    client.get(&working.url("/")).breaker(&breakers).send().await.unwrap();
    client.get(&failing.url("/")).send().await.unwrap();
}

#[tokio::test]
async fn requests_that_are_wrong_or_given_up_open_nothing() {
    let (wrong, silent) =
        (server("404 No").await, Server::start(|_| Reply::Keep(String::new())).await);
    let (client, breakers) = (client(), Breakers::default());
    for _ in 0..10 {
        client.get(&wrong.url("/")).breaker(&breakers).send().await.unwrap();
        client.get(&wrong.url("/")).header("a b", "").breaker(&breakers).send().await.unwrap_err();
        let given_up = client.get(&silent.url("/")).breaker(&breakers).send();
        drop(tokio::time::timeout(Duration::from_millis(1), given_up).await);
    }
    for server in [&wrong, &silent] {
        assert_eq!(breakers.open_for(&server.url("")), None);
    }
}

#[tokio::test]
async fn each_attempt_counts_and_an_open_breaker_ends_the_repetitions() {
    let server = Server::start(|_| Reply::Close(String::new())).await;
    let (client, breakers, retries) = (client(), Breakers::default(), Retries::default());
    let request = || client.get(&server.url("/")).breaker(&breakers).retry(&retries).send();
    request().await.unwrap_err();

    let error = request().await.unwrap_err();

    assert_eq!((error.kind(), error.was_sent()), (Kind::BreakerOpen, Sent::Maybe), "{error:?}");
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn a_host_that_is_not_there_opens_it() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (client, breakers) = (client(), Breakers::default());
    for _ in 0..5 {
        client.get(&url).breaker(&breakers).send().await.unwrap_err();
    }
    assert!(breakers.open_for(&url).is_some());
}
