//! Submissions, and what their ends say about whether they arrived.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use futures_util::future::join_all;
use st_store::{AtMostOnce, JobStatus};
use st_workers::provider::{Cause, Submission, SubmitError};
use tokio::task::unconstrained;

use super::{
    RefusedInput, Situation, Turn, World, assert_true_to_the_ledger, begun, given,
    is_certainly_absent, marker, must, recognizes_repetitions, remote, soon, status_of, until,
};

/// How many turns are taken where there is room for far more.
const SOME_TURNS: usize = 64;
/// Where there is room for more than so many, it is not used up.
const MANY_TURNS: usize = 10_000;

pub async fn a_submission_becomes_one_job_with_an_id(world: &dyn World) {
    let (provider, marker) = (world.provider(), marker());
    let submission = world.submission(marker);
    assert_eq!(provider.check(&submission.input, &submission.settings), Ok(()));
    assert_eq!(provider.missing(&submission.settings), None);
    let report = soon("a submission", provider.submit(&submission)).await.unwrap();
    assert!(!report.provider_job_id.as_str().is_empty(), "{report:?}");
    assert!(report.status.is_none_or(JobStatus::is_active), "it has not ended: {report:?}");
    assert_eq!(world.arrived().await, [marker]);
    let job = remote(provider.as_ref(), marker.job, &report.provider_job_id);
    let asked = status_of(provider.as_ref(), &job).await.unwrap();
    assert_eq!(asked.provider_job_id, report.provider_job_id);
    if recognizes_repetitions(provider.as_ref()) {
        let again = soon("a repetition", provider.submit(&submission)).await.unwrap();
        assert_eq!(again.provider_job_id, report.provider_job_id);
        assert_eq!(world.arrived().await, [marker], "a repetition is no second job");
    }
}

pub async fn jobs_submitted_at_the_same_time_are_different_ones(world: &dyn World) {
    let provider = world.provider();
    let markers: Vec<_> = (0..world.scale().at_once).map(|_| marker()).collect();
    let submissions: Vec<_> = markers.iter().map(|marker| world.submission(*marker)).collect();
    let submit = submissions.iter().map(|submission| provider.submit(submission));
    let reports = soon("submissions at the same time", join_all(submit)).await;
    let ids: BTreeSet<_> = reports.into_iter().map(|it| it.unwrap().provider_job_id).collect();
    assert_eq!(ids.len(), markers.len(), "each has an ID of its own");
    let mut arrived = world.arrived().await;
    arrived.sort_by_key(|marker| marker.job);
    let mut expected = markers;
    expected.sort_by_key(|marker| marker.job);
    assert_eq!(arrived, expected);
}

/// Submits in a situation in which the caller learns nothing.
async fn submitted_without_a_reply(world: &dyn World, situation: Situation, arrives: bool) {
    if given(world.bring_about(situation).await).is_none() {
        return;
    }
    let (provider, marker) = (world.provider(), marker());
    let said = soon("a submission", provider.submit(&world.submission(marker))).await;
    match &said {
        Err(SubmitError::Unknown { reason, may_arrive_for, .. }) => {
            assert!(!reason.is_empty());
            assert!(*may_arrive_for >= provider.may_arrive_for(), "{may_arrive_for:?}");
        }
        other => panic!("the caller cannot know it: {other:?}"),
    }
    must(world, Situation::Recovery).await;
    assert_eq!(world.arrived().await.contains(&marker), arrives);
    assert_true_to_the_ledger(world, marker, &said).await;
    let next = begun(world, super::marker()).await;
    status_of(provider.as_ref(), &next).await.unwrap();
}

pub async fn a_lost_reply_leaves_the_outcome_unknown(world: &dyn World) {
    submitted_without_a_reply(world, Situation::LostReply, true).await;
}

pub async fn a_lost_request_leaves_the_outcome_unknown(world: &dyn World) {
    submitted_without_a_reply(world, Situation::LostRequest, false).await;
}

pub async fn what_is_refused_has_not_arrived(world: &dyn World) {
    let provider = world.provider();
    for situation in [Situation::Rejection, Situation::Throttling] {
        if given(world.bring_about(situation).await).is_none() {
            continue;
        }
        let marker = marker();
        let said = soon("a submission", provider.submit(&world.submission(marker))).await;
        match (&said, situation) {
            (Err(SubmitError::Rejected { reason }), Situation::Rejection) => {
                assert!(!reason.is_empty());
            }
            (Err(SubmitError::Unavailable(it)), Situation::Throttling)
                if it.cause == Cause::Throttled => {}
            (other, _) => panic!("{situation:?}: {other:?}"),
        }
        must(world, Situation::Recovery).await;
        assert_true_to_the_ledger(world, marker, &said).await;
        assert_eq!(world.arrived().await, [], "{situation:?}");
    }
}

