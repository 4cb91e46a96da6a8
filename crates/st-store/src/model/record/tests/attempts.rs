//! Attempts: claims and their tokens, failures and whose fault they were, cancellation.

use super::*;
use crate::model::{CancelOutcome, ClaimOrigin, Claimed, RECHECKS, Recheck, Searched};

fn claim_of(record: &JobRecord) -> &Claimed {
    record.stage().claimed().unwrap()
}

/// Claims it at `seconds`, when it is due.
fn claim(record: &mut JobRecord, seconds: i64) {
    record.take_events();
    record.wake(at(seconds));
    checked(record, (&Actor::Scheduler, seconds), |it| it.claim(&grant(), at(seconds))).unwrap();
}

/// Settles a failure of the attempt, which is suspect, as the scheduler.
fn fail_suspect(record: &mut JobRecord, seconds: i64) -> Settled {
    let settling = Settling { suspect: true, ..settling(&Actor::Scheduler, seconds) };
    record.settle(record.token(), &failed(0), settling).unwrap()
}

#[test]
fn a_job_competes_for_a_slot_from_its_date_on() {
    let new = NewJob { run_after: Some(at(60)), ..new_job() };
    let mut record = stored(submitted(&new, None));
    assert!(!record.wake(at(59)));
    assert_eq!(record.stage(), &Stage::Waiting(Waiting { due: Due::Date(at(60)) }));
    assert!(record.wake(at(60)));
    assert_eq!(record.stage(), &Stage::Waiting(Waiting { due: Due::Now }));
    assert!(!record.wake(at(61)), "it was woken before");
    assert_eq!(record.take_events(), [], "its statuses are the same");
}

#[test]
fn a_claim_and_a_reclaim_issue_rising_tokens_for_one_attempt() {
    let mut record = waiting();
    claim(&mut record, 5);
    let first = record.token();
    assert_eq!(first, AttemptToken::NONE.next(Epoch::FIRST));
    let attempt = claim_of(&record).attempt.clone();
    assert_eq!((attempt.number, attempt.token, attempt.claimed_at), (1, first, at(5)));
    assert_eq!(attempt.provider_time, Some(at(7)));
    assert_eq!(attempt.account, Some(AccountId::new("acc", None, None)));
    let taken = Lease { holder: holder(2), until: at(185) };
    checked(&mut record, (&Actor::Scheduler, 95), |it| it.reclaim(taken, Epoch::FIRST, at(95)))
        .unwrap();
    assert_eq!(record.token(), first.next(Epoch::FIRST));
    let claimed = claim_of(&record);
    assert_eq!((claimed.lease, record.entry().reclaims), (taken, 1));
    assert_eq!(claimed.origin, ClaimOrigin::Reclaimed);
    assert_eq!((claimed.attempt.number, claimed.attempt.claimed_at), (1, at(5)));
    record.extend_lease(record.token(), at(300)).unwrap();
    assert_eq!(claim_of(&record).lease.until, at(300));
}

#[test]
fn every_step_of_a_worker_needs_exactly_the_current_token() {
    for (stage, mut record) in every_stage() {
        let current = record.token();
        for held in [AttemptToken::from_number(current.to_number() - 1), current.next(Epoch::FIRST)]
        {
            let stale = TransitionError::StaleAttempt { held, current };
            assert_eq!(record.extend_lease(held, at(9)), Err(stale.clone()), "{stage}");
            for outcome in [
                Outcome::Submitted(report(JobStatus::Running)),
                Outcome::Held(provider_job("p-1")),
                Outcome::Reported(report(JobStatus::Running)),
                failed(5),
                not_sent(5),
                rejected(),
                final_failure(),
                unresolved(Some(1)),
            ] {
                let step = |record: &mut JobRecord| {
                    record.settle(held, &outcome, settling(&Actor::Scheduler, 9))
                };
                let result = checked(&mut record, (&Actor::Scheduler, 9), step);
                assert_eq!(result, Err(stale.clone()), "{stage}: {outcome:?}");
            }
        }
    }
}

