//! Classifies answers, and their absence. A submission and a question get different verdicts from
//! different functions: what may be concluded from a 404 or from silence is not the same.

use std::error::Error as StdError;

use http::StatusCode;
use st_http::{Kind, Response, Sent};

use super::fields::{lossy_text, pick, read};
use super::{page, retry_after};
use crate::provider::{Cause, MAY_ARRIVE_FOR, QueryError, SubmitError, Unavailable};

const LONGEST_DETAIL: usize = 500;

/// What a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// One job, which may not be there.
    Job,
    /// The account or its list, which are always there: "not found" is trouble.
    Account,
}

/// The answer to a submission when it is a success.
pub(super) fn submitted(answer: Result<Response, st_http::Error>) -> Result<Response, SubmitError> {
    match answer {
        Ok(response) if response.status().is_success() => Ok(response),
        Ok(response) => Err(submission_refused(&response)),
        Err(error) => Err(match not_sent(&error) {
            Some(cause) => unavailable(cause, &error).because(error).into(),
            None => unknown(unanswered(&error), Some(Box::new(error))),
        }),
    }
}

/// The answer to a question when it is a success.
pub(super) fn answered(
    answer: Result<Response, st_http::Error>,
    subject: Subject,
) -> Result<Response, QueryError> {
    match answer {
        Ok(response) if response.status().is_success() => Ok(response),
        Ok(response) => Err(question_refused(&response, subject)),
        Err(error) => Err(match not_sent(&error) {
            Some(cause) => unavailable(cause, &error).because(error).into(),
            None => Unavailable::new(Cause::Trouble, unanswered(&error)).because(error).into(),
        }),
    }
}

/// A submission that was answered with a success which cannot be used: it may well have arrived.
pub(super) fn unusable_success(what: &str) -> SubmitError {
    unknown(format!("replicate accepted the job and {what}"), None)
}

/// The answer to a question cannot be used.
pub(super) fn unreadable(why: impl Into<Box<dyn StdError + Send + Sync>>) -> QueryError {
    Unavailable::new(Cause::Trouble, "replicate's answer cannot be read").because(why).into()
}

/// The same failure for another question that was not asked.
pub(super) fn repeated(failure: &Unavailable) -> QueryError {
    let Unavailable { cause, reason, retry_after, source: _ } = failure;
    Unavailable { retry_after: *retry_after, ..Unavailable::new(*cause, reason.clone()) }.into()
}

fn submission_refused(response: &Response) -> SubmitError {
    let Said { own_words, detail, reason } = Said::by(response);
    let cause = match response.status().as_u16() {
        401 | 407 => Cause::Credentials,
        402 | 403 => Cause::Account,
        // Both say that nothing was done with it: the wrong server, or too early in a connection.
        421 | 425 => Cause::Unreachable,
        429 => Cause::Throttled,
        400 | 404 | 413 | 422 if own_words => return SubmitError::Rejected { reason },
        _ => return unknown(reason, None),
    };
    refused(response, cause, reason, &detail).into()
}

fn question_refused(response: &Response, subject: Subject) -> QueryError {
    let Said { own_words, detail, reason } = Said::by(response);
    let cause = match response.status() {
        StatusCode::NOT_FOUND if own_words && subject == Subject::Job => {
            return QueryError::NotFound;
        }
        StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => Cause::Credentials,
        StatusCode::PAYMENT_REQUIRED | StatusCode::FORBIDDEN => Cause::Account,
        StatusCode::TOO_MANY_REQUESTS => Cause::Throttled,
        _ => Cause::Trouble,
    };
    refused(response, cause, reason, &detail).into()
}

fn refused(response: &Response, cause: Cause, reason: String, detail: &str) -> Unavailable {
    let retry_after = match cause {
        Cause::Throttled => Some(retry_after::of_throttled(response.headers(), detail)),
        Cause::Unreachable | Cause::Credentials | Cause::Account | Cause::Trouble => {
            retry_after::by_header(response.headers())
        }
    };
    Unavailable { retry_after, ..Unavailable::new(cause, reason) }
}

