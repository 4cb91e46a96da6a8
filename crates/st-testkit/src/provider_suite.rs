//! What every provider must do, as cases that run against any of them.
//!
//! Who writes a provider brings a [`World`]: the provider, the place where its jobs run, and how the
//! situations come about that the cases are about. [`provider_conformance!`](crate::provider_conformance)
//! makes a test of each case; a case is also a function that can be called. What cannot come about
//! at a provider is declared as [`Impossible`], and the test says so when it runs.
//!
//! Leaves out what the tasks make of a provider's answers, which is the same for all of them, and how
//! one provider reads its wire.
//!
//! ```
//! use std::sync::Arc;
//!
//! use async_trait::async_trait;
//! use serde_json::json;
//! use st_store::{JobStatus, Marker, ProviderJobId, ProviderSettings};
//! use st_testkit::provider::{FakeProvider, SubmitFault};
//! use st_testkit::provider_suite::{self, Brought, Impossible, Situation, Turn, World};
//! use st_workers::provider::{Provider, Submission};
//!
//! /// The provider under test, and the place where its jobs run: here they are one.
//! struct Cloud(Arc<FakeProvider>);
//!
//! #[async_trait]
//! impl World for Cloud {
//!     fn provider(&self) -> Arc<dyn Provider> {
//!         Arc::clone(&self.0) as Arc<dyn Provider>
//!     }
//!
//!     fn submission(&self, marker: Marker) -> Submission {
//!         let (input, settings) = (json!({"config": {}}), ProviderSettings::default());
//!         Submission { marker, account: None, input, hardware_type: None, settings }
//!     }
//!
//!     async fn arrived(&self) -> Vec<Marker> {
//!         self.0.ledger().iter().map(|job| job.marker).collect()
//!     }
//!
//!     fn unknown_job(&self) -> ProviderJobId {
//!         ProviderJobId::new("p999")
//!     }
//!
//!     async fn bring_about(&self, situation: Situation) -> Brought {
//!         match situation {
//!             Situation::LostReply => self.0.plan([SubmitFault::LostReply]),
//!             Situation::LostRequest => self.0.plan([SubmitFault::LostRequest]),
//!             Situation::Recovery => {}
//!             _ => return Err(Impossible("left out of this example")),
//!         }
//!         Ok(())
//!     }
//!
//!     async fn turn(&self, job: &ProviderJobId, turn: Turn) -> Brought {
//!         let status = match turn {
//!             Turn::Runs => JobStatus::Running,
//!             Turn::Completes => JobStatus::Completed,
//!             Turn::Fails => JobStatus::Failed,
//!             Turn::IsCancelled => JobStatus::Cancelled,
//!         };
//!         self.0.change(job, |report| report.status = Some(status));
//!         Ok(())
//!     }
//! }
//!
//! fn world() -> Cloud {
//!     Cloud(FakeProvider::new("cloud"))
//! }
//!
//! // In the tests of a crate: each case becomes a test of its own.
//! st_testkit::provider_conformance!(std::future::ready(world()));
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! // One case by itself.
//! provider_suite::submitting::a_lost_reply_leaves_the_outcome_unknown(&world()).await;
//! # }
//! ```

#![expect(missing_docs, reason = "a case is what its name says")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "these are tests")]
#![expect(clippy::print_stdout, reason = "a test says what it does not check")]

pub mod arriving;
pub mod configuring;
pub mod ending;
pub mod giving_up;
pub mod polling;
pub mod submitting;

mod closed_port;
mod fake;
mod world;

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use jiff::Timestamp;
use st_log::CorrelationId;
use st_store::{AtMostOnce, JobId, JobStatus, Marker, ProviderJobId, ProviderStatus};
use st_workers::provider::{
    Arrivals, ListQuery, Provider, QueryError, RemoteJob, SubmitError, Trace,
};

pub use closed_port::ClosedPort;
pub use fake::FakeWorld;
pub use world::{Brought, Impossible, RefusedInput, Scale, Situation, Turn, World};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// An attempt at a job of its own.
fn marker() -> Marker {
    let random = fastrand::u128(..).to_le_bytes()[..10].try_into().unwrap();
    Marker { job: JobId::new(Timestamp::UNIX_EPOCH, random), attempt: 1 }
}

