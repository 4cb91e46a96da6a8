//! What an answer means, and its absence. A submission and a question get different verdicts: what may
//! be concluded from a 404 or from silence is not the same.

use std::error::Error as StdError;
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;
use st_store::ProviderName;

use super::answers::{AnswerRule, Means, Operation};
use super::connection::{Answer, Connection, Unanswered};
use super::description::Description;
use super::once::Once;
use super::template::RenderError;
use super::wait;
use crate::provider::{Cause, MAY_ARRIVE_FOR, QueryError, SubmitError, Unavailable};

const LONGEST_DETAIL: usize = 500;
/// Where errors are, in the usual forms; looked for in what is not described further.
const USUAL_DETAILS: [&str; 7] =
    ["/error/message", "/message", "/detail", "/error", "/title", "/errors/0/error", "/errors/0"];

/// Judges the answers of one provider.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judge<'p> {
    pub(super) name: &'p ProviderName,
    pub(super) description: &'p Description,
    /// Knows the secret that no text may show; none in a dry run.
    pub(super) connection: Option<&'p Connection>,
}

/// What a submission came to, when nothing went wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Submitted {
    /// The answer shows the job.
    Accepted,
    /// The name that we chose is taken: it may be there already.
    Conflict,
}

/// What a question came to, when nothing went wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The answer is what was asked for.
    Answered,
    /// There is nothing to do any more.
    Done,
}

/// Why a question has no answer.
#[derive(Debug)]
pub(super) enum Refused {
    /// The provider does not have the job, by this rule.
    Gone(Duration),
    Unavailable(Unavailable),
}

impl From<Refused> for QueryError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Gone(_) => Self::NotFound,
            Refused::Unavailable(unavailable) => Self::Unavailable(unavailable),
        }
    }
}

