//! What is sent once more, and what never is.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use st_http::{Client, Config, ConnectFault, Kind, Method, Retries, RetryConfig, Sent};
use tokio::time::Instant;

use crate::server::{Reply, Server, ok};
use crate::tls;

/// With pauses that do not matter.
fn retries() -> Retries {
    Retries::with_seed(RetryConfig { base: Duration::from_micros(1), ..RetryConfig::default() }, 7)
}

fn client() -> Client {
    Client::new(Config::default()).unwrap()
}

/// Answers with each of these once and then with 200.
async fn server(first: &'static [&'static str]) -> Server {
    let number = AtomicUsize::new(0);
    Server::start(move |_| match first.get(number.fetch_add(1, Ordering::Relaxed)) {
        Some(&"") => Reply::Close(String::new()),
        Some(&"cut") => Reply::Close("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1".to_owned()),
        Some(status) => Reply::Keep(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")),
        None => ok("{}"),
    })
    .await
}

#[tokio::test]
async fn methods_and_statuses_decide_what_is_repeated() {
    let table = [
        (Method::GET, "503 Down", 200, 2),
        (Method::GET, "429 Slow", 200, 2),
        (Method::GET, "408 Late", 200, 2),
        (Method::PUT, "502 Bad", 200, 2),
        (Method::DELETE, "500 Bad", 200, 2),
        (Method::HEAD, "504 Late", 200, 2),
        (Method::GET, "501 No", 501, 1),
        (Method::GET, "404 No", 404, 1),
        (Method::GET, "301 There", 301, 1),
        (Method::POST, "429 Slow", 200, 2),
        (Method::POST, "503 Down", 503, 1),
        (Method::POST, "408 Late", 408, 1),
        (Method::PATCH, "500 Bad", 500, 1),
    ];
    for (method, first, status, sent) in table {
        let server = server(Box::leak(Box::new([first]))).await;
        let request = client().request(method.clone(), &server.url("/")).retry(&retries());
        let response = request.send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), server.seen().len()),
            (status, sent),
            "{method} {first}"
        );
    }
}

#[tokio::test]
async fn what_may_have_been_seen_is_repeated_only_where_that_is_harmless() {
    for first in ["", "cut"] {
        let once = server(Box::leak(Box::new([first]))).await;
        let error = client().post(&once.url("/")).retry(&retries()).send().await.unwrap_err();
        assert_ne!(error.was_sent(), Sent::No);
        assert_eq!(once.seen().len(), 1, "{first}");

        let server = server(Box::leak(Box::new([first]))).await;
        let request = client().get(&server.url("/")).retry(&retries());
        assert_eq!(request.send().await.unwrap().status(), 200);
        assert_eq!(server.seen().len(), 2, "{first}");

        let server = self::server(Box::leak(Box::new([first]))).await;
        let request = client().post(&server.url("/")).json(&7).idempotent().retry(&retries());
        assert_eq!(request.send().await.unwrap().status(), 200);
        let bodies: Vec<_> = server.seen().into_iter().map(|seen| seen.body).collect();
        assert_eq!(bodies, ["7", "7"], "{first}");
    }
}

#[tokio::test]
async fn attempts_end_and_the_last_outcome_is_the_result() {
    let server = server(&["500 1", "502 2", "503 3", "503 4"]).await;
    let response = client().get(&server.url("/")).retry(&retries()).send().await.unwrap();
    assert_eq!((response.status().as_u16(), server.seen().len()), (503, 3));

    let opened = client().get(&server.url("/")).retry(&retries()).open().await.unwrap();
    assert_eq!((opened.status().as_u16(), server.seen().len()), (200, 5));
}

#[tokio::test]
async fn a_request_that_may_have_been_seen_once_is_never_called_unsent() {
    // The first attempt is read and not answered; then the port is closed.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = st_log::spawn_thread(move || {
        let (mut stream, _) = listener.accept().unwrap();
        drop(listener);
        std::io::Read::read(&mut stream, &mut [0; 1000]).unwrap()
    });

    let error = client().get(&url).retry(&retries()).send().await.unwrap_err();

    assert_ne!(server.join().unwrap(), 0);
    assert_eq!((error.kind(), error.was_sent()), (Kind::Connect, Sent::Maybe), "{error:?}");
}

