//! Errors as clients see them: RFC 9457 problem details.
//!
//! The only place that knows status codes of errors. A client gets a `detail` that it can act on;
//! the log gets the causes; the correlation ID joins the two.

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use st_log::{CorrelationId, Logger, get_logger};
use st_store::{Error, Refusal};

use crate::fields::FieldFault;

const LOG: Logger = get_logger("simpletuner.cloud.api");

/// How long a client is asked to wait when the server is busy, in seconds.
const BUSY_SECONDS: u16 = 1;

/// An error on its way to a client.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    faults: Vec<FieldFault>,
    retry_after: Option<u16>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), faults: Vec::new(), retry_after: None }
    }

    /// The request cannot be read.
    pub(crate) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// There is no such thing.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// The thing is not in a state for that.
    pub(crate) fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// The body is too large.
    pub(crate) fn too_large(limit: usize) -> Self {
        let detail = format!("the request body is larger than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
    }

    /// The body is not JSON.
    pub(crate) fn not_json() -> Self {
        let detail = "the request body must be sent with Content-Type: application/json";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", detail)
    }

    /// The request says something that is not legal: every fault at once.
    pub(crate) fn invalid(faults: Vec<FieldFault>) -> Self {
        let said: Vec<String> = faults
            .iter()
            .map(|fault| {
                let name = fault.pointer.trim_start_matches('/');
                let name = if name.is_empty() { "request" } else { name };
                format!("{name}: {}", fault.message)
            })
            .collect();
        let mut problem =
            Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", said.join("; "));
        problem.faults = faults;
        problem
    }

    /// One field is not legal.
    pub(crate) fn invalid_field(pointer: &str, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldFault { pointer: pointer.to_owned(), message: message.into() }])
    }

    /// The provider could not be asked.
    pub(crate) fn provider(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "provider_error", detail)
    }

    /// The server cannot do it now.
    pub(crate) fn unavailable(code: &'static str, detail: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail);
        problem.retry_after = Some(BUSY_SECONDS);
        problem
    }

    /// A fault of ours. What it was is in the log.
    pub(crate) fn internal() -> Self {
        let detail = "the server failed; its log has the reason under this correlation ID";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", detail)
    }

    /// What a plain error answer of the router means.
    pub(crate) fn of_router(status: StatusCode, method: &Method, path: &str) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::not_found(format!("there is no {path}")),
            StatusCode::METHOD_NOT_ALLOWED => {
                let detail = format!("{path} does not take {method}");
                Self::new(status, "method_not_allowed", detail)
            }
            _ => Self::new(status, "bad_request", status.canonical_reason().unwrap_or("error")),
        }
    }

    /// The answer, for the request at `path`. Headers that the router set, such as `Allow`, stay.
    pub(crate) fn render(self, path: &str, id: &CorrelationId, router: &Response) -> Response {
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "instance": path,
            "code": self.code,
            "correlation_id": id.as_str(),
        });
        if !self.faults.is_empty()
            && let Value::Object(body) = &mut body
        {
            let faults = self.faults.into_iter();
            let faults = faults.map(|it| json!({"pointer": it.pointer, "message": it.message}));
            body.insert("errors".to_owned(), faults.collect());
        }
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(allow) = router.headers().get(ALLOW) {
            headers.insert(ALLOW, allow.clone());
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl IntoResponse for Problem {
    /// Carried as an extension; what stands around the handlers knows the path and the
    /// correlation ID and renders it.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Busy => {
                Self::unavailable("store_busy", "too much waits to be stored, try again shortly")
            }
            Error::Closed => Self::unavailable("stopping", "the server is stopping"),
            Error::NotFound { .. } => Self::not_found(error.to_string()),
            Error::Refused(refusal) => refusal.into(),
            Error::IdempotencyMismatch { .. } => {
                Self::conflict("idempotency_mismatch", error.to_string())
            }
            Error::InvalidLimits(invalid) => Self::invalid_field("", invalid.to_string()),
            Error::InvalidRule(invalid) => Self::invalid_field("/threshold", invalid.to_string()),
            Error::Corrupt { .. }
            | Error::Database { .. }
            | Error::Open { .. }
            | Error::InUse { .. }
            | Error::SchemaTooNew { .. }
            | Error::SchemaChanged { .. } => {
                st_log::error!(
                    logger: LOG, error, "Request failed"
                );
                Self::internal()
            }
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::AlreadyOver(_) => "job_over",
            Refusal::AlreadyDecided(_) => "already_decided",
            Refusal::PastDeadline(_) => "past_deadline",
            Refusal::NoApproval => "no_approval",
            Refusal::StaleAttempt { .. }
            | Refusal::WrongState { .. }
            | Refusal::OtherProviderJob { .. }
            | Refusal::AlreadyAdopted(_)
            | Refusal::NotYetExpired(_)
            | Refusal::IllegalTransition { .. } => "conflict",
        };
        Self::conflict(code, refusal.to_string())
    }
}