#[test]
fn a_job_of_an_earlier_epoch_is_reconciled_before_it_is_submitted() {
    let mut record = waiting();
    let grant = Grant { epoch: Epoch(2), ..grant() };
    record.claim(&grant, at(1)).unwrap();
    assert_eq!(claim_of(&record).origin, ClaimOrigin::Restored);
    record.reclaim(lease(200), Epoch(2), at(9)).unwrap();
    assert_eq!(claim_of(&record).origin, ClaimOrigin::Restored, "a reclaim does not forget it");
    let settling = Settling { epoch: Epoch(2), ..settling(&Actor::Scheduler, 9) };
    record.settle(record.token(), &not_sent(0), settling).unwrap();
    record.claim(&grant, at(10)).unwrap();
    assert_eq!(claim_of(&record).origin, ClaimOrigin::Restored, "the provider was not asked");
    let absent = AttemptFailure::Absent { retry_in: SignedDuration::ZERO };
    let settling = Settling { epoch: Epoch(2), ..self::settling(&Actor::Scheduler, 11) };
    record.settle(record.token(), &Outcome::NotArrived(absent), settling).unwrap();
    assert_eq!(record.entry().epoch, Epoch(2), "it was reconciled in this epoch");
    record.claim(&grant, at(12)).unwrap();
    assert_eq!(claim_of(&record).origin, ClaimOrigin::New);
}

#[test]
fn failures_count_only_when_submissions_of_others_were_accepted_before_and_after() {
    let mut record = waiting();
    for attempt in 1..=9 {
        claim(&mut record, 10 * i64::from(attempt));
        let settled = settle(&mut record, &failed(0), 10 * i64::from(attempt) + 1).unwrap();
        assert_eq!(settled, Settled::Requeued);
        assert_eq!((record.entry().attempt, record.entry().failed_attempts), (attempt, 0));
        assert!(!record.blame(at(10 * i64::from(attempt) + 2)), "it is not suspect");
    }
    assert_eq!(record.status(), JobStatus::Uploading, "a status never goes backwards");
    for failure in 1..=3 {
        let now = 100 + 10 * failure;
        claim(&mut record, now);
        assert_eq!(fail_suspect(&mut record, now + 1), Settled::Requeued);
        assert_eq!(record.entry().suspect_since, Some(at(now + 1)));
        record.take_events();
        let blame = |record: &mut JobRecord| Ok(record.blame(at(now + 2)));
        let ended = checked(&mut record, (&Actor::Scheduler, now + 2), blame).unwrap();
        assert_eq!(ended, failure == 3);
        assert_eq!(i64::from(record.entry().failed_attempts), failure);
    }
    assert_eq!((record.status(), record.queue_status()), (JobStatus::Failed, QueueStatus::Failed));
    let error = "failed 3 times while submissions of other jobs were accepted: flaky";
    assert_eq!(record.job().error_message.as_deref(), Some(error));
}

#[test]
fn a_failure_is_blamed_once_and_on_a_claimed_job_only_counted() {
    let mut record = stored(submitted(&NewJob { max_attempts: 1, ..new_job() }, None));
    claim(&mut record, 1);
    fail_suspect(&mut record, 2);
    claim(&mut record, 3);
    assert!(!record.blame(at(4)), "its attempt is in flight");
    assert!(!record.blame(at(5)), "it was blamed before");
    assert_eq!((record.entry().failed_attempts, record.entry().suspect_since), (1, None));
    assert_eq!(settle(&mut record, &failed(0), 6), Ok(Settled::Ended(JobStatus::Failed)));
}

#[test]
fn an_acceptance_clears_what_was_suspect_and_what_was_counted() {
    let mut record = waiting();
    claim(&mut record, 1);
    fail_suspect(&mut record, 2);
    claim(&mut record, 3);
    record.blame(at(4));
    settle(&mut record, &Outcome::Submitted(report(JobStatus::Queued)), 5).unwrap();
    let entry = record.entry();
    assert_eq!(
        (entry.failed_attempts, entry.suspect_since, &entry.error_message),
        (0, None, &None)
    );
}

#[test]
fn a_pause_lasts_as_long_as_it_is_given_and_at_most_an_hour() {
    let due_after = |retry_in: i64| {
        let mut record = claimed();
        settle(&mut record, &failed(retry_in), 9).unwrap();
        assert_eq!(record.entry().waits_since, at(0), "a retry keeps its place");
        record.stage().clone()
    };
    let due = |due| Stage::Waiting(Waiting { due });
    assert_eq!(due_after(50), due(Due::Pause(at(59))));
    assert_eq!(due_after(0), due(Due::Now));
    assert_eq!(due_after(-5), due(Due::Now));
    assert_eq!(due_after(1_000_000), due(Due::Pause(at(9 + 3600))));
}