/// What there is; says what is not checked where there is nothing.
fn given<T>(given: Result<T, Impossible>) -> Option<T> {
    match given {
        Ok(there) => Some(there),
        Err(Impossible(why)) => {
            println!("not checked: {why}");
            None
        }
    }
}

/// Brings a situation about that must be possible where another was.
async fn must(world: &dyn World, situation: Situation) {
    if let Err(Impossible(why)) = world.bring_about(situation).await {
        panic!("{situation:?} cannot be declared impossible here: {why}");
    }
}

/// The result of something that must not take forever.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(PATIENCE, future).await;
    ended.unwrap_or_else(|_elapsed| panic!("{what} takes more than {PATIENCE:?}"))
}

/// What a provider must know of a job that it has.
fn remote(provider: &dyn Provider, job: JobId, id: &ProviderJobId) -> RemoteJob {
    RemoteJob {
        id: job,
        provider_job_id: id.clone(),
        account: provider.account(),
        correlation_id: CorrelationId::generate(),
        age: Duration::from_secs(1),
        hardware_type: None,
    }
}

/// A job that the provider does not have.
fn unknown(world: &dyn World) -> RemoteJob {
    remote(world.provider().as_ref(), marker().job, &world.unknown_job())
}

/// Submits a job, and releases it where it is held.
async fn begun(world: &dyn World, marker: Marker) -> RemoteJob {
    let provider = world.provider();
    let submission = world.submission(marker);
    let status = soon("a submission", provider.submit(&submission)).await;
    let status = status.unwrap_or_else(|error| panic!("a submission failed: {error:?}"));
    let job = remote(provider.as_ref(), marker.job, &status.provider_job_id);
    if provider.guarantee() == AtMostOnce::HeldSubmission {
        soon("a release", provider.release(&job)).await.unwrap();
    }
    job
}

/// Submits jobs, one after the other.
async fn begun_jobs(world: &dyn World, count: usize) -> Vec<RemoteJob> {
    let mut jobs = Vec::new();
    for _ in 0..count {
        jobs.push(begun(world, marker()).await);
    }
    jobs
}

/// The answer about one job.
async fn status_of(provider: &dyn Provider, job: &RemoteJob) -> Result<ProviderStatus, QueryError> {
    let answers: Vec<_> =
        soon("a question", provider.statuses(std::slice::from_ref(job)).collect()).await;
    let [(id, answer)]: [_; 1] = answers.try_into().unwrap();
    assert_eq!(id, job.id, "the answer is about another job");
    answer
}

/// Waits until the provider reports this status.
async fn until(provider: &dyn Provider, job: &RemoteJob, status: JobStatus) -> ProviderStatus {
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let reported = async {
        loop {
            ticks.tick().await;
            match status_of(provider, job).await {
                Ok(report) if report.status == Some(status) => return report,
                Ok(report) => {
                    let over = report.status.is_some_and(JobStatus::is_terminal);
                    assert!(!over, "{report:?} instead of {status:?}");
                }
                // A question may fail while a job ends.
                Err(error) => assert!(!matches!(error, QueryError::NotFound), "{error:?}"),
            }
        }
    };
    soon(&format!("a job that becomes {status:?}"), reported).await
}

/// What the provider shows of an attempt that was submitted and is not submitted again: by its list,
/// or by being asked for it. `None` where it has neither.
async fn shown(
    provider: &dyn Provider,
    marker: Marker,
) -> Option<Result<Vec<ProviderStatus>, QueryError>> {
    match provider.arrivals() {
        Arrivals::Undecidable(_) => None,
        Arrivals::Listed(list) => {
            let mut query = ListQuery::default();
            let mut found = Vec::new();
            loop {
                let page = match soon("a page of the list", list.page(&query)).await {
                    Ok(page) => page,
                    Err(error) => return Some(Err(error)),
                };
                assert!(page.jobs.len() <= page.rows, "{page:?}");
                let is_it = |trace: &Trace| matches!(trace, Trace::Marker { marker: of, by_hand: false } if *of == marker);
                let rows = page.jobs.into_iter().filter(|row| is_it(&row.trace));
                found.extend(rows.map(|row| row.status));
                if page.next.is_none() {
                    return Some(Ok(found));
                }
                assert_ne!(page.next, query.cursor, "the list does not end");
                query.cursor = page.next;
            }
        }
        Arrivals::LookedUp(lookup) | Arrivals::Repeated { lookup, .. } => {
            let found = soon("a search", lookup.find(marker.job, Some(marker.attempt))).await;
            Some(found.map(|found| {
                assert!(found.iter().all(|it| it.marker == marker), "{found:?}");
                found.into_iter().map(|it| it.status).collect()
            }))
        }
    }
}

