//! What comes back: any status, the whole body under the limit, JSON.

use st_http::{Client, Config, Kind, Sent};

use crate::server::{Reply, Server, ok};

fn limited(bytes: usize) -> Client {
    // Short, so that a client that waits for the rest of a body fails soon.
    let overall_timeout = std::time::Duration::from_secs(5);
    Client::new(Config { body_limit: bytes, overall_timeout, ..Config::default() }).unwrap()
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_read() {
    let server = Server::start(|_| ok("0123456789abcdef")).await;

    let response = limited(16).get(&server.url("/")).send().await.unwrap();

    assert_eq!(&response.body()[..], b"0123456789abcdef");
}

#[tokio::test]
async fn a_body_announced_as_too_large_is_not_waited_for() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n";
    let server = Server::start(|_| Reply::Keep(head.to_owned())).await;

    let error = limited(16).get(&server.url("/")).send().await.unwrap_err();

    assert!(error.is_body_too_large(), "{error:?}");
    assert_eq!(error.was_sent(), Sent::Yes);
}

#[tokio::test]
async fn a_request_may_have_a_limit_of_its_own() {
    let server = Server::start(|_| ok("0123456789abcdef")).await;
    let client = limited(15);

    let response = client.get(&server.url("/")).body_limit(16).send().await.unwrap();
    assert_eq!(response.body().len(), 16, "larger than the client's");
    let error = client.get(&server.url("/")).body_limit(3).send().await.unwrap_err();
    assert!(error.to_string().ends_with("is larger than 3 bytes"), "{error}");
    let error = client.get(&server.url("/")).send().await.unwrap_err();
    assert!(error.is_body_too_large(), "other requests keep the client's: {error:?}");
}

#[tokio::test]
async fn a_chunked_body_is_cut_off_at_the_limit() {
    let endless = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                   a\r\n0123456789\r\n7\r\nabcdefg\r\n";
    let server = Server::start(|_| Reply::Keep(endless.to_owned())).await;

    let error = limited(16).get(&server.url("/")).send().await.unwrap_err();

    assert!(error.is_body_too_large(), "{error:?}");
    assert_eq!(error.was_sent(), Sent::Yes);
}

#[tokio::test]
async fn the_body_of_a_head_request_is_empty_whatever_is_announced() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n";
    let server = Server::start(|_| Reply::Keep(head.to_owned())).await;

    let response = limited(16).request(http::Method::HEAD, &server.url("/")).send().await.unwrap();

    assert!(response.body().is_empty());
    assert_eq!(response.headers()["content-length"], "99");
}

#[tokio::test]
async fn a_redirect_is_a_response_and_not_followed() {
    let server = Server::start(|_| {
        Reply::Keep("HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n".to_owned())
    })
    .await;

    let request = limited(16).get(&server.url("/a")).bearer("secret");
    let response = request.send().await.unwrap();

    assert_eq!((response.status().as_u16(), server.seen().len()), (302, 1));
    assert_eq!(response.headers()["location"], "/b");
}

#[tokio::test]
async fn an_error_status_is_a_response_with_its_body() {
    let server = Server::start(|_| {
        Reply::Keep("HTTP/1.1 503 Down\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\n[]".to_owned())
    })
    .await;

    let response = limited(16).get(&server.url("/")).send().await.unwrap();

    assert_eq!((response.status().as_u16(), &response.body()[..]), (503, &b"[]"[..]));
    assert_eq!(response.headers()["retry-after"], "7");
}

#[tokio::test]
async fn json_goes_out_and_comes_back() {
    let server = Server::start(|request| ok(&request.body)).await;

    let request = limited(100).post(&server.url("/echo?a=b")).json(&serde_json::json!({"n": 7}));
    let response = request.send().await.unwrap();

    assert_eq!(response.json::<serde_json::Value>().unwrap(), serde_json::json!({"n": 7}));
    let seen = &server.seen()[0];
    assert!(seen.head.starts_with("POST /echo?a=b HTTP/1.1\r\n"), "{}", seen.head);
    assert_eq!(seen.header("content-type"), ["application/json"]);
    assert_eq!(seen.header("user-agent"), [concat!("st-http/", env!("CARGO_PKG_VERSION"))]);
    assert!(seen.header("accept-encoding").is_empty());
}

