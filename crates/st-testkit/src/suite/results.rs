//! Results that a provider deletes: when they are due, and what becomes of them.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::SignedDuration;
use st_store::{
    Actor, ClockEvidence, DueResults, JobRecord, JobStatus, MAX_RESULTS_PAUSE, NewJob, Outcome,
    ProviderName, ProviderStatus, RESULTS_MARGIN, Results, ResultsOutcome, ResultsState, Settled,
};

use super::{Harness, accepted, at, claiming, fake, id, job, serving, status};

const HOUR: u64 = 3600;

/// The report of the end of the job with this number, whose results can be read for so many seconds.
fn ended(number: u8, end: JobStatus, seconds: u64) -> ProviderStatus {
    let results_kept_for = Some(Duration::from_secs(seconds));
    ProviderStatus { results_kept_for, ..status(number, end) }
}

/// A job that ends now.
async fn end(harness: &Harness, number: u8, report: ProviderStatus) -> JobRecord {
    let record = harness.at_provider(number).await;
    harness.settle(&record, Outcome::Reported(report)).await.unwrap().1
}

async fn due(harness: &Harness) -> Vec<DueResults> {
    harness.store.due_results(&fake(), &BTreeSet::new(), 100).await.unwrap()
}

/// How long until the first results are due.
async fn next(harness: &Harness) -> Option<u64> {
    let waiting = harness.store.results_waiting(&BTreeSet::new()).await.unwrap();
    waiting.first().map(|(_, wait)| wait.as_secs())
}

fn kept() -> ResultsOutcome {
    ResultsOutcome::Kept { output_path: Some("/outputs/1".to_owned()) }
}

fn failed() -> ResultsOutcome {
    ResultsOutcome::Failed { reason: "no answer".to_owned(), output_path: None }
}

fn lost(reason: &str, expires_at: i64) -> Results {
    let state = ResultsState::Lost { reason: reason.to_owned(), output_path: None };
    Results { expires_at: at(expires_at), state }
}

pub async fn results_that_stay_are_never_due(harness: &Harness) {
    let record = end(harness, 1, status(1, JobStatus::Completed)).await;
    assert_eq!(record.job().results, None);
    harness.submit(job(2, "ann")).await;
    harness.store.cancel_job(id(2), &Actor::Operator).await.unwrap();
    assert_eq!((due(harness).await, next(harness).await), (Vec::new(), None));
    let settled = harness.store.settle_results(id(1), &kept()).await.unwrap();
    assert_eq!(settled, record, "there is nothing to settle");
}

pub async fn results_are_due_with_the_end_of_their_job(harness: &Harness) {
    let running = ended(1, JobStatus::Running, HOUR);
    let record = harness.at_provider(1).await;
    let record = harness.settle(&record, Outcome::Reported(running)).await.unwrap().1;
    assert_eq!((&record.job().results, next(harness).await), (&None, None));
    harness.go_to(100);
    let report = Outcome::Reported(ended(1, JobStatus::Failed, HOUR));
    let (settled, record) = harness.settle(&record, report.clone()).await.unwrap();
    assert_eq!(settled, Settled::Changed);
    let expires_at = at(100 + 3600);
    let results = Some(Results { expires_at, state: ResultsState::Due });
    assert_eq!(record.job().results, results);
    assert_eq!(harness.found(1).await.job().results, results);
    let expected = DueResults { job: id(1), provider: fake(), expires_at, attempts: 0 };
    assert_eq!(due(harness).await, std::slice::from_ref(&expected));
    // A later report of the same end does not give it more time.
    harness.go_to(200);
    assert_eq!(harness.settle(&record, report).await.unwrap().0, Settled::Unchanged);
    assert_eq!((due(harness).await, next(harness).await), (vec![expected], Some(0)));
    // One that is found at its provider after its end is due as well.
    let record = harness.claimed(2).await;
    let found = Outcome::Found(ended(2, JobStatus::Completed, 60));
    harness.settle(&record, found).await.unwrap();
    assert_eq!(
        due(harness).await.first().map(|due| (due.job, due.expires_at)),
        Some((id(2), at(260)))
    );
}

