//! What it promises, rule by rule.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use st_store::{
    Group, JobId, JobType, Opening, Owner, Position, ProviderName, ProviderSettings, QueueEntryId,
    Refused,
};
use tokio::time::{Instant, advance};

use super::pass::Candidate;
use super::{ClosedBy, Gate, Pass, Rejection};
use crate::provider::{Cause, QueryError, Unavailable};

fn candidate(number: u8) -> Candidate {
    let provider = ProviderName::new("fake");
    Candidate {
        job: JobId::new(Timestamp::UNIX_EPOCH, [number; 10]),
        group: Group { owner: Owner::user("ann"), job_type: JobType::Cloud, provider },
        position: Position {
            deadline: Timestamp::UNIX_EPOCH,
            entry: QueueEntryId(i64::from(number)),
        },
    }
}

/// The pass of the job with this number.
fn grant(gate: &Arc<Gate>, number: u8) -> Pass {
    gate.grant_to(candidate(number))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn unavailable(cause: Cause) -> Unavailable {
    Unavailable::new(cause, "no")
}

/// A gate on which nothing has happened, after the first step of its start.
fn probing() -> Arc<Gate> {
    let gate = Arc::new(Gate::new(ProviderName::new("fake"), 1));
    gate.begin_probe().unwrap().end(Ok(()));
    gate
}

/// A gate through which everything goes.
fn open() -> Arc<Gate> {
    let gate = probing();
    while gate.opening() != Opening::Open {
        grant(&gate, 1).accepted();
    }
    gate
}

fn limited(gate: &Gate) -> Option<u32> {
    match gate.opening() {
        Opening::Limited { submissions, .. } => Some(submissions),
        Opening::Open | Opening::Closed => None,
    }
}

/// Goes through the first step, which must be due within `wait`.
async fn probe_within(gate: &Gate, wait: Duration) {
    let next = gate.next_probe_in().unwrap();
    assert!(next <= wait, "the next probe is in {next:?}");
    advance(next).await;
    let step = gate.begin_probe().unwrap();
    assert!(gate.begin_probe().is_none(), "one probe at a time");
    step.end(Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_start_is_probed_by_a_query_then_by_one_submission_then_by_twice_as_many() {
    let gate = Arc::new(Gate::new(ProviderName::new("fake"), 1));
    assert_eq!(gate.opening(), Opening::Closed);
    assert_eq!(gate.next_probe_in(), Some(Duration::ZERO));
    assert_eq!(gate.status().cause, Some(ClosedBy::Start));
    gate.begin_probe().unwrap().end(Ok(()));
    assert!(gate.status().open, "nothing was refused");
    let mut rounds = Vec::new();
    while let Some(submissions) = limited(&gate) {
        rounds.push(submissions);
        let passes: Vec<Pass> = (0..submissions).map(|_| grant(&gate, 1)).collect();
        assert_eq!(limited(&gate), Some(0), "all of the round are under way");
        passes.into_iter().for_each(Pass::accepted);
    }
    assert_eq!(rounds, [1, 2, 4, 8, 16, 32, 64]);
    assert_eq!(gate.opening(), Opening::Open);
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_was_not_used_is_granted_again() {
    let gate = probing();
    let pass = grant(&gate, 1);
    assert_eq!(limited(&gate), Some(0));
    drop(pass);
    assert_eq!(limited(&gate), Some(1));
}

#[tokio::test(start_paused = true)]
async fn claims_that_were_made_while_more_was_let_through_do_not_overrun_a_round() {
    let gate = open();
    grant(&gate, 1).refused(&unavailable(Cause::Unreachable));
    let mut passes: Vec<Pass> = (0..50).map(|_| grant(&gate, 1)).collect();
    probe_within(&gate, seconds(2)).await;
    passes.extend((0..50).map(|_| grant(&gate, 1)));
    let sent: Vec<_> = (0..).zip(&passes).filter(|(_, it)| it.refusal().is_none()).collect();
    assert_eq!(sent.into_iter().map(|(number, _)| number).collect::<Vec<_>>(), [50]);
    drop(passes.split_off(51));
    drop(passes.drain(..50));
    assert_eq!(limited(&gate), Some(0), "they were never in the round");
    drop(passes);
    assert_eq!(limited(&gate), Some(1));
}

#[tokio::test(start_paused = true)]
async fn each_refusal_closes_and_doubles_the_wait_up_to_a_minute() {
    for cause in [Cause::Unreachable, Cause::Credentials, Cause::Account, Cause::Throttled] {
        let gate = open();
        let mut waits = Vec::new();
        for _ in 0..12 {
            grant(&gate, 1).refused(&unavailable(cause));
            assert_eq!(gate.opening(), Opening::Closed);
            waits.push(gate.next_probe_in().unwrap());
            probe_within(&gate, seconds(60)).await;
        }
        assert!(waits[0] <= Duration::from_millis(1250), "{cause}: {waits:?}");
        assert!(waits.iter().skip(8).all(|wait| *wait >= seconds(45)), "{cause}: {waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_provider_asks_for_is_honoured_for_an_hour_and_no_longer() {
    let gate = open();
    let throttled = |wait| Unavailable { retry_after: Some(wait), ..unavailable(Cause::Throttled) };
    grant(&gate, 1).refused(&throttled(seconds(30)));
    assert_eq!(gate.next_probe_in(), Some(seconds(30)));
    probe_within(&gate, seconds(30)).await;
    grant(&gate, 1).refused(&throttled(Duration::from_hours(9)));
    assert_eq!(gate.next_probe_in(), Some(Duration::from_hours(1)));
}

#[tokio::test(start_paused = true)]
async fn several_refusals_of_one_moment_are_one_failed_try() {
    let gate = open();
    let passes: Vec<Pass> = (0..20).map(|number| grant(&gate, number)).collect();
    for pass in passes {
        pass.refused(&unavailable(Cause::Unreachable));
    }
    assert!(gate.next_probe_in().unwrap() <= seconds(2));
}

#[tokio::test(start_paused = true)]
async fn what_was_granted_before_a_closure_is_not_sent_after_it() {
    let gate = open();
    let (one, two) = (grant(&gate, 1), grant(&gate, 2));
    assert_eq!(one.refusal(), None);
    two.refused(&unavailable(Cause::Credentials));
    assert_eq!(one.refusal().as_deref(), Some("no"));
    probe_within(&gate, seconds(2)).await;
    assert!(one.refusal().is_some(), "it counts in no round");
    assert_eq!(grant(&gate, 3).refusal(), None);
}

#[tokio::test(start_paused = true)]
async fn an_acceptance_from_before_the_closure_opens_nothing() {
    let gate = open();
    let (early, refused) = (grant(&gate, 1), grant(&gate, 2));
    refused.refused(&unavailable(Cause::Unreachable));
    early.accepted();
    assert_eq!(gate.opening(), Opening::Closed);
}

/// What is to be known of the refusals of these jobs, the stragglers first.
fn refused(stragglers: &[u8], probes: &[u8]) -> Refused {
    let mut refused = Refused::default();
    for number in stragglers {
        let Candidate { group, position, .. } = candidate(*number);
        refused.add_straggler(&group, position);
    }
    for number in probes {
        let Candidate { group, position, .. } = candidate(*number);
        refused.add_probe(&group, position);
    }
    refused
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_is_known_to_the_claims_until_a_submission_is_accepted() {
    let gate = open();
    let passes = [7, 5, 6].map(|number| grant(&gate, number));
    for pass in passes {
        pass.refused(&unavailable(Cause::Account));
    }
    probe_within(&gate, seconds(2)).await;
    let known = refused(&[7, 5, 6], &[]);
    assert_eq!(gate.opening(), Opening::Limited { submissions: 1, refused: known });
    grant(&gate, 8).refused(&unavailable(Cause::Account));
    probe_within(&gate, seconds(3)).await;
    grant(&gate, 5).record_unknown("500");
    probe_within(&gate, seconds(5)).await;
    let known = refused(&[7, 5, 6], &[8, 5]);
    assert_ne!(known, refused(&[7, 5, 6, 8, 5], &[]));
    assert_eq!(gate.opening(), Opening::Limited { submissions: 1, refused: known });
    grant(&gate, 1).accepted();
    let refused = Refused::default();
    assert_eq!(gate.opening(), Opening::Limited { submissions: 2, refused });
}

#[tokio::test(start_paused = true)]
async fn rejections_that_arrive_after_the_gate_closed_are_known_to_the_claims() {
    let gate = open();
    let passes = [1, 2, 3, 4, 5].map(|number| grant(&gate, number));
    for pass in passes {
        pass.rejected(&ProviderSettings::default(), "422");
    }
    probe_within(&gate, seconds(2)).await;
    let known = refused(&[3, 4, 5], &[]);
    assert_eq!(gate.opening(), Opening::Limited { submissions: 1, refused: known });
}

#[tokio::test(start_paused = true)]
async fn two_unknown_outcomes_within_a_minute_close_it_and_one_does_not() {
    let gate = open();
    let unknown = |gate: &Arc<Gate>| grant(gate, 1).record_unknown("500");
    unknown(&gate);
    advance(seconds(61)).await;
    unknown(&gate);
    assert_eq!(gate.opening(), Opening::Open);
    grant(&gate, 1).accepted();
    unknown(&gate);
    assert_eq!(gate.opening(), Opening::Open, "a success lies between");
    unknown(&gate);
    assert_eq!(gate.status().cause, Some(ClosedBy::Unanswered));
    probe_within(&gate, seconds(2)).await;
    unknown(&gate);
    assert_eq!(gate.opening(), Opening::Closed, "while it is being probed, one is enough");
}

#[tokio::test(start_paused = true)]
async fn three_rejected_jobs_in_a_row_fail_and_the_others_wait() {
    let gate = open();
    let settings = ProviderSettings::default();
    let passes = [1, 2, 3, 4, 5].map(|number| grant(&gate, number));
    let verdicts = passes.map(|pass| pass.rejected(&settings, "422"));
    let (own, others) = (Rejection::OfTheJob, Rejection::OfTheProvider);
    assert_eq!(verdicts, [own, own, own, others, others]);
    assert_eq!(gate.status().reason.as_deref(), Some("fake rejects every job: 422"));
    probe_within(&gate, seconds(2)).await;
    assert_eq!(grant(&gate, 6).rejected(&settings, "422"), others, "a probe fails no job");
    probe_within(&gate, seconds(3)).await;
    grant(&gate, 1).accepted();
    assert_eq!(grant(&gate, 6).rejected(&settings, "422"), own, "the provider accepts others");
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_between_rejections_makes_them_no_fault_of_the_jobs() {
    let gate = open();
    for number in [1, 2, 3] {
        grant(&gate, number).rejected(&ProviderSettings::default(), "422");
    }
    advance(gate.next_probe_in().unwrap()).await;
    let probe = gate.begin_probe().unwrap();
    let refusal = (ClosedBy::Refusal(Cause::Unreachable), unavailable(Cause::Unreachable));
    probe.end(Err(refusal));
    probe_within(&gate, seconds(5)).await;
    let verdict = grant(&gate, 4).rejected(&ProviderSettings::default(), "422");
    assert_eq!(verdict, Rejection::OfTheProvider);
}

#[tokio::test(start_paused = true)]
async fn a_rejection_under_settings_that_were_changed_meanwhile_is_no_jobs_fault() {
    let gate = open();
    let old = ProviderSettings::default();
    let new = ProviderSettings { version_override: Some("2".to_owned()), ..old.clone() };
    gate.update_settings(&new);
    for number in 1..=9 {
        assert_eq!(grant(&gate, number).rejected(&old, "422"), Rejection::OfTheProvider);
    }
    assert_eq!(gate.opening(), Opening::Open);
    assert_eq!(grant(&gate, 1).rejected(&new, "422"), Rejection::OfTheJob);
}

#[tokio::test(start_paused = true)]
async fn one_job_that_is_rejected_again_and_again_closes_nothing() {
    let gate = open();
    for _ in 0..9 {
        grant(&gate, 1).rejected(&ProviderSettings::default(), "422");
    }
    assert_eq!(gate.opening(), Opening::Open);
}

/// A query that failed, and one that was answered.
fn answer_again(gate: &Gate) {
    gate.record_query::<()>(&Err(QueryError::trouble("500")));
    gate.record_query(&Ok(()));
}

#[tokio::test(start_paused = true)]
async fn an_answer_after_failures_is_a_reason_to_probe_immediately() {
    let gate = open();
    for _ in 0..9 {
        grant(&gate, 1).refused(&unavailable(Cause::Unreachable));
        probe_within(&gate, seconds(60)).await;
    }
    grant(&gate, 1).refused(&unavailable(Cause::Unreachable));
    let mut changes = gate.changes();
    changes.mark_unchanged();
    gate.record_query(&Ok(()));
    assert_eq!(gate.next_probe_in(), Some(Duration::ZERO));
    assert!(changes.has_changed().unwrap(), "the scheduler is woken");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_answers_now_and_then_is_probed_no_more_than_once_a_minute() {
    let gate = open();
    for _ in 0..9 {
        grant(&gate, 1).refused(&unavailable(Cause::Unreachable));
        probe_within(&gate, seconds(60)).await;
    }
    let began = Instant::now();
    for _ in 0..60 {
        grant(&gate, 1).record_unknown("502");
        answer_again(&gate);
        probe_within(&gate, seconds(60)).await;
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_mins(29), "{took:?}: every other one came early");
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_no_news_where_queries_were_answered_all_the_time() {
    for cause in [Cause::Account, Cause::Throttled] {
        let gate = open();
        for _ in 0..9 {
            grant(&gate, 1).refused(&unavailable(cause));
            probe_within(&gate, seconds(60)).await;
        }
        grant(&gate, 1).refused(&unavailable(cause));
        let next = gate.next_probe_in();
        gate.record_query(&Ok(()));
        assert_eq!(gate.next_probe_in(), next, "{cause}");
        answer_again(&gate);
        let now_it_is = if cause == Cause::Throttled { next } else { Some(Duration::ZERO) };
        assert_eq!(gate.next_probe_in(), now_it_is, "{cause}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_no_news_while_a_setting_is_missing() {
    let gate = open();
    gate.missing_setting("no version");
    advance(gate.next_probe_in().unwrap()).await;
    let missing = (ClosedBy::MissingSetting, unavailable(Cause::Trouble));
    gate.begin_probe().unwrap().end(Err(missing));
    let next = gate.next_probe_in();
    gate.record_query(&Ok(()));
    assert_eq!(gate.next_probe_in(), next);
}

#[tokio::test(start_paused = true)]
async fn a_time_that_the_provider_asked_for_outlives_other_refusals_and_answers() {
    let gate = open();
    let (one, two, three) = (grant(&gate, 1), grant(&gate, 2), grant(&gate, 3));
    let hour = Some(Duration::from_hours(1));
    one.refused(&Unavailable { retry_after: hour, ..unavailable(Cause::Throttled) });
    two.refused(&unavailable(Cause::Unreachable));
    answer_again(&gate);
    assert_eq!(gate.next_probe_in(), hour);
    let sooner = Some(seconds(9));
    three.refused(&Unavailable { retry_after: sooner, ..unavailable(Cause::Trouble) });
    assert_eq!(gate.next_probe_in(), hour);
    gate.probe_now();
    assert_eq!(gate.next_probe_in(), Some(Duration::ZERO), "an operator may ask all the same");
    probe_within(&gate, Duration::ZERO).await;
    grant(&gate, 4).refused(&unavailable(Cause::Unreachable));
    assert_eq!(gate.next_probe_in(), hour);
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_waits_for_a_job_to_probe_with_reminds_of_nothing() {
    let gate = open();
    grant(&gate, 1).refused(&unavailable(Cause::Unreachable));
    let reminds = |gate: &Gate| {
        gate.remind();
        gate.lock().state.closure().is_some_and(|closure| closure.warned)
    };
    probe_within(&gate, seconds(2)).await;
    advance(seconds(20)).await;
    assert!(!reminds(&gate), "nothing waits for it");
    let pass = grant(&gate, 2);
    assert!(reminds(&gate));
    pass.refused(&unavailable(Cause::Unreachable));
    assert!(reminds(&gate));
}

#[tokio::test(start_paused = true)]
async fn changed_settings_and_an_operator_are_reasons_to_probe_immediately() {
    let gate = open();
    let settings = ProviderSettings::default();
    gate.update_settings(&settings);
    gate.missing_setting("no version");
    assert_eq!(gate.status().cause, Some(ClosedBy::MissingSetting));
    gate.update_settings(&settings);
    assert_ne!(gate.next_probe_in(), Some(Duration::ZERO), "nothing changed");
    let version_override = Some("owner/model:1".to_owned());
    gate.update_settings(&ProviderSettings { version_override, ..settings });
    assert_eq!(gate.next_probe_in(), Some(Duration::ZERO));
    let gate = open();
    gate.missing_setting("no version");
    gate.probe_now();
    assert_eq!(gate.next_probe_in(), Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_cut_off_can_begin_anew() {
    let gate = Arc::new(Gate::new(ProviderName::new("fake"), 1));
    drop(gate.begin_probe().unwrap());
    assert_eq!(gate.next_probe_in(), Some(Duration::ZERO));
    gate.begin_probe().unwrap().end(Ok(()));
    assert_eq!(limited(&gate), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_query_that_fails_keeps_it_closed() {
    let gate = open();
    grant(&gate, 1).refused(&unavailable(Cause::Unreachable));
    advance(seconds(2)).await;
    let step = gate.begin_probe().unwrap();
    let began = Instant::now();
    let answer = Err((ClosedBy::Refusal(Cause::Credentials), unavailable(Cause::Credentials)));
    step.end(answer);
    assert_eq!(gate.opening(), Opening::Closed);
    assert_eq!(gate.status().cause, Some(ClosedBy::Refusal(Cause::Credentials)));
    assert!(gate.next_probe_in().unwrap() > Duration::from_millis(1400), "{began:?}");
    assert!(gate.status().closed_for.unwrap() >= seconds(2), "it is the same closure");
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_is_no_closure_and_a_probe_that_can_begin_keeps_nothing_waiting() {
    let gate = open();
    let status = gate.status();
    assert_eq!((status.closures, status.admits_probe), (0, false));
    let accepted = status.accepted;
    assert!(accepted > 0);
    grant(&gate, 1).refused(&unavailable(Cause::Trouble));
    for _ in 0..3 {
        advance(gate.next_probe_in().unwrap()).await;
        let step = gate.begin_probe().unwrap();
        step.end(Err((ClosedBy::Refusal(Cause::Trouble), unavailable(Cause::Trouble))));
        let status = gate.status();
        assert_eq!((status.closures, status.accepted, status.admits_probe), (1, accepted, false));
    }
    probe_within(&gate, Duration::from_mins(2)).await;
    assert!(gate.status().admits_probe && gate.status().closed_for.is_some());
    let pass = grant(&gate, 2);
    assert!(!gate.status().admits_probe, "the one submission that probes is under way");
    pass.accepted();
    assert_eq!((gate.status().closures, gate.status().closed_for), (1, None));
}
