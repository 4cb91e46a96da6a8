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

use crate::auth::RECORDING_PATIENCE;
use crate::http::front::{Arrival, Front};
use crate::http::meter::{Ending, Operation};
use crate::http::paths::Paths;
use crate::http::peer::Peer;
use crate::http::problem::Problem;
use crate::http::refused::Line;
use crate::http::route::OfJob;
use crate::http::site;

const LOG: Logger = get_logger("simpletuner.cloud.api");

/// How long a request may take until its answer begins. Longer than a body may take to arrive and a
/// call to a provider may take together.
pub(crate) const DEADLINE: Duration = Duration::from_mins(2);
/// How much longer a request that is not a read may take: a change is given up by itself at [`DEADLINE`], and
/// then recorded, before it is answered.
const TO_RECORD: Duration = RECORDING_PATIENCE.saturating_add(Duration::from_secs(5));

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
    let mut observed = Observed::of(&request);
    let answer = AssertUnwindSafe(answer(request, next)).catch_unwind();
    let response = observed.operation.clone().of(answer).await;
    let mut response = response.unwrap_or_else(|_panic| {
        // The panic hook has logged what and where.
        st_log::error!(logger: LOG, "Handler panicked");
        Problem::internal().into_response()
    });
    // Only the router says what a path takes, when that is not OPTIONS.
    if observed.method == Method::OPTIONS
        && let Some(allow) = response.headers().get(ALLOW)
    {
        response = allowed(allow);
    }
    let problem = problem_of(&mut response, &observed.method, &observed.path, &paths);
    let (status, code) = (response.status().as_u16(), problem.as_ref().map(Problem::kind));
    observed.note(Ending::Answered(status, code));
    let Observed { method, path, began, front, .. } = &observed;
    let front = front.as_ref();
    let line = front.map_or(Line::Own, |front| {
        front.refused_webhooks.note(front.lane_of.lane(method, path), status)
    });
    let of_job = response.extensions_mut().remove::<OfJob>();
    let _of_job = of_job.map(|OfJob { job, correlation_id }| {
        let context = LogContext::new().field("job_id", job.to_string());
        context.field("job_correlation_id", correlation_id.as_str()).enter()
    });
    log((method, path), *began, response.status(), problem.as_ref(), line);
    match problem {
        Some(problem) => problem.render(path, &id, &response),
        None => response,
    }
}

/// A request, until its answer. Where that never comes, because the connection ends, it is counted and
/// logged when this is dropped.
#[derive(Debug)]
struct Observed {
    method: Method,
    path: String,
    began: Instant,
    front: Option<Arc<Front>>,
    operation: Operation,
    ended: bool,
}

impl Observed {
    fn of(request: &Request) -> Self {
        let arrival = request.extensions().get::<Arrival>();
        Self {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            began: Instant::now(),
            front: arrival.map(|arrival| Arc::clone(&arrival.front)),
            operation: Operation::default(),
            ended: false,
        }
    }

    fn note(&mut self, ending: Ending) {
        self.ended = true;
        if let Some(front) = &self.front {
            front.meter.observe(self.operation.get(), ending, self.began.elapsed());
        }
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.note(Ending::Cancelled);
        let (method, path) = (self.method.as_str(), self.path.as_str());
        let elapsed_ms = millis_since(self.began);
        if self.method.is_safe() {
            st_log::debug!(
                logger: LOG, method, path, elapsed_ms,
                "Connection ended before its request was answered"
            );
        } else {
            st_log::info!(
                logger: LOG, method, path, elapsed_ms,
                "Connection ended before its request was answered"
            );
        }
    }
}

fn millis_since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The answer to a request that is to be answered; else why it is not.
async fn answer(mut request: Request, next: Next) -> Response {
    let Some(arrival) = request.extensions().get::<Arrival>() else {
        // Only a listener of another kind would leave it out.
        return Problem::internal().into_response();
    };
    let (method, uri) = (request.method(), request.uri());
    if let Err(refused) = site::check(arrival, method, uri, request.headers()) {
        return refused.into_response();
    }
    let lane = arrival.front.lane_of.lane(method, uri.path());
    let from = request.extensions().get::<Peer>().map(|peer| peer.address);
    let Some(permit) = arrival.front.lanes.enter(lane, from) else {
        return Problem::overloaded().into_response();
    };
    let deadline = if method.is_safe() { DEADLINE } else { DEADLINE.saturating_add(TO_RECORD) };
    let permit = Arc::new(permit);
    // What goes on without its client stays under way.
    request.extensions_mut().insert(Arc::clone(&permit));
    tokio::select! {
        answer = timeout(deadline, next.run(request)) => {
            answer.unwrap_or_else(|_elapsed| Problem::late(deadline).into_response())
        }
        () = permit.displaced() => Problem::overloaded().into_response(),
    }
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
    let elapsed_ms = millis_since(began);
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
