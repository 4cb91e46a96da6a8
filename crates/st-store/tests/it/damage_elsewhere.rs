//! Damaged rows beside those of a job's own: each stops what cannot be done right without it, says
//! so, and stops nothing else.
//!
//! One world and one list of calls; a case damages one row and names the calls that may fail.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use jiff::SignedDuration;
use st_store::{
    Actor, ApprovalId, Error, EventId, Idempotency, JobFilter, JobRef, JobStatus, Limits,
    LimitsPatch, Marker, NewJob, Outcome, ProviderSettings, ProviderSettingsPatch, ProviderStatus,
    QueueFilter, QueueStatus, Recheck, RecheckOutcome, RequestFilter, Resolution, ResultsOutcome,
    ResultsState, RuleId, Searched, SettingChange, ShareScope, StrayOutcome, UserId, Verdict,
    Weight,
};
use st_testkit::suite::strays::sighting;
use st_testkit::suite::{
    accepted, at, claiming, costs_more_than, decision, everything, failed, fake, holder, id, job,
    provider_job, status,
};

use super::bench::{Bench, keyed};

fn setting(value: &str) -> ProviderSettingsPatch {
    let version_override = SettingChange::Set(value.to_owned());
    ProviderSettingsPatch { version_override, ..ProviderSettingsPatch::default() }
}

/// 1 waits and has a key, 2 is claimed, 3 is at its provider with the strays `p-50` and `p-51`, 4 and
/// 5 await approval, 6 failed an attempt and is rechecked, 7 was claimed by a holder that is gone.
async fn world() -> Bench {
    let bench = Bench::new().await;
    let store = &bench.store;
    let fair_share = Some(true);
    let wide = LimitsPatch { global: Some(20), fair_share, ..LimitsPatch::default() };
    store.patch_limits(wide, &Actor::Operator).await.unwrap();
    let of_two = ShareScope::User(UserId::new("user-2"));
    store.set_weight(&of_two, Weight::new(2.0).ok(), &Actor::Operator).await.unwrap();
    store.patch_provider_settings(&fake(), setting("v1"), &Actor::Operator).await.unwrap();
    store.add_rule(costs_more_than("50")).await.unwrap();
    store.add_rule(costs_more_than("90")).await.unwrap();
    bench.at_provider(3).await;
    for number in [50, 51] {
        let seen = vec![sighting(3, 1, status(number, JobStatus::Queued))];
        store.record_sightings(&Actor::Poller, seen).await.unwrap();
    }
    let failing = bench.claimed(6).await;
    bench.settle(&failing, failed(999)).await.unwrap();
    bench.claimed(7).await;
    bench.go_to(80);
    bench.claimed(2).await;
    for number in [4, 5] {
        let new = NewJob { estimated_cost: 80.0, ..job(number, "ann") };
        bench.submit(new).await;
    }
    bench.submit(keyed(1, "d")).await;
    bench.go_to(100);
    bench
}

/// The calls that failed, in the order in which they were made, what they said, and how many jobs
/// were claimed.
#[derive(Default)]
struct Failures {
    said: Vec<(&'static str, String)>,
    claimed: usize,
}

impl Failures {
    fn note<T: Debug>(&mut self, call: &'static str, result: st_store::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                assert!(matches!(error, Error::Damaged(_)), "{call}: {error:?}");
                self.said.push((call, error.to_string()));
                None
            }
        }
    }

    fn calls(&self) -> Vec<&'static str> {
        self.said.iter().map(|(call, _)| *call).collect()
    }
}

/// Makes every kind of call about a job that is whole.
async fn calls(bench: &Bench) -> Failures {
    let mut failures = Failures::default();
    reading_calls(bench, &mut failures).await;
    writing_calls(bench, &mut failures).await;
    setting_calls(bench, &mut failures).await;
    failures
}