pub async fn what_cannot_be_sent_has_not_arrived(world: &dyn World) {
    let provider = world.provider();
    for RefusedInput { input, field } in given(world.refused_inputs()).unwrap_or_default() {
        let marker = marker();
        let submission = Submission { input, ..world.submission(marker) };
        let error = soon("a submission", provider.submit(&submission)).await.unwrap_err();
        assert!(is_certainly_absent(&error), "{field}: {error:?}");
    }
    if let Some(settings) = given(world.incomplete_settings()) {
        let submission = Submission { settings, ..world.submission(marker()) };
        let error = soon("a submission", provider.submit(&submission)).await.unwrap_err();
        assert!(matches!(error, SubmitError::MissingSetting { .. }), "{error:?}");
    }
    if let Some(nowhere) = given(world.nowhere().await) {
        let submission = world.submission(marker());
        match soon("a submission", nowhere.submit(&submission)).await {
            Err(SubmitError::Unavailable(error)) => assert_eq!(error.cause, Cause::Unreachable),
            other => panic!("nothing was sent: {other:?}"),
        }
    }
    assert_eq!(world.arrived().await, []);
}

pub async fn a_submission_during_an_outage_is_true_to_the_ledger(world: &dyn World) {
    if given(world.bring_about(Situation::Outage).await).is_none() {
        return;
    }
    let (provider, marker) = (world.provider(), marker());
    let submission = world.submission(marker);
    let said = soon("a submission", provider.submit(&submission)).await;
    let judged_as_ours = matches!(
        &said,
        Ok(_) | Err(SubmitError::Rejected { .. } | SubmitError::MissingSetting { .. })
    );
    assert!(!judged_as_ours, "an outage is no fault of the job: {said:?}");
    must(world, Situation::Recovery).await;
    assert_true_to_the_ledger(world, marker, &said).await;
    let job = begun(world, super::marker()).await;
    status_of(provider.as_ref(), &job).await.unwrap();
}

pub async fn there_is_as_much_room_as_turns(world: &dyn World) {
    let provider = world.provider();
    tokio::time::pause();
    let room = provider.room_to_submit();
    assert!(room > 0, "nothing was submitted yet");
    let turns = if room > MANY_TURNS { SOME_TURNS } else { room };
    for turn in 0..turns {
        let given = unconstrained(provider.turn_to_submit()).now_or_never();
        assert!(given.is_some(), "turn {turn} of {room} is not given");
        let left = provider.room_to_submit();
        assert!(left <= room, "{left} of {room} are left after {turn} turns");
    }
    if turns == room {
        let more = unconstrained(provider.turn_to_submit()).now_or_never();
        assert_eq!((more, provider.room_to_submit()), (None, 0), "there is no room for more");
    }
    // A whole minute later all of it is there again.
    tokio::time::advance(std::time::Duration::from_mins(1)).await;
    assert_eq!(provider.room_to_submit(), room);
    let asked = provider.turn_to_ask().now_or_never();
    assert!(asked.is_some(), "submissions leave room to questions");
}

pub async fn what_is_held_is_released_once(world: &dyn World) {
    let (provider, marker) = (world.provider(), marker());
    let report = soon("a submission", provider.submit(&world.submission(marker))).await.unwrap();
    let job = remote(provider.as_ref(), marker.job, &report.provider_job_id);
    if provider.guarantee() != AtMostOnce::HeldSubmission {
        let answer = soon("a release", provider.release(&job)).await;
        assert!(answer.is_err(), "nothing is held: {answer:?}");
        return;
    }
    for _ in 0..2 {
        let released = soon("a release", provider.release(&job)).await.unwrap();
        assert_eq!(released.provider_job_id, report.provider_job_id);
        assert!(released.status.is_none_or(JobStatus::is_active), "{released:?}");
    }
    if given(world.turn(&job.provider_job_id, Turn::Runs).await).is_some() {
        let again = soon("a release", provider.release(&job)).await.unwrap();
        assert_eq!(again.status, Some(JobStatus::Running), "one that runs stays as it is");
        until(provider.as_ref(), &job, JobStatus::Running).await;
    }
    assert_eq!(world.arrived().await, [marker]);
}
