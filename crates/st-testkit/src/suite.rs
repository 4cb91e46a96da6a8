//! What every store must do, as cases that run against any of them.
//!
//! A backend's tests call [`conformance!`](crate::conformance) with an expression that makes an
//! empty store on a manual clock; each case becomes a test of its own. Leaves out what only a
//! backend with files can do: durability, damage, restores.

#![expect(missing_docs, reason = "a case is what its name says")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "these are tests")]

pub mod approvals;
pub mod audit;
pub mod budgets;
pub mod clock;
pub mod cost_limits;
pub mod deleting;
pub mod events;
pub mod figures;
pub mod history;
pub mod holds;
pub mod jobs;
pub mod keys;
pub mod leases;
pub mod lists;
pub mod own_queue;
pub mod prefixes;
pub mod previews;
pub mod priorities;
pub mod queue;
pub mod quotas;
pub mod received;
pub mod requests;
pub mod resolving;
pub mod results;
pub mod rules;
pub mod settings;
pub mod settling;
pub mod shares;
pub mod strays;
pub mod submitting;
pub mod webhook_changes;
pub mod webhooks;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, json};
use st_log::CorrelationId;
use st_store::{
    AccountId, Actor, ApprovalId, AtMostOnce, AttemptFailure, Claim, ClaimOptions, Clock,
    Condition, Decision, Error, EventId, Holder, JobId, JobRecord, JobRef, JobStatus, JobType,
    ManualClock, NewJob, NewRule, Opening, Outcome, Owner, PageRequest, ProviderJobId,
    ProviderName, ProviderStatus, Result, Role, Serving, Settled, Settlement, Store, UserId,
    Verdict,
};

/// A store of any kind.
pub type Shared = Arc<dyn Store>;

/// A store and the clock that it was made with.
#[derive(Debug, Clone)]
pub struct Harness {
    pub store: Shared,
    pub clock: Arc<ManualClock>,
}

/// A time: `seconds` after the one at which the cases begin.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

/// A clock that shows the time at which the cases begin.
pub fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(at(0)))
}

/// The ID of the job with this number.
pub fn id(number: u8) -> JobId {
    JobId::new(at(0), [number; 10])
}

/// The provider that all jobs have, unless a case says otherwise.
pub fn fake() -> ProviderName {
    ProviderName::new("fake")
}

/// A job for `user`, without anything special.
pub fn job(number: u8, user: &str) -> NewJob {
    let mut new = NewJob::new(
        id(number),
        (JobType::Cloud, fake()),
        Owner::user(user),
        Role::Researcher,
        CorrelationId::parse(&format!("c-{number}")).unwrap(),
    );
    new.config_name = Some(format!("job-{number}"));
    new.metadata = Map::from_iter([("note".to_owned(), json!({"n": number}))]);
    new.input = json!({"config": {"n": number}});
    new
}

/// A rule that requires approval of what costs more than `usd`.
pub fn costs_more_than(usd: &str) -> NewRule {
    NewRule {
        name: "expensive".to_owned(),
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
    }
}

/// A holder of claims.
pub fn holder(number: u8) -> Holder {
    Holder::new([number; 16])
}

/// What a holder knows of a provider whose list shows the markers.
pub fn serving(provider: &str) -> Serving {
    Serving {
        provider: ProviderName::new(provider),
        account: Some(AccountId::new("account", None, None)),
        guarantee: AtMostOnce::ListedMarker,
        provider_time: Some(at(5)),
        may_arrive_for: SignedDuration::from_secs(120),
        opening: Opening::Open,
    }
}

/// How the cases claim: as holder 1, from the fake provider, up to `max` jobs, for 90 seconds.
pub fn claiming(max: u32) -> ClaimOptions {
    let lease = Duration::from_secs(90);
    ClaimOptions { holder: holder(1), serving: vec![serving("fake")], max, lease }
}

/// An outcome of the job's latest attempt, under its current token.
pub fn settlement(record: &JobRecord, outcome: Outcome) -> Settlement {
    let (attempt, token) = (record.entry().attempt, record.token());
    Settlement { job: record.id(), attempt, token, outcome, provider_time: None }
}