#[tokio::test]
async fn a_body_that_is_not_the_expected_json_was_sent_and_is_not_quoted() {
    let long = format!("\"{}\"", "x".repeat(10_000));
    let server = Server::start(move |_| ok(&long)).await;
    let response = limited(20_000).get(&server.url("/")).send().await.unwrap();

    let error = response.json::<u32>().unwrap_err();

    assert!(error.is_decode());
    assert_eq!((error.kind(), error.was_sent()), (Kind::Decode, Sent::Yes));
    let shown = format!("{error:?}");
    assert!(shown.contains("a value has another type") && !shown.contains("xxx"), "{shown}");
    assert!(shown.contains("line: 1, column: 10002"), "{shown}");
}

#[tokio::test]
async fn a_body_can_be_read_as_it_arrives() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                   a\r\n0123456789\r\n6\r\nabcdef\r\n0\r\n\r\n";
    let server = Server::start(|_| Reply::Keep(chunked.to_owned())).await;

    let mut response = limited(16).get(&server.url("/")).open().await.unwrap();

    assert_eq!(response.status().as_u16(), 200);
    assert_eq!(response.headers()["transfer-encoding"], "chunked");
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.unwrap() {
        assert!(!chunk.is_empty());
        body.extend(chunk);
    }
    assert_eq!(body, b"0123456789abcdef");
    assert!(response.chunk().await.unwrap().is_none(), "the end stays the end");
}

#[tokio::test]
async fn a_body_that_is_read_as_it_arrives_has_the_same_limit() {
    let announced = "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n0123";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                   a\r\n0123456789\r\n7\r\nabcdefg\r\n";
    for (reply, before) in [(announced, 0), (chunked, 10)] {
        let server = Server::start(|_| Reply::Keep(reply.to_owned())).await;
        let mut response = limited(16).get(&server.url("/")).open().await.unwrap();
        let mut read = 0;
        let error = loop {
            match response.chunk().await {
                Ok(chunk) => read += chunk.unwrap().len(),
                Err(error) => break error,
            }
        };
        assert!(error.is_body_too_large() && error.was_sent() == Sent::Yes, "{error:?}");
        assert_eq!(read, before, "{reply}");
        assert!(response.chunk().await.unwrap_err().is_body_too_large(), "and so it stays");
    }
}

#[tokio::test]
async fn a_body_that_ends_too_soon_is_no_whole_body() {
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123";
    let server = Server::start(|_| Reply::Close(cut.to_owned())).await;

    let mut response = limited(16).get(&server.url("/")).open().await.unwrap();

    assert_eq!(response.chunk().await.unwrap().unwrap(), "0123");
    let error = response.chunk().await.unwrap_err();
    assert_eq!((error.kind(), error.was_sent()), (Kind::Transport, Sent::Yes));
    let error = response.chunk().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Transport, "a broken body does not become a whole one");
}

#[tokio::test]
async fn a_response_that_was_opened_can_be_judged_and_read_whole() {
    let server = Server::start(|seen| {
        if seen.head.starts_with("GET /good") {
            ok("0123456789")
        } else {
            Reply::Keep("HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n".to_owned())
        }
    })
    .await;
    let open = async |path| limited(16).get(&server.url(path)).open().await.unwrap();

    let whole = open("/good").await.error_for_status().unwrap().collect().await.unwrap();
    assert_eq!((whole.status().as_u16(), whole.text().unwrap()), (200, "0123456789"));
    let error = open("/bad").await.error_for_status().unwrap_err();
    assert_eq!((error.kind(), error.was_sent()), (Kind::Status, Sent::Yes));
}
