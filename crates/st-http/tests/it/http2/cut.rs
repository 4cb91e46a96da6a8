//! HTTP/2 connections that are cut at every byte that the client or the server sends, fresh and reused:
//! `Sent::No` is never said of a request that arrived.

use std::net::SocketAddr;

use st_http::{Client, Sent};
use st_log::SpawnInScope as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::server::{END_STREAM, HEADERS, Server, answer};

const BODY: &str = "{\"job\": \"one that costs money\"}";

/// Which way the bytes go that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    There,
    Back,
}

/// How many bytes went each way.
#[derive(Debug, Clone, Copy, Default)]
struct Passed {
    there: usize,
    back: usize,
}

/// Passes one connection on to `to` until so many bytes went one way, then cuts it.
async fn pass(mut near: TcpStream, to: SocketAddr, way: Way, most: usize) -> Passed {
    let mut far = TcpStream::connect(to).await.unwrap();
    let mut passed = Passed::default();
    let (mut there, mut back) = ([0; 4096], [0; 4096]);
    loop {
        let left = |way_of, passed: usize| if way == way_of { most - passed } else { usize::MAX };
        let (forth, home) = (left(Way::There, passed.there), left(Way::Back, passed.back));
        if forth == 0 || home == 0 {
            break;
        }
        tokio::select! {
            read = near.read(&mut there[..forth.min(4096)]) => match read {
                Ok(length @ 1..) => {
                    passed.there += length;
                    if far.write_all(&there[..length]).await.is_err() { break }
                }
                _ => break,
            },
            read = far.read(&mut back[..home.min(4096)]) => match read {
                Ok(length @ 1..) => {
                    passed.back += length;
                    if near.write_all(&back[..length]).await.is_err() { break }
                }
                _ => break,
            },
        }
    }
    // What was passed on is read before the end is seen.
    drop(far.shutdown().await);
    drop(near);
    while let Ok(1..) = far.read(&mut back).await {}
    passed
}

/// Sends a POST over a connection that is cut, behind a GET if it is `reused`, and returns what is said of
/// it and the bytes that went each way. The request finds no other connection.
async fn cut(server: &Server, way: Way, most: usize, reused: bool) -> (Result<u16, Sent>, Passed) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/v1/predictions", listener.local_addr().unwrap());
    let to = server.address;
    let mut passing = JoinSet::new();
    passing.spawn_in_scope(async move {
        let (near, _) = listener.accept().await.unwrap();
        drop(listener);
        pass(near, to, way, most).await
    });
    // Without the system's certificates, which take longer to read than all else.
    let client = Client::builder().without_tls_verification().build().unwrap();
    let outcome = send(&client, &url, reused).await;
    drop(client);
    (outcome, passing.join_next().await.unwrap().unwrap())
}

async fn send(client: &Client, url: &str, reused: bool) -> Result<u16, Sent> {
    if reused {
        client.get(url).send().await.map_err(|_error| Sent::No)?;
    }
    let response = client.post(url).body(BODY.into()).send().await;
    response.map(|response| response.status().as_u16()).map_err(|error| error.was_sent())
}

/// How many POST requests have begun to arrive: a GET ends with its headers.
fn arrived(server: &Server) -> usize {
    let seen = server.forget();
    seen.iter().filter(|it| it.kind == HEADERS && it.flags & END_STREAM == 0).count()
}

/// Cuts after each of the last bytes, and of those before after some. Returns how often nothing was sent, and how
/// often that was not known.
async fn cut_everywhere(way: Way, last: usize, reused: bool) -> (usize, usize) {
    let server = Server::start(answer).await;
    let (outcome, whole) = cut(&server, way, usize::MAX, reused).await;
    assert_eq!((outcome, arrived(&server)), (Ok(200), 1));
    let length = if way == Way::There { whole.there } else { whole.back };
    let (mut unsent, mut unknown) = (0, 0);
    let begin = length.saturating_sub(last);
    for bytes in (0..begin).step_by(20).chain(begin..length) {
        let (outcome, _) = cut(&server, way, bytes, reused).await;
        let arrived = arrived(&server);
        match outcome {
            Err(Sent::No) => {
                unsent += 1;
                assert_eq!(arrived, 0, "cut after {bytes}");
            }
            Err(Sent::Maybe) => {
                unknown += 1;
                assert!(arrived <= 1, "cut after {bytes}");
            }
            Ok(_) | Err(Sent::Yes) => assert_eq!(arrived, 1, "cut after {bytes}"),
        }
    }
    (unsent, unknown)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_cut_anywhere_is_unsent_only_if_nothing_arrived() {
    for reused in [false, true] {
        let (unsent, unknown) = cut_everywhere(Way::There, 400, reused).await;

        assert!(unsent > 10 && unknown > 100, "{reused}: {unsent} {unknown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_cut_anywhere_is_an_unsent_request_only_if_nothing_arrived() {
    for reused in [false, true] {
        let (unsent, unknown) = cut_everywhere(Way::Back, 120, reused).await;

        assert!(unsent > 10 && unknown > 10, "{reused}: {unsent} {unknown}");
    }
}
