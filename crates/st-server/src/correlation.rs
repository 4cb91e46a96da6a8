//! The outermost layer: every request gets a correlation ID, and every answer says it.
//!
//! A valid `X-Correlation-ID` of the caller is kept, anything else is replaced. The handler runs in
//! the ID's scope. Errors are rendered here, also those of the router and of a handler that
//! panicked.

use std::panic::AssertUnwindSafe;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Method};
use st_log::{CORRELATION_ID_HEADER, CorrelationId, InScope, Logger, get_logger};
use tokio::time::Instant;

use crate::problem::Problem;

const LOG: Logger = get_logger("simpletuner.cloud.api");

pub(crate) async fn observe(request: Request, next: Next) -> Response {
    let id = incoming(request.headers()).unwrap_or_else(CorrelationId::generate);
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let began = Instant::now();
    let answer = async {
        let response = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        let response = response.unwrap_or_else(|_panic| {
            // The panic hook has logged what and where.
            st_log::error!(logger: LOG, "Handler panicked");
            Problem::internal().into_response()
        });
        let response = render(response, &method, &path, &id);
        let status = response.status().as_u16();
        let elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if method == Method::GET {
            st_log::debug!(logger: LOG, status, elapsed_ms, "{method} {path}");
        } else {
            st_log::info!(logger: LOG, status, elapsed_ms, "{method} {path}");
        }
        response
    };
    let mut response = answer.with_correlation_id(id.clone()).await;
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(CORRELATION_ID_HEADER, value);
    }
    response
}

/// The caller's ID, where it sent exactly one that is valid.
fn incoming(headers: &HeaderMap) -> Option<CorrelationId> {
    let mut values = headers.get_all(CORRELATION_ID_HEADER).iter();
    let only = values.next().filter(|_| values.next().is_none())?;
    CorrelationId::parse(only.to_str().ok()?).ok()
}

fn render(mut response: Response, method: &Method, path: &str, id: &CorrelationId) -> Response {
    let problem = response.extensions_mut().remove::<Problem>();
    let status = response.status();
    match problem {
        Some(problem) => problem.render(path, id, &response),
        None if status.is_client_error() || status.is_server_error() => {
            Problem::of_router(status, method, path).render(path, id, &response)
        }
        None => response,
    }
}
