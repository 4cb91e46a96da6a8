//! Every wait: its kind, its reason, its times and what ends it.

use std::time::Duration;

use jiff::SignedDuration;
use st_log::CorrelationId;
use st_store::{
    Actor, ApprovalId, AtMostOnce, Attempt, AttemptToken, Budget, BudgetAction, BudgetKeeper,
    BudgetLimit, ClaimOrigin, Cost, End, Epoch, Finished, Holder, JobId, JobType, Lease, NewBudget,
    NewJob, OrgId, Owner, Period, Phase, ProviderJobId, ProviderName, QueueEntryId, RemoteId,
    RequiredBy, Role, RuleId, TeamId, UserId, Waiting,
};

use super::*;

/// The time of all tests, in seconds after [`at`]`(0)`, when the job was submitted.
const NOW: i64 = 100;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

fn account(name: Option<&str>) -> AccountId {
    AccountId::new("https://api.example", name, Some("5ec4e7"))
}

fn record_with(stage: Stage, error: Option<&str>) -> JobRecord {
    let owner = Owner {
        user: UserId::new("ann"),
        team: Some(TeamId::new("vision")),
        org: Some(OrgId::new("acme")),
    };
    let new = NewJob::new(
        JobId::new(at(0), [1; 10]),
        (JobType::Cloud, ProviderName::new("alpha")),
        owner,
        Role::Researcher,
        CorrelationId::parse("c-1").unwrap(),
    );
    let ids = (QueueEntryId(1), ApprovalId(1));
    let fresh = JobRecord::submit(&new, None, ids, (at(0), Epoch::FIRST));
    let (mut job, mut entry) = (fresh.job().clone(), fresh.entry().clone());
    entry.error_message = error.map(str::to_owned);
    match &stage {
        Stage::Blocked(_) | Stage::Waiting(Waiting { due: Due::Now | Due::Date(_) }) => {}
        Stage::Waiting(Waiting { due: Due::Pause(_) })
        | Stage::Claimed(_)
        | Stage::Held(_)
        | Stage::AtProvider(_)
        | Stage::Finished(_) => {
            entry.attempt = 1;
            entry.token = AttemptToken::NONE.next(Epoch::FIRST);
            entry.started_at = Some(at(10));
        }
    }
    if let Stage::Finished(_) = &stage {
        job.completed_at = Some(at(50));
    }
    JobRecord::from_parts(job, entry, stage, None).unwrap()
}

fn record(stage: Stage) -> JobRecord {
    record_with(stage, None)
}

fn waiting(due: Due) -> Stage {
    Stage::Waiting(Waiting { due })
}

fn blocked() -> Stage {
    Stage::Blocked(ApprovalRequest {
        id: ApprovalId(7),
        required_by: RequiredBy::Rule(RuleId(1)),
        reason: "expensive: costs more than a limit".to_owned(),
        required_role: Role::Lead,
        created_at: at(0),
        expires_at: at(1000),
        ttl: SignedDuration::from_secs(1000),
    })
}

fn cancellation() -> Cancellation {
    Cancellation { at: at(90), by: Actor::User(UserId::new("ann")) }
}

fn claimed(unresolved_since: Option<i64>, cancelled: bool) -> Claimed {
    Claimed {
        attempt: Attempt {
            number: 1,
            token: AttemptToken::NONE.next(Epoch::FIRST),
            claimed_at: at(10),
            provider_time: None,
            account: Some(account(Some("ann"))),
            guarantee: AtMostOnce::ListedMarker,
            may_arrive_for: SignedDuration::from_mins(2),
        },
        lease: Lease { holder: Holder::new([1; 16]), until: at(110) },
        origin: ClaimOrigin::New,
        cancellation: cancelled.then(cancellation),
        unresolved_since: unresolved_since.map(at),
    }
}

fn remote() -> RemoteId {
    RemoteId { id: ProviderJobId::new("p1"), account: Some(account(Some("ann"))) }
}

