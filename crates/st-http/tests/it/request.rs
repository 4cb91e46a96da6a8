//! What goes out: methods, query, forms, credentials, default headers, bodies that are produced while
//! they are sent; and compressed answers.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use st_http::{Client, Config, Error, Kind, Sent, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::server::{Reply, Server, ok};

fn client() -> Client {
    Client::new(Config::default()).unwrap()
}

#[tokio::test]
async fn every_method_has_a_constructor() {
    let server = Server::start(|_| Reply::Keep("HTTP/1.1 204 No\r\n\r\n".to_owned())).await;
    let (client, url) = (client(), server.url("/"));

    for request in [
        client.get(&url),
        client.head(&url),
        client.post(&url),
        client.put(&url),
        client.patch(&url),
        client.delete(&url),
    ] {
        request.send().await.unwrap();
    }

    let methods: Vec<_> =
        server.seen().iter().map(|seen| seen.head.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(methods, ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]);
}

#[tokio::test]
async fn a_query_is_added_and_encoded() {
    let server = Server::start(|_| ok("{}")).await;
    let pairs = [("a b", "c&d"), ("e", "\u{fc}")];

    client().get(&server.url("/x")).query(&pairs).send().await.unwrap();
    client().get(&server.url("/x?y=z")).query(&pairs).query(&[("n", 1)]).send().await.unwrap();
    client().get(&server.url("/x?")).query(&[("n", 1)]).send().await.unwrap();
    client().get(&server.url("/x")).query(&[("n", 1); 0]).send().await.unwrap();

    let targets: Vec<_> =
        server.seen().iter().map(|seen| seen.head.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(targets, ["/x?a+b=c%26d&e=%C3%BC", "/x?y=z&a+b=c%26d&e=%C3%BC&n=1", "/x?n=1", "/x"]);
}

#[tokio::test]
async fn forms_and_basic_credentials_go_out() {
    let server = Server::start(|_| ok("{}")).await;

    let request = client().post(&server.url("/")).form(&[("a b", "c&d")]);
    request.basic_auth("me", "hunter2:x").send().await.unwrap();

    let seen = &server.seen()[0];
    assert_eq!(seen.body, "a+b=c%26d");
    assert_eq!(seen.header("content-type"), ["application/x-www-form-urlencoded"]);
    assert_eq!(seen.header("authorization"), ["Basic bWU6aHVudGVyMjp4"]);
}

#[tokio::test]
async fn what_cannot_be_written_is_refused() {
    use std::error::Error as _;

    let url = "http://localhost/";
    for (request, why) in [
        (client().get(url).query(&[1]), "the query cannot be written"),
        (client().post(url).form(&1), "the form cannot be written"),
        (client().get(url).basic_auth("a:b", "c"), "the user name has a colon"),
    ] {
        let error = request.send().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.was_sent(), error.phase()),
            (Kind::Request, Sent::No, None)
        );
        assert!(error.source().unwrap().to_string().starts_with(why), "{error:?}");
    }
}

