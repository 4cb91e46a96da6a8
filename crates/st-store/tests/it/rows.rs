//! A job of every stage as rows: read back equal after a restart, and column by column as text, so
//! that no change of the mapping goes unseen. A database in the field is read by what is here.

use jiff::SignedDuration;
use st_store::{
    AccountId, Actor, AtMostOnce, AttemptFailure, ClaimOptions, ClaimOrigin, Due, End, JobId,
    JobRecord, JobRef, JobStatus, JobType, NewJob, Opening, OrgId, Outcome, Phase, Priority,
    ProviderName, ProviderStatus, Serving, Settled, Stage, TeamId, Verdict,
};
use st_testkit::suite::{
    accepted, at, claiming, costs_more_than, decision, failed, id, job, provider_job, settlement,
    status, user,
};

use super::bench::Bench;

/// The stages in which a job can be.
const STAGES: [&str; 13] = [
    "blocked",
    "waiting now",
    "waiting for a date",
    "waiting after a pause",
    "claimed",
    "unresolved",
    "held",
    "queued there",
    "running there",
    "completed",
    "failed",
    "cancelled",
    "not approved",
];

/// A job of which every column of a submission has a value.
fn full(number: u8) -> NewJob {
    let mut new = job(number, &format!("user-{number}"));
    new.owner.team = Some(TeamId::new("team"));
    new.owner.org = Some(OrgId::new("org"));
    new.hardware_type = Some("h100".to_owned());
    new.priority_override = Some(Priority::new(40).unwrap());
    new.estimated_cost = 2.5;
    new
}

/// Brings job 1 into the stage of this name.
#[expect(clippy::panic, reason = "what helps tests fails as tests do")]
async fn reach(bench: &Bench, stage: &str) {
    if matches!(stage, "blocked" | "not approved") {
        bench.store.add_rule(costs_more_than("2")).await.unwrap();
        let request = bench.submit(full(1)).await.approval().unwrap().request().id;
        if stage == "not approved" {
            bench.go_to(20);
            bench.store.decide(request, &decision(Verdict::Reject)).await.unwrap();
        }
        return;
    }
    if stage == "waiting for a date" {
        bench.submit(NewJob { run_after: Some(at(3600)), ..full(1) }).await;
        return;
    }
    bench.submit(full(1)).await;
    if stage == "waiting now" {
        return;
    }
    bench.go_to(10);
    let record = bench.claim().await.remove(0).record;
    bench.go_to(20);
    let outcomes = match stage {
        "claimed" => vec![],
        "unresolved" => vec![unresolved()],
        "waiting after a pause" => vec![failed(600)],
        "held" => vec![Outcome::Held(provider_job(1))],
        "queued there" => vec![accepted(1)],
        "running there" => vec![accepted(1), Outcome::Reported(status(1, JobStatus::Running))],
        "completed" => vec![accepted(1), Outcome::Reported(completed())],
        "failed" => {
            let error = "bad config".to_owned();
            vec![Outcome::NotArrived(AttemptFailure::Rejected { error })]
        }
        "cancelled" => {
            bench.store.cancel_job(id(1), &user("ann")).await.unwrap();
            vec![failed(0)]
        }
        other => panic!("no such stage: {other}"),
    };
    for outcome in outcomes {
        bench.settle(&record, outcome).await.unwrap();
    }
}

fn unresolved() -> Outcome {
    Outcome::Unresolved { error: "silence".to_owned(), panics: None }
}

fn completed() -> ProviderStatus {
    ProviderStatus {
        started_at: Some(at(12)),
        completed_at: Some(at(19)),
        cost_usd: Some(1.25),
        output_url: Some("https://out/1".to_owned()),
        ..status(1, JobStatus::Completed)
    }
}

fn name(record: &JobRecord) -> &'static str {
    match record.stage() {
        Stage::Blocked(_) => "blocked",
        Stage::Waiting(waiting) => match waiting.due {
            Due::Now => "waiting now",
            Due::Date(_) => "waiting for a date",
            Due::Pause(_) => "waiting after a pause",
        },
        Stage::Claimed(claimed) if claimed.unresolved_since.is_some() => "unresolved",
        Stage::Claimed(_) => "claimed",
        Stage::Held(_) => "held",
        Stage::AtProvider(there) => match there.phase {
            Phase::Queued => "queued there",
            Phase::Running => "running there",
        },
        Stage::Finished(finished) => match finished.end {
            End::Completed => "completed",
            End::Failed => "failed",
            End::Cancelled => "cancelled",
            End::NotApproved => "not approved",
        },
    }
}

