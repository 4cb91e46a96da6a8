//! The middleware of every request: its scope, its lines in the log, and its errors as clients see
//! them.
//!
//! Outermost is st-log's layer: it gives the request its correlation ID and puts that on the answer.
//! Within it errors are logged and rendered, also those of the router and of a handler that
//! panicked. An answer that is still being sent, such as the event stream, is in the scope until its
//! end.

use std::panic::AssertUnwindSafe;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::Method;
use st_log::tower::CorrelationLayer;
use st_log::{LogContext, Logger, get_correlation_id, get_logger};
use tokio::time::Instant;

use crate::http::problem::Problem;

const LOG: Logger = get_logger("simpletuner.cloud.api");

/// Puts all of it around `router`. `trace_context`: whether a caller's W3C trace context is kept in
/// the scope too.
pub(crate) fn around<S>(router: Router<S>, trace_context: bool) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    // What is added last is outermost.
    router.layer(from_fn(observe)).layer(CorrelationLayer::new().trace_context(trace_context))
}

async fn observe(request: Request, next: Next) -> Response {
    // Taken before the handler runs, which may set another one for what it logs.
    let id = get_correlation_id();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let began = Instant::now();
    let response = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = response.unwrap_or_else(|_panic| {
        // The panic hook has logged what and where.
        st_log::error!(logger: LOG, "Handler panicked");
        Problem::internal().into_response()
    });
    let problem = problem_of(&mut response, &method, &path);
    let status = response.status().as_u16();
    let elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut context = LogContext::new();
    if let Some(problem) = &problem {
        log_cause(problem, &method, &path);
        context = context.field("code", problem.code()).field("reason", problem.detail());
    }
    let in_context = context.enter();
    if method == Method::GET {
        st_log::debug!(logger: LOG, status, elapsed_ms, "{method} {path}");
    } else {
        st_log::info!(logger: LOG, status, elapsed_ms, "{method} {path}");
    }
    drop(in_context);
    match problem {
        Some(problem) => problem.render(&path, &id, &response),
        None => response,
    }
}

/// The problem that the answer means, if it is an error.
fn problem_of(response: &mut Response, method: &Method, path: &str) -> Option<Problem> {
    let status = response.status();
    let of_handler = response.extensions_mut().remove::<Problem>();
    of_handler.or_else(|| {
        let failed = status.is_client_error() || status.is_server_error();
        failed.then(|| Problem::of_router(status, method, path))
    })
}

/// Logs the cause of a fault of ours: once, here, where the request is known.
fn log_cause(problem: &Problem, method: &Method, path: &str) {
    let Some(source) = problem.source() else { return };
    st_log::error!(
        logger: LOG, method = method.as_str(), path, status = problem.status().as_u16(),
        code = problem.code(), error = *source,
        "Request failed"
    );
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::routing::get;
    use serde_json::Value;
    use st_log::CorrelationId;
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::http::listen;

    async fn fails() -> Response {
        st_log::set_correlation_id(CorrelationId::generate());
        panic!("on purpose");
    }

    #[tokio::test]
    async fn a_handler_that_panics_is_answered_under_the_callers_id() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/fails", listener.local_addr().unwrap());
        let router = around(Router::new().route("/fails", get(fails)), false);
        let stop = CancellationToken::new();
        let server =
            st_log::spawn(listen::serve(listener, router, stop.clone(), Duration::ZERO, 9));

        let request = reqwest::Client::new().get(url).header("X-Correlation-ID", "panic-1");
        let answer = request.send().await.unwrap();

        assert_eq!(answer.status(), 500);
        assert_eq!(answer.headers()["x-correlation-id"], "panic-1");
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(body["correlation_id"], "panic-1");
        assert_eq!(body["code"], "internal_error");
        stop.cancel();
        server.await.unwrap();
    }
}