#[tokio::test]
async fn default_headers_are_on_every_request_that_does_not_set_them() {
    let server = Server::start(|_| ok("{}")).await;
    let client = Client::builder()
        .default_header("X-API-Key", "hunter2")
        .default_header("X-Team", "default")
        .user_agent("mine/1")
        .build()
        .unwrap();

    let request = client.get(&server.url("/")).header("X-Team", "own");
    request.secret_header("X-Token", "hunter2").send().await.unwrap();

    let seen = &server.seen()[0];
    assert_eq!(seen.header("x-api-key"), ["hunter2"]);
    assert_eq!(seen.header("x-team"), ["own"]);
    assert_eq!(seen.header("x-token"), ["hunter2"]);
    assert_eq!(seen.header("user-agent"), ["mine/1"]);
    let request = client.get("http://localhost/").secret_header("X-Token", "hunter2");
    let shown = format!("{client:?} {request:?}");
    assert!(shown.contains("x-api-key") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn default_headers_that_cannot_be_sent_are_named() {
    let of = |name: &str, value: &str| {
        Client::builder().default_header(name, value).build().unwrap_err().to_string()
    };
    assert_eq!(of("a b", "c"), "a default header has a name that is not allowed");
    assert_eq!(of("a", "c\n"), "the value of the default header a is not allowed");
    assert_eq!(of("Content-Length", "1"), "the header content-length is set by the client alone");
}

#[tokio::test]
async fn a_status_of_400_and_above_can_be_made_an_error() {
    let server = Server::start(|request| {
        let status = request.head.split(['/', ' ']).nth(2).unwrap().to_owned();
        Reply::Keep(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"))
    })
    .await;
    for (status, fault) in [(200, false), (304, false), (404, true), (503, true)] {
        let response = client().get(&server.url(&format!("/{status}"))).send().await.unwrap();
        let outcome = response.error_for_status();
        match outcome {
            Ok(response) => assert!(!fault && response.status() == status),
            Err(error) => {
                assert!(fault);
                assert_eq!((error.kind(), error.was_sent()), (Kind::Status, Sent::Yes));
                assert_eq!(error.status(), Some(StatusCode::from_u16(status).unwrap()));
            }
        }
    }
}

#[tokio::test]
async fn text_must_be_utf_8() {
    let server = Server::start(|_| ok("h\u{e4}")).await;
    let response = client().get(&server.url("/")).send().await.unwrap();
    assert_eq!(response.text().unwrap(), "h\u{e4}");

    let url = binary(vec![0xff, 0xfe], "").await;
    let error = client().get(&url).send().await.unwrap().text().unwrap_err();
    assert!(error.is_decode(), "{error:?}");
}

/// Pieces, of which one may be a failure.
fn pieces(
    pieces: Vec<Result<&'static str, &'static str>>,
) -> impl hyper::body::Body<Data = Bytes, Error = std::io::Error> {
    let frames = pieces.into_iter().map(|piece| {
        piece.map(|text| Frame::data(Bytes::from(text))).map_err(std::io::Error::other)
    });
    StreamBody::new(stream::iter(frames))
}

#[tokio::test]
async fn a_body_goes_out_while_it_is_produced() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let body = pieces(vec![Ok("one"), Ok("two")]);
    let sending = client().post(&url).streaming_body(body).send();
    let receiving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"0\r\n\r\n") {
            seen.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        String::from_utf8(seen).unwrap()
    };

    let (response, seen) = tokio::join!(sending, receiving);

    assert_eq!(response.unwrap().status(), 200);
    assert!(seen.to_ascii_lowercase().contains("transfer-encoding: chunked\r\n"), "{seen}");
    assert!(seen.ends_with("\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"), "{seen}");
}

#[tokio::test]
async fn a_body_that_fails_is_a_failure_of_the_request_that_may_have_been_seen() {
    let server = Server::start(|_| Reply::Close(String::new())).await;
    let body = pieces(vec![Ok("one"), Err("hunter2 is not readable")]);

    let error = client().post(&server.url("/")).streaming_body(body).send().await.unwrap_err();

    assert_eq!((error.kind(), error.was_sent()), (Kind::Request, Sent::Maybe), "{error:?}");
    assert!(error.to_string().ends_with("was not produced to its end"), "{error}");
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// A server that answers one request with this body and these header lines.
async fn binary(body: Vec<u8>, headers: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    drop(st_log::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") {
            seen.push(stream.read_u8().await.unwrap());
        }
        // A client that was sent too much leaves.
        drop(stream.write_all(&[head.into_bytes(), body].concat()).await);
    }));
    url
}

const GZIP: &str = "Content-Encoding: gzip\r\n";

async fn unpacked(body: Vec<u8>, limit: usize) -> Result<Bytes, Error> {
    let url = binary(body, GZIP).await;
    let response = client().get(&url).gzip().body_limit(limit).send().await?;
    assert!(response.headers().get("content-encoding").is_none());
    assert!(response.headers().get("content-length").is_none());
    Ok(response.body().clone())
}

#[tokio::test]
async fn an_answer_is_unpacked_where_that_was_asked_for() {
    let text: Vec<u8> = (0..200_000_u32).flat_map(u32::to_be_bytes).collect();
    assert_eq!(unpacked(gzip(&text), 1 << 20).await.unwrap(), text);
    let two = [gzip(b"one"), gzip(b"two")].concat();
    assert_eq!(unpacked(two, 6).await.unwrap(), "onetwo", "two members follow each other");
    assert_eq!(unpacked(gzip(b""), 100).await.unwrap(), "");
    assert_eq!(unpacked(Vec::new(), 100).await.unwrap(), "");

    let url = binary(gzip(b"as it is"), GZIP).await;
    let response = client().get(&url).send().await.unwrap();
    assert_eq!(*response.body(), gzip(b"as it is"));
    assert_eq!(response.headers()["content-encoding"], "gzip");
}

#[tokio::test]
async fn a_small_answer_cannot_unpack_to_more_than_the_limit() {
    let bomb = gzip(&vec![0; 64 << 20]);
    assert!(bomb.len() < 100_000);

    let error = unpacked(bomb, 1 << 20).await.unwrap_err();

    assert!(error.is_body_too_large(), "{error:?}");
    assert_eq!(error.was_sent(), Sent::Yes);
    assert!(unpacked(gzip(&[7; 100]), 99).await.unwrap_err().is_body_too_large());
    assert_eq!(unpacked(gzip(&[7; 100]), 100).await.unwrap().len(), 100);
    let endless = gzip(b"").repeat(100);
    assert!(unpacked(endless, 100).await.unwrap_err().is_body_too_large(), "nothing, for ever");
}

#[tokio::test]
async fn an_answer_that_is_cut_or_damaged_is_no_answer() {
    let whole = gzip(b"a text that is long enough to be cut");
    for length in 1..whole.len() {
        let error = unpacked(whole[..length].to_vec(), 1000).await.unwrap_err();
        assert!(error.is_decode(), "{length} {error:?}");
    }
    let mut damaged = whole.clone();
    let checksum = damaged.len() - 6;
    damaged[checksum] ^= 1;
    assert!(unpacked(damaged, 1000).await.unwrap_err().is_decode());
    assert!(unpacked(b"plain text".to_vec(), 1000).await.unwrap_err().is_decode());
}
