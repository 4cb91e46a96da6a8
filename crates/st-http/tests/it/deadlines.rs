//! The deadlines. Time is paused once the server did its part, so that nothing waits and the
//! deadlines are the real ones.

use std::time::Duration;

use bytes::Bytes;
use st_http::{Client, Config, Error, Kind, Phase, Sent};
use tokio::time::Instant;

use crate::server::{Reply, Server};

/// Sends a request, lets time jump when the server has answered what it will, and returns how it
/// failed and after how many seconds.
async fn fails(url: &str, server: &Server, timeout: Option<u64>) -> (Error, u64) {
    fails_of(patient(), url, server, timeout).await
}

/// A client that waits for a body as long as the overall deadline allows.
fn patient() -> Client {
    Client::builder().body_idle_timeout(Duration::from_hours(1)).build().unwrap()
}

async fn fails_of(
    client: Client,
    url: &str,
    server: &Server,
    timeout: Option<u64>,
) -> (Error, u64) {
    let mut request = client.post(url).json(&1);
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
    assert_eq!(error.phase(), Some(Phase::Head));
}

#[tokio::test]
async fn a_handshake_that_hangs_meets_the_connect_deadline_and_was_not_sent() {
    let server = Server::raw(|_| Reply::Keep(String::new())).await;

    let (error, seconds) = fails(&server.https_url("/"), &server, None).await;

    assert_eq!((error.kind(), error.was_sent(), seconds), (Kind::Connect, Sent::No, 5));
    assert!(error.is_timeout() && error.is_connect());
    assert_eq!((error.phase(), error.connect_fault()), (Some(Phase::Tls), None));
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
    let mut response = patient().get(&server.url("/")).open().await.unwrap();
    let start = Instant::now();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "{\"id\"");
    tokio::time::pause();

    let error = response.chunk().await.unwrap_err();

    assert_eq!((error.kind(), error.was_sent()), (Kind::Timeout, Sent::Yes));
    assert_eq!(start.elapsed().as_secs().clamp(59, 60), start.elapsed().as_secs());
    // What is there already is late as well.
    assert!(response.chunk().await.unwrap_err().is_timeout());
}

#[tokio::test]
async fn a_body_of_which_nothing_more_comes_meets_the_idle_deadline() {
    let stalled = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"id\"";
    let server = Server::start(|_| Reply::Keep(stalled.to_owned())).await;
    let client = Client::new(Config::default()).unwrap();

    let (error, seconds) = fails_of(client, &server.url("/"), &server, None).await;

    assert_eq!((error.kind(), error.was_sent(), seconds), (Kind::Timeout, Sent::Yes, 30));
    assert_eq!(error.phase(), Some(Phase::Body));
    assert!(error.to_string().ends_with("came for 30s"), "{error}");
}

#[tokio::test]
async fn the_idle_deadline_counts_across_calls_that_were_given_up() {
    let stalled = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"id\"";
    let server = Server::start(|_| Reply::Keep(stalled.to_owned())).await;
    let client = Client::new(Config::default()).unwrap();
    let mut response = client.get(&server.url("/")).open().await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "{\"id\"");
    tokio::time::pause();
    let start = Instant::now();

    let error = loop {
        let waiting = tokio::time::timeout(Duration::from_secs(8), response.chunk());
        if let Ok(outcome) = waiting.await {
            break outcome.unwrap_err();
        }
    };

    assert_eq!((error.kind(), start.elapsed().as_secs()), (Kind::Timeout, 30));
    assert!(error.to_string().ends_with("came for 30s"), "{error}");
}

#[tokio::test]
async fn an_error_of_a_later_attempt_names_the_timeout_of_the_caller() {
    let number = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::start(move |_| {
        if number.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 {
            Reply::Keep("HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n".to_owned())
        } else {
            Reply::Keep(String::new())
        }
    })
    .await;
    let request = patient().get(&server.url("/")).retry(&st_http::Retries::with_seed(
        st_http::RetryConfig { base: Duration::from_millis(1), ..st_http::RetryConfig::default() },
        7,
    ));
    let pause = async {
        server.answered(2).await;
        tokio::time::pause();
        std::future::pending().await
    };

    let error = tokio::select! {
        outcome = request.timeout(Duration::from_secs(20)).send() => outcome.unwrap_err(),
        never = pause => never,
    };

    assert_eq!(error.was_sent(), Sent::Maybe);
    assert!(error.to_string().ends_with("within 20s"), "{error}");
}

#[tokio::test]
async fn the_overall_deadline_ends_a_body_before_the_idle_one() {
    let stalled = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"id\"";
    let server = Server::start(|_| Reply::Keep(stalled.to_owned())).await;
    let client = Client::new(Config::default()).unwrap();

    let (error, seconds) = fails_of(client, &server.url("/"), &server, Some(20)).await;

    assert_eq!((error.was_sent(), seconds), (Sent::Yes, 20));
    assert!(error.to_string().ends_with("was not complete within 20s"), "{error}");
}

#[tokio::test]
async fn a_proxy_that_makes_no_tunnel_meets_the_connect_deadline_in_its_phase() {
    let proxy = Server::start(|_| Reply::Keep(String::new())).await;
    let proxies = st_http::Proxies::from_values(Some(&proxy.url("")), None, None).unwrap();
    let client = Client::builder().proxies(proxies).build().unwrap();

    let (error, seconds) = fails_of(client, "https://far.example/", &proxy, None).await;

    assert_eq!((error.kind(), error.was_sent(), seconds), (Kind::Connect, Sent::No, 5));
    assert_eq!(error.phase(), Some(Phase::Proxy));
    assert!(error.to_string().ends_with("within 5s (phase proxy)"), "{error}");
}

#[tokio::test]
async fn a_request_that_nobody_reads_ends_while_it_is_written() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    // More than the buffers of two sockets hold.
    let pieces = futures_util::stream::repeat_with(|| {
        Ok::<_, std::io::Error>(hyper::body::Frame::data(Bytes::from(vec![0; 1 << 20])))
    });
    let body = http_body_util::StreamBody::new(pieces);
    let client = patient();
    let sending = client.post(&url).streaming_body(body).timeout(Duration::from_millis(300)).send();

    let error = sending.await.unwrap_err();

    assert_eq!((error.phase(), error.was_sent()), (Some(Phase::Write), Sent::Maybe));
    assert!(error.to_string().ends_with("was not written within 300ms"), "{error}");
}
