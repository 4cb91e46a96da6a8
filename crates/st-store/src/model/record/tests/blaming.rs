//! Whose fault failures were, in random timelines, against the sentence of the design: an attempt
//! counts only when it was refused, lost or unanswered while another job's submission to the same
//! provider succeeded before and after it, within 10 minutes.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::model::{Acceptances, blame::near};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Happens {
    /// The job is claimed, if it waits.
    Claim,
    /// Its attempt fails, if there is one.
    Fail,
    /// Its attempt sends nothing, if there is one.
    SendNothing,
    /// The provider accepts another job.
    AcceptOther(u8),
}

/// What happened, and after how many seconds more.
type Timeline = Vec<(Happens, i64)>;

fn timeline() -> impl Strategy<Value = Timeline> {
    let happens = prop_oneof![
        3 => Just(Happens::Claim),
        3 => Just(Happens::Fail),
        1 => Just(Happens::SendNothing),
        3 => (1..4_u8).prop_map(Happens::AcceptOther),
    ];
    let passed = prop::sample::select(vec![0, 1, 10, 299, 300, 301, 599, 600, 601]);
    vec((happens, passed), 1..60)
}

/// A job, its provider, and all that was seen of both.
struct World {
    record: JobRecord,
    provider: Acceptances,
    now: i64,
    /// Failures and acceptances of others in their order; `true` for a failure.
    seen: Vec<(bool, i64)>,
}

impl World {
    fn new() -> Self {
        let (record, provider) = (waiting(), Acceptances::default());
        Self { record, provider, now: 0, seen: Vec::new() }
    }

    /// How many failures have an acceptance before and one after them, each within 10 minutes.
    fn counted(&self) -> usize {
        let near = |one: i64, other: i64| (one - other).abs() <= 600;
        let counts = |&(index, &(failed, second)): &(usize, &(bool, i64))| {
            let (before, after) = self.seen.split_at(index);
            let accepted =
                |all: &[(bool, i64)]| all.iter().any(|&(it, at)| !it && near(at, second));
            failed && accepted(before) && accepted(after)
        };
        self.seen.iter().enumerate().filter(counts).count()
    }

    /// Whether a failure was seen since another job was accepted last.
    fn failed_last(&self) -> bool {
        self.seen.last().is_some_and(|&(failed, _)| failed)
    }

    fn settle(&mut self, outcome: &Outcome) -> Settled {
        let suspect = self.provider.makes_suspect(self.record.id(), at(self.now));
        let settling = Settling { suspect, ..settling(&Actor::Scheduler, self.now) };
        self.record.settle(self.record.token(), outcome, settling).unwrap()
    }

    /// Makes a step as a store does.
    fn step(&mut self, happens: Happens, passed: i64) {
        self.now += passed;
        let claimed = self.record.stage().claimed().is_some();
        match happens {
            Happens::Claim => {
                if self.record.queue_status() == QueueStatus::Pending {
                    self.record.claim(&grant(), at(self.now)).unwrap();
                }
            }
            Happens::Fail if claimed => {
                self.settle(&failed(0));
                self.seen.push((true, self.now));
            }
            Happens::SendNothing if claimed => {
                self.settle(&not_sent(0));
            }
            Happens::Fail | Happens::SendNothing => {}
            Happens::AcceptOther(number) => {
                self.provider.accepted(JobId::new(at(0), [100 + number; 10]), at(self.now));
                self.seen.push((false, self.now));
                if self.record.entry().suspect_since.is_some_and(|it| near(it, at(self.now))) {
                    self.record.blame(at(self.now));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(7),
        ..ProptestConfig::default()
    })]

    #[test]
    fn three_failures_between_acceptances_end_the_job_wherever_it_is(timeline in timeline()) {
        let mut world = World::new();
        for (happens, passed) in timeline {
            // Several failures in a row are the subject of the next test.
            if happens == Happens::Fail && world.failed_last() {
                continue;
            }
            let in_flight = world.record.stage().claimed().is_some();
            world.step(happens, passed);
            let counted = world.counted();
            prop_assert_eq!(world.record.entry().failed_attempts as usize, counted);
            // One that is in flight may still be accepted: it ends with its attempt.
            let still = in_flight && world.record.stage().claimed().is_some();
            let over = world.record.status() == JobStatus::Failed;
            prop_assert_eq!(over, counted >= 3 && !still, "{:?}", world.seen);
            if over {
                let error = world.record.job().error_message.clone().unwrap();
                let reason = "failed 3 times while submissions of other jobs were accepted: ";
                prop_assert!(error.starts_with(reason), "{error}");
                break;
            }
        }
    }

    #[test]
    fn no_failure_counts_that_the_sentence_does_not_count(timeline in timeline()) {
        let mut world = World::new();
        for (happens, passed) in timeline {
            world.step(happens, passed);
            let counted = world.record.entry().failed_attempts as usize;
            prop_assert!(counted <= world.counted(), "{counted}: {:?}", world.seen);
        }
    }
}

#[test]
fn of_failures_without_an_acceptance_between_them_the_last_counts() {
    let mut world = World::new();
    world.step(Happens::AcceptOther(1), 0);
    for _ in 0..5 {
        world.step(Happens::Claim, 1);
        world.step(Happens::Fail, 1);
    }
    world.step(Happens::AcceptOther(2), 1);
    assert_eq!((world.record.entry().failed_attempts, world.record.entry().attempt), (1, 5));
}

#[test]
fn a_job_that_is_held_when_its_last_failure_counts_ends_with_its_attempt() {
    for outcome in [failed(0), not_sent(0)] {
        let mut world = World::new();
        for round in 0..3 {
            world.step(Happens::AcceptOther(1), 1);
            world.step(Happens::Claim, 1);
            world.step(Happens::Fail, 1);
            if round == 2 {
                world.step(Happens::Claim, 1);
                world.settle(&Outcome::Held(provider_job("p-1")));
            }
            world.step(Happens::AcceptOther(2), 1);
        }
        assert_eq!(
            (world.record.entry().failed_attempts, world.record.queue_status()),
            (3, QueueStatus::Ready)
        );
        assert_eq!(world.settle(&outcome), Settled::Ended(JobStatus::Failed));
        let error = world.record.job().error_message.clone().unwrap();
        assert!(error.starts_with("failed 3 times while"), "{error}");
    }
}

#[test]
fn a_job_that_is_accepted_after_its_last_failure_counts_runs() {
    let mut world = World::new();
    for _ in 0..3 {
        world.step(Happens::AcceptOther(1), 1);
        world.step(Happens::Claim, 1);
        world.step(Happens::Fail, 1);
        world.step(Happens::Claim, 1);
        world.step(Happens::AcceptOther(2), 1);
        if world.record.entry().failed_attempts < 3 {
            world.settle(&not_sent(0));
        }
    }
    world.settle(&Outcome::Submitted(report(JobStatus::Running)));
    assert_eq!(
        (world.record.status(), world.record.entry().failed_attempts),
        (JobStatus::Running, 0)
    );
}
