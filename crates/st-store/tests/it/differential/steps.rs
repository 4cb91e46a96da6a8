//! The steps that are made at random. Jobs, provider jobs and approvals are small numbers, so that
//! many steps meet one that exists.

use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each varies by itself")]
pub(crate) struct Submit {
    pub(crate) user: u8,
    pub(crate) team: bool,
    pub(crate) org: bool,
    pub(crate) local: bool,
    pub(crate) other_provider: bool,
    pub(crate) priority: u8,
    pub(crate) max_attempts: u8,
    pub(crate) expensive: bool,
    pub(crate) delay: u8,
    pub(crate) key: Option<u8>,
    /// Under the ID of this job, which may be there.
    pub(crate) again: Option<u8>,
}

/// The job that a step is about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pick {
    /// One of those at which the step does something, if there is any.
    Likely(u8),
    /// The one with this number, whether it exists or not.
    Any(u8),
}

/// What a provider reports.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    /// The provider job with this number; `None` for the one with the job's own.
    pub(crate) provider_job: Option<u8>,
    pub(crate) status: u8,
    pub(crate) cost: bool,
    /// For how many minutes results can be read after the end.
    pub(crate) kept: Option<u8>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum OutcomeKind {
    Submitted,
    Found,
    Held,
    Rejected,
    Failed,
    NotSent,
    Final,
    Unsendable,
    Unresolved,
    Reported,
}

#[derive(Debug, Clone)]
pub(crate) struct Settle {
    pub(crate) job: Pick,
    pub(crate) stale: bool,
    pub(crate) kind: OutcomeKind,
    pub(crate) report: Report,
    pub(crate) retry_in: u16,
}

#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) job: Pick,
    /// How far it is behind the latest attempt.
    pub(crate) behind: u8,
    pub(crate) other_provider: bool,
    pub(crate) report: Report,
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Milliseconds pass.
    Wait(u32),
    /// The clock is set by so many minutes.
    SetClock(i16),
    ConfirmClock,
    Submit(Submit),
    /// A rule for what costs more than so many dollars.
    Rule(u8),
    PatchRule {
        rule: u8,
        threshold: u8,
        active: Option<bool>,
    },
    DeleteRule(u8),
    DecideMany {
        approvals: Vec<u8>,
        approve: bool,
    },
    CancelRequest(u8),
    Limits {
        global: u8,
        per_user: Option<u8>,
        fair: Option<bool>,
    },
    /// Minutes and hours.
    ShareTimes {
        starvation: u8,
        half_life: u8,
    },
    /// The weight of an owner, in hundredths.
    Weigh {
        owner: u8,
        weight: Option<u16>,
    },
    Setting {
        other_provider: bool,
        value: Option<u8>,
        slots: Option<u8>,
    },
    Pause(u8),
    Resume(u8),
    /// A budget of a scope, in half dollars.
    AddBudget {
        scope: u8,
        period: u8,
        amount: u8,
        action: u8,
    },
    PatchBudget {
        budget: u8,
        amount: Option<u8>,
        action: Option<u8>,
    },
    RemoveBudget(u8),
    StopOverBudget(u8),
    Claim {
        holder: u8,
        max: u8,
        both: bool,
        /// For how many submissions the first provider is open, which jobs it refused, by their
        /// bits, and whether those probed it; `None` without a limit.
        opening: Option<(u8, u16, bool)>,
    },
    Reclaim {
        holder: u8,
        max: u8,
        flying: u16,
    },
    Renew {
        holder: u8,
        flying: u16,
    },
    ExpireDead(u8),
    Settle(Vec<Settle>),
    Sight(Vec<Seen>),
    Stray {
        other_provider: bool,
        provider_job: u8,
        retry_in: Option<u16>,
    },
    Recheck {
        job: u8,
        attempt: u8,
        searched: u8,
    },
    /// An attempt to fetch the results of a job, by the number of its outcome.
    Results {
        job: u8,
        outcome: u8,
    },
    Cancel(u8),
    Resolve {
        job: Pick,
        to: Report,
    },
    Decide {
        approval: u8,
        approve: bool,
    },
    Expire(u8),
    Delete(u8),
    /// The jobs whose bits are set.
    ForgetDeleted(u16),
    Priority {
        job: u8,
        to: Option<u8>,
    },
    /// Deletes at most so many jobs that ended so many minutes ago.
    Prune {
        max: u8,
        minutes: Option<u8>,
    },
}

