//! The client under tower's own combinators, with the layers of this crate.

use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt as _, Full};
use st_http::tower::{
    BreakerLayer, Deadline, DeadlineLayer, HeaderLayer, Idempotent, RetryLayer, SecretPath,
};
use st_http::{Breakers, Bytes, Client, Config, Error, Kind, Retries, RetryConfig, Sent};
use tower::{Service, ServiceBuilder, ServiceExt as _};

use crate::server::{Reply, Server, ok};

type Body = Full<Bytes>;

const X_OTHER: http::HeaderName = http::HeaderName::from_static("x-other");

/// Answers as the client does, and is never ready a second time.
#[derive(Clone)]
struct ReadyOnce {
    client: Client,
    readied: bool,
}

impl Service<Request<Body>> for ReadyOnce {
    type Response = http::Response<st_http::tower::ResponseBody>;
    type Error = Error;
    type Future = <Client as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if std::mem::replace(&mut self.readied, true) {
            return Poll::Ready(Err(Client::builder().body_limit(0).build().unwrap_err()));
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.client.call(request)
    }
}

#[tokio::test]
async fn a_service_that_is_not_ready_again_does_not_make_a_request_unsent() {
    let server =
        Server::start(|_| Reply::Keep("HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n".to_owned()))
            .await;
    let once = ReadyOnce { client: client(), readied: false };
    let service = ServiceBuilder::new().layer(RetryLayer::new(retries())).service(once);

    let error = service.oneshot(post(&server.url("/"))).await.unwrap_err();

    assert_eq!((error.kind(), error.was_sent()), (Kind::Config, Sent::Maybe));
}

#[tokio::test]
async fn a_secret_path_is_in_no_error() {
    let server = Server::start(|_| Reply::Close(String::new())).await;
    let mut request = post(&server.url("/hunter2"));
    request.extensions_mut().insert(SecretPath);

    let error = client().oneshot(request).await.unwrap_err();

    assert_eq!(error.url(), Some(server.url("").as_str()));
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

fn client() -> Client {
    Client::new(Config::default()).unwrap()
}

fn post(url: &str) -> Request<Body> {
    Request::post(url).header("content-length", "999").body(Full::from("one job")).unwrap()
}

fn retries() -> Retries {
    Retries::with_seed(RetryConfig { base: Duration::from_micros(1), ..RetryConfig::default() }, 7)
}

#[tokio::test]
async fn a_request_goes_through_all_layers_and_its_answer_comes_back() {
    let server = Server::start(|_| ok("0123456789")).await;
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(Duration::from_secs(20)))
        .layer(RetryLayer::new(retries()))
        .layer(BreakerLayer::new(Breakers::default()))
        .layer(HeaderLayer::secret("x-api-key", "hunter2").unwrap())
        .layer(HeaderLayer::new(X_OTHER, http::HeaderValue::from_static("hunter2")))
        .service(client());

    let response = service.clone().oneshot(post(&server.url("/a?b=c"))).await.unwrap();

    assert_eq!(response.status().as_u16(), 200);
    assert_eq!(response.headers()["content-length"], "10");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "0123456789");
    let seen = &server.seen()[0];
    assert!(seen.head.starts_with("POST /a?b=c HTTP/1.1\r\n"), "{}", seen.head);
    assert_eq!((seen.body.as_str(), seen.header("content-length")), ("one job", vec!["7"]));
    assert_eq!(seen.header("x-api-key"), ["hunter2"]);
    assert_eq!(seen.header("x-correlation-id").len(), 1);
    let shown = format!("{service:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn the_retry_layer_repeats_what_is_safe_alone() {
    let server =
        Server::start(|_| Reply::Keep("HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n".to_owned()))
            .await;
    let service = ServiceBuilder::new().layer(RetryLayer::new(retries())).service(client());
    let mut harmless = post(&server.url("/"));
    harmless.extensions_mut().insert(Idempotent);

    assert_eq!(service.clone().oneshot(post(&server.url("/"))).await.unwrap().status(), 503);
    assert_eq!(server.seen().len(), 1);
    assert_eq!(service.clone().oneshot(harmless).await.unwrap().status(), 503);
    assert_eq!(server.seen().len(), 4);
    assert!(server.seen().iter().all(|seen| seen.body == "one job"));
}

#[tokio::test]
async fn the_breaker_layer_opens_by_host() {
    let server = Server::start(|_| Reply::Close(String::new())).await;
    let layer = BreakerLayer::new(Breakers::default());
    let service = ServiceBuilder::new().layer(layer).service(client());
    for _ in 0..5 {
        service.clone().oneshot(post(&server.url("/"))).await.unwrap_err();
    }

    let error = service.oneshot(post(&server.url("/x"))).await.unwrap_err();

    assert_eq!((error.kind(), error.was_sent()), (Kind::BreakerOpen, Sent::No));
    assert_eq!(error.url(), Some(server.url("").as_str()));
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn a_deadline_ends_a_body_and_one_of_the_request_itself_stays() {
    let stalled = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"id\"";
    let server = Server::start(|_| Reply::Keep(stalled.to_owned())).await;
    let layer = DeadlineLayer::new(Duration::from_secs(20));
    let service = ServiceBuilder::new().layer(layer).service(client());
    for (own, seconds) in [(None, "20s"), (Some(Deadline(Duration::from_secs(3))), "3s")] {
        let mut request = post(&server.url("/"));
        own.map(|own| request.extensions_mut().insert(own));
        let response = service.clone().oneshot(request).await.unwrap();
        tokio::time::pause();
        let error = response.into_body().collect().await.unwrap_err();
        tokio::time::resume();
        assert_eq!((error.kind(), error.was_sent()), (Kind::Timeout, Sent::Yes));
        assert!(error.to_string().ends_with(&format!("not complete within {seconds}")), "{error}");
    }
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused() {
    for url in ["http://me:hunter2@a.example/", "ftp://a.example/", "/path"] {
        let error = client().oneshot(post(url)).await.unwrap_err();
        assert_eq!((error.kind(), error.was_sent()), (Kind::Request, Sent::No), "{url}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}