pub async fn what_is_deleted_first_is_fetched_first(harness: &Harness) {
    for (number, seconds) in [(1, 300), (2, 100), (3, 200)] {
        end(harness, number, ended(number, JobStatus::Completed, seconds)).await;
    }
    let other = NewJob { provider: ProviderName::new("other"), ..job(4, "zoe") };
    harness.submit(other).await;
    let options = st_store::ClaimOptions { serving: vec![serving("other")], ..claiming(1) };
    let record = harness.store.claim(&options).await.unwrap().claims.remove(0).record;
    let record = harness.settle(&record, accepted(4)).await.unwrap().1;
    let report = Outcome::Reported(ended(4, JobStatus::Completed, 50));
    harness.settle(&record, report).await.unwrap();
    let jobs = |due: Vec<DueResults>| due.into_iter().map(|due| due.job).collect::<Vec<_>>();
    assert_eq!(jobs(due(harness).await), [2, 3, 1].map(id));
    assert_eq!(
        jobs(harness.store.due_results(&fake(), &BTreeSet::new(), 2).await.unwrap()),
        [2, 3].map(id)
    );
    let waiting = harness.store.results_waiting(&BTreeSet::new()).await.unwrap();
    let waiting: Vec<&str> = waiting.iter().map(|(provider, _)| provider.as_str()).collect();
    assert_eq!(waiting, ["fake", "other"]);
}

pub async fn jobs_that_are_left_out_take_no_place_of_others(harness: &Harness) {
    for (number, seconds) in [(1, 100), (2, 200), (3, 300)] {
        end(harness, number, ended(number, JobStatus::Completed, seconds)).await;
    }
    let first = async |except: &[u8]| {
        let except: BTreeSet<_> = except.iter().map(|number| id(*number)).collect();
        let due = harness.store.due_results(&fake(), &except, 1).await.unwrap();
        let waiting = harness.store.results_waiting(&except).await.unwrap();
        (due.first().map(|due| due.job), waiting.first().map(|(_, wait)| wait.as_secs()))
    };
    assert_eq!(first(&[]).await, (Some(id(1)), Some(0)));
    assert_eq!(first(&[1, 9]).await, (Some(id(2)), Some(0)));
    harness.store.settle_results(id(3), &failed()).await.unwrap();
    assert_eq!(first(&[1, 2]).await, (None, Some(5)), "the others are in flight");
    assert_eq!(first(&[1, 2, 3]).await, (None, None));
}

pub async fn outputs_that_are_here_stay_known_when_something_else_is_lost(harness: &Harness) {
    end(harness, 1, ended(1, JobStatus::Completed, HOUR)).await;
    end(harness, 2, ended(2, JobStatus::Completed, HOUR)).await;
    let (reason, output_path) = ("no answer".to_owned(), Some("/outputs/1".to_owned()));
    let lost = ResultsOutcome::Lost { reason: reason.clone(), output_path: output_path.clone() };
    let failed =
        ResultsOutcome::Failed { reason: reason.clone(), output_path: output_path.clone() };
    harness.store.settle_results(id(1), &lost).await.unwrap();
    harness.go_to(2 * HOUR);
    harness.store.settle_results(id(2), &failed).await.unwrap();
    let state = ResultsState::Lost { reason, output_path };
    for number in [1, 2] {
        let results = harness.found(number).await.job().results.clone();
        assert_eq!(results.map(|results| results.state), Some(state.clone()), "{number}");
    }
}

pub async fn results_can_be_given_up_without_their_job(harness: &Harness) {
    end(harness, 1, ended(1, JobStatus::Completed, HOUR)).await;
    assert!(harness.store.give_up_results(id(1), "no\0answer").await.unwrap());
    let results = harness.found(1).await.job().results.clone();
    assert_eq!(results, Some(lost("no\u{fffd}answer", 3600)));
    assert_eq!((due(harness).await, next(harness).await), (Vec::new(), None));
    for number in [1, 9] {
        assert!(!harness.store.give_up_results(id(number), "late").await.unwrap(), "{number}");
    }
    assert_eq!(harness.found(1).await.job().results, results);
}

pub async fn results_are_settled_once(harness: &Harness) {
    end(harness, 1, ended(1, JobStatus::Completed, HOUR)).await;
    let record = harness.store.settle_results(id(1), &kept()).await.unwrap();
    let state = ResultsState::Kept { output_path: Some("/outputs/1".to_owned()) };
    let results = Some(Results { expires_at: at(3600), state });
    assert_eq!(record.job().results, results);
    assert_eq!((due(harness).await, next(harness).await), (Vec::new(), None));
    let late = ResultsOutcome::Lost { reason: "late".to_owned(), output_path: None };
    for outcome in [&late, &failed(), &kept()] {
        let again = harness.store.settle_results(id(1), outcome).await.unwrap();
        assert_eq!(again.job().results, results, "{outcome:?}");
    }
    assert_eq!(harness.found(1).await.job().results, results);
    assert_eq!(next(harness).await, None);
    let missing = harness.store.settle_results(id(9), &kept()).await.unwrap_err();
    assert!(matches!(missing, st_store::Error::NotFound { .. }), "{missing}");
}

