//! Calls that are given up half-way: a deadline, or the end of the server.

use futures_util::{FutureExt, StreamExt};
use st_store::JobStatus;
use st_workers::provider::Arrivals;
use tokio::task::unconstrained;

use super::{
    Turn, World, begun, begun_jobs, dropped_after, given, marker, recognizes_repetitions, shown,
    soon, status_of, until,
};

/// A call is given up when it has been polled so often.
const POLLS: std::ops::Range<usize> = 0..8;

pub async fn a_submission_that_is_given_up_is_not_lost(world: &dyn World) {
    let provider = world.provider();
    let mut given_up = Vec::new();
    for polls in POLLS {
        let marker = marker();
        let submission = world.submission(marker);
        drop(soon("a submission", dropped_after(polls, provider.submit(&submission))).await);
        given_up.push(marker);
    }
    // Whatever was given up, the next one is submitted.
    for _ in 0..3 {
        let job = begun(world, marker()).await;
        status_of(provider.as_ref(), &job).await.unwrap();
    }
    for marker in given_up {
        let arrived =
            || async { world.arrived().await.iter().filter(|arrived| **arrived == marker).count() };
        let before = arrived().await;
        assert!(before <= 1, "{before} jobs of one submission");
        if before == 1 && !matches!(provider.arrivals(), Arrivals::Undecidable(_)) {
            let found = shown(provider.as_ref(), marker).await.unwrap().unwrap();
            assert_eq!(found.len(), 1, "it arrived");
        }
        if recognizes_repetitions(provider.as_ref()) {
            let submission = world.submission(marker);
            soon("a repetition", provider.submit(&submission)).await.unwrap();
            assert_eq!(arrived().await, 1, "a repetition is no second job");
        }
    }
}

pub async fn questions_that_are_given_up_harm_nothing(world: &dyn World) {
    let provider = world.provider();
    let jobs = begun_jobs(world, 5).await;
    // More often than any limit of calls under way, were each of them to keep its place.
    let all = async {
        for round in 0..40 {
            for polls in POLLS {
                let few = &jobs[(round + polls) % jobs.len()..];
                drop(dropped_after(polls, provider.statuses(few).next()).await);
            }
            drop(dropped_after(round % 8, provider.logs(&jobs[0])).await);
            drop(dropped_after(round % 8, provider.validate()).await);
        }
    };
    soon("to give up questions", all).await;
    let answers: Vec<_> = soon("a poll", provider.statuses(&jobs).collect()).await;
    assert_eq!(answers.len(), jobs.len());
    for (_, answer) in answers {
        assert!(answer.unwrap().status.is_none_or(JobStatus::is_active));
    }
    soon("a validation", provider.validate()).await.unwrap();
    begun(world, marker()).await;
}

pub async fn a_cancellation_that_is_given_up_can_be_repeated(world: &dyn World) {
    let provider = world.provider();
    for polls in [1, 2, 4] {
        let job = begun(world, marker()).await;
        given(world.turn(&job.provider_job_id, Turn::Runs).await);
        drop(soon("a cancellation", dropped_after(polls, provider.cancel(&job))).await);
        soon("a cancellation", provider.cancel(&job)).await.unwrap();
        until(provider.as_ref(), &job, JobStatus::Cancelled).await;
    }
}

pub async fn a_turn_that_is_given_up_uses_none(world: &dyn World) {
    let provider = world.provider();
    tokio::time::pause();
    let room = provider.room_to_submit();
    // Far more than there is room for, where there is a limit at all.
    for _ in 0..room.min(10_000) {
        let _given: Option<()> = unconstrained(provider.turn_to_submit()).now_or_never();
    }
    for _ in 0..100 {
        let _given: Option<()> = unconstrained(provider.turn_to_submit()).now_or_never();
    }
    tokio::time::advance(std::time::Duration::from_mins(1)).await;
    assert_eq!(provider.room_to_submit(), room);
    soon("a turn", provider.turn_to_submit()).await;
}