const JOBS: u8 = 10;

fn rarely() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.15)
}

fn flag() -> impl Strategy<Value = bool> {
    any::<bool>()
}

fn submit() -> impl Strategy<Value = Submit> {
    let owner = (0..3_u8, flag(), flag());
    let kind = (prop::bool::weighted(0.3), prop::bool::weighted(0.2), 1..4_u8);
    let order = (0..51_u8, prop::bool::weighted(0.2), 0..3_u8);
    let names = (prop::option::weighted(0.2, 0..3_u8), prop::option::weighted(0.1, 0..JOBS));
    (owner, kind, order, names).prop_map(|(owner, kind, order, (key, again))| {
        let ((user, team, org), (local, other_provider, max_attempts)) = (owner, kind);
        let (priority, expensive, delay) = order;
        Submit {
            user,
            team,
            org,
            local,
            other_provider,
            priority,
            max_attempts,
            expensive,
            delay,
            key,
            again,
        }
    })
}

fn pick() -> impl Strategy<Value = Pick> {
    prop_oneof![6 => any::<u8>().prop_map(Pick::Likely), 1 => (0..JOBS + 2).prop_map(Pick::Any)]
}

fn report() -> impl Strategy<Value = Report> {
    let kept = prop::option::weighted(0.6, 0..90_u8);
    (prop::option::weighted(0.15, 0..JOBS + 4), 0..9_u8, flag(), kept)
        .prop_map(|(provider_job, status, cost, kept)| Report { provider_job, status, cost, kept })
}

fn outcome_kind() -> impl Strategy<Value = OutcomeKind> {
    prop_oneof![
        4 => Just(OutcomeKind::Submitted),
        2 => Just(OutcomeKind::Found),
        2 => Just(OutcomeKind::Held),
        1 => Just(OutcomeKind::Rejected),
        4 => Just(OutcomeKind::Failed),
        1 => Just(OutcomeKind::NotSent),
        1 => Just(OutcomeKind::Final),
        1 => Just(OutcomeKind::Unsendable),
        3 => Just(OutcomeKind::Unresolved),
        4 => Just(OutcomeKind::Reported),
    ]
}

fn settle() -> impl Strategy<Value = Settle> {
    (pick(), rarely(), outcome_kind(), report(), 0..900_u16).prop_map(
        |(job, stale, kind, report, retry_in)| Settle { job, stale, kind, report, retry_in },
    )
}