async fn reading_calls(bench: &Bench, failures: &mut Failures) {
    let store = &bench.store;
    failures.note("find_job", store.find_job(&JobRef::Id(id(1))).await);
    failures.note("list_jobs", store.list_jobs(&JobFilter::default(), everything()).await);
    let filter = QueueFilter { include_completed: true, ..QueueFilter::default() };
    failures.note("list_entries", store.list_entries(filter, everything()).await);
    failures.note("list_at_provider", store.list_at_provider(&fake(), None, 9).await);
    failures.note("standings", store.standings(&[id(1)]).await);
    failures.note("queue_stats", store.queue_stats().await);
    failures.note("next_due", store.next_due(&claiming(1), &[].into()).await);
    failures.note("next_expiry", store.next_expiry().await);
    failures.note("find_request", store.find_request(ApprovalId(1)).await);
    failures
        .note("list_requests", store.list_requests(RequestFilter::default(), everything()).await);
    failures.note("find_rule", store.find_rule(RuleId(1)).await);
    failures.note("list_rules", store.list_rules().await);
    failures.note("due_strays", store.due_strays(&fake(), 9).await);
    failures.note("due_rechecks", store.due_rechecks(&fake(), 9).await);
    failures.note("events_after", store.events_after(EventId(0), 999).await);
    failures.note("job_events", store.job_events(id(3), EventId(0), 999).await);
    failures.note("unsettled", store.unsettled().await);
    failures.note("providers_in_use", store.providers_in_use().await);
}

async fn writing_calls(bench: &Bench, failures: &mut Failures) {
    let store = &bench.store;
    failures.note("submit", store.submit(job(20, "zoe")).await);
    failures.note("submit again", store.submit(keyed(21, "d")).await);
    let other_key = Idempotency { key: "other".to_owned(), digest: "d".to_owned() };
    let new = NewJob { idempotency: Some(other_key), ..job(22, "keyed") };
    failures.note("submit with another key", store.submit(new).await);
    let minute = Duration::from_mins(1);
    failures.note("renew", store.renew(holder(1), minute, &[id(2)].into()).await);
    failures.note("reclaim", store.reclaim(&claiming(9), &[id(2)].into()).await);
    let claims = failures.note("claim", store.claim(&claiming(9)).await);
    if let Some(claims) = claims {
        assert_eq!(claims.damaged, [], "nothing of a job is damaged");
        failures.claimed = claims.claims.len();
    }
    let claimed = bench.found(2).await;
    failures.note("settle", bench.settle(&claimed, accepted(2)).await);
    let there = bench.found(3).await;
    let report = Outcome::Reported(status(3, JobStatus::Running));
    failures.note("report", bench.settle(&there, report).await);
    failures.note("decide", store.decide(ApprovalId(1), &decision(Verdict::Approve)).await);
    failures.note("expire", store.expire(9).await);
    failures.note("cancel_job", store.cancel_job(id(5), &Actor::Operator).await);
    let seen = vec![sighting(3, 1, status(52, JobStatus::Running))];
    failures.note("record_sightings", store.record_sightings(&Actor::Poller, seen).await);
    let retry = StrayOutcome::Retry { after: SignedDuration::ZERO };
    failures.note("settle_stray", store.settle_stray(&fake(), &provider_job(51), retry).await);
    let marker = Marker { job: id(6), attempt: 1 };
    let outcomes = vec![RecheckOutcome { recheck: marker.into(), searched: Searched::Complete }];
    failures.note("settle_rechecks", store.settle_rechecks(outcomes).await);
}

async fn setting_calls(bench: &Bench, failures: &mut Failures) {
    let (store, by) = (&bench.store, Actor::Operator);
    failures.note("add_rule", store.add_rule(costs_more_than("70")).await);
    failures.note("limits", store.limits().await);
    failures.note("weights", store.weights().await);
    failures.note("share_usage", store.share_usage().await);
    let patch = LimitsPatch { per_user: Some(3), ..LimitsPatch::default() };
    failures.note("patch_limits", store.patch_limits(patch, &by).await);
    failures.note("provider_settings", store.provider_settings(&fake()).await);
    let patched = store.patch_provider_settings(&fake(), setting("v2"), &by).await;
    failures.note("patch_provider_settings", patched);
}

