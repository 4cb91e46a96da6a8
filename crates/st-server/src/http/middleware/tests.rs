//! Requests over real sockets, through all layers.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::routing::{get, post};
use serde_json::Value;
use st_log::CorrelationId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower_service::Service;

use super::*;
use crate::http::front::{Front, Live};
use crate::http::listen::{self, Capacity};
use crate::http::paths::router;
use crate::http::peer::{Peer, TrustedProxies};
use crate::http::site::Names;

struct Server {
    address: SocketAddr,
    front: Arc<Front>,
    _stop: DropGuard,
}

impl Server {
    async fn start(routes: (Router, Paths), live: Live) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let front = Front::new(live, Capacity { connections: 9, streams: 5 });
        let (service, stop) = (around(routes, (), false), CancellationToken::new());
        let serve =
            listen::serve(listener, service, Arc::clone(&front), stop.clone(), Duration::ZERO);
        drop(st_log::spawn(serve));
        Self { address, front, _stop: stop.drop_guard() }
    }

    async fn usual() -> Self {
        async fn peer(axum::Extension(peer): axum::Extension<Peer>) -> String {
            format!("{} {}", peer.address, peer.is_secure)
        }
        let routes = router([
            ("/fails", get(fails)),
            ("/peer", get(peer)),
            ("/api/things", get(async || "things").post(async || "made")),
            ("/health", get(async || "healthy")),
        ]);
        Self::start(routes, Live::default()).await
    }

    /// Sends a request as it is; the answer, until the server has nothing more to send.
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// Sends a request with these lines, whose `Host` is among them; its head and its body.
    async fn ask(&self, line: &str, headers: &[&str]) -> (String, Value) {
        let headers: String = headers.iter().flat_map(|header| [*header, "\r\n"]).collect();
        let request = format!("{line} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
        let answer = self.raw(&request).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let body = serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()));
        (head.to_ascii_lowercase(), body)
    }

    /// The status of a request with this method to this path.
    async fn status(&self, line: &str, headers: &[&str]) -> u16 {
        let (head, _) = self.ask(line, &[&["Host: localhost"], headers].concat()).await;
        head.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

async fn fails() -> Response {
    st_log::set_correlation_id(CorrelationId::generate());
    panic!("on purpose");
}

#[tokio::test]
async fn a_handler_that_panics_is_answered_under_the_callers_id() {
    let server = Server::usual().await;
    let headers = ["Host: localhost", "X-Correlation-ID: panic-1"];
    let (head, body) = server.ask("GET /fails", &headers).await;
    assert!(head.starts_with("http/1.1 500 "), "{head}");
    assert!(head.contains("x-correlation-id: panic-1"), "{head}");
    assert_eq!(
        (&body["correlation_id"], &body["code"]),
        (&"panic-1".into(), &"internal_error".into())
    );
}

#[tokio::test]
async fn the_host_is_checked_for_every_path_also_for_those_that_do_not_exist() {
    let server = Server::usual().await;
    for line in ["GET /health", "GET /nothing", "OPTIONS /api/things", "BREW /health"] {
        let (head, body) = server.ask(line, &["Host: evil.example"]).await;
        assert!(head.starts_with("http/1.1 421 "), "{line}: {head}");
        assert_eq!(body["code"], "unknown_host");
        assert!(body["detail"].as_str().unwrap().contains("server.hosts (SIMPLETUNER_HOSTS)"));
        let (head, _) = server.ask(line, &[]).await;
        assert!(head.starts_with("http/1.1 400 "), "{line}: {head}");
        let (head, _) = server.ask(line, &["Host: localhost", "Host: localhost"]).await;
        assert!(head.starts_with("http/1.1 400 "), "{line}: {head}");
    }
    assert_eq!(server.status("GET /health", &[]).await, 200);
    let live = Live { names: Names::new(["evil.example".to_owned()]), ..Live::default() };
    server.front.replace(live);
    let (head, _) = server.ask("GET /health", &["Host: evil.example"]).await;
    assert!(head.starts_with("http/1.1 200 "), "{head}");
}

#[tokio::test]
async fn requests_that_a_browser_sends_for_another_site_are_refused_and_nothing_is_opened_to_it() {
    let server = Server::usual().await;
    let evil = ["Origin: https://evil.example", "Sec-Fetch-Site: cross-site", "Content-Length: 0"];
    for line in ["POST /api/things", "POST /nothing", "OPTIONS /api/things"] {
        assert_eq!(server.status(line, &evil).await, 403, "{line}");
    }
    assert_eq!(server.status("POST /api/things", &["Content-Length: 0"]).await, 200);
    assert_eq!(server.status("GET /health", &["Sec-Fetch-Site: cross-site"]).await, 200);
    let (head, _) = server.ask("GET /health", &["Host: localhost"]).await;
    assert!(!head.contains("access-control-"), "{head}");
}

#[tokio::test]
async fn a_method_that_is_not_taken_and_options_are_answered_with_those_that_are() {
    let server = Server::usual().await;
    let (head, body) = server.ask("DELETE /api/things", &["Host: localhost"]).await;
    assert!(head.starts_with("http/1.1 405 ") && head.contains("allow: get,head,post"), "{head}");
    assert_eq!(body["detail"], "/api/things takes GET, HEAD, POST, not DELETE");
    let (head, body) = server.ask("OPTIONS /api/things", &["Host: localhost"]).await;
    assert!(head.starts_with("http/1.1 204 "), "{head}");
    assert!(head.contains("allow: get,head,post,options"), "{head}");
    assert_eq!(body, "");
    assert_eq!(server.status("OPTIONS /api/thing", &[]).await, 404);
}

#[tokio::test]
async fn a_path_that_does_not_exist_is_answered_with_the_nearest() {
    let server = Server::usual().await;
    for (path, detail) in [
        ("/api/thing", "there is no /api/thing, did you mean /api/things?"),
        ("/api/things/", "there is no /api/things/, did you mean /api/things?"),
        ("/", "there is no /"),
    ] {
        let (_, body) = server.ask(&format!("GET {path}"), &["Host: localhost"]).await;
        assert_eq!(body["detail"], detail);
    }
}

#[tokio::test]
async fn handlers_see_the_client_that_a_trusted_proxy_names() {
    let server = Server::usual().await;
    let headers = ["Host: localhost", "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https"];
    assert_eq!(server.ask("GET /peer", &headers).await.1, "127.0.0.1 false");
    let proxies = TrustedProxies::new(vec!["127.0.0.0/8".parse().unwrap()]);
    server.front.replace(Live { proxies, ..Live::default() });
    assert_eq!(server.ask("GET /peer", &headers).await.1, "192.0.2.7 true");
}

#[tokio::test]
async fn when_too_many_requests_are_under_way_the_next_is_refused_and_health_is_answered() {
    let (entered, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (enters, waits) = (Arc::clone(&entered), Arc::clone(&go_on));
    let slow = post(async move || {
        enters.add_permits(1);
        waits.acquire().await.unwrap().forget();
        "done"
    });
    let routes = router([("/slow", slow), ("/health", get(async || "healthy"))]);
    // Four connections are not for streams, so three requests are under way at once.
    let server = Arc::new(Server::start(routes, Live::default()).await);
    let requests: Vec<_> = (0..3)
        .map(|_| {
            let server = Arc::clone(&server);
            let ask = async move { server.status("POST /slow", &["Content-Length: 0"]).await };
            st_log::spawn(ask)
        })
        .collect();
    entered.acquire_many(3).await.unwrap().forget();
    let (head, body) = server.ask("POST /slow", &["Host: localhost", "Content-Length: 0"]).await;
    assert!(head.starts_with("http/1.1 503 ") && head.contains("retry-after: 1"), "{head}");
    assert_eq!(body["code"], "overloaded");
    assert_eq!(server.status("GET /health", &[]).await, 200);
    go_on.add_permits(4);
    for request in requests {
        assert_eq!(request.await.unwrap(), 200);
    }
    assert_eq!(server.status("POST /slow", &["Content-Length: 0"]).await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_answered_in_time_is_ended_and_a_change_may_be_recorded_before() {
    let never = || get(std::future::pending::<&'static str>);
    let routes = router([("/never", never().post(std::future::pending::<&'static str>))]);
    let mut service = around(routes, (), false);
    let front = Front::new(Live::default(), Capacity { connections: 9, streams: 5 });
    let reached = "127.0.0.1".parse().unwrap();
    for (method, deadline) in [(Method::GET, DEADLINE), (Method::POST, DEADLINE + TO_RECORD)] {
        let arrival = Arrival { live: front.live(), front: Arc::clone(&front), reached };
        let mut request = Request::new(axum::body::Body::empty());
        *request.method_mut() = method;
        *request.uri_mut() = "http://localhost/never".parse().unwrap();
        request.extensions_mut().insert(arrival);
        let began = Instant::now();
        let answer = service.call(request).await.unwrap();
        assert_eq!(answer.status(), 504);
        assert_eq!(began.elapsed(), deadline);
    }
    assert!(TO_RECORD > RECORDING_PATIENCE);
}
