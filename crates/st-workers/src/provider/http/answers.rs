//! The rules about answers: which of them accept, refuse, deny or say nothing.

use std::time::Duration;

use serde_json::Value;

use super::rule::Condition;
use super::section::{Faults, Place, Section};
use super::units;
use super::wait::WaitAt;

/// A job is denied for at least as long by every provider before that is believed.
pub(super) const SHORTEST_GONE: Duration = Duration::from_mins(10);
const LONGEST_GONE: Duration = Duration::from_hours(24);

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Submit,
    Release,
    Status,
    List,
    Find,
    Cancel,
    Logs,
    Validate,
    Sweep,
}

pub(super) const OPERATIONS: [(&str, Operation); 9] = [
    ("submit", Operation::Submit),
    ("release", Operation::Release),
    ("status", Operation::Status),
    ("list", Operation::List),
    ("find", Operation::Find),
    ("cancel", Operation::Cancel),
    ("logs", Operation::Logs),
    ("validate", Operation::Validate),
    ("sweep", Operation::Sweep),
];

impl Operation {
    pub(super) fn as_str(self) -> &'static str {
        OPERATIONS.iter().find(|(_, operation)| *operation == self).map_or("", |(word, _)| word)
    }
}

/// What an answer means by the description's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Means {
    /// The call did what it is for.
    Accepted,
    /// The provider refuses what the job asks for.
    Rejected,
    /// The provider does not serve us now; nothing was done.
    Unavailable,
    /// It cannot be known whether anything was done.
    Unknown,
    /// The provider does not have the job.
    Gone,
    /// There is nothing to cancel any more.
    Done,
}

const MEANS: [(&str, Means); 6] = [
    ("accepted", Means::Accepted),
    ("rejected", Means::Rejected),
    ("unavailable", Means::Unavailable),
    ("unknown", Means::Unknown),
    ("gone", Means::Gone),
    ("done", Means::Done),
];

impl Means {
    /// Whether an answer to this call can mean that.
    fn fits(self, operation: Operation) -> bool {
        match self {
            Self::Accepted | Self::Unavailable => true,
            Self::Rejected | Self::Unknown => operation == Operation::Submit,
            Self::Gone => {
                matches!(operation, Operation::Status | Operation::Cancel | Operation::Logs)
            }
            Self::Done => matches!(operation, Operation::Cancel | Operation::Sweep),
        }
    }
}

/// HTTP statuses and, where given, a condition of the body.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Match {
    /// Empty: any.
    statuses: Vec<u16>,
    body: Option<Condition>,
}

impl Match {
    /// Reads the keys of a match out of a rule that has others.
    fn from(section: &mut Section<'_, '_>) -> Option<Self> {
        let statuses = section.read_each("status", |place, faults| {
            let number = place.value.as_u64().and_then(|number| u16::try_from(number).ok());
            let legal = number.filter(|number| (100..=599).contains(number));
            legal.or_else(|| place.expected(faults, "an HTTP status from 100 to 599"))
        });
        let conditional = ["at", "is", "any", "above", "present", "and"];
        let has_body = conditional.iter().any(|key| section.has(key));
        let body = if has_body { Some(Condition::from(section)?) } else { None };
        if statuses.is_empty() && body.is_none() {
            section.fault_here("needs a status, a condition of the body, or both");
            return None;
        }
        Some(Self { statuses, body })
    }

    /// Reads an object that is a match and nothing else.
    pub(super) fn read(place: &Place<'_>, faults: &mut Faults) -> Option<Self> {
        let mut section = place.section(faults)?;
        let read = Self::from(&mut section);
        section.finish();
        read
    }

    pub(super) fn holds(&self, status: u16, body: Option<&Value>) -> bool {
        let by_status = self.statuses.is_empty() || self.statuses.contains(&status);
        let by_body = |condition: &Condition| body.is_some_and(|body| condition.holds(body));
        by_status && self.body.as_ref().is_none_or(by_body)
    }
}

/// One rule about answers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AnswerRule {
    /// The calls that it is about; empty: all that can mean it.
    on: Vec<Operation>,
    when: Match,
    pub(super) means: Means,
    /// For how long a job must be denied.
    pub(super) after: Duration,
    /// For people, in place of what the provider says.
    pub(super) why: Option<String>,
    pub(super) retry_after: Vec<WaitAt>,
}

impl AnswerRule {
    pub(super) fn read(place: &Place<'_>, faults: &mut Faults) -> Option<Self> {
        let mut section = place.section(faults)?;
        let on = section.read_each("on", |place, faults| place.word(faults, &OPERATIONS));
        let when = Match::from(&mut section);
        let means = section.require("means", |place, faults| place.word(faults, &MEANS));
        let after = section.read("after", |place, faults| place.parsed(faults, gone_after));
        let why = section.read("why", |place, faults| place.text(faults).map(str::to_owned));
        let retry_after = section.read_each("retry_after", WaitAt::read);
        if let Some(means) = means {
            check(&mut section, means, &on, when.as_ref());
        }
        section.finish();
        let after = after.unwrap_or(SHORTEST_GONE);
        Some(Self { on, when: when?, means: means?, after, why, retry_after })
    }

    /// Whether what the provider says decides, and not the status alone.
    pub(super) fn reads_the_body(&self) -> bool {
        self.when.body.is_some()
    }

