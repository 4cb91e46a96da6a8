//! Seeds that once failed, named after what they found.

use crate::simulation::run;
use crate::storage::Backend;

fn finds_nothing(seed: u64) {
    if let Err(failure) = run(seed, Backend::Memory) {
        panic!("{failure}");
    }
}

#[test]
fn a_rejection_that_is_on_its_way_when_settings_are_mended() {
    finds_nothing(38);
}