fn seen() -> impl Strategy<Value = Seen> {
    (pick(), 0..2_u8, rarely(), report()).prop_map(|(job, behind, other_provider, report)| Seen {
        job,
        behind,
        other_provider,
        report,
    })
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..2_000_000_u32).prop_map(Step::Wait),
        // So long that owners who were granted nothing go first.
        1 => (3_500_000..4_000_000_u32).prop_map(Step::Wait),
        1 => (-4000..4000_i16).prop_map(Step::SetClock),
        1 => Just(Step::ConfirmClock),
        8 => submit().prop_map(Step::Submit),
        1 => (0..100_u8).prop_map(Step::Rule),
        1 => rules(),
        1 => (vec(1..6_u8, 1..4), flag())
            .prop_map(|(approvals, approve)| Step::DecideMany { approvals, approve }),
        1 => (1..6_u8).prop_map(Step::CancelRequest),
        1 => limits(),
        1 => share_times(),
        1 => weigh(),
        1 => (flag(), prop::option::of(0..3_u8), prop::option::of(1..4_u8))
            .prop_map(|(other_provider, value, slots)| Step::Setting { other_provider, value, slots }),
        1 => (0..6_u8).prop_map(Step::Pause),
        // Otherwise nothing moves in the end.
        2 => (0..6_u8).prop_map(Step::Resume),
        1 => budget(),
        1 => (1..4_u8, prop::option::of(0..20_u8), prop::option::of(0..4_u8))
            .prop_map(|(budget, amount, action)| Step::PatchBudget { budget, amount, action }),
        1 => (1..4_u8).prop_map(Step::RemoveBudget),
        1 => (1..3_u8).prop_map(Step::StopOverBudget),
        6 => claim(),
        2 => (0..2_u8, 1..4_u8, any::<u16>())
            .prop_map(|(holder, max, flying)| Step::Reclaim { holder, max, flying }),
        1 => (0..2_u8, any::<u16>()).prop_map(|(holder, flying)| Step::Renew { holder, flying }),
        1 => (0..2_u8).prop_map(Step::ExpireDead),
        8 => vec(settle(), 1..4).prop_map(Step::Settle),
        2 => vec(seen(), 1..4).prop_map(Step::Sight),
        1 => (rarely(), 0..JOBS + 4, prop::option::of(0..900_u16)).prop_map(
            |(other_provider, provider_job, retry_in)| {
                Step::Stray { other_provider, provider_job, retry_in }
            }
        ),
        1 => (0..JOBS, 0..3_u8, 0..3_u8)
            .prop_map(|(job, attempt, searched)| Step::Recheck { job, attempt, searched }),
        3 => (0..JOBS, 0..8_u8).prop_map(|(job, outcome)| Step::Results { job, outcome }),
        1 => (0..JOBS).prop_map(Step::Cancel),
        2 => (pick(), report()).prop_map(|(job, to)| Step::Resolve { job, to }),
        2 => (1..6_u8, flag()).prop_map(|(approval, approve)| Step::Decide { approval, approve }),
        1 => (1..3_u8).prop_map(Step::Expire),
        3 => (0..JOBS).prop_map(Step::Delete),
        1 => any::<u16>().prop_map(Step::ForgetDeleted),
        2 => (0..JOBS, prop::option::weighted(0.8, 0..51_u8))
            .prop_map(|(job, to)| Step::Priority { job, to }),
        2 => (1..4_u8, prop::option::weighted(0.8, 0..90_u8))
            .prop_map(|(max, minutes)| Step::Prune { max, minutes }),
    ]
}

/// Steps after which it matters who was granted a slot when: long waits, and claims of few jobs.
pub(crate) fn fair_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..4_000_000_u32).prop_map(Step::Wait),
        1 => (-4000..4000_i16).prop_map(Step::SetClock),
        6 => submit().prop_map(|submit| Step::Submit(Submit { again: None, ..submit })),
        5 => (1..3_u8, prop::option::weighted(0.3, (0..4_u8, any::<u16>(), any::<bool>())))
            .prop_map(|(max, opening)| Step::Claim { holder: 0, max, both: true, opening }),
        3 => vec(settle(), 1..4).prop_map(Step::Settle),
        1 => share_times(),
        1 => weigh(),
    ]
}

fn rules() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..4_u8, 0..100_u8, prop::option::of(flag()))
            .prop_map(|(rule, threshold, active)| Step::PatchRule { rule, threshold, active }),
        (1..4_u8).prop_map(Step::DeleteRule),
    ]
}

fn share_times() -> impl Strategy<Value = Step> {
    (1..200_u8, 1..30_u8)
        .prop_map(|(starvation, half_life)| Step::ShareTimes { starvation, half_life })
}

fn weigh() -> impl Strategy<Value = Step> {
    (0..5_u8, prop::option::weighted(0.8, 1..1000_u16))
        .prop_map(|(owner, weight)| Step::Weigh { owner, weight })
}

fn claim() -> impl Strategy<Value = Step> {
    let opening = prop::option::weighted(0.4, (0..4_u8, any::<u16>(), any::<bool>()));
    (0..2_u8, 1..6_u8, prop::bool::weighted(0.7), opening)
        .prop_map(|(holder, max, both, opening)| Step::Claim { holder, max, both, opening })
}

fn budget() -> impl Strategy<Value = Step> {
    (0..6_u8, 0..5_u8, 0..20_u8, 0..4_u8).prop_map(|(scope, period, amount, action)| {
        Step::AddBudget { scope, period, amount, action }
    })
}

fn limits() -> impl Strategy<Value = Step> {
    (1..9_u8, prop::option::of(1..4_u8), prop::option::of(flag()))
        .prop_map(|(global, per_user, fair)| Step::Limits { global, per_user, fair })
}