/// Whether the provider recognizes a submission that is repeated.
fn recognizes_repetitions(provider: &dyn Provider) -> bool {
    matches!(provider.arrivals(), Arrivals::Repeated { .. })
}

/// Whether a failed submission certainly did not arrive.
fn is_certainly_absent(error: &SubmitError) -> bool {
    match error {
        SubmitError::Rejected { .. }
        | SubmitError::MissingSetting { .. }
        | SubmitError::Unavailable(_) => true,
        SubmitError::Unknown { .. } => false,
    }
}

/// What the ledger has of an attempt is what its submission said.
async fn assert_true_to_the_ledger(
    world: &dyn World,
    marker: Marker,
    said: &Result<ProviderStatus, SubmitError>,
) {
    let count = world.arrived().await.iter().filter(|arrived| **arrived == marker).count();
    match said {
        Ok(_) => assert_eq!(count, 1, "{said:?}"),
        Err(error) if is_certainly_absent(error) => assert_eq!(count, 0, "it arrived: {error:?}"),
        Err(_) => assert!(count <= 1, "{count} jobs of one submission"),
    }
}

/// A question that was not answered says nothing about a job.
fn assert_no_verdict<T: std::fmt::Debug>(what: &str, answer: Result<T, QueryError>) {
    match answer {
        Err(QueryError::Unavailable(_)) => {}
        other => panic!("{what} during an outage: {other:?}"),
    }
}

/// The result of a future that is dropped when it has been polled so often, `None` where it was.
async fn dropped_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// Makes a test of each case, against the [`World`](crate::provider_suite::World) that `$world` makes:
/// a future of one. The crate needs tokio with `macros` and `rt`.
#[macro_export]
macro_rules! provider_conformance {
    ($world:expr) => {
        $crate::provider_conformance!(@topic $world, submitting:
            a_submission_becomes_one_job_with_an_id, jobs_submitted_at_the_same_time_are_different_ones,
            a_lost_reply_leaves_the_outcome_unknown, a_lost_request_leaves_the_outcome_unknown,
            what_is_refused_has_not_arrived, what_cannot_be_sent_has_not_arrived,
            a_submission_during_an_outage_is_true_to_the_ledger,
            there_is_as_much_room_as_turns, what_is_held_is_released_once);
        $crate::provider_conformance!(@topic $world, arriving:
            what_was_submitted_is_found_by_its_marker, what_was_never_submitted_is_not_found,
            what_arrived_without_a_reply_is_found, what_was_lost_is_not_found,
            an_outage_proves_no_absence, an_account_without_jobs_has_no_witness);
        $crate::provider_conformance!(@topic $world, polling:
            every_job_gets_one_answer, a_job_is_followed_to_its_end, what_is_over_stays_over,
            a_silent_job_holds_up_no_other, a_failing_answer_harms_no_other,
            an_unknown_job_is_not_found, an_outage_says_nothing_about_a_job,
            where_nobody_is_reached_nothing_is_said_about_a_job, the_end_of_a_job_is_announced);
        $crate::provider_conformance!(@topic $world, ending:
            a_running_job_is_cancelled, what_is_over_is_not_cancelled,
            an_unknown_job_is_not_cancelled, what_was_printed_is_shown,
            an_unknown_job_has_no_log, keeping_house_harms_no_job, what_is_kept_is_forgotten_once);
        $crate::provider_conformance!(@topic $world, configuring:
            an_input_is_refused_with_the_name_of_the_field, what_is_missing_is_said,
            the_account_is_named, a_wrong_credential_is_the_credentials_fault,
            nothing_shows_a_secret);
        $crate::provider_conformance!(@topic $world, giving_up:
            a_submission_that_is_given_up_is_not_lost, questions_that_are_given_up_harm_nothing,
            a_cancellation_that_is_given_up_can_be_repeated, a_turn_that_is_given_up_uses_none);
    };
    (@topic $world:expr, $topic:ident: $($case:ident),+) => {
        mod $topic {
            use super::*;

            $(
                #[tokio::test]
                async fn $case() {
                    let world = $world.await;
                    $crate::provider_suite::$topic::$case(&world).await;
                }
            )+
        }
    };
}
