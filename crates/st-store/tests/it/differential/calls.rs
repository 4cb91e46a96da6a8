//! The arguments of the calls that the random steps make.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use st_store::{
    AccountId, Amount, AtMostOnce, AttemptFailure, AttemptToken, BudgetAction, BudgetLimit,
    BudgetPatch, ClaimOptions, Cost, Group, Idempotency, JobId, JobRecord, JobRef, JobStatus,
    JobType, LimitsPatch, Marker, NewBudget, NewJob, Opening, OrgId, Outcome, Period, Position,
    Priority, ProviderName, ProviderSettingsPatch, ProviderStatus, Pruned, QueueFilter,
    QueueStatus, Refused, Resolution, Result, ResultsOutcome, Role, RulePatch, Scope, Searched,
    SettingChange, Settlement, ShareScope, ShareTime, Sighting, StrayOutcome, TeamId, UserId,
    Weight,
};
use st_testkit::suite::{
    Shared, at, claiming, everything, holder, id, job, number, provider_job, serving,
};

use super::steps::{OutcomeKind, Pick, Report, Seen, Settle, Submit};

pub(crate) fn provider(other: bool) -> ProviderName {
    ProviderName::new(if other { "other" } else { "fake" })
}

pub(crate) fn options(holder_number: u8, max: u8, both: bool) -> ClaimOptions {
    let providers: &[&str] = if both { &["fake", "other"] } else { &["fake"] };
    let serving = providers.iter().map(|&name| {
        let mut serving = serving(name);
        if name == "other" {
            serving.guarantee = AtMostOnce::HeldSubmission;
        }
        serving
    });
    let serving = serving.collect();
    ClaimOptions { holder: holder(holder_number), serving, ..claiming(u32::from(max)) }
}

/// For how many submissions a provider is open, and the jobs whose bit is set as refused, by probes
/// or before them.
pub(crate) async fn opening(store: &Shared, opening: Option<(u8, u16, bool)>) -> Opening {
    let Some((submissions, bits, by_probes)) = opening else { return Opening::Open };
    if submissions == 0 {
        return Opening::Closed;
    }
    let mut refused = Refused::default();
    for job in in_flight(bits) {
        let Some(record) = store.find_job(&JobRef::Id(job)).await.unwrap() else { continue };
        let (group, position) = (Group::of(&record), Position::of(&record));
        if by_probes {
            refused.add_probe(&group, position);
        } else {
            refused.add_straggler(&group, position);
        }
    }
    Opening::Limited { submissions: u32::from(submissions), refused }
}

/// The jobs whose bit is set.
pub(crate) fn in_flight(bits: u16) -> BTreeSet<JobId> {
    (0..16_u8).filter(|number| bits & (1 << number) != 0).map(id).collect()
}

/// A submission at `now`; `next` is the number of the next new job.
pub(crate) fn new_job(submit: &Submit, next: u8, now: Timestamp) -> NewJob {
    let mut new = job(submit.again.unwrap_or(next), &format!("user-{}", submit.user));
    new.owner.team = submit.team.then(|| TeamId::new("team"));
    new.owner.org = submit.org.then(|| OrgId::new("org"));
    new.job_type = if submit.local { JobType::Local } else { JobType::Cloud };
    new.provider = provider(submit.other_provider);
    new.priority_override = Priority::new(i64::from(submit.priority)).ok();
    new.max_attempts = u32::from(submit.max_attempts);
    new.estimated_cost = if submit.expensive { 100.0 } else { 1.0 };
    new.run_after = Some(now + SignedDuration::from_secs(i64::from(submit.delay) * 600));
    new.approval_ttl = SignedDuration::from_secs(3600);
    new.idempotency = submit.key.map(|key| {
        let digest = submit.expensive.to_string();
        Idempotency { key: format!("key-{key}"), digest }
    });
    new
}

pub(crate) fn limits(global: u8, per_user: Option<u8>, fair_share: Option<bool>) -> LimitsPatch {
    let (global, per_user) = (Some(u32::from(global)), per_user.map(u32::from));
    LimitsPatch { global, per_user, fair_share, ..LimitsPatch::default() }
}

pub(crate) fn share_times(starvation: u8, half_life: u8) -> LimitsPatch {
    let mut patch = LimitsPatch::default();
    patch.set_time(ShareTime::Starvation, u32::from(starvation) * 60);
    patch.set_time(ShareTime::HalfLife, u32::from(half_life));
    patch
}

/// The weight of one of the owners of [`new_job`].
pub(crate) fn weight(owner: u8, weight: Option<u16>) -> (ShareScope, Option<Weight>) {
    let scope = match owner {
        0 => ShareScope::Team(TeamId::new("team")),
        1 => ShareScope::Org(OrgId::new("org")),
        other => ShareScope::User(UserId::new(format!("user-{}", other % 3))),
    };
    (scope, weight.and_then(|weight| Weight::new(f64::from(weight) / 100.0).ok()))
}

