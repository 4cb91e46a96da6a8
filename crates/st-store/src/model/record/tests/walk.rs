//! Random walks over all steps of a job, at any time and with any token, beside an oracle that knows
//! nothing but the events.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::model::CancelOutcome;

/// A step, with what it is given.
#[derive(Debug, Clone)]
enum Walk {
    Wake,
    Claim(u32),
    Reclaim(u32),
    Extend(i64),
    Settle { outcome: Outcome, stale: i64, suspect: bool },
    Sight { id: u8, attempt: u32, other: bool, status: JobStatus },
    Blame,
    Cancel,
    Decide { verdict: Verdict, confirmed: bool, nul: bool },
    Expire,
}

fn status() -> impl Strategy<Value = JobStatus> {
    prop::sample::select(JobStatus::ALL)
}

fn time() -> impl Strategy<Value = Timestamp> {
    let ends = vec![Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX];
    prop_oneof![9 => (0..300_i64).prop_map(at), 1 => prop::sample::select(ends)]
}

fn provider_report() -> impl Strategy<Value = ProviderStatus> {
    let cost = prop::sample::select(vec![0.0, 1.5, -1.0, f64::NAN, f64::INFINITY]);
    let text = || prop::option::of(prop::sample::select(vec!["", "why", "a\0b"]));
    let times = (prop::option::of(time()), prop::option::of(time()));
    let kept = prop::option::of(prop::sample::select(vec![Duration::ZERO, Duration::MAX]));
    let said = (times, prop::option::of(cost), text(), text(), kept);
    (1..3_u8, prop::option::weighted(0.9, status()), said).prop_map(
        |(id, status, ((started_at, completed_at), cost_usd, error, output, kept))| {
            ProviderStatus {
                provider_job_id: provider_job(&format!("p-{id}")),
                status,
                started_at,
                completed_at,
                cost_usd,
                error_message: error.map(str::to_owned),
                output_url: output.map(str::to_owned),
                ending: None,
                results_kept_for: kept,
            }
        },
    )
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let pauses = vec![SignedDuration::MIN, SignedDuration::ZERO, SignedDuration::MAX];
    let pause = || prop::sample::select(pauses.clone());
    let error = || "a\0b".to_owned();
    let not_arrived = prop_oneof![
        4 => pause().prop_map(move |retry_in| AttemptFailure::Failed { error: error(), retry_in }),
        2 => pause()
            .prop_map(move |retry_in| AttemptFailure::NotSent { reason: error(), retry_in }),
        1 => pause().prop_map(|retry_in| AttemptFailure::Absent { retry_in }),
        1 => Just(AttemptFailure::Rejected { error: error() }),
        1 => Just(AttemptFailure::Final { error: error() }),
        1 => Just(AttemptFailure::Unsendable { error: error() }),
    ];
    prop_oneof![
        2 => provider_report().prop_map(Outcome::Submitted),
        1 => (1..3_u8).prop_map(|id| Outcome::Held(provider_job(&format!("p-{id}")))),
        3 => not_arrived.prop_map(Outcome::NotArrived),
        1 => prop::option::of(0..4_u32).prop_map(unresolved),
        3 => provider_report().prop_map(Outcome::Reported),
    ]
}

fn walk() -> impl Strategy<Value = Walk> {
    let stale = prop_oneof![6 => Just(0), 1 => prop::sample::select(vec![-1, 1, i64::MIN / 2])];
    let sight = (1..4_u8, 1..4_u32, prop::bool::weighted(0.2), status());
    let verdict = prop_oneof![Just(Verdict::Approve), Just(Verdict::Reject)];
    prop_oneof![
        1 => Just(Walk::Wake),
        6 => (1..4_u32).prop_map(Walk::Claim),
        3 => (1..4_u32).prop_map(Walk::Reclaim),
        1 => (-1..2_i64).prop_map(Walk::Extend),
        12 => (outcome(), stale, any::<bool>())
            .prop_map(|(outcome, stale, suspect)| Walk::Settle { outcome, stale, suspect }),
        1 => sight.prop_map(|(id, attempt, other, status)| {
            Walk::Sight { id, attempt, other, status }
        }),
        2 => Just(Walk::Blame),
        1 => Just(Walk::Cancel),
        2 => (verdict, any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(verdict, confirmed, nul)| Walk::Decide { verdict, confirmed, nul }),
        1 => Just(Walk::Expire),
    ]
}

