//! What it promises, rule by rule.

use std::time::Duration;

use st_store::{JobId, Opening, ProviderName, ProviderSettings};
use tokio::time::{Instant, advance};

use super::{ClosedBy, Gate, Pass, Rejection};
use crate::provider::{Cause, QueryError, Unavailable};

fn job(number: u8) -> JobId {
    JobId::new("2026-01-01T00:00:00Z".parse().unwrap(), [number; 10])
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn unavailable(cause: Cause) -> Unavailable {
    Unavailable::new(cause, "no")
}

/// A gate on which nothing has happened, after the first step of its start.
fn tried() -> Gate {
    let gate = Gate::new(ProviderName::new("fake"), 1);
    gate.begin_try().unwrap().end(Ok(()));
    gate
}

/// A gate through which everything goes.
fn open() -> Gate {
    let gate = tried();
    while gate.opening() != Opening::Open {
        let pass = gate.grant();
        gate.accepted(pass);
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
async fn try_within(gate: &Gate, wait: Duration) {
    let next = gate.next_try_in().unwrap();
    assert!(next <= wait, "the next try is in {next:?}");
    advance(next).await;
    let step = gate.begin_try().unwrap();
    assert!(gate.begin_try().is_none(), "one try at a time");
    step.end(Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_start_tries_a_question_then_one_submission_then_twice_as_many() {
    let gate = Gate::new(ProviderName::new("fake"), 1);
    assert_eq!(gate.opening(), Opening::Closed);
    assert_eq!(gate.next_try_in(), Some(Duration::ZERO));
    assert_eq!(gate.status().cause, Some(ClosedBy::Start));
    gate.begin_try().unwrap().end(Ok(()));
    assert!(gate.status().open, "nothing was refused");
    let mut rounds = Vec::new();
    while let Some(submissions) = limited(&gate) {
        rounds.push(submissions);
        let passes: Vec<Pass> = (0..submissions).map(|_| gate.grant()).collect();
        assert_eq!(limited(&gate), Some(0), "all of the round are under way");
        for pass in passes {
            gate.accepted(pass);
        }
    }
    assert_eq!(rounds, [1, 2, 4, 8, 16, 32, 64]);
    assert_eq!(gate.opening(), Opening::Open);
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_was_not_used_is_granted_again() {
    let gate = tried();
    let pass = gate.grant();
    assert_eq!(limited(&gate), Some(0));
    gate.unused(pass);
    assert_eq!(limited(&gate), Some(1));
}

#[tokio::test(start_paused = true)]
async fn claims_that_were_made_while_more_was_let_through_do_not_overrun_a_round() {
    let gate = tried();
    let passes: Vec<Pass> = (0..100).map(|_| gate.grant()).collect();
    let sent = passes.iter().filter(|pass| gate.refuses(**pass).is_none()).count();
    assert_eq!(sent, 1);
    for pass in passes.into_iter().skip(1) {
        gate.unused(pass);
    }
    assert_eq!(limited(&gate), Some(0), "they were never in the round");
}

#[tokio::test(start_paused = true)]
async fn each_refusal_closes_and_doubles_the_wait_up_to_a_minute() {
    for cause in [Cause::Unreachable, Cause::Credentials, Cause::Account, Cause::Throttled] {
        let gate = open();
        let mut waits = Vec::new();
        for _ in 0..12 {
            let pass = gate.grant();
            gate.refused(job(1), pass, &unavailable(cause));
            assert_eq!(gate.opening(), Opening::Closed);
            waits.push(gate.next_try_in().unwrap());
            try_within(&gate, seconds(60)).await;
        }
        assert!(waits[0] <= Duration::from_millis(1250), "{cause}: {waits:?}");
        assert!(waits.iter().skip(8).all(|wait| *wait >= seconds(45)), "{cause}: {waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_wish_of_the_provider_is_kept_for_an_hour_and_no_longer() {
    let gate = open();
    let wish = |wish| Unavailable { retry_after: Some(wish), ..unavailable(Cause::Throttled) };
    let pass = gate.grant();
    gate.refused(job(1), pass, &wish(seconds(30)));
    assert_eq!(gate.next_try_in(), Some(seconds(30)));
    try_within(&gate, seconds(30)).await;
    let pass = gate.grant();
    gate.refused(job(1), pass, &wish(Duration::from_hours(9)));
    assert_eq!(gate.next_try_in(), Some(Duration::from_hours(1)));
}

#[tokio::test(start_paused = true)]
async fn several_refusals_of_one_moment_are_one_failed_try() {
    let gate = open();
    let passes: Vec<Pass> = (0..20).map(|_| gate.grant()).collect();
    for (number, pass) in passes.into_iter().enumerate() {
        let number = u8::try_from(number).unwrap();
        gate.refused(job(number), pass, &unavailable(Cause::Unreachable));
    }
    assert!(gate.next_try_in().unwrap() <= seconds(2));
}

#[tokio::test(start_paused = true)]
async fn what_was_granted_before_a_closure_is_not_sent_after_it() {
    let gate = open();
    let (one, two) = (gate.grant(), gate.grant());
    assert_eq!(gate.refuses(one), None);
    gate.refused(job(1), two, &unavailable(Cause::Credentials));
    assert_eq!(gate.refuses(one).as_deref(), Some("no"));
    try_within(&gate, seconds(2)).await;
    assert!(gate.refuses(one).is_some(), "it counts in no round");
    assert_eq!(gate.refuses(gate.grant()), None);
}

#[tokio::test(start_paused = true)]
async fn an_acceptance_from_before_the_closure_opens_nothing() {
    let gate = open();
    let (early, refused) = (gate.grant(), gate.grant());
    gate.refused(job(1), refused, &unavailable(Cause::Unreachable));
    gate.accepted(early);
    assert_eq!(gate.opening(), Opening::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_job_that_was_refused_is_not_the_one_that_tries() {
    let gate = open();
    let pass = gate.grant();
    gate.refused(job(7), pass, &unavailable(Cause::Account));
    try_within(&gate, seconds(2)).await;
    let except = [job(7)].into();
    assert_eq!(gate.opening(), Opening::Limited { submissions: 1, except });
    let pass = gate.grant();
    gate.accepted(pass);
    let except = std::collections::BTreeSet::new();
    assert_eq!(gate.opening(), Opening::Limited { submissions: 2, except });
}

#[tokio::test(start_paused = true)]
async fn two_unknown_outcomes_within_a_minute_close_it_and_one_does_not() {
    let gate = open();
    let unknown = |gate: &Gate| {
        let pass = gate.grant();
        gate.unanswered(job(1), pass, "500");
    };
    unknown(&gate);
    advance(seconds(61)).await;
    unknown(&gate);
    assert_eq!(gate.opening(), Opening::Open);
    let pass = gate.grant();
    gate.accepted(pass);
    unknown(&gate);
    assert_eq!(gate.opening(), Opening::Open, "a success lies between");
    unknown(&gate);
    assert_eq!(gate.status().cause, Some(ClosedBy::Unanswered));
    try_within(&gate, seconds(2)).await;
    unknown(&gate);
    assert_eq!(gate.opening(), Opening::Closed, "while it is being tried, one is enough");
}

#[tokio::test(start_paused = true)]
async fn three_rejected_jobs_in_a_row_fail_and_the_others_wait() {
    let gate = open();
    let passes: Vec<Pass> = (0..5).map(|_| gate.grant()).collect();
    let verdicts: Vec<Rejection> = passes
        .into_iter()
        .zip([1, 2, 3, 4, 5])
        .map(|(pass, number)| gate.rejected(job(number), pass, &ProviderSettings::default(), "422"))
        .collect();
    let (own, others) = (Rejection::OfTheJob, Rejection::OfTheProvider);
    assert_eq!(verdicts, [own, own, own, others, others]);
    assert_eq!(gate.status().reason.as_deref(), Some("fake rejects every job: 422"));
    try_within(&gate, seconds(2)).await;
    let pass = gate.grant();
    assert_eq!(
        gate.rejected(job(6), pass, &ProviderSettings::default(), "422"),
        others,
        "a try fails no job"
    );
    try_within(&gate, seconds(3)).await;
    let pass = gate.grant();
    gate.accepted(pass);
    let pass = gate.grant();
    assert_eq!(
        gate.rejected(job(6), pass, &ProviderSettings::default(), "422"),
        own,
        "the provider accepts others"
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_try_between_rejections_makes_them_no_fault_of_the_jobs() {
    let gate = open();
    for number in [1, 2, 3] {
        let pass = gate.grant();
        gate.rejected(job(number), pass, &ProviderSettings::default(), "422");
    }
    advance(gate.next_try_in().unwrap()).await;
    let pass = gate.begin_try().unwrap();
    let refusal = (ClosedBy::Refusal(Cause::Unreachable), unavailable(Cause::Unreachable));
    pass.end(Err(refusal));
    try_within(&gate, seconds(5)).await;
    let pass = gate.grant();
    assert_eq!(
        gate.rejected(job(4), pass, &ProviderSettings::default(), "422"),
        Rejection::OfTheProvider
    );
}

#[tokio::test(start_paused = true)]
async fn a_rejection_under_settings_that_were_changed_meanwhile_is_no_jobs_fault() {
    let gate = open();
    let old = ProviderSettings::default();
    let new = ProviderSettings { version_override: Some("2".to_owned()), ..old.clone() };
    gate.settings(&new);
    for number in 1..=9 {
        let pass = gate.grant();
        assert_eq!(gate.rejected(job(number), pass, &old, "422"), Rejection::OfTheProvider);
    }
    assert_eq!(gate.opening(), Opening::Open);
    let pass = gate.grant();
    assert_eq!(gate.rejected(job(1), pass, &new, "422"), Rejection::OfTheJob);
}

#[tokio::test(start_paused = true)]
async fn one_job_that_is_rejected_again_and_again_closes_nothing() {
    let gate = open();
    for _ in 0..9 {
        let pass = gate.grant();
        gate.rejected(job(1), pass, &ProviderSettings::default(), "422");
    }
    assert_eq!(gate.opening(), Opening::Open);
}

#[tokio::test(start_paused = true)]
async fn an_answer_after_failures_is_a_reason_to_try_immediately() {
    let gate = open();
    for _ in 0..9 {
        let pass = gate.grant();
        gate.refused(job(1), pass, &unavailable(Cause::Unreachable));
        try_within(&gate, seconds(60)).await;
    }
    let pass = gate.grant();
    gate.refused(job(1), pass, &unavailable(Cause::Unreachable));
    let mut changes = gate.changes();
    changes.mark_unchanged();
    gate.question(&Ok(()));
    assert_eq!(gate.next_try_in(), Some(Duration::ZERO));
    assert!(changes.has_changed().unwrap(), "the scheduler is woken");
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_no_news_where_questions_were_answered_all_the_time() {
    for cause in [Cause::Account, Cause::Throttled] {
        let gate = open();
        let pass = gate.grant();
        let refusal = Unavailable { retry_after: Some(seconds(40)), ..unavailable(cause) };
        gate.refused(job(1), pass, &refusal);
        gate.question(&Ok(()));
        assert_eq!(gate.next_try_in(), Some(seconds(40)), "{cause}");
        gate.question::<()>(&Err(QueryError::trouble("500")));
        gate.question(&Ok(()));
        let now_it_is = if cause == Cause::Throttled { seconds(40) } else { Duration::ZERO };
        assert_eq!(gate.next_try_in(), Some(now_it_is), "{cause}");
    }
}

#[tokio::test(start_paused = true)]
async fn changed_settings_and_an_operator_are_reasons_to_try_immediately() {
    let gate = open();
    let settings = ProviderSettings::default();
    gate.settings(&settings);
    gate.missing_setting("no version");
    assert_eq!(gate.status().cause, Some(ClosedBy::MissingSetting));
    gate.settings(&settings);
    assert_ne!(gate.next_try_in(), Some(Duration::ZERO), "nothing changed");
    let version_override = Some("owner/model:1".to_owned());
    gate.settings(&ProviderSettings { version_override, ..settings });
    assert_eq!(gate.next_try_in(), Some(Duration::ZERO));
    let gate = open();
    gate.missing_setting("no version");
    gate.try_now();
    assert_eq!(gate.next_try_in(), Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_try_that_is_cut_off_can_begin_anew() {
    let gate = Gate::new(ProviderName::new("fake"), 1);
    drop(gate.begin_try().unwrap());
    assert_eq!(gate.next_try_in(), Some(Duration::ZERO));
    gate.begin_try().unwrap().end(Ok(()));
    assert_eq!(limited(&gate), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_question_that_fails_keeps_it_closed() {
    let gate = open();
    let pass = gate.grant();
    gate.refused(job(1), pass, &unavailable(Cause::Unreachable));
    advance(seconds(2)).await;
    let step = gate.begin_try().unwrap();
    let began = Instant::now();
    let answer = Err((ClosedBy::Refusal(Cause::Credentials), unavailable(Cause::Credentials)));
    step.end(answer);
    assert_eq!(gate.opening(), Opening::Closed);
    assert_eq!(gate.status().cause, Some(ClosedBy::Refusal(Cause::Credentials)));
    assert!(gate.next_try_in().unwrap() > Duration::from_millis(1400), "{began:?}");
    assert!(gate.status().closed_for.unwrap() >= seconds(2), "it is the same closure");
}