/// What of the rows depends on the stage. What every job has is in a test of its own.
fn flat(bench: &Bench) -> String {
    let job = "SELECT status, started_at, completed_at, cost_usd, error_message, output_url, \
               provider_job_id, provider_account FROM jobs";
    let entry = "SELECT status, deadline, run_after, waits_since, started_at, completed_at, \
                 attempt, failed_attempts, reclaims, panics, suspect_since, error_message, token, \
                 not_before, not_before_kind, claimed_at, claim_provider_time, claim_account, \
                 claim_guarantee, claim_may_arrive_ms, claim_origin, lease_holder, lease_until, \
                 unresolved_since, cancel_requested_at, cancel_actor, cancel_actor_name, held, held_reason \
                 FROM queue_entries";
    let approval = "SELECT * FROM approvals";
    let all = [("job", job), ("entry", entry), ("approval", approval)].map(|(table, sql)| {
        let rows = bench.rows(sql);
        if rows.is_empty() { rows } else { format!("{table}: {rows}\n") }
    });
    // Times as seconds since the beginning, and zeros left out, for the eye.
    let mut text = all.concat();
    for zero in [" failed_attempts=0", " reclaims=0", " panics=0"] {
        text = text.replace(zero, "");
    }
    text.split_inclusive([' ', '\n']).map(relative).collect()
}

fn relative(word: &str) -> String {
    let beginning = at(0).as_millisecond();
    let (name, value) = word.trim_end().split_once('=').unwrap_or((word, ""));
    match value.parse::<i64>() {
        Ok(millis) if millis > beginning / 2 => {
            let end = if word.ends_with('\n') { "\n" } else { " " };
            format!("{name}=+{}s{end}", (millis - beginning) / 1000)
        }
        Ok(_) | Err(_) => word.to_owned(),
    }
}

const CLAIM: &str = "attempt=1 token=4294967297 claimed_at=+10s claim_provider_time=+5s \
                     claim_account=account claim_guarantee=listed_marker \
                     claim_may_arrive_ms=120000 claim_origin=new \
                     lease_holder=01010101-0101-4101-8101-010101010101 lease_until=+100s";

fn expected(stage: &str) -> String {
    let waits = "deadline=+3600s waits_since=+0s";
    let there = "provider_job_id=p-1 provider_account=account";
    let over = format!("{waits} started_at=+10s completed_at=+20s attempt=1");
    let request = "approval_id=1 entry_id=1 rule_id=1";
    let reason = "reason=expensive: the estimated cost in USD is above the threshold \
                  required_role=lead created_at=+0s expires_at=+86400s ttl_ms=86400000";
    match stage {
        "blocked" => format!(
            "job: status=pending\nentry: status=blocked {waits} attempt=0 token=0\n\
             approval: {request} status=pending {reason} user_id=user-1\n"
        ),
        "waiting now" => {
            format!("job: status=pending\nentry: status=pending {waits} attempt=0 token=0\n")
        }
        "waiting for a date" => "job: status=pending\n\
             entry: status=pending deadline=+7200s run_after=+3600s waits_since=+3600s attempt=0 \
             token=0 not_before=+3600s not_before_kind=date\n"
            .to_owned(),
        "waiting after a pause" => format!(
            "job: status=uploading\nentry: status=pending {waits} started_at=+10s attempt=1 \
             error_message=flaky token=4294967297 not_before=+620s not_before_kind=pause\n"
        ),
        "claimed" => {
            format!("job: status=uploading\nentry: status=ready {waits} started_at=+10s {CLAIM}\n")
        }
        "unresolved" => format!(
            "job: status=uploading\nentry: status=ready {waits} started_at=+10s attempt=1 \
             error_message=silence {} unresolved_since=+20s\n",
            CLAIM.trim_start_matches("attempt=1 ")
        ),
        "held" => format!(
            "job: status=uploading {there}\nentry: status=ready {waits} started_at=+10s {CLAIM}\n"
        ),
        "queued there" => format!(
            "job: status=queued {there}\nentry: status=running {waits} started_at=+10s attempt=1 \
             token=4294967297\n"
        ),
        "running there" => format!(
            "job: status=running started_at=+20s {there}\nentry: status=running {waits} \
             started_at=+10s attempt=1 token=4294967297\n"
        ),
        "completed" => format!(
            "job: status=completed started_at=+12s completed_at=+19s cost_usd=1.25 \
             output_url=https://out/1 {there}\nentry: status=completed {over} token=4294967297\n"
        ),
        "failed" => format!(
            "job: status=failed completed_at=+20s error_message=bad config\n\
             entry: status=failed {over} error_message=bad config token=4294967297\n"
        ),
        "cancelled" => format!(
            "job: status=cancelled completed_at=+20s \
             error_message=cancelled before it was submitted\n\
             entry: status=cancelled {over} error_message=flaky token=4294967297 \
             cancel_requested_at=+20s cancel_actor=user cancel_actor_name=ann\n"
        ),
        _ => format!(
            "job: status=cancelled completed_at=+20s error_message=rejected by lead: because\n\
             entry: status=failed {waits} completed_at=+20s attempt=0 \
             error_message=rejected by lead: because token=0\n\
             approval: {request} status=rejected {reason} reviewed_by=lead settled_at=+20s \
             review_notes=because user_id=user-1\n"
        ),
    }
}