/// The settlement of a submission that the provider accepted under this identifier.
pub fn submitted(record: &JobRecord, id: &str) -> Settlement {
    let status = ProviderStatus::new(ProviderJobId::new(id), JobStatus::Queued);
    settlement(record, Outcome::Submitted(status))
}

/// The provider's report of a status of the job with this number.
pub fn status(number: u8, status: JobStatus) -> ProviderStatus {
    ProviderStatus::new(provider_job(number), status)
}

/// The provider's identifier of the job with this number.
pub fn provider_job(number: u8) -> ProviderJobId {
    ProviderJobId::new(format!("p-{number}"))
}

/// The outcome of a submission that the provider accepted.
pub fn accepted(number: u8) -> Outcome {
    Outcome::Submitted(status(number, JobStatus::Queued))
}

/// The outcome of an attempt that failed, perhaps through the job's fault.
pub fn failed(retry_in: i64) -> Outcome {
    let retry_in = SignedDuration::from_secs(retry_in);
    Outcome::NotArrived(AttemptFailure::Failed { error: "flaky".to_owned(), retry_in })
}

pub fn decision(verdict: Verdict) -> Decision {
    Decision { verdict, by: UserId::new("lead"), notes: Some("because".to_owned()) }
}

pub fn user(name: &str) -> Actor {
    Actor::User(UserId::new(name))
}

/// The longest page that there is.
pub fn everything() -> PageRequest {
    PageRequest { limit: 500, offset: 0 }
}

/// The numbers of claimed jobs, in the order in which they were claimed.
pub fn numbers(claims: &[Claim]) -> Vec<u8> {
    claims.iter().map(|claim| number(&claim.record)).collect()
}

/// The number of a job that [`job`] made.
pub fn number(record: &JobRecord) -> u8 {
    let name = record.job().config_name.as_deref().unwrap_or_default();
    name.trim_start_matches("job-").parse().unwrap()
}

impl Harness {
    /// A store that `make` makes on a clock of its own.
    pub fn new(make: impl FnOnce(Arc<dyn Clock>) -> Shared) -> Self {
        let clock = clock();
        let store = make(Arc::clone(&clock) as Arc<dyn Clock>);
        Self { store, clock }
    }

    /// Lets time pass until `seconds` after the beginning.
    pub fn go_to(&self, seconds: u64) {
        let passed = self.clock.monotonic();
        self.clock.advance(Duration::from_secs(seconds).saturating_sub(passed));
    }

    pub async fn submit(&self, new: NewJob) -> JobRecord {
        self.store.submit(new).await.unwrap().record
    }

    /// Claims everything that may be claimed.
    pub async fn claim(&self) -> Vec<Claim> {
        self.store.claim(&claiming(100)).await.unwrap().claims
    }

    /// Reclaims everything that may be reclaimed by a process that works on nothing.
    pub async fn reclaim(&self) -> Vec<Claim> {
        self.store.reclaim(&claiming(100), &BTreeSet::new()).await.unwrap().claims
    }

    /// How long until something is due for a process that works on nothing.
    pub async fn next_due(&self) -> Option<Duration> {
        self.store.next_due(&claiming(1), &BTreeSet::new()).await.unwrap()
    }

    /// Settles an outcome of the job's latest attempt.
    pub async fn settle(
        &self,
        record: &JobRecord,
        outcome: Outcome,
    ) -> Result<(Settled, JobRecord)> {
        self.settle_as(&Actor::Scheduler, settlement(record, outcome)).await
    }

    pub async fn settle_as(
        &self,
        actor: &Actor,
        settlement: Settlement,
    ) -> Result<(Settled, JobRecord)> {
        let mut settled = self.store.settle(actor, vec![settlement]).await.unwrap();
        settled.pop().unwrap()
    }

    /// What each event says: who made the change, what kind of change it is, and its message.
    pub async fn messages(&self) -> Vec<String> {
        let page = self.store.events_after(EventId(0), 1000).await.unwrap();
        let line = |event: st_store::Event| {
            let (actor, change) = (event.event.actor, event.event.change);
            format!("{actor} {} {}", change.event_type(), change.message().unwrap_or_default())
        };
        page.events.into_iter().map(line).collect()
    }

