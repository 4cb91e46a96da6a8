//! The ends of jobs: cancellations, logs, and what is kept of a job.

use st_store::JobStatus;
use st_workers::provider::QueryError;

use super::{Turn, World, begun, given, marker, soon, status_of, unknown, until};

pub async fn a_running_job_is_cancelled(world: &dyn World) {
    let provider = world.provider();
    let other = begun(world, marker()).await;
    let job = begun(world, marker()).await;
    given(world.turn(&job.provider_job_id, Turn::Runs).await);
    for _ in 0..2 {
        let report = soon("a cancellation", provider.cancel(&job)).await.unwrap();
        assert_eq!(report.provider_job_id, job.provider_job_id);
        let ended_otherwise = matches!(
            report.status,
            Some(JobStatus::Completed | JobStatus::Failed | JobStatus::Pending)
        );
        assert!(!ended_otherwise, "{report:?}");
        until(provider.as_ref(), &job, JobStatus::Cancelled).await;
    }
    let report = status_of(provider.as_ref(), &other).await.unwrap();
    assert!(report.status.is_none_or(JobStatus::is_active), "another one goes on: {report:?}");
}

pub async fn what_is_over_is_not_cancelled(world: &dyn World) {
    let provider = world.provider();
    for end in [Turn::Completes, Turn::Fails] {
        let job = begun(world, marker()).await;
        if given(world.turn(&job.provider_job_id, end).await).is_none() {
            continue;
        }
        until(provider.as_ref(), &job, end.status()).await;
        // Some providers refuse it, which says nothing about the job.
        if let Ok(report) = soon("a cancellation", provider.cancel(&job)).await {
            let says = report.status.is_none_or(|status| status == end.status());
            assert!(says, "it ended before: {report:?}");
        }
        let report = status_of(provider.as_ref(), &job).await.unwrap();
        assert_eq!(report.status, Some(end.status()));
    }
}

pub async fn an_unknown_job_is_not_cancelled(world: &dyn World) {
    let provider = world.provider();
    let job = begun(world, marker()).await;
    let answer = soon("a cancellation", provider.cancel(&unknown(world))).await;
    assert!(answer.is_err(), "there is no such job: {answer:?}");
    let report = status_of(provider.as_ref(), &job).await.unwrap();
    assert!(report.status.is_none_or(JobStatus::is_active), "{report:?}");
}

pub async fn what_was_printed_is_shown(world: &dyn World) {
    let (provider, printed) = (world.provider(), given(world.printed()));
    let job = begun(world, marker()).await;
    given(world.turn(&job.provider_job_id, Turn::Runs).await);
    for end in [None, Some(Turn::Completes)] {
        if let Some(end) = end {
            if given(world.turn(&job.provider_job_id, end).await).is_none() {
                continue;
            }
            until(provider.as_ref(), &job, end.status()).await;
        }
        let log = soon("a log", provider.logs(&job)).await;
        match (printed, log) {
            (Some(printed), Ok(log)) => {
                assert!(log.contains(printed), "{printed:?} is not in {log:?}");
            }
            (Some(_), Err(error)) => panic!("{end:?}: {error:?}"),
            (None, Ok(log)) => panic!("it was said to show none: {log:?}"),
            (None, Err(error)) => assert!(!matches!(error, QueryError::NotFound), "{error:?}"),
        }
    }
    if printed.is_some() {
        soon("a progress", provider.progress(&job)).await.unwrap();
    }
}

pub async fn an_unknown_job_has_no_log(world: &dyn World) {
    let provider = world.provider();
    begun(world, marker()).await;
    let log = soon("a log", provider.logs(&unknown(world))).await;
    assert!(log.is_err(), "there is no such job: {log:?}");
    let progress = soon("a progress", provider.progress(&unknown(world))).await;
    assert!(progress.is_err(), "there is no such job: {progress:?}");
}

pub async fn keeping_house_harms_no_job(world: &dyn World) {
    let provider = world.provider();
    soon("the housekeeping", provider.clean_up()).await;
    let job = begun(world, marker()).await;
    given(world.turn(&job.provider_job_id, Turn::Runs).await);
    for _ in 0..2 {
        let old = soon("the housekeeping", provider.clean_up()).await;
        assert!(!old.contains(&job.id), "it is there");
        let report = status_of(provider.as_ref(), &job).await.unwrap();
        assert!(report.status.is_none_or(JobStatus::is_active), "it goes on: {report:?}");
    }
    // What runs is not forgotten, whether that is refused or means nothing here.
    drop(soon("to forget", provider.forget(job.id)).await);
    let report = status_of(provider.as_ref(), &job).await.unwrap();
    assert!(report.status.is_none_or(JobStatus::is_active), "it goes on: {report:?}");
}

pub async fn what_is_kept_is_forgotten_once(world: &dyn World) {
    let provider = world.provider();
    let (job, other) = (begun(world, marker()).await, begun(world, marker()).await);
    for id in [unknown(world).id, unknown(world).id] {
        soon("to forget", provider.forget(id)).await.unwrap();
    }
    if given(world.turn(&job.provider_job_id, Turn::Completes).await).is_some() {
        until(provider.as_ref(), &job, JobStatus::Completed).await;
        for _ in 0..2 {
            soon("to forget", provider.forget(job.id)).await.unwrap();
        }
    }
    let report = status_of(provider.as_ref(), &other).await.unwrap();
    assert!(report.status.is_none_or(JobStatus::is_active), "another one stays: {report:?}");
}
