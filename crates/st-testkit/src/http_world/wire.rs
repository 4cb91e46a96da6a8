//! The way from a request to its answer, with the faults in between.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::response::Response;
use futures_util::stream;
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::{Value, json};
use st_store::{Clock, SystemClock};
use tokio::net::TcpListener;

use super::{Cloud, CloudCall, CloudFault, CloudWorld, kubernetes, plain, slurm};

/// A request as it arrived.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    /// The parts of the path.
    pub(super) path: Vec<String>,
    pub(super) query: BTreeMap<String, String>,
    pub(super) body: Value,
}

impl Asked {
    /// Method and path, the parts of which can be matched.
    pub(super) fn line(&self) -> (&str, Vec<&str>) {
        (self.method.as_str(), self.path.iter().map(String::as_str).collect())
    }
}

/// An answer before it is one.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: String,
    /// The `Link` header.
    pub(super) link: Option<String>,
}

impl Reply {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self { status, body: body.to_string(), link: None }
    }

    pub(super) fn text(body: &str) -> Self {
        Self { status: 200, body: body.to_owned(), link: None }
    }
}

pub(super) async fn serve(listener: TcpListener, cloud: Cloud, world: CloudWorld) {
    let router = Router::new().fallback(answer).with_state((cloud, world));
    // It ends with the test, by being dropped.
    drop(axum::serve(listener, router).await);
}

async fn answer(State((cloud, world)): State<(Cloud, CloudWorld)>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let query = parts.uri.query().unwrap_or_default().split('&');
    let query = query.filter_map(|pair| pair.split_once('='));
    let asked = Asked {
        method: parts.method.to_string(),
        path: parts.uri.path().trim_matches('/').split('/').map(decoded).collect(),
        query: query.map(|(name, value)| (decoded(name), decoded(value))).collect(),
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    };
    let sent = ["authorization", "x-slurm-user-token"].iter();
    let sent = sent.filter_map(|name| parts.headers.get(*name)?.to_str().ok());
    let sent: Vec<String> = sent.map(str::to_owned).collect();
    let call = call(cloud, &asked);
    let fault = {
        let mut state = world.state();
        state.calls.push(call);
        if state.accepted.as_ref().is_some_and(|accepted| !sent.contains(accepted)) {
            return respond(Reply::json(401, &json!({"message": "no such credential"})));
        }
        state.authorizations.extend(sent);
        let next = state.faults.iter().position(|(of, _)| *of == call);
        let next = next.and_then(|next| state.faults.remove(next)).map(|(_, fault)| fault);
        let lasting = || state.lasting.iter().find(|(of, _)| *of == call);
        next.or_else(|| lasting().map(|(_, fault)| fault.clone()))
    };
    match fault {
        None => respond(act(cloud, &asked, &world)),
        Some(CloudFault::LoseRequest) => broken(),
        Some(CloudFault::LoseReply) => {
            act(cloud, &asked, &world);
            broken()
        }
        Some(CloudFault::Silence) => {
            act(cloud, &asked, &world);
            std::future::pending().await
        }
        Some(CloudFault::Throttle) => {
            let mut response = respond(Reply::json(429, &json!({"message": "slow down"})));
            response.headers_mut().insert("retry-after", HeaderValue::from_static("1"));
            response
        }
        Some(CloudFault::Gateway(status)) => {
            let body = format!("<html><h1>{status}</h1>nginx</html>");
            respond(Reply { status, body, link: None })
        }
        Some(CloudFault::Answer(status, body)) => respond(Reply::json(status, &body)),
    }
}

fn call(cloud: Cloud, asked: &Asked) -> CloudCall {
    match cloud {
        Cloud::Kubernetes => kubernetes::call(asked),
        Cloud::Slurm => slurm::call(asked),
        Cloud::RunPod | Cloud::HuggingFace | Cloud::OpenAi => plain::call(cloud, asked),
    }
}

fn act(cloud: Cloud, asked: &Asked, world: &CloudWorld) -> Reply {
    let mut state = world.state();
    let reply = match cloud {
        Cloud::Kubernetes => kubernetes::act(&mut state, asked),
        Cloud::Slurm => slurm::act(&mut state, asked),
        Cloud::RunPod | Cloud::HuggingFace | Cloud::OpenAi => plain::act(&mut state, cloud, asked),
    };
    drop(state);
    world.acted();
    reply
}

fn respond(reply: Reply) -> Response {
    let mut response = Response::new(Body::from(reply.body));
    if let Ok(status) = axum::http::StatusCode::from_u16(reply.status) {
        *response.status_mut() = status;
    }
    if let Some(Ok(link)) = reply.link.map(|link| link.parse()) {
        response.headers_mut().insert("link", link);
    }
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&SystemClock.wall());
    if let Ok(Ok(date)) = date.map(|date| date.parse()) {
        response.headers_mut().insert("date", date);
    }
    response
}

/// A connection that breaks in the middle of an answer that says it is longer.
fn broken() -> Response {
    let broken = stream::iter([Err::<String, _>(std::io::Error::other("lost"))]);
    Response::new(Body::from_stream(broken))
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        let hex = behind.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let code = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let code = code.filter(|_| *byte == b'%');
        bytes.push(code.unwrap_or(*byte));
        rest = if code.is_some() { behind.get(2..).unwrap_or_default() } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