    /// A job that is claimed.
    pub async fn claimed(&self, number: u8) -> JobRecord {
        self.submit(job(number, &format!("user-{number}"))).await;
        let claims = self.claim().await;
        claims.into_iter().find(|claim| claim.record.id() == id(number)).unwrap().record
    }

    /// A job that its provider has.
    pub async fn at_provider(&self, number: u8) -> JobRecord {
        let record = self.claimed(number).await;
        self.settle(&record, accepted(number)).await.unwrap().1
    }

    /// The job with this number.
    pub async fn found(&self, number: u8) -> JobRecord {
        self.store.find_job(&JobRef::Id(id(number))).await.unwrap().unwrap()
    }

    /// The request of a job that must be approved.
    pub async fn blocked(&self, number: u8, ttl: i64) -> ApprovalId {
        let mut new = job(number, "ann");
        new.estimated_cost = 100.0;
        new.approval_ttl = SignedDuration::from_secs(ttl);
        self.submit(new).await.approval().unwrap().request().id
    }

    /// The events of a job: what changed, and who changed it.
    pub async fn history(&self, number: u8) -> Vec<String> {
        let page = self.store.job_events(id(number), EventId(0), 1000).await.unwrap();
        let line = |event: &st_store::Event| {
            let (_, to) = event.event.change.statuses();
            let subject = event.event.change.subject();
            format!("{subject} {} by {}", to.unwrap_or_default(), event.event.actor)
        };
        page.events.iter().map(line).collect()
    }

    /// The whole store as text.
    pub async fn dump(&self) -> String {
        crate::dump::dump(self.store.as_ref()).await
    }
}