/// The statuses, known from events alone.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Known {
    job: Option<JobStatus>,
    queue: Option<QueueStatus>,
    approval: Option<ApprovalStatus>,
}

/// How far a job with this status is; 4 is the end.
fn progress(status: JobStatus) -> u8 {
    match status {
        JobStatus::Pending => 0,
        JobStatus::Uploading => 1,
        JobStatus::Queued => 2,
        JobStatus::Running => 3,
        JobStatus::Completed | JobStatus::Failed | JobStatus::Cancelled => 4,
    }
}

impl Known {
    fn of(record: &JobRecord) -> Self {
        Self {
            job: Some(record.status()),
            queue: Some(record.queue_status()),
            approval: record.approval().map(Approval::status),
        }
    }

    /// Follows an event: it starts from what is known, and leads on.
    fn follow(&mut self, change: &Change) {
        match change {
            Change::Job { from, to, .. } => {
                assert_eq!(*from, self.job, "{change:?}");
                assert!(from.is_none_or(|from| progress(from) < progress(*to)), "{change:?}");
                self.job = Some(*to);
            }
            Change::Queue { from, to, .. } => {
                assert_eq!(*from, self.queue, "{change:?}");
                let released = (*from, *to) == (Some(QueueStatus::Ready), QueueStatus::Pending);
                assert!(released || from.is_none_or(|from| from < *to), "{change:?}");
                assert!(!from.is_some_and(QueueStatus::is_terminal), "{change:?}");
                self.queue = Some(*to);
            }
            Change::Approval { from, to, .. } => {
                assert_eq!(*from, self.approval, "{change:?}");
                assert!(matches!(from, None | Some(ApprovalStatus::Pending)), "{change:?}");
                self.approval = Some(*to);
            }
            Change::Priority { .. }
            | Change::Deleted { .. }
            | Change::Provider { .. }
            | Change::Limits { .. } => panic!("no change of a status: {change:?}"),
        }
    }

    /// The two statuses as words; only these go together.
    fn words(self) -> String {
        let words = format!("{} {}", self.queue.unwrap(), self.job.unwrap());
        let legal = [
            "blocked pending",
            "pending pending",
            "pending uploading",
            "ready uploading",
            "running queued",
            "running running",
            "completed completed",
            "failed failed",
            "failed cancelled",
            "cancelled cancelled",
        ];
        assert!(legal.contains(&words.as_str()), "{words}");
        words
    }
}

/// What a step came to: the statuses that it must have led to, where that depends on nothing else.
fn make(
    record: &mut JobRecord,
    step: &Walk,
    now: Timestamp,
) -> Result<Option<String>, TransitionError> {
    let words = |text: &str| Some(text.to_owned());
    let bob = user("bob");
    match step {
        Walk::Wake => {
            record.wake(now);
            Ok(None)
        }
        Walk::Claim(epoch) => {
            let grant = Grant { epoch: Epoch(*epoch), ..grant() };
            record.claim(&grant, now).map(|()| words("ready uploading"))
        }
        Walk::Reclaim(epoch) => {
            record.reclaim(lease(9), Epoch(*epoch), now).map(|()| words("ready uploading"))
        }
        Walk::Extend(off) => {
            let token = AttemptToken::from_number(record.token().to_number() + off);
            record.extend_lease(token, now).map(|()| words("ready uploading"))
        }
        Walk::Settle { .. } => settle_twice(record, step, now),
        Walk::Sight { id, attempt, other, status } => {
            let mut seen = sighting(&format!("p-{id}"), *attempt, *status);
            if *other {
                seen.provider = ProviderName::new("other");
            }
            record.sight(&seen, Settling { now, ..settling(&Actor::Poller, 0) });
            Ok(None)
        }
        Walk::Blame => Ok(record.blame(now).then(|| "failed failed".to_owned())),
        Walk::Cancel => match record.cancel(&bob, now)? {
            CancelOutcome::Done => Ok(words("cancelled cancelled")),
            CancelOutcome::InFlight => Ok(words("ready uploading")),
            CancelOutcome::AtProvider => Ok(None),
        },
        Walk::Decide { verdict, confirmed, nul } => {
            let notes = nul.then(|| "\0".to_owned());
            record.decide(&Decision { notes, ..decision(*verdict) }, now, *confirmed)?;
            Ok(words(match verdict {
                Verdict::Approve => "pending pending",
                Verdict::Reject => "failed cancelled",
            }))
        }
        Walk::Expire => record.expire(now).map(|()| words("failed cancelled")),
    }
}