/// What is damaged, which calls it stops, and what the first of them says.
const CASES: [(&str, &[&str], &str); 32] = [
    (
        "UPDATE approval_rules SET condition = 'luck' WHERE rule_id = 2",
        &["submit", "submit with another key"],
        "damaged data: approval_rules row 2: condition: unknown condition \"luck\"",
    ),
    (
        "UPDATE approval_rules SET exempt_levels = '[\"boss\"]' WHERE rule_id = 2",
        &["submit", "submit with another key"],
        "damaged data: approval_rules row 2: exempt_levels: unknown role \"boss\"",
    ),
    (
        "UPDATE approval_rules SET created_at = 9223372036854775807 WHERE rule_id = 2",
        &["submit", "submit with another key"],
        "damaged data: approval_rules row 2: created_at: ",
    ),
    ("UPDATE limits SET user_max_concurrent = -1", &[], ""),
    ("UPDATE limits SET fair_share = 7", &[], ""),
    ("UPDATE provider_settings SET value = CAST(x'ff' AS TEXT)", &[], ""),
    ("UPDATE provider_settings SET name = 'colour'", &[], ""),
    ("UPDATE strays SET job_id = 'x' WHERE provider_job_id = 'p-50'", &[], ""),
    ("UPDATE strays SET account = 'u {}' WHERE provider_job_id = 'p-50'", &[], ""),
    ("UPDATE rechecks SET account = 'u {}'", &[], ""),
    ("UPDATE strays SET job_type = 'x' WHERE provider_job_id = 'p-50'", &[], ""),
    ("UPDATE strays SET attempt = -1 WHERE provider_job_id = 'p-50'", &[], ""),
    ("UPDATE strays SET user_id = CAST(x'ff' AS TEXT) WHERE provider_job_id = 'p-50'", &[], ""),
    (
        "UPDATE strays SET next_cancel_at = -9223372036854775808 WHERE provider_job_id = 'p-50'",
        &[],
        "",
    ),
    ("UPDATE rechecks SET claimed_at = 9223372036854775807", &[], ""),
    ("UPDATE rechecks SET done = 300", &[], ""),
    (
        "UPDATE idempotency_keys SET job_id = 'x'",
        &["submit again"],
        "damaged data: idempotency_keys row k: job_id: ",
    ),
    (
        "UPDATE idempotency_keys SET expires_at = 9223372036854775807",
        &["submit again"],
        "damaged data: idempotency_keys row k: expires_at: ",
    ),
    ("UPDATE provider_acceptances SET latest_job = 'x'", &[], ""),
    ("UPDATE provider_acceptances SET latest_at = 9223372036854775807", &[], ""),
    ("UPDATE user_grants SET granted_at = 9223372036854775807 WHERE user_id = 'user-2'", &[], ""),
    (
        "UPDATE user_grants SET user_id = CAST(x'ff' AS TEXT), check_at = 0 \
         WHERE user_id = 'user-2'",
        &[],
        "",
    ),
    ("UPDATE share_weights SET weight = -1.0", &[], ""),
    ("UPDATE share_weights SET scope = 'x'", &[], ""),
    ("UPDATE share_usage SET slot_hours = -1.0 WHERE scope_id = 'user-2'", &[], ""),
    ("UPDATE share_usage SET used_at = 9223372036854775807 WHERE scope_id = 'user-2'", &[], ""),
    (
        "UPDATE share_usage SET scope_id = CAST(x'ff' AS TEXT), check_at = 0 \
         WHERE scope_id = 'user-2'",
        &[],
        "",
    ),
    ("UPDATE share_usage SET scope = 'x', check_at = 0 WHERE scope_id = 'user-2'", &[], ""),
    ("UPDATE share_charges SET charged_at = 9223372036854775807 WHERE entry_id = 4", &[], ""),
    ("UPDATE events SET to_status = 'lost' WHERE event_id = 5", &[], ""),
    ("UPDATE queue_entries SET job_type = 'x' WHERE entry_id = 3", &[], ""),
    ("UPDATE queue_entries SET user_id = CAST(x'ff' AS TEXT) WHERE entry_id = 3", &[], ""),
];

