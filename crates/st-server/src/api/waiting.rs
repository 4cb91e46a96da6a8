//! What a job waits for, in words for a person, and what ends the wait.
//!
//! One pure function decides, from the record and its [`Surroundings`], so that a list, a single
//! job and the queue never disagree. A job that runs, that is the next in line or that is over waits
//! for nothing. Leaves out what is ahead of a job in the queue: that is its position.

mod surroundings;
#[cfg(test)]
mod tests;
mod words;

use jiff::Timestamp;
use st_store::{
    AccountId, ApprovalRequest, AtProvider, BudgetId, BudgetUse, Cancellation, Claimed, Cost, Due,
    Exceeded, Group, Held, HeldBy, Hold, JobRecord, Limit, LimitUse, Measure, Scope, ScopeLevel,
    SlotLimit, Stage, Standing,
};
use st_workers::provider::Cause;
use st_workers::{ClosedBy, GateStatus, UnreadJob};

pub(super) use st_api::jobs::{WaitKind as Kind, WaitingFor};
use st_api::schema::Time;

pub(super) use surroundings::Surroundings;
pub(super) use words::{certain_at, may_resolve, obstacle, until_reached};

/// Whether a job's provider can be asked about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reach {
    /// It can.
    Served,
    /// The provider is not configured.
    NotConfigured,
    /// The job belongs to this account, and the provider is configured with another one.
    OtherAccount(AccountId),
}

/// What decides beside the record of a job.
#[derive(Debug, Clone)]
pub(super) struct Facts<'a> {
    pub(super) now: Timestamp,
    pub(super) reach: Reach,
    /// The gate of the provider; `None` where it is not configured.
    pub(super) gate: Option<&'a GateStatus>,
    /// The job's place among those that may be claimed; `None` for others.
    pub(super) standing: Option<Standing>,
    /// The hold, where one is the reason.
    pub(super) hold: Option<&'a Hold>,
    /// The budget, where one is the reason.
    pub(super) budget: Option<&'a BudgetUse>,
    /// Whether any row of the queue was set aside because it could not be decoded.
    pub(super) damage: bool,
    /// Since when its status could not be read at its provider, if that lasts.
    pub(super) unread: Option<UnreadJob>,
}

/// A job that waits for a slot, or would if it were submitted.
#[derive(Debug, Clone)]
pub(super) struct Waiter {
    pub(super) group: Group,
    /// What it is estimated to cost.
    pub(super) cost: Cost,
    /// Since when it waits; `None` before it is submitted.
    pub(super) since: Option<Timestamp>,
}

impl Waiter {
    fn of(record: &JobRecord) -> Self {
        let since = Some(record.entry().waits_since);
        Self { group: Group::of(record), cost: record.reservation(), since }
    }

    /// Since when it waits for what began at this time: a job that came later waits only since then.
    fn since(&self, began: Timestamp) -> Time {
        Time(self.since.map_or(began, |since| since.max(began)))
    }
}

/// What this job waits for, if it waits for anything.
pub(super) fn waiting_for(record: &JobRecord, facts: &Facts<'_>) -> Option<WaitingFor> {
    match record.stage() {
        Stage::Blocked(request) => Some(approval(request)),
        Stage::Waiting(waiting) => in_queue(record, waiting.due, facts),
        Stage::Claimed(claimed) | Stage::Held(Held { claimed, .. }) => {
            in_flight(record, claimed, facts)
        }
        Stage::AtProvider(there) => at_provider(record, there, facts),
        Stage::Finished(_) => None,
    }
}

fn approval(request: &ApprovalRequest) -> WaitingFor {
    let (id, role) = (request.id, request.required_role);
    WaitingFor {
        kind: Kind::Approval,
        reason: format!("it needs approval by the role {role} or a higher one: {}", request.reason),
        since: Some(Time(request.created_at)),
        until: Some(Time(request.expires_at)),
        next_step: format!(
            "a reviewer decides with POST /api/approvals/requests/{id}/approve or \
             /api/approvals/requests/{id}/reject; without a decision until then the job is cancelled"
        ),
    }
}

