//! Errors as clients see them: RFC 9457 problem details.
//!
//! The only place that knows status codes of errors. A client gets a `detail` that it can act on;
//! the log gets the causes; the correlation ID joins the two. Making a problem logs nothing: the
//! middleware logs it once, with the request that it belongs to.

mod of_store;

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Map, Value, json};
use st_log::CorrelationId;
use st_store::{JobId, KeyScope, Role};

use st_api::input::FieldFault;

/// How long a client is asked to wait when the server is busy, in seconds.
const BUSY_SECONDS: u16 = 1;
/// How long one is asked to wait that has sent too many wrong keys, in seconds.
const ATTEMPT_SECONDS: u16 = 10;

/// An error on its way to a client.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    faults: Vec<FieldFault>,
    /// Members of the body that only this kind of problem has.
    members: Map<String, Value>,
    retry_after: Option<u16>,
    /// The cause of a fault of ours. For the log alone: clients must not learn it.
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            faults: Vec::new(),
            members: Map::new(),
            retry_after: None,
            source: None,
        }
    }

    /// Adds a member to the body.
    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Keeps the cause for the log.
    pub(crate) fn caused_by(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// 400: the request cannot be read.
    pub(crate) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 401: no caller is known. What was wrong with what the request shows is not said.
    pub(crate) fn unauthenticated() -> Self {
        let detail =
            "this needs a valid key: send it as Authorization: Bearer <key>, or as X-API-Key";
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
    }

    /// 429: too many answers to wrong keys are held back already.
    pub(crate) fn too_many_attempts() -> Self {
        let detail = "too many wrong keys came from your address; try again later";
        let mut problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", detail);
        problem.retry_after = Some(ATTEMPT_SECONDS);
        problem
    }

    /// 403: the request of a browser's session does not show that a page of ours made it.
    pub(crate) fn bad_csrf_token() -> Self {
        let detail = "a request with a session's cookie that changes something must have the header \
                      X-CSRF-Token with the csrf_token of GET /api/auth/check";
        Self::new(StatusCode::FORBIDDEN, "bad_csrf_token", detail)
    }

    /// 403: the key's scopes do not cover the operation.
    pub(crate) fn out_of_scope(scope: KeyScope) -> Self {
        let detail = format!("this needs a key with the scope {scope}");
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 403: the object is another user's.
    pub(crate) fn not_yours(role: Role) -> Self {
        let detail = format!("this is another user's; that needs the role {role} or a higher one");
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 403: the request names a team or an organization that is not the caller's.
    pub(crate) fn not_a_member(field: &str) -> Self {
        let detail = format!("{field} must be your own or left out");
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 403: callers do not decide about their own jobs.
    pub(crate) fn own_job() -> Self {
        let detail = "nobody decides about the approval of an own job";
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 403: the caller's role does not allow the operation.
    pub(crate) fn forbidden(required: Role, found: Role) -> Self {
        let detail = format!("this needs the role {required} or a higher one; yours is {found}");
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 404: the resource does not exist.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// 409: the resource's current state does not allow the operation.
    pub(crate) fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 402: a budget leaves no room for the job.
    pub(crate) fn over_budget(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYMENT_REQUIRED, "over_budget", detail)
    }

    /// 409: a name that several jobs have. `jobs` are the candidates.
    pub(crate) fn ambiguous_job(name: &str, jobs: &[JobId]) -> Self {
        let jobs: Vec<String> = jobs.iter().map(ToString::to_string).collect();
        let detail = format!("{name:?} names several jobs: {}", jobs.join(", "));
        Self::conflict("ambiguous_job", detail).with("jobs", jobs)
    }

    /// 413: the body is too large.
    pub(crate) fn too_large(limit: usize) -> Self {
        let detail = format!("the request body is larger than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
    }

    /// 408: the body did not arrive in time.
    pub(crate) fn slow_body(deadline: Duration) -> Self {
        let detail =
            format!("the request body did not arrive within {} seconds", deadline.as_secs());
        Self::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", detail)
    }

    /// 415: the body is not JSON.
    pub(crate) fn not_json() -> Self {
        let detail = "the request body must be sent with Content-Type: application/json";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", detail)
    }

    /// 422: fields of the request are not valid; names every fault.
    pub(crate) fn invalid(faults: Vec<FieldFault>) -> Self {
        let messages: Vec<String> = faults
            .iter()
            .map(|fault| {
                let name = fault.pointer.trim_start_matches('/');
                let name = if name.is_empty() { "request" } else { name };
                format!("{name}: {}", fault.message)
            })
            .collect();
        let mut problem =
            Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", messages.join("; "));
        problem.faults = faults;
        problem
    }

    /// 422: one field is not valid.
    pub(crate) fn invalid_field(pointer: &str, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldFault { pointer: pointer.to_owned(), message: message.into() }])
    }

    /// 502: the provider did not answer as it should.
    pub(crate) fn provider(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "provider_error", detail)
    }

    /// 503: the server cannot do it now; the client may try again after `Retry-After`.
    pub(crate) fn unavailable(code: &'static str, detail: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail);
        problem.retry_after = Some(BUSY_SECONDS);
        problem
    }

    /// 500: a fault of ours. Its cause is in the log.
    pub(crate) fn internal() -> Self {
        let detail = "the server failed; its log has the reason under this correlation ID";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", detail)
    }

    /// 500: stored data that cannot be read. `detail` names it, so that it can be repaired.
    fn damaged(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "damaged", detail)
    }

    /// The problem that a plain error answer of the router means.
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

    /// The status code of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable word for this kind of problem.
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// What the client is to know.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The cause, where the problem is a fault of ours that nothing else has logged.
    pub(crate) fn source(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        self.source.as_deref()
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
        if let Value::Object(body) = &mut body {
            if !self.faults.is_empty() {
                let faults = self.faults.into_iter();
                let faults = faults.map(|it| json!({"pointer": it.pointer, "message": it.message}));
                body.insert("errors".to_owned(), faults.collect());
            }
            body.extend(self.members);
        }
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(allow) = router.headers().get(ALLOW) {
            headers.insert(ALLOW, allow.clone());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl IntoResponse for Problem {
    /// Carried as an extension: the middleware knows the path and the correlation ID, and renders
    /// it.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
