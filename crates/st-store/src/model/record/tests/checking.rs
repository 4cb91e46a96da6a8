//! Parts that do not fit each other are refused, each with its own reason.

use super::*;
use crate::model::{ApprovalOutcome, AtProvider, ClaimOrigin, Finished, Review};

/// The parts of a record, to be changed.
struct Parts {
    job: Job,
    entry: QueueEntry,
    stage: Stage,
    approval: Option<SettledApproval>,
}

/// The problem of a record after a change of its parts.
type Misfit = (&'static str, JobRecord, fn(&mut Parts));

/// What `check` says of a record whose parts were changed.
fn changed(record: &JobRecord, change: impl FnOnce(&mut Parts)) -> &'static str {
    let mut parts = Parts {
        job: record.job.clone(),
        entry: record.entry.clone(),
        stage: record.stage.clone(),
        approval: record.approval.clone(),
    };
    change(&mut parts);
    let Parts { job, entry, stage, approval } = parts;
    JobRecord::from_parts(job, entry, stage, approval).map_or_else(|found| found.0, |_| "fits")
}

fn settled(outcome: ApprovalOutcome) -> SettledApproval {
    let Stage::Blocked(request) = blocked().stage else { panic!("not blocked") };
    SettledApproval { request, outcome, at: at(2) }
}

fn approved() -> ApprovalOutcome {
    ApprovalOutcome::Approved(Review { by: UserId::new("lead"), notes: None })
}

fn attempted(parts: &mut Parts, attempt: u32) {
    parts.entry.attempt = attempt;
    parts.entry.token = match attempt {
        0 => AttemptToken::NONE,
        _ => AttemptToken::NONE.next(Epoch::FIRST),
    };
    parts.entry.started_at = (attempt > 0).then(|| at(1));
}

fn finished(end: End) -> Stage {
    Stage::Finished(Finished { end, at: at(2), remote: None, cancellation: None })
}

#[test]
fn every_record_that_a_step_made_fits() {
    for (stage, record) in every_stage() {
        assert_eq!(changed(&record, |_| ()), "fits", "{stage}");
    }
}

#[test]
fn attempts_fit_their_token_and_their_stage() {
    let table: [Misfit; 9] = [
        ("token without an attempt", waiting(), |it| it.entry.token = claimed().token()),
        ("start without an attempt", waiting(), |it| it.entry.started_at = Some(at(1))),
        ("more failures than attempts", waiting(), |it| it.entry.failed_attempts = 1),
        ("no attempt is allowed", waiting(), |it| it.entry.max_attempts = 0),
        ("claimed without approval", blocked(), |it| attempted(it, 1)),
        ("claim of another attempt", claimed(), |it| it.entry.attempt = 2),
        ("claim under another token", claimed(), |it| {
            it.entry.token = it.entry.token.next(Epoch::FIRST);
        }),
        ("taken over without a time since when its outcome is unknown", claimed(), |it| {
            let Stage::Claimed(claimed) = &mut it.stage else { panic!("not claimed") };
            claimed.origin = ClaimOrigin::Reclaimed;
        }),
        ("at the provider without an attempt", at_provider(JobStatus::Queued), |it| {
            attempted(it, 0);
        }),
    ];
    for (problem, record, change) in table {
        assert_eq!(changed(&record, change), problem);
    }
}

#[test]
fn amounts_are_finite_and_not_negative() {
    for usd in [f64::NAN, f64::INFINITY, -0.01] {
        let estimated = changed(&waiting(), |it| it.entry.estimated_cost = usd);
        assert_eq!(estimated, "estimated cost is not an amount", "{usd}");
        let cost = changed(&waiting(), |it| it.job.cost_usd = Some(usd));
        assert_eq!(cost, "cost is not an amount", "{usd}");
    }
}

#[test]
fn an_end_fits_how_the_job_came_to_it() {
    let over = || at_provider(JobStatus::Completed);
    let table: [Misfit; 6] = [
        ("submitted without an attempt", over(), |it| attempted(it, 0)),
        ("ran without approval", claimed(), |it| it.stage = finished(End::NotApproved)),
        ("completed without having been at the provider", claimed(), |it| {
            it.stage = finished(End::Completed);
        }),
        ("over without a time of its end", over(), |it| it.job.completed_at = None),
        ("suspect after its end", over(), |it| it.entry.suspect_since = Some(at(1))),
        ("fits", over(), |it| {
            let Stage::Finished(finished) = &it.stage else { panic!("not over") };
            let remote = finished.remote.clone().unwrap();
            let phase = Phase::Queued;
            it.stage = Stage::AtProvider(AtProvider { remote, phase, cancellation: None });
        }),
    ];
    for (problem, record, change) in table {
        assert_eq!(changed(&record, change), problem);
    }
}

#[test]
fn an_approval_fits_the_stage() {
    let misfit = "approval does not fit the stage";
    let with =
        |record: &JobRecord, outcome| changed(record, |it| it.approval = Some(settled(outcome)));
    let blocked_by = changed(&blocked(), |it| it.approval = Some(settled(approved())));
    assert_eq!(blocked_by, "blocked by a settled approval");
    for (stage, record) in every_stage().into_iter().skip(1) {
        let ended =
            matches!(&record.stage, Stage::Finished(finished) if finished.end == End::NotApproved);
        let cancelled = record.queue_status() == QueueStatus::Cancelled;
        let expect = |fits: bool| if fits { "fits" } else { misfit };
        assert_eq!(with(&record, approved()), expect(!ended), "approved, {stage}");
        assert_eq!(with(&record, ApprovalOutcome::Expired), expect(ended), "expired, {stage}");
        let cancelled_request = with(&record, ApprovalOutcome::Cancelled);
        assert_eq!(cancelled_request, expect(cancelled), "cancelled, {stage}");
        assert_eq!(changed(&record, |it| it.approval = None), expect(!ended), "none, {stage}");
    }
}