/// A job whose provider is not configured runs at no date and in no slot, so that comes first; a
/// closed gate may be open again at the date, so it comes after.
fn in_queue(record: &JobRecord, due: Due, facts: &Facts<'_>) -> Option<WaitingFor> {
    if facts.reach == Reach::NotConfigured {
        return Some(not_configured(record));
    }
    let waiter = Waiter::of(record);
    let ahead = due.at().filter(|&at| at > facts.now);
    match (due, ahead) {
        (Due::Date(_), Some(at)) => return Some(date(at)),
        (Due::Pause(_), Some(at)) => return Some(pause(record, at)),
        (Due::Now | Due::Date(_) | Due::Pause(_), None) | (Due::Now, Some(_)) => {}
    }
    if let Some(waiting) = facts.gate.and_then(|gate| closed_gate(&waiter, gate, facts.now)) {
        return Some(waiting);
    }
    match facts.standing {
        Some(standing) => standing.held_by.map(|held_by| match held_by {
            HeldBy::Hold(level) => hold(&waiter, level, facts.hold),
            HeldBy::Limit(held_by) => limit(&waiter, held_by, standing.limit),
            HeldBy::Budget(id) => budget(&waiter, id, (facts.budget, facts.now)),
        }),
        None => (due == Due::Now && facts.damage).then(set_aside),
    }
}

fn not_configured(record: &JobRecord) -> WaitingFor {
    let provider = &record.job().provider;
    WaitingFor {
        kind: Kind::Provider,
        reason: format!("provider {provider} is not configured"),
        since: None,
        until: None,
        next_step: format!(
            "it is submitted after the server was started with {provider} configured"
        ),
    }
}

pub(super) fn date(at: Timestamp) -> WaitingFor {
    WaitingFor {
        kind: Kind::Date,
        reason: "its submitter wants it to run later".to_owned(),
        since: None,
        until: Some(Time(at)),
        next_step: "it joins the queue at that time by itself".to_owned(),
    }
}

fn pause(record: &JobRecord, at: Timestamp) -> WaitingFor {
    let last = record.entry().error_message.as_ref().map(|error| format!(": {error}"));
    WaitingFor {
        kind: Kind::Pause,
        reason: format!("its last attempt was not accepted{}", last.unwrap_or_default()),
        since: None,
        until: Some(Time(at)),
        next_step: "it joins the queue again after a pause by itself".to_owned(),
    }
}

pub(super) fn closed_gate(
    waiter: &Waiter,
    gate: &GateStatus,
    now: Timestamp,
) -> Option<WaitingFor> {
    if gate.open {
        return None;
    }
    let provider = &waiter.group.provider;
    let reason = gate.reason.as_deref().unwrap_or("no reason is known");
    let next_probe = next_probe(gate, now);
    let tried = match next_probe {
        Some(at) if at > now => format!("{provider} is tried again at {at:.0} by itself"),
        Some(_) | None => format!("{provider} is being tried now"),
    };
    let remedy = gate.cause.map_or("", remedy);
    let since = closed_since(gate, now).map(|at| waiter.since(at));
    Some(WaitingFor {
        kind: Kind::Gate,
        reason: format!("{provider} does not accept submissions: {reason}"),
        since,
        until: next_probe.map(Time),
        next_step: format!(
            "{remedy}{tried}, and immediately with POST /api/cloud/providers/{provider}/retry; the \
             job is submitted when {provider} accepts jobs again"
        ),
    })
}

/// What a person can do about a closed gate, in front of what happens by itself.
fn remedy(cause: ClosedBy) -> &'static str {
    match cause {
        ClosedBy::Refusal(Cause::Credentials) => {
            "an administrator corrects the provider's credentials; "
        }
        ClosedBy::Refusal(Cause::Account) => {
            "an administrator settles with the provider what the account may do; "
        }
        ClosedBy::RejectsAll => "an administrator corrects the provider's settings; ",
        ClosedBy::MissingSetting => "an administrator sets what is missing; ",
        ClosedBy::Start
        | ClosedBy::Refusal(Cause::Unreachable | Cause::Throttled | Cause::Trouble)
        | ClosedBy::Unanswered => "",
    }
}