/// One of the scopes that jobs of [`new_job`] are in.
pub(crate) fn scope(number: u8) -> Scope {
    match number {
        0 => Scope::All,
        1 => Scope::Team(TeamId::new("team")),
        2 => Scope::Org(OrgId::new("org")),
        3 => Scope::Provider(provider(false)),
        other => Scope::User(UserId::new(format!("user-{}", other % 3))),
    }
}

/// Above half of the thresholds it is exempt for researchers and of another priority as well.
pub(crate) fn rule_patch(threshold: u8, is_active: Option<bool>) -> RulePatch {
    let more = threshold > 50;
    RulePatch {
        threshold: Some(threshold.to_string()),
        is_active,
        priority: more.then_some(i64::from(threshold)),
        exempt_levels: Some(if more { vec![Role::Researcher] } else { Vec::new() }),
        applies_to_provider: if more {
            SettingChange::Set(provider(true))
        } else {
            SettingChange::Clear
        },
        ..RulePatch::default()
    }
}

pub(crate) fn new_budget(of: u8, period: u8, halves: u8, action: u8) -> NewBudget {
    NewBudget {
        scope: scope(of),
        limit: match Period::ALL.get(usize::from(period) % (Period::ALL.len() + 2)) {
            Some(&period) => BudgetLimit::Cost { period, amount: halves_of_dollars(halves) },
            None if halves.is_multiple_of(2) => BudgetLimit::ConcurrentJobs(halves.into()),
            None => BudgetLimit::DailyJobs(halves.into()),
        },
        action: budget_action(action),
    }
}

pub(crate) fn budget_patch(halves: Option<u8>, action: Option<u8>) -> BudgetPatch {
    let amount = |halves: u8| match halves % 3 {
        0 => Amount::Jobs(halves.into()),
        _ => Amount::Cost(halves_of_dollars(halves)),
    };
    BudgetPatch { amount: halves.map(amount), action: action.map(budget_action) }
}

fn halves_of_dollars(halves: u8) -> Cost {
    Cost::from_usd(f64::from(halves) / 2.0)
}

fn budget_action(number: u8) -> BudgetAction {
    BudgetAction::ALL[usize::from(number) % BudgetAction::ALL.len()]
}

pub(crate) fn setting(value: Option<u8>, slots: Option<u8>) -> ProviderSettingsPatch {
    let version_override = match value {
        Some(value) => SettingChange::Set(value.to_string()),
        None => SettingChange::Clear,
    };
    let max_concurrent =
        slots.map_or(SettingChange::Clear, |slots| SettingChange::Set(u32::from(slots)));
    let slots = slots.unwrap_or_default();
    ProviderSettingsPatch {
        version_override,
        max_concurrent,
        cost_limit_enabled: SettingChange::Set(!slots.is_multiple_of(4)),
        cost_limit_amount: value
            .map_or(SettingChange::Clear, |value| SettingChange::Set(halves_of_dollars(value))),
        cost_limit_action: SettingChange::Set(budget_action(slots)),
        cost_limit_period: SettingChange::Set(Period::ALL[usize::from(slots) % Period::ALL.len()]),
        ..ProviderSettingsPatch::default()
    }
}

pub(crate) async fn prune(store: &Shared, max: u8, minutes: Option<u8>) -> Result<Pruned> {
    let keep_for = minutes.map(|minutes| SignedDuration::from_mins(i64::from(minutes)));
    store.prune(keep_for, u32::from(max)).await
}

pub(crate) fn stray(retry_in: Option<u16>) -> StrayOutcome {
    retry_in.map_or(StrayOutcome::Ended { cost: Cost::ZERO }, |seconds| StrayOutcome::Retry {
        after: SignedDuration::from_secs(i64::from(seconds)),
    })
}

/// The job that a step is about, and its record where there is one.
async fn picked(store: &Shared, pick: Pick, likely: QueueStatus) -> (JobId, Option<JobRecord>) {
    match pick {
        Pick::Any(number) => {
            let found = store.find_job(&JobRef::Id(id(number))).await.unwrap();
            (id(number), found)
        }
        Pick::Likely(index) => {
            let filter = QueueFilter { status: Some(likely), ..QueueFilter::default() };
            let mut entries = store.list_entries(filter, everything()).await.unwrap().items;
            if entries.is_empty() {
                return (id(index % 16), None);
            }
            let record = entries.swap_remove(usize::from(index) % entries.len());
            (record.id(), Some(record))
        }
    }
}