fn there(cancelled: bool) -> Stage {
    let cancellation = cancelled.then(cancellation);
    Stage::AtProvider(AtProvider { remote: remote(), phase: Phase::Running, cancellation })
}

fn finished() -> Stage {
    let remote = Some(remote());
    Stage::Finished(Finished { end: End::Completed, at: at(50), remote, cancellation: None })
}

/// A provider that is configured with the job's account and accepts submissions.
fn facts() -> Facts<'static> {
    Facts {
        now: at(NOW),
        reach: Reach::Served,
        gate: None,
        standing: Some(Standing { position: 3, held_by: None, limit: None }),
        hold: None,
        budget: None,
        damage: false,
        unread: None,
    }
}

fn held_by(limit: SlotLimit) -> Facts<'static> {
    let (held_by, limit) = (Some(HeldBy::Limit(limit)), Some(LimitUse { limit, used: 6, max: 5 }));
    Facts { standing: Some(Standing { position: 3, held_by, limit }), ..facts() }
}

fn gate(cause: ClosedBy, next_probe: Option<u64>) -> GateStatus {
    GateStatus {
        open: false,
        cause: Some(cause),
        reason: Some("alpha said no".to_owned()),
        closed_for: Some(Duration::from_secs(40)),
        next_probe_in: next_probe.map(Duration::from_secs),
        admits_probe: false,
        closures: 1,
        accepted: 0,
    }
}

/// The whole of a wait in one text; times in seconds after [`at`]`(0)`.
fn shown(record: &JobRecord, facts: &Facts<'_>) -> Option<String> {
    let found = waiting_for(record, facts)?;
    let time = |time: Option<Time>| {
        time.map_or("-".to_owned(), |Time(it)| it.duration_since(at(0)).as_secs().to_string())
    };
    let WaitingFor { kind, reason, since, until, next_step } = found;
    let id = record.id().to_string();
    let next_step = next_step.replace(&id, "ID").replace(&format!("{:.0}", at(NOW)), "NOW");
    Some(format!("{kind:?} {}..{}: {reason} > {next_step}", time(since), time(until)))
}

#[track_caller]
fn expect(record: &JobRecord, facts: &Facts<'_>, expected: &str) {
    assert_eq!(shown(record, facts).as_deref(), Some(expected));
}

const RESOLVE: &str = "an administrator can resolve it with POST /api/cloud/jobs/ID/resolve";

#[test]
fn a_job_that_runs_or_is_the_next_in_line_or_is_over_waits_for_nothing() {
    for stage in [
        waiting(Due::Now),
        waiting(Due::Date(at(NOW))),
        waiting(Due::Pause(at(NOW - 1))),
        Stage::Claimed(claimed(None, false)),
        Stage::Held(Held { claimed: claimed(None, false), remote: remote() }),
        there(false),
        finished(),
    ] {
        let open = GateStatus { open: true, ..gate(ClosedBy::Start, None) };
        let facts = Facts { gate: Some(&open), ..facts() };
        assert_eq!(shown(&record(stage.clone()), &facts), None, "{stage:?}");
    }
    let unreachable = Facts { reach: Reach::NotConfigured, damage: true, ..facts() };
    assert_eq!(shown(&record(finished()), &unreachable), None);
}

#[test]
fn a_job_waits_for_a_decision_a_date_or_the_end_of_a_pause() {
    expect(
        &record(blocked()),
        &facts(),
        "Approval 0..1000: it needs approval by the role lead or a higher one: expensive: costs \
         more than a limit > a reviewer decides with POST /api/approvals/requests/7/approve or \
         /api/approvals/requests/7/reject; without a decision until then the job is cancelled",
    );
    expect(
        &record(waiting(Due::Date(at(500)))),
        &facts(),
        "Date -..500: its submitter wants it to run later > it joins the queue at that time by \
         itself",
    );
    let pausing = record_with(waiting(Due::Pause(at(130))), Some("version_override is not set"));
    expect(
        &pausing,
        &facts(),
        "Pause -..130: its last attempt was not accepted: version_override is not set > it joins \
         the queue again after a pause by itself",
    );
}

