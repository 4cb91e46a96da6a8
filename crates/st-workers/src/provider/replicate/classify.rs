//! Classifies answers, and their absence. A submission and a question get different verdicts from
//! different functions: what may be concluded from a 404 or from silence is not the same.

use std::error::Error as StdError;

use http::StatusCode;
use st_http::Sent;

use super::answer::{Answer, Unanswered};
use super::fields::{lossy_text, pick, read};
use super::retry_after;
use super::row::WORD;
use crate::provider::excerpt::{Keep, Shape};
use crate::provider::{Cause, MAY_ARRIVE_FOR, QueryError, SubmitError, Unavailable};

const LONGEST_DETAIL: usize = 500;
const DETAIL: Shape = Shape::text(Keep::Start(12 * LONGEST_DETAIL));
const FIELDS: [(&str, Shape); 3] = [("detail", DETAIL), ("title", DETAIL), ("status", WORD)];

/// What is kept of an answer that is no success.
pub(super) const REFUSAL: Shape = WORD.or_members(&FIELDS);

/// What a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// One job, which may not be there.
    Job,
    /// A model, which may not be there either.
    Model,
    /// The account or its list, which are always there: "not found" is trouble.
    Account,
}

/// The answer to a submission when it is a success.
pub(super) fn submitted(answer: Result<Answer, Unanswered>) -> Result<Answer, SubmitError> {
    match answer {
        Ok(answer) if answer.status().is_success() => Ok(answer),
        Ok(answer) => Err(submission_refused(&answer)),
        Err(error) if is_unsent(&error) => Err(unreachable(error).into()),
        Err(error) => Err(unknown(unanswered(&error), Some(Box::new(error)))),
    }
}

/// The answer to a question when it is a success.
pub(super) fn answered(
    answer: Result<Answer, Unanswered>,
    subject: Subject,
) -> Result<Answer, QueryError> {
    match answer {
        Ok(answer) if answer.status().is_success() => Ok(answer),
        Ok(answer) => Err(question_refused(&answer, subject)),
        Err(error) if is_unsent(&error) => Err(unreachable(error).into()),
        Err(error) => {
            let reason = unanswered(&error);
            Err(Unavailable::new(Cause::Trouble, reason).because(error).into())
        }
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

fn submission_refused(answer: &Answer) -> SubmitError {
    let Said { own_words, detail, reason } = Said::by(answer);
    let cause = match answer.status().as_u16() {
        401 | 407 => Cause::Credentials,
        402 | 403 => Cause::Account,
        // Both say that nothing was done with it: the wrong server, or too early in a connection.
        421 | 425 => Cause::Unreachable,
        429 => Cause::Throttled,
        400 | 404 | 413 | 422 if own_words => return SubmitError::Rejected { reason },
        _ => return unknown(reason, None),
    };
    refused(answer, cause, reason, &detail).into()
}

fn question_refused(answer: &Answer, subject: Subject) -> QueryError {
    let Said { own_words, detail, reason } = Said::by(answer);
    let cause = match answer.status() {
        StatusCode::NOT_FOUND if own_words && subject != Subject::Account => {
            return QueryError::NotFound;
        }
        StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => Cause::Credentials,
        StatusCode::PAYMENT_REQUIRED | StatusCode::FORBIDDEN => Cause::Account,
        StatusCode::TOO_MANY_REQUESTS => Cause::Throttled,
        _ => Cause::Trouble,
    };
    refused(answer, cause, reason, &detail).into()
}

fn refused(answer: &Answer, cause: Cause, reason: String, detail: &str) -> Unavailable {
    let retry_after = match cause {
        Cause::Throttled => Some(retry_after::of_throttled(answer.headers(), detail)),
        Cause::Unreachable | Cause::Credentials | Cause::Account | Cause::Trouble => {
            retry_after::by_header(answer.headers())
        }
    };
    Unavailable { retry_after, ..Unavailable::new(cause, reason) }
}

/// Whether it is certain that nothing was written.
fn is_unsent(error: &Unanswered) -> bool {
    matches!(error, Unanswered::Http(error) if error.was_sent() == Sent::No)
}

fn unreachable(error: Unanswered) -> Unavailable {
    Unavailable::new(Cause::Unreachable, "replicate cannot be reached").because(error)
}

fn unanswered(error: &Unanswered) -> &'static str {
    let Unanswered::Http(error) = error else { return "replicate's answer is too large" };
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
    fn by(answer: &Answer) -> Self {
        let status = answer.status();
        let detail = own_words(status, answer.text());
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
pub(super) fn own_words(status: StatusCode, body: &str) -> Option<String> {
    let [detail, title, number] = pick(body, FIELDS.map(|(name, _)| name)).ok()?;
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