#[tokio::test]
async fn a_damaged_row_stops_what_needs_it_and_nothing_else() {
    for (sql, stopped, said) in CASES {
        let bench = world().await;
        bench.damage(sql);
        let failures = calls(&bench).await;
        assert_eq!(failures.calls(), stopped, "{sql}: {:?}", failures.said);
        // The defaults are fewer slots than are taken.
        let slots = !sql.starts_with("UPDATE limits SET user");
        assert_eq!(failures.claimed > 0, slots, "{sql}: {}", failures.claimed);
        for (call, message) in &failures.said {
            assert!(message.starts_with(said), "{sql}: {call} says {message}");
        }
    }
}

/// The columns with a time that the store compares, adds to, or cuts.
const TIMES: [&str; 22] = [
    "queue_entries SET lease_until = {} WHERE entry_id = 3",
    "queue_entries SET unresolved_since = {} WHERE entry_id = 3",
    "queue_entries SET not_before = {} WHERE entry_id = 2",
    "queue_entries SET waits_since = {} WHERE entry_id = 2",
    "queue_entries SET deadline = {} WHERE entry_id = 2",
    "queue_entries SET run_after = {} WHERE entry_id = 2",
    "queue_entries SET suspect_since = {} WHERE entry_id = 2",
    "queue_entries SET queued_at = {} WHERE entry_id = 3",
    "queue_entries SET started_at = {} WHERE entry_id = 3",
    "approvals SET expires_at = {} WHERE approval_id = 1",
    "approvals SET ttl_ms = {} WHERE approval_id = 1",
    "strays SET next_cancel_at = {} WHERE provider_job_id = 'p-50'",
    "rechecks SET ended_at = {}",
    "rechecks SET due_at = {}",
    "provider_acceptances SET latest_at = {}",
    "idempotency_keys SET expires_at = {}",
    "user_grants SET granted_at = {} WHERE user_id = 'user-2'",
    "user_grants SET check_at = {} WHERE user_id = 'user-2'",
    "share_usage SET used_at = {} WHERE scope_id = 'user-2'",
    "share_usage SET check_at = {} WHERE scope_id = 'user-2'",
    "share_charges SET charged_at = {} WHERE entry_id = 4",
    "limits SET changed_at = {}",
];

#[tokio::test]
async fn a_number_that_is_no_time_stops_neither_a_start_nor_a_clock_that_is_set() {
    for column in TIMES {
        for (number, hours) in [(i64::MAX, 48), (i64::MIN, -48)] {
            let sql = format!("UPDATE {}", column.replace("{}", &number.to_string()));
            let bench = world().await;
            bench.damage(&sql);
            bench.clock.step(SignedDuration::from_hours(hours));
            bench.submit(job(30, "eve")).await;
            let lease = bench.found(2).await.stage().claimed().unwrap().lease.until;
            let expected = at(170) + SignedDuration::from_hours(hours);
            assert_eq!(lease, expected, "{sql}, {hours}: the lease of another job");
            let now = bench.store.now();
            let bench = bench.reopened(now).await;
            let claims = bench.store.claim(&claiming(99)).await.unwrap().claims;
            let claimed: Vec<_> = claims.iter().map(|claim| claim.record.id()).collect();
            assert!(claimed.contains(&id(30)), "{sql}, {hours}: {claimed:?}");
            bench.store.queue_stats().await.unwrap();
        }
    }
}