/// The reason for which a step was refused.
pub fn refusal<T: std::fmt::Debug>(result: Result<T>) -> st_store::TransitionError {
    match result {
        Err(Error::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// Makes a test of each case, against the store that `$store` makes: a future of a [`Harness`] and
/// of what must be kept while it is used.
#[macro_export]
macro_rules! conformance {
    ($store:expr) => {
        $crate::conformance!(@topic $store, submitting:
            a_submission_stores_everything_in_one_step, one_key_of_one_user_makes_one_job,
            a_key_is_not_forgotten_by_an_unconfirmed_clock, the_same_id_twice_is_a_repetition,
            what_could_not_be_read_back_is_refused, a_date_is_at_most_ten_years_ahead,
            a_submission_says_where_its_job_is_in_the_queue);
        $crate::conformance!(@topic $store, previews:
            a_preview_decides_as_the_submission_does, a_preview_writes_and_reserves_nothing,
            a_preview_names_all_that_holds_a_job_from_a_slot,
            a_preview_counts_the_jobs_that_wait_for_the_free_slots,
            of_jobs_that_are_to_begin_at_once_as_many_get_in_as_there_are_slots,
            a_job_that_is_to_begin_at_once_is_refused_for_whatever_it_would_wait_for,
            what_was_submitted_before_is_found_by_its_key_alone,
            a_preview_recognizes_what_was_submitted_before);
        $crate::conformance!(@topic $store, jobs:
            a_job_is_found_by_either_identifier, lists_are_paged_and_counted,
            a_provider_lists_what_it_has, known_provider_jobs_are_found_in_bulk, a_report_is_merged_and_never_erases,
            a_late_report_changes_nothing, a_repeated_report_writes_nothing,
            cancelling_depends_on_where_the_job_is);
        $crate::conformance!(@topic $store, queue:
            every_limit_is_kept, a_lowered_limit_ends_nothing,
            simultaneous_claims_never_exceed_a_limit, earlier_deadlines_go_first,
            an_owner_at_its_limit_blocks_nobody_else, fair_share_serves_who_has_less,
            an_owner_that_was_granted_nothing_for_an_hour_goes_first_once,
            a_user_whom_a_probe_served_is_not_first_again,
            no_owner_starves_under_fair_share,
            a_job_waits_for_its_date_and_then_runs, providers_that_are_not_served_wait,
            a_provider_is_given_no_more_than_it_is_open_for,
            each_probe_of_a_provider_is_another_job,
            a_probed_provider_shares_the_limits_in_the_usual_order,
            a_closed_provider_is_still_reclaimed, providers_are_in_use_while_a_job_is_not_over,
            a_claim_carries_what_is_known_of_the_provider,
            an_account_is_kept_as_far_as_it_is_known, positions_and_numbers_are_right);
        $crate::conformance!(@topic $store, lists:
            pages_of_jobs_leave_nothing_out_and_repeat_nothing,
            pages_of_entries_leave_nothing_out_while_they_move,
            pages_of_requests_leave_nothing_out_while_they_are_decided,
            totals_are_right_after_every_transition, positions_are_what_counting_gives,
            the_pace_counts_the_jobs_that_are_due_and_no_others);
        $crate::conformance!(@topic $store, leases:
            a_reclaim_issues_a_fresh_token, jobs_in_flight_are_not_reclaimed,
            leases_are_renewed_for_their_own_holder, leases_of_dead_holders_end,
            what_is_reclaimed_often_is_handled_with_care);
        $crate::conformance!(@topic $store, settling:
            a_stale_token_writes_nothing, one_refused_outcome_stops_no_other,
            settling_twice_writes_nothing, a_provider_job_belongs_to_one_job,
            a_refused_job_fails_and_is_not_claimed_again, a_failed_attempt_is_repeated_after_a_pause,
            an_unresolved_attempt_keeps_its_slot, failures_between_acceptances_are_the_jobs_own,
            blame_falls_in_the_order_of_the_queue, failures_of_every_job_are_nobodys_fault,
            a_stale_submission_is_a_sighting,
            a_second_provider_job_is_a_stray,
            a_stale_submission_has_the_account_of_its_attempt, a_held_submission_keeps_its_identifier,
            every_change_names_its_actor);
        $crate::conformance!(@topic $store, strays:
            strays_take_a_slot_until_they_end, strays_are_listed_when_they_are_due,
            sightings_are_settled_by_what_is_known_of_the_job,
            strays_that_ended_are_known_for_a_day,
            an_adopted_sighting_counts_as_an_acceptance, a_stray_that_is_adopted_is_none,
            rechecks_follow_their_schedule, only_what_may_still_arrive_is_rechecked,
            what_is_unsettled_is_counted_by_provider,
            what_was_found_is_searched_for_again, what_was_found_is_refused_like_a_submission);
        $crate::conformance!(@topic $store, resolving:
            a_job_is_resolved_as_being_at_its_provider,
            a_provider_job_of_another_job_resolves_nothing,
            a_job_that_is_resolved_as_absent_is_submitted_again, an_abandoned_job_frees_its_slot,
            a_job_at_its_provider_is_ended_by_a_resolution,
            where_nothing_is_unknown_nothing_is_resolved);
        $crate::conformance!(@topic $store, results:
            results_that_stay_are_never_due, results_are_due_with_the_end_of_their_job,
            what_is_deleted_first_is_fetched_first, results_are_settled_once,
            jobs_that_are_left_out_take_no_place_of_others,
            outputs_that_are_here_stay_known_when_something_else_is_lost,
            results_can_be_given_up_without_their_job,
            what_cannot_be_fetched_is_due_again_until_it_is_given_up,
            what_was_deleted_before_the_end_was_known_is_lost,
            results_that_are_due_move_with_the_clock,
            a_job_is_not_deleted_before_its_results_are_settled);
        $crate::conformance!(@topic $store, approvals:
            a_rule_blocks_what_it_matches, the_first_matching_rule_decides,
            approval_admits_the_job_and_rejection_ends_it, a_request_is_not_decided_after_its_deadline,
            requests_expire_in_chunks, approving_and_expiring_have_one_winner,
            a_bad_rule_is_refused, requests_are_listed_newest_first);
        $crate::conformance!(@topic $store, clock:
            expiry_needs_a_confirmed_clock, a_deadline_behind_an_unconfirmed_clock_is_still_open,
            an_approval_is_open_for_as_long_as_it_was_given,
            waits_move_with_a_clock_that_is_set,
            past_times_that_waits_begin_with_move_as_well, a_last_grant_moves_with_the_clock, dates_of_a_wrong_clock_are_cut,
            the_store_follows_its_clock);
        $crate::conformance!(@topic $store, events:
            events_resume_without_a_gap_or_a_repeat, a_waiter_is_woken_after_the_commit,
            a_position_beyond_the_end_must_resync, a_jobs_events_are_paged);
        $crate::conformance!(@topic $store, keys:
            a_key_is_found_as_it_was_stored, keys_are_listed_newest_first_and_in_pages,
            a_key_is_revoked_once, the_use_of_a_key_is_noted, a_key_that_cannot_be_stored_is_refused);
        $crate::conformance!(@topic $store, audit:
            the_trail_is_read_newest_first_and_in_pages, the_trail_is_read_by_actor_job_and_date,
            entries_of_one_moment_come_once, old_entries_are_deleted_in_chunks,
            what_cannot_be_stored_is_replaced);
        $crate::conformance!(@topic $store, figures:
            what_is_stored_is_counted_in_every_stage,
            what_waits_is_counted_by_what_keeps_it,
            the_trail_is_counted_as_a_whole_and_of_the_last_day);
        $crate::conformance!(@topic $store, webhooks:
            a_webhook_begins_after_the_newest_event, a_webhook_that_cannot_be_stored_is_refused,
            a_webhook_is_changed_and_removed, an_old_secret_is_used_for_a_day_more,
            one_holder_delivers_and_others_wait_for_its_lease,
            a_failed_event_is_tried_again_until_it_is_given_up,
            a_receiver_that_is_gone_disables_its_webhook,
            another_receiver_gets_what_waits_at_once, the_last_messages_are_remembered,
            old_messages_are_forgotten, a_pause_moves_with_the_clock);
        $crate::conformance!(@topic $store, webhook_changes:
            what_was_found_out_for_other_wishes_is_void, a_failure_is_that_of_one_event,
            what_is_not_tried_any_more_says_so,
            no_event_is_given_up_by_a_clock_that_may_be_wrong,
            a_person_who_says_that_it_works_again_is_believed);
        $crate::conformance!(@topic $store, history:
            a_job_that_ended_long_ago_is_deleted_with_all_that_belongs_to_it,
            only_jobs_that_are_over_are_deleted,
            what_a_deleted_job_cost_stays_in_the_totals_of_its_day,
            the_oldest_jobs_are_deleted_first_and_in_chunks,
            a_job_stays_while_something_of_it_is_open,
            a_reader_from_before_a_deleted_event_must_resync,
            expired_keys_are_forgotten_and_others_keep_their_job,
            nothing_is_deleted_by_an_unconfirmed_clock);
        $crate::conformance!(@topic $store, deleting:
            a_deleted_job_leaves_one_event_and_nothing_else,
            only_a_job_that_is_over_can_be_deleted,
            a_job_is_not_deleted_while_something_of_it_may_happen,
            results_that_are_not_fetched_yet_go_with_their_job,
            a_key_outlives_its_deleted_job_by_a_day,
            the_provider_job_of_a_deleted_job_stays_known_as_ours,
            a_deleted_job_is_listed_until_it_is_forgotten);
        $crate::conformance!(@topic $store, prefixes:
            a_job_is_found_by_the_beginning_of_its_identifier,
            a_job_is_found_by_the_beginning_of_its_providers_identifier,
            matches_are_ordered_and_bounded);
        $crate::conformance!(@topic $store, received:
            a_webhook_is_remembered_for_its_provider_alone,
            old_webhooks_are_forgotten_in_chunks_by_a_confirmed_clock);
        $crate::conformance!(@topic $store, priorities:
            a_waiting_job_moves_with_its_priority,
            a_change_of_a_priority_has_an_event_and_the_same_again_has_none,
            what_has_a_slot_keeps_it_and_what_is_over_has_no_priority,
            a_job_that_awaits_approval_comes_in_with_its_new_priority);
        $crate::conformance!(@topic $store, rules:
            a_patch_changes_of_a_rule_only_what_it_names,
            each_change_of_a_rule_is_recorded_with_what_changed,
            a_patch_that_does_not_fit_its_rule_changes_nothing,
            a_rule_that_a_request_names_is_deactivated_and_another_is_deleted);
        $crate::conformance!(@topic $store, requests:
            each_of_many_decisions_is_made_by_itself, a_cancelled_request_cancels_its_job);
        $crate::conformance!(@topic $store, own_queue:
            a_users_jobs_are_counted_by_where_they_are,
            the_next_of_a_user_are_those_of_all_groups_in_the_order_of_the_queue);
        $crate::conformance!(@topic $store, budgets:
            a_budget_refuses_what_it_has_no_room_for, a_budget_of_each_scope_counts_its_own_jobs,
            what_ends_is_spent_in_the_period_of_its_end,
            a_new_budget_knows_what_its_period_has_cost,
            a_budget_made_by_a_clock_ahead_knows_what_the_period_before_has_cost,
            a_lowered_budget_holds_claims_until_there_is_room,
            what_a_budget_holds_is_claimed_in_the_next_period,
            a_budget_that_warns_or_requires_approval_lets_jobs_in,
            a_budget_that_stops_cancels_what_has_a_slot, what_a_stray_cost_belongs_to_its_job,
            sums_are_exact_when_many_submit_at_once, budgets_are_stored_changed_and_removed);
        $crate::conformance!(@topic $store, quotas:
            a_number_of_jobs_a_day_is_used_up_until_midnight,
            a_new_quota_of_a_day_counts_what_was_deleted,
            a_quota_made_by_a_clock_ahead_counts_the_jobs_of_the_day_before,
            rules_about_earlier_jobs_are_not_got_round_by_deleting_them,
            what_a_budget_spent_is_not_given_back_by_a_delete,
            jobs_beyond_a_number_at_once_wait_for_a_slot,
            a_number_at_once_may_warn_or_require_approval,
            a_run_that_follows_one_by_itself_takes_its_place,
            a_number_of_jobs_stops_nothing_and_has_no_price);
        $crate::conformance!(@topic $store, cost_limits:
            a_cost_limit_is_enforced_as_a_budget, a_cost_limit_is_changed_by_the_settings_alone,
            the_number_of_a_cost_limit_is_not_given_out_again);
        $crate::conformance!(@topic $store, holds:
            nothing_of_a_scope_is_claimed_while_it_is_on_hold,
            a_hold_holds_back_its_own_jobs_and_no_others, what_has_a_slot_keeps_it,
            a_provider_is_not_probed_with_a_job_that_is_on_hold, a_hold_says_who_made_it_and_why,
            a_provider_is_given_no_more_slots_than_its_limit);
        $crate::conformance!(@topic $store, shares:
            a_fourfold_weight_is_served_four_times_as_often,
            an_organization_of_many_has_the_share_of_one,
            what_was_used_long_ago_counts_no_more, a_job_counts_for_the_time_that_it_took,
            what_never_ran_is_refunded, usage_counts_under_fair_share_only,
            the_time_to_starve_is_a_setting, what_was_used_moves_with_the_clock,
            weights_are_kept_and_their_changes_have_events);
        $crate::conformance!(@topic $store, settings:
            limits_are_patched_without_loss, limits_out_of_range_are_refused,
            settings_are_patched_without_loss,
            settings_that_were_read_before_are_those_of_the_last_patch,
            settings_out_of_range_are_refused, a_patch_that_changes_nothing_has_no_event,
            the_polling_preference_is_kept_until_it_is_cleared);

        #[tokio::test]
        async fn a_closed_store_refuses_every_call() {
            let (harness, _keep) = $store.await;
            $crate::suite::jobs::a_closed_store_refuses_every_call(&harness).await;
        }
    };
    (@topic $store:expr, $topic:ident: $($case:ident),+) => {
        mod $topic {
            use super::*;

            $(
                #[tokio::test]
                async fn $case() {
                    let (harness, _keep) = $store.await;
                    $crate::suite::$topic::$case(&harness).await;
                    $crate::dump::check_invariants(harness.store.as_ref()).await;
                }
            )+
        }
    };
}