#[tokio::test]
async fn the_rows_of_each_stage_are_these() {
    for stage in STAGES {
        let bench = Bench::new().await;
        reach(&bench, stage).await;
        assert_eq!(flat(&bench), expected(stage), "{stage}");
    }
}

#[tokio::test]
async fn a_job_of_each_stage_is_the_same_after_a_restart() {
    for stage in STAGES {
        let bench = Bench::new().await;
        reach(&bench, stage).await;
        let before = bench.found(1).await;
        assert_eq!(name(&before), stage);
        let (history, now) = (bench.history(1).await, bench.store.now());
        let bench = bench.reopened(now).await;
        assert_eq!(bench.found(1).await, before, "{stage}");
        assert_eq!(bench.history(1).await, history, "{stage}");
        let by_provider = before
            .provider_job_id()
            .cloned()
            .map(|id| JobRef::Provider { provider: before.job().provider.clone(), id });
        if let Some(by_provider) = by_provider {
            assert_eq!(bench.store.find_job(&by_provider).await.unwrap(), Some(before), "{stage}");
        }
    }
}

#[tokio::test]
async fn what_a_submission_says_is_stored_as_it_was_said() {
    let bench = Bench::new().await;
    bench.submit(full(1)).await;
    bench.submit(NewJob { job_type: JobType::Local, ..job(2, "") }).await;
    let job = "SELECT entry_id, job_id, job_type, provider, config_name, user_id, team_id, org_id, \
               correlation_id, created_at, hardware_type, metadata FROM jobs ORDER BY job_id";
    let ids = [1, 2].map(id);
    assert_eq!(
        bench.rows(job),
        format!(
            "entry_id=1 job_id={} job_type=cloud provider=fake config_name=job-1 user_id=user-1 team_id=team \
             org_id=org correlation_id=c-1 created_at=1767225600000 hardware_type=h100 \
             metadata={{\"note\":{{\"n\":1}}}}\n\
             entry_id=2 job_id={} job_type=local provider=fake config_name=job-2 user_id= correlation_id=c-2 \
             created_at=1767225600000 metadata={{\"note\":{{\"n\":2}}}}",
            ids[0], ids[1]
        )
    );
    let entry = "SELECT entry_id, user_id, team_id, org_id, job_type, provider, priority, \
                 priority_override, queued_at, epoch, estimated_cost, max_attempts \
                 FROM queue_entries ORDER BY entry_id";
    assert_eq!(
        bench.rows(entry),
        "entry_id=1 user_id=user-1 team_id=team org_id=org job_type=cloud \
             provider=fake priority=10 priority_override=40 queued_at=1767225600000 epoch=1 \
             estimated_cost=2.5 max_attempts=3\n\
             entry_id=2 user_id= team_id= org_id= job_type=local provider=fake \
             priority=10 queued_at=1767225600000 epoch=1 estimated_cost=0.0 max_attempts=3"
    );
    let input = "SELECT input FROM job_inputs ORDER BY entry_id";
    assert_eq!(
        bench.rows(input),
        r#"input={"config":{"n":1}}
input={"config":{"n":2}}"#
    );
}

/// The columns that only a claimed job has.
fn claim_columns(bench: &Bench, job: JobId) -> String {
    bench.rows(&format!(
        "SELECT claimed_at, claim_provider_time, claim_account, claim_guarantee, \
         claim_may_arrive_ms, claim_origin, lease_holder, lease_until, unresolved_since \
         FROM queue_entries \
         WHERE entry_id = (SELECT entry_id FROM jobs WHERE job_id = '{job}')"
    ))
}

