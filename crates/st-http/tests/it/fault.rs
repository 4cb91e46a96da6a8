//! Connections that are cut at every byte of the request and of the answer, fresh and reused, in plain
//! text and inside TLS: `Sent::No` is never said of a request of which a byte arrived.

#![expect(clippy::indexing_slicing, reason = "the helpers of tests fail as tests do")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustls::{ServerConnection, StreamOwned};
use st_http::{Client, Config, Error, Phase, Response, Sent};
use st_log::SpawnInScope as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::tls;

const BODY: &str = "{\"job\": \"one that costs money\"}";
const HEAD: &str = "HTTP/1.1 201 Created\r\nContent-Length: 13\r\nX-A: b\r\n\r\n";
const ANSWER: &str = "{\"id\": \"abc\"}";

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// In order, as far as the other side can see.
    Close,
    /// With a reset.
    Reset,
}

/// Where a connection ends.
#[derive(Debug, Clone, Copy)]
enum At {
    /// After this many bytes of the request.
    Request(usize),
    /// After the whole request and this many bytes of the answer.
    Answer(usize),
}

/// A server whose first connection is cut. On the others it answers all that comes.
struct Cutter {
    url: String,
    /// The bytes of requests with a body, by connection.
    arrived: Arc<Mutex<Vec<Vec<u8>>>>,
    _accepting: JoinSet<()>,
}

impl Cutter {
    /// With `reused` the first connection answers one request before the one that is cut.
    async fn start(at: At, end: End, reused: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/predictions", listener.local_addr().unwrap());
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let ledger = Arc::clone(&arrived);
        let mut accepting = JoinSet::new();
        accepting.spawn_in_scope(async move {
            let (mut first, _) = listener.accept().await.unwrap();
            ledger.lock().unwrap().push(Vec::new());
            if reused {
                request(&mut first, usize::MAX, |_| {}).await;
                answer(&mut first, usize::MAX).await;
            }
            let note = |byte| ledger.lock().unwrap().last_mut().unwrap().push(byte);
            match at {
                At::Request(bytes) => request(&mut first, bytes, note).await,
                At::Answer(bytes) => {
                    request(&mut first, usize::MAX, note).await;
                    answer(&mut first, bytes).await;
                }
            }
            if end == End::Reset {
                first.set_zero_linger().unwrap();
            }
            drop(first);
            while let Ok((mut next, _)) = listener.accept().await {
                ledger.lock().unwrap().push(Vec::new());
                request(&mut next, usize::MAX, note).await;
                answer(&mut next, usize::MAX).await;
            }
        });
        Self { url, arrived, _accepting: accepting }
    }
}

/// Reads up to so many bytes of a request.
async fn request(stream: &mut TcpStream, most: usize, mut note: impl FnMut(u8)) {
    let mut seen = Vec::new();
    while seen.len() < most {
        let Ok(byte) = stream.read_u8().await else { return };
        note(byte);
        seen.push(byte);
        let empty = seen.starts_with(b"GET") && seen.ends_with(b"\r\n\r\n");
        if empty || seen.ends_with(BODY.as_bytes()) {
            return;
        }
    }
}

async fn answer(stream: &mut TcpStream, most: usize) {
    let text = format!("{HEAD}{ANSWER}");
    let text = &text.as_bytes()[..most.min(text.len())];
    stream.write_all(text).await.unwrap();
    stream.flush().await.unwrap();
}