/// Settles an outcome; what was settled is recognized the second time.
fn settle_twice(
    record: &mut JobRecord,
    step: &Walk,
    now: Timestamp,
) -> Result<Option<String>, TransitionError> {
    let Walk::Settle { outcome, stale, suspect } = step else { panic!("{step:?}") };
    let token = AttemptToken::from_number(record.token().to_number().wrapping_add(*stale));
    let settling = Settling { now, suspect: *suspect, ..settling(&Actor::Scheduler, 0) };
    let settled = record.settle(token, outcome, settling)?;
    if !matches!(outcome, Outcome::Unresolved { .. }) {
        let mut again = record.clone();
        assert_eq!(again.settle(token, outcome, settling), Ok(Settled::Unchanged), "{outcome:?}");
        assert_eq!(again, *record, "{outcome:?}");
    }
    Ok(match settled {
        Settled::Requeued => Some("pending uploading".to_owned()),
        Settled::Ended(status) => Some(format!("{status} {status}")),
        Settled::Changed | Settled::Unchanged => None,
        Settled::Sighted(_) => panic!("only a store knows sightings: {outcome:?}"),
    })
}

/// Makes a step, and checks what must be true after any.
fn advance(record: &mut JobRecord, known: &mut Known, step: &Walk, now: Timestamp) {
    let before = record.clone();
    let result = make(record, step, now);
    let events = record.take_events();
    if let Err(refused) = &result {
        assert_eq!((&*record, events.as_slice()), (&before, [].as_slice()), "{refused}");
    }
    assert_eq!(record.check(), Ok(()), "{step:?}");
    for event in &events {
        assert_eq!((event.at, &event.correlation_id), (now, &record.job().correlation_id));
        known.follow(&event.change);
    }
    assert_eq!(*known, Known::of(record), "after {step:?}");
    let words = known.words();
    if let Ok(Some(expected)) = result {
        assert_eq!(words, expected, "after {step:?}");
        let claimed = matches!(step, Walk::Claim(_) | Walk::Reclaim(_));
        assert_eq!(record.token() > before.token(), claimed, "{step:?}");
    }
    assert!(record.token() >= before.token(), "{step:?}");
    let attempts = u32::from(matches!(step, Walk::Claim(_)) && before != *record);
    assert_eq!(record.entry().attempt, before.entry().attempt + attempts, "{step:?}");
    if before.status().is_terminal() {
        assert_eq!(*record, before, "what is over changes no more: {step:?}");
    }
    let texts =
        [&record.job().error_message, &record.job().output_url, &record.entry().error_message];
    assert!(texts.iter().all(|text| !text.as_deref().unwrap_or_default().contains('\0')));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 600,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(8),
        ..ProptestConfig::default()
    })]

    #[test]
    fn events_tell_the_statuses_and_no_step_breaks_a_record(
        approval in prop::bool::weighted(0.3),
        max_attempts in 0..4_u32,
        run_after in prop::option::of(time()),
        steps in vec((walk(), time()), 1..60),
    ) {
        let new = NewJob { max_attempts, run_after, ..new_job() };
        let rule = approval.then(rule);
        let mut record = submitted(&new, rule.as_ref());
        let mut known = Known::default();
        for event in record.take_events() {
            known.follow(&event.change);
        }
        prop_assert_eq!(known, Known::of(&record));
        for (step, now) in &steps {
            advance(&mut record, &mut known, step, *now);
        }
    }
}

/// A walk that never reaches the later stages shows nothing about them.
#[test]
fn the_walks_reach_every_pair_of_statuses() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let config = ProptestConfig { rng_seed: RngSeed::Fixed(8), ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    let mut reached = std::collections::BTreeSet::new();
    for case in 0..200 {
        let rule = (case % 3 == 0).then(rule);
        let mut record = submitted(&new_job(), rule.as_ref());
        reached.insert(Known::of(&record).words());
        for _ in 0..60 {
            let (step, now) = (walk(), time()).new_tree(&mut runner).unwrap().current();
            make(&mut record, &step, now).unwrap_or_default();
            reached.insert(Known::of(&record).words());
        }
    }
    assert_eq!(reached.len(), 10, "{reached:?}");
}