    /// Whether it is about this answer.
    pub(super) fn matches(&self, operation: Operation, status: u16, body: Option<&Value>) -> bool {
        let concerned = self.on.is_empty() || self.on.contains(&operation);
        concerned && self.means.fits(operation) && self.when.holds(status, body)
    }
}

fn check(section: &mut Section<'_, '_>, means: Means, on: &[Operation], when: Option<&Match>) {
    let word = MEANS.iter().find(|(_, it)| *it == means).map_or("", |(word, _)| *word);
    for operation in on.iter().filter(|operation| !means.fits(**operation)) {
        let message = format!("an answer to {} cannot mean {word}", operation.as_str());
        section.fault("means", message);
    }
    if means != Means::Gone && section.has("after") {
        section.fault("after", "belongs to a rule that means gone");
    }
    if means != Means::Unavailable && section.has("retry_after") {
        section.fault("retry_after", "belongs to a rule that means unavailable");
    }
    // After such an answer the job may run: to call it refused would be to submit it again.
    let open = |status: &u16| *status >= 500 || *status == 408;
    let statuses = when.map_or(&[][..], |when| &when.statuses);
    if means == Means::Rejected && (statuses.is_empty() || statuses.iter().any(open)) {
        section.fault(
            "means",
            "rejected needs a status of its own, other than 408 and 500 to 599: after those the \
             job may have arrived",
        );
    }
}

fn gone_after(text: &str) -> Result<Duration, String> {
    let after = units::duration(text)?;
    if (SHORTEST_GONE..=LONGEST_GONE).contains(&after) {
        Ok(after)
    } else {
        Err("expected a duration from 10m to 24h".to_owned())
    }
}

/// What is said about answers.
#[derive(Debug, Clone, Default)]
pub(super) struct Answers {
    pub(super) rules: Vec<AnswerRule>,
    /// What distinguishes the provider's own errors from those of a gateway.
    pub(super) own_error: Option<Condition>,
}

impl Answers {
    /// The first rule about this answer.
    pub(super) fn rule(
        &self,
        operation: Operation,
        status: u16,
        body: Option<&Value>,
    ) -> Option<&AnswerRule> {
        self.rules.iter().find(|rule| rule.matches(operation, status, body))
    }

    /// Whether the provider itself speaks.
    pub(super) fn is_own_error(&self, body: Option<&Value>) -> bool {
        self.own_error.as_ref().zip(body).is_some_and(|(own, body)| own.holds(body))
    }

    /// Whether a gateway could say that a job is gone.
    pub(super) fn believes_gateways(&self) -> bool {
        let by_status = |rule: &AnswerRule| rule.means == Means::Gone && !rule.reads_the_body();
        self.own_error.is_none() && self.rules.iter().any(by_status)
    }

    /// Whether some answer to a status means that the job is gone.
    pub(super) fn says_gone(&self) -> bool {
        self.rules.iter().any(|rule| {
            rule.means == Means::Gone
                && (rule.on.is_empty() || rule.on.contains(&Operation::Status))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(value: &Value) -> Result<AnswerRule, String> {
        let mut faults = Faults::default();
        let read = AnswerRule::read(&Place { value, pointer: String::new() }, &mut faults);
        match faults.0.first() {
            None => Ok(read.unwrap()),
            Some(fault) => Err(format!("{}: {}", fault.pointer, fault.message)),
        }
    }

    #[test]
    fn a_rule_is_about_the_calls_that_can_mean_it() {
        let gone = rule(&json!({"status": 404, "means": "gone"})).unwrap();
        assert!(gone.matches(Operation::Status, 404, None));
        assert!(!gone.matches(Operation::Submit, 404, None), "a submission is never gone");
        assert!(!gone.matches(Operation::Status, 410, None));
        let body = json!({"at": "/reason", "is": "NotFound", "on": ["cancel"], "means": "done"});
        let done = rule(&body).unwrap();
        assert!(done.matches(Operation::Cancel, 404, Some(&json!({"reason": "NotFound"}))));
        assert!(!done.matches(Operation::Cancel, 404, None));
        assert!(!done.matches(Operation::Status, 404, Some(&json!({"reason": "NotFound"}))));
    }

    #[test]
    fn a_rule_that_could_pay_twice_or_means_nothing_is_refused() {
        for (value, said) in [
            (json!({"status": 500, "means": "rejected"}), "/means: rejected needs a status"),
            (json!({"at": "/e", "present": true, "means": "rejected"}), "/means: rejected needs"),
            (
                json!({"status": 404, "means": "gone", "on": ["submit"]}),
                "/means: an answer to submit",
            ),
            (json!({"status": 404, "means": "gone", "after": "1m"}), "/after: \"1m\" is not legal"),
            (
                json!({"status": 429, "means": "rejected", "retry_after": "1s"}),
                "/retry_after: belongs",
            ),
            (json!({"status": 42, "means": "gone"}), "/status: expected an HTTP status"),
            (json!({"means": "gone"}), ": needs a status, a condition of the body, or both"),
            (json!({"status": 404}), "/means: is required"),
            (
                json!({"status": 404, "means": "went"}),
                "/means: \"went\" is not legal, expected acc",
            ),
            (json!({"status": 404, "means": "gone", "on": "staus"}), "/on: \"staus\" is not legal"),
        ] {
            let error = rule(&value).unwrap_err();
            assert!(error.starts_with(said), "{value}: {error}");
        }
    }
}
