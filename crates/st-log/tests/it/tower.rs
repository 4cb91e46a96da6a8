//! The tower layer, with an axum router.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use axum::routing::get;
use axum::{Extension, Router};
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use st_log::tower::CorrelationLayer;
use st_log::{CORRELATION_ID_HEADER, CorrelationId, LogContext, Settings, TRACEPARENT_HEADER};
use tower_service::Service;

use crate::capture::{parsed, text_of};

const LOG: st_log::Logger = st_log::get_logger("simpletuner.cloud.test");
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Logs when it is dropped.
struct SaysLast(&'static str);

impl Drop for SaysLast {
    fn drop(&mut self) {
        st_log::info!(logger: LOG, "{}", self.0);
    }
}

async fn hello(Extension(id): Extension<CorrelationId>) -> String {
    st_log::info!(logger: LOG, "before");
    tokio::task::yield_now().await;
    st_log::info!(logger: LOG, "after");
    id.to_string()
}

/// A body of three frames, each generated when it is polled.
async fn streams() -> Body {
    let last = SaysLast("body dropped");
    let pieces = stream::iter(0..3).map(move |at| {
        let _held = &last;
        st_log::info!(logger: LOG, at, "piece");
        Ok::<_, Infallible>(Bytes::from("piece "))
    });
    Body::from_stream(pieces)
}

async fn sets_another() -> StatusCode {
    st_log::set_correlation_id("another".parse().unwrap());
    st_log::info!(logger: LOG, "set");
    StatusCode::NOT_FOUND
}

async fn never() {
    let _last = SaysLast("handler dropped");
    std::future::pending::<()>().await;
}

fn app(layer: CorrelationLayer) -> Router {
    let router = Router::new().route("/", get(hello)).route("/streams", get(streams));
    router.route("/sets", get(sets_another)).route("/never", get(never)).layer(layer)
}

fn request(path: &str, headers: &[(HeaderName, HeaderValue)]) -> Request<Body> {
    let mut request = Request::get(path).body(Body::empty()).unwrap();
    for (name, value) in headers {
        request.headers_mut().append(name, value.clone());
    }
    request
}

fn id(value: &str) -> (HeaderName, HeaderValue) {
    (CORRELATION_ID_HEADER, HeaderValue::from_bytes(value.as_bytes()).unwrap())
}

/// A response, and what was logged for it.
struct Answered {
    status: StatusCode,
    id: Vec<String>,
    body: String,
    records: Vec<Value>,
}

impl Answered {
    /// The only correlation ID in the headers of the response.
    fn id(&self) -> &str {
        assert_eq!(self.id.len(), 1);
        &self.id[0]
    }

    fn messages(&self) -> Vec<&str> {
        self.records.iter().map(|it| it["message"].as_str().unwrap()).collect()
    }
}

fn ask(request: Request<Body>) -> Answered {
    ask_with(CorrelationLayer::new(), &Settings::default(), request)
}

fn ask_with(layer: CorrelationLayer, settings: &Settings, request: Request<Body>) -> Answered {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut answer = None;
    let settings = Settings { level: st_log::Level::Debug.into(), ..settings.clone() };
    let text = text_of(&settings, || {
        // The enclosing scope belongs to the server, not to the request.
        let _server = LogContext::new().field("server", 1).enter();
        answer = Some(runtime.block_on(async {
            let response = app(layer).call(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            (parts, String::from_utf8(body.to_vec()).unwrap())
        }));
    });
    let (parts, body) = answer.unwrap();
    let ids = parts.headers.get_all(CORRELATION_ID_HEADER);
    Answered {
        status: parts.status,
        id: ids.iter().map(|it| it.to_str().unwrap().to_owned()).collect(),
        body,
        records: parsed(&text),
    }
}

#[test]
fn a_legal_id_is_kept_in_the_handler_and_in_the_answer() {
    let longest = "x".repeat(128);
    for given in ["abc123", "A-Z.a_z+0/9=:", &longest] {
        let answered = ask(request("/", &[id(given)]));
        assert_eq!((answered.id(), answered.body.as_str()), (given, given));
        assert_eq!(answered.messages(), ["before", "after"]);
        for record in &answered.records {
            assert_eq!(record["correlation_id"], given);
            assert_eq!(record.get("extra"), None);
        }
    }
    let twice = ask(request("/", &[id("same"), id("same")]));
    assert_eq!(twice.id(), "same");
}

fn is_generated(id: &str) -> bool {
    id.len() == 12 && id.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
}

#[test]
fn without_an_id_each_request_gets_one_of_its_own() {
    let (first, second) = (ask(request("/", &[])), ask(request("/", &[])));
    assert_ne!(first.id(), second.id());
    for answered in [first, second] {
        assert!(is_generated(answered.id()), "{}", answered.id());
        assert_eq!(answered.body, answered.id());
        assert_eq!(answered.messages(), ["before", "after"]);
        assert!(answered.records.iter().all(|it| it["correlation_id"] == answered.id()));
    }
}

#[test]
fn a_hostile_id_is_replaced_and_never_repeated() {
    let long = "x".repeat(10_000);
    let too_long = "x".repeat(129);
    let hostile: [&[&str]; 9] = [
        &[&long],
        &[&too_long],
        &[""],
        &["hostile id"],
        &["hostile\tid"],
        &["hostilé"],
        &["hostile,hostile"],
        &["hostile-1", "hostile-2"],
        &["\"hostile\""],
    ];
    for values in hostile {
        let headers: Vec<_> = values.iter().map(|it| id(it)).collect();
        let answered = ask(request("/", &headers));
        assert!(is_generated(answered.id()), "{values:?}");
        assert_eq!(answered.messages(), ["Caller's correlation ID replaced", "before", "after"]);
        assert!(answered.records.iter().all(|it| it["correlation_id"] == answered.id()));
        assert_eq!(
            answered.records[0]["extra"],
            json!({"values": values.len(), "longest": values[0].len()})
        );
        let all = serde_json::to_string(&answered.records).unwrap();
        assert!(!all.contains("hostil") && !all.contains("xxx"), "{all}");
    }
    let bytes = HeaderValue::from_bytes(b"\xff\xfehostile").unwrap();
    let answered = ask(request("/", &[(CORRELATION_ID_HEADER, bytes)]));
    assert!(is_generated(answered.id()));
    // A header value cannot contain the line break that would begin another header.
    HeaderValue::from_str("a\r\nSet-Cookie: b").unwrap_err();
}

#[test]
fn every_answer_says_the_id_of_its_request() {
    let set = ask(request("/sets", &[id("mine")]));
    assert_eq!((set.status, set.id()), (StatusCode::NOT_FOUND, "mine"));
    assert_eq!(set.records[0]["correlation_id"], "another");
    let unknown = ask(request("/nowhere", &[id("mine")]));
    assert_eq!((unknown.status, unknown.id()), (StatusCode::NOT_FOUND, "mine"));
}

#[test]
fn a_body_is_made_in_the_scope_of_its_request() {
    let answered = ask(request("/streams", &[id("mine")]));
    assert_eq!(answered.body, "piece piece piece ");
    assert_eq!(answered.messages(), ["piece", "piece", "piece", "body dropped"]);
    assert!(answered.records.iter().all(|it| it["correlation_id"] == "mine"));
}

/// The records logged while a response is started and dropped before its end.
fn dropped_half_way(path: &str, pieces: usize) -> Vec<Value> {
    let request = request(path, &[id("mine")]);
    let text = text_of(&Settings::default(), || {
        let mut cx = Context::from_waker(Waker::noop());
        let mut answering = Box::pin(app(CorrelationLayer::new()).call(request));
        let Poll::Ready(answer) = answering.as_mut().poll(&mut cx) else { return };
        let mut body = pin!(answer.unwrap().into_body());
        for _ in 0..pieces {
            let frame = pin!(body.frame()).poll(&mut cx);
            assert!(matches!(frame, Poll::Ready(Some(Ok(_)))));
        }
    });
    parsed(&text)
}

#[test]
fn what_is_dropped_half_way_logs_in_the_scope_of_its_request() {
    for (path, pieces, last) in [
        ("/streams", 1, "body dropped"),
        ("/streams", 0, "body dropped"),
        ("/never", 0, "handler dropped"),
    ] {
        let records = dropped_half_way(path, pieces);
        assert_eq!(records.len(), pieces + 1, "{records:?}");
        assert_eq!(records.last().unwrap()["message"], last);
        assert!(records.iter().all(|it| it["correlation_id"] == "mine"));
    }
}

#[test]
fn a_traceparent_is_kept_where_it_is_asked_for_twice() {
    let traced = |layer: bool, settings: bool, value: &str| {
        let header = (TRACEPARENT_HEADER, HeaderValue::from_str(value).unwrap());
        let layer = CorrelationLayer::new().trace_context(layer);
        let settings = Settings { trace_context: settings, ..Settings::default() };
        let answered = ask_with(layer, &settings, request("/", &[header]));
        answered.records.iter().map(|it| it.get("trace_id").cloned()).collect::<Vec<_>>()
    };
    let shown = Some(json!("4bf92f3577b34da6a3ce929d0e0e4736"));
    assert_eq!(traced(true, true, TRACE), [shown.clone(), shown]);
    assert_eq!(traced(false, true, TRACE), [None, None]);
    assert_eq!(traced(true, false, TRACE), [None, None]);
    assert_eq!(traced(true, true, &TRACE.to_uppercase()), [None, None]);
}

/// A service that is not always ready, and whose calls fail.
#[derive(Clone, Default)]
struct Fails(Arc<AtomicUsize>);

impl Service<Request<()>> for Fails {
    type Response = Response<String>;
    type Error = String;
    type Future = Pin<Box<dyn Future<Output = Result<Response<String>, String>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), String>> {
        if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
            Poll::Pending
        } else {
            Poll::Ready(Err("busy".into()))
        }
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        st_log::info!(logger: LOG, "called");
        Box::pin(async {
            st_log::info!(logger: LOG, "fails");
            Err("failed".to_owned())
        })
    }
}

#[test]
fn errors_and_readiness_of_the_service_pass_through() {
    use tower_layer::Layer as _;
    let text = text_of(&Settings::default(), || {
        let mut service = CorrelationLayer::new().layer(Fails::default());
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(service.poll_ready(&mut cx), Poll::Pending);
        assert_eq!(service.poll_ready(&mut cx), Poll::Ready(Err("busy".to_owned())));
        let mut request = Request::new(());
        request.headers_mut().insert(CORRELATION_ID_HEADER, HeaderValue::from_static("mine"));
        let answer = pin!(service.call(request)).poll(&mut cx);
        assert!(matches!(answer, Poll::Ready(Err(error)) if error == "failed"));
    });
    let records = parsed(&text);
    assert_eq!(records.len(), 2);
    assert!(records.iter().all(|it| it["correlation_id"] == "mine"));
}