#[tokio::test]
async fn damaged_counts_of_waiting_jobs_keep_no_place_from_being_read() {
    let bench = Bench::new().await;
    // In other parts of the queue, of each size.
    for (number, seconds) in [(1, 0), (2, 1), (3, 10), (4, 1000)] {
        bench.go_to(seconds);
        bench.submit(job(number, "ann")).await;
    }
    for damaged in ["-1000000", "NULL"] {
        bench.raw().execute(&format!("UPDATE queue_depth SET waiting = {damaged}"), []).unwrap();
        let standings = bench.store.standings(&[1, 2, 3, 4].map(id)).await.unwrap().of;
        assert!(standings.iter().all(|it| it.is_some_and(|it| it.position >= 1)), "{standings:?}");
    }
}

#[tokio::test]
async fn every_call_about_a_damaged_job_says_what_is_wrong_with_it() {
    let damages = [
        ("UPDATE jobs SET metadata = '{' WHERE job_id = '{}'", "jobs row {}: metadata: "),
        (
            "UPDATE queue_entries SET token = 99 \
             WHERE entry_id = (SELECT entry_id FROM jobs WHERE job_id = '{}')",
            "queue_entries row {}: ",
        ),
        (
            "UPDATE approvals SET ttl_ms = 1, required_role = 'boss' WHERE approval_id = 1",
            "approvals row {}: required_role: ",
        ),
    ];
    for (sql, said) in damages {
        let bench = world().await;
        let job = id(4).to_string();
        bench.damage(&sql.replace("{}", &job));
        let said = format!("damaged data: {}", said.replace("{}", &job));
        let store = &bench.store;
        let by_id = store.find_job(&JobRef::Id(id(4))).await.map(drop);
        let request = store.find_request(ApprovalId(1)).await.map(drop);
        let approved = store.decide(ApprovalId(1), &decision(Verdict::Approve)).await.map(drop);
        let rejected = store.decide(ApprovalId(1), &decision(Verdict::Reject)).await.map(drop);
        let cancelled = store.cancel_job(id(4), &Actor::Operator).await.map(drop);
        let resolved =
            store.resolve(id(4), &Resolution::Abandon, None, &Actor::Operator).await.map(drop);
        let again = store.submit(job_again()).await.map(drop);
        let standing = store.standings(&[id(4)]).await.unwrap().of;
        assert_eq!(standing, [None], "it waits for no slot");
        for (call, result) in [
            ("find_job", by_id),
            ("find_request", request),
            ("approve", approved),
            ("reject", rejected),
            ("cancel_job", cancelled),
            ("resolve", resolved),
            ("submit again", again),
        ] {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Damaged(_)), "{call}: {error:?}");
            assert!(error.to_string().starts_with(&said), "{call}: {error}");
        }
        let last = bench.store.job_events(id(4), EventId(0), 99).await.unwrap().events.len();
        assert_eq!(last, 3, "nothing was written about it");
        let whole = store.decide(ApprovalId(2), &decision(Verdict::Approve)).await.unwrap();
        assert_eq!(whole.id(), id(5), "the next request is decided");
    }
}

/// Job 4 once more, by its identifier.
fn job_again() -> NewJob {
    NewJob { estimated_cost: 80.0, ..job(4, "ann") }
}

#[tokio::test]
async fn a_damaged_job_at_its_provider_is_found_damaged_by_its_provider_job() {
    let bench = world().await;
    bench.damage(&format!("UPDATE jobs SET cost_usd = -1.0 WHERE job_id = '{}'", id(3)));
    let by_provider = JobRef::Provider { provider: fake(), id: provider_job(3) };
    let found = bench.store.find_job(&by_provider).await;
    assert!(matches!(found, Err(Error::Damaged(_))), "{found:?}");
    let seen = vec![
        sighting(3, 1, status(3, JobStatus::Running)),
        sighting(2, 1, status(2, JobStatus::Running)),
    ];
    let seen = bench.store.record_sightings(&Actor::Poller, seen).await.unwrap();
    assert!(matches!(seen[0], Err(Error::Damaged(_))), "{seen:?}");
    assert_eq!(*seen[1].as_ref().unwrap(), st_store::SightingOutcome::Adopted);
    let there = bench.store.list_at_provider(&fake(), None, 9).await.unwrap();
    assert_eq!(there.iter().map(st_store::JobRecord::id).collect::<Vec<_>>(), [id(2)]);
    assert_eq!(bench.store.unsettled().await.unwrap().damaged, 1, "it is set aside");
}