#[test]
fn what_is_refused_or_may_have_run_is_not_tried_again() {
    for (outcome, error) in [(rejected(), "bad input"), (final_failure(), "may have run")] {
        let mut record = claimed();
        assert_eq!(settle(&mut record, &outcome, 9), Ok(Settled::Ended(JobStatus::Failed)));
        assert_eq!(record.job().error_message.as_deref(), Some(error));
        assert_eq!(record.entry().error_message.as_deref(), Some(error));
    }
}

#[test]
fn an_outcome_that_is_settled_twice_changes_nothing_the_second_time() {
    for outcome in [
        Outcome::Submitted(report(JobStatus::Queued)),
        Outcome::Submitted(report(JobStatus::Completed)),
        Outcome::Held(provider_job("p-1")),
        failed(50),
        failed(0),
        not_sent(50),
        rejected(),
        final_failure(),
    ] {
        let mut record = claimed();
        settle(&mut record, &outcome, 9).unwrap();
        let once = stored(record);
        let mut twice = once.clone();
        assert_eq!(settle(&mut twice, &outcome, 10), Ok(Settled::Unchanged), "{outcome:?}");
        assert_eq!(twice, once, "{outcome:?}");
    }
}

#[test]
fn an_unresolved_attempt_keeps_its_claim_and_counts_its_panics() {
    let mut record = claimed();
    for (settled, panics) in [(None, 0), (Some(1), 1), (Some(1), 1), (Some(2), 2), (None, 2)] {
        assert_eq!(settle(&mut record, &unresolved(settled), 9), Ok(Settled::Changed));
        assert_eq!(record.entry().panics, panics, "twice is once");
    }
    assert_eq!(record.entry().error_message.as_deref(), Some("no answer"));
    assert_eq!(record.queue_status(), QueueStatus::Ready);
}

#[test]
fn a_held_submission_is_released_under_its_own_identifier() {
    let mut record = held();
    assert_eq!(record.provider_job_id(), Some(&provider_job("p-1")));
    assert_eq!(record.status(), JobStatus::Uploading);
    let other = settle(&mut record, &Outcome::Held(provider_job("p-2")), 9);
    let (known, reported) = (provider_job("p-1"), provider_job("p-2"));
    assert_eq!(other, Err(TransitionError::OtherProviderJob { known, reported }));
    record.reclaim(lease(200), Epoch::FIRST, at(9)).unwrap();
    assert!(matches!(record.stage(), Stage::Held(_)), "the submission outlives its holder");
    settle(&mut record, &Outcome::Submitted(report(JobStatus::Queued)), 9).unwrap();
    assert_eq!(record.queue_status(), QueueStatus::Running);
}

#[test]
fn cancelling_names_who_asked_wherever_the_job_is() {
    let mut table = String::new();
    for (stage, mut record) in every_stage() {
        let bob = user("bob");
        let result = checked(&mut record, (&bob, 9), |record| record.cancel(&bob, at(9)));
        let line = match result {
            Ok(outcome) => format!("{outcome:?}, {} {}", record.queue_status(), record.status()),
            Err(ref error) => error.to_string(),
        };
        writeln!(table, "{stage}: {line}").unwrap();
        if let Ok(outcome) = result {
            let cancellation = record.stage().cancellation().cloned();
            assert_eq!(cancellation, Some(Cancellation { at: at(9), by: bob }), "{stage}");
            assert_eq!(record.cancel_requested(), outcome != CancelOutcome::Done, "{stage}");
        }
        let again = record.cancel(&user("eve"), at(10)).is_ok();
        assert_eq!(again, record.cancel_requested(), "{stage}: again is no error while it is open");
        let by = record.stage().cancellation().map(|it| it.by.clone());
        assert!(by.is_none_or(|by| by == user("bob")), "{stage}: the first one counts");
    }
    assert_eq!(
        table,
        "blocked: Done, cancelled cancelled\n\
         waiting: Done, cancelled cancelled\n\
         paused: Done, cancelled cancelled\n\
         claimed: InFlight, ready uploading\n\
         held: InFlight, ready uploading\n\
         queued: AtProvider, running queued\n\
         running: AtProvider, running running\n\
         completed: the job is already completed\n\
         failed: the job is already failed\n\
         cancelled: the job is already cancelled\n\
         not approved: the job is already cancelled\n"
    );
}

