//! Seeds that find a fault when it is put back into the code, named after what the code does about
//! it. A change of what is drawn makes other worlds of them: find new ones then.

use crate::simulation::run;
use crate::storage::Backend;

fn finds_nothing(seed: u64) {
    if let Err(failure) = run(seed, Backend::Memory) {
        panic!("{failure}");
    }
}

#[test]
fn a_job_that_kills_the_process_ends() {
    finds_nothing(13);
}

#[test]
fn a_late_arrival_is_searched_for() {
    finds_nothing(34);
}

#[test]
fn a_clock_that_was_set_expires_nothing_before_it_is_confirmed() {
    finds_nothing(48);
}

#[test]
fn a_row_without_its_input_may_be_the_lost_one() {
    finds_nothing(70);
}

#[test]
fn the_list_is_searched_by_the_clock_of_the_provider() {
    finds_nothing(129);
}

#[test]
fn a_restored_job_is_searched_for_before_it_is_submitted() {
    finds_nothing(2);
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
fn a_late_arrival_is_found_after_the_clock_of_the_provider_was_set() {
    finds_nothing(916);
}