pub(crate) async fn settlement(store: &Shared, settle: &Settle) -> Settlement {
    let likely = match settle.kind {
        OutcomeKind::Reported => QueueStatus::Running,
        OutcomeKind::Submitted
        | OutcomeKind::Found
        | OutcomeKind::Held
        | OutcomeKind::Rejected
        | OutcomeKind::Failed
        | OutcomeKind::NotSent
        | OutcomeKind::Final
        | OutcomeKind::Unsendable
        | OutcomeKind::Unresolved => QueueStatus::Ready,
    };
    let (job, record) = picked(store, settle.job, likely).await;
    let mut token = record.as_ref().map_or(AttemptToken::NONE, JobRecord::token);
    let mut attempt = record.as_ref().map_or(0, |record| record.entry().attempt);
    if settle.stale {
        token = AttemptToken::from_number(token.to_number() - 1);
        attempt = attempt.saturating_sub(u32::from(settle.report.cost)).max(1);
    }
    let outcome = outcome(settle, record.as_ref().map_or(0, number));
    let provider_time = settle.report.cost.then(|| at(i64::from(settle.retry_in)));
    Settlement { job, attempt, token, outcome, provider_time }
}

pub(crate) async fn sighting(store: &Shared, seen: &Seen) -> Sighting {
    let (job, record) = picked(store, seen.job, QueueStatus::Ready).await;
    let attempt = record.as_ref().map_or(1, |record| record.entry().attempt);
    let attempt = attempt.saturating_sub(u32::from(seen.behind)).max(1);
    let own_provider = record.as_ref().map(|record| record.job().provider.clone());
    let provider = match own_provider {
        Some(own) if !seen.other_provider => own,
        Some(own) => provider(own == provider(false)),
        None => provider(seen.other_provider),
    };
    let status = status(&seen.report, record.as_ref().map_or(0, number));
    Sighting { marker: Marker { job, attempt }, provider, account: None, status }
}

/// What a person decides: by the status in the report.
pub(crate) async fn resolution(store: &Shared, job: Pick, to: &Report) -> (JobId, Resolution) {
    let (job, record) = picked(store, job, QueueStatus::Ready).await;
    let own = record.as_ref().map_or(0, number);
    let resolution = match to.status {
        0..=2 => {
            let id = provider_job(to.provider_job.unwrap_or(own));
            let account = to.cost.then(|| AccountId::new("serving", None, None));
            Resolution::AtProvider { id, account }
        }
        3..=5 => Resolution::Absent,
        _ => Resolution::Abandon,
    };
    (job, resolution)
}

/// What the provider reports of the job with this number.
fn status(report: &Report, number: u8) -> ProviderStatus {
    let id = provider_job(report.provider_job.unwrap_or(number));
    let mut status = ProviderStatus::new(id, JobStatus::Queued);
    // One more than there are: a word that is not known.
    status.status = JobStatus::ALL.get(usize::from(report.status)).copied();
    status.cost_usd = report.cost.then_some(2.5);
    status.results_kept_for = report.kept.map(|minutes| Duration::from_mins(u64::from(minutes)));
    status
}

fn outcome(settle: &Settle, number: u8) -> Outcome {
    let error = || "x".to_owned();
    let retry_in = SignedDuration::from_secs(i64::from(settle.retry_in));
    match settle.kind {
        OutcomeKind::Submitted => Outcome::Submitted(status(&settle.report, number)),
        OutcomeKind::Found => Outcome::Found(status(&settle.report, number)),
        OutcomeKind::Held => {
            Outcome::Held(provider_job(settle.report.provider_job.unwrap_or(number)))
        }
        OutcomeKind::Rejected => Outcome::NotArrived(AttemptFailure::Rejected { error: error() }),
        OutcomeKind::Failed => {
            Outcome::NotArrived(AttemptFailure::Failed { error: error(), retry_in })
        }
        OutcomeKind::NotSent => {
            Outcome::NotArrived(AttemptFailure::NotSent { reason: error(), retry_in })
        }
        OutcomeKind::Unsendable => {
            Outcome::NotArrived(AttemptFailure::Unsendable { error: error() })
        }
        OutcomeKind::Final => Outcome::NotArrived(AttemptFailure::Final { error: error() }),
        OutcomeKind::Unresolved => {
            Outcome::Unresolved { error: error(), panics: settle.report.cost.then_some(2) }
        }
        OutcomeKind::Reported => Outcome::Reported(status(&settle.report, number)),
    }
}

/// `None` gives the results up.
pub(crate) fn results(number: u8) -> Option<ResultsOutcome> {
    let reason = || "x".to_owned();
    Some(match number {
        0 => ResultsOutcome::Kept { output_path: None },
        1 => ResultsOutcome::Kept { output_path: Some("/o".to_owned()) },
        2 => ResultsOutcome::Lost { reason: reason(), output_path: Some("/o".to_owned()) },
        3 | 4 => ResultsOutcome::Gone { reason: reason(), output_path: None },
        5 | 6 => ResultsOutcome::Failed { reason: reason(), output_path: Some("/f".to_owned()) },
        _ => return None,
    })
}

pub(crate) fn searched(number: u8) -> Searched {
    match number {
        0 => Searched::Incomplete,
        1 => Searched::OtherAccount,
        _ => Searched::Complete,
    }
}
