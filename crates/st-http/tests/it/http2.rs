//! HTTP/2, where the server chooses it: one connection for many requests, and what is said of those that the
//! server turns away, resets or forgets.

#![expect(clippy::indexing_slicing, reason = "the helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream;
use http_body_util::StreamBody;
use st_http::{Client, Config, Error, HttpVersions, Kind, Phase, Proxies, Sent};
use st_log::{CorrelationId, InScope as _, SpawnInScope as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::server::{Reply as PlainReply, Server as PlainServer};
use crate::{proxy, tls};

mod cut;
mod hostile;
mod server;

use server::{
    DATA, END_HEADERS, END_STREAM, Frame, HEADERS, INTERNAL_ERROR, NO_ERROR, PING, REFUSED_STREAM,
    RST_STREAM, Reply, Server, answer, frame, go_away, head, ok, reset, setting,
};

const MAX_CONCURRENT_STREAMS: u16 = 3;

fn config() -> Config {
    Config { ca_bundle: Some(tls::file("ca.pem")), ..Config::default() }
}

fn client() -> Client {
    Client::new(config()).unwrap()
}

async fn post(client: &Client, server: &Server) -> Result<u16, Error> {
    let response = client.post(&server.url("/v1/predictions")).json(&["one job"]).send().await;
    response.map(|response| response.status().as_u16())
}

/// A client with one connection to the server, over which one request was answered.
async fn connected(server: &Server) -> Client {
    let client = client();
    client.get(&server.url("/")).send().await.unwrap();
    client
}

/// A server that decodes the headers, and speaks as many versions as the client offers. It answers one
/// connection.
async fn decoding() -> (SocketAddr, mpsc::UnboundedReceiver<http::request::Parts>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut config = tls::server_config("server.pem");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let (seen, requests) = mpsc::unbounded_channel();
    drop(st_log::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            seen.send(request.into_parts().0).unwrap();
            let mut body = respond.send_response(http::Response::new(()), false).unwrap();
            body.send_data("{}".into(), true).unwrap();
        }
    }));
    (address, requests)
}

#[tokio::test]
async fn a_server_that_offers_it_is_spoken_to_in_http2() {
    let (address, mut requests) = decoding().await;
    let client = client();
    let url = format!("https://{address}/v1/jobs?a=b");

    for id in ["abc123def456", "fed654cba321"] {
        let request = client.post(&url).bearer("hunter2").header("Connection", "close").json(&1);
        let id = CorrelationId::parse(id).unwrap();
        let response = request.send().with_correlation_id(id.clone()).await.unwrap();
        assert_eq!((response.status().as_u16(), response.text().unwrap()), (200, "{}"));

        let seen = requests.recv().await.unwrap();
        assert_eq!((seen.version, seen.method), (http::Version::HTTP_2, http::Method::POST));
        assert_eq!(seen.uri.to_string(), url);
        let headers = seen.headers;
        assert_eq!(headers["x-correlation-id"], id.as_str());
        assert_eq!(headers["content-length"], "1");
        assert_eq!(headers["authorization"], "Bearer hunter2");
        assert!(
            !headers.contains_key("host") && !headers.contains_key("connection"),
            "{headers:?}"
        );
    }
}

/// A secret that is kept in the table of the connection could be guessed by a caller who chooses other headers on it
/// (RFC 7541, 7.1).
#[tokio::test]
async fn secrets_are_in_no_table() {
    const NEVER_INDEXED: u8 = 0x10;
    const LITERAL_NAME: u8 = NEVER_INDEXED;
    // "authorization" is the 23rd name of the standard's table, in a prefix of four bits.
    const AUTHORIZATION: [u8; 2] = [NEVER_INDEXED | 0x0f, 23 - 0x0f];
    let server = Server::start(answer).await;
    let client = client();

    for _ in 0..2 {
        let request = client.get(&server.url("/")).bearer("hunter2");
        request.secret_header("X-API-Key", "hunter2").send().await.unwrap();
    }

    for block in server.seen().into_iter().map(|frame| frame.payload) {
        assert!(block.windows(2).any(|bytes| bytes == AUTHORIZATION), "{block:x?}");
        // The name of the other, in Huffman code.
        assert!(block.windows(2).any(|bytes| bytes == [LITERAL_NAME, 0x87]), "{block:x?}");
    }
}

#[tokio::test]
async fn a_tunnel_leads_to_http2_as_well() {
    let (address, mut requests) = decoding().await;
    let (proxy, _tunnels) = proxy::tunnels(address).await;
    let proxies = Proxies::from_values(Some(&proxy), None, None).unwrap();
    let config = Config { proxies, tls_verify: false, ..Config::default() };

    let client = Client::new(config).unwrap();
    let response = client.get("https://other.example/").send().await.unwrap();

    assert_eq!(response.status(), 200);
    let seen = requests.recv().await.unwrap();
    assert_eq!(seen.version, http::Version::HTTP_2);
    assert_eq!(seen.uri.to_string(), "https://other.example/");
}

