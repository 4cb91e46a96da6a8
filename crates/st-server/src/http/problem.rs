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
use serde_json::{Map, Value};
use st_log::CorrelationId;
use st_store::{Exceeded, JobId, KeyScope, Measure, PrefixMatch, Role};

use crate::http::paths::Paths;
use st_api::input::FieldFault;
use st_api::problem::{Code, Fault};

use super::route::json;

/// How long a client is asked to wait when the server is busy, in seconds.
const BUSY_SECONDS: u32 = 1;
/// So many faults are named in an answer.
const MOST_FAULTS: usize = 100;
/// How long one is asked to wait that has sent too many wrong keys, in seconds.
const ATTEMPT_SECONDS: u32 = 10;

/// An error on its way to a client.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    code: Code,
    detail: String,
    faults: Vec<Fault>,
    /// Members of the body that only this kind of problem has.
    members: Map<String, Value>,
    retry_after: Option<u32>,
    /// The cause of a fault of ours. For the log alone: clients must not learn it.
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Problem {
    /// A problem of this kind.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            faults: Vec::new(),
            members: Map::new(),
            retry_after: (code.status() == 503).then_some(BUSY_SECONDS),
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

    /// 401: no caller is known. What was wrong with what the request shows is not said.
    pub(crate) fn unauthenticated() -> Self {
        let detail =
            "this needs a valid key: send it as Authorization: Bearer <key>, or as X-API-Key";
        Self::new(Code::Unauthenticated, detail)
    }

    /// 429: too many answers to wrong keys are held back already.
    pub(crate) fn too_many_attempts() -> Self {
        let detail = "too many wrong keys came from your address; try again later";
        let mut problem = Self::new(Code::TooManyAttempts, detail);
        problem.retry_after = Some(ATTEMPT_SECONDS);
        problem
    }

    /// 403: the request of a browser's session does not show that a page of ours made it.
    pub(crate) fn bad_csrf_token() -> Self {
        let detail = "a request with a session's cookie that changes something must have the header \
                      X-CSRF-Token with the csrf_token of GET /api/auth/check";
        Self::new(Code::BadCsrfToken, detail)
    }

    /// 403: the key's scopes do not cover the operation.
    pub(crate) fn out_of_scope(scope: KeyScope) -> Self {
        let detail = format!("this needs a key with the scope {scope}");
        Self::new(Code::Forbidden, detail)
    }

    /// 403: the object is another user's.
    pub(crate) fn not_yours(role: Role) -> Self {
        let detail = format!("this is another user's; that needs the role {role} or a higher one");
        Self::new(Code::Forbidden, detail)
    }

    /// 403: the request names a team or an organization that is not the caller's.
    pub(crate) fn not_a_member(field: &str) -> Self {
        let detail = format!("{field} must be your own or left out");
        Self::new(Code::Forbidden, detail)
    }

    /// 403: callers do not decide about their own jobs.
    pub(crate) fn own_job() -> Self {
        let detail = "nobody decides about the approval of an own job";
        Self::new(Code::Forbidden, detail)
    }

    /// 403: the caller's role does not allow the operation.
    pub(crate) fn forbidden(required: Role, found: Role) -> Self {
        let detail = format!("this needs the role {required} or a higher one; yours is {found}");
        Self::new(Code::Forbidden, detail)
    }

    /// 404: the resource does not exist.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(Code::NotFound, detail)
    }

    /// 402 or 429: a budget of cost, or of a number of jobs, leaves no room for the job.
    pub(crate) fn exceeded(exceeded: &Exceeded) -> Self {
        let code = match exceeded.budget.budget.budget.limit.measure() {
            Measure::Cost => Code::OverBudget,
            Measure::ConcurrentJobs | Measure::DailyJobs => Code::QuotaExceeded,
        };
        let mut problem = Self::new(code, exceeded.to_string());
        problem.retry_after = exceeded.admits_after().map(|wait| {
            // A part of a second is waited for whole, so that it is not asked too early.
            u32::try_from(wait.as_secs().saturating_add(1)).unwrap_or(u32::MAX)
        });
        problem
    }

    /// 409: a name that several jobs have. `jobs` are the candidates.
    pub(crate) fn ambiguous_job(name: &str, jobs: &[JobId]) -> Self {
        let jobs: Vec<String> = jobs.iter().map(ToString::to_string).collect();
        let detail = format!("{name:?} names several jobs: {}", jobs.join(", "));
        Self::new(Code::AmbiguousJob, detail).with("jobs", jobs)
    }

    /// 409: several jobs have an identifier that begins so. Of them, `most` are named.
    pub(crate) fn ambiguous_prefix(prefix: &str, found: &[PrefixMatch], most: usize) -> Self {
        let shown: Vec<&str> =
            found.iter().take(most).map(|found| found.identifier.as_str()).collect();
        let count =
            if found.len() > most { format!("more than {most}") } else { shown.len().to_string() };
        // Those that are alike stand side by side.
        let pairs = found.iter().zip(found.iter().skip(1));
        let alike = pairs.map(|(one, other)| alike(&one.identifier, &other.identifier)).max();
        let needed = alike.unwrap_or(0) + 1;
        let detail = format!(
            "{prefix:?} is the beginning of {count} jobs: {}; {needed} characters tell these apart",
            shown.join(", ")
        );
        let jobs: Vec<String> =
            found.iter().take(most).map(|found| found.job.to_string()).collect();
        Self::new(Code::AmbiguousJob, detail).with("jobs", jobs)
    }

    /// 413: the body is too large.
    pub(crate) fn too_large(limit: usize) -> Self {
        let detail = format!("the request body is larger than {limit} bytes");
        Self::new(Code::BodyTooLarge, detail)
    }

    /// 408: the body did not arrive in time.
    pub(crate) fn slow_body(received: usize, elapsed: Duration) -> Self {
        let detail = format!(
            "the request body arrived too slowly: {received} bytes within {} seconds",
            elapsed.as_secs()
        );
        Self::new(Code::BodyTooSlow, detail)
    }

    /// 415: the body is not JSON.
    pub(crate) fn not_json() -> Self {
        let detail = "the request body must be sent with Content-Type: application/json";
        Self::new(Code::NotJson, detail)
    }

    /// 422: fields of the body are not valid; names every fault.
    pub(crate) fn invalid(faults: Vec<FieldFault>) -> Self {
        let faults = faults.into_iter().map(|FieldFault { pointer, message }| Fault {
            pointer: Some(pointer),
            parameter: None,
            message,
        });
        Self::with_faults(faults.collect())
    }

    /// 422: parameters of the query are not valid; names every fault.
    pub(crate) fn invalid_query(faults: Vec<FieldFault>) -> Self {
        let faults = faults.into_iter().map(|FieldFault { pointer, message }| Fault {
            pointer: None,
            parameter: Some(pointer.trim_start_matches('/').to_owned()),
            message,
        });
        Self::with_faults(faults.collect())
    }

    /// The same where the request names a field otherwise than the part that refuses its value.
    pub(crate) fn with_pointer(self, from: &str, to: &str) -> Self {
        if !self.faults.iter().any(|fault| fault.pointer.as_deref() == Some(from)) {
            return self;
        }
        let mut faults = self.faults;
        for fault in faults.iter_mut().filter(|fault| fault.pointer.as_deref() == Some(from)) {
            fault.pointer = Some(to.to_owned());
        }
        Self::with_faults(faults)
    }

    fn with_faults(mut faults: Vec<Fault>) -> Self {
        let more = faults.len().saturating_sub(MOST_FAULTS);
        faults.truncate(MOST_FAULTS);
        let messages = faults.iter().map(|fault| {
            let pointer = fault.pointer.as_deref().map(|it| it.trim_start_matches('/'));
            let name = pointer.or(fault.parameter.as_deref()).unwrap_or_default();
            let name = if name.is_empty() { "request" } else { name };
            format!("{name}: {}", fault.message)
        });
        let mut messages: Vec<String> = messages.collect();
        if more > 0 {
            messages.push(format!("and {more} more"));
        }
        Self { faults, ..Self::new(Code::InvalidRequest, messages.join("; ")) }
    }

    /// 422: one parameter of the query is not valid.
    pub(crate) fn invalid_parameter(name: &str, message: impl Into<String>) -> Self {
        let fault = FieldFault { pointer: name.to_owned(), message: message.into() };
        Self::invalid_query(vec![fault])
    }

    /// 422: one field is not valid.
    pub(crate) fn invalid_field(pointer: &str, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldFault { pointer: pointer.to_owned(), message: message.into() }])
    }

    /// 502: the provider did not answer as it should.
    pub(crate) fn provider(detail: impl Into<String>) -> Self {
        Self::new(Code::ProviderError, detail)
    }

    /// 500: a fault of ours. Its cause is in the log.
    pub(crate) fn internal() -> Self {
        let detail = "the server failed; its log has the reason under this correlation ID";
        Self::new(Code::InternalError, detail)
    }

    /// 500: stored data that cannot be read. `detail` names it, so that it can be repaired.
    pub(crate) fn damaged(detail: impl Into<String>) -> Self {
        Self::new(Code::Damaged, detail)
    }

    /// 421: the request is for a name that is not this server's.
    pub(crate) fn unknown_host(host: &str) -> Self {
        let detail = format!(
            "this server is not known as {host:?}; if it is to be, add that to server.hosts \
             (SIMPLETUNER_HOSTS)"
        );
        Self::new(Code::UnknownHost, detail)
    }

    /// 403: a page of another site made a browser send the request.
    pub(crate) fn cross_site() -> Self {
        let detail =
            "a browser sent this for a page of another site, which may not use this server";
        Self::new(Code::CrossSite, detail)
    }

    /// 503: as many requests are under way as are useful.
    pub(crate) fn overloaded() -> Self {
        Self::new(Code::Overloaded, "too many requests are under way, try again in a moment")
    }

    /// 504: the request was not answered in time. Whether it was carried out is open.
    pub(crate) fn late(deadline: Duration) -> Self {
        let detail = format!(
            "the request was not answered within {} seconds; what it asked for may have been done",
            deadline.as_secs()
        );
        Self::new(Code::DeadlineExceeded, detail)
    }

    /// The problem that a plain error answer of the router means.
    pub(crate) fn of_router(
        response: &Response,
        method: &Method,
        path: &str,
        paths: &Paths,
    ) -> Option<Self> {
        let status = response.status();
        match status {
            StatusCode::NOT_FOUND => {
                let nearest = paths.nearest(path).map(|near| format!(", did you mean {near}?"));
                let detail = format!("there is no {path}{}", nearest.unwrap_or_default());
                Some(Self::not_found(detail))
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                let allow = response.headers().get(ALLOW).and_then(|allow| allow.to_str().ok());
                let allow: Vec<&str> = allow.unwrap_or_default().split(',').collect();
                let detail = format!("{path} takes {}, not {method}", allow.join(", "));
                Some(Self::new(Code::MethodNotAllowed, detail))
            }
            _ if status.is_client_error() || status.is_server_error() => {
                let reason = status.canonical_reason().unwrap_or("error");
                Some(Self::new(Code::BadRequest, reason))
            }
            _ => None,
        }
    }

    /// The status code of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What kind of problem it is.
    pub(crate) fn kind(&self) -> Code {
        self.code
    }

    /// The stable word for this kind of problem.
    pub(crate) fn code(&self) -> &'static str {
        self.code.as_str()
    }

    /// Whether the request was not at fault.
    pub(crate) fn is_ours(&self) -> bool {
        self.code.status() >= 500
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
        let status = self.status();
        let retry_after = self.retry_after;
        let body = st_api::problem::Problem {
            r#type: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: self.detail,
            instance: path.to_owned(),
            code: self.code,
            correlation_id: id.as_str().to_owned(),
            errors: self.faults,
            members: self.members,
        };
        let mut response = json(&body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(allow) = router.headers().get(ALLOW) {
            headers.insert(ALLOW, allow.clone());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// How many characters two texts have in common at their beginning.
fn alike(one: &str, other: &str) -> usize {
    one.chars().zip(other.chars()).take_while(|(one, other)| one == other).count()
}

impl IntoResponse for Problem {
    /// Carried as an extension: the middleware knows the path and the correlation ID, and renders
    /// it.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}
