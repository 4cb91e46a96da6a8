//! What an error answer says: its code, and the body of RFC 9457 around it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Writes the enum of codes from one table: the word, the status and the meaning of each.
macro_rules! codes {
    ($($variant:ident = $word:literal, $status:literal, $meaning:literal;)+) => {
        /// The stable word for a kind of problem, by which a program tells problems apart.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Code {
            $(#[doc = $meaning] #[serde(rename = $word)] $variant,)+
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word for it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The status of an answer with it.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// What it means, in one sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }
        }
    };
}

codes! {
    BadRequest = "bad_request", 400, "The request cannot be read as HTTP.";
    BadHost = "bad_host", 400, "The request has no `Host`, several, or one that is none.";
    BadPath = "bad_path", 400, "The path is not percent-encoded UTF-8.";
    BadIdempotencyKey = "bad_idempotency_key", 400, "The header `Idempotency-Key` is empty, too long or not printable ASCII.";
    BadEventId = "bad_event_id", 400, "The last event ID is not a number of at least 0.";
    MalformedJson = "malformed_json", 400, "The body is not JSON, holds a key twice, or is nested too deeply.";
    UnreadableBody = "unreadable_body", 400, "The connection failed while the body was read.";
    UnknownStatus = "unknown_status", 400, "The list is asked for a status that does not exist.";
    UnknownFormat = "unknown_format", 400, "The stream is asked for a format that does not exist.";
    UnknownTarget = "unknown_target", 400, "The job is submitted to a target that does not exist.";
    NotTerminal = "not_terminal", 400, "The job is not over yet.";
    Unauthenticated = "unauthenticated", 401, "The request has no credential, or one that is not valid.";
    BadSignature = "bad_signature", 401, "The webhook is not signed by its sender, or too old.";
    OverBudget = "over_budget", 402, "A budget leaves no room for the job.";
    Forbidden = "forbidden", 403, "The caller's role or scopes do not allow the operation.";
    BadCsrfToken = "bad_csrf_token", 403, "A request with the cookie of a session lacks the token of that session.";
    AddressNotAllowed = "address_not_allowed", 403, "The webhook comes from a network that the provider's settings do not allow.";
    CrossSite = "cross_site", 403, "A browser says that a page of another site asks.";
    NotFound = "not_found", 404, "The path, or what it names, does not exist.";
    MethodNotAllowed = "method_not_allowed", 405, "The path does not take the method; `Allow` names those that it takes.";
    BodyTooSlow = "body_too_slow", 408, "The body did not arrive in time.";
    Conflict = "conflict", 409, "The current state does not allow the operation.";
    AmbiguousJob = "ambiguous_job", 409, "The name, or the beginning of one, fits several jobs; `jobs` has candidates.";
    JobDeleted = "job_deleted", 409, "The job that was submitted under the idempotency key was deleted since.";
    JobOver = "job_over", 409, "The job is over already.";
    AlreadyDecided = "already_decided", 409, "The approval request was decided already.";
    PastDeadline = "past_deadline", 409, "The approval request is past its deadline.";
    NoApproval = "no_approval", 409, "The job needs no approval.";
    NothingToResolve = "nothing_to_resolve", 409, "The state of the job is known, so there is nothing to resolve.";
    RuleInUse = "rule_in_use", 409, "The rule has requests, so it was deactivated and not deleted.";
    FirstKeyMustBeAdmin = "first_key_must_be_admin", 409, "There is no key yet, and the first one must be an administrator's.";
    SingleUser = "single_user", 409, "There is no key yet, so there are no sessions.";
    StillOpen = "still_open", 409, "The provider may still have something of the job; the detail has the time.";
    MissingSetting = "missing_setting", 409, "A setting of the provider is missing or cannot be used.";
    ProviderNotConfigured = "provider_not_configured", 409, "The provider is not configured.";
    IdempotencyMismatch = "idempotency_mismatch", 409, "The idempotency key was used for another request.";
    BodyTooLarge = "body_too_large", 413, "The body is too large.";
    NotJson = "not_json", 415, "The body is not declared as `application/json`.";
    UnknownHost = "unknown_host", 421, "The server is not known by the name in `Host`.";
    QuotaExceeded = "quota_exceeded", 429, "A quota of a number of jobs is used up; the detail says until when.";
    TooManyAttempts = "too_many_attempts", 429, "Too many logins failed; `Retry-After` says when the next may be tried.";
    InvalidRequest = "invalid_request", 422, "Fields of the request are not valid; `errors` names each.";
    InternalError = "internal_error", 500, "The server failed; its log has the reason under the correlation ID.";
    Damaged = "damaged", 500, "Stored data cannot be read.";
    ProviderError = "provider_error", 502, "The provider did not answer as it should.";
    Overloaded = "overloaded", 503, "Too many requests are under way.";
    NoWebhookSecret = "no_webhook_secret", 503, "The webhook cannot be verified, because the secret of its signature is not known.";
    NotReady = "not_ready", 503, "The server cannot work now.";
    Stopping = "stopping", 503, "The server is stopping.";
    StoreBusy = "store_busy", 503, "Too much waits to be stored.";
    StoreUnavailable = "store_unavailable", 503, "The database cannot be written.";
    StoreTimeout = "store_timeout", 503, "The database did not answer in time.";
    DatabaseDetached = "database_detached", 503, "The database file was moved, replaced or deleted.";
    OutcomeUnknown = "outcome_unknown", 503, "Whether the request was stored is not known.";
    TooManyStreams = "too_many_streams", 503, "Too many event streams are open.";
    DeadlineExceeded = "deadline_exceeded", 504, "The request was not answered in time; what it asked for may have been done.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The body of an error answer: problem details of RFC 9457, as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// `about:blank`: the kind of the problem is in `code`.
    pub r#type: String,
    /// The phrase of the status.
    pub title: String,
    /// The status of the answer.
    pub status: u16,
    /// What is wrong and what to do about it, for a person.
    pub detail: String,
    /// The path of the request.
    pub instance: String,
    /// The kind of the problem, for a program.
    pub code: Code,
    /// Under which the log has the request.
    pub correlation_id: String,
    /// Every fault of the request, where its fields are not valid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
    /// What only this kind of problem has.
    #[serde(flatten)]
    pub members: Map<String, Value>,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// JSON pointer (RFC 6901) into the body; left out for a fault elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// The parameter of the query; left out for a fault elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// What is wrong, and what is legal.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_its_word_in_json_and_its_status_is_an_errors() {
        for &code in Code::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert!((400..600).contains(&code.status()), "{code}");
            assert!(code.meaning().ends_with('.'), "{code}");
        }
    }
}
