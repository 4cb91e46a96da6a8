//! The world as HTTP and JSON.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::world::{ACCOUNT, State as Jobs, is_over};
use super::{Call, Fault, Job, RecordedRequest, World, files};

const PAGE: usize = 100;

pub(super) async fn serve(listener: TcpListener, world: World) {
    let router = Router::new().fallback(answer).with_state(world);
    // It ends with the test, by being dropped.
    drop(axum::serve(listener, router).await);
}

async fn answer(State(world): State<World>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let full = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let path = full.strip_prefix("/v1").unwrap_or(full).to_owned();
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let headers: Vec<(String, String)> =
        parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let asked = RecordedRequest {
        method: parts.method.to_string(),
        path,
        headers,
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    };
    let authorized = asked.header("authorization").is_some_and(|it| it.starts_with("Bearer "));
    let fault = world.note(asked.clone(), call(&asked));
    let delay = world.state().delay();
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let mut response = match fault {
        // What jobs made is open to all who know the address.
        _ if !authorized && call(&asked) != Some(Call::File) => reply(
            401,
            &json!({"title": "Unauthenticated", "status": 401,
                    "detail": "You did not pass a valid authentication token"}),
        ),
        None => act(&world, &asked, None),
        Some(Fault::DropBefore) => broken(),
        Some(Fault::DropAfter) => {
            act(&world, &asked, None);
            broken()
        }
        Some(Fault::Garbage) => {
            act(&world, &asked, None);
            "<html>bad gateway</html>".into_response()
        }
        Some(Fault::Silence) => {
            world.answered();
            std::future::pending().await
        }
        Some(Fault::SlowBody) => endless(act(&world, &asked, None)),
        Some(Fault::CutAfter(bytes)) => cut(act(&world, &asked, None), bytes).await,
        Some(Fault::Refused { status, detail }) => {
            reply(status, &json!({"detail": detail, "status": status}))
        }
        Some(Fault::ServerError) => reply(500, &json!({"detail": "Internal server error"})),
        Some(Fault::TooMany { retry_after }) => throttled(retry_after),
        Some(Fault::Answer { status, headers, body }) => with_headers(plain(status, body), headers),
        Some(Fault::NextAt(next)) => act(&world, &asked, Some(next)),
        Some(Fault::Redirect(to)) => {
            let mut response = reply(302, &json!({}));
            if let Ok(value) = to.parse() {
                response.headers_mut().insert("location", value);
            }
            response
        }
    };
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&world.state().now());
    if let Ok(Ok(date)) = date.map(|date| date.parse()) {
        response.headers_mut().entry("date").or_insert(date);
    }
    world.answered();
    response
}

fn throttled(retry_after: Option<&'static str>) -> Response {
    let detail = "Request was throttled. Expected available in 1 second.";
    let mut response = reply(429, &json!({"detail": detail, "status": 429}));
    if let Some(Ok(value)) = retry_after.map(str::parse) {
        response.headers_mut().insert("retry-after", value);
    }
    response
}

fn with_headers(mut response: Response, headers: Vec<(&'static str, &'static str)>) -> Response {
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The kind of a request, if it is one of the API's.
fn call(asked: &RecordedRequest) -> Option<Call> {
    let path = asked.path.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (asked.method.as_str(), parts.as_slice()) {
        ("GET", ["account"]) => Some(Call::Account),
        ("GET", ["models", _, _, "versions"]) => Some(Call::Versions),
        ("POST", ["predictions"]) => Some(Call::Create),
        ("GET", ["predictions"]) => Some(Call::List),
        ("GET", ["predictions", _]) => Some(Call::Get),
        ("POST", ["predictions", _, "cancel"]) => Some(Call::Cancel),
        ("GET", ["webhooks", "default", "secret"]) => Some(Call::Secret),
        ("GET", ["files", _]) => Some(Call::File),
        _ => None,
    }
}

/// A reply whose connection breaks before its head was sent whole: the body fails immediately, and with
/// it the connection.
fn broken() -> Response {
    let failing = stream::iter([Err::<Bytes, _>(std::io::Error::other("as planned"))]);
    let mut response = Response::new(Body::from_stream(failing));
    response.headers_mut().insert("content-length", HeaderValue::from_static("100"));
    response
}

/// The same reply with a body of which only the first byte comes.
fn endless(response: Response) -> Response {
    let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"{"))]);
    let (parts, _) = response.into_parts();
    Response::from_parts(parts, Body::from_stream(first.chain(stream::pending())))
}

/// The same reply with a body that breaks off.
async fn cut(response: Response, after: usize) -> Response {
    let (mut parts, body) = response.into_parts();
    let whole = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    parts.headers.insert("content-length", HeaderValue::from(whole.len()));
    let first = whole.slice(..after.min(whole.len()));
    let broken = async {
        // The connection writes what it has while it waits for more.
        tokio::task::yield_now().await;
        Err(std::io::Error::other("as planned"))
    };
    let body = stream::iter([Ok(first)]).chain(stream::once(broken));
    Response::from_parts(parts, Body::from_stream(body))
}