#[test]
fn a_job_at_a_limit_names_it_with_its_value() {
    let queue = "POST /api/queue/concurrency";
    for (limit, who, name, raised_with) in [
        (SlotLimit::Queue(Limit::Global), "the server", "max_concurrent", queue),
        (SlotLimit::Queue(Limit::User), "user ann", "user_max_concurrent", queue),
        (SlotLimit::Queue(Limit::Team), "team vision", "team_max_concurrent", queue),
        (SlotLimit::Queue(Limit::Org), "organization acme", "org_max_concurrent", queue),
        (SlotLimit::Queue(Limit::Local), "this machine", "local_job_max_concurrent", queue),
        (
            SlotLimit::Provider,
            "provider alpha",
            "max_concurrent",
            "PUT /api/cloud/providers/alpha/config",
        ),
    ] {
        let expected = format!(
            "Limit 0..-: {who} has no free slot by {name}, which is 5 (6 are taken) > it is submitted \
             when another job ends, or when an administrator raises {name} with {raised_with}"
        );
        expect(&record(waiting(Due::Now)), &held_by(limit), &expected);
    }
}

#[test]
fn a_job_on_hold_names_who_holds_it_why_and_how_it_is_resumed() {
    let by = Actor::User(UserId::new("lea"));
    for (level, scope, resumed) in [
        (ScopeLevel::All, "the queue", r#"{"scope": "all"}"#),
        (ScopeLevel::User, "user ann", r#"{"scope": "user", "id": "ann"}"#),
        (ScopeLevel::Team, "team vision", r#"{"scope": "team", "id": "vision"}"#),
        (ScopeLevel::Org, "organization acme", r#"{"scope": "org", "id": "acme"}"#),
        (ScopeLevel::Provider, "provider alpha", r#"{"scope": "provider", "id": "alpha"}"#),
    ] {
        let job = record(waiting(Due::Now));
        let of_job = Scope::of(level, &Group::of(&job)).unwrap();
        let hold = Hold {
            scope: of_job,
            reason: Some("maintenance".to_owned()),
            by: by.clone(),
            since: at(70),
        };
        let standing =
            Some(Standing { position: 3, held_by: Some(HeldBy::Hold(level)), limit: None });
        let resumed = format!(
            "it joins the queue when an administrator resumes {scope} with POST /api/queue/resume \
             {resumed}"
        );
        let expected =
            format!("Hold 70..-: {scope} was paused by user lea: maintenance > {resumed}");
        expect(&job, &Facts { standing, hold: Some(&hold), ..facts() }, &expected);
        let released = format!("Hold -..-: {scope} was paused > {resumed}");
        expect(&job, &Facts { standing, ..facts() }, &released);
    }
}

#[test]
fn a_job_behind_a_closed_gate_names_the_cause_the_next_probe_and_the_remedy() {
    let job = record(waiting(Due::Now));
    let again = "the job is submitted when alpha accepts jobs again";
    let retry = "immediately with POST /api/cloud/providers/alpha/retry";
    for (cause, remedy) in [
        (ClosedBy::Start, ""),
        (ClosedBy::Unanswered, ""),
        (ClosedBy::Refusal(Cause::Unreachable), ""),
        (ClosedBy::Refusal(Cause::Throttled), ""),
        (ClosedBy::Refusal(Cause::Trouble), ""),
        (
            ClosedBy::Refusal(Cause::Credentials),
            "an administrator corrects the provider's credentials; ",
        ),
        (
            ClosedBy::Refusal(Cause::Account),
            "an administrator settles with the provider what the account may do; ",
        ),
        (ClosedBy::RejectsAll, "an administrator corrects the provider's settings; "),
        (ClosedBy::MissingSetting, "an administrator sets what is missing; "),
    ] {
        let closed = gate(cause, Some(0));
        let expected = format!(
            "Gate 60..100: alpha does not accept submissions: alpha said no > {remedy}alpha is \
             being tried now, and {retry}; {again}"
        );
        expect(&job, &Facts { gate: Some(&closed), ..facts() }, &expected);
    }
    let behind = |gate: &GateStatus| shown(&job, &Facts { gate: Some(gate), ..facts() }).unwrap();
    let text = behind(&gate(ClosedBy::Unanswered, Some(30)));
    let next_probe = format!("alpha is tried again at {:.0} by itself, and {retry}", at(130));
    assert!(text.starts_with("Gate 60..130: ") && text.contains(&next_probe), "{text}");
    let trying = gate(ClosedBy::Unanswered, None);
    let text = behind(&trying);
    assert!(text.starts_with("Gate 60..-: ") && text.contains("tried now"), "{text}");
    let text = behind(&GateStatus { closed_for: Some(Duration::from_hours(5)), ..trying });
    assert!(text.starts_with("Gate 0..-: "), "it waits since it was submitted: {text}");
}

#[test]
fn a_job_of_a_provider_that_is_not_configured_says_so() {
    let absent = Facts { reach: Reach::NotConfigured, ..facts() };
    for due in [Due::Now, Due::Date(at(500))] {
        expect(
            &record(waiting(due)),
            &absent,
            "Provider -..-: provider alpha is not configured > it is submitted after the server was \
             started with alpha configured",
        );
    }
    for (stage, since) in [
        (Stage::Claimed(claimed(Some(80), true)), "80"),
        (Stage::Held(Held { claimed: claimed(None, false), remote: remote() }), "-"),
        (there(true), "-"),
    ] {
        let expected = format!(
            "Provider {since}..-: provider alpha is not configured, so nothing can be found out \
             about it > it keeps its slot until the server is started with alpha configured; \
             {RESOLVE}"
        );
        expect(&record(stage), &absent, &expected);
    }
}

#[test]
fn a_job_of_another_account_names_it_without_its_credential() {
    for (owner, named) in [(Some("ann"), "ann"), (None, "https://api.example")] {
        let reach = Reach::OtherAccount(account(owner));
        let other = Facts { reach, ..facts() };
        for stage in [Stage::Claimed(claimed(None, false)), there(false)] {
            let expected = format!(
                "Account -..-: the job belongs to another account of alpha ({named}), so nothing can \
                 be found out about it > it keeps its slot until the server is started with that \
                 account of alpha; {RESOLVE}"
            );
            expect(&record(stage), &other, &expected);
        }
    }
}

#[test]
fn a_job_of_unknown_outcome_says_when_it_is_certain() {
    let job = record_with(Stage::Claimed(claimed(Some(80), false)), Some("alpha did not answer"));
    let expected = format!(
        "Outcome 80..200: the outcome of its submission to alpha is unknown: alpha did not answer > \
         the server searches alpha until the job is found or proven absent; {RESOLVE}"
    );
    expect(&job, &facts(), &expected);
    let late = record(Stage::Claimed(claimed(Some(-20), true)));
    let expected = format!(
        "Outcome -20..-: the outcome of its submission to alpha is unknown > the server searches \
         alpha until the job is found or proven absent; then it is cancelled; {RESOLVE}"
    );
    expect(&late, &facts(), &expected);
}

#[test]
fn a_job_that_is_to_be_cancelled_says_what_that_waits_for() {
    expect(
        &record(Stage::Claimed(claimed(None, true))),
        &facts(),
        "Cancellation 90..230: it is to be cancelled while its submission is in flight > it is \
         cancelled as soon as the outcome of the submission is known",
    );
    let expected = format!(
        "Cancellation 90..-: it is to be cancelled, and alpha has not confirmed that yet > the \
         request to alpha is repeated until it confirms; {RESOLVE}"
    );
    expect(&record(there(true)), &facts(), &expected);
}

#[test]
fn a_job_that_is_due_without_a_place_was_set_aside_only_where_rows_are() {
    let lost = Facts { standing: None, damage: true, ..facts() };
    expect(
        &record(waiting(Due::Now)),
        &lost,
        "Damaged -..-: its row was set aside because a part of it could not be read > an \
         administrator repairs or deletes the row; the log names it",
    );
    let moved_on = Facts { standing: None, ..facts() };
    assert_eq!(shown(&record(waiting(Due::Now)), &moved_on), None);
    assert_eq!(shown(&record(waiting(Due::Date(at(NOW)))), &lost), None, "it was not woken yet");
}

#[test]
fn the_first_obstacle_is_named() {
    let closed = gate(ClosedBy::Unanswered, None);
    let all = Facts { gate: Some(&closed), ..held_by(Limit::Global.into()) };
    let kind = |due, facts: &Facts<'_>| {
        waiting_for(&record(waiting(due)), facts).map(|waiting| waiting.kind)
    };
    assert_eq!(kind(Due::Now, &all), Some(Kind::Gate), "a free slot would not help");
    assert_eq!(kind(Due::Date(at(500)), &all), Some(Kind::Date), "the gate may open until then");
    let absent = Facts { reach: Reach::NotConfigured, ..all };
    assert_eq!(kind(Due::Date(at(500)), &absent), Some(Kind::Provider));
}

#[test]
fn it_is_written_with_a_word_and_times_of_the_interface() {
    let found = waiting_for(&record(blocked()), &facts()).unwrap();
    let json = serde_json::to_value(found).unwrap();
    let times = (&json["kind"], &json["since"], &json["until"]);
    let expected = ("approval", "2026-01-01T00:00:00.000Z", "2026-01-01T00:16:40.000Z");
    assert_eq!(
        (times.0, times.1, times.2),
        (&expected.0.into(), &expected.1.into(), &expected.2.into())
    );
}

#[test]
fn a_job_whose_status_cannot_be_read_says_since_when_and_why() {
    let job = record(there(false));
    let unread_for = Duration::from_secs(30);
    let unread = || UnreadJob { unread_for, reason: "alpha does not know the job".to_owned() };
    let facts = Facts { unread: Some(unread()), ..facts() };
    let expected = format!(
        "Status 70..-: its status cannot be read at alpha: alpha does not know the job > alpha is \
         asked again in each cycle of the polling; {RESOLVE}"
    );
    expect(&job, &facts, &expected);
    let cancelled = waiting_for(&record(there(true)), &facts).unwrap();
    assert_eq!(cancelled.kind, Kind::Cancellation, "that comes first");
}

#[test]
fn a_job_without_room_in_a_budget_names_all_its_numbers_and_when_it_begins_anew() {
    let job = record(waiting(Due::Now));
    let budget = NewBudget {
        scope: Scope::Org(OrgId::new("acme")),
        limit: BudgetLimit::Cost { period: Period::Monthly, amount: Cost::from_usd(100.0) },
        action: BudgetAction::Block,
    };
    let budget = BudgetUse {
        budget: Budget {
            id: BudgetId(7),
            budget,
            created_at: at(0),
            kept_by: BudgetKeeper::People,
        },
        spent: Cost::from_usd(95.5),
        reserved: Cost::from_usd(4.0),
        jobs: 0,
        resets_at: Some(at(900)),
    };
    let standing =
        Some(Standing { position: 3, held_by: Some(HeldBy::Budget(BudgetId(7))), limit: None });
    let next_step = "it is submitted when jobs under the budget end for less than they reserve, when \
                     its next period begins, or when an administrator raises it with PUT \
                     /api/quotas/7";
    let expected = format!(
        "Budget 0..900: the monthly budget 7 of organization acme is 100.00 USD: 95.50 USD is spent \
         and 4.00 USD reserved until 2026-01-01T00:15:00Z, and this job is estimated to cost 0.00 \
         USD > {next_step}"
    );
    expect(&job, &Facts { standing, budget: Some(&budget), ..facts() }, &expected);
    let removed = format!("Budget 0..-: budget 7 has no room for 0.00 USD > {next_step}");
    expect(&job, &Facts { standing, ..facts() }, &removed);
}