impl Judge<'_> {
    /// The verdict about a submission.
    pub(super) fn submitted(
        &self,
        answer: &Answer,
        body: Option<&Value>,
    ) -> Result<Submitted, SubmitError> {
        let status = answer.status.as_u16();
        if let Once::Name { conflict, .. } = &self.description.once
            && conflict.holds(status, body)
        {
            return Ok(Submitted::Conflict);
        }
        let reason = || self.said(answer.status, body);
        if let Some(rule) = self.description.answers.rule(Operation::Submit, status, body) {
            let reason = self.reason_of(rule, answer.status, body);
            return match rule.means {
                Means::Accepted => Ok(Submitted::Accepted),
                Means::Rejected => Err(SubmitError::Rejected { reason }),
                // After these the job may have arrived, whatever the description says of others.
                Means::Unavailable if status < 500 && status != 408 => {
                    let cause = cause_of(status).unwrap_or(Cause::Account);
                    Err(unavailable(cause, reason, rule.wait(answer, body)).into())
                }
                Means::Unavailable | Means::Unknown | Means::Gone | Means::Done => {
                    Err(self.unknown(reason, None))
                }
            };
        }
        if answer.status.is_success() {
            return Ok(Submitted::Accepted);
        }
        match status {
            // Both say that nothing was done with it: the wrong server, or too early in a connection.
            421 | 425 => {
                Err(unavailable(Cause::Unreachable, reason(), wait::usual(&answer.headers)).into())
            }
            400 | 404 | 413 | 422 if self.description.answers.is_own_error(body) => {
                Err(SubmitError::Rejected { reason: reason() })
            }
            _ => Err(match cause_of(status) {
                Some(cause) => unavailable(cause, reason(), wait::usual(&answer.headers)).into(),
                None => self.unknown(reason(), None),
            }),
        }
    }

    /// The verdict about a question.
    pub(super) fn answered(
        &self,
        operation: Operation,
        answer: &Answer,
        body: Option<&Value>,
    ) -> Result<Asked, Refused> {
        let status = answer.status.as_u16();
        if let Some(rule) = self.description.answers.rule(operation, status, body) {
            let reason = self.reason_of(rule, answer.status, body);
            return match rule.means {
                Means::Accepted => Ok(Asked::Answered),
                Means::Done => Ok(Asked::Done),
                // A gateway answers 404 as well.
                Means::Gone
                    if rule.reads_the_body() || self.description.answers.is_own_error(body) =>
                {
                    Err(Refused::Gone(rule.after))
                }
                Means::Gone | Means::Unavailable | Means::Unknown | Means::Rejected => {
                    let cause = cause_of(status).unwrap_or(Cause::Trouble);
                    Err(Refused::Unavailable(unavailable(cause, reason, rule.wait(answer, body))))
                }
            };
        }
        if answer.status.is_success() {
            return Ok(Asked::Answered);
        }
        let cause = cause_of(status).unwrap_or(Cause::Trouble);
        let reason = self.said(answer.status, body);
        Err(Refused::Unavailable(unavailable(cause, reason, wait::usual(&answer.headers))))
    }

    /// The verdict about a submission without an answer.
    pub(super) fn unsubmitted(&self, why: Unanswered) -> SubmitError {
        let name = self.name;
        match why {
            Unanswered::Render(RenderError::Missing { reference })
                if reference.starts_with("hardware.") =>
            {
                let reason = format!("{name} needs to know which hardware the job asks for");
                SubmitError::MissingSetting { reason }
            }
            why @ (Unanswered::Render(_) | Unanswered::TooLarge { .. }) => {
                let reason = format!("{name} cannot be given the job: {}", st_log::Chain(&why));
                SubmitError::Rejected { reason: self.mask(&reason) }
            }
            why @ (Unanswered::Credential(_) | Unanswered::Budget(_) | Unanswered::Http(_)) => {
                if why.is_unsent() {
                    return self.unreached(why).into();
                }
                self.unknown(self.silence(&why), Some(Box::new(why)))
            }
        }
    }

    /// The verdict about a question without an answer.
    pub(super) fn unanswered(&self, why: Unanswered) -> QueryError {
        if why.is_unsent() {
            return self.unreached(why).into();
        }
        let reason = self.silence(&why);
        let source: Option<Box<dyn StdError + Send + Sync>> = Some(Box::new(why));
        Unavailable { source, ..Unavailable::new(Cause::Trouble, reason) }.into()
    }

    /// The answer is there and is not what was asked for.
    pub(super) fn unreadable(&self, why: &str) -> QueryError {
        QueryError::trouble(format!("the answer of {} cannot be used: {why}", self.name))
    }

    /// A submission that was answered with a success which cannot be used: it may well have arrived.
    pub(super) fn unusable_success(&self, why: &str) -> SubmitError {
        self.unknown(format!("{} accepted the job and {why}", self.name), None)
    }

    pub(super) fn unknown(
        &self,
        reason: String,
        source: Option<Box<dyn StdError + Send + Sync>>,
    ) -> SubmitError {
        let may_arrive_for = self.description.may_arrive_for.unwrap_or(MAY_ARRIVE_FOR);
        SubmitError::Unknown { reason, may_arrive_for, source }
    }

    fn unreached(&self, why: Unanswered) -> Unavailable {
        let name = self.name;
        let (cause, reason) = match &why {
            Unanswered::Credential(_) => {
                (Cause::Credentials, format!("{name} has no credential now"))
            }
            Unanswered::Budget(_) => {
                (Cause::Throttled, format!("the rate that {name} allows is used up"))
            }
            Unanswered::Render(_) | Unanswered::TooLarge { .. } => {
                (Cause::Trouble, format!("the request to {name} cannot be made"))
            }
            Unanswered::Http(_) => (Cause::Unreachable, format!("{name} cannot be reached")),
        };
        let retry_after = match &why {
            Unanswered::Budget(wait) => Some(*wait),
            Unanswered::Render(_)
            | Unanswered::TooLarge { .. }
            | Unanswered::Credential(_)
            | Unanswered::Http(_) => None,
        };
        Unavailable { retry_after, source: Some(Box::new(why)), ..Unavailable::new(cause, reason) }
    }

    fn silence(&self, why: &Unanswered) -> String {
        let name = self.name;
        let Unanswered::Http(error) = why else { return format!("{name} was not asked") };
        if error.is_timeout() {
            format!("{name} did not answer in time")
        } else if error.is_body_too_large() {
            format!("the answer of {name} is too large")
        } else {
            format!("the connection to {name} broke")
        }
    }

    fn reason_of(&self, rule: &AnswerRule, status: StatusCode, body: Option<&Value>) -> String {
        let said = self.said(status, body);
        rule.why.as_ref().map_or(said.clone(), |why| format!("{}: {why} ({said})", self.name))
    }

    /// What the provider says, in one line, without the credential.
    fn said(&self, status: StatusCode, body: Option<&Value>) -> String {
        let own = self.description.answers.own_error.as_ref().map(|own| own.at.as_str());
        let at = own.into_iter().chain(USUAL_DETAILS);
        let detail = body.and_then(|body| {
            let mut texts = at.filter_map(|at| body.pointer(at)).filter_map(Value::as_str);
            texts.find(|text| !text.is_empty() && !matches!(*text, "Status" | "error"))
        });
        let detail = detail.or_else(|| status.canonical_reason());
        let detail = detail.map(|text| {
            let short = text.chars().take(LONGEST_DETAIL);
            short.map(|char| if char.is_control() { ' ' } else { char }).collect::<String>()
        });
        let text = match detail {
            Some(detail) => format!("{} answered {}: {detail}", self.name, status.as_u16()),
            None => format!("{} answered {}", self.name, status.as_u16()),
        };
        self.mask(&text)
    }

    fn mask(&self, text: &str) -> String {
        self.connection.map_or_else(|| text.to_owned(), |connection| connection.mask(text))
    }
}

impl AnswerRule {
    /// How long the provider wants to be left alone.
    fn wait(&self, answer: &Answer, body: Option<&Value>) -> Option<Duration> {
        let described = wait::first(&self.retry_after, &answer.headers, body);
        described.or_else(|| wait::usual(&answer.headers))
    }
}

fn unavailable(cause: Cause, reason: String, retry_after: Option<Duration>) -> Unavailable {
    Unavailable { retry_after, ..Unavailable::new(cause, reason) }
}

/// What a status says about us and not about the job.
fn cause_of(status: u16) -> Option<Cause> {
    match status {
        401 | 407 => Some(Cause::Credentials),
        402 | 403 => Some(Cause::Account),
        429 => Some(Cause::Throttled),
        _ => None,
    }
}