#[tokio::test]
async fn a_damaged_event_of_a_job_is_named_and_the_others_are_read() {
    let bench = world().await;
    let whole = bench.store.job_events(id(3), EventId(0), 99).await.unwrap();
    let second = whole.events[1].id;
    bench.damage(&format!("UPDATE events SET at = 9223372036854775807 WHERE event_id = {second}"));
    let page = bench.store.job_events(id(3), EventId(0), 99).await.unwrap();
    assert_eq!(page.events.len(), whole.events.len() - 1);
    assert_eq!((page.damaged[0].table, &page.damaged[0].key), ("events", &second.to_string()));
    assert_eq!(page.next, whole.next, "the reader goes on behind it");
    let one = bench.store.job_events(id(3), whole.events[0].id, 1).await.unwrap();
    assert_eq!((one.events.len(), one.next), (0, Some(second)), "a page of nothing else");
}

#[tokio::test]
async fn strays_and_rechecks_that_cannot_be_read_hide_no_others() {
    let bench = world().await;
    let failing = bench.claimed(8).await;
    bench.settle(&failing, failed(999)).await.unwrap();
    bench.go_to(200);
    bench.damage("UPDATE strays SET job_id = 'x' WHERE provider_job_id = 'p-50'");
    bench.damage(&format!("UPDATE rechecks SET done = -1 WHERE job_id = '{}'", id(6)));
    let strays = bench.store.due_strays(&fake(), 9).await.unwrap();
    let strays: Vec<_> = strays.iter().map(|stray| stray.provider_job_id.clone()).collect();
    assert_eq!(strays, [provider_job(51)]);
    let due = bench.store.due_rechecks(&fake(), 9).await.unwrap();
    let whole = Marker { job: id(8), attempt: 1 };
    assert_eq!(due.iter().map(Recheck::id).collect::<Vec<_>>(), [whole.into()]);
    let outcomes = [id(6), id(8)].map(|job| RecheckOutcome {
        recheck: Marker { job, attempt: 1 }.into(),
        searched: Searched::Complete,
    });
    bench.store.settle_rechecks(outcomes.into()).await.unwrap();
    assert_eq!(bench.store.due_rechecks(&fake(), 9).await.unwrap(), [], "the whole one is settled");
    let unsettled = bench.store.unsettled().await.unwrap().total();
    assert_eq!((unsettled.strays, unsettled.rechecks), (2, 2), "none of them is forgotten");
}

#[tokio::test]
async fn a_damaged_acceptance_is_replaced_by_the_next() {
    let bench = world().await;
    bench.damage("UPDATE provider_acceptances SET latest_job = 'x'");
    for number in [40, 41] {
        bench.at_provider(number).await;
    }
    let acceptances = bench.rows("SELECT latest_job, other_job FROM provider_acceptances");
    assert_eq!(acceptances, format!("latest_job={} other_job={}", id(41), id(40)));
}

#[tokio::test]
async fn settings_that_cannot_be_read_are_the_defaults_until_they_are_set() {
    let bench = world().await;
    let (store, by) = (&bench.store, Actor::Operator);
    bench.damage("UPDATE limits SET org_max_concurrent = -1");
    bench.damage("UPDATE provider_settings SET value = CAST(x'ff' AS TEXT)");
    assert_eq!(store.limits().await.unwrap(), Limits::default());
    assert_eq!(store.queue_stats().await.unwrap().limits, Limits::default());
    let settings = store.provider_settings(&fake()).await.unwrap();
    assert!(settings.is_unreadable("version_override"), "it is not the same as not set");
    assert_eq!(settings.version_override, None);
    let patch = LimitsPatch { per_user: Some(7), ..LimitsPatch::default() };
    let patched = store.patch_limits(patch, &by).await.unwrap();
    assert_eq!(patched, Limits { per_user: 7, ..Limits::default() });
    store.patch_provider_settings(&fake(), setting("v3"), &by).await.unwrap();
    let bench = bench.reopened(at(100)).await;
    assert_eq!(bench.store.limits().await.unwrap(), patched);
    let settings = bench.store.provider_settings(&fake()).await.unwrap();
    assert_eq!(settings.version_override.as_deref(), Some("v3"));
    assert!(settings.unreadable.is_empty());
}

