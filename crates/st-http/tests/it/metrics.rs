//! The numbers that a client keeps about each host.

use std::time::Duration;

use st_http::{Client, Config, HostMetrics, Phase};
use tokio::net::TcpListener;

use crate::server::{Reply, Server, ok};

fn of(client: &Client, origin: &str) -> HostMetrics {
    client.metrics().into_iter().find(|host| host.host == origin).unwrap()
}

#[tokio::test]
async fn answers_failures_and_what_was_given_up_are_counted_by_host() {
    let server = Server::start(|request| match request.head.split(' ').nth(1).unwrap() {
        "/ok" => ok("12345"),
        "/gone" => Reply::Keep("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".to_owned()),
        "/cut" => Reply::Close("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1".to_owned()),
        "/silent" => Reply::Keep(String::new()),
        _ => Reply::Close(String::new()),
    })
    .await;
    let client = Client::new(Config::default()).unwrap();
    for path in ["/ok", "/gone", "/cut", "/closed"] {
        drop(client.get(&server.url(path)).send().await);
    }
    let waiting = client.get(&server.url("/silent")).send();
    drop(tokio::time::timeout(Duration::from_millis(1), waiting).await);
    let kept = client.get(&server.url("/ok")).open().await.unwrap();

    let numbers = of(&client, &server.url(""));

    assert_eq!((numbers.attempts, numbers.in_flight, numbers.given_up), (6, 1, 1));
    assert_eq!(numbers.answers, [0, 3, 0, 1, 0]);
    assert_eq!(numbers.failures, [(Phase::Head, 1), (Phase::Body, 1)]);
    assert_eq!(numbers.received_bytes, 6);
    assert!(numbers.time_to_head > Duration::ZERO);
    drop(kept);
    assert_eq!(of(&client, &server.url("")).in_flight, 0);
}

#[tokio::test]
async fn hosts_do_not_share_numbers() {
    let server = Server::start(|_| ok("{}")).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = Client::new(Config::default()).unwrap();
    client.get(&server.url("/")).send().await.unwrap();
    client.get(&format!("{nobody}/")).send().await.unwrap_err();

    assert_eq!(of(&client, &server.url("")).answers[1], 1);
    assert_eq!(of(&client, &nobody).failures, [(Phase::Connect, 1)]);
}