#[tokio::test]
async fn a_server_that_does_not_choose_it_is_spoken_to_in_http1() {
    for versions in [HttpVersions::Http1, HttpVersions::Http1And2] {
        let client = Client::new(Config { http_versions: versions, ..config() }).unwrap();
        let address = tls::answer_one("server.pem");

        let response = client.get(&format!("https://{address}/")).send().await.unwrap();

        assert_eq!(response.status(), 200);
    }
}

#[tokio::test]
async fn it_is_not_offered_where_it_is_turned_off() {
    let server = Server::start(answer).await;
    let client = Client::new(Config { http_versions: HttpVersions::Http1, ..config() }).unwrap();

    let error = post(&client, &server).await.unwrap_err();

    // The server insists on HTTP/2, and this is no HTTP/1.1.
    assert_eq!(error.was_sent(), Sent::Maybe, "{error:?}");
    assert_eq!(server.seen(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_requests_go_over_one_connection() {
    let server = Server::start(answer).await;
    let client = connected(&server).await;

    let outcomes = join_all((0..100).map(|_| post(&client, &server))).await;

    assert!(outcomes.iter().all(|outcome| *outcome.as_ref().unwrap() == 200));
    assert_eq!(server.connections(), 1);
    let requests = server.seen().iter().filter(|frame| frame.kind == HEADERS).count();
    assert_eq!(requests, 101);
}

#[tokio::test]
async fn no_more_requests_are_open_than_the_server_wants() {
    let waiting = Mutex::new(Vec::new());
    let most = Arc::new(AtomicUsize::new(0));
    let seen_most = Arc::clone(&most);
    // Requests are answered by twos, so that as many as may be are open.
    let server = Server::with_settings(&setting(MAX_CONCURRENT_STREAMS, 2), move |seen| {
        let mut waiting = waiting.lock().unwrap();
        if !seen.ends_request() {
            return Vec::new();
        }
        waiting.push(seen.stream);
        most.fetch_max(waiting.len(), Ordering::SeqCst);
        let answered = if waiting.len() < 2 && seen.stream > 1 { 0 } else { waiting.len() };
        waiting.drain(..answered).map(|stream| Reply::Write(ok(stream, "{}"))).collect()
    })
    .await;
    let client = connected(&server).await;

    let outcomes = join_all((0..10).map(|_| post(&client, &server))).await;

    assert!(outcomes.iter().all(|outcome| *outcome.as_ref().unwrap() == 200));
    assert_eq!((seen_most.load(Ordering::SeqCst), server.connections()), (2, 1));
}

#[tokio::test]
async fn a_refused_stream_was_not_processed() {
    let server = Server::start(|seen| match (seen.stream, seen.ends_request()) {
        (3, true) => vec![Reply::Write(reset(3, REFUSED_STREAM))],
        _ => answer(seen),
    })
    .await;
    let client = connected(&server).await;

    let error = post(&client, &server).await.unwrap_err();

    assert_eq!((error.was_sent(), error.kind()), (Sent::No, Kind::Transport), "{error:?}");
    let url = server.url("/v1/predictions");
    assert_eq!(error.to_string(), format!("{url} turned the request away unprocessed"));
    // Not repeated here, and the connection is still good.
    assert_eq!(post(&client, &server).await.unwrap(), 200);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_refusal_on_another_connection_proves_nothing_of_a_request_whose_body_it_ended() {
    let refusing = Server::start(|seen| match (seen.stream, seen.ends_request()) {
        (3, true) => vec![Reply::Write(reset(3, REFUSED_STREAM))],
        _ => answer(seen),
    })
    .await;
    let refused = post(&connected(&refusing).await, &refusing).await.unwrap_err();
    assert_eq!(refused.was_sent(), Sent::No);
    let upload = PlainServer::start(|_| PlainReply::Close(String::new())).await;
    let part = Ok(hyper::body::Frame::data(Bytes::from_static(b"part")));
    let body = StreamBody::new(stream::iter([part, Err(refused)]));

    let request = client().post(&upload.url("/")).streaming_body(body);
    let error = request.send().await.unwrap_err();

    assert_eq!((error.kind(), error.was_sent()), (Kind::Request, Sent::Maybe), "{error:?}");
}

#[tokio::test]
async fn a_stream_that_is_reset_for_another_reason_may_have_been_processed() {
    for code in [NO_ERROR, INTERNAL_ERROR] {
        let server = Server::start(move |seen| match (seen.stream, seen.ends_request()) {
            (3, true) => vec![Reply::Write(reset(3, code))],
            _ => answer(seen),
        })
        .await;
        let client = connected(&server).await;

        let error = post(&client, &server).await.unwrap_err();

        assert_eq!((error.was_sent(), error.phase()), (Sent::Maybe, Some(Phase::Head)));
        assert_eq!(post(&client, &server).await.unwrap(), 200);
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test]
async fn a_stream_that_is_reset_in_its_body_was_answered() {
    for code in [NO_ERROR, REFUSED_STREAM, INTERNAL_ERROR] {
        let server = Server::start(move |seen| {
            if !seen.ends_request() {
                return Vec::new();
            }
            let part = frame(DATA, 0, seen.stream, b"{");
            vec![Reply::Write([head(seen.stream), part, reset(seen.stream, code)].concat())]
        })
        .await;

        let error = post(&client(), &server).await.unwrap_err();

        assert_eq!((error.was_sent(), error.phase()), (Sent::Yes, Some(Phase::Body)), "{code}");
        assert_eq!(error.kind(), Kind::Transport);
    }
}

#[tokio::test]
async fn a_head_alone_may_name_a_body_of_any_length() {
    // ":status: 200", and "content-length", the 28th name of the standard's table.
    let block = [&[0x88, 0x0f, 28 - 0x0f, 10], b"9999999999".as_slice()].concat();
    let server = Server::start(move |seen| {
        vec![Reply::Write(frame(HEADERS, END_STREAM | END_HEADERS, seen.stream, &block))]
    })
    .await;

    let response = client().head(&server.url("/")).send().await.unwrap();

    assert_eq!(response.headers()["content-length"], "9999999999");
    assert!(response.body().is_empty());
}

/// Of three requests the server has the first two when it says that it processes the first alone.
#[tokio::test]
async fn a_request_above_the_last_one_of_a_goaway_was_not_processed() {
    for code in [NO_ERROR, INTERNAL_ERROR] {
        let server = Server::start(move |seen| match (seen.connection, seen.stream) {
            (1, 3) => Vec::new(),
            (1, 5) if seen.ends_request() => {
                vec![Reply::Write(go_away(3, code)), Reply::Write(ok(3, "{}"))]
            }
            _ => answer(seen),
        })
        .await;
        let client = connected(&server).await;

        let first = post(&client, &server);
        let second = async {
            server.until(|seen| seen.iter().any(|frame| frame.stream == 3)).await;
            post(&client, &server).await
        };
        let (first, second) = tokio::join!(first, second);

        assert_eq!(first.unwrap(), 200, "it is processed to its end");
        let error = second.unwrap_err();
        assert_eq!((error.was_sent(), error.kind()), (Sent::No, Kind::Transport), "{error:?}");
        assert_eq!(post(&client, &server).await.unwrap(), 200);
        assert_eq!(server.connections(), 2);
    }
}

#[tokio::test]
async fn a_request_that_a_goaway_includes_may_have_been_processed() {
    let server = Server::start(|seen| match (seen.stream, seen.ends_request()) {
        (3, true) => vec![Reply::Write(go_away(3, INTERNAL_ERROR)), Reply::Close],
        _ => answer(seen),
    })
    .await;
    let client = connected(&server).await;

    let error = post(&client, &server).await.unwrap_err();

    assert_eq!(error.was_sent(), Sent::Maybe, "{error:?}");
}

/// A server that restarts again and again, so to say: on each connection it processes some requests, then it
/// says which was the last one, and leaves out all that come after it.
#[derive(Default)]
struct Restarting {
    connections: BTreeMap<usize, Life>,
    /// The bodies of the requests that were processed.
    processed: Vec<Vec<u8>>,
}

#[derive(Default)]
struct Life {
    processed: usize,
    highest: u32,
    last: Option<u32>,
}

impl Restarting {
    fn react(&mut self, seen: &Frame) -> Vec<Reply> {
        let life = self.connections.entry(seen.connection).or_default();
        life.highest = life.highest.max(seen.stream);
        if !seen.ends_request() || life.last.is_some_and(|last| seen.stream > last) {
            return Vec::new();
        }
        life.processed += 1;
        self.processed.push(seen.payload.clone());
        let mut replies = vec![Reply::Write(ok(seen.stream, "{}"))];
        if life.processed == 13 {
            life.last = Some(life.highest);
            replies.insert(0, Reply::Write(go_away(life.highest, NO_ERROR)));
        }
        replies
    }
}

/// What hyper says of a request that it has not begun to follow is the same as for one that was turned away.
/// Only of the latter it may be said that nothing was done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_goaway_at_any_moment_never_makes_a_processed_request_unsent() {
    let world = Arc::new(Mutex::new(Restarting::default()));
    let acting = Arc::clone(&world);
    let server = Server::start(move |seen| acting.lock().unwrap().react(seen)).await;
    let client = connected(&server).await;
    let mut answered = 0;
    for round in 0..40 {
        let send = |number: usize| {
            let (client, url) = (client.clone(), server.url("/"));
            let body = format!("job {round} {number}");
            async move { (body.clone(), client.post(&url).body(body.into()).send().await) }
        };
        let mut sending = JoinSet::new();
        for number in 0..8 {
            sending.spawn_in_scope(send(number));
        }
        while let Some(sent) = sending.join_next().await {
            let (body, outcome) = sent.unwrap();
            let world = world.lock().unwrap();
            let times = world.processed.iter().filter(|it| *it == body.as_bytes()).count();
            match outcome.map_err(|error| error.was_sent()) {
                Ok(_) => {
                    answered += 1;
                    assert_eq!(times, 1, "{body}");
                }
                Err(Sent::No) => assert_eq!(times, 0, "{body}"),
                Err(Sent::Maybe) => assert!(times <= 1, "{body}"),
                Err(Sent::Yes) => panic!("{body}"),
            }
        }
    }
    assert!(answered > 100, "{answered}");
}

/// Nothing comes back after the first request, neither an answer nor to a ping.
#[tokio::test]
async fn a_dead_peer_is_given_up_and_what_was_on_its_way_may_have_been_processed() {
    let dead = Arc::new(AtomicBool::new(false));
    let is_dead = Arc::clone(&dead);
    let server = Server::start(move |seen| match seen.kind {
        _ if seen.connection > 1 || !is_dead.load(Ordering::SeqCst) => answer(seen),
        PING => vec![Reply::Write(Vec::new())],
        _ => Vec::new(),
    })
    .await;
    let config = Config {
        http2_ping_interval: Duration::from_millis(100),
        http2_ping_timeout: Duration::from_millis(100),
        ..config()
    };
    let client = Client::new(config).unwrap();
    client.get(&server.url("/")).send().await.unwrap();
    dead.store(true, Ordering::SeqCst);

    let outcomes = join_all((0..5).map(|_| post(&client, &server))).await;

    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert_eq!((error.was_sent(), error.kind()), (Sent::Maybe, Kind::Transport), "{error:?}");
    }
    assert_eq!(post(&client, &server).await.unwrap(), 200);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn an_idle_connection_to_a_dead_peer_is_not_used_again() {
    let server = Server::start(|seen| match (seen.connection, seen.kind) {
        (1, PING) => vec![Reply::Write(Vec::new())],
        _ => answer(seen),
    })
    .await;
    let config = Config {
        http2_ping_interval: Duration::from_millis(20),
        http2_ping_timeout: Duration::from_millis(20),
        ..config()
    };
    let client = Client::new(config).unwrap();
    client.get(&server.url("/")).send().await.unwrap();

    // The end of the connection is the client's doing.
    server.closed(1).await;

    assert_eq!(post(&client, &server).await.unwrap(), 200);
    assert_eq!(server.connections(), 2);
}

/// A caller that gives up resets its stream and nothing else.
#[tokio::test]
async fn a_request_that_is_given_up_leaves_the_others_alone() {
    let server =
        Server::start(|seen| if seen.stream == 3 { Vec::new() } else { answer(seen) }).await;
    let client = connected(&server).await;

    let request = client.get(&server.url("/")).timeout(Duration::from_millis(50)).send();
    let error = request.await.unwrap_err();

    assert_eq!((error.was_sent(), error.kind()), (Sent::Maybe, Kind::Timeout));
    assert_eq!(error.phase(), Some(Phase::Head));
    assert_eq!(post(&client, &server).await.unwrap(), 200);
    server.until(|seen| seen.iter().any(|it| (it.kind, it.stream) == (RST_STREAM, 3))).await;
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn the_limits_of_a_body_hold() {
    let server = Server::start(|seen| match seen.stream {
        _ if !seen.ends_request() => Vec::new(),
        3 => vec![Reply::Write([head(3), frame(DATA, END_STREAM, 3, &[b'x'; 101])].concat())],
        5 => vec![Reply::Write([head(5), frame(DATA, 0, 5, b"x")].concat())],
        _ => answer(seen),
    })
    .await;
    let client = Client::new(Config {
        body_limit: 100,
        body_idle_timeout: Duration::from_millis(50),
        ..config()
    });
    let client = client.unwrap();
    client.get(&server.url("/")).send().await.unwrap();

    let error = post(&client, &server).await.unwrap_err();
    assert!(error.is_body_too_large(), "{error:?}");
    let error = post(&client, &server).await.unwrap_err();
    assert_eq!((error.kind(), error.phase()), (Kind::Timeout, Some(Phase::Body)));

    assert_eq!(post(&client, &server).await.unwrap(), 200);
    assert_eq!(server.connections(), 1);
}