#[test]
fn a_cancelled_claim_ends_with_its_attempt_and_by_who_asked() {
    for (by, reason) in [
        (user("bob"), "cancelled before it was submitted"),
        // Which stops jobs of budgets alone.
        (Actor::Scheduler, "stopped before it was submitted, because a budget was exceeded"),
    ] {
        for outcome in [failed(50), not_sent(50), rejected(), final_failure()] {
            let mut record = claimed();
            record.cancel(&by, at(5)).unwrap();
            let step = |record: &mut JobRecord| settle(record, &outcome, 9);
            let ended = checked(&mut record, (&by, 9), step);
            assert_eq!(ended, Ok(Settled::Ended(JobStatus::Cancelled)), "{outcome:?}");
            assert_eq!(record.job().error_message.as_deref(), Some(reason));
        }
    }
    let mut record = claimed();
    record.cancel(&user("bob"), at(5)).unwrap();
    settle(&mut record, &Outcome::Submitted(report(JobStatus::Queued)), 9).unwrap();
    assert!(record.cancel_requested(), "the provider must be asked now");
}

#[test]
fn after_a_restore_every_attempt_of_a_job_is_searched_for() {
    let (now, later) = ((at(9), Epoch::FIRST), (at(9), Epoch(2)));
    let account = grant().account;
    let any = |account: Option<AccountId>| {
        Recheck::of_lost_life((new_job().id, at(0)), &ProviderName::new("fake"), account, at(9))
    };
    let mut reclaimed = claimed();
    reclaimed.reclaim(lease(200), Epoch(2), at(9)).unwrap();
    let mut queued = waiting();
    queued.claim(&Grant { epoch: Epoch(2), ..grant() }, at(1)).unwrap();
    let by_key = Grant { guarantee: AtMostOnce::IdempotencyKey, epoch: Epoch(2), ..grant() };
    let mut keyed = waiting();
    keyed.claim(&by_key, at(1)).unwrap();
    let found = Outcome::Found(report(JobStatus::Queued));
    let outcomes = [failed(0), not_sent(0), rejected(), final_failure(), found];
    for record in [reclaimed, queued, keyed, held(), claimed()] {
        assert_eq!(record.recheck(later), Some(any(account.clone())));
        assert_eq!(record.recheck_unclaimed(later), None);
        for outcome in &outcomes {
            let expected = Recheck { provider_ended_at: Some(at(7)), ..any(account.clone()) };
            let recheck = record.recheck_after(outcome, later, Some(at(7)));
            assert_eq!(recheck, Some(expected), "{record:?} {outcome:?}");
        }
    }
    for (name, record) in every_stage() {
        let waits = ["blocked", "waiting", "paused"].contains(&name);
        assert_eq!(record.recheck_unclaimed(later), waits.then(|| any(None)), "{name}");
        assert_eq!(record.recheck_unclaimed(now), None, "{name}");
    }
}

#[test]
fn a_search_for_any_attempt_is_due_immediately_and_then_like_that_for_one() {
    let name = ProviderName::new("fake");
    let any = Recheck::of_lost_life((new_job().id, at(0)), &name, None, at(9));
    let attempt = claim_of(&claimed()).attempt.clone();
    let one = Recheck::of(&attempt, new_job().id, &name, at(9));
    let due = |first: Recheck| {
        let all =
            std::iter::successors(Some(first), |it| it.clone().settled(Searched::Complete, at(0)));
        all.map(|it| it.due_at.duration_since(at(9))).collect::<Vec<_>>()
    };
    assert_eq!(due(one), RECHECKS);
    let now = [SignedDuration::ZERO];
    assert_eq!(due(any), now.into_iter().chain(RECHECKS).collect::<Vec<_>>());
}