fn act(world: &World, asked: &RecordedRequest, next: Option<String>) -> Response {
    let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let token = asked.header("authorization").and_then(|it| it.strip_prefix("Bearer "));
    let mut state = world.state();
    let account = state.account(token.unwrap_or_default());
    let found = |job: Option<Job>| job.map_or_else(missing, |job| reply(200, &shown(&job)));
    match (call(asked), parts.as_slice()) {
        (Some(Call::Account), _) => reply(200, &json!({"type": "user", "username": account})),
        (Some(Call::Secret), _) => reply(200, &json!({"key": state.webhook_secret})),
        (Some(Call::Create), _) => {
            let input = asked.body.get("input").cloned().unwrap_or(Value::Null);
            let version = asked.body.get("version").and_then(Value::as_str).unwrap_or_default();
            let model = state.model_of(version);
            let id = state.create(input, &account, model);
            state.set_webhook(&id, asked.body.get("webhook").and_then(Value::as_str));
            match state.show(&id, &account, false) {
                Some(job) => reply(201, &shown(&job)),
                None => missing(),
            }
        }
        (Some(Call::List), _) => {
            let host = asked.header("host").unwrap_or_default();
            plain(200, listed(&mut state, &account, &pairs(query), (host, next)))
        }
        (Some(Call::Versions), [_, owner, name, _]) => {
            match state.versions.get(&format!("{owner}/{name}")) {
                Some(versions) => reply(200, &shown_versions(versions)),
                None => missing(),
            }
        }
        (Some(Call::Get), [_, id]) => found(state.show(id, &account, true)),
        (Some(Call::File), [_, name]) => match state.files.get(*name) {
            Some(file) => files::answer(file, asked),
            None => missing(),
        },
        (Some(Call::Cancel), [_, id, _]) => {
            state.cancel(id, &account);
            found(state.show(id, &account, false))
        }
        _ => missing(),
    }
}

/// A page as text, because not every row can be a value.
fn listed(
    state: &mut Jobs,
    account: &str,
    query: &BTreeMap<String, String>,
    (host, next): (&str, Option<String>),
) -> String {
    let time = |name: &str| query.get(name).and_then(|it| it.parse::<Timestamp>().ok());
    let places = state.listed(account, time("created_after"), time("created_before"));
    let start: usize = query.get("cursor").and_then(|it| it.parse().ok()).unwrap_or(0);
    let end = start.saturating_add(PAGE);
    let theirs: &[String] = if account == ACCOUNT { &state.rows } else { &[] };
    let strangers = theirs.len();
    let mut rows: Vec<String> = theirs.iter().skip(start).take(PAGE).cloned().collect();
    let ours = places.iter().skip(start.saturating_sub(strangers)).take(PAGE - rows.len());
    let ours = ours.filter_map(|&place| state.show_at(place, true));
    rows.extend(ours.map(|job| shown(&job).to_string()));
    let filters = query.iter().filter(|(name, _)| *name != "cursor");
    let filters = filters.map(|(name, value)| format!("{name}={value}"));
    let after: Vec<String> = std::iter::once(format!("cursor={end}")).chain(filters).collect();
    let more = (end < strangers + places.len())
        .then(|| format!("http://{host}/v1/predictions?{}", after.join("&")));
    let next = json!(next.or(more));
    format!("{{\"results\": [{}], \"next\": {next}, \"previous\": null}}", rows.join(","))
}

/// The newest first, each with its schema.
fn shown_versions(versions: &[String]) -> Value {
    let schema = json!({"openapi": "3.0.2", "paths": {"/": {"get": {}}}});
    let rows = versions.iter().rev().map(|id| json!({"openapi_schema": schema, "id": id}));
    json!({"next": null, "previous": null, "results": rows.collect::<Vec<Value>>()})
}

fn pairs(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.replace("%3A", ":"))).collect()
}

fn missing() -> Response {
    reply(404, &json!({"detail": "The requested resource could not be found.", "status": 404}))
}

fn reply(status: u16, body: &Value) -> Response {
    plain(status, body.to_string())
}

fn plain(status: u16, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    if let Ok(status) = axum::http::StatusCode::from_u16(status) {
        *response.status_mut() = status;
    }
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert("content-type", json);
    response
}

/// A job as the provider shows it: early on most fields are missing, times have odd precisions.
pub(super) fn shown(job: &Job) -> Value {
    let mut shown = json!({
        "id": job.id,
        "status": job.status,
        "version": "hidden",
        "model": job.model,
        "input": if job.data_removed { json!({}) } else { job.input.clone() },
        "created_at": format!("{:.8}", job.created_at),
        "source": job.source,
        "webhook_completed": null,
        "logs": null,
        "error": job.error,
    });
    if let (Value::Object(fields), Some(deadline)) = (&mut shown, job.deadline) {
        fields.insert("deadline".into(), format!("{deadline:.3}").into());
    }
    if let Value::Object(fields) = &mut shown
        && job.status != "starting"
    {
        let removed = job.data_removed;
        let over = is_over(&job.status);
        let usual = || json!("https://replicate.delivery/x.tar");
        let output = (job.status == "succeeded" && !removed)
            .then(|| job.output.clone().unwrap_or_else(usual));
        fields.insert("started_at".into(), format!("{:.3}", job.created_at).into());
        let ended = job.completed_at.map(|at| format!("{at:.6}"));
        fields.insert("completed_at".into(), ended.into());
        fields.insert("logs".into(), if removed { Value::Null } else { "step 1/10\n".into() });
        fields.insert("output".into(), output.into());
        fields.insert("data_removed".into(), removed.into());
        let metrics = if over { json!({"predict_time": job.charged_seconds}) } else { json!({}) };
        fields.insert("metrics".into(), metrics);
    }
    shown
}
