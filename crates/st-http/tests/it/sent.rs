//! Whether a failed request may have reached the other side. A wrong `No` pays for a job twice.

use std::error::Error as _;
use std::io::{Read, Write};
use std::sync::mpsc;

use st_http::{Client, Config, ConnectFault, Error, Kind, Phase, Sent};
use tokio::net::TcpListener;

use crate::server::{Reply, Server, ok};

fn client() -> Client {
    Client::new(Config::default()).unwrap()
}

async fn post(url: &str) -> Error {
    client().post(url).json(&["one job"]).send().await.unwrap_err()
}

#[tokio::test]
async fn a_refused_connection_was_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);

    let error = post(&url).await;

    assert_eq!((error.was_sent(), error.phase()), (Sent::No, Some(Phase::Connect)));
    assert_eq!(error.connect_fault(), Some(ConnectFault::Refused));
    assert!(error.is_connect() && !error.is_timeout(), "{error:?}");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_was_not_sent() {
    let error = post("http://no-such-host.invalid/").await;

    assert_eq!((error.was_sent(), error.phase()), (Sent::No, Some(Phase::Resolve)));
    assert_eq!(error.connect_fault(), Some(ConnectFault::UnknownName));
    assert!(error.is_connect(), "{error:?}");
    assert_eq!(error.to_string(), "the host of http://no-such-host.invalid/ cannot be found");
}

#[tokio::test]
async fn tls_to_a_plain_text_port_was_not_sent() {
    let server = Server::raw(|_| Reply::Keep("HTTP/1.1 400 Bad Request\r\n\r\n".to_owned())).await;

    let error = post(&server.https_url("/")).await;

    assert_eq!((error.was_sent(), error.phase()), (Sent::No, Some(Phase::Tls)));
    assert_eq!(error.connect_fault(), Some(ConnectFault::Handshake));
    assert!(error.is_connect(), "{error:?}");
    assert!(!server.seen()[0].head.contains("one job"));
}

#[tokio::test]
async fn a_request_that_was_read_and_not_answered_may_have_been_sent() {
    let server = Server::start(|_| Reply::Close(String::new())).await;

    let error = post(&server.url("/")).await;

    assert_eq!((error.was_sent(), error.phase()), (Sent::Maybe, Some(Phase::Head)));
    assert_eq!(error.kind(), Kind::Transport);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_not_http_may_have_been_sent() {
    let server = Server::start(|_| Reply::Close("SSH-2.0-OpenSSH_9.9\r\n".to_owned())).await;

    let error = post(&server.url("/")).await;

    assert_eq!(error.was_sent(), Sent::Maybe);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_head_that_breaks_off_may_have_been_sent() {
    let server = Server::start(|_| Reply::Close("HTTP/1.1 201 Crea".to_owned())).await;

    assert_eq!(post(&server.url("/")).await.was_sent(), Sent::Maybe);
}

#[tokio::test]
async fn a_body_that_breaks_off_was_sent() {
    let short = "HTTP/1.1 201 Created\r\nContent-Length: 10\r\n\r\n{\"id\"";
    let server = Server::start(|_| Reply::Close(short.to_owned())).await;

    let error = post(&server.url("/")).await;

    assert_eq!((error.was_sent(), error.phase()), (Sent::Yes, Some(Phase::Body)));
    assert_eq!(error.kind(), Kind::Transport);
}

#[tokio::test]
async fn a_request_that_a_reused_connection_swallowed_is_not_sent_again() {
    let server = Server::start(|request| {
        if request.head.starts_with("GET") { ok("{}") } else { Reply::Close(String::new()) }
    })
    .await;
    let client = client();
    client.get(&server.url("/")).send().await.unwrap();

    let error = client.post(&server.url("/")).json(&1).send().await.unwrap_err();

    assert_eq!(error.was_sent(), Sent::Maybe);
    let seen = server.seen();
    assert_eq!((seen.len(), seen[1].connection, server.connections()), (2, 1, 1));
}

/// The one turn of the runtime that reports the end of the idle connection also wakes the test, which
/// goes first: the client has chosen that connection when it learns that it is closed.
#[tokio::test(flavor = "current_thread")]
async fn a_request_that_a_closed_connection_gave_back_goes_out_once_on_another() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (close, may_close) = mpsc::channel::<()>();
    let (closed, is_closed) = mpsc::channel();
    let bell = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bell_address = bell.local_addr().unwrap();
    let server = st_log::spawn_thread(move || {
        let first = answer(&listener);
        may_close.recv().unwrap();
        drop(first);
        let ring = std::net::TcpStream::connect(bell_address).unwrap();
        closed.send(ring).unwrap();
        let second = answer(&listener);
        drop(second);
        listener.set_nonblocking(true).unwrap();
        listener.accept().is_err()
    });
    let client = client();
    client.get(&url).send().await.unwrap();
    // The connection goes back to the pool in a task of its own.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    close.send(()).unwrap();
    let _ring = is_closed.recv().unwrap();
    bell.accept().await.unwrap();

    let response = client.post(&url).json(&1).send().await.unwrap();

    assert_eq!(response.status(), 200);
    assert!(server.join().unwrap(), "there was a third connection");
}

/// Accepts a connection and answers the one request on it.
fn answer(listener: &std::net::TcpListener) -> std::net::TcpStream {
    let (mut stream, _) = listener.accept().unwrap();
    let mut request = [0; 4096];
    assert_ne!(stream.read(&mut request).unwrap(), 0);
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_connection_never_makes_a_request_arrive_twice() {
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    let server = Server::start(|_| Reply::Close(text.to_owned())).await;
    let client = client();
    let mut answered = 0;

    for job in 0..300 {
        let body = format!("job {job}");
        let outcome = client.post(&server.url("/")).body(body.clone().into()).send().await;
        let arrived = server.seen().iter().filter(|request| request.body == body).count();
        match outcome.as_ref().map_err(Error::was_sent) {
            Ok(_) => {
                answered += 1;
                assert_eq!(arrived, 1, "{body}");
            }
            Err(Sent::No) => assert_eq!(arrived, 0, "{body}"),
            Err(Sent::Maybe) => assert!(arrived <= 1, "{body} arrived {arrived} times"),
            Err(Sent::Yes) => panic!("{outcome:?}"),
        }
    }

    assert!(answered > 0);
}

#[tokio::test]
async fn an_error_says_where_and_why_and_no_secret() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);

    let url = format!("http://{address}/v1/jobs?token=hunter2");
    let error = client().get(&url).bearer("hunter2").send().await.unwrap_err();

    assert_eq!(
        error.to_string(),
        format!("the host of http://{address}/v1/jobs refuses the connection")
    );
    assert_eq!(error.url(), Some(format!("http://{address}/v1/jobs").as_str()));
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    let mut chain = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        chain.push(error.to_string());
        cause = error.source();
    }
    assert!(chain.last().unwrap().contains("refused"), "{chain:?}");
}
