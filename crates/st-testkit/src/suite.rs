//! What every store must do, as cases that run against any of them.
//!
//! A backend's tests call [`conformance!`](crate::conformance) with an expression that makes an
//! empty store; each case becomes a test of its own.

#![expect(missing_docs, reason = "a case is what its name says")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "these are tests")]

pub mod approvals;
pub mod events;
pub mod jobs;
pub mod queue;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, json};
use st_log::CorrelationId;
use st_store::{
    Claim, Claiming, Condition, JobId, JobType, NewJob, NewRule, Owner, ProviderJobId,
    ProviderName, Report, Role, Store, UserId, Work,
};

/// A store of any kind.
pub type Shared = Arc<dyn Store>;

/// A time: `seconds` after the one at which the cases begin.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

/// The ID of the job with this number.
pub fn id(number: u8) -> JobId {
    JobId::new(at(0), [number; 10])
}

/// A job for `user`, without anything special.
pub fn job(number: u8, user: &str) -> NewJob {
    NewJob {
        id: id(number),
        job_type: JobType::Cloud,
        provider: ProviderName::new("fake"),
        config_name: Some(format!("job-{number}")),
        owner: Owner::user(user),
        role: Role::Researcher,
        correlation_id: CorrelationId::parse(&format!("c-{number}")).unwrap(),
        priority_override: None,
        estimated_cost: 0.0,
        max_attempts: 3,
        hardware_type: None,
        not_before: None,
        metadata: Map::from_iter([("note".to_owned(), json!({"n": number}))]),
        input: json!({"config": {"n": number}}),
        idempotency: None,
        approval_ttl: SignedDuration::from_hours(24),
    }
}

/// A rule that asks for approval of what costs more than `usd`.
pub fn costs_more_than(usd: &str) -> NewRule {
    NewRule {
        name: "dear".to_owned(),
        description: String::new(),
        condition: Condition::CostExceeds,
        threshold: usd.to_owned(),
        is_active: true,
        priority: 0,
        applies_to_provider: None,
        applies_to_level: None,
        exempt_levels: Vec::new(),
        required_approver_level: Role::Lead,
        created_by: UserId::new("admin"),
        created_at: at(0),
    }
}

/// How the cases claim: up to `max`, for 90 seconds, settled after 30.
pub fn claiming(max: u32) -> Claiming {
    let (lease, settle) = (SignedDuration::from_secs(90), SignedDuration::from_secs(30));
    Claiming { max, lease, settle }
}

/// Submits a job at a time.
pub async fn submit(store: &Shared, new: NewJob, seconds: i64) -> Work {
    store.submit(new, at(seconds)).await.unwrap().work
}

/// Claims everything that may be claimed.
pub async fn claim(store: &Shared, seconds: i64) -> Vec<Claim> {
    store.claim(claiming(100), at(seconds)).await.unwrap()
}

/// The numbers of claimed jobs, in the order in which they were claimed.
pub fn numbers(claims: &[Claim]) -> Vec<u64> {
    claims.iter().map(|claim| claim.input["config"]["n"].as_u64().unwrap()).collect()
}

/// What the provider says first about the job with this number.
pub fn accepted(number: u8) -> Report {
    Report::of(ProviderJobId::new(format!("p-{number}")), st_store::JobStatus::Queued)
}

/// Makes a test of each case, against the store that `$store` makes: a future of the store and of
/// what must be kept while it is used.
#[macro_export]
macro_rules! conformance {
    ($store:expr) => {
        $crate::conformance!(@topic $store, jobs:
            a_submission_stores_everything_at_once, a_job_is_found_by_either_name,
            one_key_of_one_user_makes_one_job, lists_are_paged_and_counted,
            a_report_is_merged_and_never_erases, a_late_report_changes_nothing,
            a_repeated_report_writes_nothing, one_refused_report_stops_no_other,
            cancelling_depends_on_where_the_job_is);
        $crate::conformance!(@topic $store, queue:
            every_limit_holds, simultaneous_claims_never_exceed_a_limit,
            earlier_deadlines_go_first, an_owner_at_the_limit_blocks_nobody_else,
            fair_share_serves_who_has_less, a_delayed_job_waits_and_then_goes,
            a_stale_token_writes_nothing, a_rescue_takes_a_fresh_token,
            leases_of_a_dead_process_end_at_once, attempts_run_out, a_final_failure_is_final,
            a_provider_job_is_adopted_once, positions_and_numbers_are_right);
        $crate::conformance!(@topic $store, approvals:
            a_rule_blocks_what_it_asks_about, the_first_matching_rule_decides,
            approval_opens_the_way_and_rejection_closes_it, nobody_decides_after_the_deadline,
            requests_lapse_in_chunks, approving_and_expiring_have_one_winner,
            a_bad_rule_is_refused);
        $crate::conformance!(@topic $store, events:
            events_resume_without_a_gap_or_a_repeat, who_waits_is_woken_after_the_commit,
            settings_are_kept_and_patched_without_loss, limits_out_of_range_are_refused);
    };
    (@topic $store:expr, $topic:ident: $($case:ident),+) => {
        mod $topic {
            use super::*;

            $(
                #[tokio::test]
                async fn $case() {
                    let (store, _keep) = $store.await;
                    $crate::suite::$topic::$case(&store).await;
                    $crate::dump::check_invariants(store.as_ref()).await;
                }
            )+
        }
    };
}