/// When a gate was closed; `None` while it is open.
pub(super) fn closed_since(gate: &GateStatus, now: Timestamp) -> Option<Timestamp> {
    gate.closed_for.map(|closed_for| now.saturating_sub(closed_for).unwrap_or(Timestamp::MIN))
}

/// When a gate is tried next; `None` while it is open or being tried.
pub(super) fn next_probe(gate: &GateStatus, now: Timestamp) -> Option<Timestamp> {
    gate.next_probe_in.map(|wait| now.saturating_add(wait).unwrap_or(Timestamp::MAX))
}

/// What a person put on hold. `known`: the hold itself, unless it was released meanwhile.
pub(super) fn hold(waiter: &Waiter, level: ScopeLevel, known: Option<&Hold>) -> WaitingFor {
    let scope = Scope::of(level, &waiter.group).unwrap_or(Scope::All);
    let reason = known.and_then(|hold| hold.reason.as_ref()).map(|reason| format!(": {reason}"));
    let by = known.map(|hold| format!(" by {}", hold.by)).unwrap_or_default();
    let since = known.map(|hold| waiter.since(hold.since));
    let id = scope.id().map(|id| format!(", \"id\": \"{id}\"")).unwrap_or_default();
    WaitingFor {
        kind: Kind::Hold,
        reason: format!("{scope} was paused{by}{}", reason.unwrap_or_default()),
        since,
        until: None,
        next_step: format!(
            "it joins the queue when an administrator resumes {scope} with POST /api/queue/resume \
             {{\"scope\": \"{level}\"{id}}}"
        ),
    }
}

/// `held_by`: the limit that the job's owner is at; `known`: its numbers.
pub(super) fn limit(waiter: &Waiter, held_by: SlotLimit, known: Option<LimitUse>) -> WaitingFor {
    let Group { owner, provider, .. } = &waiter.group;
    let who = match held_by {
        SlotLimit::Queue(Limit::Global) => "the server".to_owned(),
        SlotLimit::Queue(Limit::User) => format!("user {}", owner.user),
        SlotLimit::Queue(Limit::Team) => {
            let named = owner.team.as_ref().map(|it| format!("team {it}"));
            named.unwrap_or_else(|| "the team".to_owned())
        }
        SlotLimit::Queue(Limit::Org) => {
            let named = owner.org.as_ref().map(|it| format!("organization {it}"));
            named.unwrap_or_else(|| "the organization".to_owned())
        }
        SlotLimit::Queue(Limit::Local) => "this machine".to_owned(),
        SlotLimit::Provider => format!("provider {provider}"),
    };
    let (name, raised_with) = match held_by {
        SlotLimit::Queue(limit) => (limit.as_str(), "POST /api/queue/concurrency".to_owned()),
        SlotLimit::Provider => {
            ("max_concurrent", format!("PUT /api/cloud/providers/{provider}/config"))
        }
    };
    let value = known.map(|it| format!(", which is {} ({} are taken)", it.max, it.used));
    WaitingFor {
        kind: Kind::Limit,
        reason: format!("{who} has no free slot by {name}{}", value.unwrap_or_default()),
        since: waiter.since.map(Time),
        until: None,
        next_step: format!(
            "it is submitted when another job ends, or when an administrator raises {name} with \
             {raised_with}"
        ),
    }
}

/// `known`: what is taken of the budget, unless it was removed meanwhile.
pub(super) fn budget(
    waiter: &Waiter,
    id: BudgetId,
    (known, at): (Option<&BudgetUse>, Timestamp),
) -> WaitingFor {
    let cost = waiter.cost;
    let reason = match known {
        Some(known) => Exceeded { budget: known.clone(), cost, at }.to_string(),
        None => format!("budget {id} has no room for {cost}"),
    };
    WaitingFor {
        kind: Kind::Budget,
        reason,
        since: waiter.since.map(Time),
        until: known.and_then(|known| known.resets_at).map(Time),
        next_step: match known.map(|known| known.budget.budget.limit.measure()) {
            Some(Measure::ConcurrentJobs) => format!(
                "it is submitted when another job under the quota ends, or when an administrator \
                 raises it with PUT /api/quotas/{id}"
            ),
            Some(Measure::Cost | Measure::DailyJobs) | None => format!(
                "it is submitted when jobs under the budget end for less than they reserve, when its \
                 next period begins, or when an administrator raises it with PUT /api/quotas/{id}"
            ),
        },
    }
}