/// Sends a request of which the connection is cut, and returns the outcome and the bytes of it that
/// arrived, by connection.
async fn cut(
    client: &Client,
    at: At,
    end: End,
    reused: bool,
) -> (Result<Response, Error>, Vec<Vec<u8>>) {
    let server = Cutter::start(at, end, reused).await;
    if reused {
        client.get(&server.url).send().await.unwrap();
        // The connection goes back to the pool in a task of its own.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
    let outcome = client.post(&server.url).body(BODY.into()).send().await;
    let arrived = server.arrived.lock().unwrap().clone();
    (outcome, arrived)
}

/// Asserts what holds wherever the cut was.
fn check(at: At, outcome: &Result<Response, Error>, arrived: &[Vec<u8>]) {
    let whole = arrived.iter().filter(|bytes| bytes.ends_with(BODY.as_bytes())).count();
    assert!(whole <= 1, "{at:?} arrived {whole} times");
    match outcome {
        Ok(_) => assert_eq!(whole, 1, "{at:?}"),
        Err(error) if error.was_sent() == Sent::No => {
            assert!(arrived.iter().all(Vec::is_empty), "{at:?} {error:?} {arrived:?}");
        }
        Err(_) => {}
    }
}

/// The length of the request on the wire.
async fn request_length(client: &Client) -> usize {
    let (outcome, arrived) = cut(client, At::Answer(usize::MAX), End::Close, false).await;
    assert_eq!(outcome.unwrap().status(), 201);
    arrived[0].len()
}

#[tokio::test]
async fn a_request_that_is_cut_anywhere_is_unsent_only_if_nothing_arrived() {
    let client = Client::new(Config::default()).unwrap();
    let length = request_length(&client).await;
    assert!(length > 150, "{length}");
    for reused in [false, true] {
        for end in [End::Close, End::Reset] {
            for bytes in 0..=length {
                let at = At::Request(bytes);
                let (outcome, arrived) = cut(&client, at, end, reused).await;
                check(at, &outcome, &arrived);
                if bytes > 0 {
                    assert_eq!(arrived[0].len(), bytes, "reused {reused} {end:?} {outcome:?}");
                    let error = outcome.unwrap_err();
                    assert_eq!(error.was_sent(), Sent::Maybe, "{bytes} {end:?} {error:?}");
                    assert!(error.phase() >= Some(Phase::Write), "{bytes} {error:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_anywhere_is_never_an_unsent_request() {
    let client = Client::new(Config::default()).unwrap();
    for reused in [false, true] {
        for end in [End::Close, End::Reset] {
            for bytes in 0..=HEAD.len() + ANSWER.len() {
                let at = At::Answer(bytes);
                let (outcome, arrived) = cut(&client, at, end, reused).await;
                check(at, &outcome, &arrived);
                assert_eq!(arrived.len(), 1, "it is not sent again");
                // A reset may take along what was sent before it.
                let sent = outcome.as_ref().map_err(Error::was_sent).map(drop);
                match (end, bytes) {
                    (End::Close, bytes) if bytes < HEAD.len() => {
                        assert_eq!(sent, Err(Sent::Maybe), "{bytes}");
                    }
                    (End::Close, bytes) if bytes < HEAD.len() + ANSWER.len() => {
                        assert_eq!(sent, Err(Sent::Yes), "{bytes}");
                    }
                    (End::Close, _) => assert_eq!(sent, Ok(())),
                    (End::Reset, _) => assert_ne!(sent, Err(Sent::No), "{bytes}"),
                }
            }
        }
    }
}

/// A TLS server that counts the bytes of requests it could read, on as many connections as come.
fn tls_server() -> (SocketAddr, Arc<AtomicUsize>) {
    let config = Arc::new(tls::server_config("server.pem"));
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let read = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&read);
    st_log::spawn_thread(move || {
        while let Ok((stream, _)) = listener.accept() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            let (mut seen, mut bytes) = (Vec::new(), [0; 1024]);
            while let Ok(length @ 1..) = stream.read(&mut bytes) {
                count.fetch_add(length, Ordering::SeqCst);
                seen.extend_from_slice(&bytes[..length]);
                if seen.ends_with(BODY.as_bytes()) {
                    // The connection may be cut already.
                    drop(stream.write_all(format!("{HEAD}{ANSWER}").as_bytes()));
                    drop(stream.flush());
                    seen.clear();
                }
            }
        }
    });
    (address, read)
}

/// Passes one connection on to `to` until so many bytes went there. Returns how many did.
async fn pass(listener: &TcpListener, to: SocketAddr, most: usize) -> usize {
    let (mut near, _) = listener.accept().await.unwrap();
    let mut far = TcpStream::connect(to).await.unwrap();
    let (mut passed, mut there, mut back) = (0, [0; 4096], [0; 4096]);
    while passed < most {
        tokio::select! {
            read = near.read(&mut there[..(most - passed).min(4096)]) => match read {
                Ok(length @ 1..) => {
                    passed += length;
                    far.write_all(&there[..length]).await.unwrap();
                }
                _ => return passed,
            },
            read = far.read(&mut back) => match read {
                Ok(length @ 1..) if near.write_all(&back[..length]).await.is_ok() => {}
                _ => return passed,
            },
        }
    }
    // What was passed on is read before the end is seen.
    drop(far.shutdown().await);
    drop(near);
    while let Ok(1..) = far.read(&mut back).await {}
    passed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_inside_tls_that_is_cut_anywhere_is_unsent_only_if_nothing_was_read() {
    let (server, read) = tls_server();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/v1/predictions", listener.local_addr().unwrap());
    let config = Config {
        ca_bundle: Some(tls::file("ca.pem")),
        pool_max_idle_per_host: 0,
        ..Config::default()
    };
    let client = Client::new(config).unwrap();
    let post = || client.post(&url).body(BODY.into()).send();
    let (outcome, length) = tokio::join!(post(), pass(&listener, server, usize::MAX));
    assert_eq!(outcome.unwrap().status(), 201);
    let mut unsent = 0;
    for bytes in 0..length {
        read.store(0, Ordering::SeqCst);
        let (outcome, _) = tokio::join!(post(), pass(&listener, server, bytes));
        match outcome.map_err(|error| error.was_sent()) {
            Err(Sent::No) => {
                unsent += 1;
                assert_eq!(read.load(Ordering::SeqCst), 0, "cut after {bytes}");
            }
            Err(Sent::Maybe) => {}
            other => assert!(bytes + 64 > length, "cut after {bytes}: {other:?}"),
        }
    }
    assert!(unsent > 200 && unsent < length, "in the handshake and not after it: {unsent}");
}
