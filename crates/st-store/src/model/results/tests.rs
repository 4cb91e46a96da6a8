//! When results are due again, when they are given up, and what a record keeps of them.

use super::*;
use crate::model::{JobId, ProviderName};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

/// Results that can be read for an hour, after so many failures.
fn due(attempts: u32) -> DueResults {
    DueResults {
        job: JobId::new(at(0), [1; 10]),
        provider: ProviderName::new("fake"),
        expires_at: at(3600),
        attempts,
    }
}

fn failed() -> ResultsOutcome {
    ResultsOutcome::Failed { reason: "no answer".to_owned(), output_path: None }
}

fn gone() -> ResultsOutcome {
    ResultsOutcome::Gone { reason: "deleted".to_owned(), output_path: None }
}

#[test]
fn pauses_double_up_to_five_minutes() {
    let pauses = [0, 1, 2, 5, 6, 20, u32::MAX].map(|attempts| {
        due(attempts).again(&failed(), at(0)).unwrap().duration_since(at(0)).as_secs()
    });
    assert_eq!(pauses, [5, 10, 20, 160, 300, 300, 300]);
}

#[test]
fn a_failure_is_given_up_after_the_deadline_and_its_margin() {
    let end = 3600 + 15 * 60;
    assert_eq!(due(20).again(&failed(), at(3601)), Some(at(3901)));
    assert_eq!(due(20).again(&failed(), at(end - 10)), Some(at(end)), "the last one is at the end");
    assert_eq!(due(0).again(&failed(), at(end)), None);
}

#[test]
fn that_they_are_gone_is_believed_at_the_deadline() {
    assert_eq!(due(20).again(&gone(), at(3000)), Some(at(3300)));
    assert_eq!(due(20).again(&gone(), at(3500)), Some(at(3600)));
    assert_eq!(due(0).again(&gone(), at(3600)), None);
}

#[test]
fn what_is_kept_or_lost_for_certain_is_not_due_again() {
    let kept = ResultsOutcome::Kept { output_path: None };
    let lost = ResultsOutcome::Lost { reason: "too large".to_owned(), output_path: None };
    assert_eq!([kept, lost].map(|outcome| due(0).again(&outcome, at(0))), [None, None]);
}