#[tokio::test]
async fn a_request_that_was_answered_with_429_is_never_called_unsent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = st_log::spawn_thread(move || {
        let (mut stream, _) = listener.accept().unwrap();
        drop(listener);
        let read = std::io::Read::read(&mut stream, &mut [0; 1000]).unwrap();
        let slow = b"HTTP/1.1 429 Slow\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        std::io::Write::write_all(&mut stream, slow).unwrap();
        read
    });

    let error = client().post(&url).retry(&retries()).send().await.unwrap_err();

    assert_ne!(server.join().unwrap(), 0);
    assert_eq!((error.kind(), error.was_sent()), (Kind::Connect, Sent::Maybe), "{error:?}");
}

#[tokio::test]
async fn faults_that_do_not_pass_are_not_repeated() {
    let retries = retries();
    let client = Client::builder().ca_bundle(tls::file("second-ca.pem")).build().unwrap();
    let url = format!("https://{}/", tls::answer_one("expired.pem"));

    let error = client.get(&url).retry(&retries).send().await.unwrap_err();

    assert_eq!(error.connect_fault(), Some(ConnectFault::CertificateExpired));
    assert_eq!(client.metrics()[0].attempts, 1);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let client = self::client();
    let error = client.post(&nobody).retry(&retries).send().await.unwrap_err();
    assert_eq!((error.was_sent(), client.metrics()[0].attempts), (Sent::No, 3));
}

#[tokio::test]
async fn a_body_that_is_produced_while_it_is_sent_is_sent_once() {
    let server = server(&["429 Slow"]).await;
    let body = http_body_util::Full::new(st_http::Bytes::from("one"));

    let request = client().post(&server.url("/")).streaming_body(body).retry(&retries());

    assert_eq!(request.send().await.unwrap().status(), 429);
    assert_eq!(server.seen().len(), 1);
}

/// Sends a GET that is answered with 429 and this header first. Once it is, the time to wait is skipped;
/// returned are the status and for how many seconds was waited.
fn throttled(header: &str, timeout: u64) -> (u16, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(throttled_in_time(header, timeout))
}

async fn throttled_in_time(header: &str, timeout: u64) -> (u16, u64) {
    let first = format!("HTTP/1.1 429 Slow\r\n{header}\r\nContent-Length: 0\r\n\r\n");
    let number = AtomicUsize::new(0);
    let server = Server::start(move |_| match number.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::Keep(first.clone()),
        _ => ok("{}"),
    })
    .await;
    let start = Instant::now();
    let skip = async {
        server.answered(1).await;
        tokio::time::pause();
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        tokio::time::advance(Duration::from_secs(30)).await;
        tokio::time::resume();
        std::future::pending().await
    };
    let request = client().get(&server.url("/")).retry(&retries());
    let request = request.timeout(Duration::from_secs(timeout));
    let response = tokio::select! {
        response = request.send() => response.unwrap(),
        never = skip => never,
    };
    (response.status().as_u16(), start.elapsed().as_secs())
}

#[test]
fn the_time_that_the_server_names_is_waited_for_in_both_forms() {
    let date = "Date: Fri, 01 Jan 2027 00:00:00 GMT\r\nRetry-After: Fri, 01 Jan 2027 00:00:30 GMT";
    for header in ["Retry-After: 30", date] {
        assert_eq!(throttled(header, 60), (200, 30), "{header}");
    }
    assert_eq!(throttled("Retry-After: 30", 20), (429, 0), "longer than the whole call");
    assert_eq!(throttled("Retry-After: 61", 100), (429, 0), "too long");
}

#[tokio::test]
async fn a_host_that_is_down_gets_few_more_requests_than_before() {
    let server =
        Server::start(|_| Reply::Keep("HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n".to_owned()))
            .await;
    let (client, retries) = (client(), retries());
    for _ in 0..100 {
        client.get(&server.url("/")).retry(&retries).send().await.unwrap();
    }
    let sent = server.seen().len();
    assert!((129..=131).contains(&sent), "a hundred, ten of the budget, twenty earned: {sent}");
}