/// Why nothing was written; `None` when something may have been.
fn not_sent(error: &st_http::Error) -> Option<Cause> {
    match (error.was_sent(), error.kind()) {
        // Of all that is in our requests only the token is not known to be fit for one.
        (Sent::No, Kind::Request) => Some(Cause::Credentials),
        (Sent::No, _) => Some(Cause::Unreachable),
        (Sent::Maybe | Sent::Yes, _) => None,
    }
}

fn unavailable(cause: Cause, error: &st_http::Error) -> Unavailable {
    let reason = if error.kind() == Kind::Request {
        "a request to replicate cannot be sent with this token"
    } else {
        "replicate cannot be reached"
    };
    Unavailable::new(cause, reason)
}

fn unanswered(error: &st_http::Error) -> &'static str {
    if error.is_timeout() {
        "replicate did not answer in time"
    } else if error.is_body_too_large() {
        "replicate's answer is too large"
    } else {
        "the connection to replicate broke"
    }
}

fn unknown(
    reason: impl Into<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
) -> SubmitError {
    SubmitError::Unknown { reason: reason.into(), may_arrive_for: MAY_ARRIVE_FOR, source }
}

/// What an answer says in words.
struct Said {
    /// Whether it is the provider that speaks and not a gateway before it.
    own_words: bool,
    /// The provider's own text, or nothing.
    detail: String,
    /// In one line, for people.
    reason: String,
}

impl Said {
    fn by(response: &Response) -> Self {
        let status = response.status();
        let detail = own_words(status, &page::text(response.body()));
        let own_words = detail.is_some();
        let detail = detail.unwrap_or_default();
        let shown = if detail.is_empty() { status.canonical_reason() } else { Some(&*detail) };
        let reason = match shown {
            Some(shown) => format!("replicate answered {}: {shown}", status.as_u16()),
            None => format!("replicate answered {}", status.as_u16()),
        };
        Self { own_words, detail, reason }
    }
}

/// The text of an error as the provider writes one: an object with `detail` or `title`, whose
/// `status`, if it is a number, is the answer's.
fn own_words(status: StatusCode, body: &str) -> Option<String> {
    let [detail, title, number] = pick(body, ["detail", "title", "status"]).ok()?;
    let differs = |number: f64| (number - f64::from(status.as_u16())).abs() > 0.1;
    let other = read::<f64>(number).is_some_and(differs);
    let text = lossy_text(detail).or_else(|| lossy_text(title)).filter(|_| !other)?;
    Some(text.chars().take(LONGEST_DETAIL).collect())
}

impl Unavailable {
    fn because(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_providers_own_words_are_its_json_and_nothing_else() {
        let table = [
            (r#"{"detail": "no such model", "status": 404}"#, Some("no such model")),
            (r#"{"title": "Not found"}"#, Some("Not found")),
            (r#"{"detail": null, "title": "Not found", "status": 404.0}"#, Some("Not found")),
            (r#"{"detail": "no", "status": "404"}"#, Some("no")),
            (r#"{"detail": "", "status": 404}"#, Some("")),
            (r#"{"detail": "no", "status": 500}"#, None),
            (r#"{"detail": ["no"], "status": 404}"#, None),
            (r#"{"message": "no route", "status": 404}"#, None),
            (r#"{"status": 404}"#, None),
            (r#"["detail"]"#, None),
            (r#""detail""#, None),
            ("<html><h1>404 Not Found</h1></html>", None),
            ("", None),
        ];
        for (body, words) in table {
            assert_eq!(own_words(StatusCode::NOT_FOUND, body).as_deref(), words, "{body}");
        }
        let long = format!(r#"{{"detail": "{}"}}"#, "ä".repeat(5000));
        assert_eq!(own_words(StatusCode::NOT_FOUND, &long).unwrap().chars().count(), 500);
    }
}