#[test]
fn an_attempt_is_searched_for_unless_nothing_was_sent() {
    let error = || "x".to_owned();
    let retry_in = SignedDuration::ZERO;
    let failures = [
        (AttemptFailure::NotSent { reason: error(), retry_in }, false),
        (AttemptFailure::Unsendable { error: error() }, false),
        (AttemptFailure::Absent { retry_in }, true),
        (AttemptFailure::Rejected { error: error() }, true),
        (AttemptFailure::Failed { error: error(), retry_in }, true),
        (AttemptFailure::Final { error: error() }, true),
    ];
    let mut panicked = claimed();
    settle(&mut panicked, &unresolved(Some(1)), 3).unwrap();
    let mut reclaimed = panicked.clone();
    reclaimed.reclaim(lease(200), Epoch::FIRST, at(9)).unwrap();
    assert_eq!(reclaimed.entry().reclaims, 0);
    for (failure, searched) in failures {
        let outcome = Outcome::NotArrived(failure);
        let is_searched = |record: &JobRecord| {
            record.recheck_after(&outcome, (at(9), Epoch::FIRST), None).is_some()
        };
        assert_eq!(is_searched(&claimed()), searched, "{outcome:?}");
        assert!(!is_searched(&held()), "what was held and never released never ran");
        for earlier in [&panicked, &reclaimed] {
            assert!(is_searched(earlier), "{outcome:?}: it may have been sent before");
        }
    }
}

#[test]
fn an_outcome_is_unknown_from_the_first_doubt_on() {
    // One step in each second: claim, claim after a restore, reclaim, unresolved, panic, failed,
    // held.
    let since = |steps: &str| {
        let mut record = waiting();
        for (step, seconds) in steps.chars().zip(1..) {
            let outcome = match step {
                'c' | 'C' => {
                    let epoch = if step == 'c' { Epoch::FIRST } else { Epoch(2) };
                    record.claim(&Grant { epoch, ..grant() }, at(seconds)).unwrap();
                    continue;
                }
                'r' => {
                    record.reclaim(lease(200), Epoch::FIRST, at(seconds)).unwrap();
                    continue;
                }
                'u' => unresolved(None),
                'p' => unresolved(Some(1)),
                'f' => failed(0),
                _ => Outcome::Held(provider_job("p-1")),
            };
            settle(&mut record, &outcome, seconds).unwrap();
        }
        claim_of(&record).unresolved_since
    };
    let table = [
        ("c", None),
        ("ch", None),
        ("cuupr", Some(2)),
        ("cp", Some(2)),
        ("crur", Some(2)),
        ("chr", Some(3)),
        ("C", Some(1)),
        ("Cr", Some(1)),
        ("cufc", None),
    ];
    for (steps, expected) in table {
        assert_eq!(since(steps), expected.map(at), "{steps}");
    }
}

#[test]
fn what_was_found_is_submitted_and_its_attempt_is_searched_for_again() {
    let now = (at(9), Epoch::FIRST);
    for &guarantee in AtMostOnce::ALL {
        let mut claimed = waiting();
        claimed.claim(&Grant { guarantee, ..grant() }, at(1)).unwrap();
        let mut held = claimed.clone();
        settle(&mut held, &Outcome::Held(provider_job("p-1")), 2).unwrap();
        let mut there = claimed.clone();
        settle(&mut there, &Outcome::Submitted(report(JobStatus::Queued)), 2).unwrap();
        for (before, is_claimed) in
            [(waiting(), false), (claimed, true), (held, true), (there, false)]
        {
            for status in [
                report(JobStatus::Running),
                ProviderStatus::new(provider_job("p-2"), JobStatus::Queued),
            ] {
                let (mut found, mut submitted) = (before.clone(), before.clone());
                let outcome = Outcome::Found(status.clone());
                let result = settle(&mut found, &outcome, 9);
                assert_eq!(result, settle(&mut submitted, &Outcome::Submitted(status.clone()), 9));
                assert_eq!(found, submitted);
                let expected = before
                    .stage()
                    .claimed()
                    .filter(|_| is_claimed && guarantee == AtMostOnce::ListedMarker)
                    .map(|claimed| {
                        Recheck::of(&claimed.attempt, before.id(), &before.job().provider, at(9))
                    });
                assert_eq!(before.recheck_after(&outcome, now, None), expected, "{before:?}");
                assert_eq!(before.recheck(now), expected);
                assert_eq!(before.recheck_after(&Outcome::Submitted(status), now, None), None);
            }
        }
    }
}