#[tokio::test]
async fn a_setting_that_cannot_be_read_is_told_from_one_of_a_newer_version_and_can_be_cleared() {
    let bench = world().await;
    bench.damage("UPDATE provider_settings SET name = 'webhook_allowed_ips', value = '[300]'");
    bench.damage(
        "INSERT INTO provider_settings (provider, name, value, changed_at) \
         SELECT provider, 'of_a_newer_version', 'x', changed_at FROM provider_settings",
    );
    let settings = bench.store.provider_settings(&fake()).await.unwrap();
    assert_eq!(settings.unreadable.into_iter().collect::<Vec<_>>(), ["webhook_allowed_ips"]);
    let webhook_allowed_ips = SettingChange::Clear;
    let patch = ProviderSettingsPatch { webhook_allowed_ips, ..ProviderSettingsPatch::default() };
    bench.store.patch_provider_settings(&fake(), patch, &Actor::Operator).await.unwrap();
    assert_eq!(bench.rows("SELECT name FROM provider_settings"), "name=of_a_newer_version");
    let settings = bench.store.provider_settings(&fake()).await.unwrap();
    assert_eq!(settings, ProviderSettings::default());
}

#[tokio::test]
async fn a_rule_that_cannot_be_read_is_left_out_of_the_list_and_found_damaged() {
    let bench = world().await;
    bench.damage("UPDATE approval_rules SET condition = 'luck' WHERE rule_id = 2");
    let rules = bench.store.list_rules().await.unwrap();
    assert_eq!(rules.iter().map(|rule| rule.id).collect::<Vec<_>>(), [RuleId(1)]);
    let found = bench.store.find_rule(RuleId(2)).await;
    assert!(matches!(&found, Err(Error::Damaged(row)) if row.key == "2"), "{found:?}");
    bench.damage("UPDATE approval_rules SET is_active = 0 WHERE rule_id = 2");
    let cheap = bench.submit(job(20, "zoe")).await;
    assert_eq!(cheap.queue_status(), QueueStatus::Pending, "a rule that is off stops nothing");
}

#[tokio::test]
async fn results_of_a_damaged_job_are_given_up_in_the_end() {
    let bench = Bench::new().await;
    let record = bench.at_provider(1).await;
    let results_kept_for = Some(Duration::from_hours(1));
    let ended = ProviderStatus { results_kept_for, ..status(1, JobStatus::Completed) };
    bench.settle(&record, Outcome::Reported(ended)).await.unwrap();
    bench.damage(&format!("UPDATE jobs SET metadata = '[' WHERE job_id = '{}'", id(1)));
    let due = || async { bench.store.due_results(&fake(), &BTreeSet::new(), 9).await.unwrap() };
    assert_eq!(due().await.len(), 1, "what is due is known without the job");
    let kept = ResultsOutcome::Kept { output_path: None };
    let settled = bench.store.settle_results(id(1), &kept).await;
    assert!(matches!(settled, Err(Error::Damaged(_))), "{settled:?}");
    assert!(bench.store.give_up_results(id(1), "no record").await.unwrap());
    assert_eq!(due().await, []);
    bench.damage(&format!("UPDATE jobs SET metadata = '{{}}' WHERE job_id = '{}'", id(1)));
    let state = bench.found(1).await.job().results.clone().map(|results| results.state);
    let (reason, output_path) = ("no record".to_owned(), None);
    assert_eq!(state, Some(ResultsState::Lost { reason, output_path }));
    st_testkit::dump::check_invariants(bench.store.as_ref()).await;
}
