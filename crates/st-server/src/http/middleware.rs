//! The middleware of every request: its scope, its lines in the log, and its errors as clients see
//! them.
//!
//! Outermost is st-log's layer: it gives the request its correlation ID and puts that on the answer.
//! Within it errors are logged and rendered, also those of the router and of a handler that
//! panicked; then it is decided whether the request is answered at all. An answer that is still being
//! sent, such as the event stream, is in the scope until its end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, NoContent, Response};
use futures_util::FutureExt;
use http::header::ALLOW;
use http::{HeaderValue, Method, StatusCode};
use st_log::tower::CorrelationLayer;
use st_log::{LogContext, Logger, get_correlation_id, get_logger};
use tokio::time::{Instant, timeout};

use crate::http::front::Arrival;
use crate::http::meter::with_operation;
use crate::http::paths::Paths;
use crate::http::problem::Problem;
use crate::http::refused::Line;
use crate::http::route::OfJob;
use crate::http::site;

const LOG: Logger = get_logger("simpletuner.cloud.api");

/// How long a request may take until its answer begins. Longer than a body may take to arrive and a
/// call to a provider may take together.
const DEADLINE: Duration = Duration::from_mins(2);

/// Puts all of it around a router with these paths, whose handlers share `state`. `trace_context`: whether a
/// caller's W3C trace context is kept in the scope too.
pub(crate) fn around<S>((inner, paths): (Router<S>, Paths), state: S, trace_context: bool) -> Router
where
    S: Clone + Send + Sync + 'static,
{
    // Around the whole router and not each of its routes: a router says what a path takes only outside of
    // the layers of its own. What is added last is outermost.
    Router::new()
        .fallback_service(inner.with_state(state))
        .layer(from_fn_with_state(paths, observe))
        .layer(CorrelationLayer::new().trace_context(trace_context))
}

async fn observe(State(paths): State<Paths>, request: Request, next: Next) -> Response {
    // Taken before the handler runs, which may set another one for what it logs.
    let id = get_correlation_id();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let began = Instant::now();
    let front = request.extensions().get::<Arrival>().map(|arrival| Arc::clone(&arrival.front));
    let answer = AssertUnwindSafe(answer(request, next)).catch_unwind();
    let (response, operation) = with_operation(answer).await;
    let mut response = response.unwrap_or_else(|_panic| {
        // The panic hook has logged what and where.
        st_log::error!(logger: LOG, "Handler panicked");
        Problem::internal().into_response()
    });
    // Only the router says what a path takes, when that is not OPTIONS.
    if method == Method::OPTIONS
        && let Some(allow) = response.headers().get(ALLOW)
    {
        response = allowed(allow);
    }
    let mut line = Line::Own;
    if let Some(front) = front {
        let status = response.status().as_u16();
        line = front.refused_webhooks.note(front.lane_of.lane(&method, &path), status);
        front.meter.observe(operation, response.status().as_u16(), began.elapsed());
    }
    let problem = problem_of(&mut response, &method, &path, &paths);
    let of_job = response.extensions_mut().remove::<OfJob>();
    let _of_job = of_job.map(|OfJob { job, correlation_id }| {
        let context = LogContext::new().field("job_id", job.to_string());
        context.field("job_correlation_id", correlation_id.as_str()).enter()
    });
    log((&method, &path), began, response.status(), problem.as_ref(), line);
    match problem {
        Some(problem) => problem.render(&path, &id, &response),
        None => response,
    }
}

/// The answer to a request that is to be answered; else why it is not.
async fn answer(request: Request, next: Next) -> Response {
    let Some(arrival) = request.extensions().get::<Arrival>() else {
        // Only a listener of another kind would leave it out.
        return Problem::internal().into_response();
    };
    let (method, uri) = (request.method(), request.uri());
    if let Err(refused) = site::check(arrival, method, uri, request.headers()) {
        return refused.into_response();
    }
    let lane = arrival.front.lane_of.lane(method, uri.path());
    let Some(permit) = arrival.front.lanes.enter(lane) else {
        return Problem::overloaded().into_response();
    };
    let answer = timeout(DEADLINE, next.run(request)).await;
    drop(permit);
    answer.unwrap_or_else(|_elapsed| Problem::late(DEADLINE).into_response())
}

/// The answer to OPTIONS, for a path that takes these methods.
fn allowed(allow: &HeaderValue) -> Response {
    let allow = HeaderValue::from_bytes(&[allow.as_bytes(), b",OPTIONS"].concat());
    let mut response = NoContent.into_response();
    if let Ok(allow) = allow {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}

/// The problem that the answer means, if it is an error.
fn problem_of(
    response: &mut Response,
    method: &Method,
    path: &str,
    paths: &Paths,
) -> Option<Problem> {
    let of_handler = response.extensions_mut().remove::<Problem>();
    of_handler.or_else(|| Problem::of_router(response, method, path, paths))
}

/// Logs the request, and the cause of a fault of ours: once, here, where the request is known.
fn log(
    (method, path): (&Method, &str),
    began: Instant,
    status: StatusCode,
    problem: Option<&Problem>,
    line: Line,
) {
    let status = status.as_u16();
    let elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut context = LogContext::new();
    if let Some(problem) = problem {
        if let Some(source) = problem.source() {
            st_log::error!(
                logger: LOG, method = method.as_str(), path, status,
                code = problem.code(), error = *source,
                "Request failed"
            );
        }
        context = context.field("code", problem.code()).field("reason", problem.detail());
    }
    let in_context = context.enter();
    if let Line::Sum(refused) = line {
        st_log::info!(logger: LOG, path, status, refused, "Webhooks of a provider were refused");
    }
    let is_summed = line != Line::Own;
    if is_summed || matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        st_log::debug!(logger: LOG, status, elapsed_ms, "{method} {path}");
    } else {
        st_log::info!(logger: LOG, status, elapsed_ms, "{method} {path}");
    }
    drop(in_context);
}

#[cfg(test)]
mod tests;