pub async fn what_cannot_be_fetched_is_due_again_until_it_is_given_up(harness: &Harness) {
    end(harness, 1, ended(1, JobStatus::Completed, HOUR)).await;
    for (attempts, pause) in [(1, 5), (2, 10), (3, 20)] {
        let record = harness.store.settle_results(id(1), &failed()).await.unwrap();
        assert!(record.job().has_due_results());
        assert_eq!((due(harness).await, next(harness).await), (Vec::new(), Some(pause)));
        let passed = st_store::Clock::monotonic(&*harness.clock).as_secs();
        harness.go_to(passed + pause);
        assert_eq!(due(harness).await.first().map(|due| due.attempts), Some(attempts));
    }
    let end = HOUR + RESULTS_MARGIN.as_secs().unsigned_abs();
    harness.go_to(end - 1);
    harness.store.settle_results(id(1), &failed()).await.unwrap();
    assert_eq!(next(harness).await, Some(1), "once more at the very end");
    harness.go_to(end);
    let record = harness.store.settle_results(id(1), &failed()).await.unwrap();
    assert_eq!(record.job().results, Some(lost("no answer", 3600)));
    assert_eq!((due(harness).await, next(harness).await), (Vec::new(), None));
}

pub async fn what_was_deleted_before_the_end_was_known_is_lost(harness: &Harness) {
    end(harness, 1, ended(1, JobStatus::Completed, 0)).await;
    assert_eq!(due(harness).await.first().map(|due| due.expires_at), Some(at(0)));
    let gone =
        ResultsOutcome::Gone { reason: "fake has deleted the log".to_owned(), output_path: None };
    let record = harness.store.settle_results(id(1), &gone).await.unwrap();
    assert_eq!(record.job().results, Some(lost("fake has deleted the log", 0)));
    // Before the deadline the same answer may be a passing one.
    end(harness, 2, ended(2, JobStatus::Completed, HOUR)).await;
    let record = harness.store.settle_results(id(2), &gone).await.unwrap();
    assert!(record.job().has_due_results());
    harness.go_to(HOUR);
    let record = harness.store.settle_results(id(2), &gone).await.unwrap();
    assert_eq!(record.job().results, Some(lost("fake has deleted the log", 3600)));
}

pub async fn results_that_are_due_move_with_the_clock(harness: &Harness) {
    end(harness, 1, ended(1, JobStatus::Completed, HOUR)).await;
    end(harness, 2, ended(2, JobStatus::Completed, HOUR)).await;
    harness.store.settle_results(id(2), &kept()).await.unwrap();
    harness.store.settle_results(id(1), &failed()).await.unwrap();
    let step = |hours: i64| harness.clock.step(SignedDuration::from_hours(hours));
    for hours in [48, -96] {
        step(hours);
        harness.store.claim(&claiming(0)).await.unwrap();
        assert_eq!((due(harness).await, next(harness).await), (Vec::new(), Some(5)));
    }
    let expires_at = at(3600 - 48 * 3600);
    let moved = harness.found(1).await.job().results.clone();
    assert_eq!(moved, Some(Results { expires_at, state: ResultsState::Due }));
    let date = harness.found(2).await.job().results.clone().unwrap().expires_at;
    assert_eq!(date, at(3600), "what is over is a date");
    harness.go_to(5);
    assert_eq!(due(harness).await.first().map(|due| due.expires_at), Some(expires_at));
    assert!(MAX_RESULTS_PAUSE >= SignedDuration::from_secs(5));
}

pub async fn a_job_is_not_deleted_before_its_results_are_settled(harness: &Harness) {
    end(harness, 1, ended(1, JobStatus::Completed, HOUR)).await;
    harness.go_to(100 * HOUR);
    harness.store.confirm_clock(ClockEvidence::Operator);
    let keep_for = Some(SignedDuration::from_hours(24));
    assert_eq!(harness.store.prune(keep_for, 10).await.unwrap().jobs, []);
    harness.store.settle_results(id(1), &failed()).await.unwrap();
    let pruned = harness.store.prune(keep_for, 10).await.unwrap();
    assert_eq!(pruned.jobs.into_iter().map(|job| job.id).collect::<Vec<_>>(), [id(1)]);
    assert_eq!(next(harness).await, None);
}