#[tokio::test]
async fn nothing_of_a_claim_is_left_when_it_ends() {
    let error = || "x".to_owned();
    let retry_in = SignedDuration::from_secs(5);
    let refusal = AttemptFailure::Rejected { error: error() };
    let last = AttemptFailure::Final { error: error() };
    let not_sent = AttemptFailure::NotSent { reason: error(), retry_in };
    let ends = [
        accepted(1),
        Outcome::Submitted(status(1, JobStatus::Completed)),
        failed(0),
        failed(60),
        Outcome::NotArrived(refusal),
        Outcome::NotArrived(last),
        Outcome::NotArrived(not_sent),
    ];
    for held in [false, true] {
        for end in &ends {
            let bench = Bench::new().await;
            let record = bench.claimed(1).await;
            bench.settle(&record, unresolved()).await.unwrap();
            if held {
                bench.settle(&record, Outcome::Held(provider_job(1))).await.unwrap();
            }
            assert_eq!(claim_columns(&bench, id(1)).split(' ').count(), 9);
            bench.settle(&record, end.clone()).await.unwrap();
            assert_eq!(claim_columns(&bench, id(1)), "", "held {held}, {end:?}");
            let there = bench.rows("SELECT provider_job_id FROM jobs");
            let submitted = matches!(end, Outcome::Submitted(_));
            assert_eq!(there == "provider_job_id=p-1", submitted, "held {held}, {end:?}");
        }
        let bench = Bench::new().await;
        let record = bench.claimed(1).await;
        bench.settle(&record, unresolved()).await.unwrap();
        assert_ne!(claim_columns(&bench, id(1)), "", "nobody knows: it stays claimed");
    }
}

#[tokio::test]
async fn each_word_of_a_claim_is_read_back() {
    for (number, &guarantee) in (1..).zip(AtMostOnce::ALL) {
        let bench = Bench::new().await;
        bench.submit(job(number, "ann")).await;
        let serving = Serving {
            provider: ProviderName::new("fake"),
            account: None,
            guarantee,
            provider_time: None,
            may_arrive_for: SignedDuration::from_millis(1),
            opening: Opening::Open,
        };
        let options = ClaimOptions { serving: vec![serving], ..claiming(1) };
        let claim = bench.store.claim(&options).await.unwrap().claims.remove(0).record;
        let bench = bench.reopened(at(100)).await;
        assert_eq!(bench.found(number).await, claim);
        let reclaimed = bench.store.reclaim(&options, &[].into()).await.unwrap().claims.remove(0);
        let origin = reclaimed.record.stage().claimed().unwrap().origin;
        assert_eq!(origin, ClaimOrigin::Reclaimed);
        assert_eq!(bench.found(number).await, reclaimed.record, "{guarantee}");
        let (settled, ended) = bench.settle(&reclaimed.record, failed(0)).await.unwrap();
        assert_eq!((settled, ended.entry().attempt), (Settled::Requeued, 1));
    }
}

#[tokio::test]
async fn each_kind_of_actor_of_a_cancellation_is_read_back() {
    let fake = || ProviderName::new("fake");
    let actors = [
        user("ann"),
        Actor::Poller,
        Actor::Scheduler,
        Actor::Expirer,
        Actor::Webhook(fake()),
        Actor::Operator,
        Actor::Provider(fake()),
    ];
    let bench = Bench::new().await;
    for (number, actor) in (1..).zip(&actors) {
        let record = bench.at_provider(number).await;
        bench.store.cancel_job(id(number), actor).await.unwrap();
        let asked = bench.found(number).await;
        assert_eq!(asked.stage().cancellation().unwrap().by, *actor);
        let report = Outcome::Reported(status(number, JobStatus::Cancelled));
        let settled = vec![settlement(&record, report)];
        bench.store.settle(&Actor::Poller, settled).await.unwrap().remove(0).unwrap();
    }
    let bench = bench.reopened(at(10)).await;
    for (number, actor) in (1..).zip(&actors) {
        let record = bench.found(number).await;
        let cancellation = record.stage().cancellation().unwrap();
        assert_eq!((cancellation.at, &cancellation.by), (at(0), actor));
        let last = bench.history(number).await.pop().unwrap();
        assert_eq!(last, format!("job cancelled by {actor}"), "it was cancelled by who asked");
    }
    assert_eq!(
        bench.found(1).await.stage().remote().unwrap().account,
        Some(AccountId::new("account", None, None))
    );
}