fn set_aside() -> WaitingFor {
    WaitingFor {
        kind: Kind::Damaged,
        reason: "its row was set aside because a part of it could not be read".to_owned(),
        since: None,
        until: None,
        next_step: "an administrator repairs or deletes the row; the log names it".to_owned(),
    }
}

fn in_flight(record: &JobRecord, claimed: &Claimed, facts: &Facts<'_>) -> Option<WaitingFor> {
    let provider = &record.job().provider;
    if let Some(unreached) = unreached(record, &facts.reach, claimed.unresolved_since) {
        return Some(unreached);
    }
    let cancelled = if claimed.cancellation.is_some() { "; then it is cancelled" } else { "" };
    if let Some(since) = claimed.unresolved_since {
        let error = record.entry().error_message.as_ref().map(|error| format!(": {error}"));
        return Some(WaitingFor {
            kind: Kind::Outcome,
            reason: format!(
                "the outcome of its submission to {provider} is unknown{}",
                error.unwrap_or_default()
            ),
            since: Some(Time(since)),
            until: certain_at(claimed, facts.now).map(Time),
            next_step: format!(
                "the server searches {provider} until the job is found or proven absent{cancelled}; \
                 {}",
                may_resolve(record)
            ),
        });
    }
    let cancellation = claimed.cancellation.as_ref()?;
    Some(WaitingFor {
        kind: Kind::Cancellation,
        reason: "it is to be cancelled while its submission is in flight".to_owned(),
        since: Some(Time(cancellation.at)),
        until: certain_at(claimed, facts.now).map(Time),
        next_step: "it is cancelled as soon as the outcome of the submission is known".to_owned(),
    })
}

fn at_provider(record: &JobRecord, there: &AtProvider, facts: &Facts<'_>) -> Option<WaitingFor> {
    let provider = &record.job().provider;
    if let Some(unreached) = unreached(record, &facts.reach, None) {
        return Some(unreached);
    }
    let Some(Cancellation { at, .. }) = &there.cancellation else {
        return facts.unread.as_ref().map(|it| unread(record, it, facts.now));
    };
    Some(WaitingFor {
        kind: Kind::Cancellation,
        reason: format!("it is to be cancelled, and {provider} has not confirmed that yet"),
        since: Some(Time(*at)),
        until: None,
        next_step: format!(
            "the request to {provider} is repeated until it confirms; {}",
            may_resolve(record)
        ),
    })
}

/// The status that is shown is an old one.
fn unread(record: &JobRecord, unread: &UnreadJob, now: Timestamp) -> WaitingFor {
    let provider = &record.job().provider;
    let since = now.saturating_sub(unread.unread_for).unwrap_or(Timestamp::MIN);
    WaitingFor {
        kind: Kind::Status,
        reason: format!("its status cannot be read at {provider}: {}", unread.reason),
        since: Some(Time(since)),
        until: None,
        next_step: format!(
            "{provider} is asked again in each cycle of the polling; {}",
            may_resolve(record)
        ),
    }
}

/// The wait of a job that its provider has or may have and cannot be asked about.
fn unreached(record: &JobRecord, reach: &Reach, since: Option<Timestamp>) -> Option<WaitingFor> {
    let kind = match reach {
        Reach::Served => return None,
        Reach::NotConfigured => Kind::Provider,
        Reach::OtherAccount(_) => Kind::Account,
    };
    let until = until_reached(record, reach);
    Some(WaitingFor {
        kind,
        reason: format!("{}, so nothing can be found out about it", obstacle(record, reach)?),
        since: since.map(Time),
        until: None,
        next_step: format!("it keeps its slot until {until}; {}", may_resolve(record)),
    })
}
