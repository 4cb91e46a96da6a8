//! Seeds that find a fault when it is put back into the code, named after what the code does about
//! it. After a change of what is drawn a seed is another world, and its name says nothing any more:
//! find new ones then. Plain tests, which no draw changes, cover the same rules:
//!
//! - `tests/it/outages.rs`: `a_job_that_ended_ten_processes_is_cancelled_at_the_provider_and_fails`,
//!   `wrong_settings_cost_three_jobs_and_the_others_go_on_when_they_are_corrected`;
//! - `tests/it/arrival.rs`: `how_far_the_clocks_are_apart_does_not_matter`,
//!   `what_appears_an_hour_after_it_could_arrive_is_a_copy_and_before_that_a_stray`,
//!   `a_deleted_input_is_the_lost_one_only_where_it_may_be`,
//!   `after_a_restore_all_jobs_wait_for_one_proof`;
//! - `src/gate/tests.rs`:
//!   `a_rejection_under_settings_that_were_changed_meanwhile_is_no_jobs_fault`.

use crate::simulation::run;
use crate::storage::Backend;

fn finds_nothing(seed: u64) {
    if let Err(failure) = run(seed, Backend::Memory) {
        panic!("{failure}");
    }
}

#[test]
fn a_job_that_kills_the_process_ends() {
    finds_nothing(1);
}

#[test]
fn a_restored_job_is_searched_for_before_it_is_submitted() {
    finds_nothing(2);
}

#[test]
fn wrong_settings_fail_three_jobs_and_no_more() {
    finds_nothing(14);
}

#[test]
fn a_list_of_another_account_says_nothing() {
    finds_nothing(16);
}

#[test]
fn a_row_without_its_input_may_be_the_lost_one() {
    finds_nothing(28);
}

#[test]
fn a_late_arrival_is_searched_for() {
    finds_nothing(45);
}

#[test]
fn a_search_that_began_without_the_time_of_the_provider_fails_no_job() {
    finds_nothing(1226);
}

#[test]
fn a_restored_job_is_found_whatever_clock_it_was_queued_by() {
    finds_nothing(1000);
}

#[test]
fn a_restored_job_is_not_searched_for_with_another_account() {
    finds_nothing(992);
}
